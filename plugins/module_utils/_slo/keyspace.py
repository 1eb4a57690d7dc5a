# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Redis says of how often keys were found, summed over all masters.

Every server counts since it was started. What is asked for is the rate of a time, so an earlier count is
taken off where there is one. It is kept by the id of a server's process: one that was restarted has another,
and has counted anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import (
    NotMeasured,
    Reading,
    Value,
    number,
    share,
)


@dataclass(frozen=True)
class Keyspace:
    """One server, as INFO tells of it."""

    addr: str
    run_id: str
    role: str
    clustered: bool
    hits: int
    misses: int


def of(addr: str, told: Mapping[str, str]) -> Keyspace:
    """Take the fields of INFO."""

    def count(name: str) -> int:
        text = told.get(name, "")
        return int(number(int(text) if text.isdecimal() else None, f"{addr}: {name} of INFO"))

    return Keyspace(
        addr,
        told.get("run_id", ""),
        told.get("role", ""),
        told.get("cluster_enabled") == "1",
        count("keyspace_hits"),
        count("keyspace_misses"),
    )


def counters(servers: Sequence[Keyspace]) -> dict[str, list[int]]:
    """Write down what a later run has to take off; of replicas too, because one may be master by then."""
    return {server.run_id: [server.hits, server.misses] for server in servers}


def reading(where: str, servers: Sequence[Keyspace], earlier: Mapping[str, Any] | None) -> Reading:
    """Sum over the masters. Where counters are lower than before, they were reset meanwhile."""
    masters = [server for server in servers if server.role == "master"]
    if not masters:
        raise NotMeasured(f"{where}: none of the Redis servers is a master")
    hits = misses = 0
    anew = []
    for server in masters:
        before = (earlier or {}).get(server.run_id)
        if before is None or server.hits < before[0] or server.misses < before[1]:
            before = (0, 0)
            anew.append(server.addr)
        hits, misses = hits + server.hits - before[0], misses + server.misses - before[1]
    asked = hits + misses
    if not asked:
        raise NotMeasured(f"{where}: no key was looked up, so there is no hit rate")
    evidence = {
        "hits": hits,
        "misses": misses,
        "masters": [server.addr for server in masters],
        "counted_since_start": anew,
    }
    return Reading("redis", where, {"cache_hit_rate": Value(share(hits, asked), evidence)})
