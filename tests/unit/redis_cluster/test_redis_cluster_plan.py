# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was seen and what is wanted, to steps or a refusal: one row a line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import (
    electing,
    health,
    missing,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Desired,
    Problem,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.report import rows

from .states import (
    PAIRS,
    after,
    alter,
    desired,
    down,
    empty,
    failed_over,
    forgets,
    found,
    grown,
    listing,
    node,
    peer,
    slots,
    stranger,
    wiped,
)

CREATE = [
    "Assign slots 0-5460 to n1:6379",
    "Assign slots 5461-10922 to n3:6379",
    "Assign slots 10923-16383 to n5:6379",
    "Set the configuration epoch of n1:6379 to 1",
    "Set the configuration epoch of n2:6379 to 2",
    "Set the configuration epoch of n3:6379 to 3",
    "Set the configuration epoch of n4:6379 to 4",
    "Set the configuration epoch of n5:6379 to 5",
    "Set the configuration epoch of n6:6379 to 6",
    "Join n2:6379, n3:6379, n4:6379, n5:6379, n6:6379 to the cluster of n1:6379",
    "Make n4:6379 a replica of n1:6379",
    "Make n6:6379 a replica of n3:6379",
    "Make n2:6379 a replica of n5:6379",
]
STALE = "Take slots {}, left from an earlier use, from n2:6379"
FIRST, SECOND = ((0, 5460),), ((5461, 10922),)
REPLICAS = CREATE[-3:]
WANTED = desired()
PREFER: dict[str, Any] = {"require_zones": False}
IGNORE: dict[str, Any] = {"unlisted": "ignore"}


def actions(cluster: Cluster, wanted: Desired) -> list[str]:
    return [step.describe() for step in plan(cluster, wanted)]


ALONE = ["Assign slots 0-16383 to n1:6379", "Set the configuration epoch of n1:6379 to 1"]
ONE_OF_SIX = listing(PAIRS, [1], replicas=0, unlisted="remove")


STEPS: dict[str, tuple[Any, ...]] = {
    "create": (empty(), WANTED, CREATE),
    "first slots assigned": (after(1), WANTED, CREATE[1:]),
    "nobody met": (after(9), WANTED, CREATE[9:]),
    "joined": (after(10), WANTED, REPLICAS),
    "one replica": (after(11), WANTED, CREATE[11:]),
    "healthy": (after(), WANTED, []),
    "no replicas wanted": (after(None, "abc", replicas=0), desired("abc", replicas=0), []),
    "failed over": (failed_over(after()), WANTED, []),
    "failed over half-way": (failed_over(after(11)), WANTED, CREATE[11:]),
    "epoch of its own": (alter(after(9), node(1, keys=0), peer(1, epoch=9)), WANTED, CREATE[9:]),
    "joined without an epoch": (alter(after(10), peer(2, epoch=0)), WANTED, REPLICAS),
    "middle slots missing": (alter(after(9), slots(3, ())), WANTED, [CREATE[1], *CREATE[9:]]),
    "slots missing after join": (alter(after(10), slots(3, ())), WANTED, [CREATE[1], *REPLICAS]),
    "replica link down": (alter(after(), node(4, link="down")), WANTED, []),
    "replica down": (alter(after(), down(4)), WANTED, []),
    "replica down, others knock at its door": (
        alter(after(), down(4), peer(4, flags={"slave", "fail"}, connected=True)),
        WANTED,
        [],
    ),
    "last replica never attached, down": (alter(after(12), down(2)), WANTED, []),
    "old master down": (alter(failed_over(after()), down(1)), WANTED, []),
    "slot on the move": (
        alter(after(), peer(1, open_slots=("[7->-id3]",))),
        WANTED,
        ["Close slot 7 on n1:6379, which nothing moves any more"],
    ),
    "slot on the move half-way": (
        alter(after(10), peer(1, open_slots=("[7->-id3]",))),
        WANTED,
        ["Close slot 7 on n1:6379, which nothing moves any more", *REPLICAS],
    ),
    "a joined node down": (alter(after(10), down(2)), WANTED, REPLICAS[:2]),
    "stale slots": (alter(empty(), slots(2, ((0, 99),))), WANTED, [STALE.format("0-99"), *CREATE]),
    "one node alone": (empty("a"), desired("a", replicas=0), ALONE),
    "one node alone, without its slots": (
        alter(after(None, "a", replicas=0), slots(1, ())),
        desired("a", replicas=0),
        ALONE[:1],
    ),
    "one node alone, healthy": (
        alter(after(None, "a", replicas=0), node(1, keys=9)),
        desired("a", replicas=0),
        [],
    ),
    "three of one": (
        alter(grown("bc", "a", replicas=0), node(1, keys=9)),
        desired("abc", replicas=0),
        [
            "Set the configuration epoch of n2:6379 to 2",
            "Set the configuration epoch of n3:6379 to 3",
            "Join n2:6379, n3:6379 to the cluster of n1:6379",
            "Move 5461 slots (0-5460) from n1:6379 to n2:6379; 5461 slots (5461-10921) from n1:6379 to "
            "n3:6379",
        ],
    ),
    "one of six, whose master is another": (
        found(alter(failed_over(after()), node(2, keys=9)), ONE_OF_SIX),
        ONE_OF_SIX,
        [
            "Make n1:6379 master in place of n4:6379",
            "Move 5462 slots (5461-10922) from n3:6379 to n1:6379; 5461 slots (10923-16383) from n5:6379 to "
            "n1:6379",
            *(f"Remove n{number}:6379 from the cluster and reset it" for number in (2, 4, 6, 3, 5)),
        ],
    ),
    "slots twice": (alter(after(3), slots(2, FIRST)), WANTED, [STALE.format("0-5460"), *CREATE[3:]]),
    "one replica too few": (
        alter(after(), peer(4, master_id="id3")),
        WANTED,
        ["Make n4:6379 a replica of n1:6379"],
    ),
    "stranger ignored": (
        alter(after(), stranger(7, flags=frozenset({"slave"}), master_id="id1")),
        desired(**IGNORE),
        [],
    ),
    "replica beside its master": (
        alter(after(), peer(4, master_id="id3"), peer(6, master_id="id1")),
        WANTED,
        ["Make n6:6379 a replica of n3:6379", "Make n4:6379 a replica of n1:6379"],
    ),
    "uneven slots": (alter(after(), slots(1, ((0, 5000),)), slots(3, ((5001, 10922),))), WANTED, []),
    "keys in a cluster": (alter(after(), node(1, keys=5)), WANTED, []),
}


