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
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.moving import printable
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import text

PROBLEMS = {
    Problem.UNRESOLVED: "The host name of node {names} resolves to nothing: correct it or list the IP "
    "address.",
    Problem.AUTH: "AUTH_FAIL on node {names} ({detail}): correct login_user and login_password.",
    Problem.TLS: "TLS with node {names} failed ({detail}): check ca_certs, and that the certificate of the "
    "node is for the host that is listed.",
    Problem.PLAIN: "Node {names} is not in cluster mode: set cluster-enabled yes there and restart it.",
    Problem.LOADING: "Node {names} is still loading its data: run again when it has, or raise join_timeout.",
    Problem.OTHER: "Node {names} does not answer as a cluster node should ({detail}): check its version "
    "and ACL.",
}


def named(nodes: Iterable[Node]) -> str:
    return ", ".join(node.addr for node in nodes)


def refuse_problems(nodes: Iterable[Node]) -> None:
    nodes = list(nodes)
    for problem, words in PROBLEMS.items():
        if hit := [node for node in nodes if node.problem is problem]:
            raise Refusal(words.format(names=named(hit), detail=hit[0].detail), nodes=[n.addr for n in hit])


def unreachable(node: Node) -> Refusal:
    return Refusal(
        f"Node {node.addr} cannot be reached ({node.detail}): start it, or open its port from here.",
        node=node.addr,
    )


def refuse_silence(cluster: Cluster) -> None:
    """Refuse when no node answers, for want of anything to say."""
    if not cluster.up:
        refuse_problems(cluster.nodes)
        raise unreachable(cluster.nodes[0])


