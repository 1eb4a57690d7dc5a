# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a standalone server bit by bit, so that its own clients notice as little as may be."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.facts import Server
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import (
    NEVER,
    Desired,
    Entry,
    Pending,
    portions,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.reach import (
    BROKEN,
    payload_version,
    reach,
    server,
    told,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.values import digest
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.wire import Link, Reply, Words

KNOWS_MOMENTS = (7, 0)  # the first with PEXPIRETIME
LOGIN_OPTIONS = "source.login_user and source.login_password"
# PTTL and PEXPIRETIME say so of a key that has no expiry, and of one that is not there.
NO_EXPIRY, NO_KEY = -1, -2

Glance = tuple[Pending, int]
Value = tuple[Pending, bytes, Entry]


class Pace:
    """Lets no more than so many keys a second through; any number where the rate is 0."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._next = 0.0

    def wait(self, keys: int) -> None:
        if self._rate:
            now = time.monotonic()
            if self._next > now:
                time.sleep(self._next - now)
            self._next = max(now, self._next) + keys / self._rate


class Source(AbstractContextManager["Source"]):
    """The standalone server. One link walks over its keys, another one fetches values meanwhile."""

    def __init__(self, desired: Desired, login: Login) -> None:
        self._desired = desired
        self._login = login
        self._links: dict[str, Link] = {}
        self._moments = True
        self._pace = Pace(desired.max_rate)

    def __exit__(self, *_error: object) -> None:
        for link in self._links.values():
            link.close()

    @property
    def addr(self) -> str:
        return self._desired.source.addr

    def look(self) -> Server:
        link = self._link("values")
        try:
            seen = server(f"The source {self.addr}", link, time.time() * 1000)
            if not seen.loading:
                seen = replace(seen, rdb=payload_version(f"The source {self.addr}", link))
        except BROKEN as error:
            self._links.pop("values").close()
            raise self._gone(error) from error
        self._moments = seen.version >= KNOWS_MOMENTS
        return replace(seen, addr=self.addr)

    def glances(self) -> Iterator[list[Glance]]:
        """Walk over all keys once: name, type, size and expiry, without values."""
        cursor, names = b"0", list[bytes]()
        seen: set[bytes] = set()
        most = self._desired.batch_keys
        while True:
            cursor, found = self.ask("names", [(b"SCAN", cursor, b"COUNT", b"%d" % most)])[0]
            for name in found:
                # A walk may come by a key more than once while the table it is in grows or shrinks.
                if name not in seen:
                    seen.add(name)
                    names.append(name)
            while len(names) >= most or (cursor == b"0" and names):
                yield self._glance(names[:most])
                del names[:most]
            if cursor == b"0":
                return

    def _glance(self, names: Sequence[bytes]) -> list[Glance]:
        self._pace.wait(len(names))
        words: list[Words] = [(b"TIME",)]
        for name in names:
            words += (
                (b"TYPE", name),
                (b"MEMORY", b"USAGE", name, b"SAMPLES", b"5"),
                (self._expiry_word, name),
            )
        now, *replies = self.ask("names", words)
        found = []
        for name, kind, size, left in zip(names, replies[::3], replies[1::3], replies[2::3], strict=True):
            if kind != b"none" and size is not None and left != NO_KEY:
                found.append((Pending(name, kind.decode(), size), self._expiry(now, left)))
        return found

    def digests(self, keys: Sequence[Pending]) -> list[bytes | None]:
        """Return a digest of each value; None for a key that has gone."""
        found: list[bytes | None] = []
        for part in portions(keys, self._desired.batch_keys, self._desired.batch_bytes):
            payloads = self.ask("values", [(b"DUMP", pending.key) for pending in part])
            found += [None if payload is None else digest(payload) for payload in payloads]
        return found

    def values(self, keys: Sequence[Pending]) -> Iterator[list[Value]]:
        """Fetch keys as they are now, in bearable parts; those that have gone are left out."""
        for part in portions(keys, self._desired.batch_keys, self._desired.batch_bytes):
            self._pace.wait(len(part))
            words: list[Words] = [(b"TIME",)]
            for pending in part:
                words += ((b"DUMP", pending.key), (self._expiry_word, pending.key))
            now, *replies = self.ask("values", words)
            found = []
            for pending, payload, left in zip(part, replies[::2], replies[1::2], strict=True):
                # Gone in between: without its expiry a session would live for ever.
                if payload is not None and left != NO_KEY:
                    entry = Entry(digest(payload), self._expiry(now, left))
                    found.append((pending, payload, entry))
            yield found

    def ask(self, link: str, commands: Sequence[Words]) -> list[Reply]:
        return told(f"The source {self.addr}", self.try_asking(link, commands))

    def try_asking(self, link: str, commands: Sequence[Words]) -> list[Reply]:
        """Ask what the app may have made impossible in this moment."""
        try:
            return self._link(link).ask(commands)
        except BROKEN as error:
            self._links.pop(link).close()
            raise self._gone(error) from error

    @property
    def _expiry_word(self) -> bytes:
        return b"PEXPIRETIME" if self._moments else b"PTTL"

    def _expiry(self, now: Sequence[bytes], left: int) -> int:
        if left == NO_EXPIRY:
            return NEVER
        return left if self._moments else int(now[0]) * 1000 + int(now[1]) // 1000 + left

    def _link(self, name: str) -> Link:
        if name not in self._links:
            self._links[name] = reach("The source", self._desired.source, self._login, LOGIN_OPTIONS)
        return self._links[name]

    def _gone(self, error: Exception) -> Refusal:
        return Refusal(
            f"The source {self.addr} broke the connection off ({error}): run again when it is back; what has "
            "been "
            "copied stays."
        )
