# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Percentiles of what was counted by value, so that a million requests take no more room than their times."""

from __future__ import annotations

import math
from collections.abc import Mapping


def percentile(counts: Mapping[int, int], percent: int) -> int:
    """Return the smallest value that so many percent are not above (the nearest rank, never in between)."""
    rank = max(math.ceil(sum(counts.values()) * percent / 100), 1)
    for value in sorted(counts):
        rank -= counts[value]
        if rank <= 0:
            return value
    raise ValueError("nothing was counted")


def mean(counts: Mapping[int, int]) -> float:
    return sum(value * count for value, count in counts.items()) / sum(counts.values())
