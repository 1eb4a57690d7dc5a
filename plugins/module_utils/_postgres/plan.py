# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The decision table: which state calls for which steps, and which state is left alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from ansible_collections.payaid.scaling.plugins.module_utils._plan import (
    Impossible,
    Outcome,
    Refusal,
    Step,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.facts import (
    backup_to_restore,
    left_behind,
    needs_copy,
    nothing_here,
    settings_in_force,
    settings_on_disk,
    staging_is_ours,
    streams,
    to_replace,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    Desired,
    Local,
    Marker,
    State,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.refusals import REFUSALS
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.steps import (
    Actions,
    AwaitFreeSlot,
    AwaitStreaming,
    Copy,
    CreateSlot,
    DiscardStaging,
    DropIdleSlots,
    DropSlot,
    EmptyData,
    EndOrphans,
    MarkClone,
    Register,
    Reload,
    RemoveMarker,
    RemoveReplaced,
    Restore,
    Rewind,
    Start,
    Stop,
    Swap,
    WritePassfile,
    WriteSettings,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import lsn_to_text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.unfit import (
    slot_lost,
    torn,
    unfit,
    way,
)

Action = Literal["none", "configure", "clone", "rewind", "reclone"]


def _mark(state: State, desired: Desired) -> MarkClone | None:
    if not needs_copy(state, desired):
        return None
    begun, has_data = state.marker, state.local.data == "cluster"
    replaces = has_data or (begun is not None and begun.replaces)
    wanted = Marker(
        "copying",
        state.primary.system_identifier,
        desired.slot,
        in_place=desired.in_place,
        replaces=replaces,
        replaced=begun.replaced if begun else "",
    )
    return None if begun == wanted else MarkClone(desired, wanted)


def _stale_staging(state: State, desired: Desired) -> bool:
    return staging_is_ours(state) and (needs_copy(state, desired) or not to_replace(state, desired))


def _empty(state: State, desired: Desired) -> EmptyData | None:
    full = desired.in_place and state.local.data not in ("absent", "empty")
    return EmptyData(desired) if full and needs_copy(state, desired) else None


def _copy(state: State, desired: Desired) -> Copy | Restore | None:
    if not needs_copy(state, desired):
        return None
    if not desired.from_backup:
        return Copy(desired)
    if (backup := backup_to_restore(state)) is None:
        raise Impossible("a backup to restore")
    return Restore(desired, backup)


def _drop(state: State, desired: Desired) -> DropSlot | None:
    # It can never be used again, whatever becomes of the data; but who runs takes it again and again.
    return DropSlot(desired) if slot_lost(state) and state.local.server == "down" else None


def _rewind(state: State, desired: Desired) -> Rewind | None:
    if way(state, desired) != "rewind":
        return None
    return Rewind(desired, Marker("rewinding", state.primary.system_identifier, desired.slot))


def _stop(state: State, desired: Desired) -> Stop | None:
    if state.local.server == "down":
        return None
    if way(state, desired) != "follow":
        return Stop(desired, f"whose data cannot follow {desired.primary}")
    return Stop(desired, f"whose slot {desired.slot} has to be made anew") if slot_lost(state) else None


def _idle_slots(state: State, desired: Desired) -> DropIdleSlots | None:
    names = state.local.idle_slots
    return DropIdleSlots(desired, names) if desired.drop_idle_slots and names else None


def _set_aside(state: State, desired: Desired) -> bool:
    return state.marker is not None and state.marker.replaced != "" and not desired.keep_replaced


# In the order of their doing; a step is planned when it is still wanting after the ones before it. So
# whatever moment a run was killed at, the next one plans exactly what is left.
CANDIDATES: tuple[Callable[[State, Desired], Step[State, Actions] | None], ...] = (
    lambda s, d: Register(d) if s.config.registration in ("missing", "half") else None,
    lambda s, d: None if s.passfile else WritePassfile(d),
    lambda s, d: EndOrphans(d) if s.orphans else None,
    lambda s, d: AwaitFreeSlot(d) if left_behind(s, d) else None,
    # That the data are given up is noted before anything is done that cannot be taken back.
    _mark,
    _stop,
    _drop,
    lambda s, d: CreateSlot(d) if s.primary.slot is None else None,
    lambda s, d: DiscardStaging(d) if _stale_staging(s, d) else None,
    _empty,
    _copy,
    lambda s, d: Swap(d) if to_replace(s, d) else None,
    _rewind,
    lambda s, d: None if settings_on_disk(s, d) else WriteSettings(d),
    lambda s, d: Start(d) if s.local.server == "down" else None,
    # A server that is starting cannot say what it has read; to have it read again is harmless.
    lambda s, d: Reload(d) if s.local.server != "down" and not settings_in_force(s.local, d) else None,
    lambda s, d: None if streams(s, d) else AwaitStreaming(d),
    _idle_slots,
    lambda s, d: RemoveReplaced(d) if _set_aside(s, d) else None,
    lambda s, d: RemoveMarker(d) if s.marker else None,
)


def plan(state: State, desired: Desired) -> tuple[Step[State, Actions], ...]:
    """Return the steps that are left, or refuse."""
    for refusal in REFUSALS:
        if sentence := refusal(state, desired):
            raise Refusal(f"{state.host}: {sentence}.", before=view(state))
    steps: list[Step[State, Actions]] = []
    for candidate in CANDIDATES:
        if step := candidate(state, desired):
            steps.append(step)
            state = step.simulate(state)
    return tuple(steps)


def action(state: State, desired: Desired) -> tuple[Action, str]:
    """Name what the plan amounts to, and why."""
    local = state.local
    if (chosen := way(state, desired)) != "follow":
        wrong_data = unfit(state, desired)
        return (
            chosen,
            wrong_data.because if wrong_data else f"{desired.data_dir} was given up by an earlier run",
        )
    if nothing_here(local):
        why = {"absent": "there is no", "empty": "nothing is in", "partial": "a clone stopped half-way in"}
        reason = f"{why[local.data]} {desired.data_dir}"
        if state.marker:
            reason = f"an earlier clone into {desired.data_dir} did not finish"
        return "clone", reason
    wrong = [
        told
        for found, told in (
            (local.server == "down", "the standby is stopped"),
            (not state.passfile, "the passfile differs"),
            (state.primary.slot is None, f"slot {desired.slot} is missing on the primary"),
            (slot_lost(state), f"slot {desired.slot} holds no WAL any more"),
            (not settings_on_disk(state, desired), "the settings on disk differ"),
            (local.server == "up" and not settings_in_force(local, desired), "the settings in force differ"),
            (local.server != "down" and not streams(state, desired), "it does not stream as asked"),
            (state.marker is not None, "a finished clone is still marked"),
            (state.config.registration == "half", "the cluster is only half registered"),
            (state.orphans > 0, "an orphaned copy is left"),
            (_idle_slots(state, desired) is not None, "slots of its own hold WAL back for nobody"),
        )
        if found
    ]
    return ("configure", ", ".join(wrong)) if wrong else ("none", f"it streams from {desired.primary}")


def report(outcome: Outcome[State], desired: Desired, copied_bytes: int, replaced: str) -> dict[str, Any]:
    """Return the module's result; a check run foretells the bytes by the size of the primary."""
    name, reason = action(outcome.before, desired)
    return {
        "changed": outcome.changed,
        "action": name,
        "reason": reason,
        "actions": list(outcome.actions),
        "before": view(outcome.before),
        "after": view(outcome.after),
        "replaced": replaced or None,
        "slots": sorted(outcome.after.local.idle_slots + outcome.after.local.busy_slots),
        "bytes": copied_bytes or _bytes_to_copy(outcome.before, desired),
    }


def _bytes_to_copy(state: State, desired: Desired) -> int:
    if not needs_copy(state, desired):
        return 0
    backup = backup_to_restore(state) if desired.from_backup else None
    return backup.size if backup else state.primary.size


def view(state: State) -> dict[str, str | int | None]:
    """Return what is told of a state. Connection strings are not: somebody may have put a password there."""
    local = state.local
    return {
        "state": "broken" if torn(state) else _state_name(local),
        "system_identifier": local.system_identifier,
        "timeline": local.timeline or None,
        "lsn": lsn_to_text(local.lsn) if local.lsn else None,
        "slot": (local.receiver.slot if local.receiver else local.slot) or None,
    }


def _state_name(local: Local) -> str:
    if local.data != "cluster":
        return local.data
    if local.server != "up":
        return {"down": "stopped", "starting": "starting"}[local.server]
    if not local.in_recovery:
        return "primary"
    return "streaming" if local.receiver and local.receiver.status == "streaming" else "standby"
