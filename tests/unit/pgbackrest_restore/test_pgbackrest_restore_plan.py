# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is restored, in which order, and what is refused before anything is stopped."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.module_utils._pgbackrest.model import (
    Desired,
    Record,
    State,
)
from ansible_collections.payaid.scaling.plugins.module_utils._pgbackrest.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.backups import Backup
from ansible_collections.payaid.scaling.plugins.modules import pgbackrest_restore

GIGABYTE = 1 << 30
# 2026-01-31 12:00:00 UTC
NOON = 1769860800.0
BACKUPS = (
    Backup("20260125-013000F", NOON - 6.4 * 86400, GIGABYTE),
    Backup("20260125-013000F_20260131-013000I", NOON - 0.4 * 86400, GIGABYTE),
)
FULL, INCREMENTAL = (backup.label for backup in BACKUPS)
RUNNING = State(
    host="pg1",
    now=NOON,
    running=True,
    data=True,
    aside=False,
    backups=BACKUPS,
    stanza_version=17,
    disk_size=10 * GIGABYTE,
    disk_free=5 * GIGABYTE,
    data_size=GIGABYTE,
)
WANTED = Desired(
    name="flood",
    version=17,
    cluster="main",
    port=5432,
    stanza="main",
    part="all",
    until="latest",
    target=None,
    timeline=None,
    backup=None,
    old_data="keep",
    min_free_pct=5,
    timeout=60,
)
COPY = "Restore the backup {} to /var/lib/postgresql/17/main.restoring."
STOP = "Stop PostgreSQL 17/main."
ASIDE = "Set /var/lib/postgresql/17/main aside as /var/lib/postgresql/17/main.before-flood."
REMOVE = "Remove /var/lib/postgresql/17/main.before-flood."
SWAP = "Make it /var/lib/postgresql/17/main."
START = "Start PostgreSQL 17/main."
AWAIT = "Replay WAL to {}, and wait until the server takes writes."
END = AWAIT.format("the end of the archive")
NOTE = "Write down that the data were set aside."
BEFORE_NOON = "2026-01-31 11:00:00+00"
LONG_AGO = "2026-01-28 12:00:00+01:00"


def changed(state: State = RUNNING, **how: Any) -> State:
    return replace(state, **how)


def wanted(**how: Any) -> Desired:
    return replace(WANTED, **how)


