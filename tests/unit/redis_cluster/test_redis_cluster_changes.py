# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster that is there, and what is wanted of it now, to steps or a refusal: one row a line."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import missing
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Clash,
    Cluster,
    Desired,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.plan import plan

from .states import (
    Change,
    after,
    alter,
    desired,
    down,
    empty,
    failed_over,
    found,
    grown,
    listing,
    node,
    peer,
    slots,
    wiped,
)

EIGHT = "aabbccdd"
WANTED, GROWN = desired(), desired(EIGHT)
REMOVE: dict[str, Any] = {"unlisted": "remove"}
GROW = [
    "Set the configuration epoch of n7:6379 to 6",
    "Set the configuration epoch of n8:6379 to 7",
    "Join n7:6379, n8:6379 to the cluster of n1:6379",
    "Make n4:6379 a replica of n7:6379",
    "Make n8:6379 a replica of n1:6379",
    "Move 1365 slots (0-1364) from n1:6379 to n7:6379; 1366 slots (5461-6826) from n3:6379 to n7:6379; "
    "1365 slots (10923-12287) from n5:6379 to n7:6379",
]
SHRINK = [
    "Move 1366 slots (0-1364,5461) from n7:6379 to n1:6379; 1365 slots (5462-6826) from n7:6379 to n3:6379; "
    "1365 slots (10923-12287) from n7:6379 to n5:6379",
    "Make n4:6379 a replica of n1:6379",
    "Remove n8:6379 from the cluster and reset it",
    "Remove n7:6379 from the cluster and reset it",
]
FOUR = simulate(grown(), plan(grown(), GROWN))
# Four masters without replicas, the second of which is gone for good.
LONELY = after(None, "abcd", replicas=0)
LOST = alter(LONELY, down(2), peer(2, flags={"master", "fail"}))
DEAD_REPLICA = alter(FOUR, down(2), peer(2, flags={"slave", "fail"}))
GHOST_MASTER = {"port": 0, "flags": {"master", "noaddr"}}


def weighed(wanted: Desired, weights: dict[int, float], roles: dict[int, str] | None = None) -> Desired:
    """Give nodes weights and roles by their numbers."""
    numbered = enumerate(wanted.nodes, start=1)
    nodes = (replace(n, weight=weights.get(i), role=(roles or {}).get(i, "auto")) for i, n in numbered)
    return replace(wanted, nodes=tuple(nodes))


def opened(source: int, target: int, slot: int) -> Change:
    """A slot on the move, as both sides tell it."""

    def change(cluster: Cluster) -> Cluster:
        cluster = peer(source, open_slots=(f"[{slot}->-id{target}]",))(cluster)
        return peer(target, open_slots=(f"[{slot}-<-id{source}]",))(cluster)

    return change


def importing(number: int, source: int, slot: int) -> Change:
    return peer(number, open_slots=(f"[{slot}-<-id{source}]",))


def holding(number: int, slot: int, keys: int = 3) -> Change:
    return node(number, slot_keys=((slot, keys),))


FILLING = alter(
    FOUR,
    *(
        slots(7, ((0, 100),)),
        slots(1, ((101, 5460),)),
        slots(3, ((5461, 10922),)),
        slots(5, ((10923, 16383),)),
    ),
)
HOLE = slots(1, ((0, 6), (8, 5460)))

