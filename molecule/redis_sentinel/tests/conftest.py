# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients of the sentinels, and traffic that keeps account of what it was told."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.sentinel import Sentinel

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Machines

SERVER, SENTINEL = 6379, 26379
NAME = "mymaster"
PAUSE = 0.002  # s between two writes
AGAIN = 0.05  # s before one that failed is tried again


@dataclass(frozen=True)
class Access:
    """How the tests get at servers and sentinels from the controller."""

    machines: dict[str, str]  # names by address
    passwords: dict[str, str]

    def server(self, address: str, user: str = "operator", port: int = SERVER) -> Redis:
        return Redis(
            host=address,
            port=port,
            username=user,
            password=self.passwords[user],
            decode_responses=True,
            socket_timeout=5,
            protocol=2,  # so that a raw reply is the same in every version of redis-py
        )

    def ask(self, address: str, *words: str) -> Any:
        """Ask a sentinel as the operator."""
        with self.server(address, port=SENTINEL) as client:
            client.response_callbacks.clear()
            return client.execute_command(*words)

    def client(self) -> Redis:
        """Return what the app has: a client of the master, whoever it is, that asks the sentinels."""
        asking = {"password": self.passwords["app"], "socket_timeout": 1}
        addresses = [(address, SENTINEL) for address in self.machines]
        sentinels = Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no types for it
            addresses, sentinel_kwargs=asking, socket_timeout=1
        )
        found: Redis = sentinels.master_for(  # type: ignore[no-untyped-call]  # nor for that
            NAME, username="app", password=self.passwords["app"], decode_responses=True
        )
        return found

    def opinions(self) -> list[str]:
        """Return whom each sentinel that answers takes for the master."""
        said = []
        for address in self.machines:
            with suppress(RedisConnectionError):
                said.append(str(self.ask(address, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", NAME)[0]))
        return said

    def replaced(self, old: str) -> bool:
        """Tell whether all sentinels agree on another master; one that was away learns of it in seconds."""
        said = self.opinions()
        return len(said) == len(self.machines) and len(set(said)) == 1 and old not in said

    def master(self) -> str:
        """Return the master's address, which all sentinels that answer must agree on."""
        said = self.opinions()
        assert len(said) >= 2, "no majority of sentinels answers"
        assert len(set(said)) == 1, said
        return said[0]

    def replication(self, address: str) -> dict[str, Any]:
        with self.server(address) as client:
            said: dict[str, Any] = client.info("replication")
            return said


@pytest.fixture(scope="session")
def access(machines: Machines) -> Access:
    """Read what the inventory says."""
    variables = machines("redis1").ansible.get_variables()
    names = {
        machines(n).ansible.get_variables()["ansible_host"]: n for n in variables["groups"]["redis_nodes"]
    }
    users = ("app", "operator", "replication", "sentinel")
    return Access(names, {user: variables[f"vault_redis_{user}_password"] for user in users})


@dataclass
class Account:
    """What a client that writes all the time was told."""

    access: Access
    acknowledged: dict[str, tuple[str, float]] = field(default_factory=dict)  # and when
    errors: list[str] = field(default_factory=list)
    longest: float = 0.0  # s from one acknowledged write to the next
    running: bool = True
    thread: threading.Thread | None = None

    def start(self) -> None:
        self.thread = threading.Thread(target=self.write, daemon=True)
        self.thread.start()

    def stop(self) -> None:
        self.running = False
        if self.thread:
            self.thread.join(timeout=30)

    def write(self) -> None:
        """Write one number after the other, and try each until it is acknowledged."""
        client = self.access.client()
        last = time.monotonic()
        numbers = itertools.count()
        number = next(numbers)
        while self.running:
            try:
                client.set(f"traffic:{number}", str(number), ex=3600)
            except (RedisError, OSError) as error:
                self.errors.append(f"{type(error).__name__}: {error}")
                time.sleep(AGAIN)
                continue
            now = time.monotonic()
            self.acknowledged[f"traffic:{number}"] = (str(number), now)
            self.longest, last = max(self.longest, now - last), now
            number = next(numbers)
            time.sleep(PAUSE)

    def lost(self) -> list[str]:
        """Return the keys that were acknowledged and are not there."""
        client: Redis = self.access.server(self.access.master())
        keys = list(self.acknowledged)
        values: list[Any] = client.mget(keys)
        return [k for k, value in zip(keys, values, strict=True) if value != self.acknowledged[k][0]]


@pytest.fixture
def traffic(access: Access) -> Iterator[Account]:
    """Write during the test."""
    account = Account(access)
    account.start()
    try:
        yield account
    finally:
        account.stop()
