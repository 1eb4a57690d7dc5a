# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets against readings: a target never passes by luck, by rounding or by silence."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._slo.judge import (
    failure,
    judge,
    rounded,
    summary,
    text_table,
)
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import METRICS, Reading, Value
from ansible_collections.payaid.scaling.plugins.module_utils._slo.targets import COMPARISONS, Target, wanted
from hypothesis import example, given
from hypothesis import strategies as st

VALUES = st.floats(min_value=0, max_value=1e9, allow_nan=False)
NOTHING: dict[str, Any] = {}


def target(metric: str = "error_rate", comparison: str = "<", bound: float = 1, **more: Any) -> Target:
    (made,) = (
        one
        for one in wanted({"it": {"metric": metric, "comparison": comparison, "bound": bound, **more}})
        if one.name == "it"
    )
    return made


def reading(source: str, **values: float) -> Reading:
    return Reading(source, f"/{source}", {metric: Value(value) for metric, value in values.items()})


def holds(value: float, comparison: str, bound: float) -> bool:
    """The comparison once more, as Python has it."""
    return bool(eval(f"{value!r} {comparison} {bound!r}"))  # noqa: S307  # numbers and one of four signs


@given(VALUES, st.sampled_from(COMPARISONS), VALUES)
def test_a_target_is_met_if_and_only_if_its_value_keeps_the_bound(
    value: float, comparison: str, bound: float
) -> None:
    (result,) = judge([target(comparison=comparison, bound=bound)], [reading("nginx", error_rate=value)])
    assert result.met is holds(value, comparison, bound)
    sentence = failure([result], [], unmeasured_fails=True)
    assert bool(sentence) is not result.met


@given(VALUES, st.sampled_from(COMPARISONS), VALUES)
@example(69.998, ">", 70)
@example(50.004, "<", 50)
def test_what_is_shown_is_on_the_same_side_of_the_bound(value: float, comparison: str, bound: float) -> None:
    wanted_ = target(comparison=comparison, bound=bound)
    shown = rounded(value, wanted_.comparison, wanted_.bound)
    assert holds(float(shown), comparison, bound) is holds(value, comparison, bound)
    assert holds(value, comparison, bound) or float(shown) != bound or value == bound
    assert float(shown) == pytest.approx(value, abs=0.006)


@given(st.lists(st.sampled_from(["artillery", "k6", "nginx", "prometheus"]), unique=True), st.data())
def test_the_first_source_in_the_order_decides_whatever_the_order_they_come_in(
    sources: list[str], data: st.DataObject
) -> None:
    readings = [reading(source, error_rate=data.draw(VALUES)) for source in sources]
    (result,) = judge([target(bound=5)], readings)
    able = [source for source in METRICS["error_rate"].sources if source in sources]
    told = {one.source: one.values["error_rate"].value for one in readings}
    if not able:
        assert (result.value, result.met) == (None, False)
        return
    assert (result.source, result.value) == (f"{able[0]} (/{able[0]})", told[able[0]])
    assert [value for _source, value in result.others] == [told[source] for source in able[1:]]


@given(st.dictionaries(st.sampled_from([*METRICS]), VALUES), st.booleans())
def test_what_nobody_measures_is_never_met(values: dict[str, float], broken: bool) -> None:
    readings = [Reading(one, "", problem="it broke") if broken else reading(one, **values) for one in SOURCES]
    for result in judge(wanted({}), readings):
        able = result.target.metric in values and not broken
        assert (result.value is not None) is able
        if not able:
            assert not result.met
            assert result.reason
            assert failure([result], [], unmeasured_fails=True)
            assert not failure([result], [], unmeasured_fails=False)


SOURCES = ("artillery", "k6", "nginx", "prometheus", "postgres", "redis")


def test_a_pinned_source_is_the_only_one_that_is_believed() -> None:
    readings = [reading("artillery", error_rate=0.0), reading("nginx", error_rate=3.0)]
    (result,) = judge([target(source="nginx")], readings)
    assert (result.value, result.met, result.others) == (3.0, False, ())
    (result,) = judge([target(source="k6")], readings)
    assert result.reason == "k6 would tell, and none of them is given"


def test_a_query_is_answered_by_what_was_asked_for_it_and_by_nothing_else() -> None:
    mine = target(query="my_errors")
    readings = [reading("prometheus", error_rate=0.0)]
    assert judge([mine], readings)[0].value is None
    readings = [Reading("prometheus", "/p", {"query of it": Value(2.0)})]
    assert (judge([mine], readings)[0].value, judge([mine], readings)[0].met) == (2.0, False)


def test_one_sentence_names_every_target_that_is_missed_and_all_silences_once() -> None:
    targets = wanted({"concurrent_users": False, "cache_hit_rate": False})
    readings = [
        reading("k6", latency_p95=312.4, error_rate=0.05, availability=99.2),
        Reading("postgres", "", problem="db1:5432: PostgreSQL says no"),
        Reading("redis", "", problem="Redis at r1:6379 cannot be asked (no route)"),
    ]
    results = judge(targets, readings)
    problems = summary(results, readings)["problems"]
    assert failure(results, problems, unmeasured_fails=True) == (
        "Performance targets are missed: api_response_time_p95 is 312.4 ms (target < 200 ms, by k6 (/k6)), "
        "availability is 99.2 % (target >= 99.9 %, by k6 (/k6)); "
        "database_query_time was not measured, because db1:5432: PostgreSQL says no; "
        "a source that was given tells nothing, because Redis at r1:6379 cannot be asked (no route)."
    )
    assert "postgres" not in failure(results, problems, unmeasured_fails=False)


def test_a_source_that_is_given_and_broken_fails_a_gate_that_others_would_pass() -> None:
    readings = [
        reading("nginx", error_rate=0.0),
        Reading("artillery", "", problem="/a.json: the file is empty"),
    ]
    results = judge([target()], readings)
    told = summary(results, readings)
    assert (results[0].met, told["passed"], told["missed"], told["unmeasured"]) == (True, False, [], [])
    assert failure(results, told["problems"], unmeasured_fails=True) == (
        "a source that was given tells nothing, because /a.json: the file is empty."
    )


def test_targets_without_a_value_for_the_same_reason_share_a_clause() -> None:
    results = judge([*wanted({})], [Reading("k6", "", problem="/k.json: the file is empty")])
    sentence = failure(results, ["/k.json: the file is empty"], unmeasured_fails=True)
    assert sentence.count("/k.json") == 1
    assert "api_response_time_p95 and error_rate and availability and concurrent_users were not" in sentence


def test_the_table_has_a_line_for_each_target() -> None:
    results = judge(
        wanted({}), [reading("k6", latency_p95=180.123, error_rate=0.1, concurrent_users=12000.0)]
    )
    head, *rows = text_table(results).splitlines()
    assert head.split() == ["TARGET", "VALUE", "WANTED", "VERDICT", "MEASURED", "BY"]
    assert [row.split("  ")[0] for row in rows] == [one.name for one in wanted({})]
    told = {row.split()[0]: " ".join(row.split()[1:]) for row in rows}
    assert told["api_response_time_p95"] == "180.12 ms < 200 ms pass k6 (/k6)"
    assert told["error_rate"] == "0.1 % < 0.1 % MISSED k6 (/k6)"
    assert told["concurrent_users"] == "12000 users >= 10000 users pass k6 (/k6)"
    assert told["cache_hit_rate"].startswith("- > 70 % not measured redis or prometheus would tell")
