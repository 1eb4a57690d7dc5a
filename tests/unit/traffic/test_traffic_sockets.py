# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""WebSockets: what is told apart when they end."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from ansible_collections.payaid.scaling.tests.traffic import sockets

from .conftest import Server
from .test_traffic_requests import run

FEW = {"contacts": 1.0}


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages often, where once a second is what as real clients send them."""
    monkeypatch.setattr(sockets, "EVERY", 0.06)
    monkeypatch.setattr(sockets, "GRACE", 0.1)


def talk(server: Server, folder: Path, seconds: float, **settings: Any) -> Any:
    given: dict[str, Any] = {"sockets": 1, "rate": 5, "weights": FEW, "echo_timeout": 0.25} | settings
    return run(server, folder, seconds, **given).report()


def once(do: Any) -> Any:
    """Do it with the third message and with no other; the others are echoed."""
    seen: Counter[str] = Counter()

    def on_message(socket: web.WebSocketResponse, text: str) -> Any:
        seen["all"] += 1
        return do(socket, text) if seen["all"] == 3 else None

    return on_message


def test_messages_are_echoed_for_as_long_as_nothing_happens(server: Server, folder: Path) -> None:
    # Longer than the time that a request may take.
    report = talk(server, folder, 0.6, sockets=3, timeout=0.3)
    assert report.failed() == {}
    assert 24 <= report.figures["message"]["websocket"].sent <= 30
    assert report.figures["connect"]["websocket"].sent == 3
    assert (report.closes, report.broken, report.reconnects, report.crossed) == ({}, 0, 0, 0)


def test_a_message_that_crossed_an_orderly_close_is_sent_again(server: Server, folder: Path) -> None:
    async def leave(socket: web.WebSocketResponse, _text: str) -> bool:
        return await socket.close(code=1001)

    server.on_message = once(leave)
    report = talk(server, folder, 0.3)
    assert report.failed() == {}
    assert report.closes == {"1001": 1}
    assert (report.broken, report.reconnects, report.crossed) == (0, 1, 1)
    assert 0 < report.gap < 0.1
    assert report.figures["connect"]["websocket"].sent == 2


def test_a_message_that_the_server_kept_to_itself_before_its_close_is_lost(
    server: Server, folder: Path
) -> None:
    async def think_and_leave(socket: web.WebSocketResponse, _text: str) -> bool:
        await asyncio.sleep(0.2)
        return await socket.close(code=1001)

    server.on_message = once(think_and_leave)
    report = talk(server, folder, 0.45)
    assert report.failed() == {"message (websocket): lost": 1}
    assert (report.closes, report.broken, report.reconnects, report.crossed) == ({"1001": 1}, 0, 1, 0)


@pytest.mark.parametrize(("code", "seen"), [(1011, "1011"), (None, "1006"), (0, "1006")])
def test_an_end_that_is_not_orderly_is_broken(
    server: Server, folder: Path, code: int | None, seen: str
) -> None:
    """An error of the server's, a reset, and a stream that just ends."""

    async def fail(socket: web.WebSocketResponse, _text: str) -> bool:
        if code:
            return await socket.close(code=code)
        server.cut(socket, with_reset=code is None)
        return True

    server.on_message = once(fail)
    report = talk(server, folder, 0.3)
    assert report.failed() == {"message (websocket): cut": 1}
    assert (report.closes, report.broken, report.reconnects) == ({seen: 1}, 1, 1)


def test_who_gets_no_echo_gives_up(server: Server, folder: Path) -> None:
    server.on_message = once(lambda _socket, _text: True)
    report = talk(server, folder, 0.5)
    assert report.failed() == {"message (websocket): timeout": 1}
    assert (report.closes, report.broken, report.reconnects) == ({"1006": 1}, 1, 1)


def test_another_echo_is_a_failure(server: Server, folder: Path) -> None:
    async def garble(socket: web.WebSocketResponse, text: str) -> bool:
        await socket.send_str(text + "!")
        return True

    server.on_message = once(garble)
    report = talk(server, folder, 0.3)
    assert report.failed() == {"message (websocket): wrong answer": 1}
    assert report.broken == 0


def test_a_server_that_is_away_is_tried_until_it_is_back(server: Server, folder: Path) -> None:
    async def restart(socket: web.WebSocketResponse) -> None:
        # In this order: whoever is sent away comes back at once.
        await server.refuse()
        await socket.close(code=1001)
        await server.leave()
        await asyncio.sleep(0.4)
        await server.listen()

    def begin(socket: web.WebSocketResponse, _text: str) -> bool:
        server.later(restart(socket))
        return True

    server.on_message = once(begin)
    report = talk(server, folder, 0.9)
    failed = report.figures["connect"]["websocket"].failed
    assert failed.keys() <= {"refused", "reset"}
    assert failed["refused"] >= 2
    assert report.gap == pytest.approx(0.45, abs=0.2)
    # The one that waits for the new connection is no failure, however long it takes.
    assert not [each for each in report.failures if each.kind == "message"], report.closes


def test_a_handshake_that_is_refused(server: Server, folder: Path) -> None:
    server.trouble = lambda request: web.Response(status=502) if request.path == "/api/echo" else None
    report = talk(server, folder, 0.3)
    assert set(report.failed()) == {"connect (websocket): status 502"}
