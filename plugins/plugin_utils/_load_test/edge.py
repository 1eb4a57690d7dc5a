# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load balancers have logged of a load test, put together. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._slo.access_log import LIMITED
from ansible_collections.payaid.scaling.plugins.module_utils._slo.percentile import percentile

PERCENTILES = (50, 95, 99)


def together(logs: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, Any]:
    """Return counts over time, by app process and by kind of error, out of what nginx_log_info returns.

    names are those of machines by their addresses.
    """
    told = [log for log in logs if log]
    if not told:
        return {}
    places: dict[int, Counter[str]] = {}
    times: dict[int, Counter[int]] = {}
    for bucket in (bucket for log in told for bucket in log["buckets"]):
        places.setdefault(bucket["at"], Counter()).update(_codes(bucket))
        times.setdefault(bucket["at"], Counter()).update(_times(bucket))
    codes = sum(places.values(), Counter())
    step = told[0]["step"]
    return {
        "step": step,
        "buckets": [
            {"at": at, **_counted(places.get(at, Counter())), **_percentiles(times.get(at, Counter()))}
            # One that nobody asked in is there too, so that a line shows it.
            for at in range(min(places), max(places) + step, step)
        ]
        if places
        else [],
        "upstreams": _upstreams(told, names),
        "errors": _errors(told, names),
        "codes": dict(sorted(codes.items())),
    }


def _codes(part: Mapping[str, Any]) -> Counter[str]:
    return Counter({str(code): int(count) for code, count in part["codes"].items()})


def _times(part: Mapping[str, Any]) -> Counter[int]:
    """JSON makes texts of numbers that are keys."""
    return Counter({int(time): int(count) for time, count in part["times"].items()})


def _counted(codes: Mapping[str, int]) -> dict[str, int]:
    return {
        "requests": sum(codes.values()),
        "failed": sum(count for code, count in codes.items() if code.startswith("5")),
        "limited": codes.get(str(LIMITED), 0),
    }


def _percentiles(times: Mapping[int, int]) -> dict[str, int | None]:
    return {f"p{p}": percentile(Counter(times), p) if times else None for p in PERCENTILES}


def _upstreams(logs: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> list[dict[str, Any]]:
    codes: dict[str, Counter[str]] = {}
    times: dict[str, Counter[int]] = {}
    for one in (one for log in logs for one in log["upstreams"]):
        codes.setdefault(one["address"], Counter()).update(_codes(one))
        times.setdefault(one["address"], Counter()).update(_times(one))
    found = []
    for address in sorted(codes, key=lambda address: _named(address, names)):
        counted = _counted(codes[address])
        p95 = _percentiles(times[address])["p95"]
        found.append(
            {
                "name": _named(address, names),
                "requests": counted["requests"],
                "failed": counted["failed"],
                "p95": p95,
            }
        )
    return found


def _errors(logs: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> list[dict[str, Any]]:
    found: Counter[str] = Counter()
    for one in (one for log in logs for one in log["errors"]):
        where = f"from {_named(one['address'], names)}" if one["address"] else "by nginx itself"
        found[f"{one['status']} {where}"] += one["count"]
    # Of those that came as often the order is that of their names, whichever load balancer is read first.
    most = sorted(found.items(), key=lambda item: (-item[1], item[0]))
    return [{"kind": kind, "count": count} for kind, count in most]


def _named(address: str, names: Mapping[str, str]) -> str:
    host = names.get(address.rpartition(":")[0])
    return f"{host} ({address})" if host else address
