# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real PostgreSQL clusters on loopback, each in a temporary directory, ended by their own process number."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Desired
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import Process, end

from .. import modules

PASSWORD = r"s3cr:et\'word"  # noqa: S105  # of a role that lives for one test
USER = "replicator"
# Slower than the module waits for a slot: a base backup that is not ended must not end by itself in time.
SLOW = "100k"
HELD = "SELECT 1 FROM pg_replication_slots WHERE slot_name = :'slot' AND active"
KNOWN = "SELECT 1 FROM pg_replication_slots WHERE slot_name = :'slot'"
WAL_STATUS = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = :'slot'"
DROP = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = :'slot'"
GRANTS = """
GRANT pg_monitor, pg_checkpoint TO :user;
GRANT EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean), pg_stat_file(text, boolean),
  pg_read_binary_file(text), pg_read_binary_file(text, bigint, bigint, boolean) TO :user;
"""
# Small and quick: nothing here has to outlast a power cut.
TUNING = (
    "listen_addresses = '127.0.0.1'",
    "fsync = off",
    "shared_buffers = '8MB'",
    "max_wal_senders = 8",
    "max_replication_slots = 8",
    "wal_receiver_status_interval = '1s'",
    "wal_retrieve_retry_interval = '500ms'",
    "wal_log_hints = on",
    "min_wal_size = '32MB'",
    # A rewind needs the WAL since the last checkpoint that both sides have.
    "wal_keep_size = '128MB'",
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def installed_version() -> int:
    versions = [
        int(path.name)
        for path in Path("/usr/lib/postgresql").glob("[0-9]*")
        if (path / "bin/initdb").exists()
    ]
    if not versions:
        pytest.fail("No PostgreSQL server is here: install Debian's package postgresql.")
    return max(versions)


def as_owner(*argv: str, feed: str = "") -> str:
    """Run a command as the user postgres and return what it prints."""
    owner = pwd.getpwnam("postgres")
    done = subprocess.run(  # noqa: S603  # a list of arguments from this file
        argv,
        input=feed,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        user=owner.pw_uid,
        group=owner.pw_gid,
        extra_groups=[],
    )
    assert done.returncode == 0, f"{argv}: {done.stderr}"
    return done.stdout.strip()


@dataclass
class Cluster:
    """One cluster: configuration in conf/, data in data/main, sockets beside them."""

    base: Path
    version: int
    port: int = field(default_factory=free_port)

    @property
    def data(self) -> Path:
        return self.base / "data/main"

    @property
    def conf(self) -> Path:
        return self.base / "conf"

    def program(self, name: str) -> str:
        return f"/usr/lib/postgresql/{self.version}/bin/{name}"

    def configure(self, *settings: str) -> None:
        """Lay down what a role would: postgresql.conf with conf.d, and access for clients."""
        (self.conf / "conf.d").mkdir(parents=True, exist_ok=True)
        (self.base / "data").mkdir(exist_ok=True)
        lines = (
            f"data_directory = '{self.data}'",
            f"hba_file = '{self.conf}/pg_hba.conf'",
            f"unix_socket_directories = '{self.base}'",
            f"port = {self.port}",
            *TUNING,
            *settings,
            "include_dir 'conf.d'",
        )
        (self.conf / "postgresql.conf").write_text("\n".join(lines) + "\n")
        (self.conf / "pg_hba.conf").write_text(
            "local all postgres peer\n"
            f"host replication {USER} 127.0.0.1/32 scram-sha-256\n"
            f"host postgres {USER} 127.0.0.1/32 scram-sha-256\n"
        )
        (self.conf / "pg_ident.conf").touch()
        for path in (self.base, *self.base.rglob("*")):
            shutil.chown(path, "postgres", "postgres")

    def create(self) -> None:
        as_owner(self.program("initdb"), "-D", str(self.data), "-A", "peer", "-N", "--locale=C")

    def start(self) -> None:
        options = f"-c config_file={self.conf}/postgresql.conf"
        log = str(self.base / "server.log")
        as_owner(self.program("pg_ctl"), "start", "-s", "-w", "-D", str(self.data), "-l", log, "-o", options)

    def start_as_child(self) -> subprocess.Popen[bytes]:
        """Start the server without a starter that lets go of it: the caller has to wait for its end."""
        owner = pwd.getpwnam("postgres")
        argv = [
            self.program("postgres"),
            "-D",
            str(self.data),
            "-c",
            f"config_file={self.conf}/postgresql.conf",
        ]
        with (self.base / "server.log").open("ab") as log:
            server = subprocess.Popen(  # noqa: S603  # a list of arguments from this file
                argv,
                stdout=log,
                stderr=log,
                cwd="/",
                user=owner.pw_uid,
                group=owner.pw_gid,
                extra_groups=[],
            )
        deadline = time.monotonic() + 20
        while "ready" not in self._lock_file():
            assert time.monotonic() < deadline, f"server {server.pid} does not start"
            time.sleep(0.05)
        return server

    def _lock_file(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            return (self.data / "postmaster.pid").read_text()
        return ""

    def sql(self, statement: str, **variables: object) -> str:
        """Run a statement as the superuser; :'name' in it stands for a variable, quoted by psql."""
        argv = [
            self.program("psql"),
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            str(self.base),
            "-p",
            str(self.port),
        ]
        given = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
        return as_owner(*argv, *given, "-d", "postgres", feed=statement)

    def pid(self) -> int | None:
        with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
            pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])
            if os.readlink(f"/proc/{pid}/cwd") == str(self.data.resolve()):
                return pid
        return None

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        pid = self.pid()
        if pid is not None:
            server = Process.of(pid)
            os.kill(pid, number)
            deadline = time.monotonic() + 20
            while server and server.lives():
                assert time.monotonic() < deadline, f"server {pid} does not end"
                time.sleep(0.05)

    def wait_for(self, statement: str, wanted: str, *, seconds: float = 20, **variables: object) -> None:
        deadline = time.monotonic() + seconds
        while (found := self.sql(statement, **variables)) != wanted:
            assert time.monotonic() < deadline, f"{statement}: {found}"
            time.sleep(0.1)

    def system_identifier(self) -> str:
        return self.sql("SELECT system_identifier FROM pg_control_system()")

    def outrun(self, slot: str) -> None:
        """Write more WAL than max_slot_wal_keep_size lets the slot keep."""
        for _segment in range(6):
            self.sql("CREATE TABLE f AS SELECT g FROM generate_series(1, 1000) g; DROP TABLE f")
            self.sql("SELECT pg_switch_wal()")
        self.sql("CHECKPOINT")
        self.wait_for(WAL_STATUS, "lost", slot=slot)

    def begin_module(self, module: str, *, check: bool = False, **options: Any) -> subprocess.Popen[str]:
        """Start a module on this cluster as Ansible does, its arguments on its input."""
        place = {"version": self.version, "data_dir": str(self.data), "config_dir": str(self.conf)}
        arguments = place | options | {"_ansible_check_mode": check, "_ansible_diff": True}
        return modules.begin(module, arguments)

    def run_module(self, module: str, *, check: bool = False, **options: Any) -> Mapping[str, Any]:
        """Run a module on this cluster to its end, and return what it says."""
        out, errors = self.begin_module(module, check=check, **options).communicate(timeout=180)
        assert PASSWORD not in out + errors, "the password is in the output"
        assert errors == ""
        answer: Mapping[str, Any] = json.loads(out)
        return answer


