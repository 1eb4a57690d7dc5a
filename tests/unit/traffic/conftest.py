# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small server that keeps the app's contract, and breaks it in the way it is told to."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web

COOKIE = "payaid_session"
SLOW = 0.3  # s that it takes for what is asked to be slow


class Server:
    """Answers on loopback, in a thread of its own. `trouble` is asked about each request first."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.context = context
        self._tasks: set[asyncio.Task[Any]] = set()
        self.port = 0
        self.contacts: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.logins = 0
        self.release = "1"
        self.trouble: Callable[[web.Request], Any] = lambda _request: None
        self.on_message: Callable[[web.WebSocketResponse, str], Any] = lambda _socket, _text: None
        self.sockets: set[web.WebSocketResponse] = set()
        self._raw: dict[web.WebSocketResponse, asyncio.Transport] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._runner: web.AppRunner | None = None

    # -- answers

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked[f"{request.method} {request.path}"] += 1
        told = self.trouble(request)
        if asyncio.iscoroutine(told):
            told = await told
        if isinstance(told, web.StreamResponse):
            return told
        answers = {
            "GET /": self._page,
            "GET /api/contacts": self._contacts,
            "POST /api/contacts": self._create,
            "POST /api/login": self._login,
            "GET /api/me": self._me,
            "GET /api/whoami": self._whoami,
            "GET /api/slow": self._slow,
            "POST /api/slow": self._slow,
            "GET /api/echo": self._echo,
        }
        return await answers.get(f"{request.method} {request.path}", self._contact)(request)

    async def _page(self, _request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>hello</html>", content_type="text/html")

    async def _contacts(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"contacts": [], "source": "cache"})

    async def _create(self, request: web.Request) -> web.StreamResponse:
        name = (await request.json())["name"]
        made = str(len(self.contacts) + 1)
        self.contacts[made] = name
        if "Idempotency-Key" not in request.headers:
            return web.Response(status=400)
        return web.json_response({"id": made, "name": name}, status=201)

    async def _contact(self, request: web.Request) -> web.StreamResponse:
        known = request.path.rpartition("/")[2]
        if known not in self.contacts:
            return web.json_response({}, status=404)
        return web.json_response({"id": known, "name": self.contacts[known]})

    async def _login(self, _request: web.Request) -> web.StreamResponse:
        self.logins += 1
        answer = web.json_response({"email": "demo@payaid.lab"})
        answer.set_cookie(COOKIE, "signed", httponly=True)
        return answer

    async def _me(self, request: web.Request) -> web.StreamResponse:
        if request.cookies.get(COOKIE) != "signed":
            return web.json_response({}, status=401)
        return web.json_response({"email": "demo@payaid.lab"})

    async def _whoami(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response({"node": "n", "process": "3000", "release": self.release})

    async def _slow(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(SLOW)
        return web.json_response({"slept_ms": int(request.query["ms"]), "release": self.release})

    async def _echo(self, request: web.Request) -> web.WebSocketResponse:
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        assert isinstance(request.transport, asyncio.Transport)
        self._raw[opened] = request.transport
        self.sockets.add(opened)
        async for message in opened:
            assert message.type is WSMsgType.TEXT
            told = self.on_message(opened, message.data)
            if asyncio.iscoroutine(told):
                await told
            elif told is None:
                await opened.send_str(message.data)
        self.sockets.discard(opened)
        return opened

    def cut(self, opened: web.WebSocketResponse, *, with_reset: bool) -> None:
        """End a WebSocket without a close."""
        transport = self._raw[opened]
        if with_reset:
            reset(transport)
        else:
            transport.close()

    # -- turns

    def do(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(5)

    def later(self, work: Any) -> None:
        """Have something done that nobody waits for."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def listen(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.context, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def refuse(self) -> None:
        """Refuse whoever comes, and go on with those who are there."""
        assert self._runner is not None
        for site in list(self._runner.sites):
            await site.stop()

    async def leave(self) -> None:
        """Refuse whoever comes, and close whatever is open."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def start(self) -> None:
        self._thread.start()
        self.do(self.listen())

    def close(self) -> None:
        async def end() -> None:
            await self.leave()
            left = asyncio.all_tasks() - {asyncio.current_task()}
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

        self.do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def reset(transport: asyncio.BaseTransport | None) -> None:
    """Close a connection so that its client gets a reset in place of an end."""
    assert transport is not None
    raw = transport.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert isinstance(transport, asyncio.Transport)
    transport.abort()


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[Server]:
    server = Server(context)
    server.start()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "accounts"
