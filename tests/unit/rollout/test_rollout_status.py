# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the rollout stands, out of the answers of machines of which some lack something."""

from __future__ import annotations

from typing import Any

from ansible_collections.payaid.scaling.plugins.filter.ledger import ledger_added
from ansible_collections.payaid.scaling.plugins.filter.rollout import rollout_status, rollout_table

WEEKS = [{"title": "One server"}, {"title": "Load balancer, two app nodes"}]
LOCK = {
    "name": "alice@ops1",
    "since": "2026-01-15T09:00:00Z",
    "what": "rollout of week 1",
    "computer": "ops1/boot/space",
    "process": 7,
    "started": "1",
}


def ledger(*told: tuple[int, str, str]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for week, outcome, force in told:
        more = {"by": "alice@ops1", "commit": "0123456789ab", "force": force, "time": "2026-01-15T09:00:00Z"}
        entries = ledger_added(entries, {"week": week, "outcome": outcome, **more})
    return entries


WHOLE = ledger((0, "begun", ""), (0, "verified", ""), (1, "begun", "no time"))


def test_what_all_know_is_told_and_what_one_lacks() -> None:
    ledgers: dict[str, dict[str, Any]] = {
        "app1": {"entries": WHOLE, "damaged": []},
        "pg1": {"entries": WHOLE[:1], "damaged": [2]},
        "redis1": {},
    }
    locks: dict[str, dict[str, Any]] = {
        "app1": {"held_by": LOCK, "ended": True},
        "pg1": {"held_by": LOCK},
        "redis1": {},
    }
    told = rollout_status(ledgers, locks, WEEKS)
    assert (told["week"], told["title"], told["pending"]["week"]) == (0, "One server", 1)
    assert (told["silent"], told["lacking"], told["damaged"]) == (["redis1"], {"pg1": 2}, {"pg1": [2]})
    assert rollout_table(told) == [
        "The platform is in week 0: One server.",
        "Week 1 was begun on 2026-01-15T09:00:00Z by alice@ops1, and is not verified: run it again, or roll "
        "it back.",
        "app1 is locked since 2026-01-15T09:00:00Z by a rollout of week 1 of alice@ops1 (process 7 on ops1, "
        "which has ended).",
        "pg1 is locked since 2026-01-15T09:00:00Z by a rollout of week 1 of alice@ops1 (process 7 on ops1).",
        "redis1 did not answer.",
        "pg1 lacks 2 of the entries: the next run adds them.",
        "pg1 has lines in its ledger that are not as they were written: 2.",
        "",
        "entry            time (UTC)          by        commit  week   outcome  forced because",
        "1      2026-01-15T09:00:00Z  alice@ops1  0123456789ab     0     begun",
        "2      2026-01-15T09:00:00Z  alice@ops1  0123456789ab     0  verified",
        "3      2026-01-15T09:00:00Z  alice@ops1  0123456789ab     1     begun         no time",
    ]


def test_nothing_was_done_yet() -> None:
    told = rollout_status({"app1": {"entries": [], "damaged": []}}, {"app1": {}}, WEEKS)
    assert rollout_table(told) == ["No week has been verified."]
    assert told["week"] is None


def test_any_one_machine_may_be_lost() -> None:
    hosts = ("app1", "pg1", "redis1")
    for lost in hosts:
        ledgers = {host: {} if host == lost else {"entries": WHOLE, "damaged": []} for host in hosts}
        assert rollout_status(ledgers, {}, WEEKS)["entries"] == WHOLE
