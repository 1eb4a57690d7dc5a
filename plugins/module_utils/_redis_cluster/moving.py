# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Moves slots with their keys from one node to another while clients go on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from threading import Barrier, BrokenBarrierError, Event
from typing import Any, Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.connection import asked_elsewhere
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import Ranges, each

# Slots that are open at a time between two nodes. More save round trips; fewer leave less open when killed.
CHUNK = 32
# To a node that owned nothing, at first one slot at a time, and never more than a 64th of what has gone over.
# Clients such as redis-py (#4015) learn of a new node by MOVED, and fail where they first hear of it by ASK.
UNHEARD = 64
SHOWN_KEYS = 10
MAX_BATCH = 10000

Words = tuple[Any, ...]


class Talk(Protocol):
    """What moving needs of the connections."""

    def ask(self, addr: str, commands: Sequence[Words]) -> list[Any]:
        """Send commands in one go; a reply may be the error that the server gave."""

    def say(self, addr: str, commands: Sequence[Words]) -> list[Any]:
        """Send commands in one go, and refuse with the first error."""

    def place(self, addr: str) -> tuple[str, str, int]:
        """Return the id, IP address and port of a node."""


@dataclass
class Moved:
    """What was done, counted by one thread."""

    slots: int = 0
    keys: int = 0


@dataclass(frozen=True)
class Migration:
    """How keys are sent."""

    batch: int = 100
    timeout_ms: int = 60000
    login: tuple[str, ...] = ()

    @classmethod
    def wanted(cls, params: Mapping[str, Any], login: tuple[str, ...]) -> Migration:
        """Take the module's options."""
        batch, timeout_ms = params["migrate_batch"], params["migrate_timeout_ms"]
        if not 1 <= batch <= MAX_BATCH:
            raise Refusal(f"migrate_batch={batch} is out of range: give 1 to {MAX_BATCH} keys.")
        if timeout_ms < 1:
            raise Refusal(f"migrate_timeout_ms={timeout_ms} is out of range: give 1 or more.")
        return cls(batch, timeout_ms, login)

    def words(self, place: tuple[str, str, int], keys: Sequence[str], replace: bool = False) -> Words:
        _id, ip, port = place
        again = ("REPLACE",) if replace else ()
        return ("MIGRATE", ip, port, "", 0, self.timeout_ms, *again, *self.login, "KEYS", *keys)


def printable(keys: Iterable[str]) -> str:
    """Name some keys, whatever bytes they are made of."""
    shown = [key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for key in keys]
    more = f" and {len(shown) - SHOWN_KEYS} more" if len(shown) > SHOWN_KEYS else ""
    return ", ".join(shown[:SHOWN_KEYS]) + more


