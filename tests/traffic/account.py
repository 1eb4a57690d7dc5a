# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The account: one JSON object a line, written while the traffic runs, and the figures that follow from it.

All times are seconds of this computer's monotonic clock (`time.monotonic()`), which every process here reads
alike; the first line (`started`) gives the wall clock at its own.

- `started`: target, rate, weights, name of the run.
- `request`: one that has ended: `kind`, `over` (`kept`, `new` or `websocket`), `due`, `sent`, `ended`;
  `cause` and `said` where it failed; `release` that answered, where told; `id` and `name` of an acknowledged
  write.
- `closed`, `again`: a WebSocket ended (`code`, `orderly`) and is open again (`gap` in seconds).
- `crossed`: a message and the server's orderly close passed each other; it is sent again.
- `mark`: what a test did to the machines, and when.
- `complete`: whatever was due before `until` has been written.
- `summary`: the figures over all, as the last line of the traffic itself.
- `verified`: how many acknowledged writes were asked for afterwards, and how many of them were `missing` or
  `duplicated`.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from .mix import SLOW

Event = dict[str, Any]


class Writer:
    """Appends whole lines, so that the test may add its marks to the same file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lines: list[str] = []

    def add(self, event: str, **more: Any) -> None:
        kept = {name: value for name, value in more.items() if value is not None}
        self._lines.append(json.dumps({"event": event, **kept}) + "\n")

    def flush(self) -> None:
        """Hand the lines over in one write: such writes do not mix."""
        text, self._lines = "".join(self._lines).encode(), []
        while text:
            text = text[os.write(self._file, text) :]

    def close(self) -> None:
        self.flush()
        os.close(self._file)


@dataclass(frozen=True)
class Request:
    """One that has ended, well where `cause` is nothing."""

    kind: str
    over: str
    due: float
    sent: float
    ended: float
    cause: str | None = None
    said: str = ""
    release: str | None = None
    id: str | None = None
    name: str | None = None

    @property
    def waited(self) -> float:
        """How long its client waited: from when it was due, whenever it was sent."""
        return self.ended - self.due

    @property
    def quick(self) -> bool:
        """Whether it is neither slow on purpose nor a message, and so says how soon the service answers."""
        return self.kind not in SLOW and self.over != "websocket"


@dataclass(frozen=True)
class Figures:
    """Of one kind over one sort of connection. The shares of the latency are of good answers; `longest` is
    of all.
    """

    sent: int
    ok: int
    failed: dict[str, int]
    p50: float
    p95: float
    p99: float
    longest: float


@dataclass(frozen=True)
class Report:
    """What clients saw between two moments: all that was under way at any time of it.

    `silence` is the longest time in which no request sent since the beginning was answered well, those that
    are slow on purpose aside. `recovery` is the time from the beginning to the end of the last failure, 0
    where nothing failed. `closes` counts the codes with which WebSockets ended, `broken` those that ended
    otherwise than by an orderly close, and `gap` is the longest time until such a client was connected
    again. `late` is how much later than due the generator itself sent a request at the worst: beyond a few
    hundredths of a second this computer was too busy to measure.
    """

    since: float
    until: float
    figures: dict[str, dict[str, Figures]]
    failures: tuple[Request, ...]
    silence: float
    recovery: float
    releases: tuple[str, ...]
    closes: dict[str, int]
    broken: int
    reconnects: int
    gap: float
    crossed: int
    late: float

    @property
    def sent(self) -> int:
        return sum(each.sent for kind in self.figures.values() for each in kind.values())

    @property
    def longest(self) -> float:
        return max((each.longest for kind in self.figures.values() for each in kind.values()), default=0.0)

    def failed(self) -> dict[str, int]:
        """Count the failures by kind, connection and cause."""
        return dict(Counter(f"{each.kind} ({each.over}): {each.cause}" for each in self.failures))

    def as_json(self) -> dict[str, Any]:
        return {
            "seconds": round(self.until - self.since, 3),
            "kinds": {
                kind: {over: each.__dict__ for over, each in by_connection.items()}
                for kind, by_connection in self.figures.items()
            },
            "sent": self.sent,
            "failed": self.failed(),
            "silence": round(self.silence, 3),
            "recovery": round(self.recovery, 3),
            "releases": self.releases,
            "websockets": {
                "closes": self.closes,
                "broken": self.broken,
                "reconnects": self.reconnects,
                "gap": round(self.gap, 3),
                "crossed": self.crossed,
            },
            "late": round(self.late, 3),
        }


def share(ordered: Sequence[float], part: float) -> float:
    """Return the smallest value that at least this part of all does not exceed."""
    return ordered[max(math.ceil(part * len(ordered)) - 1, 0)] if ordered else 0.0


def figures(requests: Sequence[Request]) -> Figures:
    good = sorted(each.waited for each in requests if each.cause is None)
    return Figures(
        sent=len(requests),
        ok=len(good),
        failed=dict(Counter(each.cause for each in requests if each.cause is not None)),
        p50=round(share(good, 0.5), 4),
        p95=round(share(good, 0.95), 4),
        p99=round(share(good, 0.99), 4),
        longest=round(max((each.waited for each in requests), default=0.0), 4),
    )


def silence(requests: Iterable[Request], since: float, until: float) -> float:
    """Return the longest time without a good answer to a request that was sent since the beginning."""
    answered = sorted(
        each.ended
        for each in requests
        if each.cause is None and each.quick and since <= each.sent and each.ended <= until
    )
    moments = [since, *answered, until]
    return max(after - before for before, after in pairwise(moments))


@dataclass
class Account:
    """What has been written so far."""

    path: Path
    events: list[Event] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    _read: int = 0

    @classmethod
    def of(cls, path: Path) -> Account:
        found = cls(path)
        found.refresh()
        return found

    def refresh(self) -> None:
        """Read the lines that have come since."""
        with self.path.open("rb") as file:
            file.seek(self._read)
            whole, end, _rest = file.read().rpartition(b"\n")
        self._read += len(whole) + len(end)
        for line in whole.splitlines():
            event = json.loads(line)
            if event.pop("event") == "request":
                self.requests.append(Request(**event))
            else:
                self.events.append(json.loads(line))

    def all(self, name: str) -> list[Event]:
        return [event for event in self.events if event["event"] == name]

    @property
    def started(self) -> Event:
        return self.all("started")[0]

    @property
    def complete(self) -> float:
        """Until when all that was due has been written."""
        return float(max((event["until"] for event in self.all("complete")), default=-math.inf))

    @property
    def acknowledged(self) -> dict[str, str]:
        """Return the names of the contacts that were promised to be there, by their ids."""
        return {each.id: each.name for each in self.requests if each.id and each.name}

    def within(self, since: float, until: float) -> list[Request]:
        """Return what was under way at any time between the two."""
        return [each for each in self.requests if each.ended >= since and each.due <= until]

    def report(self, since: float = -math.inf, until: float = math.inf) -> Report:
        """Return the figures of all that was under way between the two."""
        began = self.started["at"]
        last = max([each.ended for each in self.requests] + [began, self.complete])
        since, until = max(since, began), min(until, last)
        within = self.within(since, until)
        failures = tuple(each for each in within if each.cause is not None)
        by_kind: dict[str, dict[str, list[Request]]] = {}
        for each in within:
            by_kind.setdefault(each.kind, {}).setdefault(each.over, []).append(each)
        here = [event for event in self.events if since <= event.get("at", -math.inf) <= until]
        closed = [event for event in here if event["event"] == "closed"]
        again = [event for event in here if event["event"] == "again"]
        return Report(
            since=since,
            until=until,
            figures={
                kind: {over: figures(them) for over, them in sorted(by_connection.items())}
                for kind, by_connection in sorted(by_kind.items())
            },
            failures=failures,
            silence=silence(within, since, max(until, since)),
            recovery=max((each.ended - since for each in failures), default=0.0),
            releases=tuple(sorted({each.release for each in within if each.release})),
            closes=dict(Counter(str(event["code"]) for event in closed)),
            broken=sum(not event["orderly"] for event in closed),
            reconnects=len(again),
            gap=max((event["gap"] for event in again), default=0.0),
            crossed=sum(event["event"] == "crossed" for event in here),
            late=max((each.sent - each.due for each in within if each.over != "websocket"), default=0.0),
        )
