# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision table row by row, and what has to hold for every state."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.facts import streams
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Desired, Local, State
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.plan import action, plan, view
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.steps import Copy, Restore
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.unfit import slot_lost, unfit
from hypothesis import given, settings
from hypothesis import strategies as st

from .states import (
    ABSENT,
    BACKUPS,
    CONNECTING,
    COPIED,
    COPYING,
    DESIRED,
    EMPTY,
    EX_PRIMARY,
    FETCH,
    FOREIGN,
    FREE,
    HELD,
    LEFT,
    LIMITS,
    NOW,
    PARTIAL,
    PRIMARY_HERE,
    RECEIVER,
    REPOSITORY,
    REWINDING,
    REWOUND,
    STARTING,
    STOPPED,
    STREAMING,
    UNREACHABLE,
    state,
)
from .table import ALLOWED, REFUSALS, STEPS, STILL_REFUSED


def names(found: State, desired: Desired = DESIRED) -> str:
    return " ".join(type(step).__name__ for step in plan(found, desired))


def allowing(options: dict[str, str | bool]) -> Desired:
    return replace(DESIRED, **options)  # type: ignore[arg-type]  # options of several types


@pytest.mark.parametrize("row", STEPS)
def test_a_state_calls_for_these_steps(row: str) -> None:
    found, called, wanted = STEPS[row]
    assert names(found) == wanted
    assert action(found, DESIRED)[0] == called


@pytest.mark.parametrize("row", ALLOWED)
def test_a_state_calls_for_what_the_options_allow(row: str) -> None:
    found, options, called, wanted = ALLOWED[row]
    desired = allowing(options)
    assert names(found, desired) == wanted
    assert action(found, desired)[0] == called
    steps = plan(found, desired)
    for done in range(len(steps) + 1):
        assert plan(simulate(found, steps[:done]), desired) == steps[done:]
    assert streams(simulate(found, steps), desired)


@pytest.mark.parametrize("row", STILL_REFUSED)
def test_what_no_option_makes_safe_is_refused(row: str) -> None:
    found, options, wanted = STILL_REFUSED[row]
    with pytest.raises(Refusal, match=re.escape(wanted)):
        plan(found, allowing(options))


@pytest.mark.parametrize("row", REFUSALS)
def test_a_state_is_refused_with_its_sentence(row: str) -> None:
    found, wanted = REFUSALS[row]
    with pytest.raises(Refusal) as caught:
        plan(found, DESIRED)
    sentence = caught.value.message
    assert wanted in sentence
    assert sentence.startswith("db2: ")
    assert sentence.endswith(".")
    assert "secret" not in f"{sentence}{caught.value.details}"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"version": 14}, "older than this module knows"),
        ({"slot": "Db-2"}, "is no slot name"),
        ({"replication_password": "a\nb"}, "holds a line break"),
    ],
)
def test_an_option_is_refused(options: dict[str, object], wanted: str) -> None:
    with pytest.raises(Refusal, match=wanted):
        plan(state(), replace(DESIRED, **options))  # type: ignore[arg-type]  # options of several types


def test_the_disk_is_not_checked_when_told_so() -> None:
    found = state(ABSENT, disk_free=0, primary={"unreadable": ("app",)})
    assert plan(found, replace(DESIRED, min_free_pct=0))


def test_no_step_tells_the_password() -> None:
    found = state(ABSENT, passfile=False, primary={"slot": None}, config={"registration": "missing"})
    for step in plan(found, DESIRED):
        assert step.describe().endswith(".")
        assert "secret" not in f"{step.describe()}{step!r}"


# --- For every state ---------------------------------------------------------------------------------

ODD_RECEIVERS = (replace(RECEIVER, slot="old"), replace(RECEIVER, status="waiting"))
POSITIONS = (0x1000000, 0x2000000, 0x4000000, 0x4000001, NOW, NOW + 1)


def placed(local: Local, lsn: int, behind: bool, ended: bool, **more: Any) -> Local:
    """Put data somewhere: replay may be behind what was received, and a shutdown may be in good order."""
    replayed = lsn - 0x100 if behind and local.server == "up" else lsn
    if not (local.server == "up" and local.in_recovery):
        more["receiver"] = None
    if local.server == "up" and not local.in_recovery:
        lsn = NOW + 1  # nobody can take over at what a primary has not written
    end = lsn + 0x78 if ended and local.control_state == "shut down" else 0
    return replace(local, lsn=lsn, replayed=replayed, shutdown_end=end, **more)


