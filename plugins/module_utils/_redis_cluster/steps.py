# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps a plan is made of. Each names the nodes it touches by the address the user listed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Union

from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import (
    missing_acquaintance,
    missing_view,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Node,
    Peer,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import (
    Ranges,
    count,
    each,
    merged,
    named,
    text,
    without,
)

Words = tuple[Any, ...]


class ClusterIO(Protocol):
    """What a step may do to the nodes."""

    def command(self, addr: str, *words: str | int) -> Any:
        """Run one command on a node, or refuse with what the node answered."""

    def every(self, commands: dict[str, list[Words]]) -> None:
        """Run several commands on each of several nodes, the nodes side by side, or refuse."""

    def wait(self, missing: Callable[[Cluster], str]) -> Cluster:
        """Observe until nothing is missing any more, at most join_timeout, else refuse naming what is."""

    def announce(self, addr: str, to: set[str] | None) -> None:
        """Let a node tell others, or all, at once what it is and owns; gossip would take a second for it."""

    def settle(self) -> None:
        """Wait until all nodes are of one mind and every replica is in step with its master."""

    def copy_functions(self, source: str, target: str) -> None:
        """Give a node the function libraries of another."""

    def move(self, moves: Sequence[tuple[str, str, Ranges]], tell: Sequence[str]) -> None:
        """Move slots with their keys, and tell other masters about the new owners."""

    def pull(self, owner: str, holder: str, slots: Ranges) -> None:
        """Bring keys back to the owner of their slots, where they are not there already."""

    def promote(self, addr: str, mode: str) -> None:
        """Make a replica the master of its shard, and return when it is."""


@dataclass(frozen=True)
class AddSlots:
    """A node takes slots that nobody owns."""

    addr: str
    slots: Ranges

    def describe(self) -> str:
        return f"Assign {named(self.slots)} to {self.addr}"

    def simulate(self, state: Cluster) -> Cluster:
        return _given(state, self.addr, self.slots)

    def apply(self, io: ClusterIO) -> None:
        io.command(self.addr, "CLUSTER", "ADDSLOTSRANGE", *(edge for pair in self.slots for edge in pair))


@dataclass(frozen=True)
class TakeSlots:
    """A node becomes the owner of slots that their owner has let go of before the next one had them."""

    addr: str
    slots: Ranges

    def describe(self) -> str:
        return f"Make {self.addr} the owner of {named(self.slots)}, which nobody owns any more"

    def simulate(self, state: Cluster) -> Cluster:
        return closed(_given(state, self.addr, self.slots), self.slots, {self.addr})

    def apply(self, io: ClusterIO) -> None:
        own = io.command(self.addr, "CLUSTER", "MYID")
        io.every({self.addr: [("CLUSTER", "SETSLOT", slot, "NODE", own) for slot in each(self.slots)]})


@dataclass(frozen=True)
class DropSlots:
    """A node without keys lets go of slots from an earlier use."""

    addr: str
    slots: Ranges

    def describe(self) -> str:
        return f"Take {named(self.slots)}, left from an earlier use, from {self.addr}"

    def simulate(self, state: Cluster) -> Cluster:
        return _taken(state, self.addr, self.slots)

    def apply(self, io: ClusterIO) -> None:
        io.command(self.addr, "CLUSTER", "DELSLOTSRANGE", *(edge for pair in self.slots for edge in pair))


@dataclass(frozen=True)
class CloseSlots:
    """Slots that were opened for a move that moved nothing are closed again."""

    addr: str
    slots: Ranges

    def describe(self) -> str:
        return f"Close {named(self.slots)} on {self.addr}, which nothing moves any more"

    def simulate(self, state: Cluster) -> Cluster:
        return closed(state, self.slots, {self.addr})

    def apply(self, io: ClusterIO) -> None:
        io.every({self.addr: [("CLUSTER", "SETSLOT", slot, "STABLE") for slot in each(self.slots)]})


@dataclass(frozen=True)
class PullKeys:
    """Keys that a move has left elsewhere go back to the owner of their slots."""

    owner: str
    holder: str
    slots: Ranges

    def describe(self) -> str:
        return f"Bring the keys of {named(self.slots)} on {self.holder} back to their owner {self.owner}"

    def simulate(self, state: Cluster) -> Cluster:
        return closed(state, self.slots, {self.holder})

    def apply(self, io: ClusterIO) -> None:
        io.pull(self.owner, self.holder, self.slots)


@dataclass(frozen=True)
class SetEpoch:
    """A node gets an epoch of its own, so that no two start with the same and have to sort it out."""

    addr: str
    epoch: int

    def describe(self) -> str:
        return f"Set the configuration epoch of {self.addr} to {self.epoch}"

    def simulate(self, state: Cluster) -> Cluster:
        return state.changed(state.named(self.addr).me.id, lambda peer: replace(peer, epoch=self.epoch))

    def apply(self, io: ClusterIO) -> None:
        io.command(self.addr, "CLUSTER", "SET-CONFIG-EPOCH", self.epoch)


@dataclass(frozen=True)
class Join:
    """All that are still alone meet the others. One step, because their handshakes run side by side."""

    seed: str
    # The listed address, the address as an IP (MEET resolves no names), the port and the bus port.
    guests: tuple[tuple[str, str, int, int], ...]

    def describe(self) -> str:
        return f"Join {', '.join(guest[0] for guest in self.guests)} to the cluster of {self.seed}"

    def simulate(self, state: Cluster) -> Cluster:
        guests = {guest[0] for guest in self.guests}
        joined = {n.addr for n in state.up if n.addr in guests or not n.alone or n.addr == self.seed}
        known = {peer_id for node in state.up if node.addr in joined for peer_id in node.knows}
        lines = {peer_id: peer for peer_id, peer in state.peers.items() if peer_id in known}

        def view(own: str) -> tuple[Peer, ...]:
            return tuple(
                replace(p, flags=p.flags | {"myself"} if p.id == own else p.flags - {"myself"})
                for _id, p in sorted(lines.items())
            )

        return state.having(
            replace(node, view=view(node.me.id)) if node.addr in joined else node for node in state.nodes
        )

    def apply(self, io: ClusterIO) -> None:
        # Everybody meets everybody: to learn of each other by gossip alone takes a second or more.
        commands: dict[str, list[Words]] = defaultdict(list)
        for number, (_addr, ip, port, bus_port) in enumerate(self.guests):
            for host in (self.seed, *(guest[0] for guest in self.guests[:number])):
                commands[host].append(("CLUSTER", "MEET", ip, port, bus_port))
        io.every(commands)
        among = {self.seed, *(guest[0] for guest in self.guests)}
        met = io.wait(lambda state: missing_acquaintance(state, among))
        if missing_view(met, among):
            for node in met.owners:
                io.announce(node.addr, among)
            io.wait(lambda state: missing_view(state, among))


@dataclass(frozen=True)
class Replicate:
    """A member becomes the replica of a master. The link is awaited once, for all of them."""

    addr: str
    master: str

    def describe(self) -> str:
        return f"Make {self.addr} a replica of {self.master}"

    def simulate(self, state: Cluster) -> Cluster:
        node, master = state.named(self.addr), state.named(self.master).me

        def follow(peer: Peer) -> Peer:
            flags = peer.flags - {"master"} | {"slave"}
            # A replica is shown with its master's epoch.
            return replace(peer, flags=flags, master_id=master.id, epoch=master.epoch, open_slots=())

        functions = state.named(self.master).functions
        return state.altered(self.addr, link="up", functions=functions).changed(node.me.id, follow)

    def apply(self, io: ClusterIO) -> None:
        master_id = io.command(self.master, "CLUSTER", "MYID")
        io.command(self.addr, "CLUSTER", "REPLICATE", str(master_id))
        io.announce(self.addr, None)


@dataclass(frozen=True)
class Promote:
    """A replica and its master change places, without a write being lost."""

    addr: str
    master: str
    mode: str = "graceful"

    def describe(self) -> str:
        how = "" if self.mode == "graceful" else f" ({self.mode})"
        return f"Make {self.addr} master in place of {self.master}{how}"

    def simulate(self, state: Cluster) -> Cluster:
        new = state.named(self.addr).me
        old = state.peers[new.master_id or ""]
        epoch = 1 + max(peer.epoch for peer in state.peers.values())

        def turn(peer: Peer) -> Peer:
            if peer.id == new.id:
                flags = peer.flags - {"slave"} | {"master"}
                return replace(peer, flags=flags, master_id=None, slots=old.slots, epoch=epoch)
            if peer.id != old.id and peer.master_id != old.id:
                return peer
            flags = peer.flags if peer.failing else peer.flags - {"master"} | {"slave"}
            follows = None if peer.failing else new.id
            return replace(peer, flags=flags, master_id=follows, slots=(), epoch=epoch)

        turned = state.seen(turn).altered(self.addr, link=None)
        seat = turned.seat(old)
        return turned.altered(seat.addr, link="up") if seat and seat.problem is None else turned

    def apply(self, io: ClusterIO) -> None:
        io.promote(self.addr, self.mode)


@dataclass(frozen=True)
class Detach:
    """A replica becomes an empty master: it forgets the cluster and its copy of the data, and joins again."""

    addr: str
    seed: str
    place: tuple[str, int, int]

    def describe(self) -> str:
        return f"Make the replica {self.addr} an empty master"

    def simulate(self, state: Cluster) -> Cluster:
        def lead(peer: Peer) -> Peer:
            return replace(peer, flags=peer.flags - {"slave"} | {"master"}, master_id=None)

        return state.altered(self.addr, link=None, keys=0).changed(state.named(self.addr).me.id, lead)

    def apply(self, io: ClusterIO) -> None:
        io.command(self.addr, "CLUSTER", "RESET", "SOFT")
        io.command(self.seed, "CLUSTER", "MEET", *self.place)
        io.wait(lambda state: missing_view(state, {self.seed, self.addr}))


@dataclass(frozen=True)
class CopyFunctions:
    """A new master gets the function libraries that the others have, before it gets slots."""

    source: str
    target: str

    def describe(self) -> str:
        return f"Copy the function libraries of {self.source} to {self.target}"

    def simulate(self, state: Cluster) -> Cluster:
        functions = state.named(self.source).functions
        state = state.altered(self.target, functions=functions)
        for node in state.followers(state.named(self.target).me.id):
            state = state.altered(node.addr, functions=functions)
        return state

    def apply(self, io: ClusterIO) -> None:
        io.copy_functions(self.source, self.target)


@dataclass(frozen=True)
class MoveSlots:
    """Slots move with their keys while clients go on. One step, because the pairs run side by side.

    Before the first slot has moved, every node that gets some has an importing mark, and it keeps one until
    it has got the last. So a run that is killed at any moment leaves behind who was being given slots.
    """

    # From, to, which.
    moves: tuple[tuple[str, str, Ranges], ...]
    # Other masters, which are told about the new owners at once.
    tell: tuple[str, ...] = ()

    def describe(self) -> str:
        parts = (f"{_number(slots)} ({text(merged(slots))}) from {a} to {b}" for a, b, slots in self.moves)
        return f"Move {'; '.join(parts)}"

    def simulate(self, state: Cluster) -> Cluster:
        for source, target, slots in self.moves:
            state = _given(_taken(state, source, slots), target, slots)
            state = closed(state, slots, {source, target})
        return state

    def apply(self, io: ClusterIO) -> None:
        io.settle()
        io.move(self.moves, self.tell)


@dataclass(frozen=True)
class Forget:
    """Every node that answers forgets one that does not."""

    peer_id: str
    name: str
    members: tuple[str, ...]

    def describe(self) -> str:
        return (
            f"Forget {self.name}" if self.peer_id in self.name else f"Forget {self.name} (id {self.peer_id})"
        )

    def simulate(self, state: Cluster) -> Cluster:
        state = forgotten(state, self.peer_id)
        # What was unlisted and did not answer was only known because others knew it.
        stay = [n for n in state.nodes if n.wanted or n.problem is None or state.peer_of(n)]
        return state.having(stay)

    def apply(self, io: ClusterIO) -> None:
        _forget(io, self.members, self.peer_id)


@dataclass(frozen=True)
class Remove:
    """A member without slots leaves: it forgets everything, and everybody forgets it."""

    addr: str
    peer_id: str
    members: tuple[str, ...]

    def describe(self) -> str:
        return f"Remove {self.addr} from the cluster and reset it"

    def simulate(self, state: Cluster) -> Cluster:
        state = forgotten(state, self.peer_id)
        return state.having(node for node in state.nodes if node.addr != self.addr)

    def apply(self, io: ClusterIO) -> None:
        # First, so that it tells nobody about itself while the others forget it.
        io.command(self.addr, "CLUSTER", "RESET", "HARD")
        _forget(io, self.members, self.peer_id)


Step = Union[  # noqa: UP007  # pylint misreads | between dataclasses
    AddSlots,
    TakeSlots,
    DropSlots,
    CloseSlots,
    PullKeys,
    SetEpoch,
    Join,
    Replicate,
    Promote,
    Detach,
    CopyFunctions,
    MoveSlots,
    Forget,
    Remove,
]


def _number(slots: Ranges) -> str:
    number = count(slots)
    return f"{number} slot{'' if number == 1 else 's'}"


def _forget(io: ClusterIO, members: Sequence[str], peer_id: str) -> None:
    """All at once: a node may hear of it again from one that has not forgotten it, a minute later."""
    io.every({addr: [("CLUSTER", "FORGET", peer_id)] for addr in members})


def _given(state: Cluster, addr: str, slots: Ranges) -> Cluster:
    def take(peer: Peer) -> Peer:
        return replace(peer, slots=merged(peer.slots + slots))

    return state.changed(state.named(addr).me.id, take)


def _taken(state: Cluster, addr: str, slots: Ranges) -> Cluster:
    def give(peer: Peer) -> Peer:
        return replace(peer, slots=without(peer.slots, slots))

    return state.changed(state.named(addr).me.id, give)


def closed(state: Cluster, slots: Ranges, addrs: set[str]) -> Cluster:
    """Foretell that slots are closed on some nodes, and that no keys are left where they do not belong."""
    nodes = [state.named(addr) for addr in addrs]
    if not any(node.me.open_slots or node.slot_keys for node in nodes):
        return state
    numbers = set(each(slots))

    def shut(peer: Peer) -> Peer:
        kept = tuple(
            mark for mark in peer.open_slots if int(mark.strip("[]").partition("-")[0]) not in numbers
        )
        return replace(peer, open_slots=kept)

    def cleared(node: Node) -> Node:
        own = set(each(node.me.slots))
        kept = tuple((slot, keys) for slot, keys in node.slot_keys if slot not in numbers or slot in own)
        return replace(node, slot_keys=kept)

    for addr in addrs:
        state = state.changed(state.named(addr).me.id, shut)
    return replace(
        state, nodes=tuple(cleared(n) if n.addr in addrs and n.slot_keys else n for n in state.nodes)
    )


def forgotten(state: Cluster, peer_id: str) -> Cluster:
    def forget(peer: Peer) -> Peer | None:
        if peer.id == peer_id:
            return None if "myself" not in peer.flags else peer
        return replace(peer, master_id=None) if peer.master_id == peer_id else peer

    return state.seen(forget)
