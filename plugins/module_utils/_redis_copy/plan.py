# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is right about a key, and from that to the steps that are left, or a refusal. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import (
    ABSENT,
    SAMPLE,
    Base,
    Desired,
    Entry,
    Pending,
    Survey,
    Verdict,
    matches,
    shown,
)


class CopyIO(Protocol):
    """What the steps need of the world."""

    def put(self, keys: Sequence[Pending]) -> None:
        """Write keys as the source holds them, each only where the cluster is as it was seen."""

    def drop(self, keys: Sequence[Pending]) -> None:
        """Delete keys, each only where the cluster is as it was seen."""


def decide(
    source: Entry | None,
    target: Entry | None,
    base: Base | None,
    *,
    equal: bool | None,
    final: bool,
    tolerance: int,
    now: int = 0,
) -> Verdict | None:
    """Judge one key by what both sides hold now and what they held when they were last the same.

    equal says whether the values are the same however they are serialised; None where that cannot be told.
    now is a moment, as expiries are.
    """
    if source is None:
        # A key that was only found to be the same may be the app's own.
        return Verdict.WITHDRAWN if target and base and base.ours(target, tolerance) else None
    if target is None:
        known = None if base and base.lapsed(now + tolerance) else base
        return _only_at_source(source, known, final=final, tolerance=tolerance)
    if base is None:
        return Verdict.EQUAL if equal else Verdict.CONFLICT
    still = base.holds(target, tolerance)
    unchanged = base.unchanged(source, tolerance)
    if equal or (equal is None and still and unchanged):
        return Verdict.EQUAL
    if still and base.kept:
        return Verdict.CONFLICT
    if still:
        return Verdict.LOST if matches(base.intent, source, tolerance) else Verdict.OUTDATED
    # Ours in the cluster's own form, most likely: before the switch nobody else writes there.
    if base.intent not in (None, ABSENT) and not final:
        return Verdict.LOST
    return Verdict.AHEAD if unchanged else Verdict.CONFLICT


def _only_at_source(source: Entry, base: Base | None, *, final: bool, tolerance: int) -> Verdict:
    if base is None:
        return Verdict.NEW
    # Until the app has been switched over nobody deletes in the cluster, so what is missing there was lost.
    if not final or base.target is None:
        return Verdict.LOST
    return Verdict.DROPPED if base.unchanged(source, tolerance) else Verdict.CONFLICT


SENTENCES = {
    Verdict.NEW: "Copy {count} that the cluster does not have ({types})",
    Verdict.LOST: "Copy {count} again that an earlier run had begun or the cluster has lost ({types})",
    Verdict.OUTDATED: "Replace {count} that changed at the source after being copied ({types})",
    Verdict.CONFLICT: "Overwrite {count} that the cluster holds differently, as on_conflict says ({types})",
    Verdict.WITHDRAWN: "Delete {count} copied earlier and gone from the source since ({types})",
}


def numbered(count: int) -> str:
    return "1 key" if count == 1 else f"{count} keys"


def names(keys: Sequence[Pending]) -> str:
    return ", ".join(shown(pending.key) for pending in keys[:SAMPLE])


@dataclass(frozen=True)
class Step:
    """All keys of one verdict. Killed amid them, the next run finds the rest of them."""

    verdict: Verdict
    keys: tuple[Pending, ...]

    def describe(self) -> str:
        types = Counter(pending.type for pending in self.keys)
        told = ", ".join(f"{number} {kind}" for kind, number in sorted(types.items()))
        return SENTENCES[self.verdict].format(count=numbered(len(self.keys)), types=told)

    def simulate(self, state: Survey) -> Survey:
        if self.verdict is Verdict.WITHDRAWN:
            return state.moved(self.verdict, None, -len(self.keys))
        absent = sum(pending.target is None for pending in self.keys)
        return state.moved(self.verdict, Verdict.EQUAL, absent)

    def apply(self, io: CopyIO) -> None:
        if self.verdict is Verdict.WITHDRAWN:
            io.drop(self.keys)
        else:
            io.put(self.keys)


def plan(survey: Survey, desired: Desired) -> tuple[Step, ...]:
    """Return what is left to do, or refuse before anything is done."""
    refuse_conflicts(survey, desired)
    refuse_mass_deletion(survey, desired)
    refuse_lack_of_memory(survey)
    wanted = [Verdict.LOST, Verdict.NEW, Verdict.OUTDATED]
    if desired.on_conflict == "source":
        wanted.append(Verdict.CONFLICT)
    if desired.delete:
        wanted.append(Verdict.WITHDRAWN)
    return tuple(Step(verdict, keys) for verdict in wanted if (keys := survey.pending.get(verdict, ())))


def refuse_conflicts(survey: Survey, desired: Desired) -> None:
    keys = survey.pending.get(Verdict.CONFLICT, ())
    if keys and desired.on_conflict == "fail":
        raise Refusal(
            f"The source {desired.source.addr} and the cluster differ in {numbered(len(keys))} of which "
            f"either may be right ({names(keys)}): set on_conflict to source or target, which says whose "
            "value stays.",
            conflicts=len(keys),
            conflict_sample=[shown(pending.key) for pending in keys[:SAMPLE]],
        )


def refuse_mass_deletion(survey: Survey, desired: Desired) -> None:
    """Refuse to believe that an app deletes so much: more likely one side has lost its data."""
    limit = f"more than deleted_limit={desired.deleted_limit}"
    withdrawn = survey.count(Verdict.WITHDRAWN)
    if desired.delete and withdrawn > desired.deleted_limit:
        raise Refusal(
            f"The source {desired.source.addr} is without {numbered(withdrawn)} copied from it earlier, "
            f"{limit}: see whether it has lost its data, and raise deleted_limit only if the app has "
            "deleted them.",
            deleted_at_source=withdrawn,
        )
    dropped = survey.count(Verdict.DROPPED)
    if dropped > desired.deleted_limit:
        raise Refusal(
            f"The cluster of {desired.nodes[0].addr} is without {numbered(dropped)} copied into it earlier, "
            f"{limit}: raise deleted_limit if the app has deleted them, or run stage=copy once to bring "
            "them back if the cluster has lost them.",
            deleted_in_cluster=dropped,
        )


def refuse_lack_of_memory(survey: Survey) -> None:
    for shard in survey.shards:
        if shard.room is not None and shard.needed > shard.room:
            raise Refusal(
                f"Node {shard.addr} has room for {shard.room} bytes below its maxmemory, and the keys that "
                f"would go there take {shard.needed}: raise maxmemory or add masters.",
                node=shard.addr,
                room=shard.room,
                needed=shard.needed,
            )
