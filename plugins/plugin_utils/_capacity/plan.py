# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many machines a load needs, in a phase of the blueprint or a week of the rollout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import ceil
from typing import Any

from .figures import Figures, PoolTooSmallError, RefusedError, TooSmallError, assumptions
from .model import KINDS, Platform, Pools, limits, refuse_connections, rounded_up
from .report import report
from .states import PHASES, State

LEAST_MASTERS = 3
# Where the load decides; of load balancers, a state that has one only has that.
BY_LOAD = ("app_nodes", "postgres_replicas", "redis_nodes")


def plan(figures: Figures) -> dict[str, Any]:
    """Return the smallest platform that carries the load, in the first phase that can."""
    asked = figures.whole("phase")
    if asked:
        state = PHASES[asked - 1]
        told = report(state, fitting(state, figures), figures)
    else:
        told = _first(figures)
    return told | {"assumptions": assumptions(figures)}


def _first(figures: Figures) -> dict[str, Any]:
    *earlier, last = PHASES
    for state in earlier:
        if state.users and state.users[1] and figures["users"] > state.users[1]:
            continue
        try:
            return report(state, fitting(state, figures), figures)
        except TooSmallError:
            continue
    return report(last, fitting(last, figures), figures)


def states(given: Iterable[State], figures: Figures) -> list[dict[str, Any]]:
    """Return what each state is for the load, as near to it as it can be."""
    told = []
    for state in given:
        try:
            told.append(report(state, nearest(state, figures), figures))
        except RefusedError as refusal:
            told.append({"name": state.name, "title": state.title, "impossible": str(refusal)})
    return told


def nearest(state: State, figures: Figures) -> Platform:
    """Return the platform of a state, with as many machines as the load needs within its bounds."""
    return _bounded(state, wanted(state, figures), figures)


def _bounded(state: State, needed: Mapping[str, int], figures: Figures) -> Platform:
    return _platform(state, figures, {kind: state.within(kind, n) for kind, n in needed.items()})


def fitting(state: State, figures: Figures) -> Platform:
    """Return the platform of a state that carries the load, or refuse."""
    needed = wanted(state, figures)
    for kind in BY_LOAD:
        if (most := state.within(kind, needed[kind])) < needed[kind]:
            spare = figures.whole("spare_nodes") if most > 1 else 0
            raise TooSmallError(
                f"phase={state.phase} has at most {most} {kind}, and users={figures.whole('users')} take "
                f"{needed[kind]}{f' with {spare} to spare' if spare else ''}: give "
                f"phase={min(state.phase + 1, 4)}, or leave phase out."
            )
    try:
        return _with_pools(state, needed, figures)
    except RefusedError as refusal:
        if state.pooler:
            raise
        # A phase without PgBouncer runs out of what the next one has enough of.
        raise TooSmallError(str(refusal)) from refusal


def _with_pools(state: State, needed: Mapping[str, int], figures: Figures) -> Platform:
    """Return the platform with the fewest app nodes whose pools, too, carry the load.

    Pools share what the database takes, so more nodes are more pools, smaller ones, and a loss takes less of
    all connections.
    """
    nodes, first = needed["app_nodes"], None
    while True:
        try:
            platform = _bounded(state, {**needed, "app_nodes": nodes}, figures)
            _refuse_waits(platform, figures)
        except PoolTooSmallError as refusal:
            first = first or refusal
        except RefusedError as refusal:
            # For the pools of so many no connection is left.
            raise first or refusal from None
        else:
            return platform
        nodes += 1
        if "pool_size" in figures.given or state.within("app_nodes", nodes) < nodes:
            raise first


def wanted(state: State, figures: Figures) -> dict[str, int]:
    """Return how many machines of each kind the load needs, whatever the state has at most."""
    load, free, spare = figures.requests, 1 - figures["headroom"], figures.whole("spare_nodes")
    node = figures["throughput_per_process"] * _processes(state, figures)
    server = figures["queries_per_database"] * _database_size(state, figures)

    def spared(kind: str) -> int:
        return 0 if state.uses.get(kind) in (0, 1) else spare

    counts = dict.fromkeys(KINDS, 0) | dict.fromkeys(state.once, 1)
    counts["load_balancers"] = 1 + spared("load_balancers")
    counts["app_nodes"] = ceil(load / (node * free)) + spared("app_nodes")
    counts["postgres_primary"] = 1
    if state.uses.get("postgres_replicas") != 0:
        reads = load * figures.reads_share
        counts["postgres_replicas"] = ceil(reads / (server * free)) + spared("postgres_replicas")
    counts["redis_nodes"] = _redis_machines(figures) if state.redis_cluster else 1
    return counts


def _processes(state: State, figures: Figures) -> int:
    return max(int(figures["processes_per_node"] * figures["app_machine_size"] * state.app_machine_size), 1)


