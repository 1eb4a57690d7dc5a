# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The charts of a run over its time, and a table that says the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

from .._charts import FRAME, Axis, Point, across, path, scale, short, upwards
from .given import Run, number, part, rows
from .words import NONE, amount, clock, percent

# More points than that are narrower than a line, and more rows nobody reads.
POINTS = 240
ROWS = 60
TIMES = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)
LABELS = 7
COUNTS = ("requests", "failed", "limited")
PERCENTILES = ("p50", "p95", "p99")


@dataclass(frozen=True)
class Bucket:
    """What happened within a piece of time."""

    place: int
    begins: float
    ends: float
    requests: float
    failed: float
    limited: float
    times: Mapping[str, float]

    def rate(self, count: float) -> float:
        return count / (self.ends - self.begins)


Value = Callable[[Bucket], float]


def buckets(run: Run, most: int) -> list[Bucket]:
    """Return the buckets of the access logs, several as one where there are more than can be shown."""
    found = [
        (at, one)
        for one in rows(part(run, "edge"), "buckets")
        if (at := number(one.get("at"))) is not None and at >= 0
    ]
    step = number(part(run, "edge").get("step")) or 0
    if not found or step <= 0:
        return []
    # A start such as 0.3 is a little less than three times 0.1.
    numbers = [floor(at / step + 1e-6) for at, _one in found]
    count = max(numbers) + 1
    several = ceil(count / most)
    places: dict[int, list[Run]] = defaultdict(list)
    for place, (_at, one) in zip(numbers, found, strict=True):
        places[place // several].append(one)
    # The last one ends with the log: as long as the others it would fall for no reason.
    return [
        _together(place, step * several * place, step * min(several * (place + 1), count), places[place])
        for place in sorted(places)
    ]


def _together(place: int, begins: float, ends: float, found: Sequence[Run]) -> Bucket:
    """Add up what can be; of percentiles the highest is taken, which that of all never exceeds."""

    def total(name: str) -> float:
        return sum(max(number(one.get(name)) or 0, 0) for one in found)

    times = {
        name: [time for one in found if (time := number(one.get(name))) is not None] for name in PERCENTILES
    }
    return Bucket(
        place,
        begins,
        ends,
        total("requests"),
        total("failed"),
        total("limited"),
        {name: max(known) for name, known in times.items() if known},
    )


def charts(run: Run, wanted: tuple[float, str] | None) -> dict[str, Any]:
    """Return the charts and the rows of the table beside them; nothing where no log was read."""
    shown = buckets(run, POINTS)
    if not shown:
        return {}
    x = across(0, max(number(run["seconds"]) or 0, shown[-1].ends))
    common = FRAME | {
        "over": "time",
        "borders": [],
        "mark": {},
        "x_ticks": [{"at": x(tick), "label": clock(tick)} for tick in _times(x.most)],
    }
    drawn = [_requests(shown, x), _failures(shown, x), *_times_of_response(shown, x, wanted)]
    lines = buckets(run, ROWS)
    return {
        "charts": [common | one for one in drawn],
        "rows": [_row(one) for one in lines],
        "about": _about(lines[0].ends - lines[0].begins, number(part(run, "edge").get("step"))),
    }


def _about(width: float, step: float | None) -> str:
    highest = f"; percentiles are the highest of each {amount(step)} s in it" if step and step < width else ""
    return f"A row is {amount(width)} s{highest}."


def _times(most: float) -> list[float]:
    step = next((time for time in TIMES if most / time <= LABELS), ceil(most / LABELS / 3600) * 3600)
    return [float(step * place) for place in range(floor(most / step) + 1)]


def _spans(shown: Sequence[Bucket]) -> Iterator[list[Bucket]]:
    """Yield the buckets that follow one another without a gap."""
    span: list[Bucket] = []
    for one in shown:
        if span and one.place != span[-1].place + 1:
            yield span
            span = []
        span.append(one)
    if span:
        yield span


def _steps(span: Sequence[Bucket], value: Value, x: Axis, y: Axis) -> list[Point]:
    return [(x(edge), y(value(one))) for one in span for edge in (one.begins, one.ends)]


def _area(shown: Sequence[Bucket], low: Value, high: Value, x: Axis, y: Axis) -> str:
    return "".join(
        path([*_steps(span, high, x, y), *reversed(_steps(span, low, x, y))], closed=True)
        for span in _spans(shown)
    )


def _step_line(shown: Sequence[Bucket], value: Value, x: Axis, y: Axis) -> str:
    return "".join(path(_steps(span, value, x, y)) for span in _spans(shown))


def _line(shown: Sequence[Bucket], name: str, x: Axis, y: Axis) -> str:
    """Return a line through the middle of the buckets that have a value, broken where one has none."""
    lines = []
    for span in _spans([one for one in shown if name in one.times]):
        points = [(x((one.begins + one.ends) / 2), y(one.times[name])) for one in span]
        # With round ends a line of no length is a dot.
        lines.append(path(points if len(points) > 1 else points * 2))
    return "".join(lines)


def _requests(shown: Sequence[Bucket], x: Axis) -> dict[str, Any]:
    """Draw what failed beneath what did not, where it is seen best."""

    def failed(one: Bucket) -> float:
        return one.rate(one.failed)

    def limited(one: Bucket) -> float:
        return one.rate(one.failed + one.limited)

    def requests(one: Bucket) -> float:
        return max(one.rate(one.requests), limited(one))

    most = max(shown, key=requests)
    y, ticks = scale(requests(most))
    kinds = [("failed", "failed", _nothing, failed), ("answered", "answered", limited, requests)]
    if any(one.limited for one in shown):
        kinds.insert(1, ("limited", "limited (429)", failed, limited))
    whole, lost, held = (amount(sum(getattr(one, name) for one in shown)) for name in COUNTS)
    return {
        "name": "requests",
        "title": "Requests a second",
        "about": f"At most {amount(requests(most))} a second, at {clock(most.begins)}. "
        f"Of {whole} requests {lost} failed and {held} were limited.",
        "y_ticks": _ticks(y, ticks),
        "areas": [
            {"css": css, "label": label, "path": _area(shown, low, high, x, y)}
            for css, label, low, high in kinds
        ],
        "lines": [],
    }


def _nothing(_one: Bucket) -> float:
    return 0.0


def _failures(shown: Sequence[Bucket], x: Axis) -> dict[str, Any]:
    """Draw what failed on a scale of its own: one request of thousands has no height beside them."""

    def failed(one: Bucket) -> float:
        return min(percent(one.failed, max(one.requests, one.failed)) or 0, 100)

    def limited(one: Bucket) -> float:
        return min(percent(one.limited, max(one.requests, one.limited)) or 0, 100)

    worst = max(shown, key=failed)
    y, ticks = scale(max(failed(worst), *map(limited, shown), 0.1))
    said = (
        f"At most {amount(failed(worst))} % failed, at {clock(worst.begins)}"
        if failed(worst)
        else "None failed"
    )
    most = max(shown, key=limited)
    also = (
        f"; at most {amount(limited(most))} % were limited, at {clock(most.begins)}" if limited(most) else ""
    )
    lines = [{"css": "failed", "label": "failed", "path": _step_line(shown, failed, x, y)}]
    if also:
        lines.insert(
            0, {"css": "limited", "label": "limited (429)", "path": _step_line(shown, limited, x, y)}
        )
    return {
        "name": "failures",
        "title": "Failed requests, %",
        "about": f"{said}{also}.",
        "y_ticks": _ticks(y, ticks),
        "areas": [],
        "lines": lines,
    }


def _times_of_response(
    shown: Sequence[Bucket], x: Axis, wanted: tuple[float, str] | None
) -> Iterator[dict[str, Any]]:
    """Draw response times so that the quick and the slow ones can be read on one page."""
    known = [time for one in shown for time in one.times.values()]
    if not known:
        return
    bound = [wanted[0]] if wanted else []
    low, high, ticks = _round([max(time, 0.1) for time in known + bound])
    y = upwards(low, high, logarithmic=True)
    lines = [
        {"css": name, "label": name, "path": _line(shown, name, x, y)}
        for name in PERCENTILES
        if any(name in one.times for one in shown)
    ]
    if wanted:
        level = y(wanted[0])
        across_all = path([(x(x.least), level), (x(x.most), level)])
        lines.append({"css": "wanted", "label": f"p95 wanted {wanted[1]}", "path": across_all})
    yield {
        "name": "times",
        "title": "Response time, ms",
        "about": " ".join(_said_of_times(shown, wanted)),
        "y_ticks": _ticks(y, ticks),
        "areas": [],
        "lines": lines,
    }


def _said_of_times(shown: Sequence[Bucket], wanted: tuple[float, str] | None) -> Iterator[str]:
    yield "The scale is logarithmic."
    for name in PERCENTILES:
        known = [one for one in shown if name in one.times]
        if known:
            slowest = max(known, key=lambda one: one.times[name])
            quickest = min(one.times[name] for one in known)
            yield (
                f"{name} is between {amount(quickest)} and {amount(slowest.times[name])} ms, "
                f"the highest at {clock(slowest.begins)}."
            )
    if wanted:
        yield f"Wanted is a p95 of {wanted[1]}."


def _round(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Return round numbers around values, with ticks at 1, 2, 5 and 10, or at powers of ten."""
    powers = range(floor(log10(min(values))) - 1, ceil(log10(max(values))) + 2)
    fine = [first * 10.0**power for power in powers for first in (1, 2, 5)]
    low = max(value for value in fine if value <= min(values))
    high = min(value for value in fine if value >= max(values) and value > low)
    ticks = [value for value in fine if low <= value <= high]
    return (
        low,
        high,
        ticks if len(ticks) <= LABELS else [10.0**one for one in powers if low <= 10.0**one <= high],
    )


def _ticks(y: Axis, ticks: Sequence[float]) -> list[dict[str, Any]]:
    return [{"at": y(tick), "label": short(tick)} for tick in ticks]


def _row(one: Bucket) -> dict[str, Any]:
    return {
        "at": clock(one.begins),
        "rate": amount(one.rate(one.requests)),
        "failed": amount(one.failed),
        "limited": amount(one.limited),
        "times": [amount(one.times[name]) if name in one.times else NONE for name in PERCENTILES],
    }
