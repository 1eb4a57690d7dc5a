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
from .words import amount, clock, day, measured, percent


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
        "findings": [
            {name: text(one.get(name)) for name in ("sentence", "variable", "remedy")}
            | {"bottleneck": text(one.get("bottleneck")).replace("_", " ")}
            for one in rows(run, "findings")
        ],
        "comparison": comparison(run, run_of(previous, "previous run")) if previous else {},
        "charts": drawn,
        "edge": edge,
        "machines": machines,
        "tried": tried(run),
        "absent": [*_absent(run, drawn), *_without_errors(run, unseen_at_the_edge), *unseen_on_machines],
    }


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
    requests, failed = number(totals.get("requests")), number(totals.get("failed"))
    slow = next((one.shown for one in targets if one.metric == "latency_p95" and one.value is not None), "")
    share = percent(failed, requests) if requests and failed is not None else None
    yield {"label": "Requests", "value": amount(requests), "more": ""}
    rate = requests / seconds if requests is not None and seconds else None
    yield {"label": "Requests a second", "value": amount(rate), "more": ""}
    yield {"label": "Failed", "value": amount(failed), "more": "" if share is None else measured(share, "%")}
    yield {"label": "Limited (429)", "value": amount(number(totals.get("limited"))), "more": ""}
    yield {"label": "Response time, p95", "value": slow or amount(None), "more": ""}
    yield {"label": "Users in all", "value": amount(number(totals.get("users"))), "more": ""}
    yield {"label": "₹ a month", "value": text(part(run, "cost").get("text")) or amount(None), "more": ""}


def _absent(run: Run, drawn: dict[str, Any]) -> Iterator[str]:
    if not part(run, "totals"):
        yield "what the clients counted"
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
