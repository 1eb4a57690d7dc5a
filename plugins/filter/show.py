# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Says what runs where, from what the services were just asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

Groups = Mapping[str, Sequence[str]]
HostVars = Mapping[str, Mapping[str, Any]]


def platform_table(groups: Groups, hostvars: HostVars) -> list[str]:
    """Return the lines that `make show` and `make demo` end with."""
    return [
        *_virtual_ip(groups, hostvars),
        *_edge(groups, hostvars),
        *_app(groups, hostvars),
        *_postgres(groups, hostvars),
        *_redis(groups, hostvars),
        *_monitoring(groups, hostvars),
    ]


def _row(host: str, hostvars: HostVars, what: str) -> str:
    return f"{host:<8} {hostvars[host]['platform_address']!s:<15} {what}"


def _edge(groups: Groups, hostvars: HostVars) -> Iterator[str]:
    for host in groups.get("load_balancers") or ():
        address = hostvars[host]["platform_address"]
        health = (hostvars[host].get("__platform_health") or {}).get("json") or {}
        yield _row(host, hostvars, f"nginx, {health.get('status', 'health unknown')}: https://{address}/")


def _virtual_ip(groups: Groups, hostvars: HostVars) -> Iterator[str]:
    """Say who has the address that the load balancers share, where they share one."""
    hosts = groups.get("load_balancers") or ()
    for address in {str(hostvars[host].get("platform_virtual_ip") or ""): None for host in hosts}:
        facts = {host: hostvars[host].get("ansible_facts") or {} for host in hosts}
        having = [host for host in hosts if address in facts[host].get("all_ipv4_addresses", ())]
        if address:
            yield f"{'':<8} {address:<15} {' and '.join(having) or 'nobody'} has it: https://{address}/"


def _app(groups: Groups, hostvars: HostVars) -> Iterator[str]:
    hosts = groups.get("app_nodes") or ()
    for number, host in enumerate(hosts):
        values = hostvars[host]
        if number >= int(values.get("app_nodes_active") or len(hosts)):
            yield _row(host, hostvars, "kept ready")
            continue
        ports = ", ".join(str(port) for port in values["platform_app_ports"])
        workers = ", ".join(str(port) for port in values.get("app_node_worker_ports") or ())
        also = f", workers on {workers}" if workers else ""
        yield _row(host, hostvars, f"Next.js on {ports}{also}, release {values['app_node_release']}")


def _postgres(groups: Groups, hostvars: HostVars) -> Iterator[str]:
    hosts = [*(groups.get("postgres_primary") or ()), *(groups.get("postgres_replicas") or ())]
    answers = {host: hostvars[host].get("platform_postgres_info") or {} for host in hosts}
    receiving = {row["address"]: row for info in answers.values() for row in info.get("replicas") or ()}
    for host, info in answers.items():
        role = info.get("role")
        if role == "primary":
            what = f"primary, {len(info['replicas'])} replicas follow"
        elif role == "standby":
            seen = receiving.get(str(hostvars[host]["platform_address"]))
            lag = f"{seen['state']}, {seen['replay_lag_bytes']} bytes behind" if seen else "does not stream"
            what = f"replica, {lag}"
        else:
            what = str(role or "does not answer").replace("_", " ")
        yield _row(host, hostvars, f"PostgreSQL {what}")


def _redis(groups: Groups, hostvars: HostVars) -> Iterator[str]:
    hosts = groups.get("redis_nodes") or ()
    registered = ("__platform_redis", "redis_sentinel_status")
    answers = [hostvars[host].get(name) or {} for host in hosts for name in registered]
    kind = "Redis with Sentinel" if any(answer.get("sentinels") for answer in answers) else "Redis Cluster"
    nodes: Sequence[Mapping[str, Any]] = next((a["nodes"] for a in answers if a.get("nodes")), [])
    for host in hosts:
        address = str(hostvars[host]["platform_address"])
        mine = sorted(
            (n for n in nodes if n["addr"].rsplit(":", 1)[0] == address), key=lambda n: str(n["addr"])
        )
        what = ", ".join(f"{n['role']} on {n['addr'].rsplit(':', 1)[1]}" for n in mine) or "no node answers"
        yield _row(host, hostvars, f"{kind}, {what}")


def _monitoring(groups: Groups, hostvars: HostVars) -> Iterator[str]:
    for host in groups.get("monitoring") or ():
        answer = (hostvars[host].get("__platform_alerts") or {}).get("json")
        if answer is None:
            what = "does not answer"
        else:
            firing = {
                str(alert["labels"]["alertname"])
                for alert in answer["data"]["alerts"]
                if alert["state"] == "firing"
            }
            what = f"{', '.join(sorted(firing)) or 'no alerts'}: http://{hostvars[host]['platform_address']}:9090/alerts"
        yield _row(host, hostvars, f"Prometheus, {what}")


class FilterModule:
    """Offers the function above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"platform_table": platform_table}
