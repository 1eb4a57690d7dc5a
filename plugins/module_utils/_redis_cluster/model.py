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
from itertools import pairwise
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal

SLOTS = 16384
MIN_MASTERS = 3  # fewer cannot outvote a lost master
MAX_PORT = 65535

# Inclusive, sorted and merged, as Redis prints them.
Ranges = tuple[tuple[int, int], ...]


def merged(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sort ranges and join those that touch, so that equal sets of slots compare equal."""
    out: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if out and first <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(last, out[-1][1]))
        else:
            out.append((first, last))
    return tuple(out)


def count(ranges: Ranges) -> int:
    return sum(last - first + 1 for first, last in ranges)


def overlap(one: Ranges, other: Ranges) -> bool:
    return any(a <= d and c <= b for a, b in one for c, d in other)


def gaps(ranges: Ranges) -> Ranges:
    """Return the slots that are not in the ranges."""
    edges = [(-1, -1), *ranges, (SLOTS, SLOTS)]
    return tuple((a[1] + 1, b[0] - 1) for a, b in pairwise(edges) if b[0] - a[1] > 1)


def text(ranges: Ranges) -> str:
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def hostport(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@dataclass(frozen=True)
class Listed:
    """A node as the user lists it."""

    host: str
    port: int
    zone: str

    @property
    def addr(self) -> str:
        return hostport(self.host, self.port)


@dataclass(frozen=True)
class Desired:
    """The shape that is wanted. Never who is master: a failover may change that at any time."""

    nodes: tuple[Listed, ...]
    replicas: int = 1
    require_zones: bool = True
    ignore_unlisted: bool = False

    @property
    def masters(self) -> int:
        return len(self.nodes) // (self.replicas + 1)

    @classmethod
    def wanted(cls, params: Mapping[str, Any]) -> Desired:
        """Take the module's options, and refuse a shape that no machine could have."""
        nodes = tuple(Listed(n["host"], n["port"], n["zone"] or n["host"]) for n in params["nodes"])
        desired = cls(
            nodes, params["replicas"], params["anti_affinity"] == "require", params["unlisted"] == "ignore"
        )
        desired.check()
        return desired

    def check(self) -> None:
        if self.replicas < 0:
            raise Refusal(f"replicas={self.replicas} is below zero: give 0 or more.")
        for node in self.nodes:
            if not 0 < node.port <= MAX_PORT:
                raise Refusal(f"Node {node.addr} has no usable port: give one from 1 to {MAX_PORT}.")
        addrs = [node.addr for node in self.nodes]
        if twice := sorted({addr for addr in addrs if addrs.count(addr) > 1}):
            raise Refusal(f"Node {twice[0]} is listed twice in nodes: list every node once.")
        listed, least = len(self.nodes), MIN_MASTERS * (self.replicas + 1)
        if listed < least:
            fewer = f" or set replicas={listed // MIN_MASTERS - 1}" if listed >= MIN_MASTERS else ""
            raise Refusal(
                f"replicas={self.replicas} needs at least {least} nodes, {listed} are listed: list "
                f"{least - listed} more{fewer} (a cluster has at least {MIN_MASTERS} masters).",
                needed=least,
                listed=listed,
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

    @property
    def addr(self) -> str:
        return hostport(self.ip, self.port) if self.port else f"{self.id} (without an address)"

    @property
    def failing(self) -> bool:
        return bool(self.flags & {"fail", "fail?", "noaddr"})


def parse_peer(line: str) -> Peer:
    # Redis 7 appends ",hostname", later ones ",key=value": only the first part is the address.
    node_id, address, flags, master, _ping, _pong, epoch, link, *slots = line.split()
    address, _at, bus_port = address.split(",")[0].partition("@")
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
    )


def parse_nodes(reply: str) -> tuple[Peer, ...]:
    """Read CLUSTER NODES by node id: by address, two ghosts at ":0" would become one."""
    return tuple(sorted((parse_peer(line) for line in reply.splitlines() if line), key=lambda peer: peer.id))


class Problem(Enum):
    """Why nothing, or not enough, is known of a node."""

    UNRESOLVED = "unresolved"
    UNREACHABLE = "unreachable"
    AUTH = "auth_fail"
    PLAIN = "not_cluster_mode"
    LOADING = "loading"
    OTHER = "other"


@dataclass(frozen=True)
class Node:
    """A listed node as it answered."""

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

    @property
    def addr(self) -> str:
        return self.listed.addr

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

    @property
    def order(self) -> tuple[int, int, str, int]:
        try:
            parsed = ipaddress.ip_address(self.ip)
        except ValueError:
            return (0, 0, self.listed.host, self.listed.port)
        return (parsed.version, int(parsed), "", self.listed.port)


@dataclass(frozen=True)
class Cluster:
    """All listed nodes in the order of their addresses, however they were listed."""

    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, nodes: Iterable[Node]) -> Cluster:
        return cls(tuple(sorted(nodes, key=lambda node: node.order)))

    @property
    def up(self) -> tuple[Node, ...]:
        return tuple(node for node in self.nodes if node.problem is None)

    @property
    def members(self) -> tuple[Node, ...]:
        """Nodes that know others."""
        return tuple(node for node in self.up if not node.alone)

    @property
    def singles(self) -> tuple[Node, ...]:
        return tuple(node for node in self.up if node.alone)

    def by_id(self, node_id: str | None) -> Node | None:
        return next((node for node in self.up if node.me.id == node_id), None)

    def named(self, addr: str) -> Node:
        return next(node for node in self.nodes if node.addr == addr)

    def truth(self) -> dict[str, Peer]:
        """Every known node by id, in its own words where it answers, else as others see it."""
        seen = {peer.id: peer for node in self.up for peer in node.view if "handshake" not in peer.flags}
        return seen | {node.me.id: node.me for node in self.up}

    def peer_name(self, peer: Peer) -> str:
        """Name a peer the way the user lists it, where it is listed."""
        for node in self.nodes:
            answers = node.problem is None
            # A node that answers is known by its id, one that does not by its address.
            if node.me.id == peer.id if answers else (node.ip, node.listed.port) == (peer.ip, peer.port):
                return node.addr
        return peer.addr

    def islands(self) -> list[tuple[Node, ...]]:
        """Members that know each other, however indirectly; more than one means more than one cluster."""
        islands: list[tuple[set[str], list[Node]]] = []
        for node in self.members:
            ids, nodes = set(node.knows), [node]
            for island in [island for island in islands if island[0] & ids]:
                islands.remove(island)
                ids, nodes = ids | island[0], island[1] + nodes
            islands.append((ids, nodes))
        return [tuple(nodes) for _ids, nodes in islands]

    def changed(self, node_id: str, change: Callable[[Peer], Peer]) -> Cluster:
        """Foretell a change of one node, as every node that knows it will see it."""
        return Cluster(
            tuple(
                replace(node, view=tuple(change(p) if p.id == node_id else p for p in node.view))
                for node in self.nodes
            )
        ).foretold()

    def foretold(self) -> Cluster:
        """Set cluster_state to what the views amount to: ok once every slot has an owner."""
        return Cluster(
            tuple(
                replace(node, state="fail" if gaps(owned(node.view)) else "ok") if node.view else node
                for node in self.nodes
            )
        )


def owned(peers: Iterable[Peer]) -> Ranges:
    return merged(pair for peer in peers for pair in peer.slots)
