# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What held a platform up in a load test, by what was measured, and which variable to change. Pure.

Each finding has the evidence in its sentence. Those that say most come first: what the generator itself could
not do is no fault of the platform, and a limit that refuses is found before what would be too slow behind it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .evidence import KINDS, measured

# Of all its processors. Above it work waits for its turn: at four fifths in a queue of Poisson arrivals the
# mean wait is four times the work itself (M/M/1: 0.8 / (1 - 0.8)).
BUSY = 0.8
# s over which that is asked: where users come slowly, the mean of the whole is of few.
STRETCH = 60.0
# ms that a transaction may wait for a connection on average: what a query of the app takes itself.
POOL_WAIT = 2.0
# s; a reader who has just written asks the primary, everybody else may see this much of the past.
LAG = 1.0
# How much more of something is tried at once.
MORE = 1.5
# Of nginx's own answers of 5xx. 502 and 504 are of an app that was not there or too slow.
OVERLOADED = ("502", "503", "504")

Run = Mapping[str, Any]
Settings = Mapping[str, Any]


def findings(run: Run, settings: Settings) -> list[dict[str, Any]]:
    """Return what was found in a run. settings has what the inventory says now, and limits for proposals.

    A proposal is a variable with a value to try: `optimize` takes it.
    """
    evidence = run.get("evidence") or {}
    found = [
        *_generators(evidence),
        *_limited(run, settings),
        *_app(evidence, settings),
        *_pools(evidence, settings),
        *_databases(evidence),
        *_replicas(evidence),
        *_cache(run),
        *_queries(run),
        *_refused(run),
        *_crowded(evidence),
    ]
    return [one | {"proposal": _within(one["proposal"], settings)} for one in found]


