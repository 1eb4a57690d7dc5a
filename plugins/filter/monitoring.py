# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured where, out of the groups of an inventory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlunsplit

from ansible_collections.payaid.scaling.plugins.filter.platform import redis_instances

Groups = Mapping[str, Sequence[str]]
HostVars = Mapping[str, Mapping[str, Any]]

# As the role exporters has them listen.
PORTS = {"node": 9100, "nginx": 9113, "postgres": 9187, "redis": 9121}
EXPORTERS = {
    "nginx": "load_balancers",
    "postgres": "databases",
    "redis": "redis_nodes",
    "backup": "backup",
}


def exporters_of(
    machines: Groups, host: str, has: Mapping[str, bool] | None = None, repository: str = ""
) -> list[str]:
    """Return which exporters a machine has, by the groups it is in."""
    keepers = machines.get("backup") or (machines.get("databases") if repository else ())
    groups = {**machines, "backup": keepers if (has or {}).get("backups", True) else ()}
    return ["node", *(exporter for exporter, group in EXPORTERS.items() if host in (groups.get(group) or ()))]


def redis_urls(hosts: Iterable[str], hostvars: HostVars) -> list[str]:
    """Return the URLs of the Redis instances of hosts."""
    found = []
    for host in hosts:
        scheme = "rediss" if hostvars[host].get("redis_server_tls") else "redis"
        found += [f"{scheme}://{one['host']}:{one['port']}" for one in redis_instances([host], hostvars)]
    return found


def scrape_jobs(
    machines: Groups, hostvars: HostVars, active: Sequence[str] | None = None, *, app: bool = True
) -> list[dict[str, Any]]:
    """Return what Prometheus reads: machines, services, and the processes of the app nodes that serve."""
    jobs = [
        {
            "name": exporter,
            "targets": [_exporter(exporter, host, hostvars) for host in machines.get(group) or ()],
        }
        for exporter, group in (("node", "all"), ("nginx", "load_balancers"), ("postgres", "databases"))
    ]
    jobs.append(
        {
            "name": "redis",
            "path": "/scrape",
            "targets": [
                {
                    **_exporter("redis", host, hostvars),
                    "instance": f"{host}:{url.rpartition(':')[2]}",
                    "target": url,
                }
                for host in machines.get("redis_nodes") or ()
                for url in redis_urls([host], hostvars)
            ],
        }
    )
    if app:
        jobs.append(
            {"name": "app", "targets": [one for host in active or () for one in _processes(host, hostvars)]}
        )
    return [job for job in jobs if job["targets"]]


def _exporter(exporter: str, host: str, hostvars: HostVars) -> dict[str, str]:
    return {"address": f"{hostvars[host]['platform_address']}:{PORTS[exporter]}", "instance": host}


def _processes(host: str, hostvars: HostVars) -> list[dict[str, str]]:
    variables = hostvars[host]
    ports = [*(variables.get("platform_app_ports") or ()), *(variables.get("app_node_worker_ports") or ())]
    return [
        {"address": f"{variables['platform_address']}:{port}", "instance": f"{host}:{port}"} for port in ports
    ]


def edge_probes(
    hosts: Sequence[str], hostvars: HostVars, virtual_ip: str = "", path: str = "/health"
) -> list[dict[str, Any]]:
    """Return what users ask for: the address that the load balancers share, else each of them."""
    addresses = {host: str(hostvars[host]["platform_address"]) for host in hosts}
    if hosts and virtual_ip:
        addresses = {hosts[0]: virtual_ip}
    return [
        {
            "name": "edge" if virtual_ip else f"edge_{host}",
            "url": urlunsplit(("http" if _tls(hostvars[host]) == "none" else "https", address, path, "", "")),
            "host": _server_name(hostvars[host]),
            "verify": _vouched_for(hostvars[host]),
            "ca": _authority(hostvars[host]),
        }
        for host, address in addresses.items()
    ]


def _tls(variables: Mapping[str, Any]) -> str:
    return str(variables.get("nginx_tls") or "self_signed")


def _server_name(variables: Mapping[str, Any]) -> str:
    if _tls(variables) == "acme" and (names := variables.get("nginx_acme_names")):
        return str(names[0])
    first = (str(variables.get("nginx_server_name") or "_").split() or ["_"])[0]
    return "" if first == "_" else first


def _vouched_for(variables: Mapping[str, Any]) -> bool:
    """Tell whether the certificate can be held against whoever is asked.

    Whoever signs for himself is believed by nobody, nor by users. Files of somebody's own are for names that
    nginx_server_name alone tells: held against an address they would make a page of every look.
    """
    return _tls(variables) in {"none", "private_ca"} or (
        _tls(variables) != "self_signed" and bool(_server_name(variables))
    )


def _authority(variables: Mapping[str, Any]) -> str:
    """Return the file of the authority on the controller, where it is one that not everybody trusts."""
    source = _tls(variables)
    if source == "private_ca":
        return f"{variables.get('nginx_tls_ca_dir')}/ca.crt"
    return str(variables.get("nginx_tls_ca") or "") if source == "files" else ""


def shown_certificates(machines: Groups, hostvars: HostVars) -> list[dict[str, str]]:
    """Return who speaks TLS from the first byte: the load balancers, and Redis where it does."""
    found = [
        {"name": f"{host}:443", "address": f"{hostvars[host]['platform_address']}:443"}
        for host in machines.get("load_balancers") or ()
        if _tls(hostvars[host]) != "none"
    ]
    for host in machines.get("redis_nodes") or ():
        for url in redis_urls([host], hostvars):
            scheme, _separator, address = url.partition("://")
            if scheme == "rediss":
                found.append({"name": f"{host}:{url.rpartition(':')[2]}", "address": address})
    return found


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "edge_probes": edge_probes,
            "exporters_of": exporters_of,
            "redis_urls": redis_urls,
            "scrape_jobs": scrape_jobs,
            "shown_certificates": shown_certificates,
        }