locals_ = st.one_of(
    st.sampled_from((ABSENT, EMPTY, PARTIAL, Local(data="unknown"), replace(EMPTY, mount_point=True))),
    st.builds(
        placed,
        st.sampled_from((STOPPED, STARTING, CONNECTING, STREAMING, PRIMARY_HERE, EX_PRIMARY)),
        lsn=st.sampled_from(POSITIONS),
        behind=st.booleans(),
        ended=st.booleans(),
        timeline=st.integers(1, 4),
        system_identifier=st.sampled_from((*(STOPPED.system_identifier,) * 3, FOREIGN)),
        backup_label=st.booleans(),
        standby_signal=st.booleans(),
        conninfo=st.sampled_from((CONNECTING.conninfo, "host=old")),
        slot=st.sampled_from(("db2", "old", "")),
        receiver=st.sampled_from((None, RECEIVER, *ODD_RECEIVERS)),
        hints_logged=st.booleans(),
        mount_point=st.booleans(),
    ),
)
slots = st.sampled_from(
    (None, FREE, HELD, LEFT, replace(HELD, holder_address="10.0.0.9"), replace(FREE, wal_status="lost"))
)
configs = st.fixed_dictionaries(
    {
        "registration": st.sampled_from(("missing", "half", "done", "done", "elsewhere")),
        "conninfo": st.sampled_from((CONNECTING.conninfo, "host=old", "")),
        "slot": st.sampled_from(("db2", "old", "")),
        "owned": st.booleans(),
        "auto_clean": st.booleans(),
        "restore_command": st.sampled_from(("", "", "cp", FETCH, FETCH)),
        "limits": st.sampled_from((LIMITS, LIMITS, (("max_connections", 1),))),
    }
)
markers = st.one_of(
    st.sampled_from((None, REWINDING, REWOUND)),
    st.builds(
        replace,
        st.sampled_from((COPYING, COPIED)),
        slot=st.sampled_from(("db2", "old")),
        in_place=st.booleans(),
        replaces=st.booleans(),
        replaced=st.sampled_from(("", f"{DESIRED.data_dir}.old-1")),
    ),
)
repositories = st.one_of(
    st.sampled_from((None, UNREACHABLE, REPOSITORY, REPOSITORY)),
    st.builds(
        replace,
        st.just(REPOSITORY),
        version=st.sampled_from((0, 15, 17, 17)),
        system_identifier=st.sampled_from((*(REPOSITORY.system_identifier,) * 3, FOREIGN)),
        backups=st.sampled_from(((), BACKUPS, BACKUPS[:1], (*BACKUPS, replace(BACKUPS[1], timeline=4)))),
        oldest_wal=st.sampled_from(("", "000000020000000000000003", "000000030000000000000005")),
        newest_wal=st.sampled_from(
            ("000000030000000000000003", "000000030000000000000005", "000000040000000000000004")
        ),
    ),
)
states = st.builds(
    lambda local, slot, config, oldest, **more: state(
        local,
        # Who streams has the WAL that it streams.
        primary={"slot": slot, "oldest_wal": min(oldest, local.lsn) if local.receiver else oldest},
        config=config,
        **more,
    ),
    locals_,
    slots,
    configs,
    st.sampled_from((0, 0, 0x4000000)),
    marker=markers,
    repository=repositories,
    staging=st.booleans(),
    orphans=st.sampled_from((0, 0, 2)),
    passfile=st.booleans(),
    disk_free=st.sampled_from((60 << 30, 60 << 30, 1 << 30)),
)
desires = st.builds(
    replace,
    st.just(DESIRED),
    on_diverged=st.sampled_from(("fail", "rewind", "reclone")),
    on_foreign=st.sampled_from(("fail", "reclone")),
    on_lost_slot=st.sampled_from(("fail", "reclone")),
    on_split_brain=st.sampled_from(("fail", "stop")),
    strategy=st.sampled_from(("staging", "in_place")),
    keep_replaced=st.booleans(),
    clone_from=st.sampled_from(("primary", "backup")),
)


def planned(found: State, desired: Desired = DESIRED) -> bool:
    try:
        plan(found, desired)
    except Refusal:
        return False
    return True


def steps_of(found: State, desired: Desired) -> set[str]:
    return set(names(found, desired).split())


@settings(max_examples=5000)
@given(states, desires)
def test_after_any_part_of_a_plan_the_rest_is_planned(found: State, desired: Desired) -> None:
    if not planned(found, desired):
        return
    steps = plan(found, desired)
    for done in range(len(steps) + 1):
        assert plan(simulate(found, steps[:done]), desired) == steps[done:]
    assert streams(simulate(found, steps), desired)
    assert view(simulate(found, steps))["state"] == "streaming"


