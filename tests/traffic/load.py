# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests at a constant rate: each begins when it is due, whatever became of those before it."""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp

from .account import Writer
from .causes import cause_of
from .mix import KINDS, WEIGHTS, Kind
from .sockets import Talker

FLUSH = 0.2  # s
SAID = 200  # characters of an answer that are kept with a failure
Trust = ssl.SSLContext | aiohttp.Fingerprint | bool


@dataclass(frozen=True)
class Settings:
    """What is asked of whom."""

    target: str
    run: str
    rate: float = 60
    weights: dict[str, float] = field(default_factory=lambda: dict(WEIGHTS))
    sockets: int = 4
    timeout: float = 15  # s, from when a request is sent
    echo_timeout: float = 5  # s
    outstanding: int = 400
    tenant: str = "traffic"
    email: str = "demo@payaid.lab"
    password: str = "demo"  # noqa: S105  # what the lab seeds; another comes from the environment
    # For verification of a name that is not the target's; empty for that.
    server_name: str = ""
    seed: int = 1


class LoginError(Exception):
    """Nobody can be asked who they are without it."""


def session_of(kept: bool, settings: Settings, trust: Trust) -> aiohttp.ClientSession:
    """Open a client that keeps its connections, or makes a new one each time, and never asks twice."""
    connector = aiohttp.TCPConnector(limit=0, ssl=trust, force_close=not kept)
    session = aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=settings.timeout, ceil_threshold=float("inf")),
        headers={"X-Tenant-ID": settings.tenant},
    )
    # The library would send a GET again whose kept connection was closed, and such failures are what is
    # counted here. It has no public switch; its own test client sets the same.
    session._retry_connection = False
    return session


class Load:
    """Asks until it is told to stop, and waits for what is under way."""

    def __init__(self, settings: Settings, trust: Trust, writer: Writer) -> None:
        self.settings, self.trust, self.writer = settings, trust, writer
        self.stop = asyncio.Event()
        self._random = random.Random(settings.seed)  # noqa: S311  # a repeatable mix, no secret
        self._under_way: dict[asyncio.Task[None], float] = {}
        self._acknowledged: list[tuple[str, str]] = []
        self._talkers: list[Talker] = []
        self._cookie = ""

    async def run(self) -> None:
        kept, new = (session_of(keep, self.settings, self.trust) for keep in (True, False))
        async with kept, new:
            await self._log_in(new)
            await self._serve(kept, new)

    async def _serve(self, kept: aiohttp.ClientSession, new: aiohttp.ClientSession) -> None:
        async with asyncio.TaskGroup() as group:
            self._talkers = [
                Talker(number, self.settings, new, self.writer) for number in range(self.settings.sockets)
            ]
            began = time.monotonic()
            self.writer.add(
                "started",
                at=began,
                wall=time.time(),
                target=self.settings.target,
                rate=self.settings.rate,
                run=self.settings.run,
                weights=self.settings.weights,
            )
            self.writer.flush()
            flushing = group.create_task(self._flush())
            talking = [group.create_task(talker.talk(self.stop)) for talker in self._talkers]
            await self._ask_on({"kept": kept, "new": new}, began)
            if self._under_way or talking:
                await asyncio.wait([*self._under_way, *talking])
            flushing.cancel()
        self._complete(time.monotonic())

    async def _log_in(self, session: aiohttp.ClientSession) -> None:
        """Log in once: from then on every process has to know the cookie."""
        who = {"email": self.settings.email, "password": self.settings.password}
        try:
            async with session.post(f"{self.settings.target}/api/login", json=who, **self._named()) as answer:
                said = await answer.text()
                cookies = [f"{name}={morsel.value}" for name, morsel in answer.cookies.items()]
        except (aiohttp.ClientError, OSError) as error:
            raise LoginError(f"no login at {self.settings.target}: {error}") from error
        if answer.status != 200 or not cookies:
            raise LoginError(f"no login at {self.settings.target}: {answer.status} {said[:SAID]}")
        self._cookie = "; ".join(cookies)

    async def _ask_on(self, sessions: dict[str, aiohttp.ClientSession], began: float) -> None:
        names, weights = zip(*self.settings.weights.items(), strict=True)
        for number in count():
            due = began + number / self.settings.rate
            # Also where it is behind: what is under way must have its turn.
            await asyncio.sleep(max(due - time.monotonic(), 0))
            if self.stop.is_set():
                return
            (name,) = self._random.choices(names, weights)
            if name == "contact" and not self._acknowledged:
                name = "contacts"
            over = "new" if number % 2 else "kept"
            if len(self._under_way) >= self.settings.outstanding:
                said = f"{len(self._under_way)} were under way"
                self._note(name, over, due, due, due, cause="not sent", said=said)
                continue
            task = asyncio.create_task(self._ask(KINDS[name], over, due, sessions[over], number))
            self._under_way[task] = due
            task.add_done_callback(self._under_way.pop)

    async def _ask(
        self, kind: Kind, over: str, due: float, session: aiohttp.ClientSession, number: int
    ) -> None:
        path, headers, body, wanted, known = kind.path, {}, None, "", ""
        if kind.name == "contact":
            known, wanted = self._random.choice(self._acknowledged)
            path = path.format(id=known)
        elif kind.name == "create":
            wanted = f"{self.settings.run} {number}"
            body = {"name": wanted, "email": f"{self.settings.run}-{number}@traffic.example"}
            headers["Idempotency-Key"] = f"{self.settings.run}-{number}"
        elif kind.name == "me":
            headers["Cookie"] = self._cookie
        sent = time.monotonic()
        more: dict[str, Any] = {}
        try:
            async with session.request(
                kind.method,
                f"{self.settings.target}{path}",
                headers=headers,
                json=body,
                allow_redirects=False,
                **self._named(),
            ) as answer:
                content = await answer.read()
            cause = kind.wrong(answer.status, answer.headers.get("Content-Type", ""), content)
            said = {} if cause or not kind.check else json.loads(content)
            if wanted and not cause and said.get("name") != wanted:
                cause = "wrong answer"
            if cause:
                more["said"] = f"{path}: {content[:SAID].decode(errors='replace')}"
            else:
                more["release"] = said.get("release")
        # What the library raises beside its own errors is a failure of the request too, never of the
        # generator.
        except Exception as error:
            cause = cause_of(error)
            more["said"] = f"{path}: {error!r}"[:SAID]
        if kind.name == "create" and cause is None:
            self._acknowledged.append((str(said["id"]), wanted))
            more |= {"id": str(said["id"]), "name": wanted}
        self._note(kind.name, over, due, sent, time.monotonic(), cause=cause, **more)

    def _named(self) -> dict[str, Any]:
        return {"server_hostname": self.settings.server_name} if self.settings.server_name else {}

    def _note(self, kind: str, over: str, due: float, sent: float, ended: float, **more: Any) -> None:
        self.writer.add("request", kind=kind, over=over, due=due, sent=sent, ended=ended, **more)

    def _complete(self, now: float) -> None:
        waiting = [since for talker in self._talkers if (since := talker.since) is not None]
        self.writer.add("complete", until=min([now, *self._under_way.values(), *waiting]))
        self.writer.flush()

    async def _flush(self) -> None:
        while True:
            await asyncio.sleep(FLUSH)
            self._complete(time.monotonic())