def _finding(
    bottleneck: str, sentence: str, variable: str, remedy: str, proposal: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {
        "bottleneck": bottleneck,
        "sentence": sentence,
        "variable": variable,
        "remedy": remedy,
        "proposal": dict(proposal or {}),
    }


def _within(proposal: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """Leave out what is above a declared limit, or no change."""
    limits = settings.get("limits") or {}
    return {
        name: value
        for name, value in proposal.items()
        if value != settings.get(name) and _size(value) <= _size(limits.get(name, value))
    }


def _size(value: Any) -> float:
    return float(len(value)) if isinstance(value, list | tuple) else float(value)


def _busiest(one: Mapping[str, Any], name: str = "cpu") -> float:
    """Return what share of its processors a machine used in its busiest minute."""
    series: Sequence[Mapping[str, Any]] = one.get("series") or ()
    means = [
        sum(each.get(name) or 0 for each in minute) / len(minute)
        for last in series
        if last["at"] - series[0]["at"] >= STRETCH
        and (minute := [each for each in series if last["at"] - STRETCH < each["at"] <= last["at"]])
    ]
    return max([one.get(name) or 0, *means])


def _busy(evidence: Run, kind: str) -> list[Mapping[str, Any]]:
    return [one for one in evidence.get(kind) or () if _busiest(one) >= BUSY]


def _named(machines: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(f"{one['host']} {_busiest(one) * 100:.0f} %" for one in machines)


def _generators(evidence: Run) -> Iterator[dict[str, Any]]:
    if busy := _busy(evidence, "generators"):
        yield _finding(
            "generator",
            f"The load generators were busy themselves, so times are theirs too: {_named(busy)}.",
            "load_generators",
            "Add a machine to the group load_generators.",
        )


def _limited(run: Run, settings: Settings) -> Iterator[dict[str, Any]]:
    limited = int((run.get("totals") or {}).get("limited") or 0)
    if limited:
        rate = settings.get("nginx_limit_tenant_rate")
        yield _finding(
            "nginx_limits",
            f"nginx refused {limited:,} requests (429): one address or tenant asked more than it may.",
            "nginx_limit_tenant_rate",
            "Raise the limit if that much is wanted of one tenant, or spread the load over tenants "
            "(load_test_tenant).",
            {"nginx_limit_tenant_rate": round(float(rate) * MORE)} if rate else None,
        )


def _app(evidence: Run, settings: Settings) -> Iterator[dict[str, Any]]:
    nodes = evidence.get("app_nodes") or ()
    ports = list(settings.get("platform_app_ports") or ())
    if busy := _busy(evidence, "app_nodes"):
        spare = int(settings.get("app_nodes_listed") or 0) - len(nodes)
        active = {"app_nodes_active": len(nodes) + 1} if spare > 0 else None
        yield _finding(
            "app_cpu",
            f"The app used nearly all of the processors of its nodes: {_named(busy)}.",
            "app_nodes_active",
            "Let one more node serve (app_nodes_active)."
            if active
            else "Add a machine to the group app_nodes.",
            active,
        )
        return
    # A process of Node.js uses one core for JavaScript, whatever else is free.
    full = [one for one in nodes if ports and _busiest(one) * one.get("cores", 1) >= BUSY * len(ports)]
    if full and all(one.get("cores", 1) > len(ports) for one in full):
        yield _finding(
            "app_processes",
            f"Each of the {len(ports)} processes had its core to itself and used it up, while others were "
            f"free: {_named(full)} of all cores.",
            "platform_app_ports",
            "Have one more process on each node (platform_app_ports).",
            {"platform_app_ports": [*ports, max(ports) + 1]},
        )


def _pools(evidence: Run, settings: Settings) -> Iterator[dict[str, Any]]:
    # Where few ask, most of the time is that of the first connections.
    tight = [
        one
        for one in evidence.get("pools") or ()
        if (one.get("waited_ms") or 0) >= POOL_WAIT
        and (one.get("waiting_max") or (one.get("serving_max") or 0) >= (one.get("size") or 0) > 0)
    ]
    if tight:
        size = int(settings.get("platform_pool_size") or 0)
        told = ", ".join(
            f"{one['pool']} at {one['host']} {one['waited_ms']:.1f} ms, up to {one['waiting_max']} at a time"
            for one in tight
        )
        yield _finding(
            "pool_waits",
            f"Transactions waited for a connection to the database: {told}.",
            "platform_pool_size",
            "Give the pools more connections, as many as postgres_server_max_connections leaves.",
            {"platform_pool_size": round(size * MORE)} if size else None,
        )


def _databases(evidence: Run) -> Iterator[dict[str, Any]]:
    if busy := _busy(evidence, "databases"):
        yield _finding(
            "database_cpu",
            f"PostgreSQL used nearly all of the processors of its machine: {_named(busy)}.",
            "postgres_replicas",
            "Add a replica where it is reads, or take a bigger machine.",
        )


def _replicas(evidence: Run) -> Iterator[dict[str, Any]]:
    late = [one for one in evidence.get("replicas") or () if (one.get("lag_max_s") or 0) >= LAG]
    if late:
        told = ", ".join(f"{one['host']} up to {one['lag_max_s']:.1f} s" for one in late)
        yield _finding(
            "replica_lag",
            f"Replicas were behind the primary: {told}.",
            "postgres_agent_max_lag_seconds",
            "See what they wait for (disk, long queries: max_standby_streaming_delay); reads go elsewhere "
            "beyond postgres_agent_max_lag_seconds.",
        )


def _cache(run: Run) -> Iterator[dict[str, Any]]:
    one = measured(run.get("slo") or {}, "cache_hit_rate")
    if one and not one["pass"]:
        yield _finding(
            "cache_misses",
            f"Of the keys that Redis was asked for it had {one['value']:.1f} {one['unit']}, and "
            f"{one['target']} is wanted.",
            "redis_server_maxmemory",
            "See whether keys were evicted (evicted_keys of INFO stats), which more memory mends, or are "
            "short-lived, which the app decides.",
        )


def _queries(run: Run) -> Iterator[dict[str, Any]]:
    one = measured(run.get("slo") or {}, "query_time_mean")
    if one and not one["pass"]:
        slowest: Mapping[str, Any] = next(iter((one.get("evidence") or {}).get("worst") or ()), {})
        text = " ".join(str(slowest.get("query", "")).split())[:100]
        what = f", most of all `{text}`" if text else ""
        yield _finding(
            "slow_queries",
            f"Queries took {one['value']:.1f} {one['unit']} on average{what}, and {one['target']} is wanted.",
            "postgres_server_settings",
            "EXPLAIN the slowest statement; an index mends it as a rule, and no setting does.",
        )


def _refused(run: Run) -> Iterator[dict[str, Any]]:
    errors = [one for one in (run.get("edge") or {}).get("errors") or () if one["kind"][:3] in OVERLOADED]
    if errors:
        told = ", ".join(f"{one['count']} x {one['kind']}" for one in errors[:3])
        yield _finding(
            "app_errors",
            f"Answers of 5xx came through the load balancers: {told}.",
            "app_node_memory_max",
            "Look at the processes named (journalctl -u 'payaid-app@*'): one that was killed for its memory, "
            "or that answered too late.",
        )


def _crowded(evidence: Run) -> Iterator[dict[str, Any]]:
    """Name machines that are busy, and not with what they are there for."""
    found = [
        f"{one['host']} {_busiest(one, 'machine') * 100:.0f} %, its own part {_busiest(one) * 100:.0f} %"
        for kind in KINDS.values()
        for one in evidence.get(kind) or ()
        if _busiest(one, "machine") >= BUSY > _busiest(one)
    ]
    if found:
        yield _finding(
            "other_work",
            f"Processors were busy with more than the platform: {'; '.join(found)}.",
            "",
            "See what else runs on these machines, or takes the processors of the computer that they are on.",
        )
