# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account says what really happened: against a server that misbehaves, on loopback."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from ansible_collections.payaid.scaling.tests.traffic.account import Account, Writer
from ansible_collections.payaid.scaling.tests.traffic.load import Load, Settings, Trust

from .conftest import Server, reset

QUICK = {"contacts": 1.0}


def run(
    server: Server,
    folder: Path,
    seconds: float,
    *,
    trust: Trust = True,
    enough: Callable[[], bool] = lambda: False,
    **settings: Any,
) -> Account:
    """Ask for some time in this process, or until it is enough, and return the account."""
    folder.mkdir()
    path = folder / "account.jsonl"
    scheme = settings.pop("scheme", "http")
    given: dict[str, Any] = {"sockets": 0, "rate": 100, "weights": QUICK, "timeout": 0.5} | settings

    async def ask() -> None:
        load = Load(Settings(target=f"{scheme}://127.0.0.1:{server.port}", run="t1", **given), trust, writer)
        loop = asyncio.get_running_loop()
        loop.call_later(seconds, load.stop.set)

        def look() -> None:
            if enough():
                load.stop.set()
            else:
                loop.call_later(0.01, look)

        look()
        await load.run()

    writer = Writer(path)
    asyncio.run(ask())
    writer.close()
    return Account.of(path)


def test_all_kinds_over_both_sorts_of_connections_are_answered(server: Server, folder: Path) -> None:
    every = {
        "page": 1.0, "contacts": 1.0, "contact": 2.0, "me": 1.0, "whoami": 1.0, "create": 2.0,
        "slow": 0.5, "slow_post": 0.5,
    }  # fmt: skip
    account = run(server, folder, 0.6, rate=200, weights=every, sockets=2)
    report = account.report()
    assert report.failed() == {}
    assert report.figures.keys() == {*every, "message", "connect"}
    assert {over for kind in every for over in report.figures[kind]} == {"kept", "new"}
    asked = [each for each in account.requests if each.over != "websocket"]
    # However busy the computer is, each moment has its request; there may be fewer moments.
    moments = sorted(each.due for each in asked)
    assert all(after - before == pytest.approx(1 / 200) for before, after in pairwise(moments))
    assert 50 < len(asked) <= 125
    assert abs(sum(each.over == "new" for each in asked) - len(asked) / 2) <= 1
    assert server.logins == 1
    assert report.releases == ("1",)
    # Each write under a name of its own, and acknowledged by the id that the server gave it.
    assert account.acknowledged == server.contacts
    assert len(set(server.contacts.values())) == len(server.contacts) > 10


def test_kept_connections_are_kept_and_new_ones_are_new(server: Server, folder: Path) -> None:
    ports: dict[str, list[Any]] = {"kept": [], "new": []}

    def note(request: web.Request) -> None:
        assert request.transport is not None
        over = "new" if request.headers.get("Connection") == "close" else "kept"
        ports[over].append(request.transport.get_extra_info("peername")[1])

    server.trouble = lambda request: note(request) if request.path == "/api/contacts" else None
    run(server, folder, 0.35)
    assert len(set(ports["new"])) == len(ports["new"]) >= 12
    assert len(set(ports["kept"])) <= 3
    assert len(ports["kept"]) >= 12


def test_a_status_is_a_failure_of_its_kind(server: Server, folder: Path) -> None:
    bad = {"POST": 502, "GET": 500}
    server.trouble = lambda request: (
        web.Response(status=bad[request.method]) if request.path == "/api/contacts" else None
    )
    account = run(server, folder, 0.25, weights={"contacts": 1.0, "create": 1.0, "page": 1.0})
    report = account.report()
    for kind, status in (("contacts", 500), ("create", 502)):
        for over in ("kept", "new"):
            figures = report.figures[kind][over]
            assert figures.failed == {f"status {status}": figures.sent}
            assert figures.ok == 0
    assert all(figures.ok == figures.sent for figures in report.figures["page"].values())
    assert account.acknowledged == {}


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("/", {"json": {}}),
        ("/", {"text": "<html>half a pa", "content_type": "text/html"}),
        ("/api/me", {"json": {"email": None}}),
        ("/api/contacts", {"text": "no JSON", "content_type": "application/json"}),
    ],
)
def test_an_answer_that_is_not_the_right_one_is_a_failure(
    server: Server, folder: Path, path: str, answer: dict[str, Any]
) -> None:
    kind = {"/": "page", "/api/me": "me", "/api/contacts": "contacts"}[path]
    if "json" in answer:
        answer = {"text": json.dumps(answer["json"]), "content_type": "application/json"}
    server.trouble = lambda request: web.Response(**answer) if request.path == path else None
    report = run(server, folder, 0.1, weights={kind: 1.0}).report()
    assert set(report.failed()) == {f"{kind} (kept): wrong answer", f"{kind} (new): wrong answer"}
    assert len(report.failures) == report.sent > 5


def test_a_contact_under_another_name_is_a_failure(server: Server, folder: Path) -> None:
    def rename(request: web.Request) -> None:
        if request.method == "GET" and request.path.startswith("/api/contacts/"):
            server.contacts[request.path.rpartition("/")[2]] = "somebody else"

    server.trouble = rename
    report = run(server, folder, 0.3, weights={"create": 1.0, "contact": 1.0}).report()
    assert {failure.cause for failure in report.failures} == {"wrong answer"}
    assert {failure.kind for failure in report.failures} == {"contact"}


