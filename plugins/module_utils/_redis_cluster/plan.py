# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what was seen and what is wanted to the steps that are left, or a refusal. Pure.

The phases run in the order in which the steps are carried out. Each one looks at the state that the steps
before it lead to, and remembers nothing else. So a run that was killed after any step is planned on from
there.
"""

from __future__ import annotations

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster import refusals
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.draft import Draft
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import beside
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.masters import (
    choose_masters,
    form,
    may_stay,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Desired,
    Peer,
    owned,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.replicas import Crowded, assign
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.reshard import (
    assign_gaps,
    repair,
    reshard,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import gaps
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.steps import (
    CopyFunctions,
    Forget,
    Join,
    Promote,
    Remove,
    Replicate,
    SetEpoch,
    Step,
)


def plan(cluster: Cluster, desired: Desired) -> tuple[Step, ...]:
    """Return the steps from the state that was seen to the shape that is wanted."""
    desired.check()
    refusals.refuse_unusable(cluster, desired)
    refusals.refuse_wiped(cluster, desired)
    refusals.refuse_foreign(cluster, desired)
    refusals.refuse_down(cluster, desired)
    refusals.refuse_disagreement(cluster)
    refusals.refuse_clashes(cluster, desired)
    refusals.refuse_keys(cluster.singles)
    draft = Draft(cluster, desired)
    repair(draft, may_stay(draft))
    _forget(draft, followed=False)
    form(draft)
    _epochs(draft)
    _join(draft)
    masters = choose_masters(draft)
    repair(draft, lambda node: node.addr in masters)
    assign_gaps(draft, masters)
    _replicas(draft, masters, settle=not draft.leaving(masters))
    _functions(draft, masters)
    if reshard(draft, masters):
        _replicas(draft, masters, settle=True)
    _forget(draft, followed=True)
    _remove(draft)
    _refuse_crowding(cluster, draft)
    if not draft.steps:
        _refuse_unfit(cluster)
    return tuple(draft.steps)


def _forget(draft: Draft, *, followed: bool) -> None:
    """Forget members that will not answer any more; one that is still followed only after that has ended."""
    for peer in sorted(refusals.unlisted(draft.state), key=lambda peer: peer.id):
        if not refusals.may_forget(draft.state, draft.desired, peer):
            continue
        followers = draft.state.followers(peer.id)
        if followers and peer.slots:
            # Its address belongs to an empty node by now: nobody elects a replica by itself in that case.
            draft.do(Promote(followers[0].addr, draft.state.peer_name(peer), mode="force"))
        elif followers and not followed:
            continue
        name = draft.state.peer_name(peer)
        refusals.refuse_resurrection(draft.state, name)
        draft.do(Forget(peer.id, name, draft.knowing(peer.id)))


def _epochs(draft: Draft) -> None:
    """Redis takes an epoch only from a node that knows no other; those that met sort it out themselves."""
    # In a new cluster in their order, in one that has a history after all others.
    highest = max((peer.epoch for node in draft.state.members for peer in node.view), default=0)
    alone = [node for node in draft.state.up if node.alone and not (node.whole and node.me.epoch)]
    for number, node in enumerate(alone, start=1):
        if node.me.epoch == 0:
            draft.do(SetEpoch(node.addr, highest + number))


def _join(draft: Draft) -> None:
    state = draft.state
    islands = sorted(state.islands(), key=lambda island: not any(node.me.slots for node in island))
    outside = [node for island in islands[1:] for node in island] + list(state.singles)
    if not outside:
        return
    seed = islands[0][0] if islands else state.singles[0]
    guests = sorted((node for node in outside if node != seed), key=lambda node: node.order)
    refusals.refuse_unprepared(state, [*state.members, *state.singles])
    places = tuple((n.addr, n.ip, n.me.port or n.listed.port, n.me.bus_port) for n in guests)
    draft.do(Join(seed.addr, places))


def _replicas(draft: Draft, masters: list[str], *, settle: bool) -> None:
    """Let every node that is no master follow one."""
    state = draft.state
    masters = draft.in_order(masters)
    ids = {state.named(name).me.id: name for name in masters}
    sets: dict[str, list[str]] = {name: [] for name in masters}
    free = []
    for node in state.listed:
        peer = state.peer_of(node)
        if peer is None or node.addr in sets:
            continue
        if peer.master_id in ids:
            sets[ids[str(peer.master_id)]].append(node.addr)
        elif node.problem is None and not peer.slots and not _held(draft, peer, settle):
            free.append(node)
    refusals.refuse_keys(node for node in free if not node.me.master_id)
    whole = settle and not any(node.problem for node in state.listed)
    try:
        moves = assign(draft.layout, sets, [node.addr for node in free], whole)
    except Crowded as crowded:
        raise draft.crowded() from crowded
    for name, master in moves:
        draft.do(Replicate(name, master))


def _held(draft: Draft, peer: Peer, settle: bool) -> bool:
    """Tell whether a node follows a master that is left alone, or that has yet to give its slots away."""
    master = draft.state.by_id(peer.master_id)
    return bool(master and master.me.slots and (draft.ignores(master) or not settle))


def _functions(draft: Draft, masters: list[str]) -> None:
    """Give new masters the function libraries of the others; a slot must not lose them by being moved."""
    source = next((node for node in draft.state.owners if node.functions), None)
    for name in masters if source else ():
        node = draft.state.named(name)
        if source and not node.me.slots and node.functions == ():
            draft.do(CopyFunctions(source.addr, name))


def _remove(draft: Draft) -> None:
    """Take out members that are not listed, replicas before masters, so that nobody loses its master."""
    if draft.desired.unlisted != "remove":
        return
    for node in sorted(draft.state.up, key=lambda node: (not node.me.master_id, node.order)):
        if not node.wanted:
            refusals.refuse_resurrection(draft.state, node.addr)
            draft.do(Remove(node.addr, node.me.id, draft.knowing(node.me.id)))
    rest = [p for p in refusals.unlisted(draft.state) if not draft.state.by_id(p.id)]
    if rest:
        raise Refusal(
            f"Member {draft.state.peer_name(rest[0])} (id {rest[0].id}, down) is not listed in nodes and "
            "cannot be reached: start it, or set forget_failed=true to take it out of the cluster.",
            unlisted=[draft.state.peer_name(peer) for peer in rest],
        )


def _refuse_crowding(cluster: Cluster, draft: Draft) -> None:
    """Refuse to put a replica beside its master, as a shard may that loses a master in another zone.

    A master that is lost already is replaced all the same, and so it is while other nodes are away.
    """
    forced = any(isinstance(step, Promote) and step.mode != "graceful" for step in draft.steps)
    away = any(node.problem for node in cluster.listed)
    found = {node.addr for node in beside(cluster)}
    if draft.layout.strict and not (forced or away or {n.addr for n in beside(draft.state)} <= found):
        raise draft.crowded()


def _refuse_unfit(cluster: Cluster) -> None:
    """Refuse a cluster that has nothing left to change and still does not serve."""
    failed = [node for node in cluster.up if node.state != "ok"]
    if failed and not gaps(owned(cluster.peers.values())):
        raise Refusal(
            f"Node {failed[0].addr} reports cluster_state:{failed[0].state} although every slot has an "
            "owner: see that it reaches the masters on their cluster bus ports.",
            node=failed[0].addr,
        )
