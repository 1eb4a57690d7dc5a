# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of the cluster, and traffic that keeps account of what it was told."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis, RedisCluster
from redis.cluster import ClusterNode
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Machines

PORTS = (6379, 6380)
PAUSE = 0.002  # s between two writes


@dataclass(frozen=True)
class Access:
    """How the tests get at the cluster from the controller."""

    addresses: tuple[str, ...]
    passwords: dict[str, str]
    ca: str | None

    @property
    def everybody(self) -> list[tuple[str, int]]:
        return list(itertools.product(self.addresses, PORTS))

    def options(self, user: str) -> dict[str, Any]:
        secure = {"ssl": True, "ssl_ca_certs": self.ca} if self.ca else {}
        return {"username": user, "password": self.passwords[user], "decode_responses": True, **secure}

    def cluster(self, user: str = "app") -> RedisCluster:
        nodes = [
            ClusterNode(address, port)  # type: ignore[no-untyped-call]  # redis-py has no types for it
            for address, port in self.everybody
        ]
        return RedisCluster(startup_nodes=nodes, **self.options(user))

    def shards(self) -> dict[str, str]:
        """Return the master's id of every instance, by its address."""
        said: Any = self.instance(*self.everybody[0]).cluster("NODES")
        return {
            address: node["master_id"] if node["master_id"] != "-" else node["node_id"]
            for address, node in said.items()
        }

    def instance(self, address: str, port: int, user: str = "operator") -> Redis:
        return Redis(host=address, port=port, **self.options(user))


@pytest.fixture(scope="session")
def access(machines: Machines, tmp_path_factory: pytest.TempPathFactory) -> Access:
    """Read what the inventory says, and the authority where there is one."""
    first = machines("redis1")
    variables = first.ansible.get_variables()
    addresses = [
        machines(name).ansible.get_variables()["ansible_host"] for name in variables["groups"]["redis_nodes"]
    ]
    authority, ca = first.file("/etc/redis/tls/ca.crt"), None
    if authority.exists:
        path = tmp_path_factory.mktemp("tls") / "ca.crt"
        path.write_text(authority.content_string)
        ca = str(path)
    users = ("app", "operator", "replication")
    return Access(tuple(addresses), {user: variables[f"vault_redis_{user}_password"] for user in users}, ca)


@dataclass
class Account:
    """What a client that writes and reads all the time was told, and who was away meanwhile."""

    access: Access
    acknowledged: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    slowest: float = 0.0  # s
    unheard: int = 0
    away: set[frozenset[str]] = field(default_factory=set)
    running: bool = True
    threads: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        for target in (self.write, self.write, self.watch):
            self.threads.append(threading.Thread(target=target, daemon=True))
            self.threads[-1].start()

    def stop(self) -> None:
        self.running = False
        for thread in self.threads:
            thread.join(timeout=30)

    def prove(self, shard: dict[str, str]) -> None:
        """Prove that nothing that was acknowledged is missing, and that nobody was hurt."""
        time.sleep(1)
        self.stop()
        assert len(self.acknowledged) > 1000
        assert self.errors == []
        client = self.access.cluster()
        lost = [key for key, value in self.acknowledged.items() if client.get(key) != value]
        assert lost == []
        for away in self.away:
            assert len({shard[one] for one in away}) == len(away), f"two members of a shard were away: {away}"
            assert len(away) <= 1, away
        print(
            f"{len(self.acknowledged)} writes acknowledged, the slowest took {self.slowest * 1000:.0f} ms; "
            f"redis-py met {self.unheard} times a node that it had not heard of"
        )

    def write(self) -> None:
        name = threading.get_ident()
        with self.access.cluster() as client:
            for number in itertools.takewhile(lambda _number: self.running, itertools.count()):
                began = time.monotonic()
                try:
                    self.write_one(client, f"traffic:{name}:{number}", str(number))
                except (RedisError, OSError) as error:
                    self.errors.append(f"{type(error).__name__}: {error}")
                except AttributeError:
                    # redis-py cannot follow ASK to a node that it has not heard of yet (redis-py #4015).
                    self.unheard += 1
                    client.nodes_manager.initialize()
                self.slowest = max(self.slowest, time.monotonic() - began)
                time.sleep(PAUSE)

    def write_one(self, client: RedisCluster, key: str, value: str) -> None:
        if client.set(key, value, ex=3600):
            self.acknowledged[key] = value
        if client.get(key) != value:
            self.errors.append(f"{key} was written and not read")

    def watch(self) -> None:
        while self.running:
            everybody = self.access.everybody
            self.away.add(frozenset(f"{host}:{port}" for host, port in everybody if not listens(host, port)))
            time.sleep(0.02)


def listens(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.fixture
def traffic(access: Access) -> Iterator[Account]:
    """Write and read during the test."""
    account = Account(access)
    account.start()
    try:
        yield account
    finally:
        account.stop()
