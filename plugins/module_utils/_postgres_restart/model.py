# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restart of one server needs to know, and what is wanted."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.model import Behind, Guarded


@dataclass(frozen=True)
class Wanted(Guarded):
    """The options of postgres_restart."""

    started_after: float
    drain_file: str | None
    drain_timeout: int
    catch_up_timeout: int


@dataclass(frozen=True)
class State(Behind):
    """All that a decision needs."""

    # Settings that its files have and the process has not.
    pending: tuple[str, ...] = ()
    # Moment of the start, in seconds since the epoch.
    started: float = 0.0
    # A standby that receives WAL and replays it.
    following: bool = False
    # Readers are being sent elsewhere.
    drained: bool = False
    # Why it would not start again, each in words.
    faults: tuple[str, ...] = ()

    @property
    def up(self) -> bool:
        return self.local.server == "up"

    @property
    def broken_off(self) -> bool:
        """Tell whether a run ended between stop and start: its clients still wait, or are elsewhere."""
        local = self.local
        waiting = self.drained if local.standby_signal else local.was_primary and self.paused
        return local.server == "down" and waiting

    def due(self, wanted: Wanted) -> bool:
        return self.up and (bool(self.pending) or self.started < wanted.started_after)
