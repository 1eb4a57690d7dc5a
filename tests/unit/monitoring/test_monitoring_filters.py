# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured where, out of an inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.filter.monitoring import (
    PORTS,
    edge_probes,
    exporters_of,
    redis_urls,
    scrape_jobs,
    shown_certificates,
)

ROOT = Path(__file__).resolve().parents[3]
MACHINES = {
    "load_balancers": ["lb1", "lb2"],
    "app_nodes": ["app1", "app2"],
    "postgres_primary": ["pg1"],
    "postgres_replicas": ["pg2"],
    "databases": ["pg1", "pg2"],
    "redis_nodes": ["redis1"],
    "backup": ["backup1"],
    "monitoring": ["mon1"],
    "all": ["lb1", "lb2", "app1", "app2", "pg1", "pg2", "redis1", "backup1", "mon1"],
}
HOSTVARS: dict[str, dict[str, Any]] = {
    host: {"platform_address": f"10.0.0.{number}", "platform_app_ports": [3000, 3001]}
    for number, host in enumerate(MACHINES["all"], start=11)
}


def having(**variables: Any) -> dict[str, dict[str, Any]]:
    return {host: given | variables for host, given in HOSTVARS.items()}


@pytest.mark.parametrize(
    ("host", "exporters"),
    [
        ("lb1", ["node", "nginx"]),
        ("app1", ["node"]),
        ("pg2", ["node", "postgres"]),
        ("redis1", ["node", "redis"]),
        ("backup1", ["node", "backup"]),
        ("mon1", ["node"]),
    ],
)
def test_each_machine_exports_what_runs_on_it(host: str, exporters: list[str]) -> None:
    assert exporters_of(MACHINES, host) == exporters


def test_a_machine_in_several_groups_exports_all_of_it() -> None:
    alone = {"databases": ["one"], "redis_nodes": ["one"], "load_balancers": ["one"]}
    assert exporters_of(alone, "one") == ["node", "nginx", "postgres", "redis"]


def test_a_week_without_backups_has_none_to_tell_of() -> None:
    assert exporters_of(MACHINES, "backup1", {"backups": False}) == ["node"]
    assert exporters_of(MACHINES, "backup1", {"backups": True}) == ["node", "backup"]


def test_database_hosts_that_keep_backups_themselves_tell_of_them() -> None:
    kept = {**MACHINES, "backup": []}
    assert exporters_of(kept, "pg1", {"backups": True}, "/mnt/backups") == ["node", "postgres", "backup"]
    assert exporters_of(kept, "lb1", {"backups": True}, "/mnt/backups") == ["node", "nginx"]
    assert exporters_of(kept, "pg1", {"backups": True}) == ["node", "postgres"]
    # The machine that is there for it comes first.
    assert exporters_of(MACHINES, "pg1", {"backups": True}, "/mnt/backups") == ["node", "postgres"]


