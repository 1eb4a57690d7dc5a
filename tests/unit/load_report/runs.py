# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs as the load test writes them, from one that measured nothing to one that measured all."""

from __future__ import annotations

from typing import Any


def target(name: str, metric: str, wanted: str, value: float | None, **more: Any) -> dict[str, Any]:
    """Return a result of slo_check."""
    return {
        "name": name,
        "metric": metric,
        "target": wanted,
        "measured": value is not None,
        "value": value,
        "unit": "ms",
        "pass": value is not None,
        "source": "" if value is None else "artillery (/var/tmp/gen1.json)",
        "evidence": {},
        "others": [],
        "reason": "redis would tell, and none of them is given" if value is None else "",
    } | more


def slo(*results: dict[str, Any], problems: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what slo_check returns of its results."""
    return {
        "passed": not problems and all(one["pass"] for one in results),
        "missed": [one["name"] for one in results if one["measured"] and not one["pass"]],
        "unmeasured": [one["name"] for one in results if not one["measured"]],
        "problems": list(problems),
        "results": list(results),
    }


def bare(**more: Any) -> dict[str, Any]:
    """Return a run of which nothing was measured."""
    return {
        "scenario": "api",
        "title": "API requests",
        "tool": "artillery",
        "began": "2026-11-28T01:02:03Z",
        "seconds": 361.2,
        "target": "https://192.0.2.10",
        "slo": {},
    } | more


def bucket(
    at: float, requests: int = 500, failed: int = 0, limited: int = 0, **times: float | None
) -> dict[str, Any]:
    known = {"p50": 4.0, "p95": 15.0, "p99": 44.0} if requests else dict.fromkeys(("p50", "p95", "p99"))
    return {"at": at, "requests": requests, "failed": failed, "limited": limited} | known | times


def buckets() -> list[dict[str, Any]]:
    """Return six minutes: 60 s at half the load, and a node that is lost after three minutes and a half."""
    found = []
    for place in range(72):
        at, wave = place * 5, (place * 7) % 5
        load = 500 if at < 60 else 1000
        lost = 205 <= at < 225
        found.append(
            bucket(
                at,
                load + 11 * wave,
                failed=40 if lost else 0,
                limited=25 if at == 300 else 0,
                p50=3 + wave % 2,
                p95=12 + 2 * wave + (320 if lost else 0),
                p99=40 + 9 * wave + (1900 if lost else 0),
            )
        )
    return found


def whole(**more: Any) -> dict[str, Any]:
    """Return a run of which everything was measured."""
    return (
        bare(
            about="60 s at 100 users/s, then 300 s at 200 users/s",
            generators=["gen1", "gen2"],
            by="root@controller",
            commit="1b62f14",
            week=4,
            totals={"requests": 66000, "failed": 160, "limited": 25, "users": 42000},
            slo=slo(
                target(
                    "api_response_time_p95",
                    "latency_p95",
                    "< 200 ms",
                    183.1,
                    others=[{"source": "nginx (/var/log/nginx/access.log)", "value": 171.0}],
                    evidence={"requests": 66000, "limited": 25, "codes": {"200": 65815}},
                ),
                target(
                    "database_query_time", "query_time_mean", "< 50 ms", 0.9, source="postgres (pg1, pg2)"
                ),
                target(
                    "cache_hit_rate",
                    "cache_hit_rate",
                    "> 70 %",
                    90.91,
                    unit="%",
                    source="redis (redis1:6379)",
                ),
                target("error_rate", "error_rate", "< 0.1 %", 0.2424, unit="%", **{"pass": False}),
                target("availability", "availability", ">= 99.9 %", None, unit="%"),
                target("concurrent_users", "concurrent_users", ">= 10000 users", 10412, unit="users"),
            ),
            edge={
                "step": 5,
                "buckets": buckets(),
                "upstreams": [
                    {"name": "app1 (192.0.2.21:3000)", "requests": 22100, "failed": 0, "p95": 12},
                    {"name": "app2 (192.0.2.22:3000)", "requests": 21900, "failed": 157, "p95": 14},
                    {"name": "app3 (192.0.2.23:3000)", "requests": 22000, "failed": 3, "p95": 12},
                ],
                "errors": [
                    {"kind": "502 from 192.0.2.22:3000", "count": 120},
                    {
                        "kind": "504 from 192.0.2.22:3000: upstream timed out (110: Connection timed out)",
                        "count": 40,
                    },
                ],
                "codes": {"200": 65815, "429": 25, "502": 120, "504": 40},
            },
            evidence={
                "app_nodes": [
                    {"host": "app1", "cores": 2, "cpu": 0.62},
                    {"host": "app2", "cores": 2, "cpu": 0.94},
                    {"host": "app3", "cores": 2, "cpu": 0.6},
                ],
                "generators": [
                    {"host": "gen1", "cores": 2, "cpu": 0.3},
                    {"host": "gen2", "cores": 2, "cpu": 0.28},
                ],
                "pools": [
                    {"host": "app1", "pool": "app_rw", "waited_ms": 0.4, "waiting_max": 0, "size": 50},
                    {"host": "app1", "pool": "app_ro", "waited_ms": 1.25, "waiting_max": 3, "size": 50},
                ],
                "replicas": [{"host": "pg2", "lag_max_s": 0.2}],
                "redis": {"hits": 1000, "misses": 100, "masters": 3, "rate": 0.909},
                "database": {
                    "calls": 10000,
                    "mean_ms": 0.9,
                    "worst": [
                        {
                            "query": "SELECT id, name, email, created_at FROM contacts WHERE tenant_id = $1 "
                            "ORDER BY created_at DESC LIMIT $2",
                            "mean_ms": 3.2,
                            "calls": 100,
                        },
                        {
                            "query": "INSERT INTO contacts (name, email) VALUES ($1, $2)",
                            "mean_ms": 1.1,
                            "calls": 900,
                        },
                    ],
                },
            },
            findings=[
                {
                    "bottleneck": "app_cpu",
                    "sentence": "app2 used 94 % of its cores.",
                    "variable": "platform_app_ports",
                    "remedy": "Add an app node (app_nodes_active), or processes (platform_app_ports).",
                }
            ],
            tried=[
                {
                    "variable": "nginx_keepalive",
                    "from": 32,
                    "to": 64,
                    "kept": True,
                    "before": {"p95": 180.0, "rate": 800.0},
                    "after": {"p95": 150.0, "rate": 860.0},
                },
                {
                    "variable": "platform_pool_size",
                    "from": 50,
                    "to": 20,
                    "kept": False,
                    "before": {"p95": 150.0, "rate": 860.0},
                    "after": {"p95": 410.0, "rate": 610.0},
                },
            ],
            cost={"text": "₹30K-60K", "low": 30000, "high": 60000},
        )
        | more
    )


def earlier() -> dict[str, Any]:
    """Return the run before it, a week earlier, with another load."""
    return whole(
        began="2026-11-21T01:02:03Z",
        commit="0a1b2c3",
        week=3,
        about="60 s at 100 users/s",
        slo=slo(
            target("api_response_time_p95", "latency_p95", "< 200 ms", 210.4, **{"pass": False}),
            target("cache_hit_rate", "cache_hit_rate", "> 70 %", 93.5, unit="%"),
            target("error_rate", "error_rate", "< 0.1 %", 0.2424, unit="%", **{"pass": False}),
            target("concurrent_users", "concurrent_users", ">= 10000 users", 5210, unit="users"),
        ),
        totals={"requests": 33000, "failed": 80, "limited": 0, "users": 21000},
        cost={"text": "₹20K-40K", "low": 20000, "high": 40000},
    )