STEPS: dict[str, tuple[State, Desired, list[str]]] = {
    "the copy is made while the server goes on": (
        RUNNING,
        WANTED,
        [COPY.format(INCREMENTAL), STOP, ASIDE, SWAP, START, END],
    ),
    "no room for both": (
        RUNNING,
        wanted(old_data="remove"),
        [STOP, ASIDE, REMOVE, COPY.format(INCREMENTAL), SWAP, START, END],
    ),
    "a machine that was wiped": (
        changed(running=False, data=False),
        WANTED,
        [COPY.format(INCREMENTAL), SWAP, START, END],
    ),
    "a moment": (
        RUNNING,
        wanted(until="time", target=BEFORE_NOON),
        [COPY.format(INCREMENTAL), STOP, ASIDE, SWAP, START, AWAIT.format(BEFORE_NOON)],
    ),
    "a moment before the last backup": (
        RUNNING,
        wanted(until="time", target=LONG_AGO),
        [COPY.format(FULL), STOP, ASIDE, SWAP, START, AWAIT.format(LONG_AGO)],
    ),
    "a restore point": (
        RUNNING,
        wanted(until="name", target="before_release"),
        [
            COPY.format(INCREMENTAL),
            STOP,
            ASIDE,
            SWAP,
            START,
            AWAIT.format("the restore point before_release"),
        ],
    ),
    "a backup by its label": (
        RUNNING,
        wanted(backup=FULL),
        [COPY.format(FULL), STOP, ASIDE, SWAP, START, END],
    ),
    "only the copy": (RUNNING, wanted(part="copy"), [COPY.format(INCREMENTAL)]),
    "only the copy, for which there is no room yet": (RUNNING, wanted(part="copy", old_data="remove"), []),
    "a replica": (RUNNING, wanted(part="set_aside"), [STOP, ASIDE, NOTE]),
    "a replica without data": (changed(running=False, data=False), wanted(part="set_aside"), [NOTE]),
    "a replica needs no backup": (changed(backups=()), wanted(part="set_aside"), [STOP, ASIDE, NOTE]),
    "done already": (changed(aside=True, record=Record("flood", "done", WANTED.request)), WANTED, []),
    "another one was done": (
        changed(record=Record("before", "done", WANTED.request)),
        WANTED,
        [COPY.format(INCREMENTAL), STOP, ASIDE, SWAP, START, END],
    ),
    "the copy of an interrupted run, under another name": (
        changed(staging=True, record=Record("before", "copied", WANTED.request)),
        WANTED,
        [STOP, ASIDE, SWAP, START, END],
    ),
    "a copy that was not completed": (
        changed(staging=True),
        WANTED,
        [COPY.format(INCREMENTAL), STOP, ASIDE, SWAP, START, END],
    ),
    "the copy of another request": (
        changed(staging=True, record=Record("before", "copied", ("time", BEFORE_NOON, "", ""))),
        WANTED,
        [COPY.format(INCREMENTAL), STOP, ASIDE, SWAP, START, END],
    ),
    "restored and not started": (
        changed(running=False, aside=True, record=Record("flood", "restored", WANTED.request)),
        WANTED,
        [START, END],
    ),
    "it replays": (
        changed(aside=True, record=Record("flood", "restored", WANTED.request)),
        WANTED,
        [END],
    ),
    # It may have taken writes since, so it is nobody's to remove.
    "restored to something else, and never finished": (
        changed(record=Record("before", "restored", ("time", BEFORE_NOON, "", ""))),
        WANTED,
        [COPY.format(INCREMENTAL), STOP, ASIDE, SWAP, START, END],
    ),
}
REFUSALS: dict[str, tuple[State, Desired, str]] = {
    "no backup": (changed(backups=()), WANTED, "pg1: the repository has no backup of main"),
    "no such backup": (RUNNING, wanted(backup="20250101-000000F"), f"it has {FULL}, {INCREMENTAL}."),
    "before the first": (
        RUNNING,
        wanted(until="time", target="2026-01-20 12:00:00+00"),
        f"is before the end of the oldest backup, {FULL} at ",
    ),
    "to come": (RUNNING, wanted(until="time", target="2026-01-31 12:00:01+00"), "is still to come"),
    "no moment": (RUNNING, wanted(until="time", target="yesterday"), "target=yesterday is no moment"),
    "no time zone": (RUNNING, wanted(until="time", target="2026-01-31 11:00"), "write 2026-01-31 11:00+00"),
    "another version": (changed(stanza_version=15), WANTED, "the backups of main are of PostgreSQL 15"),
    "no room": (changed(disk_free=GIGABYTE), WANTED, "make room, or set old_data=remove"),
    "no room even so": (
        changed(disk_free=GIGABYTE // 8),
        wanted(old_data="remove"),
        "of which min_free_pct=5 must stay",
    ),
    "a name that is a path": (RUNNING, wanted(name="../../etc"), "name=../../etc would make no name"),
    "a name that is taken": (changed(aside=True), WANTED, "main.before-flood is there already"),
}


@pytest.mark.parametrize(("state", "desired", "expected"), STEPS.values(), ids=STEPS)
def test_steps(state: State, desired: Desired, expected: list[str]) -> None:
    assert [step.describe() for step in plan(state, desired)] == expected


@pytest.mark.parametrize(("state", "desired", "expected"), STEPS.values(), ids=STEPS)
def test_a_run_that_is_killed_is_completed_by_the_next(
    state: State, desired: Desired, expected: list[str]
) -> None:
    steps = plan(state, desired)
    for count in range(len(steps) + 1):
        left = plan(simulate(state, steps[:count]), desired)
        assert [step.describe() for step in left] == expected[count:]


@pytest.mark.parametrize(("state", "desired", "expected"), STEPS.values(), ids=STEPS)
def test_nothing_is_removed_unasked(state: State, desired: Desired, expected: list[str]) -> None:
    assert (REMOVE in expected) == (desired.old_data == "remove" and desired.part != "copy")
    if state.data and SWAP in expected:
        assert expected.index(ASIDE) < expected.index(SWAP)


@pytest.mark.parametrize(("state", "desired", "expected"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(state: State, desired: Desired, expected: str) -> None:
    with pytest.raises(Refusal) as refused:
        plan(state, desired)
    assert expected in refused.value.message


def test_documentation_argument_spec_and_options_agree() -> None:
    facts = ("type", "required", "default", "choices")
    told = yaml.safe_load(pgbackrest_restore.DOCUMENTATION)["options"]
    spec = pgbackrest_restore.ARGUMENTS
    assert {name: {key: one[key] for key in facts if key in one} for name, one in told.items()} == spec
    assert {field.name for field in fields(Desired)} == set(spec)
    for task in yaml.safe_load(pgbackrest_restore.EXAMPLES):
        assert set(task["payaid.scaling.pgbackrest_restore"]) <= set(spec)
