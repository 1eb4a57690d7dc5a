# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Things that go wrong with a Redis Cluster, each made on real servers, and what is run against it.

The module must come out of each as the case says (test_redis_cluster_cases.py); comparison.py writes down
what redis-cli makes of the very same.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .conftest import (
    HOST,
    Fleet,
    Server,
    kill_module,
    run_module,
    wait_for,
)

PASSWORD = "correct-horse-battery"  # noqa: S105  # of servers that live as long as one test
SLOT, KEYS = 3300, 20000  # the slot of the key "{b}"


@dataclass(frozen=True)
class Scene:
    """Servers after something has gone wrong, and what is wanted of them now."""

    servers: list[Server]
    options: dict[str, Any] = field(default_factory=dict)
    # What a person would run instead, without `redis-cli`.
    cli: tuple[str, ...] = ()
    password: str | None = None
    # Everything that was started: those that are not listed as well.
    all: tuple[Server, ...] = ()


@dataclass(frozen=True)
class Case:
    """One thing that goes wrong."""

    title: str
    scene: Callable[[Fleet], Scene]
    # The sentence that the module refuses it with; where it does not, all must be well afterwards.
    refused: str = ""
    # Whether there is something to do at all.
    changes: bool = True
    # What the module says of a cluster that it leaves as it is.
    health: str = "ok"


def create(servers: list[Server], replicas: int = 1) -> tuple[str, ...]:
    addrs = [server.addr for server in servers]
    return ("--cluster", "create", *addrs, "--cluster-replicas", str(replicas), "--cluster-yes")


def check(server: Server) -> tuple[str, ...]:
    return ("--cluster", "check", server.addr)


def formed(fleet: Fleet, count: int = 6, *options: str, **wanted: Any) -> list[Server]:
    servers = fleet.start(count, *options)
    result = run_module(servers, **wanted)
    assert result.get("health", {}).get("state") == "ok", result
    return servers


def master_of(servers: list[Server], slot: int) -> Server:
    for server in servers:
        if server.process is None:
            continue
        for row in server.rows():
            if "myself" in row.flags and any(first <= slot <= last for first, last in row.slots):
                return server
    raise AssertionError(f"nobody owns slot {slot}")


def replica_of(servers: list[Server], master: Server) -> Server:
    own = master.do("CLUSTER", "MYID")
    return next(s for s in servers if any("myself" in r.flags and r.master == own for r in s.rows()))


def fill(server: Server, keys: int = KEYS) -> None:
    with server.cluster() as client:
        for first in range(0, keys, 1000):
            pipe = client.pipeline()
            for number in range(first, min(first + 1000, keys)):
                pipe.set(f"key:{number}", f"value {number}")
            pipe.execute()


# ------------------------------------------------------------------ the cases


def too_few(fleet: Fleet) -> Scene:
    servers = fleet.start(3)
    return Scene(servers, cli=create(servers))


def again(fleet: Fleet) -> Scene:
    servers = formed(fleet)
    return Scene(servers, cli=create(servers))


def killed_after_meet(fleet: Fleet) -> Scene:
    servers = fleet.start(6)
    for server, (first, last) in zip(servers, [(0, 5460), (5461, 10922), (10923, 16383)], strict=False):
        server.do("CLUSTER", "ADDSLOTSRANGE", first, last)
    for number, server in enumerate(servers, start=1):
        server.do("CLUSTER", "SET-CONFIG-EPOCH", number)
    for server in servers[1:]:
        servers[0].do("CLUSTER", "MEET", HOST, server.port)
    wait_for(lambda: all(s.info()["cluster_state"] == "ok" for s in servers), "the nodes to have met")
    return Scene(servers, {"zones": "abcabc"}, create(servers))


def stale_slot(fleet: Fleet) -> Scene:
    servers = fleet.start(6)
    servers[5].do("CLUSTER", "ADDSLOTS", 100)
    return Scene(servers, cli=create(servers))


def stale_slot_with_keys(fleet: Fleet) -> Scene:
    servers = fleet.start(6, "--cluster-require-full-coverage", "no")
    servers[5].do("CLUSTER", "ADDSLOTS", SLOT)
    wait_for(lambda: servers[5].info()["cluster_state"] == "ok", "a cluster of one")
    servers[5].do("SET", "{b}", "value")
    return Scene(servers, cli=create(servers))


def wrong_announce_ip(fleet: Fleet) -> Scene:
    servers = fleet.start(5) + fleet.start(1, "--cluster-announce-ip", "192.0.2.9")
    return Scene(servers, cli=create(servers))


def blocked_bus(fleet: Fleet) -> Scene:
    servers = fleet.start(5) + fleet.start(1, "--cluster-announce-bus-port", "39999")
    return Scene(servers, {"join_timeout": 3}, create(servers))


