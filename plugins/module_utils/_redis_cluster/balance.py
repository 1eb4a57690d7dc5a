# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many slots each master should own, and who gives how many to whom. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor

Counts = dict[str, int]
# Giver, taker, number of slots.
Transfer = tuple[str, str, int]


@dataclass(frozen=True)
class Share:
    """A master as the balance sees it. One with weight 0 gives everything away."""

    name: str
    slots: int
    weight: float
    # It is being given slots: an earlier run was interrupted.
    filling: bool = False


def targets(shares: Sequence[Share]) -> Counts:
    """Split all slots that the masters own by weight, as whole numbers.

    A slot that cannot be split goes to a master that has it already, so that nothing moves for it.
    """
    total, weights = sum(share.slots for share in shares), sum(Fraction(share.weight) for share in shares)
    fair = {share.name: total * Fraction(share.weight) / weights for share in shares}
    out = {name: floor(part) for name, part in fair.items()}
    left = total - sum(out.values())

    def rank(share: Share) -> tuple[bool, Fraction]:
        return (share.slots <= out[share.name], out[share.name] - fair[share.name])

    for share in sorted((share for share in shares if share.weight), key=rank)[:left]:
        out[share.name] += 1
    return out


def transfers(shares: Sequence[Share], mode: str, threshold: float) -> list[Transfer]:
    """Return what has to move.

    mode: never gives away only what masters of weight 0 own; empty_masters fills, besides, masters without
    slots and those that are being filled; always levels all, unless each is within threshold % of its share.
    """
    want = targets(shares)
    over = {s.name: s.slots - want[s.name] for s in shares if s.slots > want[s.name]}
    under = {s.name: want[s.name] - s.slots for s in shares if s.slots < want[s.name]}
    leaving = {s.name: s.slots for s in shares if not s.weight and s.slots}
    if mode == "always" and not _level(shares, want, threshold):
        return pair(over, under)
    empty = {s.name for s in shares if s.weight and (not s.slots or s.filling)} if mode != "never" else set()
    return pair(*_least(over, under, leaving, empty))


def _level(shares: Sequence[Share], want: Counts, threshold: float) -> bool:
    return all(
        s.weight and abs(s.slots - want[s.name]) <= max(1, want[s.name] * threshold / 100) for s in shares
    )


def _least(over: Counts, under: Counts, leaving: Counts, empty: Collection[str]) -> tuple[Counts, Counts]:
    """Fill the empty masters and clear the leaving ones, and leave everybody else alone if possible."""
    take = {name: number for name, number in under.items() if name in empty}
    give = dict(leaving)
    lacking = sum(take.values()) - sum(give.values())
    if lacking > 0:
        give |= apportion(lacking, {name: n for name, n in over.items() if name not in leaving})
    elif lacking < 0:
        take |= apportion(-lacking, {name: n for name, n in under.items() if name not in take})
    return give, take


def apportion(number: int, limits: Mapping[str, int]) -> Counts:
    """Split a number in proportion to limits that together are at least as large."""
    total = sum(limits.values())
    out = {name: number * limit // total for name, limit in limits.items()}
    for name, limit in limits.items():
        if sum(out.values()) < number and out[name] < limit:
            out[name] += 1
    return {name: part for name, part in out.items() if part}


def pair(give: Mapping[str, int], take: Mapping[str, int]) -> list[Transfer]:
    """Match givers and takers in their order."""
    out: list[Transfer] = []
    room = {name: number for name, number in take.items() if number}
    for giver, number in give.items():
        left = number
        while left and room:
            taker = next(iter(room))
            part = min(left, room[taker])
            out.append((giver, taker, part))
            left -= part
            room[taker] -= part
            if not room[taker]:
                del room[taker]
    return out
