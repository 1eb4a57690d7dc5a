# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standby that is to become the primary: looked at, planned for, promoted."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, Step
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.local import LocalCluster
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Local, Place
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import System
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import lsn_to_text

PAUSE = 0.1  # s between two looks
# Without waiting in the server: psql has a time limit of its own, a large standby may need longer.
PROMOTE = "SELECT json_build_object('promoted', pg_promote(false))"
CHECKPOINT = "CHECKPOINT; SELECT '{}'"


@dataclass(frozen=True)
class State:
    """The server, and whether its last checkpoint tells its timeline."""

    host: str
    place: Place
    local: Local
    checkpointed: bool


class Actions(Protocol):
    """What the steps need done. Each returns only once it has taken effect."""

    def promote(self) -> None: ...
    def checkpoint(self) -> None: ...


@dataclass(frozen=True)
class _Step:
    place: Place


class Promote(_Step):
    def describe(self) -> str:
        return f"Promote {self.place.name}."

    def simulate(self, state: State) -> State:
        local = replace(state.local, in_recovery=False, receiver=None, timeline=state.local.timeline + 1)
        return replace(state, local=local, checkpointed=False)

    def apply(self, io: Actions) -> None:
        io.promote()


class Checkpoint(_Step):
    def describe(self) -> str:
        return "Make a checkpoint on the new timeline, so that others can be rewound onto it."

    def simulate(self, state: State) -> State:
        return replace(state, checkpointed=True)

    def apply(self, io: Actions) -> None:
        io.checkpoint()


def plan(state: State) -> tuple[Step[State, Actions], ...]:
    """Return the steps that are left, or refuse."""
    local, place = state.local, state.place
    if local.data != "cluster" or local.server != "up":
        what = f"is {local.server}" if local.data == "cluster" else f"has no data in {place.data_dir}"
        raise Refusal(f"{state.host}: {place.name} {what}: only a standby that runs can be promoted.")
    promote: tuple[Step[State, Actions], ...] = (Promote(place),) if local.in_recovery else ()
    checkpoint: tuple[Step[State, Actions], ...] = (
        (Checkpoint(place),) if promote or not state.checkpointed else ()
    )
    return promote + checkpoint


def view(state: State) -> dict[str, Any]:
    local = state.local
    return {
        "role": "standby" if local.in_recovery else "primary",
        "timeline": local.timeline,
        "lsn": lsn_to_text(local.lsn),
    }


class Standby:
    """The server of this host."""

    def __init__(self, place: Place, timeout: int) -> None:
        self.place = place
        self.timeout = timeout
        self.system = System()
        self.local = LocalCluster(place, self.system)

    def observe(self) -> State:
        local, _answer = self.local.observe()
        known = local.data == "cluster" and self.local.control().checkpoint_timeline == local.timeline
        return State(self.system.host, self.place, local, known)

    def promote(self) -> None:
        self.local.demand(PROMOTE)
        deadline = time.monotonic() + self.timeout
        while self.local.observe()[0].in_recovery:
            if time.monotonic() > deadline:
                raise Refusal(
                    f"{self.system.host}: {self.place.name} still replays after timeout={self.timeout} s: "
                    "wait for it, and run again."
                )
            time.sleep(PAUSE)

    def checkpoint(self) -> None:
        self.local.demand(CHECKPOINT)
