# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a cluster is, what keeps it from being well, and how it is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Node,
    Problem,
    owned,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import (
    SLOTS,
    count,
    gaps,
    of,
    text,
    without,
)

Signature = frozenset[tuple[str, str, str]]


def signatures(cluster: Cluster, nodes: Sequence[Node]) -> list[Signature]:
    """Who owns what and who follows whom, as each node sees it: equal on nodes that agree.

    About slots on the move they need not agree: a move that was interrupted may leave them so for ever.
    """
    moving = of(cluster.open_slots)
    return [
        frozenset(
            (p.id, text(without(p.slots, moving)), p.master_id or "")
            for p in node.view
            if not p.flags & {"handshake", "noaddr"}
        )
        for node in nodes
    ]


def missing_view(cluster: Cluster, among: Collection[str] | None = None) -> str:
    """Name the first link over which nodes do not (yet) see the same cluster, or return nothing.

    Those that are looked at are the named ones, and all that are in a cluster.
    """
    return missing_acquaintance(cluster, among) or _disagreement(cluster, _concerned(cluster, among))


def _concerned(cluster: Cluster, among: Collection[str] | None) -> list[Node]:
    return [n for n in cluster.nodes if among is None or n.addr in among or (n.view and not n.alone)]


def missing_acquaintance(cluster: Cluster, among: Collection[str] | None = None) -> str:
    """Name the first node that does not answer, or does not know another one, or return nothing."""
    nodes = _concerned(cluster, among)
    if down := [node for node in nodes if node.problem]:
        return f"node {down[0].addr} does not answer ({down[0].detail}): start it"
    for node in nodes:
        for other in nodes:
            if other.me.id not in node.knows:
                return (
                    f"node {node.addr} does not see node {other.addr}: open the cluster bus ports "
                    f"{node.me.bus_port} and {other.me.bus_port} between them and check cluster-announce-ip"
                )
        if stuck := [peer for peer in node.view if "handshake" in peer.flags]:
            return (
                f"node {node.addr} has an unfinished handshake with {stuck[0].addr}: open the cluster bus "
                f"port {stuck[0].bus_port} there"
            )
    return ""


def _disagreement(cluster: Cluster, nodes: Sequence[Node]) -> str:
    for node, seen in zip(nodes, told := signatures(cluster, nodes), strict=True):
        if seen != told[0]:
            return (
                f"nodes {nodes[0].addr} and {node.addr} do not agree on slots and roles: open the cluster "
                f"bus ports {nodes[0].me.bus_port} and {node.me.bus_port} between them"
            )
    return ""


def missing_links(cluster: Cluster, master_id: str | None = None) -> str:
    """Name the first replica, of one master or of any, that is not in step, or return nothing."""
    for node in cluster.up:
        if node.me.master_id and node.link != "up" and master_id in (None, node.me.master_id):
            master = cluster.by_id(node.me.master_id)
            return (
                f"the link of replica {node.addr} to its master {master.addr if master else 'unknown'} is "
                f"{node.link}: check masterauth and that the replica reaches the master's port"
            )
    return ""


def missing(cluster: Cluster, among: Sequence[Node]) -> str:
    """Name the first thing that keeps nodes that answer from being one well cluster, or return nothing.

    Nodes that are down are no reason to wait: the plan has refused those that it could not do without.
    """
    up = [node for node in among if node.problem is None]
    if what := missing_view(cluster, [node.addr for node in up]):
        return what
    for node in up:
        if node.state != "ok":
            return (
                f"node {node.addr} reports cluster_state:{node.state}: see that every node is up and "
                "reaches the others on their cluster bus ports"
            )
    return _unlinked(cluster, up) or missing_links(cluster)


def _unlinked(cluster: Cluster, nodes: Sequence[Node]) -> str:
    """Name the first two nodes whose bus link is down, or return nothing."""
    for node in nodes:
        for peer in node.view:
            if not peer.connected and cluster.by_id(peer.id):
                return (
                    f"node {node.addr} has no bus link to {cluster.peer_name(peer)}: open the cluster bus "
                    f"port {peer.bus_port} there"
                )
    return ""


