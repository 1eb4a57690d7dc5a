# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States to plan from, each made by changing one that the planner itself made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import simulate
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Desired,
    Listed,
    Node,
    Peer,
    Problem,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import Ranges

PAIRS = "aabbcc"  # three zones of two nodes
Change = Callable[[Cluster], Cluster]


def ip(number: int) -> str:
    return f"10.0.0.{number}"


def addr(number: int) -> str:
    return f"n{number}:6379"


def desired(zones: Iterable[str] = PAIRS, **options: Any) -> Desired:
    return Desired(tuple(Listed(f"n{i}", 6379, zone) for i, zone in enumerate(zones, start=1)), **options)


def line(number: int, **changes: Any) -> Peer:
    peer = Peer(f"id{number}", ip(number), 6379, 16379, frozenset({"master"}), None, 0, True)
    return replace(peer, **changes)


def empty(zones: Iterable[str] = PAIRS) -> Cluster:
    """Nodes that know nobody."""
    nodes = []
    for number, listed in enumerate(desired(zones).nodes, start=1):
        me = line(number, flags=frozenset({"myself", "master"}))
        nodes.append(Node(listed, ip(number), view=(me,), has_password=False, has_masterauth=False))
    return Cluster.of(nodes)


def after(steps: int | None = None, zones: Sequence[str] = PAIRS, **options: Any) -> Cluster:
    """A create that was killed after so many steps, or went through."""
    start, wanted = empty(zones), desired(zones, **options)
    return simulate(start, plan(start, wanted)[:steps])


def listing(zones: Sequence[str], numbers: Iterable[int], **options: Any) -> Desired:
    """List only some of the nodes, under the numbers that they have in zones."""
    every = desired(zones, **options)
    return replace(every, nodes=tuple(every.nodes[number - 1] for number in numbers))


def found(cluster: Cluster, wanted: Desired) -> Cluster:
    """What is seen when the list is another one: who is not in it was found by those that are."""
    listed = {entry.addr: entry for entry in wanted.nodes}

    def seat(n: Node) -> Node:
        entry = listed.get(n.addr)
        return replace(
            n, listed=entry or replace(n.listed, zone=n.ip, weight=None, role="auto", wanted=False)
        )

    nodes = (seat(n) for n in cluster.nodes)
    # Nobody finds a node that is alone and not listed.
    return replace(cluster, nodes=tuple(n for n in nodes if n.wanted or n.problem or not n.alone))


def grown(by: Sequence[str] = "dd", base: Sequence[str] = PAIRS, **options: Any) -> Cluster:
    """A healthy cluster, and new nodes beside it."""
    old = after(None, base, **options)
    new = empty([*base, *by]).nodes[len(base) :]
    return replace(old, nodes=(*old.nodes, *new))


def node(number: int, **changes: Any) -> Change:
    """Change what one node says of itself."""

    def change(cluster: Cluster) -> Cluster:
        return cluster.altered(addr(number), **changes)

    return change


def peer(number: int, **changes: Any) -> Change:
    """Change what every node sees of one node."""

    def change(cluster: Cluster) -> Cluster:
        def see(seen: Peer) -> Peer:
            if "flags" not in changes:
                return replace(seen, **changes)
            return replace(
                seen, **{**changes, "flags": frozenset(changes["flags"]) | seen.flags & {"myself"}}
            )

        return cluster.changed(f"id{number}", see)

    return change


def stranger(number: int, *known_to: int, **changes: Any) -> Change:
    """Add a member that is not listed to what some nodes, or all, see."""

    def change(cluster: Cluster) -> Cluster:
        def knows(n: Node) -> bool:
            return not known_to or n.addr in {addr(i) for i in known_to}

        return Cluster(
            tuple(
                replace(n, view=(*n.view, line(number, **changes))) if knows(n) else n for n in cluster.nodes
            )
        )

    return change


def forgets(number: int, other: int) -> Change:
    def change(cluster: Cluster) -> Cluster:
        def view(n: Node) -> tuple[Peer, ...]:
            return tuple(p for p in n.view if n.addr != addr(number) or p.id != f"id{other}")

        return Cluster(tuple(replace(n, view=view(n)) for n in cluster.nodes))

    return change


def slots(number: int, ranges: Ranges) -> Change:
    return peer(number, slots=ranges)


def down(number: int) -> Change:
    """A member that neither we nor the others reach."""

    def change(cluster: Cluster) -> Cluster:
        gone = node(number, problem=Problem.UNREACHABLE, detail="Connection refused", view=())(cluster)
        return peer(number, connected=False)(gone)

    return change


def failed_over(cluster: Cluster, heir: int = 4) -> Cluster:
    """A replica has taken over from n1, its master, which came back as its replica."""
    old = cluster.named(addr(1)).me
    cluster = peer(heir, flags={"master"}, master_id=None, slots=old.slots, epoch=17)(cluster)
    cluster = peer(1, flags={"slave"}, master_id=f"id{heir}", slots=(), epoch=17)(cluster)
    return node(1, link="up")(node(heir, link=None)(cluster))


def wiped(number: int) -> Change:
    """A member that lost its data, and with it its id."""

    def change(cluster: Cluster) -> Cluster:
        me = line(99, ip=ip(number), flags=frozenset({"myself", "master"}))
        return node(number, view=(me,), link=None)(peer(number, connected=False)(cluster))

    return change


def alter(cluster: Cluster, *changes: Change) -> Cluster:
    for change in changes:
        cluster = change(cluster)
    return cluster
