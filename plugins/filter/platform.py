# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks compute from an inventory: its faults, and the lists that the roles take."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from ipaddress import IPv4Address
from itertools import product
from types import MappingProxyType
from typing import Any

from ansible.errors import AnsibleError
from jinja2.exceptions import UndefinedError

Groups = Mapping[str, Sequence[str]]
HostVars = Mapping[str, Mapping[str, Any]]

NEEDED_GROUPS = {
    "load_balancers": "load balancer",
    "app_nodes": "app node",
    "postgres_primary": "PostgreSQL primary",
    "redis_nodes": "Redis machine",
}
NEEDED_SECRETS = (
    "vault_app_jwt_secret",
    "vault_postgres_app_password",
    "vault_postgres_pooler_password",
    "vault_postgres_replication_password",
    "vault_postgres_switchover_password",
    "vault_redis_app_password",
    "vault_redis_operator_password",
    "vault_redis_replication_password",
)
SENTINEL_SECRETS = ("vault_redis_sentinel_password",)
MONITORING_SECRETS = ("vault_redis_monitor_password",)
KNOWN_DEBIANS = ("12", "13")
MACHINE_GROUPS = (
    "load_balancers",
    "app_nodes",
    "postgres_primary",
    "postgres_replicas",
    "backup",
    "redis_nodes",
    "monitoring",
)
MONITORS_MOST = 2
REPLICAS_DEFAULT = 1
MAX_CONNECTIONS_DEFAULT = 300
# PostgreSQL's own reserve for superusers (3), migrations and people.
CONNECTIONS_KEPT = 10
# What the first release called otherwise.
REDIS_RENAMED = {
    "redis_cluster_ports": "redis_server_instances, a list such as [{port: 6379}, {port: 6380}]",
    "redis_cluster_maxmemory": "redis_server_maxmemory",
    "redis_cluster_maxmemory_policy": "redis_server_maxmemory_policy",
    "redis_cluster_node_timeout_ms": "redis_server_cluster_node_timeout_ms",
    "redis_cluster_settings": "redis_server_settings",
}
REDIS_MODES = ("cluster", "sentinel")
ALONE_IS_CLUSTER = (
    "{host} has redis_mode=sentinel, and before week 3 of the rollout (rollout_week) Redis is a cluster of "
    "one node: leave rollout_week out, or take redis_mode=cluster."
)
POOLER_SSLMODES = ("disable", "require", "verify-ca", "verify-full")
SENTINELS_NEEDED = 3
REDIS_INSTANCES_DEFAULT = ({"port": 6379}, {"port": 6380})


def platform_hosts(groups: Groups) -> list[str]:
    """Return every host of the platform once, in the order of its groups."""
    return list(dict.fromkeys(host for group in MACHINE_GROUPS for host in groups.get(group) or ()))


def topology_problems(
    groups: Groups, hostvars: HostVars, has: Mapping[str, bool] = MappingProxyType({})
) -> list[str]:
    """Return a sentence for each thing that makes the inventory impossible; none when it is a platform.

    What a week of the rollout does not have yet has no problems.
    """
    problems = [
        f"The group {group} is empty: list at least one {what} in the inventory."
        for group, what in NEEDED_GROUPS.items()
        if not groups.get(group) and (group != "load_balancers" or has.get("load_balancer", True))
    ]
    problems += _primary_problems(groups)
    problems += _synchrony_problems(groups, hostvars)
    problems += _backup_problems(groups)
    problems += _monitoring_problems(groups)
    problems += _address_problems(platform_hosts(groups), hostvars)
    if has.get("virtual_ip", True):
        problems += _virtual_ip_problems(groups, hostvars)
    problems += _mode_problems(groups, hostvars)
    problems += _redis_problems(groups.get("redis_nodes") or (), hostvars, has)
    if has.get("pooler", True):
        problems += _connection_problems(groups, hostvars)
    problems += _pool_problems(groups, hostvars)
    problems += _tls_problems(groups, hostvars)
    problems += _secret_problems(platform_hosts(groups), hostvars, monitored=bool(groups.get("monitoring")))
    return problems