def promoted(cluster: Cluster, addr: str) -> str:
    """Say what is left until everybody sees a node as a master, or return nothing."""
    node = cluster.named(addr)
    if node.problem:
        return f"node {addr} does not answer ({node.detail}): start it"
    if node.me.master_id:
        return (
            f"node {addr} is still a replica: see in its log why the others did not elect it, such as a link "
            "to its master that was down for too long"
        )
    return missing_view(cluster, ()) or missing_links(cluster, node.me.id)


def electing(cluster: Cluster) -> bool:
    """Tell whether a master with slots does not answer us, and a replica of it may be about to take over.

    The others may not have noticed yet, so what they say of it does not count. Nobody is elected in place of
    a master without an address: Redis does not watch it any more.
    """
    peers = cluster.peers.values()
    lost = [p for p in peers if p.slots and not cluster.by_id(p.id) and "noaddr" not in p.flags]
    return any(cluster.followers(peer.id) for peer in lost)


def in_motion(cluster: Cluster, patient: bool = True) -> bool:
    """Tell whether what was seen is a moment of a change that ends by itself: gossip, a load, an election."""
    if any(node.problem is Problem.LOADING for node in cluster.nodes) or electing(cluster):
        return True
    if any("handshake" in peer.flags for node in cluster.up for peer in node.view):
        return True
    islands = cluster.islands()
    if any(len(set(signatures(cluster, island))) > 1 for island in islands):
        return True
    # A node that knows nobody is in motion for a while when somebody already knows it.
    known = {peer_id for node in cluster.members for peer_id in node.knows}
    if patient and any(node.me.id in known for node in cluster.singles):
        return True
    whole = (
        len(islands) == 1
        and len(cluster.up) == len(cluster.nodes)
        and not gaps(owned(cluster.members[0].view))
    )
    return whole and not cluster.singles and any(node.state != "ok" for node in cluster.up)


def beside(cluster: Cluster) -> list[Node]:
    """Return the replicas in the zones of their masters."""
    zones = {node.me.id: node.listed.zone for node in cluster.up}
    return [n for n in cluster.up if n.me.master_id and zones.get(n.me.master_id) == n.listed.zone]


def health(cluster: Cluster, replicas: int) -> dict[str, Any]:
    """Sum up in the field's words. Coverage is counted only where nodes have met."""
    peers = cluster.peers
    formed = bool(cluster.members) and not cluster.singles
    slots = owned(cluster.members[0].view) if cluster.members else ()
    has = Counter(peer.master_id for peer in peers.values() if peer.master_id and not peer.failing)
    down = {node.addr for node in cluster.nodes if node.problem}
    down |= {cluster.peer_name(p) for p in peers.values() if p.failing and "noaddr" not in p.flags}
    out: dict[str, Any] = {
        "coverage": count(slots),
        "views_agree": not missing_view(cluster, ()),
        "open_slots": sorted({mark for peer in peers.values() for mark in peer.open_slots}),
        "down": sorted(down),
        "ghosts": sorted(peer.id for peer in peers.values() if "noaddr" in peer.flags),
        "links_down": [n.addr for n in cluster.up if n.me.master_id and n.link != "up"],
        "unlisted": sorted(
            cluster.peer_name(peer)
            for peer in peers.values()
            if not ((seat := cluster.seat(peer)) and seat.wanted)
        ),
        "replicas_short": sorted(
            cluster.peer_name(p) for p in peers.values() if p.slots and has[p.id] < replicas
        ),
        "affinity_violations": [
            f"{node.addr} is in the zone of its master, {node.listed.zone}" for node in beside(cluster)
        ],
    }
    if not formed:
        state = "absent"
    elif out["coverage"] < SLOTS or any(node.state != "ok" for node in cluster.up):
        state = "failed"
    elif not out["views_agree"] or any(out[fault] for fault in FAULTS):
        state = "degraded"
    else:
        state = "ok"
    return {"state": state, **out}


FAULTS = {
    "down": "Down: {}.",
    "ghosts": "Members without an address, which forget_failed=true forgets: {}.",
    "links_down": "Replicas whose link to their master is down: {}.",
    "replicas_short": "Masters with fewer live replicas than wanted: {}.",
    "affinity_violations": "Replicas beside their master: {}.",
    "open_slots": "Slots on the move, perhaps by somebody else: {}.",
}


def warnings(sick: dict[str, Any]) -> list[str]:
    """Say what is wrong with a cluster that needs no change, in sentences."""
    return [words.format(", ".join(sick[fault])) for fault, words in FAULTS.items() if sick[fault]]
