# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps lead to the wanted slot, and which slots are left alone."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.doc_fragments.postgres_cluster import ModuleDocFragment
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.slot import (
    HeldSlot,
    Slots,
    Wanted,
    plan,
    view,
)
from ansible_collections.payaid.scaling.plugins.modules import postgres_physical_slot
from hypothesis import given
from hypothesis import strategies as st

PLACE = {"version": 17, "cluster": "main", "data_dir": None, "config_dir": None}
PRESENT = Wanted.from_params(
    PLACE | {"name": "db3", "state": "present", "reserve": True, "recreate_lost": False}
)
LAZY = replace(PRESENT, reserve=False)
RECREATE = replace(PRESENT, recreate_lost=True)
ABSENT = replace(PRESENT, state="absent")

RESERVED = HeldSlot(wal_status="reserved", restart_lsn=0x3000000)
UNRESERVED = HeldSlot()
ACTIVE = replace(RESERVED, active=True, holder="db3 at 10.0.0.3 (process 7)")
LOST = HeldSlot(wal_status="lost")
LOGICAL = replace(RESERVED, kind="logical")
TEMPORARY = replace(ACTIVE, temporary=True)

CREATE = "Create the physical slot db3, which keeps WAL from now on."
CREATE_LAZY = "Create the physical slot db3."
DROP = "Drop the physical slot db3."
DROP_LOST = "Drop the physical slot db3, which has lost its WAL."
DROP_UNRESERVED = "Drop the physical slot db3, which keeps no WAL."


def found(slot: HeldSlot | None = None, **more: Any) -> Slots:
    return Slots(**{"host": "db1", "slot": slot, "used": int(slot is not None)} | more)


STEPS: dict[str, tuple[Slots, Wanted, list[str]]] = {
    "none, wanted": (found(), PRESENT, [CREATE]),
    "none, wanted without WAL": (found(), LAZY, [CREATE_LAZY]),
    "none, not wanted": (found(), ABSENT, []),
    "none, not wanted, no room": (found(used=10), ABSENT, []),
    "none, not wanted, no WAL for replicas": (found(wal_level="minimal"), ABSENT, []),
    "there": (found(RESERVED), PRESENT, []),
    "there, no room for another one": (found(RESERVED, used=10), PRESENT, []),
    "there and in use": (found(ACTIVE), PRESENT, []),
    "there, far behind": (found(replace(RESERVED, wal_status="extended")), PRESENT, []),
    "there, about to lose WAL": (found(replace(RESERVED, wal_status="unreserved")), PRESENT, []),
    "there, need not keep WAL": (found(RESERVED), LAZY, []),
    "there, keeps no WAL": (found(UNRESERVED), PRESENT, [DROP_UNRESERVED, CREATE]),
    "there, keeps no WAL, no room": (found(UNRESERVED, used=10), PRESENT, [DROP_UNRESERVED, CREATE]),
    "there, keeps no WAL yet": (found(replace(UNRESERVED, active=True)), PRESENT, []),
    "there, keeps no WAL and need not": (found(UNRESERVED), LAZY, []),
    "there, not wanted": (found(RESERVED), ABSENT, [DROP]),
    "lost, not wanted": (found(LOST), ABSENT, [DROP]),
    "lost": (found(LOST), RECREATE, [DROP_LOST, CREATE]),
    "not lost": (found(RESERVED), RECREATE, []),
}
REFUSALS: dict[str, tuple[Slots, Wanted, str]] = {
    "no name": (found(), replace(PRESENT, slot="Db-3"), "name=Db-3 is no slot name: use lower-case"),
    "long name": (found(), replace(PRESENT, slot="x" * 64), "at most 63"),
    "stopped": (found(running=False), PRESENT, "PostgreSQL 17/main does not run"),
    "stopped, not wanted": (found(running=False), ABSENT, "PostgreSQL 17/main does not run"),
    "logical": (found(LOGICAL), PRESENT, "slot db3 of PostgreSQL 17/main is logical, and was left alone"),
    "logical, not wanted": (found(LOGICAL), ABSENT, "is logical, and was left alone"),
    "temporary": (found(TEMPORARY), PRESENT, "is temporary, and was left alone"),
    "in use, not wanted": (found(ACTIVE), ABSENT, "is in use by db3 at 10.0.0.3 (process 7), and was left"),
    "in use by somebody": (found(replace(ACTIVE, holder="")), ABSENT, "is in use by a client"),
    "lost": (found(LOST), PRESENT, "set recreate_lost=true to have it dropped"),
    "lost, in use": (found(replace(LOST, active=True)), RECREATE, "is in use by a client"),
    "no room": (found(used=10), PRESENT, "all 10 of max_replication_slots are in use"),
    "no WAL for replicas": (found(wal_level="minimal"), PRESENT, "wal_level is minimal"),
}


