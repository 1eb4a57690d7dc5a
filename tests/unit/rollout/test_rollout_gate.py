# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which week may come next: a row a case, and what holds for every history."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.filter.rollout import (
    rollout_problem,
    rollout_shortage,
    rollout_standing,
    rollout_state,
)
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[3]
TABLE = yaml.safe_load((ROOT / "playbooks/vars/weeks.yml").read_text())
WEEKS, FEATURES = TABLE["rollout_weeks"], TABLE["rollout_features"]
LAST = len(WEEKS) - 1


def history(text: str) -> list[dict[str, Any]]:
    """Read `0v 1b`: week 0 verified, week 1 begun."""
    outcomes = {"b": "begun", "v": "verified"}
    return [
        {
            "number": number,
            "week": int(word[0]),
            "outcome": outcomes[word[1]],
            "time": "2026-01-15T09:00:00Z",
            "by": "alice@ops1",
        }
        for number, word in enumerate(text.split(), start=1)
    ]


FORWARD = {
    # what was done, the week asked for, what the refusal says ("" where it may be begun)
    "the first": ("", 0, ""),
    "none has been": ("", 1, "the ledger knows of no week: begin with playbooks/week0_"),
    "the next one": ("0v", 1, ""),
    "the same once more": ("0v 1v", 1, ""),
    "one is passed over": ("0v", 2, "and the platform is in week 0: begin with playbooks/week1_"),
    "what was begun": ("0v 1b", 1, ""),
    "after one that was begun": ("0v 1b", 2, "Week 1 was begun and not verified (2026-01-15T09:00:00Z, "),
    "by whom": ("0v 1b", 2, "Z, alice@ops1): end that first by playbooks/week1_"),
    "the one before what was begun": ("0v 1b", 0, "roll it back by playbooks/rollback.yml -e rollout_week=1"),
    "backwards": ("0v 1v 2v", 1, "go back by playbooks/rollback.yml -e rollout_week=2"),
    "on from where it went back to": ("0v 1v 2v 1v", 2, ""),
    "while it goes back": ("0v 1v 2v 1b", 3, "end that first by playbooks/rollback.yml -e rollout_week=2"),
    "no such week": ("0v", 6, "rollout_week=6: give a number from 0 to 5."),
    "no number": ("0v", "two", "rollout_week=two: give a number"),
    "below": ("0v", -1, "rollout_week=-1: give a number"),
    "none said": ("0v", "", "rollout_week=: give a number"),
}  # fmt: skip
BACK = {
    "the one it is in": ("0v 1v 2v", 2, ""),
    "once more after a kill": ("0v 1v 2v 1b", 2, ""),
    "what was begun and not ended": ("0v 1v 2b", 2, ""),
    "the first": ("0v", 0, "Week 0 is the first one"),
    "nothing was done": ("", 1, "the ledger knows of no week"),
    "one at a time": ("0v 1v 2v", 1, "so roll that back first, by -e rollout_week=2"),
    "one that never was": ("0v 1v", 2, "Week 2 cannot be rolled back: the platform is in week 1."),
    "what is before one that was begun": ("0v 1v 2b", 1, ""),
    "no such week": ("0v", 6, "rollout_week=6: give a number from 0 to 5."),
}  # fmt: skip


@pytest.mark.parametrize(("done", "week", "said"), FORWARD.values(), ids=FORWARD)
def test_forward(done: str, week: Any, said: str) -> None:
    problem = rollout_problem(history(done), WEEKS, week)
    assert (said in problem) if said else (problem == ""), problem


@pytest.mark.parametrize(("done", "week", "said"), BACK.values(), ids=BACK)
def test_back(done: str, week: Any, said: str) -> None:
    problem = rollout_problem(history(done), WEEKS, week, back=True)
    assert (said in problem) if said else (problem == ""), problem


def test_every_week_has_its_playbook_or_is_not_named() -> None:
    assert [week["week"] for week in WEEKS] == list(range(LAST + 1))
    assert all(week["playbook"].startswith(f"week{week['week']}_") for week in WEEKS)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=30))
def test_whoever_obeys_is_never_stuck_and_never_jumps(steps: list[tuple[bool, bool]]) -> None:
    """Go forward or back as far as is allowed, and be killed before the end now and then."""
    entries: list[dict[str, Any]] = []
    verified: list[int | None] = [None]
    for back, killed in steps:
        now = rollout_standing(entries)
        week = 0 if now["week"] is None else now["week"]
        asked = week if back else min(week + (now["week"] is not None), LAST)
        may = rollout_problem(entries, WEEKS, asked, back=back) == ""
        if not may:
            # Then the other way is open, or what was begun can be ended.
            pending = now["pending"]
            ends = pending is not None and rollout_problem(entries, WEEKS, pending["week"]) == ""
            other = rollout_problem(entries, WEEKS, week if back else max(week, 1), back=not back) == ""
            again = rollout_problem(entries, WEEKS, week, back=True) == ""
            assert ends or other or again
            continue
        target = asked - 1 if back else asked
        entries += history(f"{target}b" if killed else f"{target}b {target}v")
        if not killed:
            last = verified[-1]
            assert last is None or abs(target - last) <= 1
            verified.append(target)
    assert rollout_standing(entries)["week"] == verified[-1]