@dataclass
class Standby(Cluster):
    """The cluster that the module looks after, and the options it is given."""

    primary: Cluster = field(kw_only=True)

    @property
    def slot(self) -> str:
        return f"slot_{self.port}"

    def options(self, **more: Any) -> dict[str, Any]:
        return {
            "version": self.version,
            "data_dir": str(self.data),
            "config_dir": str(self.conf),
            "primary_host": "127.0.0.1",
            "primary_port": self.primary.port,
            "replication_user": USER,
            "replication_password": PASSWORD,
            "slot": self.slot,
            "min_free_pct": 0,
            "timeout": 30,
        } | more

    def desired(self, **more: Any) -> Desired:
        defaults = {
            "cluster": "main",
            "application_name": None,
            "checkpoint": "fast",
            "max_rate": None,
            "sslmode": "prefer",
            "sslrootcert": None,
        }
        return Desired.from_params(defaults | self.options(**more))

    def begin(self, *, check: bool = False, **more: Any) -> subprocess.Popen[str]:
        return self.begin_module("postgres_replica", check=check, **self.options(**more))

    def run(self, *, check: bool = False, **more: Any) -> Mapping[str, Any]:
        return self.run_module("postgres_replica", check=check, **self.options(**more))

    def ok(self, **more: Any) -> Mapping[str, Any]:
        answer = self.run(**more)
        assert not answer.get("failed"), answer
        return answer

    def refused(self, **more: Any) -> str:
        answer = self.run(**more)
        assert answer.get("failed"), answer
        assert "Traceback" not in str(answer), answer
        return str(answer["msg"])

    def backups(self) -> list[Process]:
        """Return the base backups that work for this standby."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                words = path.read_bytes().decode(errors="replace").split("\0")
                process = Process.of(int(path.parent.name))
                ours = {str(self.data), f"{self.data}.new"} & set(words)
                if words[0].endswith("/pg_basebackup") and ours and process:
                    found.append(process)
        return found

    def streams(self) -> bool:
        return self.sql("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'") == "1"


def follower(former: Cluster, primary: Cluster) -> Standby:
    """Return a former primary as a standby of another one."""
    return Standby(former.base, former.version, former.port, primary=primary)


@contextlib.contextmanager
def temporary_base() -> Iterator[Path]:
    # Short, because the path of a socket may not be longer than 107 characters.
    base = Path(tempfile.mkdtemp(prefix="pgr-"))
    shutil.chown(base, "postgres", "postgres")
    try:
        yield base
    finally:
        shutil.rmtree(base)


@contextlib.contextmanager
def new_primary(*settings: str) -> Iterator[Cluster]:
    with temporary_base() as base:
        cluster = Cluster(base, installed_version())
        cluster.configure(*settings)
        cluster.create()
        try:
            cluster.start()
            cluster.sql(
                "CREATE ROLE :user LOGIN REPLICATION PASSWORD :'password'", user=USER, password=PASSWORD
            )
            cluster.sql(GRANTS, user=USER)
            cluster.sql("CREATE TABLE t AS SELECT g AS n FROM generate_series(1, 1000) g")
            yield cluster
        finally:
            cluster.stop(signal.SIGQUIT)


@contextlib.contextmanager
def new_standby(primary: Cluster, *settings: str) -> Iterator[Standby]:
    with temporary_base() as base:
        standby = Standby(base, primary.version, primary=primary)
        standby.configure(*settings)
        try:
            yield standby
        finally:
            end(standby.backups())
            standby.stop(signal.SIGQUIT)
            if primary.pid() is not None:
                primary.wait_for(HELD, "", slot=standby.slot)
                primary.sql(DROP, slot=standby.slot)


@pytest.fixture(scope="session")
def primary() -> Iterator[Cluster]:
    with new_primary() as cluster:
        yield cluster


@pytest.fixture
def standby(primary: Cluster) -> Iterator[Standby]:
    with new_standby(primary) as cluster:
        yield cluster


@pytest.fixture
def streaming(standby: Standby) -> Standby:
    standby.ok()
    return standby
