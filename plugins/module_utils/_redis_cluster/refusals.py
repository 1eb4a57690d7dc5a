# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module will not touch, said so that a person knows which node it is and what to do about it."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Hashable, Iterable

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import missing_view
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Desired,
    Node,
    Peer,
    Problem,
    hostport,
    overlap,
    text,
)

PROBLEMS = {
    Problem.UNRESOLVED: "The host name of node {names} resolves to nothing: correct it or list the IP "
    "address.",
    Problem.AUTH: "AUTH_FAIL on node {names} ({detail}): correct login_user and login_password.",
    Problem.PLAIN: "Node {names} is not in cluster mode: set cluster-enabled yes there and restart it.",
    Problem.LOADING: "Node {names} is still loading its data: run again when it has, or raise join_timeout.",
    Problem.OTHER: "Node {names} does not answer as a cluster node should ({detail}): check its version "
    "and ACL.",
}


def named(nodes: Iterable[Node]) -> str:
    return ", ".join(node.addr for node in nodes)


def refuse_unusable(cluster: Cluster) -> None:
    """Refuse what is wrong with a node by itself."""
    for problem, words in PROBLEMS.items():
        if hit := [node for node in cluster.nodes if node.problem is problem]:
            raise Refusal(words.format(names=named(hit), detail=hit[0].detail), nodes=[n.addr for n in hit])
    _refuse_twice((((node.ip, node.listed.port), node) for node in cluster.nodes), "are the same address")
    _refuse_twice(((node.me.id, node) for node in cluster.up), "answer with the same node id")
    loopback = [node for node in cluster.nodes if ipaddress.ip_address(node.ip).is_loopback]
    if loopback and len(loopback) < len(cluster.nodes):
        raise Refusal(
            f"Node {loopback[0].addr} is {loopback[0].ip} here, which the other nodes cannot reach: list an "
            "address that every node can use."
        )


def _refuse_twice(keyed: Iterable[tuple[Hashable, Node]], how: str) -> None:
    groups: dict[Hashable, list[Node]] = defaultdict(list)
    for key, node in keyed:
        groups[key].append(node)
    for group in groups.values():
        if len(group) > 1:
            raise Refusal(f"Nodes {named(group)} {how}: list every node once.", nodes=[n.addr for n in group])


def refuse_foreign(cluster: Cluster, desired: Desired) -> None:
    """Refuse whatever is, or may be, part of another cluster: two that meet are one for ever."""
    islands = sorted(cluster.islands(), key=lambda island: (-len(island), island[0].order))
    if len(islands) > 1:
        stranger = islands[1][0]
        raise Refusal(
            f"Node {stranger.addr} belongs to another cluster than node {islands[0][0].addr}: take it out "
            "of nodes, or, if its cluster is no longer wanted, run CLUSTER RESET HARD on it.",
            node=stranger.addr,
        )
    peers = cluster.truth()
    for node in cluster.singles:
        for peer in peers.values():
            # Once its successor at the address has answered, Redis shows the lost node without an address.
            same = (peer.ip, peer.port) == (node.ip, node.listed.port) and peer.id != node.me.id
            if same or "noaddr" in peer.flags:
                raise Refusal(
                    f"Node {node.addr} is alone, but the cluster knows another node, {peer.id}, which was "
                    "most likely this one before its data was wiped: run CLUSTER FORGET with that id on "
                    "every member, then CLUSTER MEET and REPLICATE on this one; replacing a node is not "
                    "in this version.",
                    node=node.addr,
                    known_id=peer.id,
                )
    listed = {node.addr for node in cluster.nodes}
    if strangers := [peer for peer in peers.values() if cluster.peer_name(peer) not in listed]:
        _refuse_strangers(cluster, desired, sorted(strangers, key=lambda peer: peer.addr))


