# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talks to the nodes: one plain connection each, no retries, RESP2. Knows nothing of plans."""

from __future__ import annotations

import socket
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import in_motion, missing
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Desired,
    Listed,
    Node,
    Problem,
    parse_nodes,
)

REDIS_IMPORT_ERROR: str | None = None
try:
    import redis
    from redis.backoff import NoBackoff
    from redis.exceptions import BusyLoadingError, RedisError, ResponseError
    from redis.retry import Retry
except ImportError:
    REDIS_IMPORT_ERROR = traceback.format_exc()

PAUSE = 0.1  # s between two looks; the cluster's own clock ticks ten times a second
SOCKET_TIMEOUT = 5.0  # s
PARALLEL = 16

LOOK: tuple[tuple[str, ...], ...] = (
    ("CLUSTER", "NODES"),
    ("CLUSTER", "INFO"),
    ("INFO", "replication"),
    ("DBSIZE",),
    ("CONFIG", "GET", "requirepass"),
    ("CONFIG", "GET", "masterauth"),
    ("CONFIG", "GET", "cluster-announce-ip"),
)
# What a server says when it does not let us in, whatever class the client gives it.
DENIED = (
    "WRONGPASS",
    "NOPERM",
    "AUTH ",
    "invalid password",
    "invalid username",
    "Authentication required",
)


@dataclass(frozen=True)
class Login:
    """How to get in, the same on every node."""

    user: str | None = None
    password: str | None = None


def resolve(host: str, port: int) -> str:
    """Return the IP address of a host, IPv4 before IPv6; MEET takes nothing else."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def connect(ip: str, port: int, login: Login) -> Any:
    """Return a client that does what it is told, once, whatever its version's defaults are."""
    options: dict[str, Any] = {}
    if int(redis.__version__.split(".")[0]) >= 5:  # the first that knows RESP3
        options["protocol"] = 2
    client = redis.Redis(
        host=ip,
        port=port,
        username=login.user,
        password=login.password,
        socket_timeout=SOCKET_TIMEOUT,
        socket_connect_timeout=SOCKET_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        encoding_errors="replace",
        **options,
    )
    client.response_callbacks.clear()  # every reply as the server gave it, in every version
    return client


def fields(reply: str) -> dict[str, str]:
    """Read the "name:value" lines of CLUSTER INFO and INFO."""
    pairs = [line.partition(":") for line in reply.splitlines() if ":" in line]
    return {name: value.strip() for name, _colon, value in pairs}


def failure(error: Exception) -> tuple[Problem, str]:
    """Sort an error into what a person has to do about it."""
    said = str(error)
    if any(word in said for word in DENIED):
        return Problem.AUTH, said
    if isinstance(error, BusyLoadingError):
        return Problem.LOADING, said
    if "cluster support disabled" in said:
        return Problem.PLAIN, said
    if isinstance(error, ResponseError):
        return Problem.OTHER, said
    return Problem.UNREACHABLE, said


class RedisIO(AbstractContextManager["RedisIO"]):
    """The nodes of one run."""

    def __init__(self, desired: Desired, login: Login, join_timeout: float) -> None:
        self._desired = desired
        self._login = login
        self._join_timeout = join_timeout
        self._clients: dict[str, Any] = {}
        self._ips: dict[str, str] = {}

    def __exit__(self, *_error: object) -> None:
        for client in self._clients.values():
            client.close()

    def observe(self) -> Cluster:
        """Look at all nodes; while gossip is still on its way, look again, at most join_timeout."""
        end = time.monotonic() + self._join_timeout
        while in_motion(cluster := self.look()) and time.monotonic() < end:
            time.sleep(PAUSE)
        return cluster

    def verify(self) -> Cluster:
        """Wait until all is well: views agree, cluster_state:ok, every replica in step with its master."""
        return self.wait(missing)

    def wait(self, missing: Callable[[Cluster], str]) -> Cluster:
        """Observe until nothing is missing any more, at most join_timeout, else refuse naming what is."""
        end = time.monotonic() + self._join_timeout
        while what := missing(cluster := self.look()):
            if time.monotonic() >= end:
                raise Refusal(
                    f"join_timeout={self._join_timeout:g} s passed and {what}, then run again.", missing=what
                )
            time.sleep(PAUSE)
        return cluster

    def command(self, addr: str, *words: str | int) -> Any:
        try:
            return self._clients[addr].execute_command(*words)
        except (RedisError, OSError) as error:
            verb = " ".join(str(word) for word in words[:2])
            raise Refusal(
                f"Node {addr} did not carry out {verb}: {error}.", node=addr, command=verb
            ) from error

    def look(self) -> Cluster:
        """Look at every listed node once, side by side, so that one that does not answer delays no other."""
        with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
            return Cluster.of(pool.map(self._look_at, self._desired.nodes))

    def _look_at(self, listed: Listed) -> Node:
        try:
            ip = self._ips.get(listed.addr) or resolve(listed.host, listed.port)
        except (OSError, UnicodeError) as error:  # a label that is too long is a UnicodeError
            return Node(listed, problem=Problem.UNRESOLVED, detail=str(error))
        self._ips[listed.addr] = ip
        if listed.addr not in self._clients:
            self._clients[listed.addr] = connect(ip, listed.port, self._login)
        client = self._clients[listed.addr]
        seen = Node(listed, ip=ip)
        try:
            with client.pipeline(transaction=False) as pipe:
                for words in LOOK:
                    pipe.execute_command(*words)
                return read(seen, pipe.execute(raise_on_error=False))
        except (RedisError, OSError) as error:
            problem, detail = failure(error)
            return replace(seen, problem=problem, detail=detail)


def read(seen: Node, replies: list[Any]) -> Node:
    """Read the replies to LOOK. CONFIG may be denied; nothing else may."""
    nodes, info, replication, keys, *config = replies
    for reply in (nodes, info, replication, keys):
        if isinstance(reply, Exception):
            raise reply
    password, masterauth, announce = (
        None if isinstance(reply, Exception) else reply[1] if len(reply) > 1 else "" for reply in config
    )
    return replace(
        seen,
        view=parse_nodes(nodes),
        state=fields(info).get("cluster_state", "unknown"),
        link=fields(replication).get("master_link_status"),
        keys=int(keys),
        has_password=None if password is None else bool(password),
        has_masterauth=None if masterauth is None else bool(masterauth),
        announce_ip=announce or "",
    )
