# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run beside the one before it: what is better, and what is worse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .._capacity.words import money
from .given import RefusedError, Run, number, part, rows, text
from .tables import hit_rate
from .targets import judged
from .words import MINUS, amount, day, listed, measured, percent

# Two runs with the same platform differ by that much, in percent.
NOISE = 1
WHOLES = {"%": 100, "ratio": 1}
VERDICTS = {"better": "good", "worse": "poor", "same": ""}


@dataclass(frozen=True)
class Measure:
    """A figure that two runs have in common, and which way is better."""

    what: str
    value: float
    unit: str
    less_is_better: bool
    metric: str
    # Set of a target, which is compared with the target of the same name.
    target: str = ""
    # How it is shown, where not by its own digits.
    text: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.target or f"metric {self.metric}", self.unit

    @property
    def shown(self) -> str:
        return self.text or measured(self.value, self.unit)


def _measures(run: Run) -> Iterator[Measure]:
    for one in judged(run):
        if one.value is not None and one.bound:
            name = f"target {one.name}"
            yield Measure(one.name, one.value, one.unit, one.less_is_better, one.metric, name, one.shown)
    yield from _of_clients(run)
    yield from _of_machines(run)
    low, high = (number(part(run, "cost").get(name)) for name in ("low", "high"))
    if low is not None and high is not None:
        shown = text(part(run, "cost").get("text"))
        yield Measure("₹ a month", (low + high) / 2, "", less_is_better=True, metric="cost", text=shown)


def _of_clients(run: Run) -> Iterator[Measure]:
    requests, failed = (number(part(run, "totals").get(name)) for name in ("requests", "failed"))
    seconds = number(run["seconds"])
    if requests is not None and seconds:
        yield Measure("Requests a second", requests / seconds, "", less_is_better=False, metric="rate")
    share = percent(failed, requests) if requests and failed is not None else None
    if share is not None:
        yield Measure("Failed requests", share, "%", less_is_better=True, metric="error_rate")


def _of_machines(run: Run) -> Iterator[Measure]:
    highest = (
        ("app_nodes", "cpu", "Busiest app node", "%", 100),
        ("pools", "waited_ms", "Longest wait for a connection", "ms", 1),
        ("replicas", "lag_max_s", "Highest lag of a replica", "s", 1),
    )
    for kind, field, what, unit, factor in highest:
        found = [number(one.get(field)) for one in rows(part(run, "evidence"), kind)]
        known = [factor * one for one in found if one is not None]
        if known:
            yield Measure(what, max(known), unit, less_is_better=True, metric=kind)
    rate = hit_rate(run)
    if rate is not None:
        yield Measure("Hit rate of Redis", rate, "%", less_is_better=False, metric="cache_hit_rate")
    mean = number(part(run, "evidence", "database").get("mean_ms"))
    if mean is not None:
        yield Measure("Mean time of statements", mean, "ms", less_is_better=True, metric="query_time_mean")


def comparison(run: Run, previous: Run) -> dict[str, Any]:
    """Return rows of what both runs measured, and whether they can be compared at all."""
    if previous["scenario"] != run["scenario"]:
        raise RefusedError(
            f"The previous run is of {previous['scenario']} and this one of {run['scenario']}: "
            f"give two runs of one scenario."
        )
    before = {one.key: one for one in _measures(previous)}
    common = [one for one in _measures(run) if one.key in before]
    # What a target says of a metric is not said again.
    told = {one.metric for one in common if one.target}
    compared = [_row(before[one.key], one) for one in common if one.target or one.metric not in told]
    counts = Counter(row["verdict"]["word"] for row in compared)
    said = [f"{counts[word]} {'the same' if word == 'same' else word}" for word in VERDICTS if counts[word]]
    return {
        "rows": compared,
        "about": " ".join(_differences(run, previous)),
        "sum": f"{listed(said)}." if said else "Nothing was measured in both.",
    }


def _differences(run: Run, previous: Run) -> Iterator[str]:
    commit = f", commit {previous['commit']}" if previous.get("commit") else ""
    yield f"The run before began {day(text(previous['began']))}{commit}."
    other = {"load": "about", "tool": "tool", "target": "target", "week": "week"}
    pairs = [(what, text(previous.get(name)), text(run.get(name))) for what, name in other.items()]
    yield f"Less than {NOISE} % is called the same."
    if different := [f"{what} ({then})" for what, then, now in pairs if then and now and then != now]:
        yield f"Its {listed(different)} {'was' if len(different) == 1 else 'were'} different."


def _row(before: Measure, now: Measure) -> dict[str, Any]:
    difference = now.value - before.value
    sign = "+" if difference > 0 else MINUS
    share = percent(abs(difference), abs(before.value))
    if not difference or before.shown == now.shown:
        differs, relative = "", ""
    else:
        size = abs(difference)
        unit = "points" if now.unit == "%" else now.unit
        differs = f"{sign}{money(round(size), round(size)) if now.metric == 'cost' else measured(size, unit)}"
        relative = "" if share is None else f"{sign}{amount(float(f'{share:.3g}'))} %"
    word = _word(before, now)
    return {
        "what": now.what,
        "before": before.shown,
        "now": now.shown,
        "difference": differs,
        "percent": relative,
        "verdict": {"css": VERDICTS[word], "word": word},
    }


def _word(before: Measure, now: Measure) -> str:
    difference = now.value - before.value
    # Of a share that is to be high the rest counts: from 99.9 % to 99.8 % twice as many requests are lost.
    whole = None if now.less_is_better else WHOLES.get(now.unit)
    change = percent(abs(difference), abs(before.value if whole is None else whole - before.value))
    if not difference or (change is not None and change < NOISE):
        return "same"
    return "better" if (difference < 0) == now.less_is_better else "worse"