@dataclass
class Mover:
    """Moves slots of several pairs of nodes side by side."""

    talk: Talk
    migration: Migration
    tell: Sequence[str] = ()
    # Nodes that own nothing yet.
    new: Collection[str] = ()
    moved: Moved = field(default_factory=Moved)
    _stop: Event = field(default_factory=Event)

    def run(self, moves: Sequence[tuple[str, str, Ranges]]) -> None:
        # Nobody closes a slot before every pair has opened its first ones: see MoveSlots.
        opened = Barrier(len(moves))
        with ThreadPoolExecutor(max_workers=len(moves)) as pool:
            done = [pool.submit(self._pair, *move, opened) for move in moves]
        results = [future.exception() for future in done]
        # What broke one pair has cut the others off at the barrier, and is what the person has to know.
        failed = sorted(filter(None, results), key=lambda error: isinstance(error, BrokenBarrierError))
        for future in done:
            if future.exception() is None:
                self.moved.slots += future.result().slots
                self.moved.keys += future.result().keys
        if failed:
            raise failed[0]

    def _pair(self, source: str, target: str, slots: Ranges, opened: Barrier) -> Moved:
        try:
            pair = _Pair(self.talk, self.migration, source, target)
            queue = iter(each(slots))
            chunk = list(islice(queue, self._size(target, 0)))
            pair.mark(chunk)
            opened.wait()
            return self._chunks(pair, chunk, queue)
        except BaseException:
            # The others need not go on to their end only to be told then that the run has failed.
            self._stop.set()
            opened.abort()
            raise

    def _size(self, target: str, moved: int) -> int:
        return min(CHUNK, max(1, moved // UNHEARD)) if target in self.new else CHUNK

    def _chunks(self, pair: _Pair, chunk: list[int], queue: Iterator[int]) -> Moved:
        moved = Moved()
        while chunk and not self._stop.is_set():
            following = list(islice(queue, self._size(pair.target, moved.slots)))
            pair.mark(following)  # before the last mark goes
            pair.open(chunk)
            moved.keys += pair.drain(chunk)
            moved.keys += pair.close(chunk)
            self._announce(pair, chunk)
            moved.slots += len(chunk)
            chunk = following
        return moved

    def _announce(self, pair: _Pair, chunk: Sequence[int]) -> None:
        """Tell the other masters, so that they redirect clients to the right node at once.

        Whoever cannot be told now hears of it by gossip, so what they answer does not matter.
        """
        for addr in self.tell:
            if addr not in (pair.source, pair.target):
                self.talk.ask(addr, [("CLUSTER", "SETSLOT", slot, "NODE", pair.to[0]) for slot in chunk])


class _Pair:
    """One node that gives and one that gets."""

    def __init__(self, talk: Talk, migration: Migration, source: str, target: str) -> None:
        self.talk = talk
        self.migration = migration
        self.source = source
        self.target = target
        self.origin = talk.place(source)
        self.to = talk.place(target)

    def mark(self, slots: Sequence[int]) -> None:
        self.talk.say(self.target, [("CLUSTER", "SETSLOT", s, "IMPORTING", self.origin[0]) for s in slots])

    def open(self, slots: Sequence[int]) -> None:
        self.talk.say(self.source, [("CLUSTER", "SETSLOT", s, "MIGRATING", self.to[0]) for s in slots])

    def drain(self, slots: Sequence[int]) -> int:
        """Send keys until the source says of every slot that it holds none."""
        return drain(self.talk, self.migration, self.source, self.target, slots)

    def close(self, slots: Sequence[int]) -> int:
        """Hand the slots over, to the target first, so that somebody owns them at any moment (redis#7116)."""
        commands = [("CLUSTER", "SETSLOT", slot, "NODE", self.to[0]) for slot in slots]
        self.talk.say(self.target, commands)
        late = 0
        left: Sequence[int] = slots
        while left:
            replies = self.talk.ask(self.source, [commands[slots.index(slot)] for slot in left])
            holding = [s for s, reply in zip(left, replies, strict=True) if "still hold keys" in str(reply)]
            for reply in replies:
                # One that has given its last slot away may have become a replica by itself (redis#9223).
                known = ("still hold keys", "use SETSLOT only with masters")
                if isinstance(reply, Exception) and not any(word in str(reply) for word in known):
                    raise Refusal(
                        f"Node {self.source} did not carry out CLUSTER SETSLOT: {reply}.", node=self.source
                    ) from reply
            if holding:
                late += self.drain(holding)
            left = holding
        return late


def drain(talk: Talk, migration: Migration, source: str, target: str, slots: Sequence[int]) -> int:
    """Send all keys of some slots from one node to another; return how many went."""
    to, sent, left = talk.place(target), 0, list(slots)
    while left:
        found = talk.say(source, [("CLUSTER", "GETKEYSINSLOT", slot, migration.batch) for slot in left])
        batches = [keys for keys in found if keys]
        replies = talk.ask(source, [migration.words(to, keys) for keys in batches])
        for keys, reply in zip(batches, replies, strict=True):
            if isinstance(reply, Exception):
                _again(talk, migration, source, target, keys, reply)
            sent += len(keys)
        # One that had fewer than were asked for is empty now. Should a key have come since, close() is told.
        left = [slot for slot, keys in zip(left, found, strict=True) if len(keys) >= migration.batch]
    return sent


def _again(
    talk: Talk, migration: Migration, source: str, target: str, keys: Sequence[str], error: Exception
) -> None:
    """Send keys once more that were not all taken.

    A target that has a key already, or a connection that broke after it got it, are no trouble where both
    copies are the same; the source's is the one that clients see.
    """
    if "BUSYKEY" in str(error):
        if differing := clashing(talk, source, target, keys):
            raise Refusal(
                f"Nodes {source} and {target} both hold {printable(differing)}, with different values: "
                f"delete the wrong copy (on {target} as ASKING, then DEL), then run again.",
                keys=[printable([key]) for key in differing],
            )
    elif "IOERR" not in str(error):
        raise Refusal(
            f"Node {source} did not carry out MIGRATE to {target}: {error}.", node=source
        ) from error
    talk.say(source, [migration.words(talk.place(target), keys, replace=True)])


def clashing(talk: Talk, owner: str, holder: str, keys: Sequence[str]) -> list[str]:
    """Return the keys that two nodes hold with different values."""
    values = dumps(talk, owner, keys), dumps(talk, holder, keys)
    both = zip(keys, *values, strict=True)
    return [key for key, one, other in both if one is not None and other is not None and one != other]


def dumps(talk: Talk, addr: str, keys: Sequence[str]) -> list[str | None]:
    """Return the serialized values of keys. ASKING lets a node speak of a slot that it is only getting."""
    commands: list[Words] = [word for key in keys for word in (("ASKING",), ("DUMP", key))]
    replies = talk.ask(addr, commands)[1::2]
    for reply in replies:
        if isinstance(reply, Exception) and not asked_elsewhere(reply):
            raise Refusal(f"Node {addr} did not carry out DUMP: {reply}.", node=addr) from reply
    return [None if isinstance(reply, Exception) else reply for reply in replies]


def pull(talk: Talk, migration: Migration, owner: str, holder: str, slots: Sequence[int]) -> int:
    """Bring keys back to the owner of their slots; what the owner has already is deleted on the holder.

    An importing mark lets a node that does not own a slot give its keys away.
    """
    origin, sent = talk.place(owner), 0
    talk.say(holder, [("CLUSTER", "SETSLOT", slot, "IMPORTING", origin[0]) for slot in slots])
    for slot in slots:
        while keys := talk.say(holder, [("CLUSTER", "GETKEYSINSLOT", slot, migration.batch)])[0]:
            sent += _pull_batch(talk, migration, owner, holder, keys)
    talk.say(holder, [("CLUSTER", "SETSLOT", slot, "STABLE") for slot in slots])
    return sent


def _pull_batch(talk: Talk, migration: Migration, owner: str, holder: str, keys: Sequence[str]) -> int:
    if differing := clashing(talk, owner, holder, keys):
        raise Refusal(
            f"Node {holder} holds {printable(differing)} with another value than the owner {owner}: delete "
            f"the wrong copy (on {holder} as ASKING, then DEL), then run again.",
            keys=[printable([key]) for key in differing],
        )
    had = [key for key, value in zip(keys, dumps(talk, owner, keys), strict=True) if value is not None]
    rest = [key for key in keys if key not in set(had)]
    if had:
        talk.say(holder, [word for key in had for word in (("ASKING",), ("UNLINK", key))])
    if not rest:
        return 0
    reply = talk.ask(holder, [migration.words(talk.place(owner), rest)])[0]
    # A client may have made one of them on the owner meanwhile: the next look compares it.
    if isinstance(reply, Exception) and "BUSYKEY" not in str(reply):
        raise Refusal(f"Node {holder} did not carry out MIGRATE to {owner}: {reply}.", node=holder) from reply
    return len(rest)
