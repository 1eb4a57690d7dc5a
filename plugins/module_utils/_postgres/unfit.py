# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the data here can follow the primary as they are, and if not, what may be done with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Desired, State
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import lsn_to_text, oldest_wal

Option = Literal["on_diverged", "on_foreign", "on_lost_slot"]


@dataclass(frozen=True)
class Unfit:
    """Why the data cannot follow, and which option says what may become of them."""

    option: Option
    because: str
    rewindable: bool = False


def unfit(state: State, desired: Desired) -> Unfit | None:
    """Tell what is wrong with the data; nothing where there are none, or none that count."""
    local, primary = state.local, state.primary
    if local.data != "cluster" or half_copied(state):
        return None
    if local.system_identifier != primary.system_identifier:
        return Unfit(
            "on_foreign",
            f"{desired.data_dir} belongs to another database system ({local.system_identifier}; the primary "
            f"{desired.primary} is {primary.system_identifier})",
        )
    if torn(state):
        return None
    return _diverged(state, desired) or _starved(state, desired)


def torn(state: State) -> bool:
    """Tell whether a copy in place, or a rewind, broke off in the middle of the data."""
    rewinding = state.marker is not None and state.marker.phase == "rewinding"
    return half_copied(state) or (rewinding and state.local.data == "cluster")


def half_copied(state: State) -> bool:
    """Tell whether a copy in place broke off: whatever these data seem to be, nobody has ever used them."""
    marker = state.marker
    copying = marker is not None and marker.phase == "copying" and marker.in_place
    return copying and state.local.data == "cluster"


def _diverged(state: State, desired: Desired) -> Unfit | None:
    local, primary = state.local, state.primary
    here = f"{desired.data_dir} is at {lsn_to_text(local.lsn)} on timeline {local.timeline}"
    there = f"the primary {desired.primary} at {lsn_to_text(primary.lsn)} on timeline {primary.timeline}"

    def found(because: str, rewindable: bool = True) -> Unfit:
        return Unfit("on_diverged", because, rewindable)

    if local.timeline > primary.timeline:
        return found(f"{here}, ahead of {there}")
    if local.timeline == primary.timeline:
        # pg_rewind compares timelines: of a divergence within one it says that there is none.
        if local.was_primary:
            return found(
                f"{here} and was a primary itself, so its WAL may differ from that of {there}", False
            )
        if local.lsn > primary.lsn:
            return found(f"{here}, past {there}: the primary lost WAL that this standby has", False)
        return None
    left = dict(primary.history).get(local.timeline)
    if left is None:
        return found(f"{here}, which is not in the history of {there}")
    fork = f"{lsn_to_text(left)} where {desired.primary} left that timeline"
    if local.was_primary:
        if 0 < local.shutdown_end <= left:
            return None
        return found(f"{here}, was the primary before {desired.primary} took over, and wrote past {fork}")
    return found(f"{here}, past {fork}") if local.replayed > left else None


def _starved(state: State, desired: Desired) -> Unfit | None:
    """Tell whether WAL that the standby needs is gone for good."""
    local, primary = state.local, state.primary
    if _receives(state) or _may_fetch(state):
        return None
    lacking = _archive_lacks(state) if state.config.restore_command else ""
    nor = f", nor has {lacking}" if lacking else ""
    gone = needed(state) < primary.oldest_wal
    # A slot that is lost says nothing of a standby that has gone past it; but it is all there is to go by
    # where the WAL on the primary may not be listed.
    if slot_lost(state) and (gone or not primary.oldest_wal):
        return Unfit(
            "on_lost_slot",
            f"slot={desired.slot} on {desired.primary} has lost the WAL that {desired.data_dir} needs{nor}",
        )
    if gone:
        return Unfit(
            "on_lost_slot",
            f"{desired.data_dir} is at {lsn_to_text(local.lsn)}, and the oldest WAL on {desired.primary} "
            f"begins at {lsn_to_text(primary.oldest_wal)}{nor}",
        )
    return None


def slot_lost(state: State) -> bool:
    """Tell whether the slot holds nothing any more, and never will again, whoever streams through it."""
    return state.primary.slot is not None and state.primary.slot.wal_status == "lost"


def loss_unseen(state: State) -> bool:
    """Tell whether a standby streams through a lost slot, and nobody can say if it could with another one."""
    return _receives(state) and slot_lost(state) and not state.primary.oldest_wal and not _may_fetch(state)


def _receives(state: State) -> bool:
    receiver = state.local.receiver
    return receiver is not None and receiver.status == "streaming"


def _may_fetch(state: State) -> bool:
    """Tell whether WAL that the primary has no longer may come from an archive."""
    return state.config.restore_command != "" and not _archive_lacks(state)


def needed(state: State) -> int:
    """Return where the WAL begins that a standby asks for: at the beginning of the segment that it is in."""
    return state.local.lsn - state.local.lsn % state.primary.segment_size


def _archive_lacks(state: State) -> str:
    """Name the archive if it surely has not what the standby needs; nothing where it may have it."""
    archive, primary = state.repository, state.primary
    if archive is None or archive.problem:
        return ""
    name = f"the archive of the stanza {archive.stanza}"
    if archive.system_identifier != primary.system_identifier or not archive.oldest_wal:
        return f"{name}, which has none of this database system"
    first = oldest_wal(archive.oldest_wal[8:], primary.segment_size)
    end = oldest_wal(archive.newest_wal[8:], primary.segment_size) + primary.segment_size
    if first <= needed(state) and primary.oldest_wal <= end:
        return ""
    return f"{name}, which has it from {lsn_to_text(first)} to {lsn_to_text(end)}"


def way(state: State, desired: Desired) -> Literal["follow", "rewind", "reclone"]:
    """Tell what the options allow to be done with the data that are here."""
    marker = state.marker
    if marker is not None and marker.replaces and (marker.phase == "copying" or state.staging):
        return "reclone"  # decided by an earlier run, which may have dropped the slot already
    wrong = unfit(state, desired)
    if wrong is None and torn(state):
        return "reclone" if given_up(state, desired) else "follow"
    if wrong is None:
        return "follow"
    wish = getattr(desired, wrong.option)
    if wish == "rewind":
        return "rewind" if wrong.rewindable else "follow"
    return "reclone" if wish == "reclone" else "follow"


def given_up(state: State, desired: Desired) -> bool:
    """Tell whether torn data may be replaced: what a rewind broke was data that somebody wanted kept."""
    return state.marker is not None and (state.marker.phase == "copying" or desired.on_diverged == "reclone")