STEPS: dict[str, tuple[Any, ...]] = {
    # ---- growing and shrinking
    "grow": (grown(), GROWN, GROW),
    "grown": (FOUR, GROWN, []),
    "grown and failed over": (failed_over(FOUR, 8), GROWN, []),
    "new nodes not wanted as masters yet": (grown(), replace(GROWN, rebalance="never"), GROW[:-1]),
    "shrink": (FOUR, listing(EIGHT, range(1, 7), **REMOVE), SHRINK),
    "shrink, but leave them alone": (FOUR, listing(EIGHT, range(1, 7), unlisted="ignore"), []),
    "a master and its replica leave": (
        FOUR,
        listing(EIGHT, [2, 3, 5, 6, 7, 8], **REMOVE),
        [
            "Move 1366 slots (1365-2730) from n1:6379 to n7:6379; 1365 slots (2731-4095) from n1:6379 to "
            "n3:6379; 1365 slots (4096-5460) from n1:6379 to n5:6379",
            "Make n6:6379 a replica of n7:6379",
            "Make n8:6379 a replica of n3:6379",
            "Remove n4:6379 from the cluster and reset it",
            "Remove n1:6379 from the cluster and reset it",
        ],
    ),
    "a master is replaced": (
        grown("d"),
        listing("aabbccd", range(2, 8), **REMOVE),
        [
            "Set the configuration epoch of n7:6379 to 6",
            "Join n7:6379 to the cluster of n1:6379",
            "Make n4:6379 master in place of n1:6379",
            "Make n7:6379 a replica of n4:6379",
            "Remove n1:6379 from the cluster and reset it",
        ],
    ),
    "more replicas": (
        grown("abc"),
        desired("aabbccabc", replicas=2),
        [
            "Set the configuration epoch of n7:6379 to 6",
            "Set the configuration epoch of n8:6379 to 7",
            "Set the configuration epoch of n9:6379 to 8",
            "Join n7:6379, n8:6379, n9:6379 to the cluster of n1:6379",
            "Make n9:6379 a replica of n1:6379",
            "Make n7:6379 a replica of n3:6379",
            "Make n8:6379 a replica of n5:6379",
        ],
    ),
    "fewer masters": (
        after(None, "aabbccddeeff"),
        desired("aabbccddeeff", replicas=2),
        [
            "Move 1365 slots (2731-4095) from n3:6379 to n1:6379; 1365 slots (4096-5460) from n3:6379 to "
            "n5:6379; 1365 slots (10923-12287) from n9:6379 to n7:6379; 1365 slots (12288-13652) from "
            "n9:6379 to n11:6379",
            "Make n9:6379 a replica of n1:6379",
            "Make n2:6379 a replica of n5:6379",
            "Make n12:6379 a replica of n7:6379",
            "Make n3:6379 a replica of n11:6379",
        ],
    ),
    "no replicas any more": (
        after(),
        desired(replicas=0),
        [
            "Make the replica n2:6379 an empty master",
            "Make the replica n4:6379 an empty master",
            "Make the replica n6:6379 an empty master",
            "Move 2730 slots (0-2729) from n1:6379 to n2:6379; 1 slot (5461) from n3:6379 to n2:6379; 2730 "
            "slots (5462-8191) from n3:6379 to n4:6379; 2730 slots (10923-13652) from n5:6379 to n6:6379",
        ],
    ),
    "new masters get the functions first": (
        alter(
            grown(),
            *(node(i, functions=("lib",)) for i in range(1, 7)),
            *(node(i, functions=()) for i in (7, 8)),
        ),
        GROWN,
        [*GROW[:-1], "Copy the function libraries of n1:6379 to n7:6379", GROW[-1]],
    ),
    "stale slots on a new node": (
        alter(grown(), slots(7, ((0, 99),))),
        GROWN,
        ["Take slots 0-99, left from an earlier use, from n7:6379", *GROW],
    ),
    # ---- weights and roles
    "weights at create": (
        empty(),
        weighed(WANTED, {1: 2}),
        [
            "Assign slots 0-8191 to n1:6379",
            "Assign slots 8192-12287 to n3:6379",
            "Assign slots 12288-16383 to n5:6379",
        ],
    ),
    "roles at create": (
        empty(),
        weighed(WANTED, {}, {2: "master", 1: "replica"}),
        [
            "Assign slots 0-5460 to n2:6379",
            "Assign slots 5461-10922 to n3:6379",
            "Assign slots 10923-16383 to n5:6379",
        ],
    ),
    "roles after a failover": (failed_over(after()), weighed(WANTED, {}, {1: "master", 4: "replica"}), []),
    "weights alone move nothing": (after(), weighed(WANTED, {1: 2}), []),
    "weights and rebalance": (
        after(),
        weighed(desired(rebalance="always"), {1: 2}),
        [
            "Move 1366 slots (5461-6826) from n3:6379 to n1:6379; 1365 slots (10923-12287) from n5:6379 to "
            "n1:6379",
        ],
    ),
    "within the threshold": (
        alter(after(), slots(1, ((0, 5400),)), slots(3, ((5401, 10922),))),
        desired(rebalance="always"),
        [],
    ),
    "past the threshold": (
        alter(after(), slots(1, ((0, 5400),)), slots(3, ((5401, 10922),))),
        desired(rebalance="always", threshold=1.0),
        ["Move 60 slots (5401-5460) from n3:6379 to n1:6379"],
    ),
    "drained where there is a replica": (
        after(),
        weighed(WANTED, {1: 0}),
        ["Make n4:6379 master in place of n1:6379"],
    ),
    "drained where there is none": (
        LONELY,
        weighed(desired("abcd", replicas=0), {2: 0}),
        [
            "Move 1366 slots (4096-5461) from n2:6379 to n1:6379; 1365 slots (5462-6826) from n2:6379 to "
            "n3:6379; 1365 slots (6827-8191) from n2:6379 to n4:6379",
            "Make n2:6379 a replica of n1:6379",
        ],
    ),
    # ---- what is lost
    "a dead replica is forgotten": (
        DEAD_REPLICA,
        listing(EIGHT, [1, 3, 4, 5, 6, 7, 8], forget_failed=True),
        [
            "Forget n2:6379 (id id2)",
            SHRINK[0],
            "Make n4:6379 a replica of n5:6379",
            "Make n7:6379 a replica of n1:6379",
        ],
    ),
    "a wiped replica": (
        alter(after(), wiped(4)),
        desired(replace_wiped=True),
        [
            "Forget 10.0.0.4:6379 (id id4)",
            "Set the configuration epoch of n4:6379 to 6",
            "Join n4:6379 to the cluster of n1:6379",
            "Make n4:6379 a replica of n1:6379",
        ],
    ),
    "a wiped master": (
        alter(after(), wiped(1), peer(1, **GHOST_MASTER)),
        desired(replace_wiped=True),
        [
            "Make n4:6379 master in place of id1 (without an address) (force)",
            "Forget id1 (without an address)",
            "Set the configuration epoch of n1:6379 to 7",
            "Join n1:6379 to the cluster of n2:6379",
            "Make n1:6379 a replica of n4:6379",
        ],
    ),
    "a wiped master that nobody followed": (
        alter(LONELY, wiped(1), peer(1, **GHOST_MASTER)),
        desired("abcd", replicas=0, replace_wiped=True, accept_data_loss=True),
        [
            "Forget id1 (without an address)",
            "Set the configuration epoch of n1:6379 to 5",
            "Join n1:6379 to the cluster of n2:6379",
            "Assign slots 0-4095 to n1:6379",
        ],
    ),
    "a lost master that nobody followed": (
        LOST,
        listing("abcd", [1, 3, 4], replicas=0, forget_failed=True, accept_data_loss=True),
        [
            "Forget n2:6379 (id id2)",
            "Assign slots 4096-5461 to n1:6379",
            "Assign slots 5462-6826 to n3:6379",
            "Assign slots 6827-8191 to n4:6379",
        ],
    ),
    # ---- slots on the move
    "a move that nobody goes on with": (
        alter(after(), opened(1, 3, 7)),
        WANTED,
        ["Move 1 slot (7) from n1:6379 to n3:6379"],
    ),
    "only the taker knows": (
        alter(after(), importing(3, 1, 7)),
        WANTED,
        ["Move 1 slot (7) from n1:6379 to n3:6379"],
    ),
    "keys on a third node": (
        alter(after(), opened(1, 3, 7), holding(5, 7)),
        WANTED,
        [
            "Bring the keys of slot 7 on n5:6379 back to their owner n1:6379",
            "Move 1 slot (7) from n1:6379 to n3:6379",
        ],
    ),
    "keys on a node that leaves": (
        alter(FOUR, opened(1, 7, 1365), holding(7, 1365)),
        listing(EIGHT, range(1, 7), **REMOVE),
        [
            "Bring the keys of slot 1365 on n7:6379 back to their owner n1:6379",
            "Close slot 1365 on n1:6379, which nothing moves any more",
            *SHRINK,
        ],
    ),
    "the giver has let go": (
        alter(after(), HOLE, importing(3, 1, 7), holding(3, 7)),
        WANTED,
        ["Make n3:6379 the owner of slot 7, which nobody owns any more"],
    ),
    "the giver has let go, and has the keys": (
        alter(after(), HOLE, peer(1, open_slots=("[7->-id3]",)), holding(1, 7)),
        WANTED,
        ["Make n1:6379 the owner of slot 7, which nobody owns any more"],
    ),
    "a new master half filled": (
        alter(FILLING, opened(1, 7, 101)),
        GROWN,
        [
            "Move 1264 slots (101-1364) from n1:6379 to n7:6379; 1366 slots (5461-6826) from n3:6379 to "
            "n7:6379; 1365 slots (10923-12287) from n5:6379 to n7:6379"
        ],
    ),
    "a small master that somebody wants": (FILLING, GROWN, []),
}


