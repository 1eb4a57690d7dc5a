# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WebSocket clients, and what they may expect when a server goes away in good order.

Each sends a numbered message a second and awaits its echo; when its connection ends it opens another at once.

A WebSocket has no acknowledgement of its own, so a message may always cross the server's close on the way:
the server never read it, and no deployment can help that. What a client of ours does then is what every
careful client does, it sends the message again over its next connection. That is `crossed`, counted but no
failure. A message fails

- as `lost`, where the server closed in good order although it had had the message for longer than GRACE and
  not echoed it: a server that drains answers what it was asked before it says goodbye;
- as `cut`, where the connection ended without a close, or with a code that says something else than "going
  away": that is no orderly end, and the client cannot know what became of the message;
- as `timeout`, where no echo came within the time. The client then gives the connection up, which counts as
  broken.

So "no failures" says: every message was echoed, and every connection was ended by a close or by ourselves.
The time of a message counts from when it was due, over all the connections that it took; an attempt to
connect that fails is a failure of the kind `connect`, and the next follows PAUSE later.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aiohttp

from .account import Writer
from .causes import cause_of

if TYPE_CHECKING:
    from .load import Settings

WebSocket = aiohttp.ClientWebSocketResponse[Any]
PATH = "/api/echo"
EVERY = 1.0  # s between two messages
GRACE = 1.0  # s that a message may have been with a server which then closes without an echo
CLOSE_TIMEOUT = aiohttp.ClientWSTimeout(ws_close=1.0)  # whom we give up may not answer our close
PAUSE = 0.1  # s after a failed attempt to connect
BROKEN = 1006  # what no server sends: there was no close
# Normal closure, going away, service restart.
ORDERLY = frozenset({1000, 1001, 1012})


class Talker:
    """One client."""

    def __init__(
        self, number: int, settings: Settings, session: aiohttp.ClientSession, writer: Writer
    ) -> None:
        self.number, self.settings, self.session, self.writer = number, settings, session, writer
        self._message = 0
        self._due = 0.0
        self._waiting = False
        self._closed_at: float | None = None

    @property
    def since(self) -> float | None:
        """When what it is waiting for was due."""
        return self._due if self._waiting else self._closed_at

    async def talk(self, stop: asyncio.Event) -> None:
        # Not all in the same instant.
        self._due = time.monotonic() + EVERY * self.number / self.settings.sockets
        stopped = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                if (socket := await self._open()) is None:
                    await asyncio.wait([stopped], timeout=PAUSE)
                    continue
                await self._use(socket, stopped)
        finally:
            stopped.cancel()
        if self._waiting:
            self._end(time.monotonic(), "not awaited")

    async def _open(self) -> WebSocket | None:
        tried = time.monotonic()
        url = f"{self.settings.target}{PATH}".replace("http", "ws", 1)
        named: dict[str, Any] = (
            {"server_hostname": self.settings.server_name} if self.settings.server_name else {}
        )
        try:
            async with asyncio.timeout(self.settings.timeout):
                socket: WebSocket = await self.session.ws_connect(url, timeout=CLOSE_TIMEOUT, **named)
        except Exception as error:  # whatever it is, it is this connection's failure
            self._note("connect", tried, tried, cause=cause_of(error), said=repr(error)[:200])
            return None
        self._note("connect", tried, tried)
        if self._closed_at is not None:
            now = time.monotonic()
            self.writer.add("again", at=now, client=self.number, gap=now - self._closed_at)
            self._closed_at = None
        return socket

    async def _use(self, socket: WebSocket, stopped: asyncio.Task[bool]) -> None:
        """Send and await until the connection ends, by whomever."""
        echoes: asyncio.Queue[str] = asyncio.Queue()
        reader = asyncio.create_task(self._read(socket, echoes))
        sent = time.monotonic()
        said = ""
        again = self._waiting
        try:
            while again or await self._next(reader, stopped):
                again = False
                sent = time.monotonic()
                await socket.send_str(self._text())
                if not await self._echo(sent, reader, echoes):
                    break
            if self._waiting and not reader.done():
                said = "no echo, given up"
                self._end(sent, "timeout")
        except (aiohttp.ClientError, OSError, RuntimeError) as error:
            # The server was gone when we wrote; how it went, the reader knows.
            said = repr(error)
            await asyncio.wait([reader], timeout=GRACE)
        if reader.done() or said:
            self._closed(reader.result() if reader.done() else BROKEN, sent, said)
        reader.cancel()
        await asyncio.wait([reader])
        await socket.close()

    async def _next(self, reader: asyncio.Task[int], stopped: asyncio.Task[bool]) -> bool:
        """Wait until the next message is due; not so where the connection ends before, or we are to end."""
        wait = max(self._due - time.monotonic(), 0)
        await asyncio.wait([reader, stopped], timeout=wait, return_when=asyncio.FIRST_COMPLETED)
        if reader.done() or stopped.done():
            return False
        self._message += 1
        self._waiting = True
        return True

    async def _echo(self, sent: float, reader: asyncio.Task[int], echoes: asyncio.Queue[str]) -> bool:
        """Await the echo; not so where the connection ends before, or none comes within the time."""
        echo = asyncio.create_task(echoes.get())
        await asyncio.wait(
            [reader, echo], timeout=self.settings.echo_timeout, return_when=asyncio.FIRST_COMPLETED
        )
        if not echo.done():
            echo.cancel()
            return False
        self._end(sent, None if echo.result() == self._text() else "wrong answer", echo.result())
        return True

    async def _read(self, socket: WebSocket, echoes: asyncio.Queue[str]) -> int:
        """Hand echoes on until the connection ends; return the code of the server's close, if it sent any."""
        while True:
            try:
                message = await socket.receive()
            except (aiohttp.ClientError, OSError, RuntimeError):
                return BROKEN
            if message.type is aiohttp.WSMsgType.TEXT:
                echoes.put_nowait(str(message.data))
            elif message.type is aiohttp.WSMsgType.CLOSE:
                return int(message.data or 1005)
            else:
                # The library calls the end of the stream a normal closure; without the server's close it is
                # none.
                return BROKEN

    def _closed(self, code: int, sent: float, said: str) -> None:
        now = self._closed_at = time.monotonic()
        orderly = code in ORDERLY
        self.writer.add("closed", at=now, client=self.number, code=code, orderly=orderly, said=said or None)
        if not self._waiting:
            return
        if not orderly:
            self._end(sent, "cut", said)
        elif now - sent > GRACE:
            self._end(sent, "lost")
        else:
            self.writer.add("crossed", at=now, client=self.number, message=self._message)

    def _text(self) -> str:
        return f"{self.settings.run} {self.number} {self._message}"

    def _end(self, sent: float, cause: str | None, said: str = "") -> None:
        self._note("message", self._due, sent, cause=cause, said=said if cause else None)
        self._waiting = False
        self._due = max(self._due + EVERY, time.monotonic())

    def _note(self, kind: str, due: float, sent: float, **more: Any) -> None:
        more = {"kind": kind, "over": "websocket", "due": due, "sent": sent, "ended": time.monotonic()} | more
        self.writer.add("request", **more)
