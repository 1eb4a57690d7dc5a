# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at a machine: its units, PgBouncer's console, and what a primary knows of its replicas."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._module import Run
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import first_line
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.console import rows_of
from ansible_collections.payaid.scaling.plugins.module_utils._usage.model import (
    Look,
    PoolLook,
    belongs,
    used_by_units,
)

try:
    import psycopg
except ImportError:
    HAS_PSYCOPG = False
else:
    HAS_PSYCOPG = True

# Debian runs PostgreSQL and PgBouncer as this user, whom both let in over their sockets without a password.
OWNER = "postgres"
SOCKETS = "/var/run/postgresql"
SECONDS_TO_CONNECT = 5
# Idle replicas have no lag that PostgreSQL could measure, and say so with nothing.
LAGS = """
SELECT application_name AS name, coalesce(extract(epoch FROM replay_lag), 0)::float AS lag
FROM pg_catalog.pg_stat_replication WHERE state = 'streaming'
"""


class Machine:
    """This machine."""

    def __init__(self, run: Run, host: str, units: Sequence[str], pooler: int, postgres: int) -> None:
        self._run = run
        self.host = host
        self._units = units
        self._pooler = pooler
        self._postgres = postgres
        if (pooler or postgres) and not HAS_PSYCOPG:
            raise Refusal(f"{host}: psycopg is missing: install python3-psycopg.")

    @property
    def cores(self) -> int:
        return os.cpu_count() or 1

    def look(self) -> Look:
        busy, idle = _processors()
        return Look(
            at=time.time(),
            units=self._used(),
            busy=busy,
            idle=idle,
            pools=self._pools() if self._pooler else {},
            lags=self._lags() if self._postgres else {},
        )

    def _used(self) -> float:
        if not self._units:
            return 0
        shown = ["--property=Id,CPUUsageNSec,ControlGroup", *self._units]
        status, output, errors = self._run(["systemctl", "--no-pager", "show", *shown])
        if status:
            raise Refusal(f"{self.host}: systemctl show {' '.join(self._units)} says: {errors.strip()}")
        counted, uncounted = used_by_units(output)
        return counted + (_used_by_processes(uncounted) if uncounted else 0)

    def _pools(self) -> dict[str, PoolLook]:
        with self._asking("pgbouncer", "pgbouncer", self._pooler) as connection:
            stats = {row["database"]: row for row in rows_of(connection, "SHOW STATS")}
            pools = [row for row in rows_of(connection, "SHOW POOLS") if row["database"] != "pgbouncer"]
            sizes = {row["name"]: int(row["pool_size"]) for row in rows_of(connection, "SHOW DATABASES")}
        names = sorted({row["database"] for row in pools})
        return {
            name: PoolLook(
                transactions=int(stats[name]["total_xact_count"]) if name in stats else 0,
                waited_us=int(stats[name]["total_wait_time"]) if name in stats else 0,
                # A pool is one of a user too.
                waiting=sum(int(row["cl_waiting"]) for row in pools if row["database"] == name),
                serving=sum(int(row["sv_active"]) for row in pools if row["database"] == name),
                size=sizes.get(name, 0),
            )
            for name in names
        }

    def _lags(self) -> dict[str, float]:
        with self._asking("postgres", OWNER, self._postgres) as connection:
            return {str(row["name"]): float(row["lag"]) for row in rows_of(connection, LAGS)}

    @contextmanager
    def _asking(self, database: str, user: str, port: int) -> Iterator[Any]:
        try:
            with _as_owner(self.host):
                connection = psycopg.connect(
                    host=SOCKETS,
                    port=port,
                    dbname=database,
                    user=user,
                    connect_timeout=SECONDS_TO_CONNECT,
                    application_name="platform_usage",
                    autocommit=True,
                    prepare_threshold=None,
                )
            try:
                yield connection
            finally:
                connection.close()
        except psycopg.Error as error:
            raise Refusal(
                f"{self.host}: {SOCKETS}, port {port}, says {first_line(str(error)).rstrip('.')}."
            ) from error


@contextmanager
def _as_owner(host: str) -> Iterator[None]:
    """Connect as the user whom the other side lets in; it sees who that is when the connection is made."""
    try:
        owner = pwd.getpwnam(OWNER)
    except KeyError as error:
        raise Refusal(f"{host}: there is no user {OWNER}, so neither PostgreSQL nor PgBouncer.") from error
    was = os.geteuid()
    if was == owner.pw_uid:
        yield
        return
    if was:
        raise Refusal(f"{host}: this needs root or {OWNER}: set become to true.")
    os.seteuid(owner.pw_uid)
    try:
        yield
    finally:
        os.seteuid(was)


def _used_by_processes(groups: Sequence[str]) -> float:
    """Return the seconds that the processes of control groups have used, their ended children included."""
    ticks = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            within = (process / "cgroup").read_text()
            if not belongs(within, groups):
                continue
            # The name of a process may have blanks and brackets.
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended, and its parent has its time
        ticks += sum(int(field) for field in fields[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def _processors() -> tuple[float, float]:
    """Return for how long all processors were busy and idle, in ticks of the kernel."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    idle = fields[3] + fields[4]
    return float(sum(fields) - idle), float(idle)
