# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One connection that many commands are sent on at once, and their replies read as bytes."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.connection import connect

SLOW = 60.0  # s that one command may take: a value of some GB is serialised in one go

Words = Sequence[bytes]


@dataclass(frozen=True)
class Failed:
    """What a server says instead of an answer."""

    text: str


Reply = Any  # bytes, int, None, Failed, or a list of them


# Lengths of most words, because a copy is mostly the packing of short ones.
SIZES = tuple(b"$%d" % size for size in range(1024))


def packed(commands: Iterable[Words]) -> bytes:
    """Write commands as the server reads them."""
    parts: list[bytes] = []
    known = len(SIZES)
    for words in commands:
        parts.append(b"*%d" % len(words))
        for word in words:
            size = len(word)
            parts += (SIZES[size] if size < known else b"$%d" % size, word)
    parts.append(b"")
    return b"\r\n".join(parts)


def read_reply(file: Any) -> Reply:
    """Read one RESP2 reply; EOFError when the server has gone away."""
    line = file.readline()
    if line[-1:] != b"\n":
        raise EOFError("Connection closed by server")
    kind = line[:1]
    if kind == b"$":
        size = int(line[1:])
        if size < 0:
            return None
        data = file.read(size + 2)
        if len(data) != size + 2:
            raise EOFError("Connection closed by server")
        return data[:-2]
    if kind == b":":
        return int(line[1:])
    if kind == b"+":
        return bytes(line[1:-2])
    if kind == b"-":
        return Failed(line[1:-2].decode("utf-8", "replace"))
    if kind == b"*":
        size = int(line[1:])
        return None if size < 0 else [read_reply(file) for _item in range(size)]
    raise EOFError(f"Not a reply: {line[:40]!r}")


class Link:
    """A connection to one server. After an error it is of no more use."""

    def __init__(self, host: str, port: int, login: Login) -> None:
        # The client logs in, and secures the connection where it is to be; its own pipelines are several
        # times slower than this copy may be.
        self._connection = connect(host, port, login).connection_pool.make_connection()
        self._connection.connect()
        self._socket: socket.socket = self._connection._sock
        self._socket.settimeout(SLOW)
        self._file = self._socket.makefile("rb", buffering=1 << 16)

    def ask(self, commands: Sequence[Words]) -> list[Reply]:
        """Send commands at once and return their replies, in order."""
        self._socket.sendall(packed(commands))
        file = self._file
        return [read_reply(file) for _command in commands]

    def close(self) -> None:
        with suppress(OSError):  # a connection that is broken cannot be closed properly
            self._file.close()
        self._connection.disconnect()