@pytest.mark.parametrize(("cluster", "wanted", "expected"), STEPS.values(), ids=STEPS)
def test_steps(cluster: Cluster, wanted: Desired, expected: list[str]) -> None:
    assert actions(cluster, wanted) == expected


REFUSALS: dict[str, tuple[Any, ...]] = {
    "3 nodes": (
        empty("abc"),
        desired("abc"),
        "replicas=1 needs at least 6 nodes, 3 are listed: list 3 more or set replicas=0",
    ),
    "2 masters": (
        empty("ab"),
        desired("ab", replicas=0),
        "replicas=0 needs at least 3 nodes, 2 are listed: list 1 more (",
    ),
    "one node with a replica": (
        empty("a"),
        desired("a"),
        "replicas=1 needs at least 6 nodes, 1 is listed: list 5 more (a cluster has at least 3 masters, or a "
        "single one with replicas=0).",
    ),
    "one node that may not be a master": (
        empty("a"),
        Desired((replace(desired("a").nodes[0], role="replica"),), replicas=0),
        "Only 0 of 1 nodes may be masters, and a cluster has at least 1: give n1:6379 a weight above 0",
    ),
    "two clusters of one": (
        alter(empty(), slots(1, ((0, 16383),)), slots(2, ((0, 16383),))),
        WANTED,
        "Node n2:6379 belongs to another cluster than node n1:6379",
    ),
    "down to one, not asked for": (
        found(after(), listing(PAIRS, [1], replicas=0)),
        listing(PAIRS, [1], replicas=0),
        "Member 10.0.0.2:6379 (id id2) is not listed in nodes",
    ),
    "negative": (empty(), desired(replicas=-1), "replicas=-1 is below zero"),
    "twice": (empty(), Desired(WANTED.nodes + WANTED.nodes[:1]), "Node n1:6379 is listed twice"),
    "two names": (
        alter(empty(), node(2, ip="10.0.0.1")),
        WANTED,
        "Nodes n1:6379, n2:6379 are the same address",
    ),
    "one id": (
        alter(empty(), peer(2, id="id1")),
        WANTED,
        "Nodes n1:6379, n2:6379 answer with the same node id",
    ),
    "loopback": (alter(empty(), node(2, ip="127.0.1.1")), WANTED, "Node n2:6379 is 127.0.1.1 here"),
    "crowded zone": (empty("aaaabc"), desired("aaaabc"), "zone a holds 4 of the 6 nodes"),
    "one zone": (empty("aaaaaa"), desired("aaaaaa"), "zone a holds 6 of the 6 nodes"),
    "unresolved": (
        alter(empty(), node(2, problem=Problem.UNRESOLVED)),
        WANTED,
        "node n2:6379 resolves to nothing",
    ),
    "password": (
        alter(empty(), node(2, problem=Problem.AUTH, detail="WRONGPASS")),
        WANTED,
        "AUTH_FAIL on node n2:6379 (WRONGPASS)",
    ),
    "no cluster mode": (
        alter(empty(), node(2, problem=Problem.PLAIN)),
        WANTED,
        "Node n2:6379 is not in cluster mode",
    ),
    "loading": (alter(empty(), node(2, problem=Problem.LOADING)), WANTED, "Node n2:6379 is still loading"),
    "unreachable": (alter(empty(), down(2)), WANTED, "Node n2:6379 cannot be reached (Connection refused)"),
    "master just lost": (
        alter(after(), down(1)),
        WANTED,
        "Member n1:6379 is down and owns slots 0-5460, and its replica n4:6379 has not taken over",
    ),
    "master failed": (
        alter(after(), down(1), peer(1, flags={"master", "fail"})),
        WANTED,
        "Member n1:6379 is down and owns slots 0-5460",
    ),
    "only from here": (
        alter(after(), down(4), peer(4, connected=True)),
        WANTED,
        "Node n4:6379 cannot be reached",
    ),
    "keys": (alter(empty(), node(2, keys=3)), WANTED, "Node n2:6379 holds 3 keys"),
    "keys half-way": (alter(after(10), node(2, keys=3)), WANTED, "Node n2:6379 holds 3 keys"),
    "other cluster": (
        alter(empty(), stranger(8, 2)),
        WANTED,
        "Node n2:6379 belongs to another cluster: it knows 10.0.0.8:6379",
    ),
    "other cluster, ignore": (
        alter(empty(), stranger(8, 2)),
        desired(**IGNORE),
        "Node n2:6379 belongs to another cluster",
    ),
    "two clusters": (
        alter(empty(), stranger(7, 2), stranger(8, 3)),
        WANTED,
        "Node n3:6379 belongs to another cluster than node n2:6379",
    ),
    "stranger": (alter(after(), stranger(7)), WANTED, "Member 10.0.0.7:6379 (id id7) is not listed"),
    "dead stranger": (
        alter(after(), stranger(7, flags=frozenset({"fail"}))),
        WANTED,
        "(id id7, down) is not listed",
    ),
    "ghost": (
        alter(after(), stranger(7, 1, port=0, flags=frozenset({"fail", "noaddr"}))),
        WANTED,
        "id7 (without an address)",
    ),
    "wiped": (
        alter(after(), wiped(4)),
        WANTED,
        "Node n4:6379 is alone, but the cluster knows another node, id4",
    ),
    "wiped long ago": (
        alter(after(), wiped(4), peer(4, port=0, flags={"noaddr"})),
        WANTED,
        "Node n4:6379 is alone",
    ),
    "strange split": (alter(after(10), slots(1, ((0, 99),))), WANTED, "slots 100-5460 have no owner"),
    "replica of nobody": (
        alter(after(), slots(3, ())),
        WANTED,
        "Slots 5461-10922 have no owner",
    ),
    "hole": (alter(after(), slots(3, ((5461, 10000),))), WANTED, "Slots 10001-10922 have no owner"),
    "missing link": (alter(after(), forgets(2, 5)), WANTED, "node n2:6379 does not see node n5:6379"),
    "state fail": (alter(after(), node(2, state="fail")), WANTED, "Node n2:6379 reports cluster_state:fail"),
    "masterauth": (
        alter(empty(), node(2, has_password=True)),
        WANTED,
        "Node n1:6379 has no masterauth while n2:6379 has requirepass",
    ),
    "announce": (alter(empty(), node(2, announce_ip="10.9.9.9")), WANTED, "cluster-announce-ip 10.9.9.9"),
}


