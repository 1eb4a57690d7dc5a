# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which replica should follow which master, in as few moves as it takes. Pure, and works on names alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.layout import Layout

Sets = dict[str, list[str]]
Move = tuple[str, str]


class Crowded(Exception):  # noqa: N818  # not an error of the code: the zones have no room
    """A node finds no master in another zone, or a master no replica, although there are enough."""


def assign(
    layout: Layout, sets: Mapping[str, Sequence[str]], free: Sequence[str], settle: bool
) -> list[Move]:
    """Return (replica, master) moves that leave no node free, no master short and no replica beside its own.

    sets maps each master, in the order of its slots, to its replicas; free are nodes that follow nobody.
    Without settle only the free ones are placed: who follows somebody already stays there.
    """
    table = _Table(layout, {master: list(has) for master, has in sets.items()}, list(free))
    if settle and layout.strict:
        table.loosen()
    table.place_free()
    if settle:
        table.fill_short()
    table.put_back()
    if settle and layout.strict:
        table.check()
    return [move for move in table.moves if move[0] not in sets.get(move[1], ())]


class _Table:
    def __init__(self, layout: Layout, sets: Sets, free: list[str]) -> None:
        self.layout = layout
        self.sets = sets
        self.free = free
        self.moves: list[Move] = []
        self._beside: dict[str, str] = {}

    def loosen(self) -> None:
        """Take up replicas beside their masters; they go back when no better place is found."""
        zones = self.layout.zones
        for master, has in self.sets.items():
            for name in [name for name in has if zones[name] == zones[master]]:
                has.remove(name)
                self._beside[name] = master
        self.free += self._beside

    def place_free(self) -> None:
        while self.free:
            pair = self.layout.next_replica(self.sets, self.free)
            if pair is None or self._pointless(pair):
                return
            self._place(*pair)

    def _pointless(self, pair: Move) -> bool:
        """A replica beside its master does not leave it short only to be one too many elsewhere."""
        name, master = pair
        return name in self._beside and len(self.sets[master]) >= self.layout.replicas

    def fill_short(self) -> None:
        for master in self.sets:
            while len(self.sets[master]) < self.layout.replicas:
                path = self._path(master)
                if path is None:
                    break
                for name, target in path:
                    self._place(name, target)

    def put_back(self) -> None:
        """Whoever found no place returns to where it was; a node that was nowhere cannot."""
        for name in list(self.free):
            if name not in self._beside:
                if self._by_exchange(name):
                    continue
                raise Crowded(name)
            self.free.remove(name)
            self.sets[self._beside[name]].append(name)

    def check(self) -> None:
        """Nobody goes without while others have one too many, and only the zones are in the way."""
        enough = sum(map(len, self.sets.values())) >= len(self.sets) * self.layout.replicas
        short = [master for master, has in self.sets.items() if len(has) < self.layout.replicas]
        if enough and short:
            raise Crowded(short[0])

    def _by_exchange(self, name: str) -> bool:
        """Let a free node take the place of a replica that finds another one."""
        zones = self.layout.zones
        for master, has in self.sets.items():
            if zones[master] == zones[name]:
                continue
            for other in list(has):
                for target in self.sets:
                    if target != master and zones[target] != zones[other]:
                        self._place(other, target)
                        self._place(name, master)
                        return True
        return False

    def _place(self, name: str, master: str) -> None:
        if name in self.free:
            self.free.remove(name)
        for has in self.sets.values():
            if name in has:
                has.remove(name)
        self.sets[master].append(name)
        self.moves.append((name, master))

    def _path(self, short: str) -> list[Move] | None:
        """Find the shortest chain of moves that ends with one replica more for a short master.

        The first move fills it; each further one fills the place that the one before left.
        """
        reached: dict[str, list[Move]] = {short: []}
        queue = deque([short])
        while queue:
            master = queue.popleft()
            for name, giver in self._candidates(master):
                path = [*reached[master], (name, master)]
                if giver is None or len(self.sets[giver]) > self.layout.replicas:
                    return path
                if giver not in reached:
                    reached[giver] = path
                    queue.append(giver)
        return None

    def _candidates(self, master: str) -> list[tuple[str, str | None]]:
        """Nodes that may follow a master: free ones first, then those of masters that have most."""
        zone = self.layout.zones[master]
        givers = sorted((m for m in self.sets if m != master), key=lambda m: -len(self.sets[m]))
        every: list[tuple[str, str | None]] = [(name, None) for name in self.free]
        every += [(name, giver) for giver in givers for name in self.sets[giver]]
        apart = [pair for pair in every if self.layout.zones[pair[0]] != zone]
        return apart if self.layout.strict else apart + [pair for pair in every if pair not in apart]
