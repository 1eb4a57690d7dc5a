# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the machines were busy with in a load test, by their kinds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

KINDS = {
    "load_balancers": "load_balancers",
    "app_nodes": "app_nodes",
    "databases": "databases",
    "redis_nodes": "redis_nodes",
    "load_generators": "generators",
}


def evidence(
    machines: Mapping[str, Sequence[str]], usage: Mapping[str, Mapping[str, Any]], slo: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what the report shows.

    usage is what platform_usage has returned, by host; who has none is left out.
    """
    told: dict[str, Any] = {
        name: [_machine(host, usage[host]) for host in machines.get(kind) or () if host in usage]
        for kind, name in KINDS.items()
    }
    told["pools"] = [
        {"host": host} | pool
        for host in machines.get("app_nodes") or ()
        for pool in usage.get(host, {}).get("pools", ())
    ]
    told["replicas"] = [
        {"host": replica["name"], "lag_max_s": replica["lag_max_s"]}
        for host in machines.get("databases") or ()
        for replica in usage.get(host, {}).get("replicas", ())
    ]
    told["redis"] = _redis(_evidence(slo, "cache_hit_rate"))
    told["database"] = _database(slo)
    return told


def _machine(host: str, used: Mapping[str, Any]) -> dict[str, Any]:
    return {"host": host} | {name: used[name] for name in ("cores", "cpu", "cpu_max", "machine", "series")}


def measured(slo: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
    found = (one for one in slo.get("results") or () if one["metric"] == metric and one["measured"])
    return next(found, {})


def _evidence(slo: Mapping[str, Any], metric: str) -> Mapping[str, Any]:
    return measured(slo, metric).get("evidence") or {}


def _redis(told: Mapping[str, Any]) -> dict[str, Any]:
    asked = (told.get("hits") or 0) + (told.get("misses") or 0)
    if not asked:
        return {}
    return {
        "hits": told["hits"],
        "misses": told["misses"],
        "masters": len(told.get("masters") or ()),
        "rate": round(told["hits"] / asked, 4),
    }


def _database(slo: Mapping[str, Any]) -> dict[str, Any]:
    one = measured(slo, "query_time_mean")
    if not one:
        return {}
    told = one["evidence"]
    return {"calls": told.get("calls"), "mean_ms": round(one["value"], 3), "worst": told.get("worst") or []}


def totals(slo: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the clients have counted.

    That is what their report says, or, where it says nothing, what was seen while it ran.
    """
    told = _evidence(slo, "error_rate")
    seen = [one["progress"] for one in results if one.get("progress")]
    requests = told.get("requests") or sum(one["requests"] for one in seen)
    if "codes" in told:
        broken = sum(count for code, count in told["codes"].items() if str(code).startswith("5"))
        failed = broken + sum((told.get("errors") or {}).values())
    else:
        failed = told.get("failed", sum(one["failed"] for one in seen))
    return {
        "requests": requests,
        "failed": failed,
        "limited": told.get("limited", sum(one["limited"] for one in seen)),
    }