@pytest.mark.parametrize(("cluster", "wanted", "sentence"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(cluster: Cluster, wanted: Desired, sentence: str) -> None:
    with pytest.raises(Refusal) as refusal:
        plan(cluster, wanted)
    assert sentence in refusal.value.message
    # One sentence, with a remedy after the colon.
    assert ": " in refusal.value.message
    assert refusal.value.message.endswith(".")


HEALTH: dict[str, tuple[Any, ...]] = {
    "empty": (empty(), "absent", {}),
    "joined": (after(10), "degraded", {"replicas_short": ["n1:6379", "n3:6379", "n5:6379"]}),
    "healthy": (after(), "ok", {"coverage": 16384, "views_agree": True}),
    "failed over": (failed_over(after()), "ok", {}),
    "link": (alter(after(), node(4, link="down")), "degraded", {"links_down": ["n4:6379"]}),
    "replica down": (
        alter(after(), down(4), peer(4, flags={"slave", "fail"})),
        "degraded",
        {"down": ["n4:6379"], "replicas_short": ["n1:6379"]},
    ),
    "state": (alter(after(), node(4, state="fail")), "failed", {}),
    "views": (alter(after(), forgets(2, 5)), "degraded", {"views_agree": False}),
    "open slot": (
        alter(after(), peer(1, open_slots=("[7->-id3]",))),
        "degraded",
        {"open_slots": ["[7->-id3]"]},
    ),
    "stranger": (alter(after(), stranger(7)), "ok", {"unlisted": ["10.0.0.7:6379"]}),
    "beside its master": (after(None, "aaaaaa", **PREFER), "degraded", {"coverage": 16384}),
}


@pytest.mark.parametrize(("cluster", "state", "fault"), HEALTH.values(), ids=HEALTH)
def test_health(cluster: Cluster, state: str, fault: dict[str, Any]) -> None:
    seen = health(cluster, WANTED.replicas)
    assert seen["state"] == state
    assert {key: seen[key] for key in fault} == fault


MISSING: dict[str, tuple[Any, ...]] = {
    "nothing": (after(), ""),
    "bus": (empty(), "node n1:6379 does not see node n2:6379: open the cluster bus ports 16379 and 16379"),
    "down": (alter(after(), down(4)), ""),
    "link": (
        alter(after(), node(4, link="down")),
        "the link of replica n4:6379 to its master n1:6379 is down",
    ),
    "state": (alter(after(), node(4, state="fail")), "node n4:6379 reports cluster_state:fail"),
    "handshake": (
        alter(after(), stranger(7, 2, flags=frozenset({"handshake"}))),
        "unfinished handshake with 10.0.0.7:6379",
    ),
}


@pytest.mark.parametrize(("cluster", "what"), MISSING.values(), ids=MISSING)
def test_missing(cluster: Cluster, what: str) -> None:
    said = missing(cluster, cluster.listed)
    assert what in said
    assert bool(what) == bool(said)


def test_rows_of_listed_down_and_strange_nodes() -> None:
    seen = rows(alter(after(), down(4), stranger(7)))
    assert [row["addr"] for row in seen] == [*(f"n{i}:6379" for i in range(1, 7)), "10.0.0.7:6379"]
    assert (seen[3]["role"], seen[3]["link"], seen[3]["master_link_status"]) == (
        "replica",
        "disconnected",
        None,
    )
    assert (seen[5]["master_id"], seen[5]["master_link_status"]) == ("id3", "up")
    assert (seen[6]["zone"], seen[6]["role"]) == (None, "master")


ELECTING: dict[str, tuple[Any, ...]] = {
    "all there": (after(), False),
    "master lost, and nobody has noticed": (
        alter(after(), node(1, problem=Problem.UNREACHABLE, view=())),
        True,
    ),
    "master lost": (alter(after(), down(1), peer(1, flags={"master", "fail"})), True),
    "master lost with its replica": (alter(after(), down(1), down(4)), False),
    "taken over": (alter(failed_over(after()), down(1)), False),
    "replica lost": (alter(after(), down(4)), False),
    "master wiped": (alter(after(), wiped(1), peer(1, port=0, flags={"master", "noaddr"})), False),
}


@pytest.mark.parametrize(("cluster", "wait"), ELECTING.values(), ids=ELECTING)
def test_an_election_is_waited_for(cluster: Cluster, wait: bool) -> None:
    assert electing(cluster) is wait
