# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where everything is in the picture of docs/rollout-timeline.md."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ansible_collections.payaid.scaling.plugins.plugin_utils._charts import Axis, path, short

if TYPE_CHECKING:
    from .timeline import Bucket, Stretch, Watched

GAP = 20.0  # s of nothing between one traffic and the next, for the eye
WIDTH, LEFT, RIGHT = 1200, 60, 12
WEEKS, TIMES, FAILURES = (58, 168), (212, 392), (436, 496)  # where the three drawings begin and end
WHOLE = 5  # the last week
MINUTES = 5  # between two ticks


@dataclass(frozen=True)
class Picture:
    """All traffic from left to right, each with where it begins."""

    found: Sequence[tuple[float, Watched]]
    x: Axis
    week: Axis
    times: Axis
    failures: Axis

    @classmethod
    def of(cls, found: Sequence[Watched]) -> Picture:
        *begins, end = accumulate((one.seconds + GAP for one in found), initial=0.0)
        buckets = [each for one in found for each in one.buckets]
        slowest = max([100.0, *(value * 1000 for each in buckets for value in (each.p50, each.p99) if value)])
        return cls(
            list(zip(begins, found, strict=True)),
            Axis(0, end - GAP, LEFT, WIDTH - RIGHT),
            Axis(0, WHOLE, WEEKS[1], WEEKS[0]),
            Axis(1, slowest, TIMES[1], TIMES[0], logarithmic=True),
            Axis(0, max([1, *(each.failed for each in buckets)]), FAILURES[1], FAILURES[0]),
        )

    def told(self) -> dict[str, Any]:
        """Return what the template asks for."""
        buckets = [each for _begins, each in self._buckets()]
        return {
            "width": WIDTH,
            "left": LEFT,
            "right": WIDTH - RIGHT,
            "lanes": {"weeks": WEEKS, "times": TIMES, "failures": FAILURES},
            "bands": list(self._bands()),
            "breaks": [self.x(begins - GAP / 2) for begins, _one in self.found[1:]],
            "weeks": "".join(self._weeks()),
            "week_ticks": [{"at": self.week(number), "label": str(number)} for number in range(WHOLE + 1)],
            "p50": "".join(self._line("p50")),
            "p99": "".join(self._line("p99")),
            "time_ticks": [
                {"at": self.times(tick), "label": short(tick)}
                for tick in (1, 10, 100, 1000, 10_000)
                if self.times.least <= tick <= self.times.most
            ],
            "bars": list(self._bars()),
            "failed": sum(each.failed for each in buckets),
            "sent": sum(each.sent for each in buckets),
            "most": self.failures.most,
            "minutes": [
                {"at": self.x(minute * 60), "label": str(minute)}
                for minute in range(0, int(self.x.most // 60) + 1, MINUTES)
            ],
        }

    def _buckets(self) -> Iterator[tuple[float, Bucket]]:
        for begins, one in self.found:
            for each in one.buckets:
                yield begins, each

    def _within(self, begins: float, one: Watched, each: Stretch) -> tuple[float, float]:
        """Return from where to where a step is, as far as somebody has asked meanwhile."""
        begun, verified = (
            self.x(begins + min(max(one.place(moment), 0), one.seconds))
            for moment in (each.step.begun, each.step.verified)
        )
        return begun, verified

    def _bands(self) -> Iterator[dict[str, Any]]:
        for begins, one in self.found:
            for each in one.stretches:
                since, until = self._within(begins, one, each)
                yield {
                    "x": since,
                    "width": round(max(until - since, 0.5), 1),
                    "middle": round((since + until) / 2, 1),
                    "label": f"{each.step.of} → {each.step.to}",
                    "css": "forth" if each.step.to > each.step.of else "away",
                }

    def _weeks(self) -> Iterator[str]:
        """Yield the stairs of each traffic."""
        for begins, one in self.found:
            week = one.stretches[0].step.of
            points = [(self.x(begins), self.week(week))]
            for each in one.stretches:
                _since, until = self._within(begins, one, each)
                points += [(until, self.week(week)), (until, self.week(each.step.to))]
                week = each.step.to
            yield path([*points, (self.x(begins + one.seconds), self.week(week))])

    def _line(self, name: str) -> Iterator[str]:
        for begins, one in self.found:
            yield path(
                [
                    (self.x(begins + (each.at + each.until) / 2), self.times(value * 1000))
                    for each in one.buckets
                    if (value := getattr(each, name)) is not None
                ]
            )

    def _bars(self) -> Iterator[dict[str, Any]]:
        for begins, each in self._buckets():
            if each.failed:
                at, until = self.x(begins + each.at), self.x(begins + each.until)
                yield {
                    "x": at,
                    "y": self.failures(each.failed),
                    "width": round(max(until - at, 1.0), 1),
                    "height": round(FAILURES[1] - self.failures(each.failed), 1),
                }
