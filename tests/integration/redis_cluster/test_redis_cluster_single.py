# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of one node that grows, and is gone back to, under clients that go on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .cases import replica_of
from .conftest import Module, Server, kill_module, wait_for

ALL = ((0, 16383),)
ALONE: dict[str, Any] = {"replicas": 0}
BACK: dict[str, Any] = {"replicas": 0, "unlisted": "remove"}
KEYS = 4000
PAUSE = 0.002  # s between two writes, so that the servers have time for the move as well


class Writes:
    """Keys that a client of the cluster was told are there, and what it was told of others."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.failed: list[str] = []

    def missing(self, server: Server) -> list[str]:
        with server.cluster() as client:
            return [key for key in self.done if client.get(key) != key]


@contextmanager
def writing(server: Server) -> Iterator[Writes]:
    writes, over = Writes(), threading.Event()

    def write() -> None:
        with server.cluster() as client:
            while not over.wait(PAUSE):
                key = f"key:{len(writes.done) + len(writes.failed)}"
                try:
                    try:
                        client.set(key, key)
                    except AttributeError:
                        # redis-py itself, which asks a node that it has just forgotten: once in some 20,000.
                        client.set(key, key)
                except Exception as error:  # whatever a client would get
                    writes.failed.append(f"{key}: {error!r}")
                else:
                    writes.done.append(key)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        wait_for(lambda: len(writes.done) > 0, "the first key to be written")
        yield writes
    finally:
        over.set()
        thread.join()


def fill(server: Server) -> None:
    with server.client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(KEYS):
            pipe.set(f"old:{number}", number, ex=3600)
        pipe.execute()


def keys_of(servers: list[Server]) -> int:
    return sum(server.do("DBSIZE") for server in servers if server.do("ROLE")[0] == "master")


def alone(server: Server) -> bool:
    [row] = server.rows()
    return row.slots == ALL and server.info()["cluster_state"] == "ok"


def moving(server: Server) -> bool:
    return any(row.open_slots for row in server.rows())


def test_one_node_is_a_cluster(six: list[Server], module: Module) -> None:
    first = six[:1]
    foretold = module(first, check=True, **ALONE)
    assert not alone(six[0])
    done = module(first, **ALONE)
    assert alone(six[0])
    assert foretold["actions"] == done["actions"]
    assert done["health"]["state"] == "ok"
    assert done["health"]["coverage"] == 16384
    fill(six[0])
    for check in (True, False):
        assert module(first, check=check, **ALONE)["changed"] is False


def test_it_grows_and_is_gone_back_to(six: list[Server], module: Module) -> None:
    first, others = six[:1], six[1:]
    module(first, **ALONE)
    fill(six[0])
    with writing(six[0]) as writes:
        grown = module(six)
        assert grown["health"]["state"] == "ok"
        assert sorted(len(row["slots"]) > 0 for row in grown["nodes"]) == [False] * 3 + [True] * 3
        # The one that stays is to be a replica at the moment.
        replica_of(six, six[0]).do("CLUSTER", "FAILOVER")
        wait_for(lambda: six[0].do("ROLE")[0] == "slave", "the failover")
        foretold = module(first, check=True, **BACK)
        back = module(first, **BACK)
    assert foretold["actions"] == back["actions"]
    assert (writes.failed, writes.missing(six[0])) == ([], [])
    assert alone(six[0])
    assert keys_of(six) == six[0].do("DBSIZE") == KEYS + len(writes.done)
    assert 0 < six[0].do("TTL", "old:7") <= 3600
    assert all(server.info()["cluster_known_nodes"] == "1" and not server.do("DBSIZE") for server in others)
    assert module(first, **BACK)["changed"] is False
    assert module(six)["health"]["state"] == "ok"
    assert keys_of(six) == KEYS + len(writes.done)


def test_going_back_is_said_to_need_a_word(six: list[Server], module: Module) -> None:
    module(six)
    refused = module(six[:1], **ALONE)
    assert refused["failed"]
    assert "is not listed in nodes: list it, set unlisted=remove" in refused["msg"]


def test_killed_on_the_way_it_is_finished(six: list[Server], module: Module) -> None:
    first = six[:1]
    module(first, **ALONE)
    fill(six[0])
    with writing(six[0]) as writes:
        kill_module(six, lambda: moving(six[0]), migrate_batch=10)
        assert module(six)["health"]["state"] == "ok"
        kill_module(first, lambda: moving(six[0]), migrate_batch=10, **BACK)
        module(first, **BACK)
        # Between the first that has left and the last.
        module(six)
        kill_module(first, lambda: any(len(s.rows()) == 1 for s in six[1:]), **BACK)
        module(first, **BACK)
    assert (writes.failed, writes.missing(six[0])) == ([], [])
    assert alone(six[0])
    assert six[0].do("DBSIZE") == KEYS + len(writes.done)