GROUPS = {
    "load_balancers": ["lb1", "lb2"],
    "app_nodes": ["app1", "app2", "app3"],
    "postgres_primary": ["pg1"],
    "postgres_replicas": ["pg2", "pg3"],
    "redis_nodes": ["redis1", "redis2", "redis3"],
    "backup": ["backup1"],
    "monitoring": ["mon1"],
}


@pytest.mark.parametrize(
    ("week", "machines", "active"),
    [
        (0, "app1 pg1 redis1", 1),
        (1, "lb1 app1 app2 pg1 redis1", 2),
        (2, "lb1 app1 app2 pg1 pg2 redis1", 2),
        (3, "lb1 app1 app2 pg1 pg2 redis1 redis2 redis3", 2),
        (4, "lb1 app1 app2 pg1 pg2 redis1 redis2 redis3 mon1", 2),
        (5, "lb1 lb2 app1 app2 app3 pg1 pg2 pg3 redis1 redis2 redis3 backup1 mon1", None),
        ("", "lb1 lb2 app1 app2 app3 pg1 pg2 pg3 redis1 redis2 redis3 backup1 mon1", None),
    ],
)
def test_a_week_has_its_machines(week: Any, machines: str, active: int | None) -> None:
    state = rollout_state(GROUPS, WEEKS, FEATURES, week)
    assert sorted(state["machines"]["all"]) == sorted(machines.split())
    assert state["machines"]["databases"] == [
        host for host in ("pg1", "pg2", "pg3") if host in machines.split()
    ]
    assert state["active"] == active
    assert state["has"]["load_balancer"] is (week != 0)
    assert state["has"]["redis_cluster"] is (week == "" or int(week) >= 3)
    assert state["has"]["monitoring"] is (week == "" or int(week) >= 4)


def test_on_the_way_back_the_machines_of_the_later_week_are_worked_on_too() -> None:
    state = rollout_state(GROUPS, WEEKS, FEATURES, "1", "2")
    assert state["machines"]["postgres_replicas"] == ["pg2"]
    assert (state["has"]["replica_reads"], state["has"]["pooler"], state["active"]) == (False, False, 2)
    assert rollout_state(GROUPS, WEEKS, FEATURES, 0, 1)["machines"]["app_nodes"] == ["app1", "app2"]


def test_a_platform_that_nobody_watches_works_with_the_machines_that_it_always_did() -> None:
    unwatched = {kind: hosts for kind, hosts in GROUPS.items() if kind != "monitoring"}
    for week in (3, 5, ""):
        state = rollout_state(unwatched, WEEKS, FEATURES, week)
        watched = rollout_state(GROUPS, WEEKS, FEATURES, week)
        assert state["machines"]["monitoring"] == []
        assert [host for host in watched["machines"]["all"] if host != "mon1"] == state["machines"]["all"]


def test_on_the_way_back_from_its_week_the_monitoring_is_left_as_it_is() -> None:
    state = rollout_state(GROUPS, WEEKS, FEATURES, 3, 4)
    assert (state["machines"]["monitoring"], state["has"]["monitoring"]) == (["mon1"], False)


def test_a_week_that_is_none_is_refused_and_never_taken_for_all() -> None:
    for week in ("7", "-1", "two"):
        with pytest.raises(AnsibleFilterError, match=f"rollout_week={week}: give a number from 0 to 5"):
            rollout_state(GROUPS, WEEKS, FEATURES, week)


def first_hosts(playbook: str) -> str:
    """Return the hosts of the first play that a playbook runs."""
    first = yaml.safe_load((ROOT / "playbooks" / playbook).read_text())[0]
    imported = first.get("ansible.builtin.import_playbook")
    return first_hosts(imported) if imported else str(first["hosts"])


@pytest.mark.parametrize("playbook", sorted(path.name for path in (ROOT / "playbooks").glob("*.yml")))
def test_no_playbook_begins_where_the_week_of_the_inventory_is_not_known(playbook: str) -> None:
    assert first_hosts(playbook) == "localhost"


# The lab's own, what reads the inventory as a whole, and what decides.
WHOLE = {
    *("lab_up.yml", "lab_down.yml", "lab_status.yml"),
    *("plan.yml", "machines.yml", "rollout_begin.yml", "load_test_report.yml"),
}


@pytest.mark.parametrize(
    "path",
    [path for path in sorted((ROOT / "playbooks").rglob("*.yml")) if path.name not in WHOLE | {"weeks.yml"}],
    ids=lambda path: path.name,
)
def test_no_playbook_takes_machines_that_the_week_does_not_have(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"\bgroups(\[|\.| \|)", text)
    assert not re.search(r"^  hosts: (?!localhost$|redis_retired$|\")", text, re.MULTILINE)


def test_an_inventory_that_cannot_carry_a_week_is_told() -> None:
    fewer = {**GROUPS, "postgres_replicas": []}
    assert rollout_shortage(fewer, WEEKS, FEATURES, 1) == ""
    assert rollout_shortage(fewer, WEEKS, FEATURES, 2) == (
        "Week 2 needs 1 of the group postgres_replicas, and the inventory lists 0: add machines to it."
    )
    assert rollout_shortage(fewer, WEEKS, FEATURES, None) == ""
