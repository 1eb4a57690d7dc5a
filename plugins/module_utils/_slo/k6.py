# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the summaries that k6 writes.

There are three shapes of the same: that of --summary-export, what handleSummary() is given, and the
machine-readable one, which k6 1.5 has on demand. Which one a file has shows in where its metrics are.
"""

from __future__ import annotations

from collections.abc import Mapping
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

# What was answered as expected is looked at on its own too: refusals are quick, and would make all look
# quicker than it is.
ALL, GOOD = "http_req_duration", "http_req_duration{expected_response:true}"
FAILED, USERS = "http_req_failed", "vus"
# What summaryTrendStats calls them.
TRENDS = {
    "latency_mean": ("avg",),
    "latency_p50": ("med", "p(50)"),
    "latency_p90": ("p(90)",),
    "latency_p95": ("p(95)",),
    "latency_p99": ("p(99)",),
    "latency_max": ("max",),
}


def read(file: str, summary: Any) -> Reading:
    """Read one summary."""
    metrics = _metrics(file, summary)
    failed = _values(file, metrics, FAILED)
    if failed is None:
        raise NotMeasured(f"{file}: metrics has no {FAILED}, so nothing was asked over HTTP")
    values, missing = _latency(file, metrics)
    values |= _errors(file, failed)
    without_times_of_failures(values, missing, file)
    users = _values(file, metrics, USERS)
    if users is None:
        missing["concurrent_users"] = f"{file}: metrics has no {USERS}"
    else:
        # Not vus_max, which says how many were made ready.
        most = number(users.get("max"), f"{file}: {USERS}.max")
        values["concurrent_users"] = Value(most, {"users": int(most)})
    return Reading("k6", file, values, missing)


def _metrics(file: str, summary: Any) -> Mapping[str, Any]:
    told = summary if isinstance(summary, dict) else {}
    results = told.get("results")
    listed = results.get("metrics") if isinstance(results, dict) else None
    if isinstance(listed, list):
        return {str(one["name"]): one for one in listed if isinstance(one, dict) and "name" in one}
    if not isinstance(told.get("metrics"), dict):
        raise NotMeasured(f"{file}: metrics is missing, so this is no summary of k6")
    metrics: Mapping[str, Any] = told["metrics"]
    return metrics


def _values(file: str, metrics: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    if name not in metrics:
        return None
    told = table(metrics[name], f"{file}: {name}")
    return table(told["values"], f"{file}: {name}.values") if "values" in told else told


def _latency(file: str, metrics: Mapping[str, Any]) -> tuple[dict[str, Value], dict[str, str]]:
    values: dict[str, Value] = {}
    missing: dict[str, str] = {}
    for metric, names in TRENDS.items():
        each = {}
        for of in (ALL, GOOD):
            told = _values(file, metrics, of) or {}
            name = next((name for name in names if name in told), None)
            if name:
                each[of] = number(told[name], f"{file}: {of}.{name}")
        if ALL in each:
            values[metric] = Value(max(each.values()), each)
        else:
            missing[metric] = f"{file}: {ALL} has no {names[0]}, which summaryTrendStats has to name"
    return values, missing


def _errors(file: str, told: Mapping[str, Any]) -> dict[str, Value]:
    """A request that has failed is one for which the rate "failed" is true: k6 counts it among the passes."""
    what = f"{file}: {FAILED}"
    if "matches" in told:
        failed, asked = number(told["matches"], f"{what}.matches"), number(told.get("total"), f"{what}.total")
    else:
        failed = number(told.get("passes"), f"{what}.passes")
        asked = failed + number(told.get("fails"), f"{what}.fails")
    if not asked:
        raise NotMeasured(f"{what} counts no request, so nothing was asked")
    evidence = {"requests": int(asked), "failed": int(failed)}
    return {
        "error_rate": Value(share(failed, asked), evidence),
        "availability": Value(share(max(asked - failed, 0), asked), evidence),
    }
