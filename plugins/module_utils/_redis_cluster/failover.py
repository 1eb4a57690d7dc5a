# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a replica can be promoted. Pure."""

from __future__ import annotations

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster import refusals
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import Cluster, Node
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.steps import Promote, Step


def plan(cluster: Cluster, addr: str, mode: str) -> tuple[Step, ...]:
    """Return the step that makes a node master of its shard; none when it is."""
    node = cluster.named(addr)
    refusals.refuse_problems([node])
    if node.problem:
        raise refusals.unreachable(node)
    if node.me.slots:
        return ()
    if not node.me.master_id:
        raise Refusal(
            f"Node {addr} is no replica and owns no slots: give the host and port of a replica of the shard.",
            node=addr,
        )
    if mode == "graceful":
        _refuse_without_master(cluster, node)
    elif mode == "force":
        _refuse_without_majority(cluster, node)
    return (Promote(addr, cluster.peer_name(cluster.peers[node.me.master_id]), mode),)


def _refuse_without_master(cluster: Cluster, node: Node) -> None:
    master = cluster.by_id(node.me.master_id)
    if master and node.link == "up":
        return
    name = cluster.peer_name(cluster.peers[node.me.master_id or ""])
    why = "its link to it is down" if master else "it does not answer"
    raise Refusal(
        f"Node {node.addr} cannot take over from its master {name}, because {why}: wait until the link is "
        "up, or set mode=force, which loses what the master has not sent yet.",
        node=node.addr,
    )


def _refuse_without_majority(cluster: Cluster, node: Node) -> None:
    owners = [peer for peer in cluster.peers.values() if peer.slots]
    here = [peer for peer in owners if cluster.by_id(peer.id)]
    if 2 * len(here) <= len(owners):
        raise Refusal(
            f"Node {node.addr} cannot be elected, because only {len(here)} of {len(owners)} masters answer: "
            "start others, or, when they are lost for good, set mode=takeover.",
            node=node.addr,
        )
