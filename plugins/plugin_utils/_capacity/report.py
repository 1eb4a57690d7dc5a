# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of a platform: what it carries and costs, what limits it, and what a loss means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from .figures import LABELS, Figures, plain
from .model import KINDS, Limit, Platform, connections, limits, memory
from .states import State
from .words import money

# Of what a loss leaves less. What there is once is told in words.
LOSABLE = ("app", "replicas", "connections", "app_rw", "app_ro")


def report(
    state: State, platform: Platform, figures: Figures, priced: Mapping[str, int] | None = None
) -> dict[str, Any]:
    """Return all that is known of a platform, as plain data."""
    parts = limits(platform, figures)
    machines = _machines(state, platform, figures, priced)
    primary, replica = connections(platform)
    load = figures.requests
    whole, rest = (_carried(parts, figures, lost=lost) for lost in (False, True))
    return {
        "name": state.name,
        "title": state.title,
        "phase": state.phase,
        "brings": list(state.brings),
        "blueprint_users": list(state.users) if state.users else None,
        "users": figures.whole("users"),
        "requests_per_second": plain(load),
        "machines": machines,
        "machine_count": sum(row["own"] for row in machines),
        "nodes": {kind: platform.count(kind) for kind in KINDS},
        "processes": sum(platform.processes),
        "pools": {
            "pooler": platform.pools.pooler,
            "size": platform.pools.size,
            "reserve": platform.pools.reserve,
        },
        "connections": {
            "primary": primary,
            "replica": replica,
            "kept": figures.whole("connections_kept"),
            "max": platform.max_connections,
        },
        "redis": {
            "mode": platform.redis_mode,
            "masters": platform.redis_masters,
            "replicas": platform.redis_masters * platform.redis_replicas,
            "maxmemory_mb": platform.redis_maxmemory,
        },
        "capacity": {
            "users": _users(whole, figures),
            "users_one_lost": _users(rest, figures),
            "requests_per_second": int(whole),
            "requests_per_second_one_lost": int(rest),
        },
        "utilisation": {limit.name: _utilisation(limit, load) for limit in parts},
        "bottleneck": _bottleneck(parts, figures),
        "lost": [
            row for kind in KINDS if platform.count(kind) for row in _lost(kind, platform, parts, figures)
        ],
        "cost": _cost(machines),
        "enough": load <= whole,
        "enough_one_lost": load <= rest,
        "settings": _settings(platform),
    }


def _carried(parts: list[Limit], figures: Figures, *, lost: bool) -> Fraction:
    """Return the requests a second that leave the headroom free, also with one app node or replica lost."""
    found = [limit.rest if lost and limit.name in LOSABLE else limit.whole for limit in parts if limit.bounds]
    return min(one for one in found if one is not None) * (1 - figures["headroom"])


def _users(requests: Fraction, figures: Figures) -> int:
    return int(requests / figures["requests_per_user"])


def _utilisation(limit: Limit, load: Fraction) -> dict[str, int | float | None]:
    return {
        "all": _share(load, limit.whole),
        # Nothing is left that could be used.
        "one_lost": None if limit.rest == 0 else _share(load, limit.rest),
    }


def _share(load: Fraction, capacity: Fraction | None) -> int | float:
    return 0 if capacity is None else plain(load / capacity)


def _bottleneck(parts: list[Limit], figures: Figures) -> dict[str, Any]:
    """Return the part that runs out first as users become more."""

    def first(limit: Limit) -> Fraction:
        # What has no second machine counts as it is.
        carried = limit.rest or limit.whole
        return Fraction(10**12) if carried is None else carried

    limit = min((limit for limit in parts if limit.bounds), key=first)
    users = _users(first(limit) * (1 - figures["headroom"]), figures)
    return {"name": limit.name, "label": limit.label, "users": users, "remedy": limit.remedy}


