# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted: the defaults, and what may be said otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._slo.targets import Target, wanted

DEFAULTS = {
    "api_response_time_p95": "latency_p95 < 200 ms",
    "database_query_time": "query_time_mean < 50 ms",
    "cache_hit_rate": "cache_hit_rate > 70 %",
    "error_rate": "error_rate < 0.1 %",
    "availability": "availability >= 99.9 %",
    "concurrent_users": "concurrent_users >= 10000 users",
}


def told(given: dict[str, Any]) -> dict[str, str]:
    return {target.name: f"{target.metric} {target.text}" for target in wanted(given)}


def only(given: dict[str, Any]) -> Target:
    (target,) = (target for target in wanted(given) if target.name in given)
    return target


def test_the_defaults_are_those_of_the_blueprint() -> None:
    assert told({}) == DEFAULTS


CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"error_rate": 1}, "error_rate < 1 %"),
    ({"error_rate": "0.5"}, "error_rate < 0.5 %"),
    ({"error_rate": {"bound": 0.2, "comparison": "<="}}, "error_rate <= 0.2 %"),
    ({"error_rate": {"bound": 0.001, "unit": "ratio"}}, "error_rate < 0.001 ratio"),
    ({"error_rate": {"source": "nginx"}}, "error_rate < 0.1 %"),
    ({"error_rate": {"query": "my_errors"}}, "error_rate < 0.1 %"),
    ({"error_rate": {"metric": "availability", "comparison": ">", "bound": 99}}, "availability > 99 %"),
    ({"database_query_time": {"metric": "query_time_p95"}}, "query_time_p95 < 50 ms"),
    ({"database_query_time": {"metric": "error_rate", "bound": 2}}, "error_rate < 2 %"),
    ({"latency_p99": 500}, "latency_p99 < 500 ms"),
    ({"slowest": {"metric": "latency_max", "bound": 2, "unit": "s"}}, "latency_max < 2 s"),
    ({"lag": {"query": "lag", "comparison": "<", "bound": 5, "unit": "s"}}, "lag < 5 s"),
    ({"queue": {"query": "jobs", "comparison": "<=", "bound": 0}}, "queue <= 0"),
    (
        {"temperature": {"query": "t", "comparison": ">", "bound": -1.5, "unit": "°C"}},
        "temperature > -1.5 °C",
    ),
]


@pytest.mark.parametrize(("given", "text"), CHANGES)
def test_one_target_is_changed_and_the_others_stay(given: dict[str, Any], text: str) -> None:
    assert told(given) == DEFAULTS | dict.fromkeys(given, text)


def test_one_target_is_left_out_and_the_others_stay() -> None:
    assert told({"error_rate": False}) == {n: t for n, t in DEFAULTS.items() if n != "error_rate"}


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"error_rat": False}, "leaves out a target that there is not"),
    ({"error_rate": None}, "needs a bound that is a number"),
    ({"error_rate": True}, "needs a bound that is a number"),
    ({"error_rate": "much"}, "needs a bound that is a number"),
    ({"error_rate": [1]}, "needs a bound that is a number"),
    ({"error_rate": float("nan")}, "needs a bound that is a number"),
    ({"error_rate": "inf"}, "needs a bound that is a number"),
    ({"error_rate": {"bound": None}}, "needs a bound that is a number"),
    ({"error_rate": 10**400}, "needs a bound that is a number"),
    ({"error_rate": {"max": 1}}, "has max, which is none of metric, comparison, bound"),
    ({"error_rate": {"comparison": "less", "bound": 1}}, "needs a comparison, one of <, <=, >, >="),
    ({"error_rate": {"comparison": ["<"], "bound": 1}}, "needs a comparison, one of <, <=, >, >="),
    ({"error_rate": {"unit": "ratio"}}, "is in another unit than its default, so give its bound too"),
    ({"error_rate": {"metric": "latency_p95"}}, "is in another unit than its default, so give its bound too"),
    ({"error_rate": {"unit": "ms", "bound": 1}}, "and error_rate is told in % or ratio"),
    ({"latency_p95": {"unit": "parsec", "bound": 1}}, "and latency_p95 is told in ms or s"),
    (
        {"error_rate": {"source": "redis"}},
        "cannot tell error_rate: take artillery or k6 or nginx or prometheus",
    ),
    ({"error_rate": {"source": "apm"}}, "which cannot be asked that"),
    ({"error_rate": {"source": "nginx", "query": "q"}}, "which cannot be asked that: take prometheus"),
    ({"lag": 5}, "has the metric lag, none of latency_mean"),
    ({"lag": {"bound": 5, "query": "lag"}}, "needs a comparison"),
    (dict.fromkeys(DEFAULTS, False), "a check of nothing would always pass"),
]


@pytest.mark.parametrize(("given", "sentence"), REFUSALS)
def test_what_makes_no_sense_is_refused_by_its_name(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Refusal) as refused:
        wanted(given)
    assert sentence in refused.value.message
    assert next(iter(given)) in refused.value.message or len(given) > 1
    assert refused.value.message.endswith(".")


COMPARED: list[tuple[str, float, float, bool]] = [
    ("<", 200, 199.999, True),
    ("<", 200, 200, False),
    ("<=", 200, 200, True),
    (">", 70, 70, False),
    (">=", 70, 70, True),
    (">=", 70, 69.999, False),
]


@pytest.mark.parametrize(("comparison", "bound", "value", "met"), COMPARED)
def test_at_the_bound(comparison: str, bound: float, value: float, met: bool) -> None:
    target = only({"error_rate": {"comparison": comparison, "bound": bound}})
    assert target.met_by(value) is met


def test_a_value_is_told_in_the_unit_of_the_target_and_compared_without_rounding() -> None:
    # In binary, 100 * 0.07 is a little more than 7.
    ratio = only({"error_rate": {"bound": 0.07, "unit": "ratio", "comparison": "<="}})
    assert (ratio.told_in(7.0), ratio.met_by(7.0), ratio.met_by(7.000001)) == (0.07, True, False)
    seconds = only({"latency_p95": {"bound": 0.2, "unit": "s"}})
    assert (seconds.told_in(199.9), seconds.met_by(199.9), seconds.met_by(200.0)) == (0.1999, True, False)


def test_a_query_is_answered_in_the_unit_of_its_target() -> None:
    target = only({"latency_p95": {"bound": 0.2, "unit": "s", "query": "seconds"}})
    assert (target.told_in(0.1), target.met_by(0.1)) == (0.1, True)
    assert target.sources == ("prometheus",)
