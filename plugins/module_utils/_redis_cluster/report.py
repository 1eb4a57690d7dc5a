# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a cluster, and what was done to it, is told to the user."""

from __future__ import annotations

from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Outcome, diff
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import health
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Node,
    Peer,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import text


def report(outcome: Outcome[Cluster], replicas: int) -> dict[str, Any]:
    """Return what the module returns."""
    before, after = summary(outcome.before), summary(outcome.after)
    return {
        "changed": outcome.changed,
        "actions": list(outcome.actions),
        "before": before,
        "after": after,
        "diff": diff(before, after),
        "nodes": rows(outcome.after),
        "health": health(outcome.after, replicas),
    }


def summary(cluster: Cluster) -> dict[str, Any]:
    """Return what --diff shows: one entry a node, without ids, epochs and times."""
    peers = cluster.peers
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
    peers = cluster.peers
    out = [_row(cluster, node.addr, node, cluster.peer_of(node)) for node in cluster.nodes]
    seen = {row["id"] for row in out}
    return out + [_row(cluster, p.addr, None, p) for _id, p in sorted(peers.items()) if p.id not in seen]


def _row(cluster: Cluster, addr: str, node: Node | None, peer: Peer | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "id": None,
        "addr": addr,
        "zone": node.listed.zone if node and node.wanted else None,
        "role": "unknown",
    }
    rest: dict[str, Any] = {
        "master_id": None,
        "slots": "",
        "flags": [],
        "link": None,
        "master_link_status": None,
        "keys": None,
        "problem": node.problem.value if node and node.problem else None,
    }
    if peer is None:
        return row | rest
    seen = [p.connected for n in cluster.members for p in n.view if p.id == peer.id and n.me.id != peer.id]
    answers = node is not None and node.problem is None
    return (
        row
        | rest
        | {
            "id": peer.id,
            "role": "replica" if peer.master_id else "master",
            "master_id": peer.master_id,
            "slots": text(peer.slots),
            "flags": sorted(peer.flags - {"myself"}),
            "link": ("connected" if all(seen) else "disconnected") if seen else None,
            "master_link_status": node.link if node and answers and peer.master_id else None,
            "keys": node.keys if node and answers else None,
        }
    )
