# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The charts of the plan's page: where each line goes, so that the template only writes it down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Any

from .._charts import FRAME, Axis, across, path, scale, short, upwards
from .figures import LABELS, Figures, RefusedError
from .plan import plan
from .states import PHASES
from .words import money, thousands

LEAST = 100
MOST = 20000
SAMPLES = 120
TICKS = (100, 1000, 10000, 100000, 1000000)
STACKED = ("app_nodes", "postgres_primary", "postgres_replicas", "redis_nodes", "load_balancers")
# Users at which the table beneath the charts has a row.
ROWS = (100, 500, 1000, 2000, 5000, 10000, 20000, 50000)


@dataclass(frozen=True)
class Sample:
    """A plan for a number of users."""

    users: int
    told: dict[str, Any]


def _samples(figures: Figures) -> tuple[list[Sample], str]:
    """Return plans for few to many users, and why there are none beyond."""
    asked = figures.whole("users")
    least, most = min(LEAST, asked), max(MOST, asked)
    steps = {round(least * (most / least) ** (step / SAMPLES)) for step in range(SAMPLES + 1)}
    borders = {state.users[1] for state in PHASES if state.users and state.users[1]}
    users = steps | {asked} | {border + more for border in borders for more in (0, 1) if border < most}
    found: list[Sample] = []
    for count in sorted(users):
        try:
            told = plan(figures.but(users=count))
        except RefusedError as refusal:
            return found, str(refusal)
        told.pop("assumptions")
        found.append(Sample(count, told))
    return found, ""


def charts(figures: Figures) -> dict[str, Any]:
    """Return the charts, and the rows of a table that says the same."""
    samples, ends = _samples(figures)
    if not samples:
        raise RefusedError(ends)
    x = across(samples[0].users, max(samples[-1].users, samples[0].users + 1), logarithmic=True)
    asked = figures.whole("users")
    common = FRAME | {
        "over": "users",
        "x_ticks": [{"at": x(tick), "label": short(tick)} for tick in _ticks(x)],
        "borders": list(_borders(x)),
        "mark": {"at": x(asked), "label": f"{asked:,} users"},
    }
    drawn = [_cost(samples, x), _machines(samples, x), _capacity(samples, x)]
    return {"charts": [common | one for one in drawn], "rows": _rows(samples, asked), "ends": ends}


def _ticks(x: Axis) -> list[int]:
    inside = [tick for tick in TICKS if x.least <= tick <= x.most]
    last = int(x.most)
    return inside if inside and log10(last / inside[-1]) < 0.25 else [*inside, last]


def _borders(x: Axis) -> Iterator[dict[str, Any]]:
    """Yield where the blueprint's phases begin, with their numbers."""
    for state in PHASES:
        begins = state.users[0] if state.users and state.phase > 1 else x.least
        if x.least <= begins < x.most:
            ends = state.users[1] if state.users and state.users[1] else x.most
            yield {
                "at": x(begins),
                "middle": round((x(begins) + x(min(ends, x.most))) / 2, 1),
                "label": str(state.phase),
            }


def _steps(
    samples: Sequence[Sample], value: Callable[[Sample], float], x: Axis, y: Axis
) -> list[tuple[float, float]]:
    """Return the corners of a line that goes on until the next value begins."""
    points: list[tuple[float, float]] = []
    for sample in samples:
        place, height = x(sample.users), y(value(sample))
        if len(points) > 1 and points[-2][1] == points[-1][1] == height:
            points.pop()
        elif points and points[-1][1] != height:
            points.append((place, points[-1][1]))
        points.append((place, height))
    return points


def _price(part: str) -> Callable[[Sample], float]:
    def price(sample: Sample) -> float:
        return float(sample.told["cost"][part])

    return price


