# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talks to the nodes of one run, and looks at them. Knows nothing of plans."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from operator import attrgetter
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.connection import (
    SOCKET_TIMEOUT,
    connect,
    failure,
    fields,
    resolve,
    unread,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import (
    in_motion,
    missing,
    promoted,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Clash,
    Cluster,
    Listed,
    Node,
    Problem,
    parse_nodes,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.moving import (
    Migration,
    Moved,
    Mover,
    clashing,
    pull,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import Ranges, each

with suppress(ImportError):  # login.py keeps the reason, and begin_redis() says it
    from redis.exceptions import RedisError

PAUSE = 0.05  # s between two looks; the cluster's own clock ticks ten times a second
IN_PROGRESS = 1.0  # s in which somebody who moves slots gets on with it
HALF_MET = 5.0  # s after which a node that others know, and that knows nobody, will not learn of them
PARALLEL = 16
COMPARED_KEYS = 10000  # of one slot that is open on two nodes

LOOK: tuple[tuple[str, ...], ...] = (
    ("CLUSTER", "NODES"),
    ("CLUSTER", "INFO"),
    ("INFO", "replication"),
    ("DBSIZE",),
    ("FUNCTION", "LIST"),
    ("CONFIG", "GET", "requirepass"),
    ("CONFIG", "GET", "masterauth"),
    ("CONFIG", "GET", "cluster-announce-ip"),
)
Words = tuple[Any, ...]


class RedisIO(AbstractContextManager["RedisIO"]):
    """The nodes of one run: those that are listed, and those that they know."""

    def __init__(
        self,
        nodes: Sequence[Listed],
        login: Login,
        timeout: float,
        migration: Migration | None = None,
        option: str = "join_timeout",
        assume_started: bool = False,
    ) -> None:
        self._nodes = nodes
        self._login = login
        self._timeout = timeout
        self._option = option  # which sets the timeout
        self._assume_started = assume_started
        self._migration = migration or Migration(login=login.migrate)
        self._clients: dict[str, Any] = {}
        self._ips: dict[str, str] = {}
        self._places: dict[str, tuple[str, str, int]] = {}
        self._buses: dict[str, int] = {}
        self._lasting: set[str] = set()
        self.moved = Moved()

    def __exit__(self, *_error: object) -> None:
        for client in self._clients.values():
            client.close()

    # ------------------------------------------------------------------ look

    def observe(self) -> Cluster:
        """Look at all nodes; while gossip is still on its way, look again, as long as the timeout allows."""
        began = time.monotonic()
        while in_motion(cluster := self.look(), patient=time.monotonic() - began < HALF_MET):
            if time.monotonic() - began >= self._timeout:
                break
            time.sleep(PAUSE)
        return self._with_open_slots(cluster)

    def verify(self) -> Cluster:
        """Wait until all is well: views agree, cluster_state:ok, every replica in step with its master."""
        self.wait(lambda cluster: missing(cluster, cluster.listed))
        return self.observe()

    def settle(self) -> None:
        self.wait(lambda cluster: missing(cluster, cluster.members))

    def wait(self, missing: Callable[[Cluster], str]) -> Cluster:
        """Observe until nothing is missing any more, or until the timeout, and then name what is."""
        end = time.monotonic() + self._timeout
        while what := missing(cluster := self.look()):
            if time.monotonic() >= end:
                raise Refusal(
                    f"{self._option}={self._timeout:g} s passed and {what}, then run again.", missing=what
                )
            time.sleep(PAUSE)
        return cluster

    def look(self) -> Cluster:
        """Look once at every listed node, and then at those that they know, side by side.

        So one that does not answer delays no other.
        """
        nodes = self._side_by_side(self._look_at, self._nodes)
        if self._assume_started:
            nodes = foretold(nodes)
        found = strangers(Cluster.of(nodes))
        answers = dict(zip(found, self._side_by_side(self._look_at, found.values()), strict=True))
        # Somebody else may be at an address by now; that is no member.
        members = [n for peer_id, n in answers.items() if n.problem or n.me.id == peer_id]
        cluster = Cluster.of([*nodes, *members])
        self._places = {n.addr: (n.me.id, n.ip, n.me.port or n.listed.port) for n in cluster.up}
        self._buses = {n.addr: n.me.bus_port for n in cluster.up}
        self._lasting = {n.addr for n in cluster.up if n.wanted}
        return cluster

    def _side_by_side(self, do: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
            return list(pool.map(do, items))

    def _look_at(self, listed: Listed) -> Node:
        try:
            ip = self._ips.get(listed.addr) or resolve(listed.host, listed.port)
        except (OSError, UnicodeError) as error:  # a label that is too long is a UnicodeError
            return Node(listed, problem=Problem.UNRESOLVED, detail=str(error))
        self._ips[listed.addr] = ip
        if listed.addr not in self._clients:
            # A certificate is for the name by which the node is known.
            host = (listed.certified or listed.host) if self._login.tls else ip
            timeout = max(SOCKET_TIMEOUT, self._migration.timeout_ms / 1000 + 1)
            self._clients[listed.addr] = connect(host, listed.port, self._login)
            self._clients[f"slow {listed.addr}"] = connect(host, listed.port, self._login, timeout)
        seen = Node(listed, ip=ip)
        try:
            return read(seen, self._pipeline(listed.addr, LOOK))
        except (RedisError, OSError) as error:
            problem, detail = failure(error)
            return replace(seen, problem=problem, detail=detail)

    def _with_open_slots(self, cluster: Cluster) -> Cluster:
        """Find out what is behind slots on the move, and whether somebody is moving them right now."""
        slots = cluster.open_slots
        if not slots:
            return cluster
        before = self._moves(cluster)
        time.sleep(IN_PROGRESS)
        cluster = self.look()
        if self._moves(cluster) != before or cluster.open_slots != slots:
            return replace(cluster, moving=True)
        counted = self._count(cluster, slots)
        nodes = tuple(replace(node, slot_keys=counted.get(node.addr, ())) for node in cluster.nodes)
        cluster = replace(cluster, nodes=nodes)
        return replace(cluster, clashes=tuple(self._clashes(cluster, slots)))

    def _moves(self, cluster: Cluster) -> dict[str, str]:
        """How often each node was told to move keys or slots. Numbers of keys change by themselves."""
        out = {}
        for node in filter(attrgetter("started"), cluster.up):
            said = fields(self.command(node.addr, "INFO", "commandstats"))
            names = ("cmdstat_migrate", "cmdstat_cluster|setslot")
            out[node.addr] = " ".join(said.get(name, "").partition(",")[0] for name in names)
        return out

    def _count(self, cluster: Cluster, slots: Sequence[int]) -> dict[str, tuple[tuple[int, int], ...]]:
        out = {}
        for node in filter(attrgetter("started"), cluster.up):
            if not node.me.master_id:
                counted = self.say(node.addr, [("CLUSTER", "COUNTKEYSINSLOT", slot) for slot in slots])
                out[node.addr] = tuple((s, int(n)) for s, n in zip(slots, counted, strict=True) if n)
        return out

    def _clashes(self, cluster: Cluster, slots: Sequence[int]) -> Iterable[Clash]:
        for slot in slots:
            owner = next((n for n in cluster.owners if slot in each(n.me.slots)), None)
            holders = [n for n in cluster.up if n != owner and n.holds(slot)]
            if owner is None or not owner.holds(slot):
                continue
            for holder in holders:
                keys = self.say(holder.addr, [("CLUSTER", "GETKEYSINSLOT", slot, COMPARED_KEYS)])[0]
                if differing := clashing(self, owner.addr, holder.addr, keys):
                    yield Clash(slot, owner.addr, holder.addr, tuple(differing))

    # ------------------------------------------------------------------ talk

    def ask(self, addr: str, commands: Sequence[Words]) -> list[Any]:
        try:
            return self._pipeline(addr, commands, "slow ")
        except (RedisError, OSError) as error:
            return [error for _command in commands]

    def say(self, addr: str, commands: Sequence[Words]) -> list[Any]:
        replies = self.ask(addr, commands) if commands else []
        for words, reply in zip(commands, replies, strict=True):
            if isinstance(reply, Exception):
                # Only what names the command: the rest may be keys, or a password.
                verb = " ".join(str(word) for word in (words[:2] if words[0] == "CLUSTER" else words[:1]))
                raise Refusal(
                    f"Node {addr} did not carry out {verb}: {reply}.", node=addr, command=verb
                ) from reply
        return replies

    def place(self, addr: str) -> tuple[str, str, int]:
        return self._places[addr]

    def command(self, addr: str, *words: str | int) -> Any:
        return self.say(addr, [words])[0]

    def every(self, commands: dict[str, list[Words]]) -> None:
        self._side_by_side(lambda addr: self.say(addr, commands[addr]), commands)

    def _pipeline(self, addr: str, commands: Sequence[Words], kind: str = "") -> list[Any]:
        with self._clients[f"{kind}{addr}"].pipeline(transaction=False) as pipe:
            for words in commands:
                # As bytes: hiredis, where redis-py finds it, packs no name that is not UTF-8.
                pipe.execute_command(*map(unread, words))
            return list(pipe.execute(raise_on_error=False))

    # ------------------------------------------------------------------ do

    def announce(self, addr: str, to: set[str] | None) -> None:
        # A node that is met again takes note of what the other one says of itself, and renews their link. One
        # that is about to leave is not told: reset meanwhile, it would take the words for an invitation.
        told = (a for a in self._lasting if a != addr and (to is None or a in to))
        others = [(self._places[a], self._buses[a]) for a in told]
        self.say(addr, [("CLUSTER", "MEET", ip, port, bus) for (_id, ip, port), bus in others])

    def copy_functions(self, source: str, target: str) -> None:
        self.command(target, "FUNCTION", "RESTORE", self.command(source, "FUNCTION", "DUMP"))

    def move(self, moves: Sequence[tuple[str, str, Ranges]], tell: Sequence[str]) -> None:
        owners = {node.addr for node in self.look().owners}
        new = {target for _source, target, _slots in moves} - owners
        mover = Mover(self, self._migration, tell, new, self.moved)
        mover.run(moves)

    def pull(self, owner: str, holder: str, slots: Ranges) -> None:
        self.moved.keys += pull(self, self._migration, owner, holder, each(slots))

    def promote(self, addr: str, mode: str) -> None:
        self.command(addr, "CLUSTER", "FAILOVER", *(() if mode == "graceful" else (mode.upper(),)))
        # OK only says that it has begun.
        self.wait(lambda cluster: promoted(cluster, addr))


def foretold(nodes: Sequence[Node]) -> list[Node]:
    """Take listed nodes that do not answer, and that nobody knows, for what they will be once started."""
    cluster = Cluster.of(nodes)
    return [
        node.once_started() if node.problem is Problem.UNREACHABLE and not cluster.peer_of(node) else node
        for node in nodes
    ]


def strangers(cluster: Cluster) -> dict[str, Listed]:
    """Return the members that are not listed, by id, as far as anybody knows where they are.

    Where a listed node answers under another id, the member has lost its place.
    """
    taken = {(node.ip, node.listed.port) for node in cluster.nodes}
    return {
        peer.id: Listed(peer.ip, peer.port, zone=peer.ip, wanted=False, certified=peer.hostname)
        for peer in cluster.peers.values()
        if not cluster.by_id(peer.id) and "noaddr" not in peer.flags and (peer.ip, peer.port) not in taken
    }


def read(seen: Node, replies: list[Any]) -> Node:
    """Read the replies to LOOK. FUNCTION and CONFIG may be denied; nothing else may."""
    nodes, info, replication, keys, functions, *config = replies
    for reply in (nodes, info, replication, keys):
        if isinstance(reply, Exception):
            raise reply
    password, masterauth, announce = (
        None if isinstance(reply, Exception) else reply[1] if len(reply) > 1 else "" for reply in config
    )
    return replace(
        seen,
        view=parse_nodes(nodes),
        state=fields(info).get("cluster_state", "unknown"),
        link=fields(replication).get("master_link_status"),
        keys=int(keys),
        functions=None if isinstance(functions, Exception) else tuple(sorted(lib[1] for lib in functions)),
        has_password=None if password is None else bool(password),
        has_masterauth=None if masterauth is None else bool(masterauth),
        announce_ip=announce or "",
    )
