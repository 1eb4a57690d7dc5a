# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The slots of this host's server: asking for one, making it, dropping it."""

from __future__ import annotations

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.local import LocalCluster
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.slot import HeldSlot, Slots, Wanted
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import System

QUESTION = """
SELECT json_build_object(
  'used', (SELECT count(*) FROM pg_replication_slots),
  'most', current_setting('max_replication_slots')::int,
  'wal_level', current_setting('wal_level'),
  'slot', (
    SELECT json_build_object(
      'kind', s.slot_type, 'temporary', s.temporary, 'active', s.active, 'pid', s.active_pid,
      'wal_status', s.wal_status, 'safe_wal_size', s.safe_wal_size, 'restart_lsn', s.restart_lsn,
      'application_name', r.application_name, 'address', host(r.client_addr))
    FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid
    WHERE s.slot_name = :'name')
)
"""
CREATE = "SELECT pg_create_physical_replication_slot(:'name', :'reserve')"
DROP = "SELECT pg_drop_replication_slot(:'name')"


class SlotServer:
    """The server that has the slot, or is to have it; a primary or a standby."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.system = System()
        self.local = LocalCluster(wanted, self.system)

    def observe(self) -> Slots:
        server = self.local.postmaster()
        answer = self.local.ask(server, QUESTION, name=self.wanted.slot) if server else None
        if answer is None:
            return Slots(self.system.host, running=False)
        row = answer["slot"]
        return Slots(
            host=self.system.host,
            slot=row
            and HeldSlot(
                kind=row["kind"],
                temporary=row["temporary"],
                active=row["active"],
                holder=_holder(row["application_name"], row["address"], row["pid"]),
                wal_status=row["wal_status"],
                safe_wal_size=row["safe_wal_size"],
                restart_lsn=text.lsn_from_text(row["restart_lsn"]),
            ),
            used=answer["used"],
            most=answer["most"],
            wal_level=answer["wal_level"],
        )

    def create(self, name: str, *, reserve: bool) -> None:
        self._do(CREATE, name=name, reserve=reserve)

    def drop(self, name: str) -> None:
        self._do(DROP, name=name)

    def _do(self, statement: str, **variables: object) -> None:
        if (server := self.local.postmaster()) is None:
            raise Refusal(
                f"{self.system.host}: {self.wanted.name} was stopped meanwhile: start it, and run again."
            )
        done = self.local.psql(server, statement, **variables)
        if done.returncode:
            said = text.last_complaint(done.stderr) or text.first_line(done.stderr)
            raise Refusal(f"{self.system.host}: {self.wanted.name} said: {said}.")


def _holder(application_name: str | None, address: str | None, pid: int | None) -> str:
    known = " at ".join(part for part in (application_name, address) if part)
    return f"{known} (process {pid})" if known else f"process {pid}" if pid else ""