@pytest.mark.parametrize(("cluster", "wanted", "expected"), STEPS.values(), ids=STEPS)
def test_steps(cluster: Cluster, wanted: Desired, expected: list[str]) -> None:
    seen = found(cluster, wanted)
    steps = plan(seen, wanted)
    told = [step.describe() for step in steps]
    # Of a create only what is assigned: the rest of it stands in test_redis_cluster_plan.py.
    assert (told[:3] if len(cluster.singles) == len(cluster.nodes) else told) == expected
    end = simulate(seen, steps)
    assert plan(end, wanted) == ()
    assert missing(end, end.listed) == ""


@pytest.mark.parametrize(("cluster", "wanted", "expected"), STEPS.values(), ids=STEPS)
def test_what_is_left_after_each_step(cluster: Cluster, wanted: Desired, expected: list[str]) -> None:
    seen = found(cluster, wanted)
    steps = plan(seen, wanted)
    for done in range(len(steps)):
        left = plan(found(simulate(seen, steps[:done]), wanted), wanted)
        assert left == steps[done:], expected


REFUSALS: dict[str, tuple[Any, ...]] = {
    "not listed": (
        FOUR,
        listing(EIGHT, range(1, 7)),
        "Member 10.0.0.7:6379 (id id7) is not listed in nodes: list it",
    ),
    "dead and not listed": (
        DEAD_REPLICA,
        listing(EIGHT, [1, 3, 4, 5, 6, 7, 8], **REMOVE),
        "Member n2:6379 (id id2, down) is not listed in nodes and cannot be reached: start it, or set "
        "forget_failed",
    ),
    "one that is down would bring it back": (
        alter(DEAD_REPLICA, down(6)),
        listing(EIGHT, [1, 3, 4, 5, 6, 7, 8], forget_failed=True),
        "Member n2:6379 cannot be taken out while n6:6379 is down",
    ),
    "half of the members replaced": (
        grown("ddd"),
        listing("aabbccddd", [1, 2, 3, 7, 8, 9], **REMOVE),
        "set unlisted=remove and replace fewer than half of them at a time",
    ),
    "lost, data not given up": (
        LOST,
        listing("abcd", [1, 3, 4], replicas=0, forget_failed=True),
        "Member n2:6379 is down and owns slots 4096-8191, and no replica of it is left: start it",
    ),
    "lost, and still listed": (
        LOST,
        desired("abcd", replicas=0, forget_failed=True, accept_data_loss=True),
        "take it out of nodes",
    ),
    "wiped, data not given up": (
        alter(LONELY, wiped(1), peer(1, **GHOST_MASTER)),
        desired("abcd", replicas=0, replace_wiped=True),
        "Member id1 (without an address) owns slots 0-4095 and has lost its data",
    ),
    "most masters away": (
        alter(LONELY, *(down(n) for n in (1, 2)), *(peer(n, flags={"master", "fail"}) for n in (1, 2))),
        desired("abcd", replicas=0),
        "Only 2 of 4 masters answer, which is no majority: start n1:6379, n2:6379.",
    ),
    "slots that nobody owns": (
        alter(after(), HOLE),
        WANTED,
        "Slots 7 have no owner in the cluster of n1:6379: find out which node had them",
    ),
    "open slots are not to be touched": (
        alter(after(), opened(1, 3, 7)),
        desired(repair=False),
        "Node n1:6379 has slots on the move ([7->-id3]): let that end, or set open_slots=repair",
    ),
    "somebody is moving slots": (
        replace(alter(after(), opened(1, 3, 7)), moving=True),
        WANTED,
        "A reshard is in progress: ",
    ),
    "two values of one key": (
        replace(alter(after(), opened(1, 3, 7)), clashes=(Clash(7, "n1:6379", "n3:6379", ("a", "b\udcff")),)),
        WANTED,
        "Slot 7 is on the move, and n3:6379 holds a, b\\xff with another value than its owner n1:6379: "
        "delete",
    ),
    "weight below zero": (
        after(),
        weighed(WANTED, {1: -1}),
        "Node n1:6379 has weight=-1, which is out of range: give 0",
    ),
    "weight too large": (
        after(),
        weighed(WANTED, {1: 101}),
        "Node n1:6379 has weight=101, which is out of range",
    ),
    "weight too small to get a slot": (
        after(),
        weighed(WANTED, {1: 0.001, 2: 100}),
        "Node n1:6379 has weight=0.001, which is less than one slot beside the others: give it 0",
    ),
    "master of weight 0": (
        after(),
        weighed(WANTED, {1: 0}, {1: "master"}),
        "role=master and weight=0, which contradict",
    ),
    "nobody left to be master": (
        after(),
        weighed(WANTED, {1: 0, 2: 0}, {3: "replica", 4: "replica"}),
        "Only 2 of 6 nodes may be masters, and a cluster has at least 3: give n1:6379 a weight above 0",
    ),
    "too many masters wanted": (
        after(),
        weighed(WANTED, {}, dict.fromkeys((1, 2, 3, 4), "master")),
        "4 nodes have role=master, while 6 nodes with replicas=1 make 3 masters: set role=auto on n4:6379",
    ),
    "threshold": (after(), desired(threshold=101.0), "threshold=101 is out of range"),
    "replicas only beside a master": (
        grown("aaaaaa", "abb", replicas=0),
        desired("abbaaaaaa", replicas=2),
        "anti_affinity=require cannot be kept: zone a holds 7 of the 9 nodes",
    ),
    "a replica beside the heir of a master that leaves": (
        alter(
            after(None, "xaaaaabbb", require_zones=False),
            peer(4, master_id="id1"),
            peer(5, master_id="id7"),
            peer(6, master_id="id1"),
        ),
        listing("xaaaaabbb", range(2, 10), **REMOVE),
        "anti_affinity=require cannot be kept: zone a holds 5 of the 8 nodes",
    ),
    "new nodes in one zone": (
        grown("aaaa"),
        desired("aabbccaaaa"),
        "anti_affinity=require cannot be kept: zone a holds 6 of the 10 nodes",
    ),
}


@pytest.mark.parametrize(("cluster", "wanted", "sentence"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(cluster: Cluster, wanted: Desired, sentence: str) -> None:
    with pytest.raises(Refusal) as refusal:
        plan(found(cluster, wanted), wanted)
    assert sentence in refusal.value.message
    assert ": " in refusal.value.message
    assert refusal.value.message.endswith(".")
