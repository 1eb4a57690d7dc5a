# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which slots move where, which of them are repaired, and who gets those that nobody owns. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.balance import (
    Share,
    apportion,
    targets,
    transfers,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.draft import Draft
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.masters import weight
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Node,
    owned,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import (
    Ranges,
    count,
    each,
    first,
    gaps,
    of,
    text,
    without,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.steps import (
    AddSlots,
    CloseSlots,
    MoveSlots,
    PullKeys,
    TakeSlots,
)

Slots = dict[str, list[int]]
Pairs = dict[tuple[str, str], list[int]]


def repair(draft: Draft, able: Callable[[Node], bool]) -> None:
    """Put open slots right whose move is not to be finished.

    A move from an owner to a node that is able to be a master is finished by reshard, with all others.
    """
    if not draft.state.open_slots:
        return
    _adopt(draft)
    state = draft.state
    owners = _owners(state)
    pull: Pairs = defaultdict(list)
    close: Slots = defaultdict(list)
    for slot in state.open_slots:
        owner = owners[slot]
        goal = getting(state, owner, slot, able)
        for node in state.up:
            stray = node is not owner and node.holds(slot) and not node.me.master_id
            if goal and node.addr in (goal, owner.addr):
                continue
            if stray:
                pull[owner.addr, node.addr].append(slot)
            elif slot in node.me.importing or slot in node.me.migrating:
                close[node.addr].append(slot)
    for (name, holder), slots in pull.items():
        draft.do(PullKeys(name, holder, of(slots)))
    for name, slots in close.items():
        draft.do(CloseSlots(name, of(slots)))


def _owners(state: Cluster) -> dict[int, Node]:
    return {slot: node for node in state.owners for slot in each(node.me.slots)}


def _adopt(draft: Draft) -> None:
    """Give every open slot an owner."""
    owners = _owners(draft.state)
    orphans: Slots = defaultdict(list)
    for slot in draft.state.open_slots:
        if slot not in owners:
            orphans[_heir(draft.state, slot).addr].append(slot)
    for name, slots in orphans.items():
        draft.do(TakeSlots(name, of(slots)))


def _heir(state: Cluster, slot: int) -> Node:
    """Return who should own a slot whose giver has let go of it before its taker had it."""
    able = [node for node in state.up if not node.me.master_id]
    holding = [node for node in able if node.holds(slot)]
    getting_it = [node for node in able if slot in node.me.importing]
    return (
        [n for n in holding if slot in n.me.importing]
        or holding
        or getting_it
        or [n for n in able if n.me.slots]
    )[0]


def getting(state: Cluster, owner: Node, slot: int, able: Callable[[Node], bool]) -> str | None:
    """Return the node to which the move of an open slot is to be finished; none when it is not."""
    takers = [
        node
        for node in state.up
        if node.addr != owner.addr and node.me.importing.get(slot) == owner.me.id and able(node)
    ]
    named = [node for node in takers if owner.me.migrating.get(slot) == node.me.id]
    chosen = named or [node for node in takers if node.holds(slot)] or takers
    return chosen[0].addr if chosen else None


def assign_gaps(draft: Draft, masters: list[str]) -> None:
    """Give slots whose data is lost to the masters that own least."""
    holes = gaps(owned(draft.state.peers.values()))
    if not holes:
        return
    if not draft.desired.accept_data_loss:
        raise Refusal(
            f"Slots {text(holes)} have no owner in the cluster of {draft.state.members[0].addr}: find out "
            "which node had them, or set accept_data_loss=true to assign them, empty.",
            slots=text(holes),
        )
    own = {name: count(draft.state.named(name).me.slots) for name in masters}
    shares = [Share(name, number, weight(draft.desired, name)) for name, number in own.items()]
    # As if they were owned already, by one that gives everything away.
    want = targets([*shares, Share("", count(holes), 0)])
    under = {name: want[name] - number for name, number in own.items() if number < want[name]}
    for name, number in apportion(count(holes), under).items():
        part = first(holes, number)
        holes = without(holes, part)
        draft.do(AddSlots(name, part))


def reshard(draft: Draft, masters: list[str]) -> bool:
    """Finish what is on the move, clear the nodes that leave, and give new masters their share."""
    state = draft.state
    moves = _unfinished(draft, masters)
    own: dict[str, Ranges] = {n.addr: n.me.slots for n in state.owners if not draft.ignores(n)}
    own = {name: own.pop(name, ()) for name in masters} | own
    for source, target, slots in moves:
        own[source], own[target] = without(own[source], slots), (*own[target], *slots)
    importing = {target for _source, target, _slots in moves}
    shares = [
        Share(name, count(slots), weight(draft.desired, name) if name in masters else 0, name in importing)
        for name, slots in own.items()
    ]
    for source, target, number in transfers(shares, draft.desired.rebalance, draft.desired.threshold):
        part = first(own[source], number)
        own[source] = without(own[source], part)
        moves.append((source, target, part))
    if not moves:
        return False
    draft.do(MoveSlots(_merged(moves), tuple(node.addr for node in state.up if not node.me.master_id)))
    return True


def _unfinished(draft: Draft, masters: list[str]) -> list[tuple[str, str, Ranges]]:
    pairs: Pairs = defaultdict(list)
    owners = _owners(draft.state)
    for slot in draft.state.open_slots:
        owner = owners.get(slot)
        target = getting(draft.state, owner, slot, lambda node: node.addr in masters) if owner else None
        if owner and target:
            pairs[owner.addr, target].append(slot)
    return [(source, target, of(slots)) for (source, target), slots in pairs.items()]


def _merged(moves: list[tuple[str, str, Ranges]]) -> tuple[tuple[str, str, Ranges], ...]:
    """Make one move of those between the same two nodes; what was open already comes first."""
    pairs: dict[tuple[str, str], Ranges] = defaultdict(tuple)
    for source, target, slots in moves:
        pairs[source, target] = (*pairs[source, target], *slots)
    return tuple((source, target, slots) for (source, target), slots in pairs.items())
