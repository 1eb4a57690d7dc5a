# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answers each line with the same line, at all ports given. SIGUSR1 has it speak first to all."""

from __future__ import annotations

import asyncio
import signal
import sys

CLIENTS: set[asyncio.StreamWriter] = set()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    CLIENTS.add(writer)
    try:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    except ConnectionError:
        pass  # the client went away
    finally:
        CLIENTS.discard(writer)
        writer.close()


def speak() -> None:
    for writer in CLIENTS:
        writer.write(b"spoken first\n")


async def main() -> None:
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, speak)
    servers = [await asyncio.start_server(answer, None, int(port), backlog=1024) for port in sys.argv[1:]]
    await asyncio.gather(*(server.serve_forever() for server in servers))


asyncio.run(main())
