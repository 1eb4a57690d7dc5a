# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hit rate of real Redis servers: alone, with a replica, and of a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..redis_cluster.conftest import HOST, Fleet, Server, arguments, wait_for
from ..redis_copy_keys.conftest import run as run_other
from .running import begin, end, only, run

PASSWORD = "s3cr:et'word"  # noqa: S105  # of servers that live for one test
TARGETS = {"cache_hit_rate": 70}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path, ports=set(range(21000, 21300)))
    try:
        yield fleet
    finally:
        fleet.stop()


def places(*servers: Server, **more: Any) -> dict[str, Any]:
    return {"nodes": [{"host": HOST, "port": server.port} for server in servers], **more}


def look_up(server: Server, hits: int, misses: int, key: str = "here") -> None:
    """Look up a key that is there, and one that is not, on this server itself."""
    with server.client() as client:
        for _number in range(hits):
            client.execute_command("GET", key)
        for _number in range(misses):
            client.execute_command("GET", f"{{{key}}}missing")


def alone(fleet: Fleet, count: int = 1, **more: Any) -> list[Server]:
    return fleet.start(count, "--cluster-enabled", "no", **more)


def test_the_rate_of_one_server_and_what_came_between(fleet: Fleet) -> None:
    (server,) = alone(fleet)
    server.do("SET", "here", 1)
    nothing = run(TARGETS, redis=places(server))
    assert "no key was looked up, so there is no hit rate" in nothing["msg"]

    look_up(server, hits=3, misses=7)
    before = run(TARGETS, redis=places(server))
    assert before["failed"]
    assert "cache_hit_rate is 30 % (target > 70 %, by redis (127.0.0.1:" in before["msg"]

    look_up(server, hits=9, misses=1)
    after = run(TARGETS, redis=places(server), since=before["counters"])
    assert not after.get("failed"), after
    assert only(after)["value"] == 90
    assert (only(after)["evidence"]["hits"], only(after)["evidence"]["misses"]) == (9, 1)
    # Without the earlier counters it is that of all since the start.
    assert only(run(TARGETS, redis=places(server)))["value"] == 60


def test_an_interval_takes_only_what_happens_in_it(fleet: Fleet) -> None:
    (server,) = alone(fleet)
    server.do("SET", "here", 1)
    look_up(server, hits=0, misses=50)
    infos = int(server.do("INFO", "commandstats").get("cmdstat_info", {"calls": 0})["calls"])
    process = begin(TARGETS, redis=places(server), interval=4)

    def looked() -> bool:
        # This question counts itself too.
        nonlocal infos
        calls = int(server.do("INFO", "commandstats")["cmdstat_info"]["calls"])
        infos += 1
        return calls > infos

    wait_for(looked, "the module to look for the first time")
    look_up(server, hits=4, misses=1)
    assert only(end(process))["value"] == 80


def test_a_replica_is_asked_and_does_not_count(fleet: Fleet) -> None:
    master, replica = alone(fleet, 2)
    replica.do("REPLICAOF", HOST, master.port)
    master.do("SET", "here", 1)
    wait_for(lambda: replica.do("GET", "here") == "1", "the replica to follow")
    replica.do("CONFIG", "RESETSTAT")
    look_up(master, hits=4, misses=1)
    look_up(replica, hits=0, misses=99)
    told = run(TARGETS, redis=places(replica, master))
    assert only(told)["value"] == 80
    assert only(told)["evidence"]["masters"] == [master.addr]
    assert len(told["counters"]["redis"]) == 2

    # The replica takes over; what it had counted before is not of this time.
    replica.do("REPLICAOF", "NO", "ONE")
    replica.do("SET", "here", 1)
    look_up(replica, hits=1, misses=1)
    look_up(master, hits=1, misses=1)
    assert (
        only(run(TARGETS, redis=places(replica, master), since=told["counters"], fail=False))["value"] == 50
    )


def test_a_silent_server_may_be_a_master(fleet: Fleet) -> None:
    first, second = alone(fleet, 2)
    first.do("SET", "here", 1)
    look_up(first, hits=9, misses=1)
    second.stop()
    told = run(TARGETS, redis=places(first, second))
    assert f"Redis at {second.addr} cannot be asked (" in told["msg"]
    assert only(told)["measured"] is False


def test_the_password_is_needed_and_never_told(fleet: Fleet) -> None:
    (server,) = alone(fleet, password=None)
    server.do("SET", "here", 1)
    look_up(server, hits=9, misses=1)
    server.do("CONFIG", "SET", "requirepass", PASSWORD)
    server.password = PASSWORD
    none = run(TARGETS, redis=places(server))
    assert "Authentication required" in none["msg"]
    wrong = run(TARGETS, redis=places(server, login_password="wrong-canary"))  # noqa: S106  # nobody has it
    assert "cannot be asked (" in wrong["msg"]
    assert "wrong-canary" not in str(wrong)
    right = run(TARGETS, redis=places(server, login_password=PASSWORD))
    assert only(right)["value"] == 90
    assert PASSWORD not in str(right)


def test_no_redis_there(fleet: Fleet) -> None:
    (server,) = alone(fleet)
    server.stop()
    told = run(TARGETS, redis=places(server), unmeasured="report")
    assert not told.get("failed")
    assert "cache_hit_rate was not measured, because Redis at" in str(told["warnings"])
    assert told["problems"] == [told["results"][0]["reason"]]
    assert "warnings" not in run(TARGETS, redis=places(server), fail=False)
    assert told["problems"][0].startswith(f"Redis at {server.addr} cannot be asked (")


def test_a_cluster_is_found_from_one_node_and_no_master_may_be_silent(fleet: Fleet) -> None:
    nodes = fleet.start(6)
    formed = run_other("redis_cluster", arguments(nodes))
    assert formed["health"]["state"] == "ok", formed
    masters = [server for server in nodes if server.do("ROLE")[0] == "master"]
    (replica,) = (s for s in nodes if s.do("ROLE")[0] == "slave" and s.do("ROLE")[2] == masters[0].port)
    keys = {}
    for server in masters:
        # A key whose slot is here.
        with server.cluster() as client:
            keys[server.port] = next(
                key for key in map(str, range(10_000)) if client.get_node_from_key(key).port == server.port
            )
            client.set(keys[server.port], 1)
        server.do("CONFIG", "RESETSTAT")
    for server, (hits, misses) in zip(masters, ((8, 2), (0, 10), (7, 3)), strict=True):
        look_up(server, hits, misses, keys[server.port])
    for seed in nodes:
        told = run(TARGETS, redis=places(seed), fail=False)
        assert only(told)["value"] == 50, seed.addr
        assert sorted(only(told)["evidence"]["masters"]) == sorted(server.addr for server in masters)
        assert len(told["counters"]["redis"]) == 6

    # A replica that is away changes nothing, even where it is listed.
    replica.stop()
    assert only(run(TARGETS, redis=places(masters[1], replica), fail=False))["value"] == 50
    masters[0].stop()
    told = run(TARGETS, redis=places(masters[1], masters[0]))
    assert f"Redis at {masters[0].addr} cannot be asked (" in told["msg"]
    assert only(told)["measured"] is False