def no_masterauth(fleet: Fleet) -> Scene:
    servers = fleet.start(6, "--requirepass", PASSWORD, password=PASSWORD)
    return Scene(servers, {"login_password": PASSWORD}, create(servers), PASSWORD)


def wrong_password(fleet: Fleet) -> Scene:
    servers = fleet.start(6, "--requirepass", PASSWORD, password=PASSWORD)
    return Scene(servers, {"login_password": "wrong-horse"}, create(servers), "wrong-horse")


def other_cluster(fleet: Fleet) -> Scene:
    servers, other = formed(fleet), formed(fleet, 3, replicas=0)
    cli = ("--cluster", "add-node", other[0].addr, servers[0].addr)
    return Scene([*servers, other[0]], {"zones": "aabbccd"}, cli)


def replica_down(fleet: Fleet) -> Scene:
    servers = formed(fleet)
    lost = replica_of(servers, master_of(servers, 0))
    lost.stop()
    wait_for(lambda: lost.seen_as(servers, "fail"), "the cluster to notice")
    return Scene(servers, cli=check(next(s for s in servers if s is not lost)))


def dead_node(fleet: Fleet) -> Scene:
    servers = formed(fleet, 7)
    lost = max((s for s in servers if s.do("ROLE")[0] == "slave"), key=lambda s: siblings(servers, s))
    gone = lost.do("CLUSTER", "MYID")
    lost.stop()
    wait_for(lambda: lost.seen_as(servers, "fail"), "the cluster to notice")
    rest = [server for server in servers if server is not lost]
    zones = dict(zip(servers, "aabbccd", strict=True))
    options = {"zones": "".join(zones[server] for server in rest), "forget_failed": True}
    return Scene(rest, options, ("--cluster", "del-node", rest[0].addr, gone))


def siblings(servers: list[Server], replica: Server) -> int:
    """How many replicas its master has."""
    master = next(row.master for row in replica.rows() if "myself" in row.flags)
    return sum(any("myself" in r.flags and r.master == master for r in s.rows()) for s in servers)


def wiped_node(fleet: Fleet) -> Scene:
    servers = formed(fleet)
    lost = replica_of(servers, master_of(servers, 0))
    wipe(lost)
    rest = [server for server in servers if server is not lost]
    cli = ("--cluster", "add-node", lost.addr, rest[0].addr, "--cluster-slave")
    return Scene(servers, {"replace_wiped": True}, cli)


def wiped_master(fleet: Fleet) -> Scene:
    servers = formed(fleet)
    lost = master_of(servers, 0)
    wipe(lost)
    wait_for(lambda: lost.seen_as(servers, "noaddr"), "the cluster to notice")
    rest = [server for server in servers if server is not lost]
    return Scene(servers, {"replace_wiped": True}, ("--cluster", "fix", rest[0].addr))


def wipe(server: Server) -> None:
    server.stop()
    shutil.rmtree(server.folder)
    server.start()


def half_moved(fleet: Fleet, value: str, other: str) -> Scene:
    """A slot on the move, and a key that both sides have."""
    servers = formed(fleet, 6, "--enable-debug-command", "no")
    source = master_of(servers, SLOT)
    target = next(s for s in servers if s is not source and s.do("ROLE")[0] == "master")
    source.do("SET", "{b}", value)
    source.do("SET", "{b}:more", "only here")
    target.do("CLUSTER", "SETSLOT", SLOT, "IMPORTING", source.do("CLUSTER", "MYID"))
    source.do("CLUSTER", "SETSLOT", SLOT, "MIGRATING", target.do("CLUSTER", "MYID"))
    with target.client() as client:
        pipe = client.pipeline(transaction=False)
        pipe.execute_command("ASKING")
        pipe.set("{b}", other)
        pipe.execute()
    return Scene(servers, cli=("--cluster", "fix", source.addr, "--cluster-yes"))


def half_moved_equal(fleet: Fleet) -> Scene:
    return half_moved(fleet, "value", "value")


def half_moved_different(fleet: Fleet) -> Scene:
    return half_moved(fleet, "value", "another")


def killed_in_reshard(fleet: Fleet) -> Scene:
    servers = formed(fleet)
    fill(servers[0])
    more = [*servers, *fleet.start(2)]
    kill_module(more, lambda: "[" in servers[0].nodes(), zones="aabbccdd")
    return Scene(
        more,
        {"zones": "aabbccdd"},
        ("--cluster", "rebalance", servers[0].addr, "--cluster-use-empty-masters"),
    )


