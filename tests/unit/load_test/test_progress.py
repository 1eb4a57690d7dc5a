# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a load test is, as its tools tell it, and when one is begun."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.module_utils._load_test.io import K6
from ansible_collections.payaid.scaling.plugins.module_utils._load_test.plan import Runs, plan
from ansible_collections.payaid.scaling.plugins.module_utils._load_test.progress import (
    Progress,
    of_artillery,
    of_k6,
    sentence,
)
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from hypothesis import given
from hypothesis import strategies as st

from ..collection.tree import ROOT

# What Artillery 2.0.34 wrote, two slices of it.
SLICES = [
    '{"period":"1795827230000","counters":{"vusers.created":100,"http.requests":200,"http.codes.200":197,'
    '"http.codes.502":2,"http.codes.429":1,"vusers.failed":0,"vusers.completed":90},'
    '"summaries":{"http.response_time":{"min":0,"max":23,"count":200,"mean":1.5,"p50":0,"p95":7,"p99":15}}}',
    '{"period":"1795827240000","counters":{"vusers.created":100,"http.requests":200,"http.codes.200":196,'
    '"errors.ETIMEDOUT":3,"vusers.failed":3,"vusers.completed":100},'
    '"summaries":{"http.response_time":{"min":0,"max":74,"count":197,"mean":2.5,"p50":1,"p95":10.1,"p99":18}}}',
]
# What k6 1.1.0 answered at /v1/metrics, as far as it is read.
ANSWER: dict[str, Any] = {
    "data": [
        {
            "type": "metrics",
            "id": "http_reqs",
            "attributes": {"type": "counter", "sample": {"count": 400, "rate": 40}},
        },
        {
            "type": "metrics",
            "id": "http_req_failed",
            "attributes": {"type": "rate", "sample": {"rate": 0.01}},
        },
        {"type": "metrics", "id": "vus", "attributes": {"type": "gauge", "sample": {"value": 57}}},
        {
            "type": "metrics",
            "id": "http_req_duration",
            "attributes": {"type": "trend", "sample": {"avg": 4.2, "p(95)": 12.5}},
        },
        {
            "type": "metrics",
            "id": "limited",
            "attributes": {"type": "counter", "sample": {"count": 2, "rate": 1}},
        },
    ]
}


def test_slices_of_artillery_are_added_up() -> None:
    # 10 of the first slice are still there, and of the second slice 3 have failed.
    assert of_artillery(SLICES) == Progress(requests=400, failed=5, limited=1, users=7, p95=10.1)


def test_a_line_that_is_half_written_is_left_for_the_next_look() -> None:
    assert of_artillery([SLICES[0], SLICES[1][:60]]) == of_artillery(SLICES[:1])


def test_before_the_first_slice_nothing_is_known() -> None:
    assert of_artillery([]) == Progress() == of_k6({"data": []})


def test_where_nothing_was_answered_the_last_time_stands() -> None:
    silent = json.dumps({"counters": {"http.requests": 5, "errors.ECONNREFUSED": 5}, "summaries": {}})
    assert of_artillery([SLICES[0], silent]).p95 == 7
    assert of_artillery([silent]).p95 is None


def test_k6_tells_everything_since_its_begin() -> None:
    assert of_k6(ANSWER) == Progress(requests=400, failed=4, limited=2, users=57, p95=12.5)


@given(st.lists(st.sampled_from(SLICES), max_size=6))
def test_no_slice_makes_it_less(slices: Sequence[str]) -> None:
    one, two = of_artillery(slices), of_artillery([*slices, SLICES[0]])
    assert two.requests == one.requests + 200
    assert two.failed >= one.failed
    assert two.users >= 0


def test_a_line_says_how_it_goes_since_the_last_one() -> None:
    now = {"requests": 1900, "failed": 2, "limited": 0, "users": 12, "p95": 23.4}
    before = {"requests": 900, "seconds": 50}
    assert sentence(60, 360, now, before) == (
        "60 of about 360 s: 100 requests/s, p95 23 ms, 12 users, 2 of 1900 failed"
    )
    assert sentence(60, 360, {**now, "p95": None, "limited": 7}, before).endswith(
        "p95 -, 12 users, 2 of 1900 failed, 7 limited"
    )
    # No rate of nothing where nobody has told of anything; those of a WebSocket ask for nothing.
    nothing = Progress().told()
    assert sentence(10, 360, nothing, {}) == "10 of about 360 s: nothing is told of it yet"
    assert "p95 -, 3 users, 0 of 0 failed" in sentence(10, 360, {**nothing, "users": 3}, {})


def test_k6_is_asked_where_it_is_told_to_listen() -> None:
    role = yaml.safe_load((ROOT / "roles/load_test/vars/main.yml").read_text())
    assert role["__load_test_k6_address"] == ":".join(map(str, K6))


NEVER = Runs("inactive")
UNDER_WAY = Runs("active", begun=True)
ENDED = Runs("inactive", begun=True)
BROKEN = Runs("failed", "exit-code", 1, begun=True)


@pytest.mark.parametrize(
    ("seen", "wanted", "actions"),
    [
        (NEVER, "ended", ["Begin the load test r1."]),
        (NEVER, "started", ["Begin the load test r1."]),
        (
            replace(NEVER, left=("a", "b")),
            "started",
            ["Take away what is left of a, b.", "Begin the load test r1."],
        ),
        (replace(UNDER_WAY, left=("a",)), "started", []),
        (NEVER, "read", []),
        (NEVER, "stopped", []),
        # It is waited for, and not begun twice, however it has ended.
        (UNDER_WAY, "ended", []),
        (ENDED, "ended", []),
        (BROKEN, "started", []),
        (UNDER_WAY, "stopped", ["End the load test r1."]),
        (Runs("activating", begun=True), "stopped", ["End the load test r1."]),
        (BROKEN, "stopped", []),
    ],
)
def test_what_is_done(seen: Runs, wanted: str, actions: Sequence[str]) -> None:
    steps = plan(seen, "r1", wanted, "gen1")
    assert [step.describe() for step in steps] == actions
    assert plan(simulate(seen, steps), "r1", wanted, "gen1") == ()


def test_two_load_tests_at_once_would_measure_each_other() -> None:
    busy = Runs("inactive", others=("r0",))
    with pytest.raises(
        Refusal, match=r"gen1: the load test r0 is still running there: .*stop payaid-load-test@r0"
    ):
        plan(busy, "r1", "started", "gen1")
    assert plan(busy, "r1", "read", "gen1") == ()
