# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted and what was seen of the keys on both sides. No sockets here."""

from __future__ import annotations

import binascii
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal

SLOTS = 16384
MAX_PORT = 65535
NEVER = -1  # the expiry of a key that has none, as PEXPIRETIME says it
SAMPLE = 10  # names in a sentence or a result
LONGEST_NAME = 80
PRINTABLE = frozenset(string.printable) - frozenset("\t\n\r\x0b\x0c")


def slot_of(key: bytes) -> int:
    """Return the slot of a key: CRC16 of what is between the first braces, if anything is."""
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1 : end]
    return binascii.crc_hqx(key, 0) % SLOTS


def shown(key: bytes) -> str:
    """Return a key's name as a person can read it, whatever bytes it is made of."""
    text = key.decode("utf-8", "backslashreplace")
    text = "".join(c if c in PRINTABLE or ord(c) > 0xA0 else f"\\x{ord(c):02x}" for c in text)
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}..."


@dataclass(frozen=True)
class Endpoint:
    """Where a server is, as the user says it."""

    host: str
    port: int

    @property
    def addr(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Desired:
    """What is to be copied from where to where, and who wins."""

    source: Endpoint
    nodes: tuple[Endpoint, ...]
    final: bool = False
    on_conflict: str = "fail"
    delete: bool = False
    deleted_limit: int = 1000
    tolerance: int = 1000  # ms
    batch_keys: int = 500
    batch_bytes: int = 8 * 1024 * 1024
    max_rate: int = 0
    timeout: int = 60

    @classmethod
    def wanted(cls, params: Mapping[str, Any]) -> Desired:
        """Take the module's options, and refuse what no run could be done with."""
        nodes = tuple(Endpoint(node["host"], node["port"]) for node in params["nodes"])
        source = Endpoint(params["source"]["host"], params["source"]["port"])
        if not nodes:
            raise Refusal("nodes is empty: list at least one node of the cluster.")
        for endpoint in (source, *nodes):
            if not 0 < endpoint.port <= MAX_PORT:
                raise Refusal(f"{endpoint.addr} has no usable port: give one from 1 to {MAX_PORT}.")
        for name, least in (
            ("batch_keys", 1),
            ("batch_bytes", 1024),
            ("timeout", 1),
            ("max_rate", 0),
            ("deleted_limit", 0),
            ("expiry_tolerance_ms", 0),
        ):
            if params[name] < least:
                raise Refusal(f"{name}={params[name]} is too little: give {least} or more.")
        return cls(
            source=source,
            nodes=nodes,
            final=params["stage"] == "finish",
            on_conflict=params["on_conflict"],
            delete=params["delete"],
            deleted_limit=params["deleted_limit"],
            tolerance=params["expiry_tolerance_ms"],
            batch_keys=params["batch_keys"],
            batch_bytes=params["batch_bytes"],
            max_rate=params["max_rate"],
            timeout=params["timeout"],
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """A key on one side: a digest of its value as that side serialises it, and when it expires."""

    digest: bytes
    expiry: int = NEVER


def alike(one: int, other: int, tolerance: int) -> bool:
    """Tell whether two expiries are the same moment."""
    return one == other or (NEVER not in (one, other) and abs(one - other) <= tolerance)


def matches(known: Entry | None, seen: Entry, tolerance: int) -> bool:
    return known is not None and known.digest == seen.digest and alike(known.expiry, seen.expiry, tolerance)


# Stands for a key that is about to be deleted.
ABSENT = Entry(bytes(20))


@dataclass(frozen=True, slots=True)
class Base:
    """What an earlier look knew of a key: the last time when both sides held the same."""

    source: Entry | None = None
    target: Entry | None = None
    # Written by us, and not only found to be the same: only such a key is ever deleted.
    copied: bool = False
    # What was about to be written when nothing more was heard.
    intent: Entry | None = None
    # Different on both sides, and left so because on_conflict says that the cluster is right.
    kept: bool = False

    def holds(self, seen: Entry, tolerance: int) -> bool:
        """Tell whether the cluster still holds what we left or began to write there."""
        return matches(self.target, seen, tolerance) or matches(self.intent, seen, tolerance)

    def ours(self, seen: Entry, tolerance: int) -> bool:
        """Tell whether what the cluster holds is beyond doubt of our writing."""
        return (self.copied and self.holds(seen, tolerance)) or matches(self.intent, seen, tolerance)

    @property
    def traced(self) -> bool:
        """Whether the cluster may hold something of our writing."""
        return self.copied or self.intent is not None

    def lapsed(self, now: int) -> bool:
        """Tell whether the absence of a key says nothing: it has expired by itself, or we deleted it."""
        return self.intent == ABSENT or (self.target is not None and NEVER < self.target.expiry <= now)

    def unchanged(self, source: Entry, tolerance: int) -> bool:
        """Tell whether the source still holds what the cluster was given."""
        return self.intent is None and matches(self.source, source, tolerance)


class Verdict(Enum):
    """What is to be said of one key. The text is its name in the result."""

    EQUAL = "equal"
    NEW = "missing"
    LOST = "unfinished"
    OUTDATED = "outdated"
    CONFLICT = "conflicts"
    AHEAD = "changed_in_cluster"
    DROPPED = "deleted_in_cluster"
    WITHDRAWN = "deleted_at_source"


@dataclass(frozen=True, slots=True)
class Pending:
    """A key that something may be done about, and what the cluster held when that was decided."""

    key: bytes
    type: str
    size: int = 0
    target: Entry | None = None


@dataclass(frozen=True)
class Shard:
    """A master of the cluster, and how many bytes it can take; None where there is no limit."""

    addr: str
    room: int | None = None
    needed: int = 0


@dataclass(frozen=True)
class Survey:
    """Every key of the source set against the cluster."""

    source_keys: int = 0
    target_keys: int = 0
    counts: Mapping[Verdict, int] = field(default_factory=dict)
    pending: Mapping[Verdict, tuple[Pending, ...]] = field(default_factory=dict)
    types: Mapping[str, int] = field(default_factory=dict)
    shards: tuple[Shard, ...] = ()
    # Keys that the app has changed at the source while they were copied: the next pass takes them.
    behind: int = 0

    def count(self, verdict: Verdict) -> int:
        return self.counts.get(verdict, 0)

    def moved(self, verdict: Verdict, to: Verdict | None, target_keys: int = 0) -> Survey:
        """Foretell that all keys of one verdict have come to another, or are no more."""
        counts = dict(self.counts)
        number = counts.pop(verdict, 0)
        if to is not None:
            counts[to] = counts.get(to, 0) + number
        return replace(
            self,
            counts=counts,
            pending={known: keys for known, keys in self.pending.items() if known is not verdict},
            target_keys=self.target_keys + target_keys,
        )

    def excused(self, verdicts: Iterable[Verdict]) -> Survey:
        """Leave to the next pass what the app has changed during this one; the counts keep saying so."""
        left = set(verdicts)
        behind = sum(len(keys) for verdict, keys in self.pending.items() if verdict in left)
        return replace(
            self,
            behind=behind,
            pending={verdict: keys for verdict, keys in self.pending.items() if verdict not in left},
        )


def portions(keys: Sequence[Pending], most_keys: int, most_bytes: int) -> Iterator[Sequence[Pending]]:
    """Cut a list so that no part is more than so many keys, nor, unless it is one key, so many bytes."""
    start = total = 0
    for end, pending in enumerate(keys):
        if end > start and (end - start >= most_keys or total + pending.size > most_bytes):
            yield keys[start:end]
            start, total = end, 0
        total += pending.size
    if start < len(keys):
        yield keys[start:]
