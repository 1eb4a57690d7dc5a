# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real redis-server processes on loopback, and the module run against them."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

HOST = "127.0.0.1"
PATIENCE = 20  # s
# The module takes its arguments the way Ansible hands them to it, without the controller's start-up time.
RUNNER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.payaid.scaling.plugins.modules.redis_cluster import main
with patch_module_args(json.loads(sys.argv[1])):
    main()
"""
# redis-py takes it where it is installed; this makes it look as if it were not.
WITHOUT_HIREDIS = "import sys; sys.modules['hiredis'] = None\n"


def free_port(taken: set[int]) -> int:
    """Find a port whose cluster bus port, 10000 above it, is free as well."""
    for port in range(21000, 31000):
        if port in taken:
            continue
        try:
            for number in (port, port + 10000):
                with socket.socket() as probe:
                    probe.bind((HOST, number))
        except OSError:
            continue
        taken.add(port)
        return port
    raise RuntimeError("No free pair of ports from 21000 to 41000.")


@dataclass(frozen=True)
class Row:
    """One line of CLUSTER NODES."""

    id: str
    port: int
    flags: frozenset[str]
    master: str
    slots: tuple[tuple[int, int], ...]
    open_slots: tuple[str, ...]

    @classmethod
    def of(cls, line: str) -> Row:
        node_id, address, flags, master, _ping, _pong, _epoch, _link, *slots = line.split()
        ends = [slot.partition("-") for slot in slots if not slot.startswith("[")]
        return cls(
            node_id,
            int(address.partition("@")[0].rpartition(":")[2]),
            frozenset(flags.split(",")),
            master,
            tuple((int(first), int(last or first)) for first, _dash, last in ends),
            tuple(slot for slot in slots if slot.startswith("[")),
        )


@dataclass(eq=False)
class Server:
    """One redis-server, started and ended here."""

    port: int
    folder: Path
    options: tuple[str, ...] = ()
    password: str | None = None
    # What a client needs for TLS, where the server speaks nothing else.
    secure: dict[str, Any] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def addr(self) -> str:
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.fail("redis-server is missing: install the package redis-server.", pytrace=False)
        self.folder.mkdir(exist_ok=True)
        settings = {
            "port": "0" if self.secure else str(self.port),
            "tls-port": str(self.port) if self.secure else "0",
            "bind": HOST,
            "dir": str(self.folder),
            "cluster-enabled": "yes",
            "cluster-node-timeout": "2000",
            "repl-diskless-sync-delay": "0",
            "save": "",
            "logfile": str(self.folder / "log"),
        }
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        self.process = subprocess.Popen([binary, *words, *self.options])  # noqa: S603  # our own words
        wait_for(self._answers, f"{self.addr} to answer")

    def _answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def client(self) -> redis.Redis:
        return redis.Redis(
            host=HOST, port=self.port, password=self.password, decode_responses=True, **self.secure
        )

    def do(self, *words: str | bytes | int) -> Any:
        with self.client() as client:
            return client.execute_command(*words)

    def cluster(self) -> redis.RedisCluster:
        """Return a client of the whole cluster."""
        return redis.RedisCluster(
            host=HOST, port=self.port, password=self.password, decode_responses=True, **self.secure
        )

    def nodes(self) -> str:
        return str(self.raw("CLUSTER", "NODES"))

    def rows(self) -> list[Row]:
        """Read CLUSTER NODES."""
        return [Row.of(line) for line in self.nodes().splitlines()]

    def seen_as(self, servers: list[Server], flag: str) -> bool:
        """Whether all others say so of this one, or of what was at its place before."""
        others = [server for server in servers if server is not self and server.process]
        return all(
            any(flag in row.flags and row.port in (0, self.port) for row in server.rows())
            for server in others
        )

    def raw(self, *words: str | int) -> Any:
        """Run a command and return what the server said, unread."""
        with self.client() as client:
            client.response_callbacks.clear()
            return client.execute_command(*words)

    def info(self) -> dict[str, str]:
        lines = str(self.do("CLUSTER", "INFO")).split()
        return dict(line.split(":", 1) for line in lines)


def wait_for(true: Callable[[], bool], what: str, pause: float = 0.02, patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, f"waited {patience} s for {what}"
        time.sleep(pause)


def redis_cli(
    server: Server, *words: str, timeout: float = PATIENCE, password: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Ask a server with redis-cli, the password in the environment; answers to its questions are yes."""
    binary = shutil.which("redis-cli")
    if binary is None:
        pytest.fail("redis-cli is missing: install the package redis-tools.", pytrace=False)
    login = password or server.password
    return subprocess.run(  # noqa: S603  # our own words
        [binary, "-p", str(server.port), *words],
        env={"REDISCLI_AUTH": login} if login else {},
        input="yes\n",
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass
class Fleet:
    """Servers that are ended with the tests, however those end."""

    folder: Path
    servers: list[Server] = field(default_factory=list)
    ports: set[int] = field(default_factory=set)

    def start(
        self,
        count: int,
        *options: str,
        password: str | None = None,
        secure: dict[str, Any] | None = None,
    ) -> list[Server]:
        started = []
        for _number in range(count):
            port = free_port(self.ports)
            server = Server(port, self.folder / str(port), options, password, secure or {})
            self.servers.append(server)
            server.start()
            started.append(server)
        return started

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


@pytest.fixture(scope="session")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    fleet = Fleet(tmp_path_factory.mktemp("redis"))
    try:
        yield fleet.start(6)
    finally:
        fleet.stop()


@pytest.fixture
def six(lasting: list[Server]) -> list[Server]:
    """Six empty nodes that know nobody."""

    def forget() -> bool:
        for server in lasting:
            if server.process is None:
                server.start()
            if server.do("ROLE")[0] == "master":
                server.do("FLUSHALL")
            server.do("CLUSTER", "RESET", "HARD")
        return all(server.info()["cluster_known_nodes"] == "1" for server in lasting)

    wait_for(forget, "all nodes to forget each other")
    return lasting


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Servers of other settings, for one test."""
    fleet = Fleet(tmp_path, ports=set(range(21000, 21100)))
    try:
        yield fleet
    finally:
        fleet.stop()


Module = Callable[..., dict[str, Any]]


def arguments(servers: list[Server], **options: Any) -> dict[str, Any]:
    """Two nodes to a zone, three zones to six nodes, unless zones are given."""
    zones = options.pop("zones", "aabbccddeeff")
    nodes = [{"host": HOST, "port": s.port, "zone": z} for s, z in zip(servers, zones, strict=False)]
    return {"nodes": nodes, "join_timeout": 30, **options}


def command(servers: list[Server], *, hiredis: bool = True, **options: Any) -> list[str]:
    """Return what runs the module as Ansible does."""
    runner = RUNNER if hiredis else WITHOUT_HIREDIS + RUNNER
    return [sys.executable, "-c", runner, json.dumps(arguments(servers, **options))]


def run_module(servers: list[Server], *, check: bool = False, **options: Any) -> dict[str, Any]:
    """Run the module and return what it says."""
    words = command(servers, **options, _ansible_check_mode=check, _ansible_diff=True)
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def kill_module(servers: list[Server], so_far: Callable[[], bool], **options: Any) -> None:
    """Run the module, and end it with SIGKILL when it has come so far."""
    words = command(servers, **options)
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)  # noqa: S603  # our own words
    try:
        wait_for(so_far, "the module to get so far", pause=0, patience=3 * PATIENCE)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL, "it had ended before it was killed"


@pytest.fixture
def module() -> Module:
    """Run the module as Ansible does and return what it says."""
    return run_module