@pytest.mark.parametrize("row", STEPS)
def test_after_any_part_of_a_row_the_rest_is_planned(row: str) -> None:
    found = STEPS[row][0]
    steps = plan(found, DESIRED)
    for done in range(len(steps) + 1):
        assert plan(simulate(found, steps[:done]), DESIRED) == steps[done:]


@settings(max_examples=2000)
@given(states, desires)
def test_a_running_primary_is_only_stopped_by_order_and_for_its_successor(
    found: State, desired: Desired
) -> None:
    local, primary = found.local, found.primary
    runs = local.data == "cluster" and local.server == "up" and not local.in_recovery
    if runs and planned(found, desired):
        assert desired.on_split_brain == "stop"
        assert local.system_identifier == primary.system_identifier
        assert local.timeline < primary.timeline
        assert local.timeline in dict(primary.history)


@settings(max_examples=3000)
@given(states, desires)
def test_data_are_only_given_up_where_an_option_says_so(found: State, desired: Desired) -> None:
    """Copying over data, or rewinding them, takes the option that names what is wrong with them."""
    if not planned(found, desired) or found.local.data != "cluster":
        return
    begun = found.marker is not None and (
        found.marker.replaces or (found.marker.phase == "copying" and found.marker.in_place)
    )
    steps = steps_of(found, desired)
    if slot_lost(found):
        steps -= {"Stop"}  # it is started again
    if begun or not steps & {"Copy", "Swap", "MarkClone", "EmptyData", "Rewind", "Stop"}:
        return
    options = (desired.on_diverged, desired.on_foreign, desired.on_lost_slot)
    assert options != ("fail", "fail", "fail")
    if "Rewind" in steps:
        assert desired.on_diverged == "rewind"
        assert found.local.hints_logged
        assert found.local.timeline != found.primary.timeline
    if found.local.system_identifier == FOREIGN:
        assert desired.on_foreign == "reclone"


@settings(max_examples=2000)
@given(states)
def test_without_options_data_that_cannot_follow_are_left_alone(found: State) -> None:
    if unfit(found, DESIRED) and not (found.marker and found.marker.replaces):
        assert not planned(found)


@settings(max_examples=1000)
@given(states, desires)
def test_what_a_standby_streams_is_never_given_up(found: State, desired: Desired) -> None:
    """Whatever the options allow, a standby that streams as asked on the same timeline is left alone."""
    local = found.local
    at_peace = streams(found, desired) and local.in_recovery and found.marker is None
    at_peace = at_peace and not slot_lost(found)
    same = local.timeline == found.primary.timeline and local.system_identifier != FOREIGN
    if at_peace and same and local.lsn <= found.primary.lsn and planned(found, desired):
        assert not steps_of(found, desired) & {"Stop", "Copy", "Swap", "EmptyData", "Rewind"}


@settings(max_examples=3000)
@given(states, desires)
def test_only_a_backup_that_leads_to_the_primary_is_restored(found: State, desired: Desired) -> None:
    if not planned(found, desired):
        return
    steps, primary = plan(found, desired), found.primary
    assert not any(isinstance(step, Copy if desired.clone_from == "backup" else Restore) for step in steps)
    for step in steps:
        if isinstance(step, Restore):
            assert found.repository
            assert found.repository.system_identifier == primary.system_identifier
            assert step.backup.timeline in (primary.timeline, *dict(primary.history))
            assert found.config.restore_command


def test_the_last_backup_that_leads_to_the_primary_is_restored() -> None:
    """The primary was restored to a moment before the second one, and is on a timeline of its own since."""
    later = replace(BACKUPS[1], label="later", stop_lsn="0/4000000")
    fetching = {"restore_command": FETCH}
    desired = replace(DESIRED, clone_from="backup")
    for history, label in (
        (((2, 0x4000000),), "20260101-013000F"),
        (((2, 0x4000000), (3, 0x4000000)), "later"),
    ):
        found = state(
            ABSENT,
            primary={"timeline": 4, "history": history},
            repository=replace(REPOSITORY, backups=(BACKUPS[0], later)),
            config=fetching,
        )
        (step,) = [step for step in plan(found, desired) if isinstance(step, Restore)]
        assert step.backup.label == label
        assert label in step.describe()


@settings(max_examples=1000)
@given(states, desires)
def test_what_is_planned_is_named(found: State, desired: Desired) -> None:
    if planned(found, desired):
        called, reason = action(found, desired)
        assert (called == "none") == (plan(found, desired) == ())
        assert reason
