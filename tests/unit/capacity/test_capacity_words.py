# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people see of a plan: lines for a terminal, and the charts of the page."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from ansible_collections.payaid.scaling.plugins.filter.capacity import (
    capacity_charts,
    capacity_inventory,
    capacity_phases,
    capacity_plan,
    capacity_text,
    capacity_weeks,
)
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.words import money
from hypothesis import given, settings
from hypothesis import strategies as st

from .test_capacity_inventory import FEATURES, TABLE, inventory

POINT = re.compile(r"(-?[\d.]+) (-?[\d.]+)")


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in POINT.findall(path)]


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (8000, 15000, "₹8K-15K"),
        (18500, 37500, "₹18.5K-37.5K"),
        (0, 0, "₹0"),
        (999, 1000, "₹999-1K"),
        (16667, 16667, "₹16.7K"),
        (1250000, 2000000, "₹1,250K-2,000K"),
    ],
)
def test_amounts_are_written_as_the_blueprint_does(low: int, high: int, wanted: str) -> None:
    assert money(low, high) == wanted


def test_the_lines_say_what_people_ask() -> None:
    figures = {"users": 10000}
    report = {
        "plan": capacity_plan(figures),
        "phases": capacity_phases(figures),
        "weeks": capacity_weeks(figures, TABLE, FEATURES),
        "inventory": capacity_inventory(*inventory(), figures),
    }
    lines = capacity_text(report)
    assert lines[0] == (
        "10,000 users, 1,000 requests a second: Phase 3, horizontal scaling, 10 machines, ₹30K-60K a month."
    )
    assert lines[1] == "Enough, also with an app node or a replica lost."
    assert lines[2].startswith("The app's processors run out first, beyond 10,640 users: add app nodes")
    text = "\n".join(lines)
    assert "Connections to the primary: 210 (pools of 50 + 20) and 10 kept, of 300 (max_connections)." in text
    for name in ("Phase 1", "Phase 4", "Week 0", "Week 5", "The inventory as it is, and this plan"):
        assert sum(line.startswith(name) for line in lines) == 1, name
    assert re.search(r"^Phase 1: .* no +₹8K-15K$", text, re.MULTILINE)
    assert re.search(r"^Phase 2: .* no spare +₹16K-30K$", text, re.MULTILINE)
    assert re.search(r"^Phase 3: .* yes +₹30K-60K$", text, re.MULTILINE)
    assert re.search(r"^Together +10 +₹30K-60K$", text, re.MULTILINE)
    assert re.search(r"^throughput_per_process +380 +measured, docs/capacity\.md$", text, re.MULTILINE)
    assert not any(line != line.rstrip() for line in lines)


def test_lines_without_weeks_and_inventory() -> None:
    lines = capacity_text({"plan": capacity_plan({}), "phases": capacity_phases({})})
    assert not [line for line in lines if line.startswith(("The weeks", "The inventory"))]


@pytest.mark.parametrize(
    ("users", "wanted"),
    [
        (100, "Enough, as long as nothing is lost: then it carries 0 users."),
        (10000, "Enough, also with an app node or a replica lost."),
    ],
)
def test_the_verdict(users: int, wanted: str) -> None:
    assert capacity_text({"plan": capacity_plan({"users": users}), "phases": []})[1] == wanted


def test_an_impossible_phase_is_said_beneath_the_table() -> None:
    figures = {"users": 300, "processes_per_node": 40}
    lines = capacity_text({"plan": capacity_plan(figures), "phases": capacity_phases(figures)})
    assert [line for line in lines if line.startswith("Phase 1: connections_per_process=10 makes 410 ")]


# Each example makes some 150 plans.
@settings(max_examples=10)
@given(st.integers(1, 40000))
def test_charts_stay_inside_and_never_fall(users: int) -> None:
    told = capacity_charts({"users": users})
    for chart in told["charts"]:
        inside = [chart["left"], chart["right"]], [chart["top"], chart["bottom"]]
        paths = [part["path"] for part in (*chart["areas"], *chart["lines"])]
        for x, y in (point for path in paths for point in points(path)):
            assert inside[0][0] <= x <= inside[0][1]
            assert inside[1][0] <= y <= inside[1][1]
        for line in chart["lines"]:
            found = points(line["path"])
            # Down is more in SVG.
            assert all(a[0] <= b[0] and a[1] >= b[1] for a, b in pairwise(found)), line["label"]
        assert chart["left"] <= chart["mark"]["at"] <= chart["right"]
        ticks = [tick["at"] for tick in chart["y_ticks"]]
        assert ticks == sorted(ticks, reverse=True)
        assert chart["about"]
    assert users in {row["users"] for row in told["rows"]}


def test_charts_have_the_kinds_on_top_of_each_other() -> None:
    told = capacity_charts({"users": 10000})
    assert [chart["name"] for chart in told["charts"]] == ["cost", "machines", "capacity"]
    areas = told["charts"][1]["areas"]
    for area in areas:
        # A number of machines goes up at once, never slowly.
        assert all(a[0] == b[0] or a[1] == b[1] for a, b in pairwise(points(area["path"])))
    assert [area["css"] for area in areas] == [
        "app_nodes",
        "postgres_primary",
        "postgres_replicas",
        "redis_nodes",
        "load_balancers",
    ]
    for lower, upper in pairwise(areas):
        # Where one ends the next begins.
        assert set(points(lower["path"])) & set(points(upper["path"]))
    assert [border["label"] for border in told["charts"][0]["borders"]] == ["1", "2", "3", "4"]


def test_the_table_says_what_the_charts_do() -> None:
    told = capacity_charts({"users": 10000})
    rows = {row["users"]: row for row in told["rows"]}
    assert {100, 500, 2000, 10000, 20000} <= set(rows)
    assert rows[10000]["cost"] == "₹30K-60K"
    assert rows[10000]["nodes"]["app_nodes"] == 3
    assert rows[500]["cost"] == "₹8K-15K"
    assert told["ends"] == ""


def test_charts_end_where_no_plan_can_be_made_and_say_why() -> None:
    told = capacity_charts({"users": 30000, "queries_per_database": 500})
    assert told["ends"] == ""
    told = capacity_charts({"users": 100, "queries_per_database": 100})
    assert "more than one primary takes writes of" in told["ends"]
    assert max(row["users"] for row in told["rows"]) <= 7000
