# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From any shape to any other, with a node of each shard lost and the run killed anywhere.

Whatever is interrupted, planning again comes to the wanted shape, and no slot is without an owner in between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import health, missing
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Desired,
    Peer,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import (
    SLOTS,
    count,
    each,
    merged,
    of,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.steps import (
    MoveSlots,
    Promote,
    Step,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from .states import after, alter, down, found, grown, listing, peer

CHUNK = 32
CHANGE = {"unlisted": "remove", "require_zones": False}


@st.composite
def changes(draw: st.DrawFn, most: int = 16) -> tuple[Cluster, Desired]:
    """A cluster of some shape, and another that is wanted: some nodes gone, some new, other replicas."""
    old_replicas, replicas = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    old = draw(st.integers(3 * (old_replicas + 1), most))
    new = draw(st.integers(0, most - old))
    zones = [f"z{draw(st.integers(1, old))}" for _node in range(old + new)]
    needed = 3 * (replicas + 1)
    assume(old + new >= needed)
    leaving = draw(st.integers(0, min((old - 1) // 2, old + new - needed)))
    gone = draw(st.sets(st.integers(1, old), min_size=leaving, max_size=leaving))
    base, more = zones[:old], zones[old:]
    cluster = grown(more, base, replicas=old_replicas, require_zones=False)
    mode = draw(st.sampled_from(["empty_masters", "always", "never"]))
    numbers = [number for number in range(1, old + new + 1) if number not in gone]
    wanted = listing(zones, numbers, replicas=replicas, rebalance=mode, **CHANGE)
    return found(cluster, wanted), wanted


def whole(cluster: Cluster) -> None:
    """Every slot has one owner, and all members agree who that is."""
    for view in [[node.me for node in cluster.owners], *(node.view for node in cluster.members)]:
        ranges = sorted(pair for peer in view for pair in peer.slots)
        assert sum(last - first + 1 for first, last in ranges) == SLOTS
        assert merged(ranges) == ((0, SLOTS - 1),), "none is missing, so none is there twice"


def reached(cluster: Cluster, wanted: Desired) -> None:
    assert plan(cluster, wanted) == ()
    assert missing(cluster, cluster.listed) == ""
    assert {node.addr for node in cluster.nodes} == {node.addr for node in wanted.nodes}
    told = health(cluster, wanted.replicas)
    assert (told["replicas_short"], told["unlisted"], told["ghosts"]) == ([], [], [])
    masters = [node for node in cluster.nodes if not node.me.master_id]
    assert len(masters) == wanted.masters
    if wanted.rebalance != "never":
        assert all(node.me.slots for node in masters)


def open_slots(peer: Peer, marks: tuple[str, ...]) -> Peer:
    return replace(peer, open_slots=(*peer.open_slots, *marks))


def partly(cluster: Cluster, step: MoveSlots, done: Sequence[float]) -> Cluster:
    """Foretell a move that was killed: some slots gone over, some open, as moving.py leaves them."""
    for (source, target, slots), part in zip(step.moves, done, strict=True):
        every = each(slots)
        over = int(part * len(every))
        if over:
            cluster = MoveSlots(((source, target, of(every[:over])),)).simulate(cluster)
        giver, taker = cluster.named(source).me, cluster.named(target).me
        opened = every[over : over + CHUNK]
        marked = every[over : over + 2 * CHUNK]
        to = tuple(f"[{slot}->-{taker.id}]" for slot in opened)
        fro = tuple(f"[{slot}-<-{giver.id}]" for slot in marked)
        cluster = cluster.changed(giver.id, partial(open_slots, marks=to))
        cluster = cluster.changed(taker.id, partial(open_slots, marks=fro))
    return cluster


@st.composite
def to_and_from_one(draw: st.DrawFn) -> tuple[Cluster, Desired]:
    """A cluster of one node that is to grow, or one of which only a node is to stay."""
    replicas, size = draw(st.integers(0, 2)), draw(st.integers(9, 12))
    zones = [f"z{draw(st.integers(1, size))}" for _node in range(size)]
    if draw(st.booleans()):
        cluster = grown(zones[1:], zones[:1], replicas=0)
        wanted = listing(zones, range(1, size + 1), replicas=replicas, **CHANGE)
    else:
        cluster = grown((), zones, replicas=replicas, require_zones=False)
        wanted = listing(zones, [draw(st.integers(1, size))], replicas=0, **CHANGE)
    return found(cluster, wanted), wanted


@settings(max_examples=15)
@given(changes() | to_and_from_one())
def test_any_shape_becomes_any_other(change: tuple[Cluster, Desired]) -> None:
    state, wanted = change
    steps = plan(state, wanted)
    for step in steps:
        state = step.simulate(state)
        whole(state)
    reached(state, wanted)


@settings(max_examples=15)
@given(changes() | to_and_from_one(), st.data())
def test_killed_between_two_steps(change: tuple[Cluster, Desired], data: st.DataObject) -> None:
    state, wanted = change
    steps = plan(state, wanted)
    done = data.draw(st.integers(0, len(steps)))
    state = found(simulate(state, steps[:done]), wanted)
    rest = plan(state, wanted)
    if wanted.rebalance != "always":  # there it may be level enough by then
        assert rest == steps[done:]
    reached(simulate(state, rest), wanted)


@settings(max_examples=15)
@given(changes() | to_and_from_one(), st.data())
def test_killed_within_a_move(change: tuple[Cluster, Desired], data: st.DataObject) -> None:
    state, wanted = change
    steps = plan(state, wanted)
    number = next((i for i, step in enumerate(steps) if isinstance(step, MoveSlots)), None)
    assume(number is not None)
    assert number is not None
    step = steps[number]
    assert isinstance(step, MoveSlots)
    parts = data.draw(st.lists(st.floats(0, 1), min_size=len(step.moves), max_size=len(step.moves)))
    killed = partly(simulate(state, steps[:number]), step, parts)
    whole(killed)
    rest = plan(killed, wanted)
    for later in rest:
        killed = later.simulate(killed)
        whole(killed)
    reached(killed, wanted)
    target = simulate(state, steps)
    if wanted.rebalance == "empty_masters" and min(parts) < 1:
        fresh = {n.addr for n in target.owners if not state.named(n.addr).me.slots}
        fair = SLOTS / wanted.masters
        for name in fresh:  # what was half filled is filled to the end
            assert count(killed.named(name).me.slots) >= int(fair), name


def plan_or_refusal(cluster: Cluster, wanted: Desired, refused: list[str] | None = None) -> Sequence[Step]:
    """Plan; a refusal with a remedy is as good, and changes nothing."""
    try:
        return plan(cluster, wanted)
    except Refusal as refusal:
        if refused is not None:
            refused.append(refusal.message)
        return ()


def shards(cluster: Cluster) -> list[tuple[str, list[str]]]:
    return [(m.addr, [n.addr for n in cluster.followers(m.me.id)]) for m in cluster.owners]


def fail(cluster: Cluster, master: str, replicas: list[str], victim: str) -> Cluster:
    """A node is lost; where it was the master, a replica has taken over."""
    number = int(victim.partition(":")[0][1:])
    if victim == master:
        cluster = Promote(replicas[0], master).simulate(cluster)
    flags = {"slave", "fail"} if victim != master else {"master", "fail"}
    following = None if victim == master else cluster.named(victim).me.master_id
    return alter(cluster, peer(number, flags=flags, master_id=following), down(number))


def revive(cluster: Cluster, before: Cluster) -> Cluster:
    """Lost nodes return, and follow whoever leads their shard now."""
    for node in [node for node in cluster.nodes if node.problem]:
        told = cluster.peer_of(node)
        assert told is not None
        old = before.named(node.addr)
        had = set(each(old.me.slots))
        # Its slots may have gone on to several nodes meanwhile.
        heir = max((len(had & set(each(n.me.slots))), n.me.id) for n in cluster.owners)[1]
        leader = told.master_id or heir
        number = int(node.addr.partition(":")[0][1:])
        cluster = peer(number, flags={"slave"}, master_id=leader, connected=True)(cluster)
        view = tuple(
            replace(p, flags=p.flags | {"myself"} if p.id == told.id else p.flags - {"myself"})
            for p in cluster.up[0].view
        )
        cluster = cluster.altered(node.addr, problem=None, detail="", view=view, link="up", state="ok")
    return cluster


@settings(max_examples=15)
@given(st.integers(3, 8), st.integers(1, 2), st.data())
def test_a_node_of_each_shard_is_lost_and_returns(masters: int, replicas: int, data: st.DataObject) -> None:
    """While they are away nothing changes; when they are back, nothing has to."""
    size = masters * (replicas + 1) + data.draw(st.integers(0, replicas))
    zones = [f"z{data.draw(st.integers(1, size))}" for _node in range(size)]
    wanted = listing(zones, range(1, size + 1), replicas=replicas, require_zones=False)
    healthy = after(None, zones, replicas=replicas, require_zones=False)
    state = healthy
    for master, followers in shards(healthy):
        victim = data.draw(st.sampled_from([None, master, *followers]))
        if victim is not None:
            state = fail(state, master, followers, victim)
    assert plan(state, wanted) == ()
    state = revive(state, healthy)
    assert plan(state, wanted) == ()
    assert health(state, replicas)["state"] in ("ok", "degraded")


@settings(max_examples=15)
@given(changes(most=12), st.data())
def test_nodes_are_lost_before_a_change(change: tuple[Cluster, Desired], data: st.DataObject) -> None:
    """It is refused, or carried out as far as it can be; with the nodes back, it is completed."""
    before, wanted = change
    state = before
    for master, followers in shards(before):
        victim = data.draw(st.sampled_from([None, *followers, *([master] if followers else [])]))
        if victim is not None:
            state = fail(state, master, followers, victim)
    for step in plan_or_refusal(state, wanted):
        state = step.simulate(state)
        assert sum(count(p.slots) for p in state.peers.values()) == SLOTS
    state = revive(state, before)
    end = simulate(state, plan(state, wanted))
    whole(end)
    reached(end, wanted)


@settings(max_examples=4)
@given(changes(most=60))
def test_large_clusters(change: tuple[Cluster, Desired]) -> None:
    state, wanted = change
    end = simulate(state, plan(state, wanted))
    whole(end)
    reached(end, wanted)


@settings(max_examples=15)
@given(changes())
def test_zones_are_kept_apart_where_they_can_be(change: tuple[Cluster, Desired]) -> None:
    """With require, what prefer would do is done or refused, and never leaves a replica beside its master."""
    state, wanted = change
    strict = replace(wanted, require_zones=True)
    assume(health(state, wanted.replicas)["affinity_violations"] == [])
    refused: list[str] = []
    end = simulate(state, plan_or_refusal(state, strict, refused))
    if refused:
        assert "anti_affinity=require cannot be kept" in refused[0]
        return
    reached(end, strict)
    assert health(end, strict.replicas)["affinity_violations"] == []
