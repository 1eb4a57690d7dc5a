# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which setting is tried, and which of those that were is kept."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.filter.load_test import load_test_judged, load_test_next

SETTINGS = {"platform_pool_size": 20, "platform_app_ports": [3000]}


def run(p95: float | None = 100.0, errors: float | None = 0.0, *proposals: dict[str, Any]) -> dict[str, Any]:
    results = [
        {"metric": metric, "measured": value is not None, "value": value}
        for metric, value in (("latency_p95", p95), ("error_rate", errors))
    ]
    findings = [{"sentence": f"Finding {n}.", "proposal": one} for n, one in enumerate(proposals)]
    return {"seconds": 50, "totals": {"requests": 1000}, "slo": {"results": results}, "findings": findings}


def test_proposals_are_tried_in_their_order_and_once() -> None:
    found = run(100, 0, {}, {"platform_pool_size": 30}, {"platform_app_ports": [3000, 3001]})
    first = load_test_next(found, SETTINGS, [])
    assert first == {
        "variable": "platform_pool_size",
        "from": 20,
        "to": 30,
        "because": "Finding 1.",
        "before": {"p95": 100, "errors": 0, "rate": 20.0},
    }
    second = load_test_next(found, SETTINGS, [first])
    assert (second["variable"], second["from"], second["to"]) == ("platform_app_ports", [3000], [3000, 3001])
    assert load_test_next(found, SETTINGS, [first, second]) == {}


def test_failures_are_said_as_people_read_them() -> None:
    found = run(100, 41.3946587537092, {"platform_pool_size": 30})
    assert load_test_next(found, SETTINGS, [])["before"]["errors"] == 41.3947


def test_another_value_of_the_same_setting_is_another_attempt() -> None:
    found = run(100, 0, {"platform_pool_size": 45})
    tried = [{"variable": "platform_pool_size", "to": 30}]
    assert load_test_next(found, SETTINGS, tried)["to"] == 45


@pytest.mark.parametrize("found", [run(), {}, run(100, 0, {})])
def test_where_nothing_is_proposed_nothing_is_tried(found: dict[str, Any]) -> None:
    assert load_test_next(found, SETTINGS, []) == {}


@pytest.mark.parametrize(
    ("p95", "errors", "kept"),
    [
        (94.9, 0.5, True),
        # By so much two load tests of the same platform differ.
        (96, 0.5, False),
        (100, 0.5, False),
        (150, 0.5, False),
        # Fewer failures are worth more than time, and more of them are worth none.
        (150, 0.1, True),
        (20, 0.6, False),
        # Also of failures there are some more or less by themselves.
        (150, 0.49, False),
        (90, 0.51, True),
        # What was not measured shows nothing.
        (None, 0.5, False),
        (20, None, False),
    ],
)
def test_what_helps_is_kept(p95: float | None, errors: float | None, *, kept: bool) -> None:
    attempt = load_test_next(run(100, 0.5, {"platform_pool_size": 30}), SETTINGS, [])
    found = load_test_judged(attempt, run(p95, errors))
    assert found["kept"] is kept
    assert found["after"]["p95"] == p95
    assert found["variable"] == "platform_pool_size"
