# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds the targets against what the sources say. No input or output here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import Reading
from ansible_collections.payaid.scaling.plugins.module_utils._slo.targets import Target, compare, plain

DIGITS = 2
HEAD = ("TARGET", "VALUE", "WANTED", "VERDICT", "MEASURED BY")


@dataclass(frozen=True)
class Result:
    """One target, and what became of it. Without a value it was not measured, and then it is not met."""

    target: Target
    value: float | None = None
    met: bool = False
    source: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)
    # What other sources say, who are believed less.
    others: tuple[tuple[str, float], ...] = ()
    reason: str = ""

    @property
    def shown(self) -> str:
        """The value for people."""
        if self.value is None:
            return "-"
        return f"{rounded(self.value, self.target.comparison, self.target.bound)} {self.target.unit}".rstrip()

    @property
    def verdict(self) -> str:
        if self.value is None:
            return "not measured"
        return "pass" if self.met else "MISSED"

    def told(self) -> dict[str, Any]:
        """Return what the module returns of it."""
        return {
            "name": self.target.name,
            "metric": self.target.metric,
            "target": self.target.text,
            "measured": self.value is not None,
            "value": self.value,
            "unit": self.target.unit,
            "pass": self.met,
            "source": self.source,
            "evidence": dict(self.evidence),
            "others": [{"source": source, "value": value} for source, value in self.others],
            "reason": self.reason,
        }


def rounded(value: float, comparison: str, bound: float) -> str:
    """Write a value for people, never on the other side of the bound, nor as the bound that it misses."""
    limit, exact = Decimal(repr(bound)), Decimal(repr(value))
    met = compare(exact, comparison, limit)
    for digits in range(DIGITS, 2 * DIGITS + 1):
        short = round(exact, digits)
        if compare(short, comparison, limit) == met and (met or short != limit or exact == limit):
            return plain(float(short))
    return plain(value)


def judge(targets: Sequence[Target], readings: Sequence[Reading]) -> tuple[Result, ...]:
    return tuple(_judge(target, readings) for target in targets)


def _judge(target: Target, readings: Sequence[Reading]) -> Result:
    able = sorted(
        (reading for reading in readings if reading.source in target.sources),
        key=lambda reading: target.sources.index(reading.source),
    )
    telling = [reading for reading in able if target.key in reading.values]
    if not telling:
        return Result(target, reason=_reason(target, able))
    first, *others = telling
    found = first.values[target.key]
    return Result(
        target,
        target.told_in(found.value),
        target.met_by(found.value),
        first.name,
        found.evidence,
        tuple((one.name, target.told_in(one.values[target.key].value)) for one in others),
    )


def _reason(target: Target, able: Sequence[Reading]) -> str:
    if not able:
        return f"{' or '.join(target.sources)} would tell, and none of them is given"
    return "; ".join(
        one.problem or one.missing.get(target.key) or f"{one.name} does not tell {target.metric}"
        for one in able
    )


def failure(results: Sequence[Result], problems: Sequence[str], *, unmeasured_fails: bool) -> str:
    """Return one sentence on all that does not pass; nothing where all does."""
    parts = []
    if missed := [one for one in results if one.value is not None and not one.met]:
        each = (
            f"{one.target.name} is {one.shown} (target {one.target.text}, by {one.source})" for one in missed
        )
        parts.append(f"Performance targets are missed: {', '.join(each)}")
    if unmeasured_fails:
        parts += silences(results, problems)
    return f"{'; '.join(parts)}." if parts else ""


def silences(results: Sequence[Result], problems: Sequence[str]) -> Iterator[str]:
    """A gate must not pass because nobody looked, nor because a source that was given has failed."""
    reasons: dict[str, list[str]] = {}
    for one in results:
        if one.value is None:
            reasons.setdefault(one.reason, []).append(one.target.name)
    for reason, names in reasons.items():
        verb = "was" if len(names) == 1 else "were"
        yield f"{' and '.join(names)} {verb} not measured, because {reason}"
    for problem in problems:
        if not any(problem in reason for reason in reasons):
            yield f"a source that was given tells nothing, because {problem}"


def summary(results: Sequence[Result], readings: Sequence[Reading]) -> dict[str, Any]:
    """Return what the module returns."""
    problems = [reading.problem for reading in readings if reading.problem]
    return {
        "results": [one.told() for one in results],
        "passed": not problems and all(one.met for one in results),
        "missed": [one.target.name for one in results if one.value is not None and not one.met],
        "unmeasured": [one.target.name for one in results if one.value is None],
        "problems": problems,
        "table": text_table(results),
    }


def text_table(results: Sequence[Result]) -> str:
    """Lay the results out for a terminal."""
    rows = [
        HEAD,
        *((r.target.name, r.shown, r.target.text, r.verdict, r.source or r.reason) for r in results),
    ]
    return aligned(rows)


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Put cells under each other. The last column may be as long as it likes."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]).rstrip()
        for row in rows
    )
