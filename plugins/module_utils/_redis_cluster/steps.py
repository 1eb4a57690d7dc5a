# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps a plan is made of. Each names the nodes it touches by the address the user listed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, Union

from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import missing_view
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Peer,
    Ranges,
    merged,
    text,
)


class ClusterIO(Protocol):
    """What a step may do to the nodes."""

    def command(self, addr: str, *words: str | int) -> Any:
        """Run one command on a listed node, or refuse with what the node answered."""

    def wait(self, missing: Callable[[Cluster], str]) -> Cluster:
        """Observe until nothing is missing any more, at most join_timeout, else refuse naming what is."""


@dataclass(frozen=True)
class AddSlots:
    """A node takes slots that nobody owns."""

    addr: str
    slots: Ranges

    def describe(self) -> str:
        return f"Assign slots {text(self.slots)} to {self.addr}"

    def simulate(self, state: Cluster) -> Cluster:
        def take(peer: Peer) -> Peer:
            return replace(peer, slots=merged(peer.slots + self.slots))

        return state.changed(state.named(self.addr).me.id, take)

    def apply(self, io: ClusterIO) -> None:
        io.command(self.addr, "CLUSTER", "ADDSLOTSRANGE", *(edge for pair in self.slots for edge in pair))


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
    """One node meets all that are still alone. One step, because their handshakes run side by side."""

    seed: str
    # The listed address, the address as an IP (MEET resolves no names), the port and the bus port.
    guests: tuple[tuple[str, str, int, int], ...]

    def describe(self) -> str:
        return f"Join {', '.join(guest[0] for guest in self.guests)} to the cluster of {self.seed}"

    def simulate(self, state: Cluster) -> Cluster:
        guests = {guest[0] for guest in self.guests}
        joined = [
            node for node in state.nodes if node.addr in guests or not node.alone or node.addr == self.seed
        ]
        lines = [node.me for node in joined]

        def view(own: str) -> tuple[Peer, ...]:
            return tuple(
                sorted(
                    (p if p.id == own else replace(p, flags=p.flags - {"myself"}) for p in lines),
                    key=lambda peer: peer.id,
                )
            )

        return Cluster(
            tuple(replace(node, view=view(node.me.id)) if node in joined else node for node in state.nodes)
        ).foretold()

    def apply(self, io: ClusterIO) -> None:
        for _addr, ip, port, bus_port in self.guests:
            io.command(self.seed, "CLUSTER", "MEET", ip, port, bus_port)
        io.wait(lambda state: missing_view(state, {self.seed, *(guest[0] for guest in self.guests)}))


@dataclass(frozen=True)
class Replicate:
    """An empty member becomes the replica of a master. The link is awaited once, for all of them."""

    addr: str
    master: str

    def describe(self) -> str:
        return f"Make {self.addr} a replica of {self.master}"

    def simulate(self, state: Cluster) -> Cluster:
        node, master = state.named(self.addr), state.named(self.master).me
        linked = Cluster(tuple(replace(n, link="up") if n == node else n for n in state.nodes))

        def follow(peer: Peer) -> Peer:
            flags = peer.flags - {"master"} | {"slave"}
            # A replica is shown with its master's epoch.
            return replace(peer, flags=flags, master_id=master.id, epoch=master.epoch)

        return linked.changed(node.me.id, follow)

    def apply(self, io: ClusterIO) -> None:
        master_id = io.command(self.master, "CLUSTER", "MYID")
        io.command(self.addr, "CLUSTER", "REPLICATE", str(master_id))


Step = Union[AddSlots, SetEpoch, Join, Replicate]  # noqa: UP007  # pylint misreads | between dataclasses
