# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One physical replication slot of this host's server: what is wanted, and the steps to it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Outcome, Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Step as AnyStep
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Place
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import lsn_to_text


@dataclass(frozen=True)
class Wanted(Place):
    """The options of postgres_physical_slot."""

    slot: str
    state: Literal["present", "absent"] = "present"
    reserve: bool = True
    recreate_lost: bool = False

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Wanted:
        more = {name: params[name] for name in ("state", "reserve", "recreate_lost")}
        return cls(**cls.paths(params), slot=params["name"], **more)


@dataclass(frozen=True)
class HeldSlot:
    """One row of pg_replication_slots, and the client that holds the slot."""

    kind: str = "physical"
    temporary: bool = False
    active: bool = False
    holder: str = ""
    # None while the slot holds no WAL back.
    wal_status: str | None = None
    safe_wal_size: int | None = None
    restart_lsn: int = 0

    @property
    def lost(self) -> bool:
        return self.wal_status == "lost"

    @property
    def reserved(self) -> bool:
        return self.wal_status is not None and not self.lost


@dataclass(frozen=True)
class Slots:
    """What the server says of the slot, and whether there is room for another one."""

    host: str
    slot: HeldSlot | None = None
    running: bool = True
    used: int = 0
    most: int = 10
    wal_level: str = "replica"


class Actions(Protocol):
    """What the steps need done."""

    def create(self, name: str, *, reserve: bool) -> None: ...
    def drop(self, name: str) -> None: ...


Step = AnyStep[Slots, Actions]


@dataclass(frozen=True)
class CreateSlot:
    name: str
    reserve: bool

    def describe(self) -> str:
        wal = ", which keeps WAL from now on" if self.reserve else ""
        return f"Create the physical slot {self.name}{wal}."

    def simulate(self, state: Slots) -> Slots:
        made = HeldSlot(wal_status="reserved" if self.reserve else None)
        return replace(state, slot=made, used=state.used + 1)

    def apply(self, io: Actions) -> None:
        io.create(self.name, reserve=self.reserve)


@dataclass(frozen=True)
class DropSlot:
    name: str
    why: str = ""

    def describe(self) -> str:
        return f"Drop the physical slot {self.name}{self.why}."

    def simulate(self, state: Slots) -> Slots:
        return replace(state, slot=None, used=state.used - 1)

    def apply(self, io: Actions) -> None:
        io.drop(self.name)


def plan(state: Slots, wanted: Wanted) -> tuple[Step, ...]:
    """Return the steps that are left, or refuse."""
    if sentence := _refusal(state, wanted):
        raise Refusal(f"{state.host}: {sentence}.", slot=view(state, wanted))
    slot, create = state.slot, CreateSlot(wanted.slot, wanted.reserve)
    if wanted.state == "absent":
        return (DropSlot(wanted.slot),) if slot else ()
    if slot is None:
        return (create,)
    if slot.lost:
        return DropSlot(wanted.slot, ", which has lost its WAL"), create
    # The server has no other way to have it keep WAL. A client that holds it will, by its first answer.
    if wanted.reserve and not slot.reserved and not slot.active:
        return DropSlot(wanted.slot, ", which keeps no WAL"), create
    return ()


def _refusal(state: Slots, wanted: Wanted) -> str | None:
    slot = state.slot
    named = f"slot {wanted.slot} of {wanted.name}"
    if not re.fullmatch(r"[a-z0-9_]{1,63}", wanted.slot):
        return (
            f"name={wanted.slot} is no slot name: use lower-case letters, digits and underscores, at most 63"
        )
    if not state.running:
        return f"{wanted.name} does not run, or takes no questions yet: start it, and run again"
    if slot is not None and (slot.kind != "physical" or slot.temporary):
        kind = "temporary" if slot.temporary else slot.kind
        return f"{named} is {kind}, and was left alone: choose another name, or drop it yourself"
    if wanted.state == "absent":
        return _refusal_of_a_drop(slot, named) if slot else None
    if slot is not None and slot.lost:
        if not wanted.recreate_lost:
            return (
                f"{named} has lost its WAL, and what used it has to be cloned again in any case: set "
                "recreate_lost=true to have it dropped and made anew"
            )
        return _refusal_of_a_drop(slot, named)
    return _refusal_of_room(state) if slot is None else None


def _refusal_of_a_drop(slot: HeldSlot, named: str) -> str | None:
    if not slot.active:
        return None
    return (
        f"{named} is in use by {slot.holder or 'a client'}, and was left alone: stop that client, or have it "
        "use another slot, and run again"
    )


def _refusal_of_room(state: Slots) -> str | None:
    if state.wal_level not in ("replica", "logical"):
        return f"wal_level is {state.wal_level}: set it to replica and restart, and run again"
    if state.used >= state.most:
        return f"all {state.most} of max_replication_slots are in use: drop one, or raise it and restart"
    return None


def view(state: Slots, wanted: Wanted) -> dict[str, Any] | None:
    """Return what is told of the slot."""
    if (slot := state.slot) is None:
        return None
    return {
        "name": wanted.slot,
        "active": slot.active,
        "wal_status": slot.wal_status,
        "safe_wal_size": slot.safe_wal_size,
        "restart_lsn": lsn_to_text(slot.restart_lsn) if slot.restart_lsn else None,
    }


def report(outcome: Outcome[Slots], wanted: Wanted) -> dict[str, Any]:
    """Return the module's result."""
    return {
        "changed": outcome.changed,
        "actions": list(outcome.actions),
        "slot": view(outcome.after, wanted),
        "diff": {"before": _outline(outcome.before), "after": _outline(outcome.after)},
    }


def _outline(state: Slots) -> dict[str, Any]:
    """What can be foretold: positions move while nobody does anything."""
    if state.slot is None:
        return {"state": "absent"}
    return {"state": "present", "wal_status": state.slot.wal_status}
