# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holding clients back while something is done to a server, and letting them go on whatever becomes of it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TypeVar

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import system as host_system
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.local import LocalCluster
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.console import (
    HAS_PSYCOPG,
    Poolers,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.model import (
    Behind,
    Guarded,
    Pooler,
)

CHECKPOINT_DISTANCE = 16 << 20  # bytes of WAL; less than this a shutdown writes in no time
BUSY = """
SELECT json_build_object('busy', coalesce(
  json_agg(format('transaction %s of %s in %s', pid, usename, datname)), '[]'))
FROM pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start < now() - interval '{age} s'
"""
CHECKPOINT = "CHECKPOINT; SELECT '{}'"
S = TypeVar("S", bound=Behind)


class Held:
    """The clients of one cluster, seen from its host."""

    def __init__(self, wanted: Guarded, system: host_system.System, local: LocalCluster) -> None:
        if not HAS_PSYCOPG:
            raise Refusal(f"{system.host}: psycopg is missing: install python3-psycopg.")
        self.wanted, self.system, self.local = wanted, system, local
        self.poolers = Poolers(system.host, wanted)
        self.seconds = 0.0
        self._since: float | None = None

    @property
    def waiting(self) -> bool:
        """Tell whether this run holds clients back, or has not managed to let all of them go."""
        return self._since is not None

    def observe(self) -> tuple[Pooler, ...]:
        return self.poolers.observe()

    def with_obstacles(self, state: S) -> S:
        """Add what would make clients wait for long; to be asked of a running primary."""
        busy = self.local.demand(BUSY.format(age=self.wanted.max_transaction_age))["busy"]
        written = state.local.lsn - self.local.control().checkpoint_lsn
        return replace(state, long_transactions=tuple(busy), checkpointed=written < CHECKPOINT_DISTANCE)

    def checkpoint(self) -> None:
        self.local.demand(CHECKPOINT)

    def pause(self) -> None:
        self._since = time.monotonic()
        self.poolers.pause()

    def resume(self, otherwise: str) -> None:
        """Let them go on; where that fails on a pooler, say first what has come about nevertheless."""
        failed = self.poolers.resume()
        if self._since is not None:
            self.seconds = time.monotonic() - self._since
        if failed:
            raise Refusal(
                f"{self.system.host}: {otherwise}, but the pooler {failed[0]}, and still holds its clients "
                "back: run RESUME there."
            )
        self._since = None

    # -- going back

    def start_again(self, service: host_system.Service) -> None:
        """Start a server that this run has stopped, or has begun to stop."""
        # It may be waiting in its shutdown for a standby that does not answer. The WAL has it all.
        if server := self.local.postmaster():
            host_system.quit_server(self.system.host, self.wanted, server.pid)
        service.start()

    def let_go(self) -> str:
        """Let them go on after a failure; return what there is to say of it."""
        if not self.waiting:
            return ""
        if failed := self.poolers.resume():
            return f"RESUME failed on {'; '.join(failed)}."
        return "Clients are not held back any more."

    def close(self) -> None:
        self.poolers.close()
