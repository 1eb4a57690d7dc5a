# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The order of a switchover: every moment in it, one server at most takes writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Outcome, Refusal, Step
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import lsn_to_text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.steps import (
    Checkpoint,
    Holding,
    Pause,
    resume,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_switchover.model import State, Wanted
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_switchover.refusals import REFUSALS


class Actions(Holding, Protocol):
    """What the steps need done. Each returns only once it has taken effect."""

    def stop(self) -> None: ...
    def await_target(self) -> None: ...
    def promote(self) -> None: ...
    def reload(self) -> None: ...
    def follow(self, slot: str) -> None: ...


@dataclass(frozen=True)
class _Step:
    wanted: Wanted


class Stop(_Step):
    def describe(self) -> str:
        return f"Stop {self.wanted.name} here, and make it a standby's data."

    def simulate(self, state: State) -> State:
        local = state.local
        stopped = replace(
            local,
            server="down",
            control_state="shut down",
            shutdown_end=local.lsn + 1,
            standby_signal=True,
        )
        return replace(state, local=stopped)

    def apply(self, io: Actions) -> None:
        io.stop()


class AwaitTarget(_Step):
    def describe(self) -> str:
        return f"Wait until {self.wanted.target} has all of it."

    def simulate(self, state: State) -> State:
        end = state.local.shutdown_end
        return replace(state, target=replace(state.target, received=end, replayed=end))

    def apply(self, io: Actions) -> None:
        io.await_target()


class Promote(_Step):
    def describe(self) -> str:
        return f"Promote {self.wanted.target}."

    def simulate(self, state: State) -> State:
        return replace(state, target=replace(state.target, in_recovery=False, streaming=False))

    def apply(self, io: Actions) -> None:
        io.promote()


class Reload(_Step):
    def describe(self) -> str:
        return f"Let {self.wanted.pools} read where the primary is now."

    def simulate(self, state: State) -> State:
        wanted = self.wanted
        return state.with_pools(
            wanted, lambda pool: replace(pool, host=wanted.target_host, port=wanted.target_port)
        )

    def apply(self, io: Actions) -> None:
        io.reload()


@dataclass(frozen=True)
class Follow(_Step):
    slot: str

    def describe(self) -> str:
        return f"Have {self.wanted.name} here follow {self.wanted.target} through the slot {self.slot}."

    def simulate(self, state: State) -> State:
        local = replace(
            state.local, server="up", in_recovery=True, control_state="in archive recovery", shutdown_end=0
        )
        return replace(state, local=local)

    def apply(self, io: Actions) -> None:
        io.follow(self.slot)


def _to_reload(state: State, wanted: Wanted) -> bool:
    there = (wanted.target_host, wanted.target_port)
    return any((pool.host, pool.port) != there for pool in state.held(wanted))


def _to_checkpoint(state: State) -> bool:
    """Tell whether nothing is held back yet: afterwards a checkpoint would only make clients wait."""
    wanting = not state.checkpointed and not state.paused
    return state.target.in_recovery and state.runs_as_primary and wanting


def _to_pause(state: State, wanted: Wanted) -> bool:
    return state.target.in_recovery and not all(pool.paused for pool in state.held(wanted))


def _follow(state: State, wanted: Wanted) -> Follow | None:
    # Whether these data can follow as they are, postgres_replica's own plan decides.
    stopped = state.local.server == "down" and not state.target.in_recovery
    return Follow(wanted, wanted.slot) if wanted.slot and stopped else None


# In the order of their doing, each planned when it is still wanting after those before it.
CANDIDATES: tuple[Callable[[State, Wanted], Step[State, Actions] | None], ...] = (
    lambda s, w: Checkpoint(w) if _to_checkpoint(s) else None,
    lambda s, w: Pause(w) if _to_pause(s, w) else None,
    lambda s, w: Stop(w) if s.target.in_recovery and s.runs_as_primary else None,
    lambda s, w: (
        AwaitTarget(w) if s.target.in_recovery and s.target.replayed < s.local.shutdown_end else None
    ),
    lambda s, w: Promote(w) if s.target.in_recovery else None,
    lambda s, w: Reload(w) if _to_reload(s, w) else None,
    resume,
    # Last, because clients need not wait for it, unless their commits wait for a standby.
    _follow,
)


def plan(state: State, wanted: Wanted) -> tuple[Step[State, Actions], ...]:
    """Return the steps that are left, or refuse."""
    for refusal in REFUSALS:
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
    here = "primary" if state.runs_as_primary else "stopped" if state.local.server == "down" else "standby"
    return {
        "here": here,
        "target": "standby" if state.target.in_recovery else "primary",
        "target_lsn": lsn_to_text(state.target.replayed) if state.target.replayed else None,
        "poolers": {
            pooler.addr: {
                pool.name: f"{pool.host}:{pool.port}{' (paused)' if pool.paused else ''}"
                for pool in pooler.pools
            }
            for pooler in state.poolers
        },
    }


def report(outcome: Outcome[State], held_seconds: float) -> dict[str, Any]:
    return {
        "changed": outcome.changed,
        "actions": list(outcome.actions),
        "before": view(outcome.before),
        "after": view(outcome.after),
        "held_seconds": round(held_seconds, 3),
    }