def _primary_problems(groups: Groups) -> list[str]:
    primaries = groups.get("postgres_primary") or ()
    problems = []
    if len(primaries) > 1:
        problems.append(
            f"The group postgres_primary lists {' and '.join(primaries)}: exactly one server takes writes, "
            "so move the others to postgres_replicas."
        )
    if both := [host for host in primaries if host in (groups.get("postgres_replicas") or ())]:
        problems.append(
            f"{both[0]} is in postgres_primary and in postgres_replicas: take it out of one of them."
        )
    return problems


def _synchrony_problems(groups: Groups, hostvars: HostVars) -> list[str]:
    """Check that enough replicas are left to confirm a commit when one host is lost."""
    hosts = [host for group in ("postgres_primary", "postgres_replicas") for host in groups.get(group) or ()]
    problems = []
    for host in hosts:
        wanted = int(hostvars[host].get("postgres_server_synchronous_standbys", 0))
        most = max(len(hosts) - 2, 0)
        if not 0 <= wanted <= most:
            problems.append(
                f"{host} has postgres_server_synchronous_standbys={wanted}, and there are {len(hosts)} "
                "database hosts: when one is lost and another one takes over, the rest must still be as "
                f"many, so add replicas, or set it to {most}."
            )
    return problems


def _backup_problems(groups: Groups) -> list[str]:
    repositories = groups.get("backup") or ()
    problems = []
    if len(repositories) > 1:
        problems.append(
            f"The group backup lists {' and '.join(repositories)}: exactly one machine keeps the backups, so "
            "take the others out of it."
        )
    databases = [
        host for group in ("postgres_primary", "postgres_replicas") for host in groups.get(group) or ()
    ]
    if both := [host for host in repositories if host in databases]:
        problems.append(
            f"{both[0]} is in backup and is a database host: its backups would be lost with its data, so "
            "list another machine in backup."
        )
    return problems


def _monitoring_problems(groups: Groups) -> list[str]:
    monitors = groups.get("monitoring") or ()
    if len(monitors) <= MONITORS_MOST:
        return []
    return [
        f"The group monitoring lists {', '.join(monitors)}: each of them reads everything, and two are "
        "enough for one to be lost, so take the others out of it."
    ]


def _address_problems(hosts: Iterable[str], hostvars: HostVars) -> list[str]:
    problems = []
    owner: dict[str, str] = {}
    for host in hosts:
        address = str(hostvars[host].get("platform_address") or "")
        if not address:
            problems.append(
                f"{host} has no platform_address: set it to the IPv4 address that the others reach it at."
            )
            continue
        try:
            IPv4Address(address)
        except ValueError:
            problems.append(f"{host} has platform_address={address}, which is not an IPv4 address.")
        if address in owner:
            problems.append(
                f"{owner[address]} and {host} share platform_address={address}: each needs its own."
            )
        owner[address] = host
    return problems


def _virtual_ip(variables: Mapping[str, Any]) -> str:
    return str(variables.get("platform_virtual_ip") or "")


def _virtual_ip_problems(groups: Groups, hostvars: HostVars) -> list[str]:
    """Check that the address which the load balancers share is one, and theirs alone."""
    hosts = groups.get("load_balancers") or ()
    wanted = {host: _virtual_ip(hostvars[host]) for host in hosts}
    if not any(wanted.values()):
        return []
    first = hosts[0]
    address = wanted[first]
    for host in hosts:
        if wanted[host] != address:
            return [
                f"{first} has platform_virtual_ip={address or '(empty)'} and {host} "
                f"{wanted[host] or '(empty)'}: set it once for all load balancers."
            ]
    given = f"{first} has platform_virtual_ip={address}"
    try:
        IPv4Address(address)
    except ValueError:
        return [f"{given}, which is not an IPv4 address: set it to one, or to nothing."]
    problems = [
        f"{given}, which is the platform_address of {host}: choose one that no machine has."
        for host in platform_hosts(groups)
        if str(hostvars[host].get("platform_address")) == address
    ]
    if len(hosts) < 2:
        problems.append(
            f"{given}, and is alone in load_balancers: add another one that can take it, or leave it empty."
        )
    return problems


