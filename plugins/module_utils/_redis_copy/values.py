# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether two values are the same that are not serialised alike. Pure.

DUMP gives the order of a hash table, which differs from server to server, and the form of another version or
of other settings. So where payloads differ, values are read as an app reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from typing import Any

Words = tuple[bytes, ...]

FOOTER = 10  # bytes at the end of a payload: version and checksum


def digest(payload: bytes) -> bytes:
    """Return a digest of a value by its payload, which two servers of different versions may share."""
    return sha1(payload[:-FOOTER], usedforsecurity=False).digest()


def version_of(payload: bytes) -> int:
    return int.from_bytes(payload[-FOOTER:-8], "little")


def readings(kind: str, key: bytes) -> tuple[Words, ...]:
    """Return the commands that read a value whole; none for a type that only its module can read."""
    commands: dict[str, tuple[Words, ...]] = {
        "string": ((b"GET", key),),
        "list": ((b"LRANGE", key, b"0", b"-1"),),
        "set": ((b"SMEMBERS", key),),
        "zset": ((b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"),),
        "hash": ((b"HGETALL", key),),
        "stream": ((b"XRANGE", key, b"-", b"+"), (b"XINFO", b"STREAM", key, b"FULL", b"COUNT", b"0")),
    }
    return commands.get(kind, ())


def canonical(kind: str, replies: Sequence[Any]) -> Any:
    """Return what is equal exactly when the values are."""
    reply = replies[0]
    if kind == "set":
        return frozenset(reply)
    if kind == "hash":
        return dict(zip(reply[::2], reply[1::2], strict=True))
    if kind == "stream":
        return reply, _groups(replies[1])
    return reply


def _pairs(flat: Sequence[Any]) -> dict[bytes, Any]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _groups(info: Sequence[Any]) -> Any:
    """Take of XINFO what a copy keeps in every version, which is not when a consumer was last seen."""
    stream = _pairs(info)
    groups = []
    for group in map(_pairs, stream[b"groups"]):
        consumers = sorted(
            (consumer[b"name"], tuple(map(tuple, consumer[b"pending"])))
            for consumer in map(_pairs, group[b"consumers"])
        )
        pending = tuple(map(tuple, group[b"pending"]))
        groups.append((group[b"name"], group[b"last-delivered-id"], pending, tuple(consumers)))
    return stream[b"last-generated-id"], tuple(sorted(groups))
