# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a cluster is, what keeps it from being well, and how it is reported."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Outcome, diff
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    SLOTS,
    Cluster,
    Desired,
    Node,
    Peer,
    Problem,
    count,
    gaps,
    owned,
    text,
)


def signature(node: Node) -> frozenset[tuple[str, str, str | None]]:
    """Who owns what and who follows whom, as the node sees it: equal on nodes that agree."""
    return frozenset(
        (p.id, text(p.slots), p.master_id) for p in node.view if not p.flags & {"handshake", "noaddr"}
    )


def missing_view(cluster: Cluster, among: Collection[str] | None = None) -> str:
    """Name the first link over which nodes do not (yet) see the same cluster, or return nothing."""
    nodes = [n for n in cluster.nodes if among is None or n.addr in among or (n.view and not n.alone)]
    if down := [node for node in nodes if node.problem]:
        return f"node {down[0].addr} does not answer ({down[0].detail}): start it"
    for node in nodes:
        for other in nodes:
            if other.me.id not in node.knows:
                return (
                    f"node {node.addr} does not see node {other.addr}: open the cluster bus ports "
                    f"{node.me.bus_port} and {other.me.bus_port} between them and check cluster-announce-ip"
                )
    for node in nodes:
        if stuck := [peer for peer in node.view if "handshake" in peer.flags]:
            return (
                f"node {node.addr} has an unfinished handshake with {stuck[0].addr}: open the cluster bus "
                f"port {stuck[0].bus_port} there"
            )
        if signature(node) != signature(nodes[0]):
            return (
                f"nodes {nodes[0].addr} and {node.addr} do not agree on slots and roles: open the cluster "
                f"bus ports {nodes[0].me.bus_port} and {node.me.bus_port} between them"
            )
    return ""


def missing(cluster: Cluster) -> str:
    """Name the first thing that keeps the cluster of all listed nodes from being well, or return nothing."""
    if what := missing_view(cluster, [node.addr for node in cluster.nodes]):
        return what
    for node in cluster.nodes:
        if node.state != "ok":
            return (
                f"node {node.addr} reports cluster_state:{node.state}: see that every node is up and "
                "reaches the others on their cluster bus ports"
            )
    for node in cluster.nodes:
        if node.me.master_id and node.link != "up":
            master = cluster.by_id(node.me.master_id)
            return (
                f"the link of replica {node.addr} to its master {master.addr if master else 'unknown'} is "
                f"{node.link}: check masterauth and that the replica reaches the master's port"
            )
    return ""


def in_motion(cluster: Cluster) -> bool:
    """Tell whether what was seen is a moment of a change that ends by itself: gossip, a load, an election."""
    if any(node.problem is Problem.LOADING for node in cluster.nodes):
        return True
    if any("handshake" in peer.flags for node in cluster.up for peer in node.view):
        return True
    islands = cluster.islands()
    if any(signature(node) != signature(island[0]) for island in islands for node in island):
        return True
    # A node that knows nobody is in motion while somebody already knows it.
    known = {peer_id for node in cluster.members for peer_id in node.knows}
    if any(node.me.id in known for node in cluster.singles):
        return True
    whole = (
        len(islands) == 1
        and len(cluster.up) == len(cluster.nodes)
        and not gaps(owned(cluster.members[0].view))
    )
    return whole and not cluster.singles and any(node.state != "ok" for node in cluster.up)


def replicas_of(peers: dict[str, Peer]) -> Counter[str]:
    return Counter(peer.master_id for peer in peers.values() if peer.master_id and not peer.failing)