def lost_master(fleet: Fleet) -> Scene:
    servers = formed(fleet, 4, replicas=0)
    lost = master_of(servers, 0)
    lost.stop()
    wait_for(lambda: lost.seen_as(servers, "fail"), "the cluster to notice")
    rest = [server for server in servers if server is not lost]
    cli = ("--cluster", "fix", rest[0].addr)
    return Scene(rest, {"replicas": 0, "forget_failed": True, "zones": "abc"}, cli)


def lost_master_given_up(fleet: Fleet) -> Scene:
    scene = lost_master(fleet)
    cli = (*scene.cli, "--cluster-fix-with-unreachable-masters", "--cluster-yes")
    return Scene(scene.servers, {**scene.options, "accept_data_loss": True}, cli)


def minority(fleet: Fleet) -> Scene:
    servers = formed(fleet)
    masters = [server for server in servers if server.do("ROLE")[0] == "master"]
    for server in masters[:2]:
        server.stop()
    alive = masters[2]
    wait_for(lambda: alive.info()["cluster_state"] == "fail", "the cluster to fail")
    return Scene(servers, {"join_timeout": 3}, ("--cluster", "fix", alive.addr, "--cluster-yes"))


def host_names(fleet: Fleet) -> Scene:
    servers = fleet.start(6)
    names = [f"localhost:{server.port}" for server in servers]
    nodes = [{"host": "localhost", "port": s.port, "zone": z} for s, z in zip(servers, "aabbcc", strict=True)]
    cli = ("--cluster", "create", *names, "--cluster-replicas", "1", "--cluster-yes")
    return Scene(servers, {"nodes": nodes}, cli)


def repeatedly_open(fleet: Fleet) -> Scene:
    """A slot whose giver has let go of it before the taker had it."""
    servers = formed(fleet)
    source = master_of(servers, SLOT)
    target = next(s for s in servers if s is not source and s.do("ROLE")[0] == "master")
    target_id = target.do("CLUSTER", "MYID")
    source.do("SET", "{b}", "value")
    target.do("CLUSTER", "SETSLOT", SLOT, "IMPORTING", source.do("CLUSTER", "MYID"))
    source.do("CLUSTER", "SETSLOT", SLOT, "MIGRATING", target_id)
    source.do("MIGRATE", HOST, target.port, "{b}", 0, 5000)
    source.do("CLUSTER", "SETSLOT", SLOT, "NODE", target_id)
    time.sleep(1.5)  # gossip: the others see that nobody owns it any more
    return Scene(servers, cli=("--cluster", "fix", source.addr, "--cluster-yes"))


CASES = {
    "too_few": Case(
        "Three nodes with a replica each (the blueprint's command)",
        too_few,
        refused="replicas=1 needs at least 6 nodes, 3 are listed",
    ),
    "again": Case("Create run again on a healthy cluster", again, changes=False),
    "killed_after_meet": Case("Create killed after MEET", killed_after_meet),
    "stale_slot": Case("A stale slot on a node that is to be a replica", stale_slot),
    "stale_slot_with_keys": Case(
        "The same, and the slot holds a key", stale_slot_with_keys, refused=" holds 1 keys"
    ),
    "wrong_announce_ip": Case(
        "A wrong cluster-announce-ip", wrong_announce_ip, refused="but has cluster-announce-ip 192.0.2.9"
    ),
    "blocked_bus": Case(
        "A cluster bus port that nobody reaches", blocked_bus, refused="open the cluster bus ports"
    ),
    "no_masterauth": Case("requirepass without masterauth", no_masterauth, refused="has no masterauth while"),
    "wrong_password": Case("A wrong password", wrong_password, refused="AUTH_FAIL on node "),
    "other_cluster": Case(
        "A node of another cluster is listed", other_cluster, refused="belongs to another cluster"
    ),
    "replica_down": Case("A replica is down", replica_down, changes=False, health="degraded"),
    "dead_node": Case("A dead node is to be removed", dead_node),
    "wiped_node": Case("A replica's machine was wiped and has the same address", wiped_node),
    "wiped_master": Case("A master's machine was wiped and has the same address", wiped_master),
    "half_moved_equal": Case("An open slot, and a key that both sides hold", half_moved_equal),
    "half_moved_different": Case(
        "The same, with different values",
        half_moved_different,
        refused="holds {b} with another value than its owner",
    ),
    "repeatedly_open": Case("A slot that nobody owns any more, its keys with the taker", repeatedly_open),
    "killed_in_reshard": Case("SIGKILL in the middle of a reshard", killed_in_reshard),
    "lost_master": Case(
        "A master is lost, with slots and no replica",
        lost_master,
        refused="set forget_failed=true and accept_data_loss=true",
    ),
    "lost_master_given_up": Case("The same, the data given up explicitly", lost_master_given_up),
    "minority": Case("Two of three masters are lost at once", minority, refused="1 of 3 masters answer"),
    "host_names": Case("Nodes listed by host name", host_names),
}
