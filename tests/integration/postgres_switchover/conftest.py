# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pairs of PostgreSQL servers with PgBouncers before them, and clients that write through these."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ..postgres_replica.conftest import (
    PASSWORD,
    USER,
    Cluster,
    Standby,
    free_port,
    new_primary,
    new_standby,
    temporary_base,
)

PGBOUNCER = "/usr/sbin/pgbouncer"
SETTINGS = ("wal_log_hints = on", "synchronous_commit = on", "max_connections = 60")


@dataclass
class Bouncer:
    """One PgBouncer, its files in a folder of its own."""

    folder: Path
    port: int = field(default_factory=free_port)
    mode: str = "transaction"
    process: subprocess.Popen[bytes] | None = None

    def lead_to(self, port: int) -> None:
        """Write where the writes go; the next reload reads it."""
        lines = (
            "[databases]",
            f"app_rw = host=127.0.0.1 port={port} dbname=postgres pool_size=10",
            "[pgbouncer]",
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =",
            f"auth_type = trust\nauth_file = {self.folder}/users\nadmin_users = switcher",
            f"logfile = {self.folder}/log\npidfile = {self.folder}/pid",
            f"pool_mode = {self.mode}\nserver_login_retry = 1\nquery_wait_timeout = 30",
        )
        (self.folder / "pgbouncer.ini").write_text("\n".join(lines) + "\n")

    def start(self, port: int) -> None:
        self.folder.mkdir()
        (self.folder / "users").write_text(f'"switcher" ""\n"{USER}" "{PASSWORD}"\n')
        self.lead_to(port)
        for path in (self.folder, *self.folder.iterdir()):
            shutil.chown(path, "postgres", "postgres")
        argv = [PGBOUNCER, "-q", "-u", "postgres", str(self.folder / "pgbouncer.ini")]
        self.process = subprocess.Popen(argv)  # noqa: S603  # our own words
        deadline = time.monotonic() + 10
        while True:
            with suppress(psycopg.OperationalError):
                self.admin("SHOW VERSION")
                return
            assert time.monotonic() < deadline, "pgbouncer does not answer"
            time.sleep(0.05)

    def admin(self, command: str) -> list[Any]:
        where = f"host=127.0.0.1 port={self.port} dbname=pgbouncer user=switcher"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(command)
            return list(cursor.fetchall()) if cursor.description else []

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Writers:
    """Clients that write without pause, and keep what was acknowledged and what was refused."""

    def __init__(self, bouncers: list[Bouncer], count: int = 8) -> None:
        self.bouncers = bouncers
        self.acknowledged: list[int] = []
        self.errors: list[str] = []
        self.longest = 0.0
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(number,)) for number in range(count)]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        port = self.bouncers[number % len(self.bouncers)].port
        where = f"host=127.0.0.1 port={port} dbname=app_rw user={USER} connect_timeout=40"
        row = number * 10_000_000
        while not self._ended.is_set():
            try:
                with psycopg.connect(where, autocommit=True, prepare_threshold=None) as connection:
                    while not self._ended.is_set():
                        began = time.monotonic()
                        connection.execute("INSERT INTO written VALUES (%s)", (row,))
                        self.longest = max(self.longest, time.monotonic() - began)
                        self.acknowledged.append(row)
                        row += 1
                        time.sleep(0.005)
            except psycopg.Error as error:
                self.errors.append(str(error))
                row += 1
                time.sleep(0.05)


@dataclass
class Pair:
    """A primary, a standby of it, and two poolers that lead to the primary."""

    primary: Cluster
    standby: Standby
    bouncers: list[Bouncer]

    def options(self, **more: Any) -> dict[str, Any]:
        return {
            "target_host": "127.0.0.1",
            "target_port": self.standby.port,
            "replication_user": USER,
            "replication_password": PASSWORD,
            "poolers": [{"host": "127.0.0.1", "port": bouncer.port} for bouncer in self.bouncers],
            "pooler_user": "switcher",
        } | more

    def begin(self, *, check: bool = False, **more: Any) -> subprocess.Popen[str]:
        return self.primary.begin_module("postgres_switchover", check=check, **self.options(**more))

    def run(self, *, check: bool = False, **more: Any) -> Mapping[str, Any]:
        return self.primary.run_module("postgres_switchover", check=check, **self.options(**more))

    def ok(self, **more: Any) -> Mapping[str, Any]:
        answer = self.run(**more)
        assert not answer.get("failed"), answer
        return answer

    def refused(self, **more: Any) -> str:
        answer = self.run(**more)
        assert answer.get("failed"), answer
        assert "Traceback" not in str(answer), answer
        return str(answer["msg"])

    def lead_to(self, cluster: Cluster) -> None:
        for bouncer in self.bouncers:
            bouncer.lead_to(cluster.port)

    def paused(self) -> set[str]:
        return {str(row[-2]) for bouncer in self.bouncers for row in bouncer.admin("SHOW DATABASES")}


@contextmanager
def new_pair(folder: Path, *settings: str, name: str | None = None) -> Iterator[Pair]:
    with new_primary(*SETTINGS, *settings) as primary, new_standby(primary, *SETTINGS) as standby:
        bouncers = [Bouncer(folder / name) for name in ("one", "two")]
        try:
            grant = "GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO :user"
            primary.sql(grant, user=USER)
            primary.sql(
                "CREATE TABLE written (n bigint PRIMARY KEY); GRANT ALL ON written TO :user", user=USER
            )
            standby.ok(application_name=name)
            for bouncer in bouncers:
                bouncer.start(primary.port)
            yield Pair(primary, standby, bouncers)
        finally:
            for bouncer in bouncers:
                bouncer.stop()
            standby.stop(signal.SIGQUIT)


@contextmanager
def open_pair(name: str | None = None) -> Iterator[Pair]:
    # Not pytest's folder, which another run of pytest closes for everybody but its own user.
    with temporary_base() as folder, new_pair(folder, name=name) as made:
        yield made


@pytest.fixture
def pair() -> Iterator[Pair]:
    with open_pair() as made:
        yield made
