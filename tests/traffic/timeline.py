# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes docs/rollout-timeline.md, and its picture, out of the ledger and of what clients saw meanwhile.

Run by `make weeks`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from .account import Account, Figures, Report, Request, figures
from .page import failures, sockets
from .picture import Picture

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "rollout-timeline.md"
PICTURE = DOCS / "images" / "rollout-timeline.svg"
BUCKET = 5.0  # s


@dataclass(frozen=True)
class Step:
    """A week that was brought about, or left for the one before; times are those of the wall clock."""

    of: int
    to: int
    begun: float
    verified: float

    @property
    def label(self) -> str:
        return f"to week {self.to}" if self.to > self.of else f"back to week {self.to}"


def steps(entries: Iterable[Mapping[str, Any]]) -> list[Step]:
    """Return what the ledger says; of one that was begun several times the first beginning counts."""
    found: list[Step] = []
    week: int | None = None
    begun: dict[int, float] = {}
    for entry in entries:
        number, moment = int(entry["week"]), datetime.fromisoformat(entry["time"]).timestamp()
        if entry["outcome"] == "begun":
            begun.setdefault(number, moment)
        elif entry["outcome"] == "verified":
            if week is not None and number != week:
                found.append(Step(week, number, begun.get(number, moment), moment))
            week, begun = number, {}
    return found


@dataclass(frozen=True)
class Bucket:
    """What clients saw of a piece of time; response times are seconds, and there are none without answers."""

    at: float
    until: float
    sent: int
    failed: int
    p50: float | None
    p99: float | None


@dataclass(frozen=True)
class Stretch:
    """One step, and all that was asked from the end of the one before it, or from the traffic's beginning."""

    step: Step
    report: Report
    # Of all that is not slow on purpose and is no WebSocket.
    quick: Figures


@dataclass(frozen=True)
class Watched:
    """The clients of one time without a break, and the steps within it."""

    account: Account
    whole: Report
    stretches: list[Stretch]
    buckets: list[Bucket] = field(repr=False)

    @property
    def seconds(self) -> float:
        return self.whole.until - self.whole.since

    def place(self, wall: float) -> float:
        """Return how long after its beginning a moment of the wall clock was."""
        return wall - float(self.account.started["wall"])

    @classmethod
    def of(cls, account: Account, known: Sequence[Step]) -> Watched:
        later = float(account.started["wall"]) - float(account.started["at"])
        whole = account.report()
        within = [
            step
            for step in known
            if whole.since <= step.verified - later and step.begun - later <= whole.until
        ]
        cuts = [*(step.verified - later for step in within[:-1]), whole.until] if within else []
        found = []
        for step, (since, until) in zip(within, pairwise([whole.since, *cuts]), strict=True):
            quick = [each for each in account.within(since, until) if each.quick]
            found.append(Stretch(step, account.report(since, until), figures(quick)))
        return cls(account, whole, found, list(_buckets(account.requests, whole.since)))


def _buckets(requests: Iterable[Request], began: float) -> Iterator[Bucket]:
    """Yield what became of requests by the time at which they were due."""
    pieces: dict[int, list[Request]] = {}
    for each in requests:
        pieces.setdefault(max(int((each.due - began) // BUCKET), 0), []).append(each)
    for number, piece in sorted(pieces.items()):
        seen = figures([each for each in piece if each.quick])
        failed = sum(each.cause is not None for each in piece)
        times = (seen.p50, seen.p99) if seen.ok else (None, None)
        yield Bucket(number * BUCKET, (number + 1) * BUCKET, len(piece), failed, *times)


def watched(accounts: Iterable[Account], entries: Sequence[Mapping[str, Any]]) -> list[Watched]:
    """Return all traffic in which there was a step of this ledger, in its order."""
    known = steps(entries)
    found = [Watched.of(account, known) for account in accounts]
    return sorted((one for one in found if one.stretches), key=lambda one: one.stretches[0].step.begun)


def rows(found: Sequence[Watched]) -> Iterator[str]:
    """Yield a line of the table for each step."""
    for one in found:
        for each in one.stretches:
            seen, quick = each.report, each.quick
            cells = (
                each.step.label,
                f"{seen.until - seen.since:.0f} s",
                str(seen.sent),
                failures(seen.failed()),
                *(f"{value * 1000:.0f} ms" for value in (quick.p50, quick.p95, quick.p99)),
                f"{quick.longest:.2f} s",
                sockets(seen.reconnects, seen.gap, seen.broken),
            )
            yield f"| {' | '.join(cells)} |"


def writes(found: Sequence[Watched]) -> dict[str, int]:
    """Return how many writes were acknowledged, and what a search for each of them has found."""
    verdicts = [verdict for one in found for verdict in one.account.all("verified")[-1:]]
    return {
        "acknowledged": sum(len(one.account.acknowledged) for one in found),
        "sought": sum(verdict["acknowledged"] for verdict in verdicts),
        "missing": sum(verdict["missing"] for verdict in verdicts),
        "duplicated": sum(verdict["duplicated"] for verdict in verdicts),
    }


def render(found: Sequence[Watched], about: Mapping[str, Any]) -> tuple[str, str]:
    """Return the page and its picture."""
    templates = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        autoescape=select_autoescape(("svg.j2",)),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    told = {
        "about": about,
        "picture": Picture.of(found).told(),
        "rows": list(rows(found)),
        "writes": writes(found),
        "sessions": len(found),
        "minutes": round(sum(one.seconds for one in found) / 60),
        "rate": max(float(one.account.started["rate"]) for one in found),
        "late": max(one.whole.late for one in found),
    }
    names = ("rollout-timeline.md.j2", "rollout-timeline.svg.j2")
    page, drawn = (templates.get_template(name).render(told) for name in names)
    return page, drawn


def main(words: Sequence[str]) -> None:
    """Read the ledger that the test has left, and the accounts in the folder beside it."""
    told = json.loads(Path(words[0]).read_text())
    accounts = [Account.of(path) for path in sorted((Path(words[0]).parent / "traffic").glob("*.jsonl"))]
    found = watched([account for account in accounts if account.all("started")], told["entries"])
    page, drawn = render(found, told["about"])
    PAGE.write_text(page)
    PICTURE.write_text(drawn)


if __name__ == "__main__":
    main(sys.argv[1:])
