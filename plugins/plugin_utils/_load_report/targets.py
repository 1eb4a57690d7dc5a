# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The targets of a run: a verdict in one sentence, and a row for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._slo.judge import rounded
from ansible_collections.payaid.scaling.plugins.module_utils._slo.targets import bound_of

from .given import Run, number, part, rows, text, words
from .words import amount, counted, listed, measured

MILLISECONDS = {"ms": 1.0, "s": 1000.0}


@dataclass(frozen=True)
class Judged:
    """A target, with what was measured of it."""

    name: str
    metric: str
    wanted: str
    value: float | None
    unit: str
    met: bool
    source: str
    others: Sequence[str]
    evidence: str
    reason: str

    @property
    def bound(self) -> tuple[str, float] | None:
        """How the value is compared, and with what."""
        try:
            return bound_of(self.wanted)
        except ValueError:
            return None

    @property
    def less_is_better(self) -> bool:
        return self.wanted.startswith("<")

    @property
    def shown(self) -> str:
        """The value as the module shows it: never rounded to the other side of the bound."""
        if self.value is None or not self.bound:
            return measured(self.value, self.unit)
        if self.value >= 100 and float(round(self.value)) == self.value:
            return measured(self.value, self.unit)
        return f"{rounded(self.value, *self.bound)} {self.unit}".rstrip()

    @property
    def verdict(self) -> dict[str, str]:
        if self.value is None:
            return {"css": "fair", "word": "not measured"}
        return {"css": "good", "word": "met"} if self.met else {"css": "poor", "word": "missed"}

    def row(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "shown": self.shown,
            "wanted": self.wanted,
            "verdict": self.verdict,
            "by": self.source or self.reason,
            "others": list(self.others),
            "evidence": self.evidence,
        }


def judged(run: Run) -> list[Judged]:
    return [_judged(one) for one in rows(part(run, "slo"), "results")]


def _judged(one: Run) -> Judged:
    unit = text(one.get("unit"))
    counts = {name: number(value) for name, value in part(one, "evidence").items()}
    return Judged(
        text(one.get("name")),
        text(one.get("metric")),
        text(one.get("target")),
        number(one.get("value")) if one.get("measured", True) else None,
        unit,
        bool(one.get("pass")),
        text(one.get("source")),
        [
            f"{text(other.get('source'))}: {measured(number(other.get('value')), unit)}"
            for other in rows(one, "others")
        ],
        ", ".join(
            f"{str(name).replace('_', ' ')} {amount(count)}"
            for name, count in counts.items()
            if count is not None
        ),
        text(one.get("reason")),
    )


def verdict(run: Run, targets: Sequence[Judged]) -> dict[str, str]:
    """Return in one sentence whether all targets are met, and else which are not."""
    missed = [one for one in targets if one.value is not None and not one.met]
    unmeasured = [one.name for one in targets if one.value is None]
    problems = len(words(part(run, "slo"), "problems"))
    silent = f"{counted(problems, 'source')} could not be read" if problems else ""
    if not targets:
        return _verdict("fair", "not judged", "no targets were held against this run", silent)
    if missed:
        each = [f"{one.name} ({one.shown}, wanted {one.wanted})" for one in missed]
        verb = "is" if len(missed) == 1 else "are"
        said = f"{len(missed)} of {counted(len(targets), 'target')} {verb} missed: {listed(each)}"
        unseen = f"not measured: {listed(unmeasured)}" if unmeasured else ""
        return _verdict("poor", "missed", said, unseen, silent)
    if len(unmeasured) == len(targets):
        return _verdict("fair", "not measured", f"nobody measured {listed(unmeasured)}", silent)
    if unmeasured:
        said = f"all that was measured is met, but nobody measured {listed(unmeasured)}"
        return _verdict("fair", "not measured", said, silent)
    said = f"all {len(targets)} targets are met" if len(targets) > 1 else f"{targets[0].name} is met"
    return _verdict("fair" if problems else "good", "in doubt" if problems else "passed", said, silent)


def _verdict(css: str, word: str, said: str, *more: str) -> dict[str, str]:
    whole = "; ".join([said, *(one for one in more if one)])
    # The name of a target begins as it is written in the inventory.
    begins = whole[0] if said.endswith(" is met") and word in ("passed", "in doubt") else whole[0].upper()
    return {"css": css, "word": word, "sentence": f"{begins}{whole[1:]}."}


def wanted_milliseconds(targets: Sequence[Judged], metric: str) -> tuple[float, str] | None:
    """Return the bound of a target on response times in ms, and how it is written."""
    for one in targets:
        factor = MILLISECONDS.get(one.unit)
        if one.metric == metric and one.bound and factor and one.bound[1] > 0:
            return one.bound[1] * factor, one.wanted
    return None
