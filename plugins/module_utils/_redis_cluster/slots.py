# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of hash slots, as sorted ranges."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, groupby, pairwise

SLOTS = 16384

# Inclusive, sorted and merged, as Redis prints them.
Ranges = tuple[tuple[int, int], ...]


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sort ranges and join those that touch, so that equal sets of slots compare equal."""
    out: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(last, out[-1][1]))
        else:
            out.append((first, last))
    return tuple(out)


def of(slots: Iterable[int]) -> Ranges:
    """Return the ranges of single slots."""
    runs = groupby(enumerate(sorted(slots)), key=lambda pair: pair[1] - pair[0])
    return tuple((run[0][1], run[-1][1]) for run in (list(group) for _key, group in runs))


def each(ranges: Ranges) -> list[int]:
    """Return the single slots."""
    return list(chain.from_iterable(range(first, last + 1) for first, last in ranges))


def count(ranges: Ranges) -> int:
    return sum(last - first + 1 for first, last in ranges)


def overlap(one: Ranges, other: Ranges) -> bool:
    return any(a <= d and c <= b for a, b in one for c, d in other)


def gaps(ranges: Ranges) -> Ranges:
    """Return the slots that are not in the ranges."""
    edges = [(-1, -1), *ranges, (SLOTS, SLOTS)]
    return tuple((a[1] + 1, b[0] - 1) for a, b in pairwise(edges) if b[0] - a[1] > 1)


def without(ranges: Ranges, taken: Ranges) -> Ranges:
    """Return the slots that are in the first and not in the second."""
    out = list(ranges)
    for start, end in taken:
        kept = []
        for a, b in out:
            if b < start or end < a:
                kept.append((a, b))
                continue
            kept += [(a, start - 1)] if a < start else []
            kept += [(end + 1, b)] if end < b else []
        out = kept
    return tuple(out)


def first(ranges: Ranges, number: int) -> Ranges:
    """Return the lowest slots, so many."""
    out = []
    for start, end in ranges:
        if number <= 0:
            break
        out.append((start, min(end, start + number - 1)))
        number -= end - start + 1
    return tuple(out)


def named(ranges: Ranges) -> str:
    return f"slot{'' if count(ranges) == 1 else 's'} {text(ranges)}"


def text(ranges: Ranges) -> str:
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)
