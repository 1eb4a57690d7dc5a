# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured, in which unit, and by whom; and what one source says. No input or output here."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

# Every unit: what it is a unit of, and how many of the base unit it is.
UNITS: dict[str, tuple[str, Decimal]] = {
    "ms": ("time", Decimal(1)),
    "s": ("time", Decimal(1000)),
    "%": ("share", Decimal(1)),
    "ratio": ("share", Decimal(100)),
    "users": ("users", Decimal(1)),
}
SOURCES = ("artillery", "k6", "nginx", "prometheus", "postgres", "redis")


class NotMeasured(Exception):  # noqa: N818  # it reads as what it is
    """A source, or what it says of one metric, measures nothing. The message is a clause that says why."""


class Unreachable(NotMeasured):
    """Nobody is there, whatever would be asked."""


@dataclass(frozen=True)
class Metric:
    """Something that sources tell, in one unit whoever tells it."""

    unit: str
    comparison: str
    # Who is believed before whom. docs/slo.md and the module's page say so too.
    sources: tuple[str, ...]


# The client's own view comes before the balancer's: only the client knows of what never arrived.
_REQUESTS = ("artillery", "k6", "nginx", "prometheus")
METRICS: dict[str, Metric] = {
    **{f"latency_{which}": Metric("ms", "<", _REQUESTS) for which in ("mean", "p50", "p90", "p95", "p99")},
    # A histogram has no highest value.
    "latency_max": Metric("ms", "<", ("artillery", "k6", "nginx")),
    "error_rate": Metric("%", "<", _REQUESTS),
    # A prober sees the weeks, a report only the minutes that it took.
    "availability": Metric("%", ">=", ("prometheus", "artillery", "k6", "nginx")),
    "concurrent_users": Metric("users", ">=", ("artillery", "k6")),
    "query_time_mean": Metric("ms", "<", ("postgres", "prometheus")),
    "query_time_worst": Metric("ms", "<", ("postgres",)),
    "query_time_p95": Metric("ms", "<", ("prometheus",)),
    "query_time_p99": Metric("ms", "<", ("prometheus",)),
    "cache_hit_rate": Metric("%", ">", ("redis", "prometheus")),
}


@dataclass(frozen=True)
class Value:
    """What a source says of a metric, in the metric's unit."""

    value: float
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """What one source says."""

    source: str
    # The file, server or address, for people.
    where: str
    values: Mapping[str, Value] = field(default_factory=dict)
    # Why it says nothing of a metric that such a source can tell.
    missing: Mapping[str, str] = field(default_factory=dict)
    # Why it says nothing at all.
    problem: str = ""

    @property
    def name(self) -> str:
        return f"{self.source} ({self.where})" if self.where else self.source


def number(value: Any, what: str) -> float:
    """Return a number of a report that is one: neither a text nor NaN, and not below zero."""
    try:
        read = math.nan if isinstance(value, bool | str) else float(value)
    except (TypeError, ValueError, OverflowError):
        read = math.nan
    if not math.isfinite(read) or read < 0:
        raise NotMeasured(f"{what} is no number of 0 or more")
    return read


def table(value: Any, what: str) -> Mapping[str, Any]:
    """Return an object of a report that is one."""
    if not isinstance(value, dict):
        raise NotMeasured(f"{what} is missing" if value is None else f"{what} is no object")
    return value


def without_times_of_failures(values: dict[str, Value], missing: dict[str, str], where: str) -> None:
    """Take response times away where no request succeeded: how quickly it failed is none."""
    if "availability" in values and not values["availability"].value:
        for metric in [metric for metric in values if metric.startswith("latency_")]:
            del values[metric]
            missing[metric] = f"{where}: every request failed, so there is no response time"


def share(part: float, whole: float) -> float:
    """Return a part in percent. More errors than requests are still no more than all."""
    return min(100 * part / whole, 100.0)
