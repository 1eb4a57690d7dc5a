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

from ansible_collections.payaid.scaling.plugins.plugin_utils._charts import Axis, path, short
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from .account import Account, Figures, Report, Request, figures
from .page import failures, sockets

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "rollout-timeline.md"
PICTURE = DOCS / "images" / "rollout-timeline.svg"
BUCKET = 5.0  # s
GAP = 20.0  # s of nothing between one traffic and the next, for the eye
WIDTH, LEFT, RIGHT = 1200, 60, 12
WEEKS, TIMES, FAILURES = (58, 168), (212, 392), (436, 496)  # where the three drawings begin and end
WHOLE = 5  # the last week
MINUTES = 5  # between two ticks


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
        yield Bucket(
            number * BUCKET,
            len(piece),
            failed,
            *((seen.p50, seen.p99) if seen.ok else (None, None)),
        )


def watched(accounts: Iterable[Account], entries: Sequence[Mapping[str, Any]]) -> list[Watched]:
    """Return all traffic in which there was a step of this ledger, in its order."""
    known = steps(entries)
    found = [Watched.of(account, known) for account in accounts]
    return sorted((one for one in found if one.stretches), key=lambda one: one.stretches[0].step.begun)


# ------------------------------------------------------------------ the picture


def picture(found: Sequence[Watched]) -> dict[str, Any]:
    """Return where everything is in the picture."""
    offsets = [0.0]
    for one in found:
        offsets.append(offsets[-1] + one.seconds + GAP)
    x = Axis(0, offsets[-1] - GAP, LEFT, WIDTH - RIGHT)
    week = Axis(0, WHOLE, WEEKS[1], WEEKS[0])
    times = [value * 1000 for one in found for each in one.buckets for value in (each.p50, each.p99) if value]
    low, high = 1.0, max([100.0, *times])
    ticks = [tick for tick in (1, 10, 100, 1000, 10_000) if low <= tick <= high]
    y = Axis(low, high, TIMES[1], TIMES[0], logarithmic=True)
    most = max([1, *(each.failed for one in found for each in one.buckets)])
    lost = Axis(0, most, FAILURES[1], FAILURES[0])

    def line(name: str) -> str:
        drawn = []
        for offset, one in zip(offsets, found, strict=False):
            points = [
                (x(offset + each.at + BUCKET / 2), y(value * 1000))
                for each in one.buckets
                if (value := getattr(each, name)) is not None
            ]
            drawn.append(path(points))
        return "".join(drawn)

    bands, weeks, bars = [], [], []
    for offset, one in zip(offsets, found, strict=False):
        last, points = one.stretches[0].step.of, [(x(offset), week(one.stretches[0].step.of))]
        for each in one.stretches:
            begun, verified = (
                min(max(one.place(moment), 0), one.seconds)
                for moment in (each.step.begun, each.step.verified)
            )
            begins, ends = x(offset + begun), x(offset + verified)
            bands.append(
                {
                    "x": begins,
                    "width": round(max(ends - begins, 0.5), 1),
                    "middle": round((begins + ends) / 2, 1),
                    "label": f"{each.step.of} → {each.step.to}",
                    "css": "forth" if each.step.to > each.step.of else "away",
                }
            )
            points += [(ends, week(last)), (ends, week(each.step.to))]
            last = each.step.to
        weeks.append(path([*points, (x(offset + one.seconds), week(last))]))
        bars += [
            {
                "x": x(offset + each.at),
                "y": lost(each.failed),
                "height": round(FAILURES[1] - lost(each.failed), 1),
            }
            for each in one.buckets
            if each.failed
        ]
    return {
        "width": WIDTH,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "lanes": {"weeks": WEEKS, "times": TIMES, "failures": FAILURES},
        "bands": bands,
        "breaks": [x(offset - GAP / 2) for offset in offsets[1:-1]],
        "weeks": "".join(weeks),
        "week_ticks": [{"at": week(number), "label": str(number)} for number in range(WHOLE + 1)],
        "p50": line("p50"),
        "p99": line("p99"),
        "time_ticks": [{"at": y(tick), "label": short(tick)} for tick in ticks],
        "bars": bars,
        "bar_width": round(max(x(BUCKET) - x(0), 1.0), 1),
        "failed": sum(each.failed for one in found for each in one.buckets),
        "sent": sum(each.sent for one in found for each in one.buckets),
        "most": most,
        "minutes": [
            {"at": x(minute * 60), "label": str(minute)}
            for minute in range(0, int(x.most // 60) + 1, MINUTES)
        ],
    }


# ------------------------------------------------------------------ the page


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
        "picture": picture(found),
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