@pytest.mark.parametrize(("state", "wanted", "expected"), STEPS.values(), ids=STEPS)
def test_a_slot_calls_for_these_steps(state: Slots, wanted: Wanted, expected: list[str]) -> None:
    assert [step.describe() for step in plan(state, wanted)] == expected


@pytest.mark.parametrize(("state", "wanted", "sentence"), REFUSALS.values(), ids=REFUSALS)
def test_a_slot_is_refused_with_its_sentence(state: Slots, wanted: Wanted, sentence: str) -> None:
    with pytest.raises(Refusal) as refusal:
        plan(state, wanted)
    assert sentence in refusal.value.message
    assert refusal.value.message.startswith("db1: ")
    assert refusal.value.message.endswith(".")
    assert refusal.value.details == {"slot": view(state, wanted)}


# --- For every state ---------------------------------------------------------------------------------

slots = st.builds(
    HeldSlot,
    kind=st.sampled_from(("physical", "physical", "logical")),
    temporary=st.sampled_from((False, False, True)),
    active=st.booleans(),
    wal_status=st.sampled_from((None, "reserved", "extended", "unreserved", "lost")),
    restart_lsn=st.sampled_from((0, 0x3000000)),
)
states = st.one_of(
    st.builds(found, slots, used=st.integers(1, 10)),
    # No server with a slot starts with wal_level=minimal.
    st.builds(
        found,
        used=st.integers(0, 10),
        running=st.booleans(),
        wal_level=st.sampled_from(("replica", "logical", "minimal")),
    ),
)
wishes = st.builds(
    replace,
    st.just(PRESENT),
    state=st.sampled_from(("present", "absent")),
    reserve=st.booleans(),
    recreate_lost=st.booleans(),
)


@given(states, wishes)
def test_a_run_that_was_killed_is_taken_up_and_an_end_is_reached(state: Slots, wanted: Wanted) -> None:
    try:
        steps = plan(state, wanted)
    except Refusal:
        return
    for done in range(len(steps) + 1):
        left = [step.describe() for step in plan(simulate(state, steps[:done]), wanted)]
        assert left == [step.describe() for step in steps[done:]]
    end = simulate(state, steps).slot
    if wanted.state == "absent":
        assert end is None
    else:
        assert end is not None
        assert not end.lost
        assert end.reserved or end.active or not wanted.reserve


@given(states, wishes)
def test_what_somebody_uses_or_is_of_another_kind_stays(state: Slots, wanted: Wanted) -> None:
    slot = state.slot
    if slot is None or not (slot.active or slot.temporary or slot.kind == "logical"):
        return
    try:
        steps = plan(state, wanted)
    except Refusal:
        return
    assert steps == ()


def test_the_module_is_documented_as_it_is() -> None:
    facts = ("type", "required", "default", "choices", "elements")
    texts = (postgres_physical_slot.DOCUMENTATION, ModuleDocFragment.DOCUMENTATION)
    documented = {name: one for text in texts for name, one in yaml.safe_load(text)["options"].items()}
    told, spec = (
        {name: {key: one[key] for key in facts if key in one} for name, one in options.items()}
        for options in (documented, postgres_physical_slot.ARGUMENTS)
    )
    assert told == spec
    assert {field.name for field in fields(Wanted)} == set(spec) - {"name"} | {"slot"}
    for task in yaml.safe_load(postgres_physical_slot.EXAMPLES):
        assert set(task["payaid.scaling.postgres_physical_slot"]) <= set(spec)


def test_what_is_told_of_a_slot_is_documented() -> None:
    told = yaml.safe_load(postgres_physical_slot.RETURN)["slot"]["contains"]
    assert set(view(found(RESERVED), PRESENT) or {}) == set(told)