def _redis_mode(variables: Mapping[str, Any]) -> str:
    return str(variables.get("redis_mode", REDIS_MODES[0]))


def _tls_problems(groups: Groups, hostvars: HostVars) -> list[str]:
    """Check that the database servers, the pools and the app mean the same by their certificates."""
    databases = ("postgres_primary", "postgres_replicas", "app_nodes")
    hosts = [host for group in databases for host in groups.get(group) or ()]
    sources = {host: hostvars[host].get("postgres_server_tls_source") or "snakeoil" for host in hosts}
    for host, source in sources.items():
        if source != sources[hosts[0]]:
            return [
                f"{hosts[0]} has postgres_server_tls_source={sources[hosts[0]]} and {host} {source}: set it "
                "once for all hosts."
            ]
    problems = []
    for host in groups.get("app_nodes") or ():
        asked = hostvars[host].get("platform_pooler_sslmode") or "disable"
        if asked not in POOLER_SSLMODES:
            problems.append(
                f"{host} has platform_pooler_sslmode={asked}: set it to {', '.join(POOLER_SSLMODES[:-1])} or "
                f"{POOLER_SSLMODES[-1]}."
            )
        if asked == "disable" and hostvars[host].get("pgbouncer_client_tls_sslmode") == "require":
            problems.append(
                f"{host} has pgbouncer_client_tls_sslmode=require and an app that speaks no TLS: set "
                "platform_pooler_sslmode=require in a run before."
            )
        if asked.startswith("verify") and sources[host] == "snakeoil":
            problems.append(
                f"{host} has platform_pooler_sslmode={asked}, and no authority to verify with: set "
                "postgres_server_tls_source to private_ca or files."
            )
    return problems


def _mode_problems(groups: Groups, hostvars: HostVars) -> list[str]:
    """Check that the machines of Redis and the app's, which are its clients, mean the same."""
    hosts = [host for group in ("redis_nodes", "app_nodes") for host in groups.get(group) or ()]
    for host in hosts:
        mode, first = _redis_mode(hostvars[host]), _redis_mode(hostvars[hosts[0]])
        if mode not in REDIS_MODES:
            return [f"{host} has redis_mode={mode}: set it to {' or '.join(REDIS_MODES)}."]
        if mode != first:
            return [
                f"{hosts[0]} has redis_mode={first} and {host} redis_mode={mode}: set it once for all hosts."
            ]
    return []


def _redis_problems(hosts: Sequence[str], hostvars: HostVars, has: Mapping[str, bool]) -> list[str]:
    if not hosts:
        return []
    if old := [
        f"{host} has {name}, which is no variable any more: put it into {REDIS_RENAMED[name]}."
        for host in hosts
        for name in REDIS_RENAMED
        if name in hostvars[host]
    ]:
        return old
    sentinel = _redis_mode(hostvars[hosts[0]]) == "sentinel"
    if not has.get("redis_cluster", True):
        return [ALONE_IS_CLUSTER.format(host=hosts[0])] if sentinel else []
    if sentinel:
        return _sentinel_problems(hosts, hostvars)
    replicas = int(hostvars[hosts[0]].get("redis_cluster_replicas", REPLICAS_DEFAULT))
    instances = len(redis_instances(hosts, hostvars, addressed=False))
    needed = 3 * (replicas + 1)
    if instances < needed:
        return [
            f"redis_cluster_replicas={replicas} needs at least {needed} Redis instances for 3 masters, "
            f"and redis_nodes ({', '.join(hosts)}) has {instances}: "
            "add machines, or instances to redis_server_instances."
        ]
    return []


