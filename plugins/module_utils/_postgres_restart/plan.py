# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a restart: readers leave a standby first, clients of a primary wait in their poolers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Outcome, Refusal, Step
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.refusals import (
    poolers_in_the_way,
    transaction_in_the_way,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.steps import (
    Checkpoint,
    Holding,
    Pause,
    resume,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_restart.model import State, Wanted


class Actions(Holding, Protocol):
    """What the steps need done. Each returns only once it has taken effect."""

    def drain(self) -> None: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...
    def await_stream(self) -> None: ...
    def undrain(self) -> None: ...


@dataclass(frozen=True)
class _Step:
    wanted: Wanted


class Drain(_Step):
    def describe(self) -> str:
        return f"Send readers elsewhere by {self.wanted.drain_file}, and let those that are here end."

    def simulate(self, state: State) -> State:
        return replace(state, drained=True)

    def apply(self, io: Actions) -> None:
        io.drain()


@dataclass(frozen=True)
class Stop(_Step):
    pending: tuple[str, ...]

    def describe(self) -> str:
        why = f", for {', '.join(self.pending)}" if self.pending else ""
        return f"Stop {self.wanted.name}{why}."

    def simulate(self, state: State) -> State:
        ended = "shut down in recovery" if state.local.in_recovery else "shut down"
        return replace(state, local=replace(state.local, server="down", control_state=ended), following=False)

    def apply(self, io: Actions) -> None:
        io.stop()


class Start(_Step):
    def describe(self) -> str:
        return f"Start {self.wanted.name}."

    def simulate(self, state: State) -> State:
        local = replace(state.local, server="up", in_recovery=state.local.standby_signal)
        started = max(state.started, self.wanted.started_after)
        return replace(state, local=local, pending=(), started=started)

    def apply(self, io: Actions) -> None:
        io.start()


class AwaitStream(_Step):
    def describe(self) -> str:
        return "Wait until it follows its primary again, and has caught up."

    def simulate(self, state: State) -> State:
        return replace(state, following=True)

    def apply(self, io: Actions) -> None:
        io.await_stream()


class Undrain(_Step):
    def describe(self) -> str:
        return f"Let readers come back, without {self.wanted.drain_file}."

    def simulate(self, state: State) -> State:
        return replace(state, drained=False)

    def apply(self, io: Actions) -> None:
        io.undrain()


def _checkpoint(state: State, wanted: Wanted) -> Checkpoint | None:
    """Make one before anybody is held back; afterwards it would only make clients wait."""
    wanting = state.due(wanted) and not (state.checkpointed or state.paused or state.local.in_recovery)
    return Checkpoint(wanted) if wanting else None


def _drain(state: State, wanted: Wanted) -> Drain | None:
    wanting = state.due(wanted) and state.local.in_recovery and wanted.drain_file and not state.drained
    return Drain(wanted) if wanting else None


def _pause(state: State, wanted: Wanted) -> Pause | None:
    held = all(pool.paused for pool in state.held(wanted))
    return Pause(wanted) if state.due(wanted) and not held else None


def _await_stream(state: State, wanted: Wanted) -> AwaitStream | None:
    """Wait for any standby that does not follow: the next server must not be restarted meanwhile."""
    wanting = state.up and state.local.in_recovery and state.local.conninfo and not state.following
    return AwaitStream(wanted) if wanting else None


# In the order of their doing, each planned when it is still wanting after those before it.
CANDIDATES: tuple[Callable[[State, Wanted], Step[State, Actions] | None], ...] = (
    _checkpoint,
    _drain,
    _pause,
    lambda s, w: Stop(w, s.pending) if s.due(w) else None,
    lambda s, w: Start(w) if s.local.server == "down" else None,
    _await_stream,
    lambda s, w: Undrain(w) if s.drained else None,
    resume,
)


def refusal(state: State, wanted: Wanted) -> str | None:
    """Say what is in the way, before anything is stopped."""
    local = state.local
    if local.data != "cluster":
        return f"there is no cluster in {wanted.data_dir}: correct data_dir"
    if not state.up:
        return None if state.broken_off else f"{wanted.name} is {local.server}: start it first; site.yml does"
    if not state.due(wanted) and not state.paused:
        return None
    if state.faults and state.due(wanted):
        return (
            f"{wanted.name} would not start again, because {state.faults[0]}: correct it, reload, and run "
            "again; nothing was stopped"
        )
    due = state.due(wanted)
    return poolers_in_the_way(state, wanted) or (transaction_in_the_way(state, wanted) if due else None)


def plan(state: State, wanted: Wanted) -> tuple[Step[State, Actions], ...]:
    """Return the steps that are left, or refuse."""
    if sentence := refusal(state, wanted):
        raise Refusal(f"{state.host}: {sentence}.", before=view(state))
    steps: list[Step[State, Actions]] = []
    for candidate in CANDIDATES:
        if step := candidate(state, wanted):
            steps.append(step)
            state = step.simulate(state)
    return tuple(steps)


def view(state: State) -> dict[str, Any]:
    """Return what is told of a state."""
    return {
        "role": "standby" if state.local.in_recovery else "primary",
        "server": state.local.server,
        "pending_restart": list(state.pending),
        "following": state.following,
        "drained": state.drained,
        "paused": sorted(
            f"{pool.name} on {pooler.addr}"
            for pooler in state.poolers
            for pool in pooler.pools
            if pool.paused
        ),
    }


def report(outcome: Outcome[State], held_seconds: float, cut_off: int) -> dict[str, Any]:
    return {
        "changed": outcome.changed,
        "actions": list(outcome.actions),
        "before": view(outcome.before),
        "after": view(outcome.after),
        "held_seconds": round(held_seconds, 3),
        "cut_off": cut_off,
    }
