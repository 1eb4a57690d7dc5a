# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted, what was seen, and how CLUSTER NODES is read. No sockets here."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import (
    SLOTS,
    Ranges,
    gaps,
    merged,
)

MIN_MASTERS = 3  # fewer cannot outvote a lost master
MAX_PORT = 65535
MAX_WEIGHT = 100.0  # past that, the share of a master of weight 1 would be a handful of slots
MAX_THRESHOLD = 100.0


def hostport(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True)
class Listed:
    """A node as the user lists it, or one that the listed ones know."""

    host: str
    port: int
    zone: str
    weight: float | None = None
    role: str = "auto"
    wanted: bool = True
    # The name in its certificate, where that is not the host.
    certified: str = ""

    @property
    def addr(self) -> str:
        return hostport(self.host, self.port)

    @property
    def drained(self) -> bool:
        """Whether it must own no slots, whatever happens."""
        return self.weight == 0


@dataclass(frozen=True)
class Desired:
    """The shape that is wanted. Never who is master: a failover may change that at any time."""

    nodes: tuple[Listed, ...]
    replicas: int = 1
    require_zones: bool = True
    unlisted: str = "fail"
    rebalance: str = "empty_masters"
    threshold: float = 2.0
    repair: bool = True
    replace_wiped: bool = False
    forget_failed: bool = False
    accept_data_loss: bool = False

    @property
    def masters(self) -> int:
        able = sum(not node.drained and node.role != "replica" for node in self.nodes)
        return min(len(self.nodes) // (self.replicas + 1), able)

    @classmethod
    def wanted(cls, params: Mapping[str, Any]) -> Desired:
        """Take the module's options, and refuse a shape that no machine could have."""
        nodes = tuple(
            Listed(n["host"], n["port"], n["zone"] or n["host"], n["weight"], n["role"])
            for n in params["nodes"]
        )
        desired = cls(
            nodes,
            replicas=params["replicas"],
            require_zones=params["anti_affinity"] == "require",
            unlisted=params["unlisted"],
            rebalance=params["rebalance"],
            threshold=params["threshold"],
            repair=params["open_slots"] == "repair",
            replace_wiped=params["replace_wiped"],
            forget_failed=params["forget_failed"],
            accept_data_loss=params["accept_data_loss"],
        )
        desired.check()
        return desired

    def check(self) -> None:
        if self.replicas < 0:
            raise Refusal(f"replicas={self.replicas} is below zero: give 0 or more.")
        if not 0 <= self.threshold <= MAX_THRESHOLD:
            raise Refusal(
                f"threshold={self.threshold:g} is out of range: give a percentage from 0 to "
                f"{MAX_THRESHOLD:g}."
            )
        for node in self.nodes:
            check_node(node)
        addrs = [node.addr for node in self.nodes]
        if twice := sorted({addr for addr in addrs if addrs.count(addr) > 1}):
            raise Refusal(f"Node {twice[0]} is listed twice in nodes: list every node once.")
        self._check_size()
        self._check_weights()
        self._check_roles()

    @property
    def least_masters(self) -> int:
        """One node may be a cluster by itself, whose loss is the loss of all; two would not survive more."""
        return 1 if len(self.nodes) == 1 else MIN_MASTERS

    def _check_size(self) -> None:
        listed, least = len(self.nodes), MIN_MASTERS * (self.replicas + 1)
        if listed < self.least_masters * (self.replicas + 1):
            fewer = f" or set replicas={listed // MIN_MASTERS - 1}" if listed >= MIN_MASTERS else ""
            alone = ", or a single one with replicas=0" if listed == 1 else ""
            raise Refusal(
                f"replicas={self.replicas} needs at least {least} nodes, {listed} {_are(listed)} listed: "
                f"list {least - listed} more{fewer} (a cluster has at least {MIN_MASTERS} masters{alone}).",
                needed=least,
                listed=listed,
            )

    def _check_weights(self) -> None:
        weights = {node.addr: 1.0 if node.weight is None else node.weight for node in self.nodes}
        for name, weight in weights.items():
            # Beside the heaviest masters that it could have.
            others = sorted((w for other, w in weights.items() if other != name), reverse=True)
            if weight and weight * SLOTS < weight + sum(others[: self.masters - 1]):
                raise Refusal(
                    f"Node {name} has weight={weight:g}, which is less than one slot beside the others: give "
                    "it 0, or more."
                )

    def _check_roles(self) -> None:
        if self.masters < self.least_masters:
            held = [node.addr for node in self.nodes if node.drained or node.role == "replica"]
            raise Refusal(
                f"Only {self.masters} of {len(self.nodes)} nodes may be masters, and a cluster has at least "
                f"{self.least_masters}: give {held[0]} a weight above 0 and a role other than replica, or "
                "list more nodes.",
                held=held,
            )
        if len(fixed := [node.addr for node in self.nodes if node.role == "master"]) > self.masters:
            raise Refusal(
                f"{len(fixed)} nodes have role=master, while {len(self.nodes)} nodes with "
                f"replicas={self.replicas} make {self.masters} masters: set role=auto on {fixed[-1]}.",
                masters=fixed,
            )


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def check_node(node: Listed) -> None:
    """Refuse what is wrong with one entry of nodes by itself."""
    if not 0 < node.port <= MAX_PORT:
        raise Refusal(f"Node {node.addr} has no usable port: give one from 1 to {MAX_PORT}.")
    if node.weight is not None and not 0 <= node.weight <= MAX_WEIGHT:
        raise Refusal(
            f"Node {node.addr} has weight={node.weight:g}, which is out of range: give 0 (no slots) to "
            f"{MAX_WEIGHT:g}."
        )
    if node.role == "master" and node.drained:
        raise Refusal(
            f"Node {node.addr} has role=master and weight=0, which contradict each other: a node of "
            "weight 0 owns no slots, so set role=auto, or give it a weight."
        )


@dataclass(frozen=True)
class Peer:
    """A node as some node sees it: one line of CLUSTER NODES."""

    id: str
    ip: str
    port: int
    bus_port: int
    flags: frozenset[str]
    master_id: str | None
    epoch: int
    connected: bool
    slots: Ranges = ()
    open_slots: tuple[str, ...] = ()
    hostname: str = ""

    @property
    def addr(self) -> str:
        return hostport(self.ip, self.port) if self.port else f"{self.id} (without an address)"

    @property
    def failing(self) -> bool:
        return bool(self.flags & {"fail", "fail?", "noaddr"})

    @property
    def lost(self) -> bool:
        """Whether the cluster has agreed that it is down, or its address belongs to another node by now."""
        return bool(self.flags & {"fail", "noaddr"})

    @cached_property
    def importing(self) -> dict[int, str]:
        """Slots it is about to get, and the ids of their owners."""
        return _marks(self.open_slots, "-<-")

    @cached_property
    def migrating(self) -> dict[int, str]:
        """Slots it is about to give away, and the ids of the nodes that get them."""
        return _marks(self.open_slots, "->-")


def _marks(open_slots: Iterable[str], arrow: str) -> dict[int, str]:
    pairs = (mark.strip("[]").split(arrow) for mark in open_slots if arrow in mark)
    return {int(slot): node_id for slot, node_id in pairs}


def parse_peer(line: str) -> Peer:
    # Redis 7 appends ",hostname", later ones ",key=value" too: only the first part is the address.
    node_id, address, flags, master, _ping, _pong, epoch, link, *slots = line.split()
    address, *extra = address.split(",")
    address, _at, bus_port = address.partition("@")
    ip, _colon, port = address.rpartition(":")
    ranges = [slot.partition("-") for slot in slots if not slot.startswith("[")]
    return Peer(
        id=node_id,
        ip=ip.strip("[]"),
        port=int(port),
        bus_port=int(bus_port or 0),
        flags=frozenset(flags.split(",")),
        master_id=None if master == "-" else master,
        epoch=int(epoch),
        connected=link == "connected",
        slots=merged((int(first), int(last or first)) for first, _dash, last in ranges),
        open_slots=tuple(slot for slot in slots if slot.startswith("[")),
        hostname=next((part for part in extra if part and "=" not in part), ""),
    )


def parse_nodes(reply: str) -> tuple[Peer, ...]:
    """Read CLUSTER NODES by node id: by address, two ghosts at ":0" would become one."""
    return tuple(sorted((parse_peer(line) for line in reply.splitlines() if line), key=lambda peer: peer.id))


class Problem(Enum):
    """Why nothing, or not enough, is known of a node."""

    UNRESOLVED = "unresolved"
    UNREACHABLE = "unreachable"
    AUTH = "auth_fail"
    TLS = "tls_fail"
    PLAIN = "not_cluster_mode"
    LOADING = "loading"
    OTHER = "other"


@dataclass(frozen=True)
class Node:
    """A node as it answered."""

    listed: Listed
    ip: str = ""
    problem: Problem | None = None
    detail: str = ""
    view: tuple[Peer, ...] = ()
    state: str = "fail"
    keys: int = 0
    link: str | None = None
    # None where CONFIG is not permitted. The passwords themselves are never kept.
    has_password: bool | None = None
    has_masterauth: bool | None = None
    announce_ip: str = ""
    # Names of the function libraries; None where FUNCTION is not permitted.
    functions: tuple[str, ...] | None = None
    # How many keys it holds in each slot that is on the move, whoever owns it.
    slot_keys: tuple[tuple[int, int], ...] = ()
    # Not one that a check run takes for what it will be.
    started: bool = True

    @property
    def addr(self) -> str:
        return self.listed.addr

    @property
    def wanted(self) -> bool:
        return self.listed.wanted

    @cached_property
    def me(self) -> Peer:
        return next(peer for peer in self.view if "myself" in peer.flags)

    @cached_property
    def knows(self) -> frozenset[str]:
        """Ids of the nodes it knows, itself too. A handshake has a made-up id until it is through."""
        return frozenset(peer.id for peer in self.view if "handshake" not in peer.flags)

    @property
    def alone(self) -> bool:
        return len(self.knows) == 1

    @cached_property
    def whole(self) -> bool:
        """Whether it serves every slot, as a cluster of one node does."""
        return self.me.slots == ((0, SLOTS - 1),)

    @cached_property
    def order(self) -> tuple[int, int, str, int]:
        try:
            parsed = ipaddress.ip_address(self.ip)
        except ValueError:
            return (0, 0, self.listed.host, self.listed.port)
        return (parsed.version, int(parsed), "", self.listed.port)

    def holds(self, slot: int) -> int:
        return dict(self.slot_keys).get(slot, 0)

    def once_started(self) -> Node:
        """Foretell a new and empty node at a place where nothing answers yet."""
        me = Peer(
            id=f"(not started) {self.addr}",
            ip=self.ip,
            port=self.listed.port,
            bus_port=0,
            flags=frozenset({"myself", "master"}),
            master_id=None,
            epoch=0,
            connected=True,
        )
        return replace(self, problem=None, detail="", view=(me,), functions=(), started=False)


@dataclass(frozen=True)
class Clash:
    """Keys that two nodes hold with different values, while their slot is on the move."""

    slot: int
    owner: str
    holder: str
    keys: tuple[str, ...]


@dataclass(frozen=True)
class Cluster:
    """All listed nodes, and those they know, in the order of their addresses, however they were listed."""

    nodes: tuple[Node, ...]
    clashes: tuple[Clash, ...] = ()
    # Whether open slots changed between two looks: somebody else is moving them.
    moving: bool = False

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Cluster:
        return cls(tuple(sorted(nodes, key=lambda node: node.order)))

    @cached_property
    def up(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.problem is None)

    @cached_property
    def listed(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.wanted)

    @cached_property
    def members(self) -> tuple[Node, ...]:
        """Nodes that know others, or need none."""
        return tuple(node for node in self.up if not node.alone or node.whole)

    @cached_property
    def singles(self) -> tuple[Node, ...]:
        return tuple(node for node in self.up if node.alone and not node.whole)

    @cached_property
    def owners(self) -> tuple[Node, ...]:
        """Nodes that answer and say that they own slots."""
        return tuple(node for node in self.up if node.me.slots)

    @cached_property
    def open_slots(self) -> list[int]:
        """Slots that some node says are on the move."""
        return sorted({slot for node in self.up for slot in (*node.me.importing, *node.me.migrating)})

    @cached_property
    def _ids(self) -> dict[str, Node]:
        return {node.me.id: node for node in self.up}

    def by_id(self, node_id: str | None) -> Node | None:
        return self._ids.get(node_id or "")

    def named(self, addr: str) -> Node:
        return next(node for node in self.nodes if node.addr == addr)

    @cached_property
    def peers(self) -> dict[str, Peer]:
        """Every known node by id, in its own words where it answers, else as others see it."""
        seen = {peer.id: peer for node in self.up for peer in node.view if "handshake" not in peer.flags}
        return seen | {node.me.id: node.me for node in self.up}

    def seat(self, peer: Peer) -> Node | None:
        """Return the node at the place of a peer: by id where it answers, by address where it does not."""
        if node := self.by_id(peer.id):
            return node
        return next(
            (n for n in self.nodes if n.problem and (n.ip, n.listed.port) == (peer.ip, peer.port)), None
        )

    def peer_of(self, node: Node) -> Peer | None:
        """Return what is known of a node, by itself or by others."""
        if node.problem is None:
            return node.me
        places = (p for p in self.peers.values() if (p.ip, p.port) == (node.ip, node.listed.port))
        return next(places, None)

    def peer_name(self, peer: Peer) -> str:
        """Name a peer the way the user lists it, where it is listed."""
        node = self.seat(peer)
        return node.addr if node else peer.addr

    def followers(self, node_id: str) -> list[Node]:
        """Nodes that answer and follow a master."""
        return [node for node in self.up if node.me.master_id == node_id]

    def islands(self) -> list[tuple[Node, ...]]:
        """Members that know each other, however indirectly; more than one means more than one cluster."""
        islands: list[tuple[set[str], list[Node]]] = []
        for node in self.members:
            ids, nodes = set(node.knows), [node]
            for island in [island for island in islands if island[0] & ids]:
                islands.remove(island)
                ids, nodes = ids | island[0], island[1] + nodes
            islands.append((ids, nodes))
        return [tuple(sorted(nodes, key=lambda node: node.order)) for _ids, nodes in islands]

    def changed(self, node_id: str, change: Callable[[Peer], Peer]) -> Cluster:
        """Foretell a change of one node, as every node that knows it will see it."""
        return self.seen(lambda peer: change(peer) if peer.id == node_id else peer)

    def seen(self, change: Callable[[Peer], Peer | None]) -> Cluster:
        """Foretell a change of what every node sees; None takes a peer out of sight."""
        nodes = []
        for node in self.nodes:
            view = tuple(peer for old in node.view if (peer := change(old)) is not None)
            nodes.append(node if view == node.view else replace(node, view=view))
        return self.having(nodes)

    def having(self, nodes: Iterable[Node]) -> Cluster:
        """Foretell other nodes. Their cluster_state is ok once every slot has an owner in their view."""
        return replace(
            self,
            nodes=tuple(
                replace(node, state="fail" if gaps(owned(node.view)) else "ok") if node.view else node
                for node in nodes
            ),
        )

    def altered(self, addr: str, **changes: Any) -> Cluster:
        """Foretell what one node says of itself."""
        return replace(self, nodes=tuple(replace(n, **changes) if n.addr == addr else n for n in self.nodes))


def owned(peers: Iterable[Peer]) -> Ranges:
    return merged(pair for peer in peers for pair in peer.slots)
