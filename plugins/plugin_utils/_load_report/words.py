# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers and times as people write them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

NONE = "\N{EN DASH}"
MINUS = "\N{MINUS SIGN}"
# Less is nothing.
LEAST = 1e-6


def amount(value: float | None) -> str:
    """Return a number with as many digits as say something."""
    if value is None:
        return NONE
    size = abs(value)
    if size >= 100:
        shown = f"{size:,.0f}"
    elif size >= 0.01:
        shown = f"{size:.2f}".rstrip("0").rstrip(".")
    else:
        shown = format(Decimal(f"{size:.1e}").normalize(), "f") if size >= LEAST else "0"
    return f"{MINUS if value < 0 and shown != '0' else ''}{shown}"


def measured(value: float | None, unit: str) -> str:
    return NONE if value is None else f"{amount(value)} {unit}".rstrip()


def percent(part: float, whole: float) -> float | None:
    return 100 * part / whole if whole > 0 else None


def clock(seconds: float) -> str:
    """Return a time since the begin as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def day(moment: str) -> str:
    """Return a moment as people read it, or as it is given where it is none."""
    try:
        read = datetime.fromisoformat(moment)
        known = read if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return moment
    return f"{known:%Y-%m-%d %H:%M:%S}{'' if read.tzinfo is None else ' UTC'}"


def listed(words: Sequence[str]) -> str:
    """Return words as one enumeration."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
