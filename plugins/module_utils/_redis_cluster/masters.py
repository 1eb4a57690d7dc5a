# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which nodes are to own slots. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.draft import Draft
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.layout import slices
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Desired,
    Node,
    owned,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.refusals import unreachable
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import (
    Ranges,
    count,
    gaps,
    overlap,
    text,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.steps import (
    AddSlots,
    Detach,
    DropSlots,
    Promote,
)


def forming(cluster: Cluster) -> bool:
    """Tell whether this is a create, maybe interrupted: not all slots are owned, and nobody follows."""
    members = cluster.members or cluster.singles
    covered = not gaps(owned(node.me for node in members))
    return not (cluster.members and covered) and not any(p.master_id for p in cluster.peers.values())


def form(draft: Draft) -> None:
    """Assign the slots of a cluster that is being formed."""
    state = draft.state
    losing = draft.desired.accept_data_loss and any(node.me.slots for node in state.members)
    if losing or not forming(state):
        for node in state.singles:
            _drop(draft, node)
        return
    if down := [node for node in state.listed if node.problem]:
        raise unreachable(down[0])
    shares = _shares(draft)
    _drop_stale(draft, list(shares))
    _refuse_strange_split(draft, list(shares))
    chosen = [node.addr for node in draft.state.owners]
    for share, name in shares.items():
        owner = next((node.addr for node in draft.state.owners if node.me.slots == share), None)
        if owner is None:
            taken = name or _next_master(draft, chosen)
            chosen.append(taken)
            draft.do(AddSlots(taken, share))


def _shares(draft: Draft) -> dict[Ranges, str | None]:
    """Return the slots of each master, and, where their weights differ, who it is."""
    number = draft.desired.masters
    if all(node.listed.weight in (None, 1.0) or node.listed.drained for node in draft.state.listed):
        return dict.fromkeys(slices([1.0] * number))
    chosen: list[str] = []
    able = [node.addr for node in draft.state.listed if draft.may_lead(node)]
    while len(chosen) < number:
        name = draft.layout.next_master(chosen, [name for name in able if name not in chosen])
        if name is None:
            raise draft.crowded()
        chosen.append(name)
    weights = [weight(draft.desired, name) for name in chosen]
    return dict(zip(slices(weights), chosen, strict=True))


def weight(desired: Desired, name: str) -> float:
    listed = next((node for node in desired.nodes if node.addr == name), None)
    return 1.0 if listed is None or listed.weight is None else listed.weight


def _next_master(draft: Draft, chosen: list[str]) -> str:
    able = [
        node.addr
        for node in draft.state.listed
        if draft.may_lead(node) and not node.me.slots and node.addr not in chosen
    ]
    name = draft.layout.next_master(chosen, able)
    if name is None:
        raise draft.crowded()
    return name


def _drop(draft: Draft, node: Node) -> None:
    if node.me.slots:
        draft.do(DropSlots(node.addr, node.me.slots))


def _drop_stale(draft: Draft, shares: list[Ranges]) -> None:
    """Take slots from nodes that this create did not give them. That they are empty was checked before."""
    for node in draft.state.singles:
        twins = [n for n in draft.state.owners if n.addr != node.addr and overlap(n.me.slots, node.me.slots)]
        first = all(twin.alone and twin.order > node.order for twin in twins)
        if node.me.slots not in shares or not first:
            _drop(draft, node)


def _refuse_strange_split(draft: Draft, shares: list[Ranges]) -> None:
    state = draft.state
    holes = gaps(owned(node.me for node in state.owners))
    for node in state.owners:
        if node.me.slots not in shares:
            raise Refusal(
                f"Node {node.addr} owns slots {text(node.me.slots)} and slots {text(holes)} have "
                f"no owner, which no create of {len(shares)} masters leaves behind: run CLUSTER RESET "
                "HARD on every node if the cluster is not needed, or complete it by hand.",
                node=node.addr,
            )


def choose_masters(draft: Draft) -> list[str]:
    """Return the masters that the cluster is to have, in the order of their slots; promote and detach for it.

    Whoever owns slots stays master if it can.
    """
    wanted = draft.desired.masters
    masters = _staying(draft)
    masters += _promoted(draft, wanted - len(masters))
    masters += _empty(draft, masters, wanted - len(masters))
    while len(masters) < wanted:
        masters.append(_detached(draft, masters))
    return draft.in_order(masters)


def _staying(draft: Draft) -> list[str]:
    able = [node for node in draft.state.owners if node.wanted and not node.listed.drained]

    def rank(node: Node) -> tuple[bool, bool, int, tuple[int, int, str, int]]:
        # The one that has given away most goes on giving.
        favoured = node.addr in draft.layout.favoured
        return (node.listed.role == "replica", not favoured, -count(node.me.slots), node.order)

    kept = sorted(able, key=rank)[: draft.desired.masters]
    return draft.in_order(node.addr for node in kept)


def may_stay(draft: Draft) -> Callable[[Node], bool]:
    """Return what tells whether a node is, or may become, a master for good."""
    staying = _staying(draft)
    return lambda node: draft.may_lead(node) and (not node.me.slots or node.addr in staying)


def _promoted(draft: Draft, lacking: int) -> list[str]:
    """Let replicas take over from masters that leave: no key has to move for it."""
    out: list[str] = []
    for leaver in [n for n in draft.state.owners if not draft.ignores(n)]:
        if len(out) >= lacking or (leaver.wanted and not leaver.listed.drained):
            continue
        if leaver.me.migrating:  # an heir would not know of it
            continue
        heirs = [n for n in draft.state.followers(leaver.me.id) if draft.may_lead(n) and n.link == "up"]
        if heirs:
            draft.do(Promote(heirs[0].addr, leaver.addr))
            out.append(heirs[0].addr)
    return out


def _empty(draft: Draft, masters: list[str], lacking: int) -> list[str]:
    """Take nodes without slots, first those that an earlier run chose: they get slots, or are followed."""
    state = draft.state
    free = [n for n in state.listed if draft.may_lead(n) and not n.me.slots and not n.me.master_id]
    out: list[str] = []
    for _number in range(min(lacking, len(free))):
        left = [node for node in free if node.addr not in out]
        led = [n for n in left if n.me.importing or any(p.master_id == n.me.id for p in state.peers.values())]
        name = draft.layout.next_master([*masters, *out], [node.addr for node in led or left])
        if name is None:
            raise draft.crowded()
        out.append(name)
    return out


def _detached(draft: Draft, masters: list[str]) -> str:
    """Make a replica an empty master, one that its own master needs least."""
    state = draft.state
    if down := [node for node in state.listed if node.problem]:
        raise Refusal(
            f"Node {down[0].addr} cannot be reached ({down[0].detail}), and there are too few nodes for "
            f"{draft.desired.masters} masters without it: start it.",
            node=down[0].addr,
        )
    has = Counter(str(node.me.master_id) for node in state.up if node.me.master_id and node.wanted)
    able = {n.addr: has[str(n.me.master_id)] for n in state.listed if draft.may_lead(n) and n.me.master_id}
    most = max(able.values(), default=0)
    name = draft.layout.next_master(masters, [addr for addr, number in able.items() if number == most])
    if name is None:
        raise draft.crowded()
    node = state.named(name)
    seed = state.named(draft.in_order(masters)[0])
    draft.do(Detach(name, seed.addr, (node.ip, node.me.port or node.listed.port, node.me.bus_port)))
    return name