def job(jobs: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [one for one in jobs if one["name"] == name]
    return found


def test_every_machine_and_service_is_read() -> None:
    jobs = scrape_jobs(MACHINES, HOSTVARS, ["app1"])
    assert [one["name"] for one in jobs] == ["node", "nginx", "postgres", "redis", "app"]
    assert [one["instance"] for one in job(jobs, "node")["targets"]] == MACHINES["all"]
    assert job(jobs, "postgres")["targets"] == [
        {"address": "10.0.0.15:9187", "instance": "pg1"},
        {"address": "10.0.0.16:9187", "instance": "pg2"},
    ]
    assert job(jobs, "redis") == {
        "name": "redis",
        "path": "/scrape",
        "targets": [
            {"address": "10.0.0.17:9121", "instance": "redis1:6379", "target": "redis://10.0.0.17:6379"},
            {"address": "10.0.0.17:9121", "instance": "redis1:6380", "target": "redis://10.0.0.17:6380"},
        ],
    }


def test_of_the_app_the_nodes_that_serve_are_read_with_their_workers() -> None:
    jobs = scrape_jobs(MACHINES, having(app_node_worker_ports=[3100]), ["app1"])
    assert job(jobs, "app")["targets"] == [
        {"address": "10.0.0.13:3000", "instance": "app1:3000"},
        {"address": "10.0.0.13:3001", "instance": "app1:3001"},
        {"address": "10.0.0.13:3100", "instance": "app1:3100"},
    ]


def test_an_app_that_tells_nothing_is_not_asked() -> None:
    assert "app" not in [one["name"] for one in scrape_jobs(MACHINES, HOSTVARS, ["app1"], app=False)]


def test_what_is_not_there_is_no_job() -> None:
    assert scrape_jobs({"all": ["mon1"]}, HOSTVARS) == [
        {"name": "node", "targets": [{"address": "10.0.0.19:9100", "instance": "mon1"}]}
    ]


def test_redis_is_asked_as_it_speaks() -> None:
    assert redis_urls(["redis1"], having(redis_server_instances=[{"port": 7000}])) == [
        "redis://10.0.0.17:7000"
    ]
    assert redis_urls(["redis1"], having(redis_server_tls=True)) == [
        "rediss://10.0.0.17:6379",
        "rediss://10.0.0.17:6380",
    ]


def probe(**changes: Any) -> dict[str, Any]:
    return {"name": "edge", "url": "https://10.0.0.9/health", "host": "", "verify": True, "ca": ""} | changes


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, probe(verify=False)),
        ({"nginx_tls": "none"}, probe(url="http://10.0.0.9/health")),
        ({"nginx_tls": "private_ca", "nginx_tls_ca_dir": "/srv/web"}, probe(ca="/srv/web/ca.crt")),
        (
            {"nginx_tls": "acme", "nginx_server_name": "a.example.org b.example.org"},
            probe(host="a.example.org"),
        ),
        # The certificate is for those names, and who asks by the address is shown one that is not for it.
        ({"nginx_tls": "acme", "nginx_acme_names": ["c.example.org"]}, probe(host="c.example.org")),
        (
            {
                "nginx_tls": "acme",
                "nginx_server_name": "a.example.org",
                "nginx_acme_names": ["c.example.org", "a.example.org"],
            },
            probe(host="c.example.org"),
        ),
        # Nobody says for which names they are.
        ({"nginx_tls": "files", "nginx_acme_names": ["c.example.org"]}, probe(verify=False)),
        ({"nginx_tls": "files", "nginx_tls_ca": "/srv/ca.crt"}, probe(verify=False, ca="/srv/ca.crt")),
        (
            {"nginx_tls": "files", "nginx_tls_ca": "/srv/ca.crt", "nginx_server_name": "a.example.org"},
            probe(host="a.example.org", ca="/srv/ca.crt"),
        ),
        (
            {"nginx_tls": "acme", "nginx_tls_ca": "/srv/ca.crt", "nginx_server_name": "a.example.org"},
            probe(host="a.example.org"),
        ),
    ],
)
def test_the_shared_address_is_asked_as_users_do(variables: dict[str, Any], expected: dict[str, Any]) -> None:
    assert edge_probes(["lb1", "lb2"], having(**variables), "10.0.0.9") == [expected]


def test_without_a_shared_address_every_load_balancer_is_asked() -> None:
    assert [(one["name"], one["url"]) for one in edge_probes(["lb1", "lb2"], HOSTVARS, path="/x")] == [
        ("edge_lb1", "https://10.0.0.11/x"),
        ("edge_lb2", "https://10.0.0.12/x"),
    ]
    assert edge_probes([], HOSTVARS, "10.0.0.9") == []


def test_every_certificate_is_watched() -> None:
    assert shown_certificates(MACHINES, HOSTVARS) == [
        {"name": "lb1:443", "address": "10.0.0.11:443"},
        {"name": "lb2:443", "address": "10.0.0.12:443"},
    ]
    assert shown_certificates(MACHINES, having(redis_server_tls=True, nginx_tls="none")) == [
        {"name": "redis1:6379", "address": "10.0.0.17:6379"},
        {"name": "redis1:6380", "address": "10.0.0.17:6380"},
    ]


def test_the_ports_are_those_of_the_role() -> None:
    told = yaml.safe_load((ROOT / "roles/exporters/vars/main.yml").read_text())["__exporters_all"]
    assert {name: one["port"] for name, one in told.items()} == PORTS
    for one in told.values():
        assert f":{one['port']}" in str(one["command"]) or "__exporters_redis_command" in one["command"]