def health(cluster: Cluster, desired: Desired) -> dict[str, Any]:
    """Sum up in the field's words. Coverage is counted only where nodes have met."""
    peers = cluster.truth()
    formed = bool(cluster.members) and not cluster.singles
    slots = owned(cluster.members[0].view) if cluster.members else ()
    zones = {node.me.id: node.listed.zone for node in cluster.up}
    has = replicas_of(peers)
    down = sorted(
        {node.addr for node in cluster.nodes if node.problem}
        | {cluster.peer_name(peer) for peer in peers.values() if peer.failing}
    )
    out: dict[str, Any] = {
        "coverage": count(slots),
        "views_agree": not missing_view(cluster, ()),
        "open_slots": sorted({mark for peer in peers.values() for mark in peer.open_slots}),
        "down": down,
        "links_down": [n.addr for n in cluster.up if n.me.master_id and n.link != "up"],
        "unlisted": sorted(
            peer.addr
            for peer in peers.values()
            if cluster.peer_name(peer) not in {n.addr for n in cluster.nodes}
        ),
        "replicas_short": sorted(
            cluster.peer_name(p) for p in peers.values() if p.slots and has[p.id] < desired.replicas
        ),
        "affinity_violations": [
            f"{node.addr} is in the zone of its master, {node.listed.zone}"
            for node in cluster.up
            if node.me.master_id and zones.get(node.me.master_id) == node.listed.zone
        ],
    }
    faults = ("open_slots", "down", "links_down", "replicas_short", "affinity_violations")
    if not formed:
        state = "absent"
    elif out["coverage"] < SLOTS or any(node.state != "ok" for node in cluster.up):
        state = "failed"
    elif not out["views_agree"] or any(out[fault] for fault in faults):
        state = "degraded"
    else:
        state = "ok"
    return {"state": state, **out}


def warnings(sick: dict[str, Any]) -> list[str]:
    """Say what is wrong with a cluster that needs no change, in sentences."""
    words = {
        "down": "Down: {}.",
        "links_down": "Replicas whose link to their master is down: {}.",
        "replicas_short": "Masters with fewer live replicas than wanted: {}.",
        "affinity_violations": "Replicas beside their master: {}.",
        "open_slots": "Slots on the move, perhaps by somebody else: {}.",
    }
    return [words[key].format(", ".join(sick[key])) for key in words if sick[key]]


def report(outcome: Outcome[Cluster], desired: Desired) -> dict[str, Any]:
    """Return what the module returns."""
    before, after = summary(outcome.before), summary(outcome.after)
    return {
        "changed": outcome.changed,
        "actions": list(outcome.actions),
        "before": before,
        "after": after,
        "diff": diff(before, after),
        "nodes": rows(outcome.after),
        "health": health(outcome.after, desired),
    }


def summary(cluster: Cluster) -> dict[str, Any]:
    """Return what --diff shows: one entry a listed node, without ids, epochs and times."""
    peers = cluster.truth()
    out: dict[str, dict[str, Any]] = {}
    for node in cluster.nodes:
        if node.problem:
            out[node.addr] = {"role": "down"}
            continue
        me, master = node.me, peers.get(node.me.master_id or "")
        out[node.addr] = {
            "role": "replica" if master else "master" if me.slots else "empty",
            "slots": text(me.slots),
            "replica_of": cluster.peer_name(master) if master else None,
            "knows": len(node.knows) - 1,
        }
    return out


def rows(cluster: Cluster) -> list[dict[str, Any]]:
    """Return every node, listed or not, with all that was seen of it."""
    peers = cluster.truth()
    out = []
    for node in cluster.nodes:
        known = (p for p in peers.values() if (p.ip, p.port) == (node.ip, node.listed.port))
        peer = node.me if node.problem is None else next(known, None)
        out.append(_row(cluster, node.addr, node, peer))
    seen = {row["id"] for row in out}
    return out + [_row(cluster, p.addr, None, p) for _id, p in sorted(peers.items()) if p.id not in seen]


def _row(cluster: Cluster, addr: str, node: Node | None, peer: Peer | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": None,
        "addr": addr,
        "zone": node.listed.zone if node else None,
        "role": "unknown",
    }
    rest: dict[str, Any] = {
        "master_id": None,
        "slots": "",
        "flags": [],
        "link": None,
        "master_link_status": None,
    }
    if peer is None:
        return row | rest
    seen = [p.connected for n in cluster.members for p in n.view if p.id == peer.id and n.me.id != peer.id]
    answers = node is not None and node.problem is None
    return row | {
        "id": peer.id,
        "role": "replica" if peer.master_id else "master",
        "master_id": peer.master_id,
        "slots": text(peer.slots),
        "flags": sorted(peer.flags - {"myself"}),
        "link": ("connected" if all(seen) else "disconnected") if seen else None,
        "master_link_status": node.link if node and answers and peer.master_id else None,
    }
