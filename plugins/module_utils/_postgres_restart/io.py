# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One server that is restarted, those who read from it, and the poolers before it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import system as host_system
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.local import LocalCluster
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Local
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.holding import Held
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_restart import faults
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_restart.model import State, Wanted

PAUSE = 0.05  # s between two looks
# Those who send readers here have to hear of it first: a quarter of a second for the agent, another for
# HAProxy, another two for the pools.
SECONDS_TO_HEAR = 2.0
MARGIN = 60  # s that readers stay away at most beyond what everything may take
MORE = """
SELECT json_build_object(
  'pending', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_settings WHERE pending_restart),
  'started', extract(epoch FROM pg_postmaster_start_time()),
  'told', (SELECT latest_end_lsn FROM pg_stat_wal_receiver),
  'readers', (
    SELECT count(*) FROM pg_stat_activity
    WHERE backend_type = 'client backend' AND client_addr IS NOT NULL AND usename IS NOT NULL),
  'access', (
    SELECT coalesce(json_agg(format('line %s of pg_hba.conf: %s', line_number, error)), '[]')
    FROM pg_hba_file_rules WHERE error IS NOT NULL)
)
"""


class Restart:
    """One restart, seen from the host of the server."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.system = host_system.System()
        self.local = LocalCluster(wanted, self.system)
        self._starting = ThreadPoolExecutor(max_workers=1)
        self._started: Future[None] | None = None
        self.held = Held(wanted, self.system, self.local)
        self._stopped = False
        self._drained = False
        self.cut_off = 0

    # -- observing

    def observe(self) -> State:
        local, answer = self.local.observe(MORE)
        state = State(
            host=self.system.host,
            local=local,
            pending=tuple(answer.get("pending", ())),
            started=float(answer.get("started", 0)),
            following=_follows(local),
            drained=self._is_drained(),
            poolers=self.held.observe() if not _is_standby(local) else (),
        )
        if not state.due(self.wanted):
            return state
        return self._with_obstacles(state, answer)

    def _with_obstacles(self, state: State, answer: dict[str, Any]) -> State:
        """Look at what matters only where something is to be stopped."""
        state = replace(state, faults=(*self._faults(state.local), *answer["access"]))
        return state if state.local.in_recovery else self.held.with_obstacles(state)

    def _faults(self, local: Local) -> tuple[str, ...]:
        wanted = self.wanted
        settings = {}
        for name in faults.ASKED:
            done = self.local.try_setting(name, wanted.config_file)
            if done.returncode:
                return (f"postgres says: {faults.complaint(done.stderr)}",)
            settings[name] = done.stdout.strip()
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        return tuple(faults.of_settings(wanted, local, settings, memory))

    def _is_drained(self) -> bool:
        """Tell whether readers are being sent elsewhere; the file's own time says until when."""
        try:
            return bool(self.wanted.drain_file and os.stat(self.wanted.drain_file).st_mtime > time.time())
        except FileNotFoundError:
            return False

    # -- doing

    def checkpoint(self) -> None:
        self.held.checkpoint()

    def drain(self) -> None:
        """Send readers elsewhere until it is over, or, should nobody end it, until it must be over."""
        wanted = self.wanted
        if wanted.drain_file is None:
            return
        self._drained = True
        self.system.write(wanted.drain_file, "", 0o644)
        until = time.time() + wanted.drain_timeout + 2 * wanted.timeout + wanted.catch_up_timeout + MARGIN
        os.utime(wanted.drain_file, (until, until))
        began = time.monotonic()
        while True:
            self.cut_off = self.local.demand(MORE)["readers"]
            waited = time.monotonic() - began
            if (not self.cut_off and waited > SECONDS_TO_HEAR) or waited > wanted.drain_timeout:
                return
            time.sleep(PAUSE)

    def pause(self) -> None:
        self.held.pause()

    @property
    def service(self) -> host_system.Service:
        """Have as much patience with a standby as nobody has who waits for a primary."""
        wanted = self.wanted
        seconds = wanted.timeout if self.held.waiting else wanted.catch_up_timeout
        return host_system.service_for(self.system, wanted, seconds)

    def stop(self) -> None:
        self._stopped = True
        self.service.stop()

    def start(self) -> None:
        """Return once the server takes connections: systemd may take seconds more, and clients wait."""
        self._stopped = True
        self._started = self._starting.submit(self.service.start)
        while not self._started.done():
            if self.held.waiting and self.local.accepts():
                return
            time.sleep(PAUSE)
        self._started.result()

    def await_stream(self) -> None:
        self._until(_follows, "does not follow its primary")
        # Whatever the primary had written by then.
        told = text.lsn_from_text(self.local.demand(MORE)["told"])
        self._until(lambda local: local.replayed >= told, "has not caught up")

    def _until(self, reached: Callable[[Local], bool], otherwise: str) -> None:
        deadline = time.monotonic() + self.wanted.catch_up_timeout
        while not reached(self.local.observe()[0]):
            if time.monotonic() > deadline:
                raise Refusal(
                    f"{self.system.host}: after catch_up_timeout={self.wanted.catch_up_timeout} s "
                    f"{self.wanted.name} {otherwise}: see {self.service.log}, and run again."
                )
            time.sleep(PAUSE)

    def undrain(self) -> None:
        if self.wanted.drain_file is not None:
            with suppress(FileNotFoundError):
                os.unlink(self.wanted.drain_file)
        self._drained = False

    def resume(self) -> None:
        self.held.resume(f"{self.wanted.name} runs")
        if self._started is not None:
            self._started.result()

    # -- going back

    @contextmanager
    def taken_back(self) -> Iterator[None]:
        """Let clients go on whatever happens, and have the server run if that is possible."""
        try:
            yield
        except Refusal as refusal:
            raise Refusal(f"{refusal.message} {self._take_back()}".strip(), **refusal.details) from refusal
        except BaseException:
            self._take_back()
            raise
        finally:
            self.held.close()
            self._starting.shutdown(wait=False)

    def _take_back(self) -> str:
        told = []
        if self._stopped and self.local.observe()[0].server != "up":
            told.append(self._start_again())
        if self._drained:
            self.undrain()
        told.append(self.held.let_go())
        return " ".join(filter(None, told))

    def _start_again(self) -> str:
        try:
            self.held.start_again(self.service)
        except Refusal as refusal:
            return f"It is down: {refusal.message}"
        return f"{self.wanted.name} was started again."


def _is_standby(local: Local) -> bool:
    return local.in_recovery or local.standby_signal


def _follows(local: Local) -> bool:
    return (
        local.server == "up"
        and local.in_recovery
        and local.replay == "not paused"
        and local.receiver is not None
        and local.receiver.status == "streaming"
    )
