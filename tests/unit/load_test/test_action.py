# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A load test is waited for, and is ended with whoever waits."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible_collections.payaid.scaling.plugins.action import load_test


def look(requests: int = 0, elapsed: float = 0, *, active: bool = True, **more: Any) -> dict[str, Any]:
    progress = {"requests": requests, "failed": 0, "limited": 0, "users": 1, "p95": 5.0}
    return {
        "changed": False,
        "actions": [],
        "active": active,
        "elapsed": elapsed,
        "progress": progress,
        "result": "success",
        "status": 0,
        "output": ["it said this"],
    } | more


BEGUN = look() | {"changed": True, "actions": ["Begin the load test r1."]}
LOST: dict[str, Any] = {"unreachable": True, "msg": "no route"}


class Waiting(load_test.ActionModule):
    """Runs the module on a machine that answers as it was told to."""

    def __init__(self, answers: Iterable[Any], *, check_mode: bool = False, **given: Any) -> None:
        self._task: Any = SimpleNamespace(args={"run": "r1", "seconds": 60, **given}, check_mode=check_mode)
        self._answers = iter(answers)
        self.asked: list[str] = []

    def _execute_module(self, **given: Any) -> dict[str, Any]:  # type: ignore[override]
        self.asked.append(given["module_args"]["state"])
        if given["module_args"]["state"] == "stopped":
            return look(active=False)
        answer = next(self._answers)
        if isinstance(answer, BaseException):
            raise answer
        return dict(answer)

    def begin(self) -> dict[str, Any]:
        # What ActionBase does before has nothing to do with this.
        return load_test.ActionModule.run(self, None, {"inventory_hostname": "gen1"})


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(ActionBase, "run", lambda *_given, **_more: {})
    monkeypatch.setattr(time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(load_test.display, "display", lines.append)
    return lines


def test_it_says_how_far_it_is_until_it_has_ended(said: list[str]) -> None:
    waiting = Waiting([BEGUN, look(1000, 10), look(3000, 20), look(5000, 31, active=False)])
    result = waiting.begin()
    assert waiting.asked == ["started", "read", "read", "read"]
    assert [line.partition(", p95")[0] for line in said] == [
        "gen1: 10 of about 60 s: 100 requests/s",
        "gen1: 20 of about 60 s: 200 requests/s",
        "gen1: 31 of about 60 s: 182 requests/s",
    ]
    assert (result["changed"], result["actions"]) == (True, ["Begin the load test r1."])
    assert result["elapsed"] == 31
    assert not result.get("failed")


def test_a_tool_that_has_ended_badly_is_a_failure_with_its_words() -> None:
    ended = look(9, 5, active=False, result="exit-code", status=1)
    result = Waiting([BEGUN, ended]).begin()
    assert result["failed"]
    assert "(exit-code, status 1). The last that was said is: it said this" in result["msg"]


def test_one_that_has_ended_well_keeps_what_k6_told_last() -> None:
    result = Waiting([BEGUN, look(1000, 10), look(0, 31, active=False)]).begin()
    assert result["progress"]["requests"] == 1000


def test_a_look_may_fail() -> None:
    result = Waiting([BEGUN, LOST, LOST, look(1000, 30), look(1100, 35, active=False)]).begin()
    assert not result.get("failed")


def test_a_machine_that_is_gone_is_said_to_be() -> None:
    assert Waiting([BEGUN, LOST, LOST, LOST, LOST]).begin() == LOST


def test_who_ends_the_playbook_ends_the_load() -> None:
    waiting = Waiting([BEGUN, look(1000, 10), KeyboardInterrupt()])
    with pytest.raises(KeyboardInterrupt):
        waiting.begin()
    assert waiting.asked[-1] == "stopped"


def test_it_ends_with_a_run_that_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    parents = iter([100, 100, 1])
    monkeypatch.setattr(os, "getppid", lambda: next(parents))
    waiting = Waiting([BEGUN, look(1000, 10), look(2000, 20)])
    with pytest.raises(AnsibleError):
        waiting.begin()
    assert waiting.asked == ["started", "read", "stopped"]


def test_what_is_refused_is_not_waited_for() -> None:
    refused = {"failed": True, "msg": "another one is running"}
    waiting = Waiting([refused])
    assert waiting.begin() == refused
    assert waiting.asked == ["started"]


@pytest.mark.parametrize("state", ["started", "read"])
def test_without_waiting_there_is_one_look(state: str) -> None:
    waiting = Waiting([BEGUN], state=state)
    assert waiting.begin() == BEGUN
    assert waiting.asked == [state]


def test_a_check_run_begins_nothing_and_waits_for_nothing() -> None:
    waiting = Waiting([BEGUN], check_mode=True)
    assert waiting.begin() == BEGUN
