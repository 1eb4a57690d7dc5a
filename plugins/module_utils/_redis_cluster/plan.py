# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was seen and what is wanted to the steps that are left, or a refusal. Pure."""

from __future__ import annotations

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster import refusals
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.layout import Layout, slices
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Desired,
    Node,
    gaps,
    owned,
    text,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.steps import (
    AddSlots,
    Join,
    Replicate,
    SetEpoch,
    Step,
)


def plan(cluster: Cluster, desired: Desired) -> tuple[Step, ...]:
    """Return the steps from the state that was seen to the shape that is wanted."""
    desired.check()
    refusals.refuse_unusable(cluster)
    refusals.refuse_foreign(cluster, desired)
    down = refusals.refuse_down(cluster, desired)
    refusals.refuse_disagreement(cluster)
    refusals.refuse_keys(cluster.singles)
    refusals.refuse_stale_slots(cluster, slices(desired.masters))
    refuse_shape(cluster, desired)
    if down:
        return ()  # the cluster does without these members: there is nothing to do but to say so
    steps = formation(cluster, desired)
    if steps:
        refusals.refuse_unprepared(cluster)
    else:
        refuse_unfit(cluster, desired)
    return steps


def refuse_shape(cluster: Cluster, desired: Desired) -> None:
    """Refuse a cluster of another shape: this version forms clusters, and does not re-form them."""
    peers = cluster.truth()
    owners = [peer for peer in peers.values() if peer.slots]
    unlisted = len(peers) > len(cluster.nodes)
    followed = any(peer.master_id for peer in peers.values())
    if followed and cluster.singles:
        raise Refusal(
            f"Node {cluster.singles[0].addr} is not a member of the cluster of {cluster.members[0].addr}: "
            "adding nodes to a formed cluster is not in this version; take it out of nodes."
        )
    for peer in peers.values():
        master = peers.get(peer.master_id or "")
        if peer.master_id and (master is None or not master.slots):
            raise Refusal(
                f"Replica {cluster.peer_name(peer)} follows "
                f"{cluster.peer_name(master) if master else 'nobody'}, which owns no slots: run CLUSTER "
                "REPLICATE with the id of a master on it."
            )
    holes = gaps(owned(owners))
    if holes and followed:
        raise Refusal(
            f"Slots {text(holes)} have no owner in the cluster of {cluster.members[0].addr}: find out why, "
            "then give them to a master with CLUSTER ADDSLOTSRANGE."
        )
    wanted = slices(desired.masters)
    for peer in owners:
        if holes and peer.slots not in wanted:
            raise Refusal(
                f"Node {cluster.peer_name(peer)} owns slots {text(peer.slots)} and slots {text(holes)} have "
                f"no owner, which no create of {desired.masters} masters leaves behind: run CLUSTER RESET "
                "HARD on every node if the cluster is not needed, or complete it by hand."
            )
    if not holes and not unlisted and len(owners) != desired.masters:
        raise Refusal(
            f"The cluster of {cluster.peer_name(owners[0])} has {len(owners)} masters with slots, while "
            f"{len(desired.nodes)} nodes with replicas={desired.replicas} make {desired.masters}: adding or "
            "removing nodes is not in this version; list the nodes and replicas that it has."
        )


def formation(cluster: Cluster, desired: Desired) -> tuple[Step, ...]:
    """What is left to do of a create: slots, epochs, join, replicas."""
    if cluster.members and not cluster.singles and len(cluster.truth()) > len(cluster.nodes):
        return ()  # unlisted=ignore leaves such a cluster as it is
    layout = Layout(
        zones={node.addr: node.listed.zone for node in cluster.nodes},
        masters=desired.masters,
        replicas=desired.replicas,
        strict=desired.require_zones,
    )
    giving, masters = _slots(cluster, layout)
    return (*giving, *_epochs(cluster), *_join(cluster), *_replicas(cluster, layout, masters))


def _free(cluster: Cluster) -> list[Node]:
    return [node for node in cluster.nodes if not node.me.slots and not node.me.master_id]


def _slots(cluster: Cluster, layout: Layout) -> tuple[list[AddSlots], list[str]]:
    owners = sorted((node for node in cluster.nodes if node.me.slots), key=lambda node: node.me.slots)
    if not gaps(owned(node.me for node in owners)):
        return [], [node.addr for node in owners]
    masters = {node.me.slots: node.addr for node in owners}
    steps = []
    for share in slices(layout.masters):
        if share in masters:
            continue
        free = [node.addr for node in _free(cluster) if node.addr not in masters.values()]
        name = layout.next_master(list(masters.values()), free)
        if name is None:
            raise _crowded(layout)
        masters[share] = name
        steps.append(AddSlots(name, share))
    return steps, [masters[share] for share in sorted(masters)]


def _epochs(cluster: Cluster) -> list[SetEpoch]:
    """Redis takes an epoch only from a node that knows no other; those that met sort it out themselves."""
    return [
        SetEpoch(node.addr, number)
        for number, node in enumerate(cluster.nodes, start=1)
        if node.alone and node.me.epoch == 0
    ]


def _join(cluster: Cluster) -> list[Join]:
    if not cluster.singles:
        return []
    seed = (cluster.members or cluster.singles)[0]
    guests = [node for node in cluster.singles if node != seed]
    return [Join(seed.addr, tuple((n.addr, n.ip, n.listed.port, n.me.bus_port) for n in guests))]


def _replicas(cluster: Cluster, layout: Layout, masters: list[str]) -> list[Replicate]:
    sets: dict[str, list[str]] = {name: [] for name in masters}
    for node in cluster.nodes:
        master = cluster.by_id(node.me.master_id)
        if master and master.addr in sets:
            sets[master.addr].append(node.addr)
    free = [node.addr for node in _free(cluster) if node.addr not in masters]
    refusals.refuse_keys(cluster.named(name) for name in free)
    steps = []
    while free:
        pair = layout.next_replica(sets, free)
        if pair is None:
            raise _crowded(layout)
        name, master_name = pair
        free.remove(name)
        sets[master_name].append(name)
        steps.append(Replicate(name, master_name))
    return steps


def _crowded(layout: Layout) -> Refusal:
    zones = list(layout.zones.values())
    size, zone = max((zones.count(zone), zone) for zone in zones)
    return Refusal(
        f"anti_affinity=require cannot be kept: zone {zone} holds {size} of the {len(zones)} nodes, so not "
        f"each of {layout.masters} masters finds replicas={layout.replicas} in another zone; list nodes in "
        "more zones, set zone where hosts are apart, or set anti_affinity=prefer.",
        zone=zone,
    )


def refuse_unfit(cluster: Cluster, desired: Desired) -> None:
    """Refuse a cluster that has nothing left to form and still is not what is wanted."""
    peers = cluster.truth()
    for peer in peers.values():
        has = sum(other.master_id == peer.id for other in peers.values())
        if peer.slots and has < desired.replicas:
            name = cluster.peer_name(peer)
            raise Refusal(
                f"Master {name} has {has} replicas, while replicas={desired.replicas} is wanted: moving "
                "replicas is not in this version; run CLUSTER REPLICATE with its id on a replica of "
                "another master."
            )
    if failed := [node for node in cluster.up if node.state != "ok"]:
        raise Refusal(
            f"Node {failed[0].addr} reports cluster_state:{failed[0].state} although every slot has an "
            "owner: see that it reaches the masters on their cluster bus ports.",
            node=failed[0].addr,
        )
