# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a platform of given machines carries, and what happens when one of them is lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from .figures import Figures, RefusedError

KINDS = (
    "load_balancers",
    "app_nodes",
    "postgres_primary",
    "postgres_replicas",
    "redis_nodes",
    "monitoring",
    "load_generators",
    "backup",
)


@dataclass(frozen=True)
class Pools:
    """Connections to PostgreSQL: of each app node with PgBouncer, else of each process."""

    size: int
    reserve: int
    pooler: bool

    def on_primary(self, nodes: int, processes: int, replicas: int) -> int:
        """Return how many connections the primary may get from the app."""
        if not self.pooler:
            return processes * self.size
        # With no replica the pool for reads leads to the primary as well.
        return nodes * (1 if replicas else 2) * (self.size + self.reserve)

    def on_replica(self, nodes: int, replicas: int) -> int:
        """Return how many the last replica that is left may get."""
        return nodes * (self.size + self.reserve) if self.pooler and replicas else 0


@dataclass(frozen=True)
class Platform:
    """The machines, and what on them bounds the load."""

    nodes: Mapping[str, int]
    # App processes of each app node.
    processes: tuple[int, ...]
    pools: Pools
    max_connections: int
    worker_connections: int
    redis_masters: int
    redis_replicas: int
    redis_instances: int
    redis_maxmemory: int
    redis_mode: str  # cluster, sentinel or single
    database_size: Fraction
    shared: frozenset[str] = frozenset()
    # What nobody has decided yet is set as the load needs it, and bounds nothing.
    worker_connections_decided: bool = False

    def count(self, kind: str) -> int:
        return self.nodes.get(kind, 0)

    @property
    def least_processes(self) -> int:
        """App processes that are left when the biggest node is lost."""
        return sum(self.processes) - max(self.processes, default=0)


@dataclass(frozen=True)
class Limit:
    """How many requests a second one part carries without headroom; None where nothing limits it."""

    name: str
    label: str
    remedy: str
    whole: Fraction | None
    # With one machine of that part lost.
    rest: Fraction | None
    # Whether it bounds what is carried: a cache that is full only answers less.
    bounds: bool = True


def _per(capacity: Fraction, share: Fraction) -> Fraction | None:
    return capacity / share if share else None


def limits(platform: Platform, figures: Figures) -> list[Limit]:
    """Return what each part carries, in requests a second of the whole platform."""
    return [
        *_app(platform, figures),
        *_databases(platform, figures),
        *_pools(platform, figures),
        *_edge(platform, figures),
    ]


def _app(platform: Platform, figures: Figures) -> Iterator[Limit]:
    each = figures["throughput_per_process"]
    yield Limit(
        "app",
        "the app's processors",
        "add app nodes (app_nodes_active), or cores and processes to each (platform_app_ports)",
        each * sum(platform.processes),
        each * platform.least_processes,
    )


def _databases(platform: Platform, figures: Figures) -> Iterator[Limit]:
    server = figures["queries_per_database"] * platform.database_size
    reads, writes = figures.reads_share, figures.writes_share
    replicas = platform.count("postgres_replicas")
    alone = _per(server, reads + writes)
    bigger = "take a bigger database machine, or spare it queries (cache, indexes)"
    if not replicas:
        yield Limit("primary", "the database", bigger, alone, Fraction(0))
        return
    # The reads of the last replica go to the primary.
    rest = _per(server * (replicas - 1), reads) if replicas > 1 else alone
    yield Limit(
        "replicas",
        "reads of the replicas",
        "add a replica, or have the cache answer more",
        _per(server * replicas, reads),
        rest,
    )
    yield Limit(
        "primary",
        "writes of the primary",
        f"{bigger}: more machines do not help, because one server takes all writes",
        _per(server, writes),
        Fraction(0),
    )


def _pools(platform: Platform, figures: Figures) -> Iterator[Limit]:
    each = platform.pools.size / figures["query_time"] * 1000
    reads, writes = figures.reads_share, figures.writes_share
    nodes = platform.count("app_nodes")
    left = max(nodes - 1, 0)
    if not platform.pools.pooler:
        yield Limit(
            "connections",
            "connections of the app's processes",
            "shorten the queries, or give each process more (DATABASE_POOL_SIZE)",
            _per(each * sum(platform.processes), reads + writes),
            _per(each * platform.least_processes, reads + writes),
        )
        return
    for name, label, share in (("app_rw", "pools for writes", writes), ("app_ro", "pools for reads", reads)):
        yield Limit(
            name,
            f"the {label}",
            "shorten the queries, or raise platform_pool_size and with it postgres_server_max_connections",
            _per(each * nodes, share),
            _per(each * left, share),
        )