def _machines(
    state: State, platform: Platform, figures: Figures, priced: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    sizes = memory(platform, figures)
    app = figures["app_machine_size"] * state.app_machine_size
    bigger = {"app_nodes": app} | dict.fromkeys(
        ("postgres_primary", "postgres_replicas"), platform.database_size
    )
    rows = []
    for kind in KINDS:
        count = platform.count(kind)
        if not count:
            continue
        own = (0 if kind in state.shared else count) if priced is None else priced.get(kind, 0)
        price = figures.prices[kind]
        low, high = (own * bigger.get(kind, 1) * each / price.machines for each in (price.low, price.high))
        rows.append(
            {
                "kind": kind,
                "label": LABELS[kind],
                "count": count,
                # Those that are no machine of another kind already.
                "own": own,
                "size": plain(bigger.get(kind, 1)),
                "memory_gb": sizes[kind] if own else 0,
                **_rupees(low, high),
            }
        )
    return rows


def _rupees(low: Fraction, high: Fraction) -> dict[str, Any]:
    """Return a range in whole rupees, also as it is shown."""
    least, most = (int(amount + Fraction(1, 2)) for amount in (low, high))
    return {"low": least, "high": most, "text": money(least, most)}


def _cost(machines: list[dict[str, Any]]) -> dict[str, Any]:
    low, high = (Fraction(sum(row[part] for row in machines)) for part in ("low", "high"))
    return _rupees(low, high) | {"currency": "INR"}


def _row(kind: str, carried: bool, effect: str) -> dict[str, Any]:
    return {"kind": kind, "label": LABELS[kind], "carried": carried, "effect": effect}


def _lost(kind: str, platform: Platform, parts: list[Limit], figures: Figures) -> Iterator[dict[str, Any]]:
    """Say what comes of losing one machine of a kind."""
    known = {limit.name: limit for limit in parts}
    load, count = figures.requests, platform.count(kind)
    if kind == "app_nodes":
        yield _app_lost(count, load, known["app"])
    elif kind == "load_balancers":
        if count > 1:
            yield _row(kind, True, "Another one takes the virtual IP, within a second (docs/edge-faults.md).")
        else:
            yield _row(
                kind, False, "Nothing is served until it is back: a second one could take its address."
            )
    elif kind == "postgres_primary":
        if platform.count("postgres_replicas"):
            yield _row(kind, False, "Reads go on. Writes stop until playbooks/failover.yml is run.")
        else:
            yield _row(kind, False, "Only what is cached is served, until the database is back or restored.")
    elif kind == "postgres_replicas":
        who = ("The others answer", "they") if count > 1 else ("The primary answers", "it")
        yield _shared(kind, f"{who[0]} its reads", who[1], load, known["replicas"].rest)
    elif kind == "redis_nodes":
        yield _redis_lost(platform, figures)


def _app_lost(count: int, load: Fraction, app: Limit) -> dict[str, Any]:
    if count == 1:
        return _row("app_nodes", False, "Nothing is served until it is back.")
    return _shared("app_nodes", "The others answer its requests", "they", load, app.rest)


def _shared(kind: str, what: str, who: str, load: Fraction, rest: Fraction | None) -> dict[str, Any]:
    used = 0.0 if rest is None else float(load / rest)
    too_much = "" if used <= 1 else ": too much"
    return _row(kind, used <= 1, f"{what}, {_percent(used)} of what {who} can{too_much}.")


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _redis_lost(platform: Platform, figures: Figures) -> dict[str, Any]:
    if platform.redis_mode == "sentinel":
        return _row("redis_nodes", True, "Another one becomes master; until then the database is asked.")
    if platform.redis_mode == "cluster":
        if platform.redis_replicas:
            return _row(
                "redis_nodes", True, "Replicas take over in seconds; until then the database is asked."
            )
        return _row("redis_nodes", True, "Its part of the cache is gone until it is back.")
    # The app works on without a cache: every read is then the database's.
    replicas = platform.count("postgres_replicas")
    asked = figures["queries_per_request"] * (figures["reads_share"] if replicas else 1)
    servers = figures["queries_per_database"] * platform.database_size * max(replicas, 1)
    used = figures.requests * asked / servers
    return _shared("redis_nodes", "Every read goes to the database", "it", used, Fraction(1))


def _settings(platform: Platform) -> dict[str, Any]:
    """Return what to put into the inventory."""
    told: dict[str, Any] = {
        "app_nodes_active": platform.count("app_nodes"),
        "platform_app_ports": [3000 + number for number in range(max(platform.processes, default=0))],
    }
    if platform.pools.pooler:
        told |= {
            "platform_pool_size": platform.pools.size,
            "platform_pool_reserve": platform.pools.reserve,
        }
    told["postgres_server_max_connections"] = platform.max_connections
    if platform.count("load_balancers"):
        told["nginx_worker_connections"] = platform.worker_connections
    if platform.redis_mode != "single":
        told["redis_server_instances"] = [
            {"port": 6379 + number, "maxmemory": f"{platform.redis_maxmemory}mb"}
            for number in range(platform.redis_instances)
        ]
    if platform.redis_mode == "cluster":
        told["redis_cluster_replicas"] = platform.redis_replicas
    return told
