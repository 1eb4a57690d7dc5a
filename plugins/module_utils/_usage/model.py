# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine is busy with, out of looks at it. No input or output here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any


@dataclass(frozen=True)
class PoolLook:
    """What PgBouncer says of one pool."""

    transactions: int
    waited_us: int
    waiting: int
    serving: int
    size: int


@dataclass(frozen=True)
class Look:
    """One look at a machine. Counters count since whatever moment."""

    at: float
    # Seconds of processor time that the units have used, and that all of the machine was busy and idle.
    units: float = 0
    busy: float = 0
    idle: float = 0
    pools: Mapping[str, PoolLook] = field(default_factory=dict)
    # s; by the names that replicas give themselves.
    lags: Mapping[str, float] = field(default_factory=dict)


def used_by_units(shown: str) -> tuple[float, list[str]]:
    """Read what systemctl shows of units.

    Returned are the seconds that they have used, as far as the kernel counts them by units, and the control
    groups of those where it does not, as in containers.
    """
    seconds, uncounted = 0.0, []
    for block in shown.strip().split("\n\n"):
        fields = dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
        used, group = fields.get("CPUUsageNSec", ""), fields.get("ControlGroup", "")
        # It is not set, or the highest number that there is, where nobody counts.
        if used.isdigit() and int(used) < 2**63:
            seconds += int(used) / 1e9
        elif group:
            uncounted.append(group)
    return seconds, uncounted


def belongs(cgroup: str, groups: Sequence[str]) -> bool:
    """Return whether a process is of one of the control groups, by its /proc/N/cgroup."""
    paths = {line.split(":", 2)[2] for line in cgroup.splitlines() if line.count(":") >= 2}
    return any(path == group or path.startswith(f"{group}/") for path in paths for group in groups)


def told(looks: Sequence[Look], cores: int) -> dict[str, Any]:
    """Return what was used between the looks: as a whole, and from each one to the next."""
    first, last = looks[0], looks[-1]
    return {
        "cores": cores,
        "seconds": round(last.at - first.at, 1),
        # What has ended takes its count along; so it is added up from look to look.
        "cpu": _part(sum(_used(a, b) for a, b in _pairs(looks)), last.at - first.at, cores),
        "cpu_max": max((_share(a, b, cores) for a, b in _pairs(looks)), default=0.0),
        "machine": _machine(first, last),
        "series": [
            {"at": round(b.at - first.at, 1), "cpu": _share(a, b, cores), "machine": _machine(a, b)}
            for a, b in _pairs(looks)
        ],
        "pools": [_pool(name, looks) for name in sorted(last.pools)],
        "replicas": [
            {"name": name, "lag_max_s": round(max(look.lags.get(name, 0) for look in looks), 3)}
            for name in sorted({name for look in looks for name in look.lags})
        ],
    }


def _pairs(looks: Sequence[Look]) -> list[tuple[Look, Look]]:
    return list(pairwise(looks))


def _share(a: Look, b: Look, cores: int) -> float:
    """Return which part of all cores the units used."""
    return _part(_used(a, b), b.at - a.at, cores)


def _used(a: Look, b: Look) -> float:
    """Return the seconds that the units used. One that was restarted counts from nothing again."""
    return max(b.units - a.units, 0)


def _part(seconds: float, passed: float, cores: int) -> float:
    return round(seconds / (passed * cores), 3) if passed > 0 else 0.0


def _machine(a: Look, b: Look) -> float:
    busy, idle = b.busy - a.busy, b.idle - a.idle
    return round(busy / (busy + idle), 3) if busy + idle > 0 else 0.0


def _pool(name: str, looks: Sequence[Look]) -> dict[str, Any]:
    seen = [look.pools[name] for look in looks if name in look.pools]
    first, last = seen[0], seen[-1]
    # A PgBouncer that was restarted counts from nothing again.
    if last.transactions < first.transactions:
        first = PoolLook(0, 0, 0, 0, 0)
    transactions, waited = last.transactions - first.transactions, last.waited_us - first.waited_us
    return {
        "pool": name,
        "size": last.size,
        "transactions": transactions,
        "waited_ms": round(waited / transactions / 1000, 3) if transactions else 0.0,
        "waiting_max": max(one.waiting for one in seen),
        "serving_max": max(one.serving for one in seen),
    }
