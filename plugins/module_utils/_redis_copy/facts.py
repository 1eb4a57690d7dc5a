# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of the two sides as servers, and which of them are not fit for a copy. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import SLOTS

OLDEST_TARGET = (7, 0)  # the first with PEXPIRETIME
# The version of the serialisation that a series writes; a server reads its own and all older ones.
RDB_VERSIONS = (((8, 0), 12), ((7, 4), 12), ((7, 2), 11), ((7, 0), 10), ((5, 0), 9), ((4, 0), 8), ((3, 2), 7))
NEWEST_KNOWN = RDB_VERSIONS[0][0]

Version = tuple[int, int]


def rdb_version(version: Version) -> int | None:
    """Return what a server of this version writes; None for one newer than all that are known here."""
    if version > NEWEST_KNOWN:
        return None
    return next((rdb for series, rdb in RDB_VERSIONS if version >= series), 6)


def dotted(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


@dataclass(frozen=True)
class Server:
    """One server, in its own words."""

    addr: str
    run_id: str = ""
    version: Version = (0, 0)
    cluster: bool = False
    role: str = "master"
    loading: bool = False
    # Keys of each database that has any.
    databases: Mapping[int, int] = field(default_factory=dict)
    maxmemory: int = 0
    used_memory: int = 0
    # Its clock against ours, in ms.
    clock: int = 0
    # Of a payload that it serialised, where it has a key.
    rdb: int | None = None

    @property
    def room(self) -> int | None:
        return max(0, self.maxmemory - self.used_memory) if self.maxmemory else None


@dataclass(frozen=True)
class Facts:
    """The source, and the masters of the cluster as one of its nodes lists them."""

    source: Server
    masters: tuple[Server, ...]
    # As the node that was asked first says it.
    seed: Server
    state: str = "ok"
    slots: int = SLOTS


def refuse_unfit(facts: Facts, tolerance: int) -> None:
    """Refuse what could not be copied, or not without loss, before a key is read."""
    refuse_source(facts)
    refuse_cluster(facts)
    refuse_versions(facts)
    refuse_clocks(facts, tolerance)


def refuse_source(facts: Facts) -> None:
    source = facts.source
    for node in (facts.seed, *facts.masters):
        if source.run_id and node.run_id == source.run_id:
            raise Refusal(
                f"The source {source.addr} and node {node.addr} are the same server: give the standalone "
                "instance as source and the nodes of the cluster as nodes."
            )
    if source.cluster:
        raise Refusal(
            f"The source {source.addr} is in cluster mode: give a standalone instance, or change the cluster "
            "with the module redis_cluster."
        )
    if source.role != "master":
        raise Refusal(f"The source {source.addr} is a replica and may be behind: give its master as source.")
    if source.loading:
        raise Refusal(f"The source {source.addr} is still loading its data: run again when it has.")
    if others := sorted(number for number in source.databases if number):
        raise Refusal(
            f"The source {source.addr} has keys in database {others[0]}, and a cluster has only database 0: "
            "move them to database 0 or delete them.",
            databases={str(number): keys for number, keys in sorted(source.databases.items())},
        )


def refuse_cluster(facts: Facts) -> None:
    seed = facts.seed
    if not seed.cluster:
        raise Refusal(f"Node {seed.addr} is not in cluster mode: list nodes of the cluster in nodes.")
    if facts.state != "ok":
        raise Refusal(
            f"The cluster of node {seed.addr} has cluster_state:{facts.state}: repair it with the module "
            "redis_cluster first."
        )
    if facts.slots < SLOTS:
        raise Refusal(
            f"The cluster of node {seed.addr} serves {facts.slots} of {SLOTS} slots: repair it with the "
            "module "
            "redis_cluster first."
        )
    for node in facts.masters:
        if node.loading:
            raise Refusal(f"Node {node.addr} is still loading its data: run again when it has.")


def refuse_versions(facts: Facts) -> None:
    source = facts.source
    writes = source.rdb or rdb_version(source.version)
    for node in facts.masters:
        if node.version < OLDEST_TARGET:
            raise Refusal(
                f"Node {node.addr} is Redis {dotted(node.version)}: upgrade the cluster to "
                f"{dotted(OLDEST_TARGET)} or newer."
            )
        if _too_new(writes, rdb_version(node.version), source.version, node.version):
            raise Refusal(
                f"The source {source.addr} is Redis {dotted(source.version)}, whose keys node {node.addr}, "
                f"Redis {dotted(node.version)}, cannot read: upgrade the cluster first.",
                node=node.addr,
            )


def _too_new(writes: int | None, reads: int | None, source: Version, node: Version) -> bool:
    if writes is None:
        return reads is not None or source > node
    return reads is not None and writes > reads


def refuse_clocks(facts: Facts, tolerance: int) -> None:
    """Refuse clocks that differ: an expiry is a moment, and would come early or late."""
    for node in facts.masters:
        apart = abs(node.clock - facts.source.clock)
        if apart > tolerance:
            raise Refusal(
                f"The clocks of the source {facts.source.addr} and node {node.addr} are {apart} ms apart, by "
                "which keys would expire too early or too late: set the clocks, or raise "
                f"expiry_tolerance_ms={tolerance}.",
                node=node.addr,
            )
