# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a run: everything that its template writes down."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from .charts import charts
from .compare import comparison
from .given import Run, number, part, rows, run_of, text, words
from .tables import AT_THE_EDGE, ON_MACHINES, tables, tried
from .targets import Judged, judged, verdict, wanted_milliseconds
from .words import NONE, amount, clock, day, measured, percent

COUNTS = ("requests", "failed", "limited", "users")


def page(given: Any, previous: Any) -> dict[str, Any]:
    """Return what stands on the page, the verdict first and last what nobody measured."""
    run = run_of(given, "run")
    targets = judged(run)
    drawn = charts(run, wanted_milliseconds(targets, "latency_p95"))
    edge, unseen_at_the_edge = tables(run, AT_THE_EDGE)
    machines, unseen_on_machines = tables(run, ON_MACHINES)
    return {
        "scenario": run["scenario"],
        "title": run["title"],
        "tool": run["tool"],
        "about": text(run.get("about")),
        "day": day(text(run["began"])),
        "facts": list(_facts(run)),
        "verdict": verdict(run, targets),
        "problems": words(part(run, "slo"), "problems"),
        "tiles": list(_tiles(run, targets)),
        "targets": [one.row() for one in targets],
        "findings": _findings(run),
        "comparison": comparison(run, run_of(previous, "previous run")) if previous else {},
        "charts": drawn,
        "edge": edge,
        "machines": machines,
        "tried": tried(run),
        "absent": [*_absent(run, drawn), *_without_errors(run, unseen_at_the_edge), *unseen_on_machines],
    }


def _findings(run: Run) -> list[dict[str, str]] | None:
    """Return what limits the platform; none where nobody looked, which is not the same as nothing."""
    if run.get("findings") is None:
        return None
    return [
        {name: text(one.get(name)) for name in ("sentence", "variable", "remedy")}
        | {"bottleneck": text(one.get("bottleneck")).replace("_", " ")}
        for one in rows(run, "findings")
    ]


def _facts(run: Run) -> Iterator[dict[str, Any]]:
    week = run.get("week")
    known = {
        "began": day(text(run["began"])),
        "took": clock(number(run["seconds"]) or 0),
        "against": text(run["target"]),
        "from": ", ".join(words(run, "generators")),
        "by": text(run.get("by")),
        "commit": text(run.get("commit")),
        "week": "" if week is None else str(week),
    }
    for label, value in known.items():
        if value:
            yield {"label": label, "value": value}


def _tiles(run: Run, targets: Sequence[Judged]) -> Iterator[dict[str, str]]:
    totals, seconds = part(run, "totals"), number(run["seconds"])
    requests, failed, limited, users = (number(totals.get(name)) for name in COUNTS)
    share = percent(failed, requests) if requests is not None and failed is not None else None
    known = {
        "Requests": amount(requests),
        "Requests a second": amount(requests / seconds if requests is not None and seconds else None),
        "Failed": amount(failed),
        "Limited (429)": amount(limited),
        "Latency p95": next((one.shown for one in targets if one.metric == "latency_p95"), NONE),
        "Users in all": amount(users),
        "₹ a month": text(part(run, "cost").get("text")) or NONE,
    }
    for label, value in known.items():
        if value != NONE:
            more = measured(share, "%") if label == "Failed" and share is not None else ""
            yield {"label": label, "value": value, "more": more}


def _absent(run: Run, drawn: dict[str, Any]) -> Iterator[str]:
    if not part(run, "totals"):
        yield "what the clients counted"
    if run.get("findings") is None:
        yield "what limits the platform"
    if not drawn:
        yield "requests and response times over time"
    elif len(drawn["charts"]) < 3:
        yield "response times over time"
    if not part(run, "cost"):
        yield "what the platform costs"


def _without_errors(run: Run, unseen: Sequence[str]) -> Iterator[str]:
    """Leave the errors out where it is known that there were none."""
    buckets = rows(part(run, "edge"), "buckets")
    none = bool(buckets) and not any(number(one.get("failed")) for one in buckets)
    for one in unseen:
        if not (none and one == "errors by kind"):
            yield one
