# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps that hold clients back and let them go on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.model import Behind, Guarded

S = TypeVar("S", bound=Behind)


class Holding(Protocol):
    """What the steps need done. Each returns only once it has taken effect."""

    def checkpoint(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


@dataclass(frozen=True)
class _Step:
    wanted: Guarded


class Checkpoint(_Step):
    def describe(self) -> str:
        return "Make a checkpoint here, so that the shutdown has little to write."

    def simulate(self, state: S) -> S:
        return replace(state, checkpointed=True)

    def apply(self, io: Holding) -> None:
        io.checkpoint()


class Pause(_Step):
    def describe(self) -> str:
        return f"Hold back the clients of {self.wanted.pools}."

    def simulate(self, state: S) -> S:
        return state.with_pools(self.wanted, lambda pool: replace(pool, paused=True))

    def apply(self, io: Holding) -> None:
        io.pause()


class Resume(_Step):
    def describe(self) -> str:
        return f"Let the clients of {self.wanted.pools} go on."

    def simulate(self, state: S) -> S:
        return state.with_pools(self.wanted, lambda pool: replace(pool, paused=False))

    def apply(self, io: Holding) -> None:
        io.resume()


def resume(state: Behind, wanted: Guarded) -> Resume | None:
    return Resume(wanted) if any(pool.paused for pool in state.held(wanted)) else None