def _cost(samples: Sequence[Sample], x: Axis) -> dict[str, Any]:
    y, ticks = scale(max(map(_price("high"), samples)))
    low, high = (_steps(samples, _price(part), x, y) for part in ("low", "high"))
    first, last = samples[0], samples[-1]
    return {
        "name": "cost",
        "title": "₹ a month",
        "about": f"From {first.told['cost']['text']} for {first.users:,} users to "
        f"{last.told['cost']['text']} for {last.users:,}; the band lies between the low and the high price.",
        "y_ticks": [{"at": y(tick), "label": thousands(int(tick))} for tick in ticks],
        "areas": [
            {"css": "cost", "label": "low to high", "path": path([*high, *reversed(low)], closed=True)}
        ],
        "lines": [{"css": "edge", "label": "", "path": path(line)} for line in (low, high)],
    }


def _machines(samples: Sequence[Sample], x: Axis) -> dict[str, Any]:
    def upto(place: int) -> Callable[[Sample], float]:
        """Return what counts the machines of all kinds before one."""

        def count(sample: Sample) -> float:
            own = {row["kind"]: row["own"] for row in sample.told["machines"]}
            return float(sum(own.get(kind, 0) for kind in STACKED[:place]))

        return count

    y, ticks = scale(max(upto(len(STACKED))(sample) for sample in samples))
    edges = [_steps(samples, upto(place), x, y) for place in range(len(STACKED) + 1)]
    first, last = samples[0], samples[-1]
    return {
        "name": "machines",
        "title": "Machines",
        "about": f"From {first.told['machine_count']} for {first.users:,} users to "
        f"{last.told['machine_count']} for {last.users:,}, by kind.",
        "y_ticks": [{"at": y(tick), "label": f"{tick:g}"} for tick in ticks],
        "areas": [
            {
                "css": kind,
                "label": LABELS[kind],
                "path": path([*edges[place + 1], *reversed(edges[place])], closed=True),
            }
            for place, kind in enumerate(STACKED)
        ],
        "lines": [],
    }


def _capacity(samples: Sequence[Sample], x: Axis) -> dict[str, Any]:
    """Draw what is needed and what is carried; a loss that nothing is left after has no line."""
    first, last = samples[0], samples[-1]
    needed = [(x(one.users), one.told["requests_per_second"]) for one in samples]
    whole, rest = "requests_per_second", "requests_per_second_one_lost"
    least = max(first.told["requests_per_second"], 0.1)
    most = max(one.told["capacity"][whole] for one in samples)
    low, high = 10 ** int(log10(least) - (least < 1)), 10 ** ceil(log10(max(most, least * 10)))
    y = upwards(low, high, logarithmic=True)
    spared = [one for one in samples if one.told["capacity"][rest] > 0]
    ticks = [low * 10**power for power in range(round(log10(high / low)) + 1)]
    return {
        "name": "capacity",
        "title": "Requests a second",
        "about": f"{last.users:,} users need {last.told['requests_per_second']:,} a second, and get "
        f"{last.told['capacity'][whole]:,}, or {last.told['capacity'][rest]:,} with a machine lost.",
        "y_ticks": [{"at": y(tick), "label": short(tick)} for tick in ticks],
        "areas": [],
        "lines": [
            {
                "css": "all",
                "label": "carried",
                "path": path(_steps(samples, lambda one: one.told["capacity"][whole], x, y)),
            },
            {
                "css": "rest",
                "label": "with one lost",
                "path": path(_steps(spared, lambda one: one.told["capacity"][rest], x, y)),
            },
            {
                "css": "needed",
                "label": "needed",
                "path": path([(place, y(value)) for place, value in needed]),
            },
        ],
    }


def _rows(samples: Sequence[Sample], asked: int) -> list[dict[str, Any]]:
    known = {sample.users: sample for sample in samples}
    near = {min(known, key=lambda users: abs(users - row)) for row in ROWS if row <= max(known)}
    rows = []
    for users in sorted(near | ({asked} & known.keys())):
        told = known[users].told
        nodes = {row["kind"]: row["own"] for row in told["machines"]}
        rows.append(
            {
                "users": users,
                "phase": told["name"],
                "nodes": {kind: nodes.get(kind, 0) for kind in STACKED},
                "needed": told["requests_per_second"],
                "carried": told["capacity"]["requests_per_second"],
                "one_lost": told["capacity"]["requests_per_second_one_lost"],
                "cost": money(told["cost"]["low"], told["cost"]["high"]),
            }
        )
    return rows