def refuse_unusable(cluster: Cluster, desired: Desired) -> None:
    """Refuse what is wrong with a node by itself."""
    refuse_problems(cluster.listed if desired.unlisted == "ignore" else cluster.nodes)
    _refuse_twice((((node.ip, node.listed.port), node) for node in cluster.nodes), "are the same address")
    _refuse_twice(((node.me.id, node) for node in cluster.up), "answer with the same node id")
    loopback = [node for node in cluster.listed if ipaddress.ip_address(node.ip).is_loopback]
    if loopback and len(loopback) < len(cluster.listed):
        raise Refusal(
            f"Node {loopback[0].addr} is {loopback[0].ip} here, which the other nodes cannot reach: list an "
            "address that every node can use."
        )
    if cluster.moving:
        raise Refusal(
            "A reshard is in progress: slots on the move changed while they were looked at; let it end, "
            "then run again."
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
    if len(islands) > 1 and not _one_cluster(islands):
        stranger = islands[1][0]
        raise Refusal(
            f"Node {stranger.addr} belongs to another cluster than node {islands[0][0].addr}: take it out "
            "of nodes, or, if its cluster is no longer wanted, run CLUSTER RESET HARD on it.",
            node=stranger.addr,
        )
    known = sorted(unlisted(cluster), key=lambda peer: peer.addr)
    if known and cluster.singles:
        _refuse_outnumbered(cluster, desired, known)
    if desired.unlisted == "fail":
        refuse_unlisted([peer for peer in known if not may_forget(cluster, desired, peer)])


def _one_cluster(islands: list[tuple[Node, ...]]) -> bool:
    """Tell whether only one island owns anything, and the others consist of listed nodes alone."""
    holding = [island for island in islands if any(node.me.slots or node.keys for node in island)]
    if len(holding) != 1:
        return False
    others = [node for island in islands if island is not holding[0] for node in island]
    ids = {node.me.id for node in others if node.wanted}
    return all(node.wanted and node.knows <= ids for node in others)


def unlisted(cluster: Cluster) -> list[Peer]:
    """Members that are not listed, whether they answer or not."""
    return [p for p in cluster.peers.values() if not ((seat := cluster.seat(p)) and seat.wanted)]


def vanished(cluster: Cluster, peer: Peer) -> bool:
    """Tell whether a member cannot come back, because its address is another node's, or nobody's."""
    if cluster.by_id(peer.id):
        return False
    return "noaddr" in peer.flags or any((n.ip, n.listed.port) == (peer.ip, peer.port) for n in cluster.up)


def may_forget(cluster: Cluster, desired: Desired, peer: Peer) -> bool:
    """Tell whether the user lets go of a member that does not answer."""
    if cluster.by_id(peer.id):
        return False
    if vanished(cluster, peer):
        wiped = desired.replace_wiped and any(node.wanted for node in cluster.singles)
        return desired.forget_failed or wiped or desired.unlisted == "remove"
    return desired.forget_failed


def refuse_unlisted(strangers: list[Peer]) -> None:
    for peer in strangers:
        down = ", down" if peer.failing else ""
        remedy = "set forget_failed=true" if peer.failing else "set unlisted=remove"
        raise Refusal(
            f"Member {peer.addr} (id {peer.id}{down}) is not listed in nodes: list it, {remedy} to take it "
            "out of the cluster, or set unlisted=ignore.",
            unlisted=[peer.addr for peer in strangers],
        )


def _refuse_outnumbered(cluster: Cluster, desired: Desired, known: list[Peer]) -> None:
    """Refuse to join empty nodes to what looks like somebody else's cluster."""
    listed = [node for node in cluster.members if node.wanted]
    alive = [peer for peer in known if not vanished(cluster, peer)]
    if not alive or (desired.unlisted != "fail" and len(alive) < len(listed)):
        return
    if desired.unlisted == "fail" and all(may_forget(cluster, desired, peer) for peer in alive):
        return
    host = next(node for node in cluster.members if alive[0].id in node.knows)
    raise Refusal(
        f"Node {host.addr} belongs to another cluster: it knows {alive[0].addr}, which is not listed, "
        f"while {cluster.singles[0].addr} is in no cluster; list the nodes of one cluster only, or, to "
        "replace members, set unlisted=remove and replace fewer than half of them at a time.",
        node=host.addr,
        unlisted=[peer.addr for peer in alive],
    )


def refuse_wiped(cluster: Cluster, desired: Desired) -> None:
    """Refuse a listed node that has lost its data, unless it is to be taken for a new one."""
    for node in cluster.singles:
        for peer in cluster.peers.values():
            # Once its successor at the address has answered, Redis shows the lost node without an address.
            same = (peer.ip, peer.port) == (node.ip, node.listed.port) and peer.id != node.me.id
            ghost = "noaddr" in peer.flags and not may_forget(cluster, desired, peer)
            if desired.replace_wiped or not (same or ghost):
                continue
            raise Refusal(
                f"Node {node.addr} is alone, but the cluster knows another node, {peer.id}, which was most "
                "likely this one before its data was wiped: set replace_wiped=true to take it in as a new "
                "one.",
                node=node.addr,
                known_id=peer.id,
            )


def refuse_down(cluster: Cluster, desired: Desired) -> None:
    """Refuse when the cluster cannot do without a node that does not answer."""
    _refuse_minority(cluster)
    for peer in cluster.peers.values():
        if peer.slots and not cluster.by_id(peer.id):
            _refuse_lost(cluster, desired, peer)
    for node in cluster.nodes:
        if node.problem is not Problem.UNREACHABLE:
            continue
        known = cluster.peer_of(node)
        views = [p for n in cluster.up for p in n.view if known and p.id == known.id]
        # A link counts as connected from its first packet on, so it is no proof while the peer seems to fail.
        lost = known and not any(p.connected and not p.failing for p in views)
        if node.wanted and not known:
            raise unreachable(node)
        if not lost and (node.wanted or desired.unlisted == "remove"):
            raise Refusal(
                f"Node {node.addr} cannot be reached ({node.detail}), although other nodes reach it: open "
                "its port from here, or start it.",
                node=node.addr,
            )


def _refuse_lost(cluster: Cluster, desired: Desired, peer: Peer) -> None:
    """Refuse when a master with slots does not answer, unless its data is given up, or safe elsewhere."""
    name, slots = cluster.peer_name(peer), text(peer.slots)
    if vanished(cluster, peer):
        if cluster.followers(peer.id) and may_forget(cluster, desired, peer):
            return
        if not desired.accept_data_loss:
            raise Refusal(
                f"Member {name} owns slots {slots} and has lost its data, and no replica of it is left: "
                "restore its data, or set accept_data_loss=true to give these slots to others, empty.",
                node=name,
            )
        return
    seat = cluster.seat(peer)
    if seat and not seat.wanted and desired.unlisted == "ignore":
        return
    if cluster.followers(peer.id):
        follower = cluster.followers(peer.id)[0]
        raise Refusal(
            f"Member {name} is down and owns slots {slots}, and its replica {follower.addr} has not taken "
            "over: start it, or promote the replica with redis_cluster_failover and mode=takeover.",
            node=name,
        )
    if (seat and seat.wanted) or not (desired.accept_data_loss and desired.forget_failed):
        raise Refusal(
            f"Member {name} is down and owns slots {slots}, and no replica of it is left: start it, or, if "
            "its data is lost for good, take it out of nodes and set forget_failed=true and "
            "accept_data_loss=true.",
            node=name,
        )


def _refuse_minority(cluster: Cluster) -> None:
    """Refuse to act on what a minority of the masters believes."""
    owners = [peer for peer in cluster.peers.values() if peer.slots]
    here = [peer for peer in owners if cluster.by_id(peer.id)]
    away = [peer for peer in owners if not cluster.by_id(peer.id) and not vanished(cluster, peer)]
    if away and len(here) <= len(away):
        raise Refusal(
            f"Only {len(here)} of {len(here) + len(away)} masters answer, which is no majority: start "
            f"{', '.join(cluster.peer_name(peer) for peer in away)}.",
            down=[cluster.peer_name(peer) for peer in away],
        )


def refuse_resurrection(cluster: Cluster, leaving: str) -> None:
    """Refuse to forget a member while one is down that would bring it back."""
    if down := [node for node in cluster.listed if node.problem]:
        raise Refusal(
            f"Member {leaving} cannot be taken out while {down[0].addr} is down, which would tell the "
            f"others about it again when it returns: start {down[0].addr} first, or take it out of nodes "
            "too.",
            node=down[0].addr,
        )


def refuse_disagreement(cluster: Cluster) -> None:
    if what := missing_view(cluster, ()):
        raise Refusal(f"Nodes do not see the same cluster: {what}, then run again.")


def refuse_clashes(cluster: Cluster, desired: Desired) -> None:
    """Refuse open slots that must not, or cannot, be repaired."""
    for clash in cluster.clashes:
        raise Refusal(
            f"Slot {clash.slot} is on the move, and {clash.holder} holds {printable(clash.keys)} with "
            f"another value than its owner {clash.owner}: delete the wrong copy (on {clash.holder} as "
            "ASKING, then DEL), then run again.",
            slot=clash.slot,
            keys=[printable([key]) for key in clash.keys],
        )
    marked = [node for node in cluster.up if node.me.open_slots]
    if marked and not desired.repair:
        raise Refusal(
            f"Node {marked[0].addr} has slots on the move ({' '.join(marked[0].me.open_slots)}): let that "
            "end, or set open_slots=repair.",
            node=marked[0].addr,
        )


def refuse_keys(nodes: Iterable[Node]) -> None:
    for node in nodes:
        if node.keys:
            raise Refusal(
                f"Node {node.addr} holds {node.keys} keys: run FLUSHALL on it if they are not needed, or "
                "list an empty node.",
                node=node.addr,
                keys=node.keys,
            )


def refuse_unprepared(cluster: Cluster, nodes: Iterable[Node]) -> None:
    """Refuse, before anything changes, what would leave a cluster half joined."""
    nodes = list(nodes)
    for node in nodes:
        if node.announce_ip and node.announce_ip != node.ip:
            raise Refusal(
                f"Node {node.addr} is {hostport(node.ip, node.listed.port)} here but has "
                f"cluster-announce-ip {node.announce_ip}: correct that setting, or list the announced "
                "address.",
                node=node.addr,
            )
    locked = [node for node in cluster.up if node.has_password]
    for node in nodes:
        if locked and node.has_masterauth is False:
            raise Refusal(
                f"Node {node.addr} has no masterauth while {locked[0].addr} has requirepass: set "
                "masterauth (and masteruser with ACLs) on every node, for any of them may become a "
                "replica.",
                node=node.addr,
            )
