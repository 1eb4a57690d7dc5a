# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is listed in an inventory, and active, as a platform whose capacity and cost can be told."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from ansible_collections.payaid.scaling.plugins.plugin_utils._rollout.machines import short_of

from .figures import Figures, RefusedError
from .model import KINDS, Platform, Pools, refuse_connections
from .states import State

Groups = Mapping[str, Sequence[str]]
HostVars = Mapping[str, Mapping[str, Any]]

# All that the collection has, where no week is asked for.
LISTED = State(name="Inventory", title="As it is listed", needs={}, uses={})
# As the roles have them.
DEFAULT_PORTS = [3000]
DEFAULT_CONNECTIONS = 300
DEFAULT_WORKER_CONNECTIONS = 16384
DEFAULT_INSTANCES = ({"port": 6379}, {"port": 6380})
DEFAULT_MAXMEMORY = "256mb"
SIZE = re.compile(r"(\d+)\s*(b|kb?|mb?|gb?)?", re.IGNORECASE)
UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1024, "m": 1000**2, "mb": 1024**2, "g": 1000**3, "gb": 1024**3}


def active(groups: Groups, hostvars: HostVars, state: State) -> dict[str, list[str]]:
    """Return the hosts of each kind that serve, or would in a week of the rollout."""
    hosts = {kind: list(groups.get(kind) or ()) for kind in KINDS}
    nodes = hosts["app_nodes"]
    for kind in ("app_nodes", "postgres_primary"):
        if not hosts[kind]:
            raise RefusedError(f"The group {kind} is empty: list at least one machine in the inventory.")
    wanted = str(hostvars[nodes[0]].get("app_nodes_active") or len(nodes))
    if not wanted.isdecimal() or not 1 <= int(wanted) <= len(nodes):
        raise RefusedError(f"app_nodes_active={wanted}: give a number from 1 to {len(nodes)}.")
    hosts["app_nodes"] = nodes[: int(wanted)]
    if sentence := short_of(groups, state):
        raise RefusedError(sentence)
    for kind in KINDS:
        hosts[kind] = hosts[kind][: state.uses.get(kind, len(hosts[kind]))]
    return hosts


def platform_of(
    hosts: Mapping[str, Sequence[str]], hostvars: HostVars, state: State, figures: Figures
) -> Platform:
    """Return the machines with what their variables say; refuse connections that do not fit."""
    app, primary = (hostvars[hosts[kind][0]] for kind in ("app_nodes", "postgres_primary"))
    redis = _redis(hosts["redis_nodes"], hostvars, state)
    platform = Platform(
        nodes={kind: len(hosts[kind]) for kind in KINDS},
        processes=tuple(
            len(hostvars[host].get("platform_app_ports", DEFAULT_PORTS)) for host in hosts["app_nodes"]
        ),
        pools=_pools(app, state, figures),
        max_connections=_whole(primary, "postgres_server_max_connections", DEFAULT_CONNECTIONS),
        worker_connections=_worker_connections(hosts["load_balancers"], hostvars),
        redis_masters=redis["masters"],
        redis_replicas=redis["replicas"],
        redis_instances=redis["instances"],
        redis_maxmemory=redis["maxmemory"],
        redis_mode=redis["mode"],
        database_size=figures["database_machine_size"],
        worker_connections_decided=True,
    )
    refuse_connections(platform, figures)
    return platform


def _whole(variables: Mapping[str, Any], name: str, default: int) -> int:
    text = str(variables.get(name, default)).strip()
    if not text.isdecimal():
        raise RefusedError(f"{name}={text}: give a whole number.")
    return int(text)


def _pools(variables: Mapping[str, Any], state: State, figures: Figures) -> Pools:
    if not state.pooler:
        return Pools(figures.whole("connections_per_process"), 0, pooler=False)
    return Pools(
        _whole(variables, "platform_pool_size", figures.whole("pool_size")),
        _whole(variables, "platform_pool_reserve", figures.whole("pool_reserve")),
        pooler=True,
    )


def _worker_connections(balancers: Sequence[str], hostvars: HostVars) -> int:
    return min(
        (
            _whole(hostvars[host], "nginx_worker_connections", DEFAULT_WORKER_CONNECTIONS)
            for host in balancers
        ),
        default=DEFAULT_WORKER_CONNECTIONS,
    )


def _redis(hosts: Sequence[str], hostvars: HostVars, state: State) -> dict[str, Any]:
    """Return what the instances of all machines make together."""
    if not hosts:
        return {"mode": "single", "masters": 0, "replicas": 0, "instances": 0, "maxmemory": 0}
    first = hostvars[hosts[0]]
    lists = [list(hostvars[host].get("redis_server_instances", DEFAULT_INSTANCES)) for host in hosts]
    default = first.get("redis_server_maxmemory", DEFAULT_MAXMEMORY)
    sizes = [_megabytes(one.get("maxmemory", default)) for each in lists for one in each]
    mode = str(first.get("redis_mode", "cluster")) if state.redis_cluster else "single"
    told = {"mode": mode, "instances": max(map(len, lists)), "maxmemory": min(sizes, default=0)}
    if mode == "cluster":
        replicas = _whole(first, "redis_cluster_replicas", 1)
        return told | {"masters": len(sizes) // (1 + replicas), "replicas": replicas}
    # One master, and a replica on each further machine.
    return told | {"masters": 1, "replicas": len(hosts) - 1, "instances": 1}


def _megabytes(size: Any) -> int:
    """Read a size as redis.conf has it."""
    found = SIZE.fullmatch(str(size).strip())
    if not found:
        raise RefusedError(f"maxmemory={size}: give a size such as 1gb.")
    return int(found[1]) * UNITS[(found[2] or "").lower()] // 1024**2


def priced(hosts: Mapping[str, Sequence[str]], figures: Figures) -> dict[str, int]:
    """Return how many machines of each kind are paid for: one with two tasks once, as the dearer of them."""
    dearest: dict[str, str] = {}

    def price(kind: str) -> Fraction:
        each = figures.prices[kind]
        return each.high / each.machines

    for kind in KINDS:
        for host in hosts[kind]:
            if host not in dearest or price(kind) > price(dearest[host]):
                dearest[host] = kind
    return {kind: list(dearest.values()).count(kind) for kind in KINDS}


def of_inventory(
    groups: Groups, hostvars: HostVars, figures: Figures, state: State | None
) -> tuple[State, Platform, dict[str, int]]:
    """Return the platform of an inventory, as it is or as a week of the rollout would have it."""
    asked = state or LISTED
    hosts = active(groups, hostvars, asked)
    # Inventories name machines: what shares one is seen there.
    asked = replace(asked, shared=frozenset(), app_machine_size=1, database_machine_size=1)
    return asked, platform_of(hosts, hostvars, asked, figures), priced(hosts, figures)
