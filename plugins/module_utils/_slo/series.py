# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counts what a load balancer has logged, over time and by who has answered.

Times are counted by their values, so that those of several load balancers can be put together, which
percentiles cannot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._slo.access_log import (
    DISORDER,
    LIMITED,
    SWITCHED,
    Line,
    parse,
)

# Longer times are counted as such with two digits, which is exact to 5 %.
EXACT = 100


@dataclass
class Counted:
    """Answers, by their status, and how long they took."""

    codes: Counter[int] = field(default_factory=Counter)
    times: Counter[int] = field(default_factory=Counter)

    def add(self, line: Line) -> None:
        self.codes[line.status] += 1
        if line.status not in (LIMITED, SWITCHED):
            self.times[coarse(line.milliseconds)] += 1

    def told(self) -> dict[str, Any]:
        return {"codes": _texts(self.codes), "times": _texts(self.times)}


@dataclass
class Series:
    """What was counted between two moments, in steps."""

    since: float
    until: float
    step: int
    prefix: str
    buckets: dict[int, Counted] = field(default_factory=dict)
    upstreams: dict[str, Counted] = field(default_factory=dict)
    errors: Counter[tuple[int, str]] = field(default_factory=Counter)

    def add(self, file: str, lines: Iterable[bytes]) -> None:
        """Count the lines of one file, from its end to the moment since which is counted."""
        for raw in lines:
            line = parse(file, raw)
            if line.at < self.since - DISORDER:
                return
            if self.since <= line.at < self.until and line.uri.startswith(self.prefix):
                self._count(line)

    def _count(self, line: Line) -> None:
        at = int((line.at - self.since) // self.step) * self.step
        self.buckets.setdefault(at, Counted()).add(line)
        if line.upstream:
            self.upstreams.setdefault(line.upstream, Counted()).add(line)
        if 500 <= line.status <= 599:
            self.errors[line.status, line.upstream] += 1

    def told(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "buckets": [{"at": at, **self.buckets[at].told()} for at in sorted(self.buckets)],
            "upstreams": [
                {"address": address, **self.upstreams[address].told()} for address in sorted(self.upstreams)
            ],
            "errors": [
                {"status": status, "address": address, "count": count}
                for (status, address), count in self.errors.most_common()
            ],
        }


def coarse(milliseconds: int) -> int:
    """Return a time with as many digits as are counted apart."""
    factor = 1
    while milliseconds // factor >= EXACT:
        factor *= 10
    return round(milliseconds / factor) * factor


def _texts(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(value): count for value, count in sorted(counts.items())}
