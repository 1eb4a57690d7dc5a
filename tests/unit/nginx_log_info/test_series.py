# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What load balancers have logged, over time, and that of several put together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import NotMeasured
from ansible_collections.payaid.scaling.plugins.module_utils._slo.series import Series, coarse
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_test.edge import together
from hypothesis import given
from hypothesis import strategies as st

SINCE = 1_800_000_000.0
NAMES = {"10.0.0.21": "app1", "10.0.0.22": "app2"}


def line(at: float, **fields: Any) -> bytes:
    """Return a line as the role nginx has it written, so many seconds after the begin."""
    told = {
        "time": datetime.fromtimestamp(SINCE + at, UTC).isoformat(timespec="seconds"),
        "uri": "/api/contacts",
        "status": 200,
        "request_time": 0.012,
        "upstream": "10.0.0.21:3000",
    }
    return json.dumps(told | fields).encode()


def told(*lines: bytes, until: float = 60, step: int = 5) -> dict[str, Any]:
    series = Series(SINCE, SINCE + until, step, "/api/")
    series.add("access.log", reversed(lines))
    return series.told()


def edge(*logs: dict[str, Any]) -> dict[str, Any]:
    return together(logs, NAMES)


def test_answers_are_counted_in_steps() -> None:
    found = edge(told(line(0), line(4), line(5), line(17, status=502), line(18, status=429)))
    assert [(one["at"], one["requests"], one["failed"], one["limited"]) for one in found["buckets"]] == [
        (0, 2, 0, 0),
        (5, 1, 0, 0),
        # Where nobody asked a line would else be drawn past it.
        (10, 0, 0, 0),
        (15, 2, 1, 1),
    ]
    assert found["buckets"][2]["p95"] is None
    assert found["codes"] == {"200": 3, "429": 1, "502": 1}


def test_what_is_outside_of_the_time_or_no_answer_of_the_app_is_left_out() -> None:
    lines = [line(-1), line(0), line(3, uri="/_next/static/a.js"), line(59), line(60), line(61)]
    assert sum(one["requests"] for one in edge(told(*lines))["buckets"]) == 2


def test_lines_that_are_written_a_little_late_are_found() -> None:
    # The last line of the file is of an earlier second than the one before it.
    assert edge(told(line(1), line(-3), line(2)))["codes"] == {"200": 2}


def test_who_was_asked_last_has_answered() -> None:
    found = edge(told(line(1, upstream="10.0.0.21:3000, 10.0.0.22:3001"), line(2), line(3, upstream="")))
    assert [(one["name"], one["requests"]) for one in found["upstreams"]] == [
        ("app1 (10.0.0.21:3000)", 1),
        ("app2 (10.0.0.22:3001)", 1),
    ]


def test_errors_are_told_apart() -> None:
    lines = [line(1, status=502), line(2, status=502), line(3, status=503, upstream=""), line(4, status=404)]
    assert edge(told(*lines))["errors"] == [
        {"kind": "502 from app1 (10.0.0.21:3000)", "count": 2},
        {"kind": "503 by nginx itself", "count": 1},
    ]


def test_times_of_refusals_and_of_websockets_are_none() -> None:
    lines = [line(1), line(1, status=429, request_time=0), line(1, status=101, request_time=50)]
    [bucket] = edge(told(*lines))["buckets"]
    assert bucket["p50"] == bucket["p99"] == 12


def test_two_load_balancers_are_one() -> None:
    one = told(*[line(1, request_time=0.010)] * 90, line(6))
    two = told(*[line(1, request_time=0.090)] * 10)
    [first, _second] = edge(one, two, {})["buckets"]
    assert (first["requests"], first["p50"], first["p95"]) == (100, 10, 90)


def test_of_nobody_there_is_nothing() -> None:
    assert edge() == edge({}) == {}
    assert edge(told())["buckets"] == []


def test_another_log_is_refused() -> None:
    with pytest.raises(NotMeasured, match="is not of the role nginx"):
        told(b"127.0.0.1 - - [01/Jan/2026] GET /")


@given(st.integers(0, 10**7))
def test_times_are_exact_to_a_twentieth(milliseconds: int) -> None:
    assert abs(coarse(milliseconds) - milliseconds) <= milliseconds / 20
    assert milliseconds >= 100 or coarse(milliseconds) == milliseconds


@given(
    st.lists(st.tuples(st.integers(0, 59), st.sampled_from([200, 429, 500, 502])), max_size=40),
    st.integers(0, 40),
)
def test_how_they_are_spread_over_load_balancers_does_not_matter(
    answers: Sequence[tuple[int, int]], cut: int
) -> None:
    lines = [line(at, status=status) for at, status in sorted(answers)]
    assert edge(told(*lines[:cut]), told(*lines[cut:])) == edge(told(*lines))
    assert edge(told(*lines))["codes"] == {
        str(code): count for code, count in sorted(Counter(status for _at, status in answers).items())
    }
