# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted: the targets of the blueprint, and what is said otherwise."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import METRICS, SOURCES, UNITS

COMPARISONS = ("<", "<=", ">", ">=")
TEXT = re.compile(r"(<=|<|>=|>) (-?[0-9.]+)(?: (.+))?")
FIELDS = ("metric", "comparison", "bound", "unit", "source", "query")
# The blueprint's Performance Targets, in the units of the metrics.
DEFAULTS: dict[str, dict[str, Any]] = {
    "api_response_time_p95": {"metric": "latency_p95", "comparison": "<", "bound": 200},
    "database_query_time": {"metric": "query_time_mean", "comparison": "<", "bound": 50},
    "cache_hit_rate": {"metric": "cache_hit_rate", "comparison": ">", "bound": 70},
    "error_rate": {"metric": "error_rate", "comparison": "<", "bound": 0.1},
    "availability": {"metric": "availability", "comparison": ">=", "bound": 99.9},
    "concurrent_users": {"metric": "concurrent_users", "comparison": ">=", "bound": 10000},
}


@dataclass(frozen=True)
class Target:
    """A name, a metric, a comparison and a bound."""

    name: str
    metric: str
    comparison: str
    bound: float
    unit: str
    sources: tuple[str, ...]
    # What Prometheus is asked, where the target brings its own question.
    query: str = ""

    @property
    def key(self) -> str:
        """By what the value of this target is found in a reading."""
        return f"query of {self.name}" if self.query else self.metric

    @property
    def text(self) -> str:
        return f"{self.comparison} {plain(self.bound)} {self.unit}".rstrip()

    def told_in(self, value: float) -> float:
        """Return a value of the metric in the unit of the target."""
        return float(self._exact(value))

    def met_by(self, value: float) -> bool:
        """Compare a value of the metric with the bound, in decimals: 0.07 ratio is 7 % and no more."""
        return compare(self._exact(value), self.comparison, Decimal(repr(self.bound)))

    def _exact(self, value: float) -> Decimal:
        own = METRICS[self.metric].unit if self.key in METRICS else self.unit
        if own == self.unit:
            return Decimal(repr(value))
        return Decimal(repr(value)) * UNITS[own][1] / UNITS[self.unit][1]


def compare(value: Decimal, comparison: str, bound: Decimal) -> bool:
    if comparison == "<":
        return value < bound
    if comparison == "<=":
        return value <= bound
    return value > bound if comparison == ">" else value >= bound


def bound_of(text: str) -> tuple[str, float]:
    """Read back what the text of a target says: how a value is compared, and with what."""
    found = TEXT.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no comparison with a bound")
    return found[1], float(found[2])


def plain(value: float) -> str:
    """Write a number as people do: 10000 and 0.1."""
    return format(Decimal(repr(value)).normalize(), "f")


def wanted(given: Mapping[str, Any]) -> tuple[Target, ...]:
    """Lay what is given over the defaults. Only false leaves a target out, so that none goes by chance."""
    fields = {name: dict(default) for name, default in DEFAULTS.items()}
    for name, said in given.items():
        if said is False:
            if fields.pop(name, None) is None:
                raise Refusal(f"targets.{name}=false leaves out a target that there is not: {_known()}.")
            continue
        told = said if isinstance(said, dict) else {"bound": said}
        if unknown := sorted(str(field) for field in told if field not in FIELDS):
            raise Refusal(f"targets.{name} has {unknown[0]}, which is none of {', '.join(FIELDS)}.")
        fields[name] = _laid_over(name, fields.get(name, {}), told)
    if not fields:
        raise Refusal("targets leaves out every target: a check of nothing would always pass.")
    return tuple(_target(name, told) for name, told in fields.items())


def _known() -> str:
    return f"the defaults are {', '.join(DEFAULTS)}"


def _laid_over(name: str, default: Mapping[str, Any], told: Mapping[str, Any]) -> dict[str, Any]:
    """A bound of the defaults is in the unit of its metric; in another one it would mean something else."""
    if default and "bound" not in told:
        own = METRICS[default["metric"]].unit
        metric = METRICS.get(str(told.get("metric", default["metric"])))
        if told.get("unit", own) != own or (metric and metric.unit != own):
            raise Refusal(f"targets.{name} is in another unit than its default, so give its bound too.")
    return {**default, **told}


def _target(name: str, told: Mapping[str, Any]) -> Target:
    query, metric = str(told.get("query") or ""), str(told.get("metric") or name)
    known = METRICS.get(metric)
    if known is None and not query:
        raise Refusal(
            f"targets.{name} has the metric {metric}, none of {', '.join(METRICS)}; another needs a query."
        )
    comparison = told.get("comparison") or (known.comparison if known else "")
    if comparison not in COMPARISONS:
        raise Refusal(f"targets.{name} needs a comparison, one of {', '.join(COMPARISONS)}.")
    unit = str(told.get("unit") or (known.unit if known else ""))
    # What a query answers has whatever unit the target says.
    if known and not query and UNITS.get(unit, ("", 0))[0] != UNITS[known.unit][0]:
        fitting = [name for name, (kind, _factor) in UNITS.items() if kind == UNITS[known.unit][0]]
        raise Refusal(f"targets.{name} has the unit {unit}, and {metric} is told in {' or '.join(fitting)}.")
    return Target(
        name, metric, comparison, _bound(name, told), unit, _sources(name, told, metric, query), query
    )


def _bound(name: str, told: Mapping[str, Any]) -> float:
    """Take a text too, because -e on the command line makes one of every number."""
    bound = told.get("bound")
    try:
        read = math.nan if isinstance(bound, bool | None) else float(bound)
    except (TypeError, ValueError, OverflowError):
        read = math.nan
    if not math.isfinite(read):
        raise Refusal(
            f"targets.{name} needs a bound that is a number, false to leave it out, or both in a dict."
        )
    return read


def _sources(name: str, told: Mapping[str, Any], metric: str, query: str) -> tuple[str, ...]:
    source = told.get("source")
    able = ("prometheus",) if query else METRICS[metric].sources
    if source is None:
        return able
    if source not in able:
        known = f"cannot tell {metric}" if source in SOURCES and not query else "cannot be asked that"
        raise Refusal(f"targets.{name} has the source {source}, which {known}: take {' or '.join(able)}.")
    return (str(source),)