def test_a_login_that_a_process_does_not_know_is_a_failure(server: Server, folder: Path) -> None:
    server.trouble = lambda request: web.Response(status=401) if request.path == "/api/me" else None
    report = run(server, folder, 0.2, weights={"me": 1.0}).report()
    assert set(report.failed()) == {"me (kept): status 401", "me (new): status 401"}


def test_connections_are_refused_and_the_outage_is_measured(server: Server, folder: Path) -> None:
    moments = []

    async def fall_and_rise() -> None:
        moments.append(time.monotonic())
        await server.leave()
        await asyncio.sleep(0.3)
        await server.listen()
        moments.append(time.monotonic())

    def fall(_request: web.Request) -> None:
        if not moments and server.asked["GET /api/contacts"] == 30:
            server.later(fall_and_rise())

    server.trouble = fall
    account = run(server, folder, 0.95)
    down, up = moments
    report = account.report(down)
    assert {failure.cause for failure in report.failures} <= {"refused", "reset"}
    assert sum(failure.cause == "refused" for failure in report.failures) > 20
    assert report.silence == pytest.approx(up - down, abs=0.15)
    assert report.recovery == pytest.approx(up - down, abs=0.15)
    assert account.report(up + 0.1).failures == ()
    assert account.report(up + 0.1).silence < 0.15


def test_a_reset_is_a_failure_and_nothing_is_asked_twice(server: Server, folder: Path) -> None:
    def hang_up(request: web.Request) -> None:
        if request.path == "/api/contacts":
            reset(request.transport)

    server.trouble = hang_up
    report = run(server, folder, 0.25, weights={"contacts": 1.0, "create": 1.0}).report()
    assert {failure.cause for failure in report.failures} == {"reset"}
    assert len(report.failures) == report.sent
    for method, kind in (("GET", "contacts"), ("POST", "create")):
        sent = sum(figures.sent for figures in report.figures[kind].values())
        assert server.asked[f"{method} /api/contacts"] == sent > 5


def test_a_kept_connection_that_breaks_is_not_tried_again(server: Server, folder: Path) -> None:
    """The library asks again by itself where a connection that it had kept turns out to be gone."""
    seen: set[Any] = set()

    def second_time(request: web.Request) -> None:
        assert request.transport is not None
        port = request.transport.get_extra_info("peername")[1]
        if port in seen:
            reset(request.transport)
        seen.add(port)

    server.trouble = second_time
    report = run(server, folder, 0.4, rate=50).report()
    kept, new = report.figures["contacts"]["kept"], report.figures["contacts"]["new"]
    # Every second request of a kept connection breaks it.
    assert kept.failed == {"reset": kept.sent // 2}
    assert new.failed == {}
    assert server.asked["GET /api/contacts"] == report.sent


def test_who_hangs_delays_nobody_else(server: Server, folder: Path) -> None:
    """Requests begin when they are due, and the time of one counts from then."""

    async def hang(request: web.Request) -> None:
        if request.path == "/api/contacts":
            await asyncio.sleep(5)

    server.trouble = hang
    report = run(server, folder, 0.6, timeout=0.4, weights={"contacts": 1.0, "whoami": 4.0}).report()
    assert {(failure.kind, failure.cause) for failure in report.failures} == {("contacts", "timeout")}
    asked = [figures for kind in report.figures.values() for figures in kind.values()]
    assert 56 <= sum(figures.sent for figures in asked) <= 62
    assert all(figures.p99 < 0.2 for figures in report.figures["whoami"].values())
    assert report.longest == pytest.approx(0.4, abs=0.15)


def test_more_than_may_be_under_way_is_reported(server: Server, folder: Path) -> None:
    async def hang(request: web.Request) -> None:
        if request.path == "/api/contacts":
            await asyncio.sleep(5)

    server.trouble = hang
    report = run(server, folder, 0.4, timeout=0.5, outstanding=10).report()
    causes = [failure.cause for failure in report.failures]
    assert causes.count("timeout") == 10
    assert causes.count("not sent") == report.sent - 10 > 25


def test_an_answer_cut_in_its_middle(server: Server, folder: Path) -> None:
    async def half(request: web.Request) -> web.StreamResponse | None:
        if request.path != "/api/contacts":
            return None
        answer = web.StreamResponse(headers={"Content-Length": "100"})
        await answer.prepare(request)
        await answer.write(b"{")
        assert isinstance(request.transport, asyncio.Transport)
        request.transport.close()
        return answer

    server.trouble = half
    report = run(server, folder, 0.2).report()
    assert {failure.cause for failure in report.failures} == {"cut"}
    assert len(report.failures) == report.sent


def test_releases_are_those_of_the_window(server: Server, folder: Path) -> None:
    moments = []

    def deploy(_request: web.Request) -> None:
        if server.asked["GET /api/whoami"] == 20:
            server.release = "2"
            moments.append(time.monotonic())

    def enough() -> bool:
        """Where it were a time, a busy computer would have asked too little by then."""
        return server.asked["GET /api/whoami"] >= 40

    server.trouble = deploy
    account = run(server, folder, 30, weights={"whoami": 1.0}, enough=enough)
    assert account.report().releases == ("1", "2")
    (moment,) = moments
    before, after = ([each for each in account.requests if each.release == one] for one in ("1", "2"))
    assert max(each.sent for each in before) < moment < min(each.ended for each in after)
    # Up to the first one that met the new release, and from the last one that met the old, read however late.
    first, last = min(each.due for each in after), max(each.ended for each in before)
    assert account.report(until=math.nextafter(first, -math.inf)).releases == ("1",)
    assert account.report(until=first).releases == ("1", "2")
    assert account.report(last).releases == ("1", "2")
    assert account.report(math.nextafter(last, math.inf)).releases == ("2",)
