# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a load test from being begun."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.filter.load_test import load_test_problem

from ..collection.tree import ROOT

ALLOWED = ["192.0.2.10", "192.0.2.21", "payaid.example"]
PHASES = [{"seconds": 60, "rate": 100}]
API: dict[str, Any] = {"tool": "artillery", "phases": PHASES, "flows": []}
USERS: dict[str, Any] = {
    "tool": "k6",
    "users": 100,
    "think_time": 10,
    "ramp": 30,
    "hold": 30,
    "paths": ["/api/contacts"],
}
GIVEN = {"share": 1, "environment": {}, "load_test_nodejs_binary": "/n/node", "load_test_k6_binary": "/n/k6"}


def problem(
    plan: Mapping[str, Any] | None = None, target: str = "https://192.0.2.10", name: str = "api", **given: Any
) -> str:
    asked = API if plan is None else plan
    return load_test_problem({"api": API, "users": USERS}, name, asked, target, ALLOWED, GIVEN | given)


@pytest.mark.parametrize(
    "target",
    ["https://192.0.2.10", "https://192.0.2.10/", "http://192.0.2.21:3000", "https://PAYAID.example"],
)
def test_the_platform_may_be_asked(target: str) -> None:
    assert problem(target=target) == ""
    assert problem(USERS, target) == ""


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (
            "https://payaid.com",
            "is of none of the machines that the inventory lists (192.0.2.10, 192.0.2.21,",
        ),
        # Neither by what looks like it, nor by a user's name or a path.
        ("https://192.0.2.10.example", "is of none of the machines"),
        ("https://192.0.2.10@example.com", "is of none of the machines"),
        ("https://example.com/192.0.2.10", "is of none of the machines"),
        ("192.0.2.10", "is no address that begins with http"),
        ("ftp://192.0.2.10", "is no address that begins with http"),
        ("", "is no address that begins with http"),
        ("https://192.0.2.10/api", "has more than a host and a port"),
    ],
)
def test_nobody_else_may(target: str, said: str) -> None:
    assert said in problem(target=target)


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({**API, "phases": []}, "load_test_phases is empty"),
        ({**API, "phases": [{"seconds": 0, "rate": 1}]}, "Phase 1 of load_test_phases has seconds=0"),
        ({**API, "phases": [*PHASES, {"seconds": 5, "rate": -1}]}, "Phase 2 of load_test_phases has rate=-1"),
        (
            {**API, "phases": [{"seconds": 5, "rate": "many"}]},
            "has rate=many: give a whole number, 0 or more.",
        ),
        ({**API, "phases": [{"seconds": 5}]}, "has rate=None"),
        ({**API, "phases": [{"seconds": 5, "rate": 2.5}]}, "Phase 1 of load_test_phases has rate=2.5"),
        ({**API, "phases": [{"seconds": 5, "rate": 2, "to": 3.5}]}, "has to=3.5: give a whole number"),
        ({**API, "phases": [{"seconds": 5, "rate": 0}]}, "no phase with a rate above 0"),
        ({**API, "tool": "wrk"}, "has tool=wrk: take artillery or k6."),
        ({**USERS, "users": 0}, "load_test_users=0: give a number, 1 or more."),
        ({**USERS, "think_time": 0}, "load_test_think_time=0"),
        ({**USERS, "hold": True}, "load_test_hold=True"),
        ({**USERS, "paths": []}, "lists no paths"),
    ],
)
def test_what_nobody_could_run(plan: Mapping[str, Any], said: str) -> None:
    assert said in problem(plan)


def test_a_phase_may_begin_with_nobody() -> None:
    assert problem({**API, "phases": [{"seconds": 5, "rate": 0, "to": 10}]}) == ""


def test_a_scenario_that_there_is_not() -> None:
    assert problem(name="apis") == "load_test_scenario=apis is none of api, users."


def test_a_tool_that_was_not_given() -> None:
    assert "needs artillery: give its path on the controller as load_test_nodejs_binary." in problem(
        load_test_nodejs_binary=""
    )
    assert "as load_test_k6_binary." in problem(USERS, load_test_k6_binary="")


def test_what_a_scenario_takes_from_its_environment_has_to_be_there() -> None:
    plan = {
        **API,
        "flows": [{"flow": [{"post": {"json": {"a": "{{ $env.MAIL }}", "b": "{{ $env.WORD }}"}}}]}],
    }
    assert "takes MAIL and WORD from load_test_environment" in problem(plan)
    assert problem(plan, environment={"MAIL": "a", "WORD": "b"}) == ""


def known() -> dict[str, Any]:
    scenarios: dict[str, Any] = yaml.safe_load((ROOT / "roles/load_test/files/scenarios.yml").read_text())
    return scenarios


@pytest.mark.parametrize("name", known())
def test_every_scenario_that_comes_along_can_be_run(name: str) -> None:
    environment = {"LOAD_TEST_EMAIL": "a", "LOAD_TEST_PASSWORD": "b"}
    given = {**GIVEN, "environment": environment}
    assert load_test_problem(known(), name, known()[name], "https://192.0.2.10", ALLOWED, given) == ""


def test_the_first_scenario_is_the_blueprints() -> None:
    api = known()["api"]
    assert [(phase["seconds"], phase["rate"]) for phase in api["phases"]] == [(60, 100), (300, 200)]
    [one] = api["flows"]
    assert [step["get"]["url"] for step in one["flow"]] == ["/api/contacts", "/api/dashboard/stats"]
    assert known()["users"]["users"] == 10_000