def _refuse_strangers(cluster: Cluster, desired: Desired, strangers: list[Peer]) -> None:
    first = strangers[0]
    if cluster.singles:
        host = next(node for node in cluster.members if first.id in node.knows)
        raise Refusal(
            f"Node {host.addr} belongs to another cluster: it knows {first.addr}, which is not listed, "
            f"while {cluster.singles[0].addr} is in no cluster; list the nodes of one cluster only.",
            node=host.addr,
            unlisted=[peer.addr for peer in strangers],
        )
    if not desired.ignore_unlisted:
        raise Refusal(
            f"Member {first.addr} (id {first.id}{', down' if first.failing else ''}) is not listed in "
            "nodes: list it, take it out of the cluster (CLUSTER FORGET on every member), or set "
            "unlisted=ignore.",
            unlisted=[peer.addr for peer in strangers],
        )


def refuse_down(cluster: Cluster, desired: Desired) -> bool:
    """Tell whether members are down that the cluster does without; refuse when it cannot do without them."""
    dead = [node for node in cluster.nodes if node.problem is Problem.UNREACHABLE]
    peers = cluster.truth()
    unfinished = any(node.alone or not (node.me.slots or node.me.master_id) for node in cluster.up)
    for peer in peers.values():
        if peer.slots and peer.failing:
            raise Refusal(
                f"Member {cluster.peer_name(peer)} is down and owns slots {text(peer.slots)}: start it, or "
                "wait until a replica has taken over.",
                node=cluster.peer_name(peer),
            )
    for node in dead:
        known = next((p for p in peers.values() if (p.ip, p.port) == (node.ip, node.listed.port)), None)
        lost = known and not any(p.connected for n in cluster.up for p in n.view if p.id == known.id)
        masters = sum(bool(peer.slots) for peer in peers.values())
        if not known or known.slots or not lost or unfinished or masters != desired.masters:
            raise Refusal(
                f"Node {node.addr} cannot be reached ({node.detail}): start it, or open its port from here.",
                node=node.addr,
            )
    return bool(dead)


def refuse_disagreement(cluster: Cluster) -> None:
    if what := missing_view(cluster, ()):
        raise Refusal(f"The members do not see the same cluster: {what}, then run again.")


def refuse_keys(nodes: Iterable[Node]) -> None:
    for node in nodes:
        if node.keys:
            raise Refusal(
                f"Node {node.addr} holds {node.keys} keys: run FLUSHALL on it if they are not needed, or "
                "list an empty node.",
                node=node.addr,
                keys=node.keys,
            )


def refuse_stale_slots(cluster: Cluster, wanted: list[tuple[tuple[int, int], ...]]) -> None:
    """While slots lack an owner, owners must own what a create gave them and nothing else."""
    owners = [node for node in cluster.up if node.me.slots]
    for node in owners:
        twins = [other for other in owners if other != node and overlap(other.me.slots, node.me.slots)]
        # The one that is in the cluster is right; the stale one is alone.
        if twins and node.alone:
            raise Refusal(
                f"Node {node.addr} is in no cluster but owns slots {text(node.me.slots)}, as does "
                f"{twins[0].addr}: run CLUSTER RESET HARD on the one that is not needed.",
                node=node.addr,
            )
        if (node.alone or not cluster.members) and node.me.slots not in wanted:
            raise Refusal(
                f"Node {node.addr} owns slots {text(node.me.slots)} from an earlier use: run CLUSTER RESET "
                "HARD on it if they are not needed.",
                node=node.addr,
            )


def refuse_unprepared(cluster: Cluster) -> None:
    """Refuse, before anything changes, what would leave a cluster half joined."""
    for node in cluster.up:
        if marks := node.me.open_slots:
            raise Refusal(
                f"Node {node.addr} has slots on the move ({' '.join(marks)}): let that end, then run again."
            )
        if node.announce_ip and node.announce_ip != node.ip:
            raise Refusal(
                f"Node {node.addr} is {hostport(node.ip, node.listed.port)} here but has "
                f"cluster-announce-ip {node.announce_ip}: correct that setting, or list the announced "
                "address.",
                node=node.addr,
            )
    locked = [node for node in cluster.up if node.has_password]
    for node in cluster.up:
        if locked and node.has_masterauth is False:
            raise Refusal(
                f"Node {node.addr} has no masterauth while {locked[0].addr} has requirepass: set "
                "masterauth (and masteruser with ACLs) on every node, for any of them may become a "
                "replica.",
                node=node.addr,
            )