def _database_size(state: State, figures: Figures) -> Fraction:
    return figures["database_machine_size"] * state.database_machine_size


def _redis_machines(figures: Figures) -> int:
    cached = figures["users"] * figures["cache_per_user"] / 1024
    masters = max(ceil(cached / figures["redis_maxmemory"]), LEAST_MASTERS)
    return max(ceil(masters * (1 + figures["redis_replicas"]) / figures["redis_instances"]), LEAST_MASTERS)


def _platform(state: State, figures: Figures, nodes: Mapping[str, int]) -> Platform:
    processes = (_processes(state, figures),) * nodes["app_nodes"]
    replicas = figures.whole("redis_replicas") if state.redis_cluster else 0
    instances = figures.whole("redis_instances") if state.redis_cluster else 1
    platform = Platform(
        nodes=nodes,
        processes=processes,
        pools=_pools(state, figures, nodes),
        max_connections=figures.whole("max_connections"),
        worker_connections=_worker_connections(figures),
        redis_masters=nodes["redis_nodes"] * instances // (1 + replicas),
        redis_replicas=replicas,
        redis_instances=instances,
        redis_maxmemory=figures.whole("redis_maxmemory"),
        redis_mode="cluster" if state.redis_cluster else "single",
        database_size=_database_size(state, figures),
        shared=state.shared,
        worker_connections_decided="worker_connections" in figures.given,
    )
    refuse_connections(platform, figures)
    return platform


def _worker_connections(figures: Figures) -> int:
    """Return how many connections a worker of nginx needs; what was given must be enough."""
    free = 1 - figures["headroom"]
    clients = 2 * figures["users"] / (figures["load_balancer_workers"] * free)
    needed, have = rounded_up(clients, 1024), figures.whole("worker_connections")
    if clients <= have:
        return have
    if "worker_connections" not in figures.given:
        return needed
    raise RefusedError(
        f"worker_connections={have} is too few for users={figures.whole('users')}, with two connections for "
        f"each and {figures.whole('load_balancer_workers')} workers: raise it to {needed}."
    )


def _pools(state: State, figures: Figures, nodes: Mapping[str, int]) -> Pools:
    if not state.pooler:
        return Pools(figures.whole("connections_per_process"), 0, pooler=False)
    size, reserve = figures.whole("pool_size"), figures.whole("pool_reserve")
    both = 1 if nodes["postgres_replicas"] else 2
    room = (figures.whole("max_connections") - figures.whole("connections_kept")) // (
        nodes["app_nodes"] * both
    )
    if room < 1:
        raise RefusedError(
            f"max_connections={figures.whole('max_connections')} leaves none for the pools of "
            f"{nodes['app_nodes']} app nodes: raise it, or take bigger app nodes (app_machine_size)."
        )
    if size + reserve > room:
        if figures.given.isdisjoint({"pool_size", "pool_reserve"}):
            smaller = room * reserve // (size + reserve)
            size, reserve = room - smaller, smaller
        elif "pool_reserve" not in figures.given:
            reserve = max(room - size, 0)
        elif "pool_size" not in figures.given:
            size = max(room - reserve, 1)
    return Pools(size, reserve, pooler=True)


def _refuse_waits(platform: Platform, figures: Figures) -> None:
    """Refuse what more app nodes and replicas cannot mend: one primary, and its connections."""
    load, free = figures.requests, 1 - figures["headroom"]
    users = f"users={figures.whole('users')}"
    parts = {limit.name: limit for limit in limits(platform, figures)}
    server = parts["primary"].whole
    if server is not None and load > server * free:
        size = ceil(load / (server * free) * figures["database_machine_size"] * 10) / 10
        raise RefusedError(
            f"{users} are more than one primary takes writes of, which more machines do not change: give "
            f"database_machine_size={size:g}, or queries_per_database as you have measured it."
        )
    # Those that are left when as many are lost as may be.
    nodes, size = platform.count("app_nodes"), platform.pools.size
    left = max(nodes - figures.whole("spare_nodes"), 1)
    wholes = [parts[name].whole for name in ("connections", "app_rw", "app_ro") if name in parts]
    # What is named must do for all pools, so the one that needs most is.
    carried = min((whole * left / nodes * free for whole in wholes if whole is not None), default=load)
    if load > carried:
        bigger = ceil(size * load / carried)
        both = 1 if platform.count("postgres_replicas") else 2
        needed = bigger * nodes * both + figures.whole("connections_kept")
        raise PoolTooSmallError(
            f"pool_size={size} is too small for {users}, which hold {bigger} connections of a pool at once: "
            f"give pool_size={bigger} with pool_reserve=0 and max_connections={needed} or more, or "
            "query_time as you have measured it."
        )
