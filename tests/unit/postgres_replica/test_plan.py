# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision table row by row, and what has to hold for every state."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.facts import streams
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Local, State
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.plan import action, plan, view
from hypothesis import given, settings
from hypothesis import strategies as st

from .states import (
    ABSENT,
    CONNECTING,
    COPIED,
    COPYING,
    DESIRED,
    EMPTY,
    EX_PRIMARY,
    FOREIGN,
    FREE,
    HELD,
    LIMITS,
    NOW,
    PARTIAL,
    PRIMARY_HERE,
    RECEIVER,
    STARTING,
    STOPPED,
    STREAMING,
    state,
)
from .table import REFUSALS, STEPS


def names(found: State) -> str:
    return " ".join(type(step).__name__ for step in plan(found, DESIRED))


@pytest.mark.parametrize("row", STEPS)
def test_a_state_calls_for_these_steps(row: str) -> None:
    found, called, wanted = STEPS[row]
    assert names(found) == wanted
    assert action(found, DESIRED)[0] == called


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
locals_ = st.one_of(
    st.sampled_from((ABSENT, EMPTY, PARTIAL, Local(data="unknown"))),
    st.builds(
        replace,
        st.sampled_from((STOPPED, STARTING, CONNECTING, STREAMING, PRIMARY_HERE, EX_PRIMARY)),
        timeline=st.integers(1, 4),
        lsn=st.sampled_from((0x1000000, 0x2000000, 0x4000000, 0x4000001, NOW, NOW + 1)),
        system_identifier=st.sampled_from((*(STOPPED.system_identifier,) * 3, FOREIGN)),
        backup_label=st.booleans(),
        standby_signal=st.booleans(),
        conninfo=st.sampled_from((CONNECTING.conninfo, "host=old")),
        slot=st.sampled_from(("db2", "old", "")),
        receiver=st.sampled_from((None, RECEIVER, *ODD_RECEIVERS)),
    ),
)
slots = st.sampled_from(
    (None, FREE, HELD, replace(HELD, holder_address="10.0.0.9"), replace(FREE, wal_status="lost"))
)
configs = st.fixed_dictionaries(
    {
        "registration": st.sampled_from(("missing", "half", "done", "done", "elsewhere")),
        "conninfo": st.sampled_from((CONNECTING.conninfo, "host=old", "")),
        "slot": st.sampled_from(("db2", "old", "")),
        "owned": st.booleans(),
        "auto_clean": st.booleans(),
        "limits": st.sampled_from((LIMITS, LIMITS, (("max_connections", 1),))),
    }
)
states = st.builds(
    lambda local, slot, config, **more: state(local, primary={"slot": slot}, config=config, **more),
    locals_,
    slots,
    configs,
    marker=st.sampled_from((None, COPYING, COPIED, replace(COPIED, slot="old"))),
    staging=st.booleans(),
    orphans=st.sampled_from((0, 0, 2)),
    passfile=st.booleans(),
    disk_free=st.sampled_from((60 << 30, 60 << 30, 1 << 30)),
)


def planned(found: State) -> bool:
    try:
        plan(found, DESIRED)
    except Refusal:
        return False
    return True


@settings(max_examples=3000, deadline=None)
@given(states)
def test_after_any_part_of_a_plan_the_rest_is_planned(found: State) -> None:
    if not planned(found):
        return
    steps = plan(found, DESIRED)
    for done in range(len(steps) + 1):
        assert plan(simulate(found, steps[:done]), DESIRED) == steps[done:]
    assert streams(simulate(found, steps), DESIRED)
    assert view(simulate(found, steps))["state"] == "streaming"


@pytest.mark.parametrize("row", STEPS)
def test_after_any_part_of_a_row_the_rest_is_planned(row: str) -> None:
    found = STEPS[row][0]
    steps = plan(found, DESIRED)
    for done in range(len(steps) + 1):
        assert plan(simulate(found, steps[:done]), DESIRED) == steps[done:]


@settings(max_examples=1000, deadline=None)
@given(states)
def test_an_unsafe_state_is_always_refused(found: State) -> None:
    local = found.local
    cluster = local.data == "cluster"
    unsafe = (
        (cluster and local.system_identifier == FOREIGN)
        or (cluster and local.server == "up" and not local.in_recovery)
        or (cluster and local.timeline > found.primary.timeline)
        or local.was_primary
        or local.data == "unknown"
        or (found.primary.slot is not None and found.primary.slot.wal_status == "lost")
    )
    if unsafe:
        assert not planned(found)


@settings(max_examples=1000, deadline=None)
@given(states)
def test_data_are_never_copied_over(found: State) -> None:
    """Copy and swap are only planned where there is no database."""
    if planned(found) and found.local.data == "cluster":
        assert not {"Copy", "Swap", "MarkClone"} & set(names(found).split())


@settings(max_examples=1000, deadline=None)
@given(states)
def test_what_is_planned_is_named(found: State) -> None:
    if planned(found):
        called, reason = action(found, DESIRED)
        assert (called == "none") == (plan(found, DESIRED) == ())
        assert reason
