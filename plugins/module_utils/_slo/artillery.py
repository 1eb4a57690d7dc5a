# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads what Artillery 2 writes with `artillery run --output`, from one load generator or several.

Artillery counts a virtual user when it arrives and when it ends, in slices of ten seconds, and never says how
many there are at a time. Those who have arrived and not ended at the end of a slice are there all at once, so
the most of them is what was reached, or less than it, but never more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import (
    NotMeasured,
    Reading,
    Value,
    number,
    share,
    table,
    without_times_of_failures,
)

# What answered well is looked at on its own too: refusals are quick, and would make all look quicker than it
# is.
ALL, GOOD = "http.response_time", "http.response_time.2xx"
STATISTICS = {
    "latency_mean": "mean",
    **{f"latency_{which}": which for which in ("p50", "p90", "p95", "p99", "max")},
}
LIMITED = "http.codes.429"


def read(reports: Mapping[str, Any]) -> Reading:
    """Read reports by the names of their files."""
    aggregates = {file: _aggregate(file, report) for file, report in reports.items()}
    counters: dict[str, float] = {}
    for file, aggregate in aggregates.items():
        counted = _counters(file, "aggregate", aggregate)
        if not counted.get("http.requests"):
            raise NotMeasured(f"{file}: aggregate.counters has no http.requests, so nothing was asked")
        for name, count in counted.items():
            counters[name] = counters.get(name, 0) + count
    values, missing = _latency({file: _summaries(file, told) for file, told in aggregates.items()})
    asked = counters["http.requests"] - counters.get(LIMITED, 0)
    if asked > 0:
        values |= _errors(counters, asked)
    else:
        missing |= dict.fromkeys(
            ("error_rate", "availability"), f"{', '.join(reports)}: every request was limited"
        )
    without_times_of_failures(values, missing, ", ".join(reports))
    try:
        values["concurrent_users"] = _users(reports, counters)
    except NotMeasured as why:
        missing["concurrent_users"] = str(why)
    return Reading("artillery", ", ".join(reports), values, missing)


def _aggregate(file: str, report: Any) -> Mapping[str, Any]:
    aggregate = report.get("aggregate") if isinstance(report, dict) else None
    if not isinstance(aggregate, dict):
        raise NotMeasured(f"{file}: aggregate is missing, so this is no report of artillery run --output")
    if "requestsCompleted" in aggregate:
        raise NotMeasured(
            f"{file}: aggregate.requestsCompleted is of Artillery 1, and a report of Artillery 2 is read"
        )
    return aggregate


def _counters(file: str, part: str, told: Mapping[str, Any]) -> dict[str, float]:
    what = f"{file}: {part}.counters"
    return {
        name: number(count, f"{what}[{name}]") for name, count in table(told.get("counters"), what).items()
    }


def _summaries(file: str, aggregate: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Where no answer came at all, there is no summary either; the errors say so."""
    told = table(aggregate.get("summaries"), f"{file}: aggregate.summaries")
    read: dict[str, dict[str, float]] = {}
    for name in (ALL, GOOD):
        what = f"{file}: aggregate.summaries[{name}]"
        if name in told:
            fields = table(told[name], what)
            read[name] = {field: number(value, f"{what}.{field}") for field, value in fields.items()}
    return read


def _latency(
    summaries: Mapping[str, Mapping[str, Mapping[str, float]]],
) -> tuple[dict[str, Value], dict[str, str]]:
    values: dict[str, Value] = {}
    missing: dict[str, str] = {}
    for metric, field in STATISTICS.items():
        lacking = [file for file, told in summaries.items() if not {field, "count"} <= set(told.get(ALL, {}))]
        if lacking:
            missing[metric] = f"{lacking[0]}: aggregate.summaries[{ALL}] has no {field}, or no count"
            continue
        told = {name: [one[name] for one in summaries.values() if name in one] for name in (ALL, GOOD)}
        answers = sum(one["count"] for one in told[ALL])
        if not answers:
            missing[metric] = f"{', '.join(summaries)}: {ALL} counts no answer"
            continue
        each = {
            name: _of_all(field, ones) for name, ones in told.items() if all(field in one for one in ones)
        }
        values[metric] = Value(max(each.values()), {"answers": int(answers), **each})
    return values, missing


def _of_all(field: str, summaries: Sequence[Mapping[str, float]]) -> float:
    """Summaries cannot be added. That of all is not above the highest of them, whatever their shares."""
    if field != "mean":
        return max((one[field] for one in summaries), default=0)
    answers = sum(one.get("count", 0) for one in summaries)
    return sum(one[field] * one.get("count", 0) for one in summaries) / answers if answers else 0


def _errors(counters: Mapping[str, float], asked: float) -> dict[str, Value]:
    """Take as failed what answered 5xx and what Artillery counts as an error, such as a lost connection."""
    codes, errors = _counts(counters, "http.codes."), _counts(counters, "errors.")
    broken = sum(count for code, count in codes.items() if re.fullmatch(r"5\d\d", code))
    failed = broken + sum(errors.values())
    evidence = {
        "requests": int(counters["http.requests"]),
        "limited": int(counters.get(LIMITED, 0)),
        "codes": codes,
        "errors": errors,
    }
    return {
        "error_rate": Value(share(failed, asked), evidence),
        "availability": Value(share(max(asked - failed, 0), asked), evidence),
    }


def _counts(counters: Mapping[str, float], prefix: str) -> dict[str, int]:
    return {
        name.removeprefix(prefix): int(n) for name, n in sorted(counters.items()) if name.startswith(prefix)
    }


def _users(reports: Mapping[str, Any], totals: Mapping[str, float]) -> Value:
    change: dict[int, float] = {}
    arrived = ended = 0.0
    for file, report in reports.items():
        slices = report.get("intermediate")
        if not isinstance(slices, list):
            raise NotMeasured(f"{file}: intermediate is missing, from which users at a time are counted")
        for place, told in enumerate(slices):
            what = f"intermediate[{place}]"
            counted = _counters(file, what, table(told, f"{file}: {what}"))
            came = counted.get("vusers.created", 0)
            went = counted.get("vusers.completed", 0) + counted.get("vusers.failed", 0)
            period = int(number(_period(told), f"{file}: {what}.period"))
            change[period] = change.get(period, 0) + came - went
            arrived, ended = arrived + came, ended + went
    # Artillery may drop what a worker sends late, and a user whose end is lost would seem to stay for ever.
    if (arrived, ended) != (
        totals.get("vusers.created", 0),
        totals.get("vusers.completed", 0) + totals.get("vusers.failed", 0),
    ):
        raise NotMeasured(f"{', '.join(reports)}: intermediate does not add up to the users of aggregate")
    now = most = 0.0
    for period in sorted(change):
        now += change[period]
        most = max(most, now)
    evidence = {"users": int(arrived), "failed_users": int(totals.get("vusers.failed", 0))}
    return Value(most, evidence | {"skipped_users": int(totals.get("vusers.skipped", 0))})


def _period(told: Mapping[str, Any]) -> Any:
    """Artillery writes the begin of a slice as a text of digits, in milliseconds."""
    period = told.get("period")
    return float(period) if isinstance(period, str) and period.isascii() and period.isdigit() else period
