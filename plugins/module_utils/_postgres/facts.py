# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is true of a state: the questions that refusals and steps both ask."""

from __future__ import annotations

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.backups import Backup
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    Desired,
    Local,
    Primary,
    Receiver,
    Slot,
    State,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import conninfo, lsn_from_text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.unfit import slot_lost, way

BASE_BACKUP = "pg_basebackup"  # what the primary knows a base backup of ours by


def nothing_here(local: Local) -> bool:
    """Nothing is there, or a copy that never got as far as pg_control, which comes last."""
    return local.data in ("absent", "empty", "partial")


def to_replace(state: State, desired: Desired) -> bool:
    """Tell whether a copy of the primary is to take this place."""
    return nothing_here(state.local) or way(state, desired) == "reclone"


def copy_is_usable(state: State) -> bool:
    """A finished copy can be taken up if the slot still holds the WAL from where the copy ends."""
    marker, slot = state.marker, state.primary.slot
    return (
        marker is not None
        and marker.phase == "copied"
        and not marker.in_place
        and state.staging
        and marker.system_identifier == state.primary.system_identifier
        and slot is not None
        and not slot_lost(state)
        and slot.restart_lsn == marker.slot_lsn
    )


def staging_is_ours(state: State) -> bool:
    return state.staging and state.marker is not None and state.marker.phase in ("copying", "copied")


def needs_copy(state: State, desired: Desired) -> bool:
    marker_fits = state.marker is not None and state.marker.slot == desired.slot
    return to_replace(state, desired) and not (marker_fits and copy_is_usable(state))


def backup_to_restore(state: State) -> Backup | None:
    """Choose the last backup from which WAL leads to where the primary is.

    One that was taken after the moment that the primary was restored to would never follow.
    """
    backups = state.repository.backups if state.repository else ()
    return next((one for one in reversed(backups) if _leads_to(one, state.primary)), None)


def _leads_to(backup: Backup, primary: Primary) -> bool:
    end = lsn_from_text(backup.stop_lsn)
    if backup.timeline == primary.timeline:
        return end <= primary.lsn
    left = dict(primary.history).get(backup.timeline)
    return left is not None and end <= left


def follows(receiver: Receiver | None, desired: Desired) -> bool:
    """Tell whether the receiver is connected as asked, whatever it is doing there."""
    return receiver is not None and (receiver.host, receiver.port, receiver.slot) == (
        desired.primary_host,
        desired.primary_port,
        desired.slot,
    )


def streams(state: State, desired: Desired) -> bool:
    receiver = state.local.receiver
    streaming = state.local.server == "up" and receiver is not None and receiver.status == "streaming"
    return streaming and follows(receiver, desired)


def settings_on_disk(state: State, desired: Desired) -> bool:
    return (
        state.config.owned
        and state.config.auto_clean
        and state.local.standby_signal
        and (state.config.conninfo, state.config.slot) == (conninfo(desired), desired.slot)
    )


def settings_in_force(local: Local, desired: Desired) -> bool:
    return (local.conninfo, local.slot) == (conninfo(desired), desired.slot)


def held_by_us(state: State, slot: Slot, desired: Desired) -> bool:
    """Tell our own receiver, or our own orphaned base backup, from another client of the slot."""
    if state.orphans or follows(state.local.receiver, desired):
        return True
    connecting = state.local.server != "down" and state.config.slot == desired.slot
    return connecting and slot.holder_address == state.primary.our_address


def left_behind(state: State, desired: Desired) -> bool:
    """Tell whether a base backup of ours has ended here, and the primary has not noticed yet."""
    marker, slot = state.marker, state.primary.slot
    begun = marker is not None and marker.phase == "copying" and marker.slot == desired.slot
    if not begun or slot is None or not slot.active or held_by_us(state, slot, desired):
        return False
    return slot.holder == f"{BASE_BACKUP} at {state.primary.our_address}"
