# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The primary that hands over, the standby that takes over, and the poolers between them and the clients."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, converge
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import system as host_system
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.io import Host
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.local import LocalCluster
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import MATCHED_SETTINGS
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.plan import plan as plan_replica
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.holding import Held
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_switchover.model import (
    State,
    Target,
    Wanted,
)

with suppress(ImportError):  # Held says so
    import psycopg

SECONDS_TO_CONNECT = 5
PAUSE = 0.02  # s between two looks while clients are held back

TARGET = """
SELECT json_build_object(
  'system_identifier', (SELECT system_identifier::text FROM pg_control_system()),
  'major', current_setting('server_version_num')::int / 10000,
  'in_recovery', pg_is_in_recovery(),
  'received', pg_last_wal_receive_lsn(),
  'replayed', pg_last_wal_replay_lsn(),
  'streaming', EXISTS (SELECT FROM pg_stat_wal_receiver WHERE status = 'streaming'),
  'paused', CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END,
  'may_promote', has_function_privilege('pg_promote(boolean, integer)', 'EXECUTE'),
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name = ANY(%(names)s))
)
"""


class Switchover:
    """One switchover, seen from the host of the old primary."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.system = host_system.System()
        self.local = LocalCluster(wanted, self.system)
        self.service = host_system.service_for(self.system, wanted, wanted.timeout)
        self.held = Held(wanted, self.system, self.local)
        self._connection: Any = None
        self._asking = ThreadPoolExecutor(max_workers=1)
        self._stopped = False
        self._asked_to_promote = False
        self._handed_over = False  # from here on there is nothing to be taken back

    # -- observing

    def observe(self) -> State:
        local, answer = self.local.observe()
        limits: tuple[tuple[str, int], ...] = ()
        if answer:
            limits = tuple((name, int(answer["settings"][name])) for name in MATCHED_SETTINGS)
        state = State(
            host=self.system.host,
            local=local,
            target=self._target(),
            poolers=self.held.observe(),
            limits=limits,
        )
        return self.held.with_obstacles(state) if state.runs_as_primary else state

    def _target(self) -> Target:
        answer = self._ask_target(TARGET, {"names": list(MATCHED_SETTINGS)})
        return Target(
            system_identifier=answer["system_identifier"],
            major=answer["major"],
            in_recovery=answer["in_recovery"],
            received=text.lsn_from_text(answer["received"]),
            replayed=text.lsn_from_text(answer["replayed"]),
            streaming=answer["streaming"],
            replay_paused=answer["paused"],
            may_promote=answer["may_promote"],
            limits=tuple((name, int(answer["settings"][name])) for name in MATCHED_SETTINGS),
        )

    def _ask_target(self, question: str, values: dict[str, Any] | None = None) -> Any:
        """Ask, and wait no longer than the timeout: a frozen server takes a question and never answers."""
        wanted = self.wanted
        try:
            return self._asking.submit(self._query, question, values).result(wanted.timeout)
        except TimeoutError as error:
            # Whoever waits for that answer waits on; the next question is asked anew.
            self._connection, self._asking = None, ThreadPoolExecutor(max_workers=1)
            raise Refusal(
                f"{self.system.host}: the target {wanted.target} does not answer within timeout="
                f"{wanted.timeout} s: see whether it is frozen."
            ) from error
        except psycopg.Error as error:
            told = text.certificate_problem(
                f"the target {wanted.target}", wanted.sslrootcert, str(error)
            ) or (
                f"the target {wanted.target} cannot be asked ({text.first_line(str(error))}): check "
                f"target_host, and that {wanted.replication_user} may connect to its database postgres from "
                "here"
            )
            raise Refusal(f"{self.system.host}: {told}.") from error

    def _query(self, question: str, values: dict[str, Any] | None) -> Any:
        wanted = self.wanted
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(
                host=wanted.target_host,
                port=wanted.target_port,
                user=wanted.replication_user,
                password=wanted.replication_password,
                sslmode=wanted.sslmode,
                sslrootcert=wanted.sslrootcert,
                dbname="postgres",
                connect_timeout=SECONDS_TO_CONNECT,
                application_name="postgres_switchover",
                client_encoding="UTF8",
                autocommit=True,
            )
        row = self._connection.execute(question, values).fetchone()
        return row[0] if row else None

    # -- doing

    def checkpoint(self) -> None:
        self.held.checkpoint()

    def pause(self) -> None:
        self.held.pause()

    def stop(self) -> None:
        """Stop, and see to it that whatever starts this server from now on starts a standby."""
        self._stopped = True
        self.service.stop()
        state = self.local.control().state
        if state != "shut down":
            raise Refusal(
                f"{self.system.host}: {self.wanted.name} has not ended in good order (pg_controldata says "
                f"{state}): see its log, and run again."
            )
        self.system.write(self._signal_file, "", 0o600)

    @property
    def _signal_file(self) -> str:
        return f"{self.wanted.data_dir}/standby.signal"

    def await_target(self) -> None:
        end = self.local.observe()[0].shutdown_end
        self._until(lambda: self._target().replayed >= end, f"replayed {text.lsn_to_text(end)}")

    def promote(self) -> None:
        self._asked_to_promote = True
        self._ask_target("SELECT pg_promote(false)")
        self._until(lambda: not self._target().in_recovery, "taken over")
        self._handed_over = not self.wanted.poolers

    def _until(self, reached: Any, what: str) -> None:
        deadline = time.monotonic() + self.wanted.timeout
        while not reached():
            if time.monotonic() > deadline:
                raise Refusal(
                    f"{self.system.host}: after timeout={self.wanted.timeout} s {self.wanted.target} has not "
                    f"{what}: see its log, and run again."
                )
            time.sleep(PAUSE)

    def reload(self) -> None:
        self.held.poolers.reload((self.wanted.target_host, self.wanted.target_port))

    def resume(self) -> None:
        self.held.resume(f"{self.wanted.target} has taken over")
        self._handed_over = True

    def follow(self, slot: str) -> None:
        """Do here what postgres_replica would do, while this process still keeps everybody else away."""
        desired = self.wanted.follower(slot)
        host = Host(desired, system=self.system)
        converge(host.observe, lambda state: plan_replica(state, desired), host, check_mode=False)

    # -- going back

    @contextmanager
    def taken_back(self) -> Iterator[None]:
        """Undo what was done if the rest cannot be: whatever happens, clients go on."""
        try:
            yield
        except Refusal as refusal:
            raise Refusal(f"{refusal.message} {self._take_back()}".strip(), **refusal.details) from refusal
        finally:
            self.held.close()
            self._asking.shutdown(wait=False)

    def _take_back(self) -> str:
        if self._handed_over:
            return ""
        told = []
        try:
            if self._stopped:
                told.append(self._start_again())
        except Refusal as refusal:
            told.append(refusal.message)
        told.append(self.held.let_go())
        return " ".join(filter(None, told))

    def _start_again(self) -> str:
        if self._asked_to_promote and self._took_over():
            with suppress(Refusal):  # which pooler leads astray was said, or is said by the next run
                self.reload()
            return (
                f"{self.wanted.target} was told to take over, and has, or cannot say, so this server stays "
                "down: ask it, and run again."
            )
        with suppress(FileNotFoundError):
            os.unlink(self._signal_file)
        self.held.start_again(self.service)
        return f"{self.wanted.name} here was started again and takes writes."

    def _took_over(self) -> bool:
        """Ask whether the target has become a primary after all; who cannot say so may have."""
        try:
            return not self._target().in_recovery
        except Refusal:
            return True
