# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that `make show` ends with."""

from __future__ import annotations

from typing import Any

from ansible_collections.payaid.scaling.plugins.filter.show import FilterModule, platform_table

GROUPS = {
    "load_balancers": ["lb1"],
    "app_nodes": ["app1"],
    "postgres_primary": ["pg1"],
    "postgres_replicas": ["pg2", "pg3"],
    "redis_nodes": ["redis1", "redis2"],
}
SILENT: dict[str, dict[str, Any]] = {
    host: {"platform_address": f"10.0.0.{number}"}
    for number, host in enumerate(["lb1", "app1", "pg1", "pg2", "pg3", "redis1", "redis2"], start=1)
}
SILENT["app1"] |= {"platform_app_ports": [3000, 3001], "app_node_release": "1.4.2"}
ANSWERS: dict[str, dict[str, Any]] = {
    "lb1": {"__platform_health": {"json": {"status": "healthy"}}},
    # The inventory's primary follows another one by now.
    "pg1": {"platform_postgres_info": {"role": "standby", "replicas": []}},
    "pg2": {
        "platform_postgres_info": {
            "role": "primary",
            "replicas": [{"address": "10.0.0.3", "state": "streaming", "replay_lag_bytes": 56}],
        }
    },
    "pg3": {"platform_postgres_info": {"role": "stopped_standby", "replicas": []}},
    "redis1": {
        "__platform_redis": {
            "nodes": [
                {"addr": "10.0.0.6:6380", "role": "replica"},
                {"addr": "10.0.0.6:6379", "role": "master"},
                {"addr": "10.0.0.60:6379", "role": "master"},
            ]
        }
    },
}


def said(hostvars: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return what is said of each host: all behind its name and address."""
    return {line.split()[0]: line.split(maxsplit=2)[2] for line in platform_table(GROUPS, hostvars)}


def test_what_the_services_answered_is_said() -> None:
    assert said({host: values | ANSWERS.get(host, {}) for host, values in SILENT.items()}) == {
        "lb1": "nginx, healthy: https://10.0.0.1/",
        "app1": "Next.js on 3000, 3001, release 1.4.2",
        "pg1": "PostgreSQL replica, streaming, 56 bytes behind",
        "pg2": "PostgreSQL primary, 1 replicas follow",
        "pg3": "PostgreSQL stopped standby",
        "redis1": "Redis Cluster, master on 6379, replica on 6380",
        "redis2": "Redis Cluster, no node answers",
    }


def test_who_has_the_shared_address_is_said() -> None:
    groups = {"load_balancers": ["lb1", "lb2"]}
    shared = {"platform_address": "10.0.0.1", "platform_virtual_ip": "10.0.0.10"}
    having = {"ansible_facts": {"all_ipv4_addresses": ["10.0.0.1", "10.0.0.10"]}}
    for first, second, who in (
        ({}, having, "lb2"),
        (having, having, "lb1 and lb2"),
        ({}, {}, "nobody"),
    ):
        told = platform_table(groups, {"lb1": shared | first, "lb2": shared | second})
        assert told[0].split(maxsplit=1) == ["10.0.0.10", f"      {who} has it: https://10.0.0.10/".strip()]


def test_silence_is_said() -> None:
    assert said(SILENT) == {
        "lb1": "nginx, health unknown: https://10.0.0.1/",
        "app1": "Next.js on 3000, 3001, release 1.4.2",
        "pg1": "PostgreSQL does not answer",
        "pg2": "PostgreSQL does not answer",
        "pg3": "PostgreSQL does not answer",
        "redis1": "Redis Cluster, no node answers",
        "redis2": "Redis Cluster, no node answers",
    }


def test_a_standby_that_nobody_sends_to_is_said() -> None:
    told = said(
        SILENT | {"pg3": SILENT["pg3"] | {"platform_postgres_info": {"role": "standby", "replicas": []}}}
    )
    assert told["pg3"] == "PostgreSQL replica, does not stream"


def test_sentinel_is_called_by_its_name() -> None:
    answer = {"nodes": [{"addr": "10.0.0.6:6379", "role": "master"}], "sentinels": [{}]}
    told = said(SILENT | {"redis1": SILENT.get("redis1", {}) | {"redis_sentinel_status": answer}})
    assert told["redis1"] == "Redis with Sentinel, master on 6379"
    assert told["redis2"] == "Redis with Sentinel, no node answers"


def test_every_filter_is_offered() -> None:
    assert FilterModule().filters() == {"platform_table": platform_table}


def test_a_machine_of_the_pool_that_does_not_serve_is_said_to_be_ready() -> None:
    groups = {"app_nodes": ["app1", "app2"]}
    app1 = SILENT["app1"] | {"app_nodes_active": "1"}
    table = platform_table(groups, {"app1": app1, "app2": app1 | {"platform_address": "10.0.0.9"}})
    assert [line.split(maxsplit=2)[2] for line in table] == [
        "Next.js on 3000, 3001, release 1.4.2",
        "kept ready",
    ]


def test_the_workers_of_a_machine_are_said() -> None:
    app1 = SILENT["app1"] | {"app_node_worker_ports": [3100, 3101]}
    (line,) = platform_table({"app_nodes": ["app1"]}, {"app1": app1})
    assert line.endswith("Next.js on 3000, 3001, workers on 3100, 3101, release 1.4.2")


def test_what_prometheus_says_is_said() -> None:
    def row(answer: dict[str, Any]) -> str:
        hostvars = SILENT | {"mon1": {"platform_address": "10.0.0.9", **answer}}
        (line,) = [
            line
            for line in platform_table(GROUPS | {"monitoring": ["mon1"]}, hostvars)
            if line.startswith("mon1")
        ]
        return line.split(maxsplit=2)[2]

    def alert(name: str, state: str) -> dict[str, Any]:
        return {"labels": {"alertname": name}, "state": state}

    def told(*alerts: dict[str, Any]) -> dict[str, Any]:
        return {"__platform_alerts": {"json": {"data": {"alerts": list(alerts)}}}}

    assert row({}) == "Prometheus, does not answer"
    assert row({"__platform_alerts": {"status": -1}}) == "Prometheus, does not answer"
    assert row(told()) == "Prometheus, no alerts: http://10.0.0.9:9090/alerts"
    assert row(told(alert("DiskFull", "pending"))) == "Prometheus, no alerts: http://10.0.0.9:9090/alerts"
    several = told(alert("TargetDown", "firing"), alert("DiskFull", "firing"), alert("DiskFull", "firing"))
    assert row(several) == "Prometheus, DiskFull, TargetDown: http://10.0.0.9:9090/alerts"
