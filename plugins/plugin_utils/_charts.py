# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the charts of all pages are drawn with: axes, ticks and paths of SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

WIDTH = 400
HEIGHT = 260
LEFT = 44
RIGHT = 12
TOP = 22
BOTTOM = 26
# Where the drawing itself is, for the template.
FRAME: dict[str, Any] = {
    "width": WIDTH,
    "height": HEIGHT,
    "left": LEFT,
    "right": WIDTH - RIGHT,
    "top": TOP,
    "bottom": HEIGHT - BOTTOM,
}
# No chart shows less.
LEAST = 1e-6
Point = tuple[float, float]


@dataclass(frozen=True)
class Axis:
    """Turns values into places."""

    least: float
    most: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.least, self.most, value
        if self.logarithmic:
            low, high, at = log10(low), log10(high), log10(max(value, self.least))
        return round(self.start + (at - low) / (high - low) * (self.end - self.start), 1)


def across(least: float, most: float, *, logarithmic: bool = False) -> Axis:
    """Return the axis from left to right."""
    return Axis(least, most, LEFT, WIDTH - RIGHT, logarithmic=logarithmic)


def upwards(least: float, most: float, *, logarithmic: bool = False) -> Axis:
    """Return the axis from the bottom to the top, where SVG counts from."""
    return Axis(least, most, HEIGHT - BOTTOM, TOP, logarithmic=logarithmic)


def scale(most: float) -> tuple[Axis, list[float]]:
    """Return an axis upwards from nothing to a round number, with its ticks."""
    power = 10.0 ** floor(log10(most)) if most > LEAST else 1.0
    step = next(part * power for part in (0.2, 0.5, 1, 2, 5) if most / (part * power) <= 5)
    top = max(ceil(most / step), 1) * step
    return upwards(0, top), [step * number for number in range(round(top / step) + 1)]


def path(points: Sequence[Point], *, closed: bool = False) -> str:
    """Return a line through points, or the border of an area."""
    return "M" + "L".join(f"{x:g} {y:g}" for x, y in points) + ("Z" if closed else "") if points else ""


def short(value: float) -> str:
    """Return what stands at a tick."""
    return f"{value / 1000:g}K" if value >= 1000 else f"{value:g}"