def _sentinel_problems(hosts: Sequence[str], hostvars: HostVars) -> list[str]:
    """Check what a master with its replicas and a sentinel on each machine need."""
    problems = []
    if len(hosts) < SENTINELS_NEEDED:
        problems.append(
            f"redis_mode=sentinel needs {SENTINELS_NEEDED} machines for as many sentinels, and redis_nodes "
            f"({', '.join(hosts)}) has {len(hosts)}: add machines."
        )
    quorum = int(hostvars[hosts[0]].get("redis_sentinel_quorum", 2))
    if not 1 <= quorum <= max(len(hosts), SENTINELS_NEEDED):
        problems.append(
            f"{hosts[0]} has redis_sentinel_quorum={quorum}, and there are {len(hosts)} sentinels: set it "
            f"to {len(hosts) // 2 + 1}, a majority."
        )
    for host in hosts:
        if len(ports := _ports(hostvars[host])) != 1:
            problems.append(
                f"{host} has {len(ports)} Redis instances in redis_server_instances, and with "
                "redis_mode=sentinel each machine runs one: set it to [{port: 6379}]."
            )
        # A server that was restarted comes up as a master until a sentinel makes it follow again.
        if int(hostvars[host].get("redis_server_min_replicas_to_write", 0)) < 1:
            problems.append(
                f"{host} has no redis_server_min_replicas_to_write, without which a former master that comes "
                "back takes writes that are lost: set it to 1."
            )
    return problems


def _connection_problems(groups: Groups, hostvars: HostVars) -> list[str]:
    """Check that the pools of all app nodes together fit into one server's connections."""
    nodes, servers = groups.get("app_nodes") or (), groups.get("postgres_primary") or ()
    if not nodes or not servers or "platform_pool_size" not in hostvars[nodes[0]]:
        return []
    size, reserve = (int(hostvars[nodes[0]].get(f"platform_pool_{part}", 0)) for part in ("size", "reserve"))
    # With no replica, the pool for reads leads to the primary as well.
    pools = 1 if groups.get("postgres_replicas") else 2
    limit = int(hostvars[servers[0]].get("postgres_server_max_connections", MAX_CONNECTIONS_DEFAULT))
    needed = len(nodes) * pools * (size + reserve) + CONNECTIONS_KEPT
    if needed <= limit:
        return []
    return [
        f"{len(nodes)} app nodes x {pools} pools x ({size} + {reserve}) connections + {CONNECTIONS_KEPT} "
        f"kept for administration make {needed}, and postgres_server_max_connections={limit} of "
        f"{servers[0]}: raise it, or lower platform_pool_size."
    ]


def _pool_problems(groups: Groups, hostvars: HostVars) -> list[str]:
    """Check that as many app nodes can serve as are to."""
    nodes = groups.get("app_nodes") or ()
    given = {host: str(hostvars[host].get("app_nodes_active") or len(nodes)) for host in nodes}
    for host, text in given.items():
        if text != given[nodes[0]]:
            return [
                f"{nodes[0]} has app_nodes_active={given[nodes[0]]} and {host} {text}: set it once for all "
                "hosts."
            ]
    if nodes and not (given[nodes[0]].isdecimal() and 1 <= int(given[nodes[0]]) <= len(nodes)):
        return [
            f"app_nodes_active={given[nodes[0]]}, and the group app_nodes has {len(nodes)} machines: give a "
            "number from 1 to that, or add machines to the group."
        ]
    return []


def _secret_problems(hosts: Sequence[str], hostvars: HostVars, *, monitored: bool) -> list[str]:
    if not hosts:
        return []
    missing, sealed = [], []
    sentinel = _redis_mode(hostvars[hosts[0]]) == "sentinel"
    names = (
        *NEEDED_SECRETS,
        *(SENTINEL_SECRETS if sentinel else ()),
        *(MONITORING_SECRETS if monitored else ()),
    )
    for name in names:
        try:
            if not hostvars[hosts[0]].get(name):
                missing.append(name)
        except (AnsibleError, UndefinedError):  # a value that cannot be decrypted fails when it is looked at
            sealed.append(name)
    problems = [f"{name} is not set for {hosts[0]}: put it into the inventory's vault." for name in missing]
    if sealed:
        problems.append(
            f"{', '.join(sealed)} of {hosts[0]} cannot be decrypted: give the vault password "
            "(--ask-vault-pass or --vault-password-file)."
        )
    return problems


