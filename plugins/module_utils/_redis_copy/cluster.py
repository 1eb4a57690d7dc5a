# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends commands to whichever master serves the slot now, however the cluster changes meanwhile."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import NamedTuple

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import Peer, parse_nodes
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import SLOTS, Endpoint
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.reach import BROKEN, reach, told
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.wire import (
    Failed,
    Link,
    Reply,
    Words,
)

PAUSE = 0.1  # s before the cluster is asked again that is just changing
PARALLEL = 64
REPLICA_PATIENCE = 1000  # ms that a replica has to confirm a batch
# What a master says that is changing, and will soon say otherwise or have a successor.
PASSING = ("TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "NOREPLICAS", "BUSY ")

LOGIN_OPTIONS = "login_user and login_password"


class Job(NamedTuple):
    """One command about one slot. There are many of them, and a tuple is made in a third of the time."""

    slot: int
    words: Words


@dataclass
class Progress:
    """What is left of a lot of jobs."""

    replies: list[Reply]
    # Confirmed by a replica, so that a failover does not lose it; or there is no replica that could.
    durable: list[bool]
    # Where to send each job that has no reply yet, if not to the owner of its slot.
    left: dict[int, str | None]
    why: str = ""
    lock: threading.Lock = field(default_factory=threading.Lock)


def address(text: str, asked: str) -> str:
    """Return where a redirection leads; without a host, to another port of the node that was asked."""
    host, _colon, port = text.rpartition(":")
    return f"{host or asked.rpartition(':')[0]}:{port}"


class Cluster(AbstractContextManager["Cluster"]):
    """The masters of a cluster, with a connection to each."""

    def __init__(self, seeds: Sequence[Endpoint], login: Login, timeout: float) -> None:
        self._seeds = seeds
        self._login = login
        self._timeout = timeout
        self._links: dict[str, Link] = {}
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="cluster")
        self.owners: list[str] = [""] * SLOTS
        self.peers: tuple[Peer, ...] = ()
        # Masters whose replica did not confirm in time: they are not waited for again.
        self._unconfirmed: set[str] = set()

    def __exit__(self, *_error: object) -> None:
        self._pool.shutdown()
        for link in self._links.values():
            link.close()

    @property
    def masters(self) -> tuple[str, ...]:
        return tuple(sorted({owner for owner in self.owners if owner}))

    def link(self, addr: str) -> Link:
        if addr not in self._links:
            host, _colon, port = addr.rpartition(":")
            self._links[addr] = reach(
                "Node", Endpoint(host.strip("[]"), int(port)), self._login, LOGIN_OPTIONS
            )
        return self._links[addr]

    def ask(self, addr: str, *commands: Words) -> list[Reply]:
        """Ask one node something that needs no other one, and that it must be able to answer."""
        try:
            return told(f"Node {addr}", self.link(addr).ask(commands))
        except BROKEN as error:
            self.drop(addr)
            raise Refusal(
                f"Node {addr} broke the connection off ({error}): run again when it is back; what has been "
                "copied "
                "stays."
            ) from error

    def drop(self, addr: str) -> None:
        if link := self._links.pop(addr, None):
            link.close()

    def seed(self) -> str:
        """Return the first listed node that answers."""
        refusal: Refusal | None = None
        for endpoint in self._seeds:
            try:
                self.link(endpoint.addr)
            except Refusal as refused:
                refusal = refusal or refused
            else:
                return endpoint.addr
        if refusal is None:
            raise Refusal("nodes is empty: list at least one node of the cluster.")
        raise refusal

    def refresh(self) -> None:
        """Learn who serves which slot, from the first node that says so."""
        last: Exception = Refusal("No node of the cluster answers.")
        for addr in dict.fromkeys([*self._links, *(seed.addr for seed in self._seeds), *self.masters]):
            try:
                (said,) = self.ask(addr, (b"CLUSTER", b"NODES"))
            except Refusal as refused:
                last = refused
            else:
                self._learn(parse_nodes(said.decode()))
                return
        raise last

    def _learn(self, peers: tuple[Peer, ...]) -> None:
        self.peers = peers
        owners = [""] * SLOTS
        for peer in peers:
            for first, last in peer.slots:
                owners[first : last + 1] = [peer.addr] * (last - first + 1)
        self.owners = owners

    def replicas(self, addr: str) -> int:
        """Count the replicas that should be following a master."""
        master = next((peer.id for peer in self.peers if peer.addr == addr), None)
        return sum(peer.master_id == master and not peer.failing for peer in self.peers) if master else 0

    def run(
        self, jobs: Sequence[Job], *, scripts: Sequence[bytes] = (), confirm: bool = False
    ) -> tuple[list[Reply], list[bool]]:
        """Carry out jobs and return their replies, and whether each is on a replica too where asked for.

        A job is sent again when its master was lost amid it: it must be harmless to do twice.
        """
        progress = Progress([None] * len(jobs), [False] * len(jobs), dict.fromkeys(range(len(jobs))))
        end = time.monotonic() + self._timeout
        while progress.left:
            before = len(progress.left)
            self._round(jobs, progress, scripts, confirm)
            if not progress.left:
                break
            moving = len(progress.left) < before
            if moving:
                end = time.monotonic() + self._timeout
            elif time.monotonic() >= end:
                raise Refusal(
                    f"{len(progress.left)} keys could not be reached in the cluster for {self._timeout:g} s "
                    f"({progress.why}): repair it with the module redis_cluster, then run again."
                )
            if progress.why or not moving:
                time.sleep(PAUSE)
                self._refresh_when_possible(progress)
        return progress.replies, progress.durable

    def _refresh_when_possible(self, progress: Progress) -> None:
        """Amid a failover no node may answer for a moment; run() ends the wait."""
        try:
            self.refresh()
        except Refusal as refused:
            progress.why = refused.message

    def _round(
        self, jobs: Sequence[Job], progress: Progress, scripts: Sequence[bytes], confirm: bool
    ) -> None:
        progress.why = ""
        groups: dict[str, list[tuple[int, bool]]] = defaultdict(list)
        for number, asking in progress.left.items():
            groups[asking or self.owners[jobs[number].slot]].append((number, asking is not None))
        homeless = groups.pop("", [])
        if homeless:
            progress.why = f"slot {jobs[homeless[0][0]].slot} has no owner"

        def send(addr: str) -> Callable[[], None]:
            return lambda: self._send(addr, groups[addr], jobs, progress, scripts, confirm)

        for addr in list(groups):
            self._open(addr, groups, progress)
        for future in [self._pool.submit(send(addr)) for addr in groups]:
            future.result()

    def _open(self, addr: str, groups: dict[str, list[tuple[int, bool]]], progress: Progress) -> None:
        """Open connections before the threads start, which then share nothing but the progress."""
        try:
            self.link(addr)
        except Refusal as refused:
            progress.why = refused.message
            self._return(groups.pop(addr), progress)

    @staticmethod
    def _return(group: Sequence[tuple[int, bool]], progress: Progress) -> None:
        """Send jobs to the owner of their slot next time."""
        with progress.lock:
            progress.left.update(dict.fromkeys((number for number, _asking in group), None))

    def _send(
        self,
        addr: str,
        group: Sequence[tuple[int, bool]],
        jobs: Sequence[Job],
        progress: Progress,
        scripts: Sequence[bytes],
        confirm: bool,
    ) -> None:
        commands: list[Words] = []
        places: list[int] = []
        for number, asking in group:
            if asking:
                commands.append((b"ASKING",))
            places.append(len(commands))
            commands.append(jobs[number].words)
        followed = confirm and addr not in self._unconfirmed and self.replicas(addr) > 0
        if followed:
            commands.append((b"WAIT", b"1", b"%d" % REPLICA_PATIENCE))
        try:
            replies = self._links[addr].ask(commands)
            missing = any(_starts(replies[place], "NOSCRIPT") for place in places)
            if missing:
                self._links[addr].ask([(b"SCRIPT", b"LOAD", script) for script in scripts])
        except BROKEN as error:
            self.drop(addr)
            progress.why = f"node {addr} broke the connection off: {error}"
            self._return(group, progress)
            return
        confirmed = not followed or (isinstance(replies[-1], int) and replies[-1] > 0)
        if not confirmed:
            self._unconfirmed.add(addr)
        # Without a replica there is nothing that a failover could lead to.
        durable = confirm and confirmed and addr not in self._unconfirmed
        with progress.lock:
            for (number, _asking), place in zip(group, places, strict=True):
                reply = replies[place]
                if isinstance(reply, Failed) and self._redirected(
                    addr, number, jobs[number].slot, reply, progress
                ):
                    continue
                del progress.left[number]
                progress.replies[number] = reply
                progress.durable[number] = durable

    def _redirected(self, addr: str, number: int, slot: int, failed: Failed, progress: Progress) -> bool:
        """Tell whether a job has to be sent again, and where."""
        text = failed.text
        if text.startswith("ASK "):
            progress.left[number] = address(text.split()[2], addr)
            return True
        if text.startswith("MOVED "):
            self.owners[slot] = address(text.split()[2], addr)
        elif text.startswith(PASSING):
            progress.why = f"node {addr} says {text}"
        elif not text.startswith("NOSCRIPT"):
            return False
        progress.left[number] = None
        return True


def _starts(reply: Reply, word: str) -> bool:
    return isinstance(reply, Failed) and reply.text.startswith(word)