def _edge(platform: Platform, figures: Figures) -> Iterator[Limit]:
    if balancers := platform.count("load_balancers"):
        # Half of the connections lead to the app. The address is with one of them at a time.
        clients = platform.worker_connections * figures["load_balancer_workers"] / 2
        carried = clients * figures["requests_per_user"]
        yield Limit(
            "clients",
            "connections of a load balancer",
            "raise nginx_worker_connections",
            carried,
            carried if balancers > 1 else Fraction(0),
            bounds=platform.worker_connections_decided,
        )
    cached = Fraction(platform.redis_masters * platform.redis_maxmemory * 1024)
    carried = cached / figures["cache_per_user"] * figures["requests_per_user"]
    yield Limit(
        "cache",
        "memory of the cache",
        "raise maxmemory in redis_server_instances, or add Redis machines",
        carried,
        carried,
        bounds=False,
    )


def connections(platform: Platform) -> tuple[int, int]:
    """Return the connections that the primary and one replica may get."""
    nodes, replicas = platform.count("app_nodes"), platform.count("postgres_replicas")
    pools = platform.pools
    return pools.on_primary(nodes, sum(platform.processes), replicas), pools.on_replica(nodes, replicas)


def refuse_connections(platform: Platform, figures: Figures) -> None:
    """Refuse more connections than a server takes."""
    kept = figures.whole("connections_kept")
    needed = max(connections(platform)) + kept
    if needed <= platform.max_connections:
        return
    nodes, pools = platform.count("app_nodes"), platform.pools
    if not pools.pooler:
        raise RefusedError(
            f"connections_per_process={pools.size} makes {needed} connections with "
            f"{sum(platform.processes)} app processes and {kept} kept, and "
            f"max_connections={platform.max_connections}: raise it to {needed}, or lower "
            "connections_per_process."
        )
    both = 1 if platform.count("postgres_replicas") else 2
    fits = (platform.max_connections - kept) // (nodes * both) - pools.reserve
    lower = f"lower pool_size to {fits}" if fits > 0 else "lower pool_size and pool_reserve"
    raise RefusedError(
        f"pool_size={pools.size} and pool_reserve={pools.reserve} make {needed} connections with {nodes} app "
        f"{'node' if nodes == 1 else 'nodes'} and {kept} kept, and "
        f"max_connections={platform.max_connections}: raise max_connections to {needed}, or {lower}."
    )


def memory(platform: Platform, figures: Figures) -> dict[str, int]:
    """Return the memory that one machine of each kind needs, in GB."""
    system = figures["memory_for_system"]
    redis = Fraction(2 * platform.redis_instances * platform.redis_maxmemory)
    app = max(platform.processes, default=0) * figures["memory_per_process"]
    alone = "redis_nodes" in platform.shared
    least = {
        "load_balancers": figures["users"] * figures["memory_per_client"] / 1024,
        # Twice its maxmemory is what a Redis instance may take while it writes its file.
        "app_nodes": app + (redis if alone else 0),
        # A quarter, shared by all connections, gives each at least the 4 MB of PostgreSQL's own work_mem.
        "postgres_primary": max(16 * platform.max_connections, 4096) * platform.database_size - system,
        "postgres_replicas": max(16 * platform.max_connections, 4096) * platform.database_size - system,
        "redis_nodes": redis,
        "monitoring": Fraction(2048) - system,
        "load_generators": Fraction(4096) - system,
        "backup": Fraction(2048) - system,
    }
    return {kind: _gigabytes(least[kind] + system) for kind in KINDS if platform.count(kind)}


def _gigabytes(megabytes: Fraction) -> int:
    """Return the next power of two, which is how machines are sold."""
    size = 1
    while size * 1024 < megabytes:
        size *= 2
    return size


def rounded_up(number: Fraction, step: int) -> int:
    return ceil(number / step) * step
