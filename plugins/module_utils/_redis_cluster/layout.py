# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who becomes master of which slots, and who replicates whom. Pure, and the same for any order of nodes.

Both choices are made one at a time, and each depends only on those already made. So a run that was killed
half-way makes the remaining choices exactly as the first run would have.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import accumulate
from math import floor

from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import SLOTS, Ranges


def slices(weights: Sequence[float]) -> list[Ranges]:
    """Split the slots as redis-cli does: each share ends at the rounded multiple of 16384 / masters."""
    sums = list(accumulate(map(Fraction, weights)))
    ends = [floor(SLOTS * part / sums[-1] - Fraction(1, 2)) for part in sums]
    return [((0 if i == 0 else ends[i - 1] + 1, end),) for i, end in enumerate(ends)]


@dataclass(frozen=True)
class Layout:
    """Zones by node name, in the order of addresses, and how strictly they are kept apart."""

    zones: Mapping[str, str]
    masters: int
    replicas: int
    strict: bool
    # Nodes that the user wants to be masters, when there is a choice.
    favoured: frozenset[str] = field(default=frozenset())

    def room(self, zone: str) -> int:
        """How many masters a zone can hold so that all their replicas still find a place elsewhere."""
        size = sum(other == zone for other in self.zones.values())
        elsewhere = len(self.zones) - self.masters - size  # replicas elsewhere, less the masters in the zone
        if self.replicas == 0:
            return size
        if self.replicas == 1:
            return size if elsewhere >= 0 else 0
        return max(0, min(size, elsewhere // (self.replicas - 1)))

    def next_master(self, taken: Sequence[str], free: Sequence[str]) -> str | None:
        """Pick a node from the zone with the fewest masters; among equals from the zone with most nodes.

        None when no zone has room for one and zones are kept strictly.
        """
        held = Counter(self.zones[name] for name in taken)
        size = Counter(self.zones.values())

        def full(name: str) -> bool:
            return held[self.zones[name]] >= self.room(self.zones[name])

        def rank(name: str) -> tuple[bool, bool, int, int, str]:
            zone = self.zones[name]
            return (name not in self.favoured, full(name), held[zone], -size[zone], zone)

        best = min(free, key=rank, default=None)
        return None if best is None or (self.strict and full(best)) else best

    def next_replica(self, sets: Mapping[str, Sequence[str]], free: Sequence[str]) -> tuple[str, str] | None:
        """Pick (replica, master) next; None when no free node fits and zones are kept strictly.

        sets maps each master, in the order of its slots, to the replicas it has.
        """
        fewest = sorted(sets, key=lambda name: len(sets[name]))
        if len(sets[fewest[0]]) >= self.replicas:  # a spare one: any master that is not beside it
            pairs = [(name, master) for name in free for master in fewest]
            apart = [pair for pair in pairs if self.zones[pair[0]] != self.zones[pair[1]]]
            return apart[0] if apart else None if self.strict else pairs[0]
        master = fewest[0]
        used = Counter(self.zones[name] for name in sets[master])
        left = Counter(self.zones[name] for name in free)
        need: Counter[str] = Counter()
        for name, has in sets.items():
            need[self.zones[name]] += max(0, self.replicas - len(has)) - (name == master)
        apart_zones = [zone for zone in left if zone != self.zones[master]]
        if not apart_zones:
            return None if self.strict else (free[0], master)

        def rank(zone: str) -> tuple[bool, int, int, str]:
            return (not _enough(left - Counter([zone]), need), used[zone], -left[zone], zone)

        best = min(apart_zones, key=rank)
        return next(name for name in free if self.zones[name] == best), master


def _enough(supply: Counter[str], need: Counter[str]) -> bool:
    """Tell whether the masters of every zone can find what they need in the other zones."""
    total = supply.total()
    return all(total - supply[zone] >= wanted for zone, wanted in need.items())
