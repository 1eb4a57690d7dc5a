# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks at both sides and carries keys over. Who is right about a key is not decided here."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from hashlib import sha1
from typing import Any, TypeVar

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import count
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.cluster import PAUSE, Cluster, Job
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.facts import (
    Facts,
    Server,
    refuse_unfit,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.journal import Journal, digest_of_key
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import (
    ABSENT,
    NEVER,
    Base,
    Desired,
    Entry,
    Pending,
    Shard,
    Survey,
    Verdict,
    alike,
    matches,
    portions,
    shown,
    slot_of,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.plan import decide
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.reach import BROKEN, server
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.source import NO_KEY, Source, Value
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.values import (
    canonical,
    digest,
    readings,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.wire import Failed, Reply

# Each writes one key in one go, and only if the cluster still holds what was seen there: the app may have
# written it since. What is answered is a digest of what is there now, which is not always serialised as it
# came.
STILL = b"""
local function still(key, digest, expiry)
  if digest == '' then
    return redis.call('EXISTS', key) == 0
  end
  local held = redis.call('DUMP', key)
  return held and redis.sha1hex(string.sub(held, 1, -11)) == digest
    and redis.call('PEXPIRETIME', key) == tonumber(expiry)
end
"""
PUT = (
    STILL
    + b"""
if not still(KEYS[1], ARGV[1], ARGV[2]) then return 'changed' end
redis.call('RESTORE', KEYS[1], ARGV[3], ARGV[4], 'ABSTTL', 'REPLACE')
local held = redis.call('DUMP', KEYS[1])
return held and redis.sha1hex(string.sub(held, 1, -11)) or 'expired'
"""
)
DROP = (
    STILL
    + b"""
if not still(KEYS[1], ARGV[1], ARGV[2]) then return 'changed' end
redis.call('UNLINK', KEYS[1])
return 'deleted'
"""
)
KNOWS_FIELD_EXPIRY = (7, 4)

Kept = tuple[Pending, Entry]
T = TypeVar("T")


def sha1_of(script: bytes) -> bytes:
    return sha1(script, usedforsecurity=False).hexdigest().encode()


@dataclass
class Tally:
    """What this run has done to keys, each counted once it is there."""

    copied: int = 0
    replaced: int = 0
    deleted: int = 0
    # Gone from the source, by expiry or by the app, between being seen and being copied.
    gone: int = 0
    # Written by the app in the cluster between being seen and being copied, and so left alone.
    overtaken: int = 0


@dataclass
class Findings:
    """A survey in the making."""

    counts: Counter[Verdict]
    pending: dict[Verdict, list[Pending]]
    types: Counter[str]
    needed: Counter[str]
    found: list[tuple[bytes, Entry, Entry]]
    copied: list[tuple[bytes, Entry, Entry]]
    kept: list[tuple[bytes, Entry, Entry]]
    keys: int = 0

    @classmethod
    def none(cls) -> Findings:
        return cls(Counter(), defaultdict(list), Counter(), Counter(), [], [], [])


def ahead(parts: Iterable[T]) -> Iterator[T]:
    """Fetch the next part while the last one is being worked on."""
    walk = iter(parts)
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as pool:
        coming = pool.submit(next, walk, None)
        while (part := coming.result()) is not None:
            coming = pool.submit(next, walk, None)
            yield part


class CopyIO(AbstractContextManager["CopyIO"]):
    """Both sides of one run, and its journal."""

    def __init__(
        self, desired: Desired, journal: Journal, source: Login, target: Login, *, check_mode: bool
    ) -> None:
        self._desired = desired
        self._journal = journal
        self._check_mode = check_mode
        self._source = Source(desired, source)
        self._cluster = Cluster(desired.nodes, target, desired.timeout)
        self._facts: Facts | None = None
        self._stack = ExitStack()
        self.tally = Tally()

    def __enter__(self) -> CopyIO:
        for side in (self._journal, self._source, self._cluster):
            self._stack.enter_context(side)
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    # ---------------------------------------------------------------- look

    def observe(self) -> Survey:
        """Set every key of the source against the cluster."""
        self._facts = self.look()
        refuse_unfit(self._facts, self._desired.tolerance)
        if self._desired.final and not self._journal.known and self._facts.source.databases:
            raise Refusal(
                f"The journal {self._journal.path} knows of no key that was copied: run stage=copy first, on "
                "the same host and with the same journal."
            )
        self._journal.belongs(self._desired.source.addr, (peer.id for peer in self._cluster.peers))
        found = Findings.none()
        names: set[bytes] = set()
        for glances in ahead(self._source.glances()):
            if self._journal.known:
                names.update(digest_of_key(pending.key) for pending, _expiry in glances)
            self._judge(glances, found)
        self._find_withdrawn(names, found)
        return self._survey(found)

    def look(self) -> Facts:
        """Look at both sides as servers. Once a copy is under way, a failover is waited for."""
        end = time.monotonic() + (self._desired.timeout if self._facts else 0)
        while True:
            try:
                facts = self._look()
            except Refusal:
                if time.monotonic() >= end:
                    raise
            else:
                if facts.state == "ok" or time.monotonic() >= end:
                    return facts
            time.sleep(PAUSE)

    def _look(self) -> Facts:
        source = self._source.look()
        seed = self._cluster.seed()
        first = self._server(seed)
        state, slots = "", 0
        masters: list[Server] = []
        if first.cluster:
            (info,) = self._cluster.ask(seed, (b"CLUSTER", b"INFO"))
            state = info.decode().partition("cluster_state:")[2].split()[0]
            self._cluster.refresh()
            slots = sum(count(peer.slots) for peer in self._cluster.peers)
            if state == "ok":
                masters = [self._server(addr) for addr in self._cluster.masters]
        return Facts(source, tuple(masters), first, state, slots)

    def _server(self, addr: str) -> Server:
        try:
            return replace(server(f"Node {addr}", self._cluster.link(addr), time.time() * 1000), addr=addr)
        except BROKEN as error:
            self._cluster.drop(addr)
            raise Refusal(
                f"Node {addr} broke the connection off ({error}): run again when it is back."
            ) from error

    def _judge(self, glances: Sequence[tuple[Pending, int]], found: Findings) -> None:
        expiries = self._ask_cluster([(pending.key, b"PEXPIRETIME") for pending, _expiry in glances])
        both: list[tuple[Pending, int, int]] = []
        missing: list[tuple[Pending, int, Base]] = []
        for (pending, expiry), held in zip(glances, expiries, strict=True):
            base = self._journal.get(pending.key)
            if held != NO_KEY:
                both.append((pending, expiry, held))
            elif base is None or not self._desired.final or base.target is None:
                # Its value is of no account yet, and is not asked for.
                self._file(pending, Entry(b"", expiry), None, base, None, found)
            else:
                missing.append((pending, expiry, base))
        for pending, expiry, base, value in self._with_digests(missing):
            self._file(pending, Entry(value, expiry), None, base, None, found)
        done = 0
        for part in portions([row[0] for row in both], self._desired.batch_keys, self._desired.batch_bytes):
            self._compare(both[done : done + len(part)], found)
            done += len(part)

    def _with_digests(
        self, rows: Sequence[tuple[Pending, int, Base]]
    ) -> Iterator[tuple[Pending, int, Base, bytes]]:
        values = self._source.digests([pending for pending, _expiry, _base in rows])
        for row, value in zip(rows, values, strict=True):
            if value is not None:
                yield (*row, value)

    def _compare(self, both: Sequence[tuple[Pending, int, int]], found: Findings) -> None:
        keys = [pending for pending, *_rest in both]
        at_source = self._source.digests(keys)
        in_cluster = self._ask_cluster([(pending.key, b"DUMP") for pending in keys])
        unlike: list[tuple[Pending, Entry, Entry]] = []
        for (pending, expiry, target_expiry), one, payload in zip(both, at_source, in_cluster, strict=True):
            if one is None:
                continue  # gone in between
            source = Entry(one, expiry)
            target = None if payload is None else Entry(digest(payload), target_expiry)
            base = self._journal.get(pending.key)
            if target is None or not alike(expiry, target_expiry, self._desired.tolerance):
                self._file(pending, source, target, base, False, found)
            elif source.digest == target.digest:
                self._file(pending, source, target, base, True, found)
            else:
                unlike.append((pending, source, target))
        same = self._same_values([pending for pending, _source, _target in unlike])
        for (pending, source, target), equal in zip(unlike, same, strict=True):
            self._file(pending, source, target, self._journal.get(pending.key), equal, found)

    def _same_values(self, keys: Sequence[Pending]) -> list[bool | None]:
        """Compare values as an app reads them; None for those that only their module could read."""
        readable = [(pending, readings(pending.type, pending.key)) for pending in keys]
        words = [(pending.key, command) for pending, commands in readable for command in commands]
        ours = iter(self._source.try_asking("values", [command for _key, command in words]))
        theirs = iter(self._ask_cluster(words))
        same: list[bool | None] = []
        for pending, commands in readable:
            source, target = ([next(side) for _command in commands] for side in (ours, theirs))
            if not commands:
                same.append(None)
            elif any(isinstance(reply, Failed) for reply in (*source, *target)):
                same.append(False)  # of another type there, or by now
            else:
                equal = canonical(pending.type, source) == canonical(pending.type, target)
                same.append(equal and self._same_field_expiries(pending, source[0]))
        return same

    def _same_field_expiries(self, pending: Pending, value: Reply) -> bool:
        facts = self._facts
        if facts is None or pending.type != "hash" or not value:
            return True
        if min(one.version for one in (facts.source, *facts.masters)) < KNOWS_FIELD_EXPIRY:
            return True
        names = value[::2]
        words = (b"HPEXPIRETIME", pending.key, b"FIELDS", b"%d" % len(names), *names)
        return bool(self._source.try_asking("values", [words]) == self._ask_cluster([(pending.key, words)]))

    def _file(
        self,
        pending: Pending,
        source: Entry,
        target: Entry | None,
        base: Base | None,
        equal: bool | None,
        found: Findings,
    ) -> None:
        tolerance = self._desired.tolerance
        verdict = decide(
            source,
            target,
            base,
            equal=equal,
            final=self._desired.final,
            tolerance=tolerance,
            now=round(time.time() * 1000),
        )
        if verdict is None:
            return
        found.keys += 1
        found.counts[verdict] += 1
        found.types[pending.type] += 1
        if verdict is Verdict.EQUAL and target is not None:
            self._learn(pending.key, source, target, base, found)
        elif verdict is Verdict.CONFLICT and target and self._desired.on_conflict == "target":
            self._keep(pending, source, target, base, found)
        elif verdict not in (Verdict.EQUAL, Verdict.AHEAD, Verdict.DROPPED):
            found.pending[verdict].append(pending if target is None else replace(pending, target=target))
            if verdict in (Verdict.NEW, Verdict.LOST) and target is None:
                found.needed[self._cluster.owners[slot_of(pending.key)]] += pending.size

    def _learn(self, key: bytes, source: Entry, target: Entry, base: Base | None, found: Findings) -> None:
        """Remember both sides of a key that is the same on both, unless they are known already."""
        tolerance = self._desired.tolerance
        if base and base.unchanged(source, tolerance) and matches(base.target, target, tolerance):
            return
        kept = found.copied if base and base.ours(target, tolerance) else found.found
        kept.append((key, source, target))

    def _keep(
        self, pending: Pending, source: Entry, target: Entry, base: Base | None, found: Findings
    ) -> None:
        """Remember that the cluster is right about a key: should the app delete it there, it stays so."""
        found.pending[Verdict.CONFLICT].append(replace(pending, target=target))
        tolerance = self._desired.tolerance
        known = base and base.kept and base.unchanged(source, tolerance)
        if not (known and base and matches(base.target, target, tolerance)):
            found.kept.append((pending.key, source, target))

    def _find_withdrawn(self, names: set[bytes], found: Findings) -> None:
        """Look for keys that were copied and that the source has no more."""
        missing = {name for name, base in self._journal.known.items() if base.traced and name not in names}
        if not missing:
            return
        for keys in self._cluster_names(missing):
            self._judge_withdrawn(keys, found)

    def _judge_withdrawn(self, keys: Sequence[bytes], found: Findings) -> None:
        kinds = self._source.ask("values", [(b"TYPE", key) for key in keys])
        gone = [key for key, kind in zip(keys, kinds, strict=True) if kind == b"none"]
        words = (b"TYPE", b"DUMP", b"PEXPIRETIME")
        replies = self._ask_cluster([(key, word) for key in gone for word in words])
        # A key that expires this moment on both sides is gone from one of them first.
        soon = time.time() * 1000 + self._desired.tolerance
        for key, kind, payload, expiry in zip(gone, replies[::3], replies[1::3], replies[2::3], strict=True):
            if payload is None or expiry == NO_KEY or (expiry != NEVER and expiry <= soon):
                continue
            target = Entry(digest(payload), expiry)
            verdict = decide(
                None,
                target,
                self._journal.get(key),
                equal=None,
                final=self._desired.final,
                tolerance=self._desired.tolerance,
            )
            if verdict is not None:
                found.counts[verdict] += 1
                found.pending[verdict].append(Pending(key, kind.decode(), 0, target))

    def _cluster_names(self, wanted: set[bytes]) -> Iterator[list[bytes]]:
        """Walk over the cluster's keys and return those that are looked for."""
        for addr in self._cluster.masters:
            cursor = b"0"
            while True:
                ((cursor, names),) = self._cluster.ask(
                    addr, (b"SCAN", cursor, b"COUNT", b"%d" % self._desired.batch_keys)
                )
                if here := [name for name in names if digest_of_key(name) in wanted]:
                    wanted -= {digest_of_key(name) for name in here}
                    yield here
                if cursor == b"0":
                    break

    def _survey(self, found: Findings) -> Survey:
        self._journal.found(found.found)
        self._journal.copied(found.copied)
        self._journal.kept(found.kept)
        facts = self._facts
        masters = facts.masters if facts else ()
        sizes = [self._cluster.ask(addr, (b"DBSIZE",))[0] for addr in self._cluster.masters]
        return Survey(
            source_keys=found.keys,
            target_keys=sum(sizes),
            counts=dict(found.counts),
            pending={verdict: tuple(keys) for verdict, keys in found.pending.items()},
            types=dict(found.types),
            shards=tuple(Shard(node.addr, node.room, found.needed[node.addr]) for node in masters),
        )

    # --------------------------------------------------------------- write

    def put(self, keys: Sequence[Pending]) -> None:
        fetched = 0
        for values in ahead(self._source.values(keys)):
            self._put(values)
            fetched += len(values)
        self.tally.gone += len(keys) - fetched
        self._journal.sync()

    def _put(self, values: Sequence[Value]) -> None:
        self._journal.intend((pending.key, entry) for pending, _payload, entry in values)
        name = sha1_of(PUT)
        jobs = []
        for pending, payload, entry in values:
            expiry = b"0" if entry.expiry == NEVER else b"%d" % entry.expiry
            jobs.append(_job(name, pending, expiry, payload))
        replies, durable = self._cluster.run(jobs, scripts=(PUT,), confirm=True)
        kept, overtaken = [], []
        for (pending, _payload, entry), reply, safe in zip(values, replies, durable, strict=True):
            if self._done(pending, reply, "expired", "changed"):
                self._count_put(pending)
                # What no replica has yet may be lost by a failover: it stays begun, and is looked at again.
                if safe:
                    kept.append((pending.key, entry, Entry(bytes.fromhex(reply.decode()), entry.expiry)))
            elif reply == b"changed" and self._desired.on_conflict == "target":
                overtaken.append((pending.key, entry, ABSENT))
        self._journal.copied(kept)
        # The app has just written them, which is all that is known of what the cluster holds.
        self._journal.kept(overtaken)

    def _count_put(self, pending: Pending) -> None:
        if pending.target is None:
            self.tally.copied += 1
        else:
            self.tally.replaced += 1

    def drop(self, keys: Sequence[Pending]) -> None:
        name = sha1_of(DROP)
        for part in portions(keys, self._desired.batch_keys, self._desired.batch_bytes):
            kinds = self._source.ask("values", [(b"TYPE", pending.key) for pending in part])
            gone = [pending for pending, kind in zip(part, kinds, strict=True) if kind == b"none"]
            self._journal.intend((pending.key, ABSENT) for pending in gone)
            replies, _durable = self._cluster.run(
                [_job(name, p) for p in gone], scripts=(DROP,), confirm=True
            )
            done = [p for p, reply in zip(gone, replies, strict=True) if self._done(p, reply, "changed")]
            self.tally.deleted += len(done)
            self._journal.gone(pending.key for pending in done)
        self._journal.sync()

    def _done(self, pending: Pending, reply: Reply, *otherwise: str) -> bool:
        """Tell whether a script did its work; refuse where the cluster would not let it."""
        if isinstance(reply, Failed):
            owner = self._cluster.owners[slot_of(pending.key)]
            remedy = "raise its maxmemory" if reply.text.startswith("OOM") else "check its version and ACL"
            raise Refusal(
                f"Node {owner} did not take the key {shown(pending.key)} ({reply.text}): {remedy}, then run "
                "again; what has been copied stays.",
                node=owner,
            )
        said = reply.decode()
        if said in otherwise:
            self.tally.overtaken += said == "changed"
            self.tally.gone += said == "expired"
            return False
        return True

    def _ask_cluster(self, asked: Sequence[tuple[bytes, Any]]) -> list[Reply]:
        """Ask about keys: by a word that the key follows, or by a whole command."""
        jobs = []
        for key, word in asked:
            words = (word, key) if isinstance(word, bytes) else word
            jobs.append(Job(slot_of(key), words))
        return self._cluster.run(jobs)[0]


def _job(script: bytes, pending: Pending, *arguments: bytes) -> Job:
    held = pending.target
    state = (b"", b"0") if held is None else (held.digest.hex().encode(), b"%d" % held.expiry)
    return Job(slot_of(pending.key), (b"EVALSHA", script, b"1", pending.key, *state, *arguments))