def machine_problems(groups: Groups, hostvars: HostVars) -> list[str]:
    """Return a sentence for each machine that cannot be worked on.

    Reads what the preflight registered as `platform_answer` on every host.
    """
    problems = []
    for host in platform_hosts(groups):
        answer = hostvars[host].get("platform_answer") or {}
        if answer.get("unreachable"):
            address = hostvars[host].get("ansible_host", host)
            said = (
                " ".join(str(answer.get("msg", "")).removeprefix("Task failed: ").split()).rstrip(".") + "."
            )
            problems.append(
                f"{host} (ansible_host={address}) cannot be reached over SSH: {said.rstrip('.')}."
            )
            continue
        facts = hostvars[host].get("ansible_facts") or {}
        system, release = facts.get("distribution"), facts.get("distribution_major_version")
        if system is None:
            continue
        if system != "Debian" or release not in KNOWN_DEBIANS:
            problems.append(
                f"{host} runs {system} {release}: the platform knows Debian {' and '.join(KNOWN_DEBIANS)} "
                "(distribution_major_version)."
            )
    return problems


def _ports(variables: Mapping[str, Any]) -> list[int]:
    return [int(one["port"]) for one in variables.get("redis_server_instances", REDIS_INSTANCES_DEFAULT)]


def redis_instances(
    hosts: Iterable[str], hostvars: HostVars, *, addressed: bool = True
) -> list[dict[str, Any]]:
    """Return every Redis instance of the cluster: one a machine and port, in the machine's own zone."""
    return [
        {
            "host": str(hostvars[host]["platform_address"]) if addressed else host,
            "port": port,
            "zone": str(hostvars[host].get("platform_zone") or host),
        }
        for host in hosts
        for port in _ports(hostvars[host])
    ]


def addresses_of(hosts: Iterable[str], hostvars: HostVars, suffix: str = "") -> list[str]:
    """Return the addresses of hosts, with a suffix such as ``/32``."""
    return [f"{hostvars[host]['platform_address']}{suffix}" for host in hosts]


def endpoints_of(hosts: Iterable[str], hostvars: HostVars, ports: Sequence[int]) -> list[str]:
    """Return ``address:port`` for every host and port: first the first port of every host, and so on."""
    return [f"{address}:{port}" for port, address in product(ports, addresses_of(hosts, hostvars))]


def probe_entries(hosts: Iterable[str], hostvars: HostVars, virtual_ip: str = "") -> list[dict[str, str]]:
    """Return what platform_probe takes for load balancers, with the certificate that each one shows.

    The address that they share is one more, where any of them may answer.
    """
    found = []
    for host in hosts:
        certificate = b64decode(
            (hostvars[host].get("__platform_certificate") or {}).get("content") or ""
        ).decode()
        scheme = "https" if certificate else "http"
        address = hostvars[host]["platform_address"]
        found.append({"name": host, "url": f"{scheme}://{address}", "certificate": certificate})
    if found and virtual_ip:
        scheme = found[0]["url"].partition(":")[0]
        certificates = dict.fromkeys(entry["certificate"] for entry in found)
        found.append(
            {
                "name": "the virtual IP",
                "url": f"{scheme}://{virtual_ip}",
                "certificate": "\n".join(certificates).strip(),
            }
        )
    return found


def probe_processes(hosts: Iterable[str], hostvars: HostVars, ports: Sequence[int]) -> list[dict[str, str]]:
    """Return what platform_probe takes for app processes, by the names that the nodes give themselves."""
    return [
        {
            "node": str((hostvars[host].get("ansible_facts") or {}).get("hostname") or host),
            "url": f"http://{hostvars[host]['platform_address']}:{port}",
        }
        for port in ports
        for host in hosts
    ]


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "addresses_of": addresses_of,
            "endpoints_of": endpoints_of,
            "machine_problems": machine_problems,
            "platform_hosts": platform_hosts,
            "probe_entries": probe_entries,
            "probe_processes": probe_processes,
            "redis_instances": redis_instances,
            "topology_problems": topology_problems,
        }
