# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a load test: the verdict of all, what machines were busy with, and what held them up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.filter.load_test import load_test_record
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_test.findings import findings
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_test.verdict import worst

METRICS = {
    "api_response_time_p95": ("latency_p95", "< 200 ms", "ms"),
    "cache_hit_rate": ("cache_hit_rate", "> 70 %", "%"),
    "database_query_time": ("query_time_mean", "< 50 ms", "ms"),
    "error_rate": ("error_rate", "< 0.1 %", "%"),
    "availability": ("availability", ">= 99.9 %", "%"),
}


def result(
    name: str, value: float | None = None, *, good: bool = True, source: str = "artillery", **more: Any
) -> dict[str, Any]:
    metric, target, unit = METRICS[name]
    measured = value is not None
    return {
        "name": name,
        "metric": metric,
        "target": target,
        "unit": unit,
        "measured": measured,
        "value": value,
        "pass": measured and good,
        "source": source if measured else "",
        "evidence": {},
        "reason": "" if measured else f"{source} would tell, and is not given",
        "others": [],
    } | more


def check(host: str, *results: dict[str, Any], problems: Sequence[str] = ()) -> dict[str, Any]:
    return {"host": host, "slo": {"results": list(results), "problems": list(problems)}}


def test_each_says_what_it_saw() -> None:
    found = worst(
        [
            check("gen1", result("api_response_time_p95", 120), result("cache_hit_rate", source="redis")),
            check("redis1", result("api_response_time_p95"), result("cache_hit_rate", 91, source="redis")),
        ]
    )
    assert found["passed"]
    assert found["sentence"] == ""
    assert [(one["value"], one["source"]) for one in found["results"]] == [
        (120, "artillery at gen1"),
        (91, "redis at redis1"),
    ]
    assert found["table"].splitlines()[1].split() == (
        ["api_response_time_p95", "120", "ms", "<", "200", "ms", "pass", "artillery", "at", "gen1"]
    )


@pytest.mark.parametrize(
    ("name", "values", "counts"),
    [("database_query_time", (3, 20, 8), 20), ("cache_hit_rate", (90, 75, 99), 75)],
)
def test_the_worst_counts(name: str, values: Sequence[float], counts: float) -> None:
    found = worst([check(f"h{place}", result(name, value)) for place, value in enumerate(values)])
    assert [one["value"] for one in found["results"]] == [counts]


def test_one_that_misses_the_target_makes_the_whole_miss_it() -> None:
    found = worst(
        [
            check("pg1", result("database_query_time", 3)),
            check("pg2", result("database_query_time", 80.123, good=False, source="postgres")),
        ]
    )
    assert (found["passed"], found["missed"]) == (False, ["database_query_time"])
    assert found["sentence"] == (
        "Performance targets are missed: database_query_time is 80.12 ms (target < 50 ms, by postgres at "
        "pg2)."
    )


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("database_query_time", 50.004, "50.004 ms"),
        ("error_rate", 0.1000001, "0.1000001 %"),
        ("cache_hit_rate", 69.998, "69.998 %"),
        ("availability", 99.8996, "99.8996 %"),
    ],
)
def test_a_value_that_misses_its_bound_is_not_shown_as_equal_to_it(
    name: str, value: float, shown: str
) -> None:
    found = worst([check("pg1", result(name, value, good=False))])
    assert f"{name} is {shown} (target {METRICS[name][1]}," in found["sentence"]
    assert f"  {shown}  " in found["table"]


def test_what_nobody_measured_is_not_met() -> None:
    found = worst([check("gen1", result("cache_hit_rate", source="redis"))])
    assert (found["passed"], found["unmeasured"]) == (False, ["cache_hit_rate"])
    assert found["sentence"] == "nobody has measured cache_hit_rate (redis would tell, and is not given)."


def test_a_source_that_fails_is_no_pass() -> None:
    found = worst([check("gen1", result("error_rate", 0), problems=["r.json: the file is empty"])])
    assert (found["passed"], found["sentence"]) == (False, "r.json: the file is empty.")


SETTINGS = {
    "platform_app_ports": [3000, 3001],
    "platform_pool_size": 20,
    "app_nodes_listed": 3,
    "nginx_limit_tenant_rate": 500,
    "limits": {"platform_pool_size": 40},
}


def machine(host: str, cpu: float, cores: int = 2, **more: float) -> dict[str, Any]:
    return {"host": host, "cpu": cpu, "cores": cores, **more}


def pool(waited_ms: float, waiting_max: int = 9, serving_max: int = 0) -> dict[str, Any]:
    waited = {"waited_ms": waited_ms, "waiting_max": waiting_max, "serving_max": serving_max}
    return {"host": "app1", "pool": "app_rw", "size": 20, **waited}


def ramp(*shares: float) -> dict[str, Any]:
    """Return a machine that was looked at every five seconds, for half a minute for each share."""
    series = [{"at": 5.0 + 5 * n, "cpu": shares[n // 6]} for n in range(6 * len(shares))]
    return machine("app1", sum(shares) / len(shares)) | {"series": series}


CASES: list[tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]] = [
    ({}, []),
    ({"evidence": {"app_nodes": [machine("app1", 0.5)], "pools": [pool(0.2)]}}, []),
    (
        {"evidence": {"app_nodes": [machine("app1", 0.92), machine("app2", 0.4)]}},
        [("app_cpu", {"app_nodes_active": 3})],
    ),
    # All nodes that are listed serve already.
    ({"evidence": {"app_nodes": [machine(f"app{n}", 0.92) for n in (1, 2, 3)]}}, [("app_cpu", {})]),
    # Two processes have two of four cores, and use them up.
    (
        {"evidence": {"app_nodes": [machine("app1", 0.45, 4)]}},
        [("app_processes", {"platform_app_ports": [3000, 3001, 3002]})],
    ),
    ({"evidence": {"pools": [pool(4.5)]}}, [("pool_waits", {"platform_pool_size": 30})]),
    ({"evidence": {"pools": [pool(4.5, 0, 20)]}}, [("pool_waits", {"platform_pool_size": 30})]),
    # That was the time until there were connections at all.
    ({"evidence": {"pools": [pool(4.5, 0, 3)]}}, []),
    ({"evidence": {"generators": [machine("gen1", 0.95)]}}, [("generator", {})]),
    ({"evidence": {"databases": [machine("pg1", 0.85)]}}, [("database_cpu", {})]),
    ({"evidence": {"replicas": [{"host": "pg2", "lag_max_s": 3.2}]}}, [("replica_lag", {})]),
    ({"totals": {"limited": 12}}, [("nginx_limits", {"nginx_limit_tenant_rate": 750})]),
    ({"edge": {"errors": [{"kind": "502 from app1 (10.0.0.21:3000)", "count": 3}]}}, [("app_errors", {})]),
    ({"edge": {"errors": [{"kind": "500 from app1 (10.0.0.21:3000)", "count": 3}]}}, []),
    ({"slo": {"results": [result("cache_hit_rate", 40, good=False)]}}, [("cache_misses", {})]),
    (
        {
            "slo": {
                "results": [
                    result(
                        "database_query_time", 90, good=False, evidence={"worst": [{"query": "SELECT  1"}]}
                    )
                ]
            }
        },
        [("slow_queries", {})],
    ),
    ({"slo": {"results": [result("cache_hit_rate", 90), result("database_query_time")]}}, []),
    # Somebody else on the machine, or on the computer that it is on.
    (
        {"evidence": {"app_nodes": [machine("app1", 0.2, machine=0.96), machine("app2", 0.2, machine=0.5)]}},
        [("other_work", {})],
    ),
    # Its own work, and nothing besides.
    ({"evidence": {"databases": [machine("pg1", 0.85, machine=0.9)]}}, [("database_cpu", {})]),
    # Users come, and the last of them are too many: all the time together would be 53 %.
    ({"evidence": {"databases": [ramp(0.2, 0.3, 0.4, 0.4, 0.9, 0.95)]}}, [("database_cpu", {})]),
    # What was busy for less than a minute was not what held it up.
    ({"evidence": {"databases": [ramp(0.4, 0.4, 0.95, 0.4, 0.4)]}}, []),
    # What says most comes first.
    (
        {"evidence": {"generators": [machine("gen1", 0.9)], "pools": [pool(9)]}, "totals": {"limited": 1}},
        [
            ("generator", {}),
            ("nginx_limits", {"nginx_limit_tenant_rate": 750}),
            ("pool_waits", {"platform_pool_size": 30}),
        ],
    ),
]


@pytest.mark.parametrize(("run", "expected"), CASES)
def test_what_held_it_up(run: dict[str, Any], expected: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    found = findings(run, SETTINGS)
    assert [(one["bottleneck"], one["proposal"]) for one in found] == expected
    assert all(one["sentence"].endswith(".") and one["remedy"].endswith(".") for one in found)


def test_whose_processors_others_use_is_said() -> None:
    [found] = findings({"evidence": {"redis_nodes": [machine("redis1", 0.05, machine=0.961)]}}, SETTINGS)
    assert found["sentence"] == (
        "Processors were busy with more than the platform: redis1 96 %, its own part 5 %."
    )
    assert found["variable"] == ""


def test_a_proposal_stays_within_the_limits() -> None:
    run = {"evidence": {"pools": [pool(9)]}}
    [found] = findings(run, SETTINGS | {"platform_pool_size": 30})
    assert found["proposal"] == {}
    [found] = findings(run, SETTINGS | {"platform_pool_size": 26})
    assert found["proposal"] == {"platform_pool_size": 39}


def test_all_that_machines_know_is_put_together() -> None:
    used = {
        "cores": 2,
        "cpu": 0.9,
        "cpu_max": 1.0,
        "machine": 0.95,
        "series": [],
        "pools": [],
        "replicas": [],
    }
    errors = {"requests": 400, "limited": 3, "codes": {"200": 390, "502": 4}, "errors": {"ETIMEDOUT": 3}}
    clients = {
        "results": [
            result("error_rate", 1.8, good=False, evidence=errors),
            result("cache_hit_rate", source="redis"),
        ],
        "problems": [],
    }
    redis = check(
        "", result("cache_hit_rate", 80, source="redis", evidence={"hits": 8, "misses": 2, "masters": ["a"]})
    )
    answered = {
        "step": 5,
        "buckets": [{"at": 0, "codes": {"200": 2}, "times": {"12": 2}}],
        "upstreams": [{"address": "10.0.0.21:3000", "codes": {"200": 2}, "times": {"12": 2}}],
        "errors": [],
    }
    hostvars: dict[str, dict[str, Any]] = {
        "lb1": {"platform_address": "10.0.0.11", "platform_answered": answered, "platform_usage": used},
        "app1": {
            "platform_address": "10.0.0.21",
            "platform_usage": {**used, "pools": [{"pool": "app_rw", "waited_ms": 5.0, "waiting_max": 2}]},
        },
        # Asked when it was not there yet, in a check run.
        "pg1": {"platform_address": "10.0.0.31", "platform_usage": {"skipped": True}},
        "redis1": {
            "platform_address": "10.0.0.41",
            "platform_slo_redis": redis["slo"],
            "platform_usage": used,
        },
        "gen1": {
            "platform_address": "10.0.0.51",
            "platform_usage": used,
            "load_test_result": {"progress": {"requests": 1, "failed": 1, "limited": 0}},
        },
    }
    machines = {
        "load_balancers": ["lb1"],
        "app_nodes": ["app1"],
        "databases": ["pg1"],
        "redis_nodes": ["redis1"],
        "load_generators": ["gen1"],
    }
    told = {"scenario": "api", "generators": ["gen1"], "slo": clients}
    found = load_test_record(told, machines, hostvars, SETTINGS)
    assert found["slo"]["missed"] == ["error_rate"]
    assert found["totals"] == {"requests": 400, "failed": 7, "limited": 3}
    assert found["edge"]["upstreams"][0]["name"] == "app1 (10.0.0.21:3000)"
    assert [one["host"] for one in found["evidence"]["app_nodes"]] == ["app1"]
    assert found["evidence"]["databases"] == []
    assert found["evidence"]["pools"][0]["host"] == "app1"
    assert found["evidence"]["redis"] == {"hits": 8, "misses": 2, "masters": 1, "rate": 0.8}
    assert [one["bottleneck"] for one in found["findings"]] == [
        "generator",
        "nginx_limits",
        "app_cpu",
        "pool_waits",
    ]
    # What was given is left as it was.
    assert told["slo"] is clients
