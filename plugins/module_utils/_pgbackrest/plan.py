# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of a restore, and what it refuses. What was there before is never written over."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._pgbackrest.model import (
    Desired,
    Record,
    State,
)
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Outcome, Refusal, Step
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.backups import Backup

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Actions(Protocol):
    """What the steps need done. Each returns only once it has taken effect."""

    def stop(self) -> None: ...
    def set_aside(self) -> None: ...
    def remove_aside(self) -> None: ...
    def copy(self, label: str) -> None: ...
    def swap(self) -> None: ...
    def start(self) -> None: ...
    def await_writes(self) -> None: ...
    def note(self, record: Record) -> None: ...


@dataclass(frozen=True)
class _Step:
    desired: Desired


class Stop(_Step):
    def describe(self) -> str:
        return f"Stop PostgreSQL {self.desired.version}/{self.desired.cluster}."

    def simulate(self, state: State) -> State:
        return replace(state, running=False)

    def apply(self, io: Actions) -> None:
        io.stop()


class SetAside(_Step):
    def describe(self) -> str:
        return f"Set {self.desired.data_dir} aside as {self.desired.aside}."

    def simulate(self, state: State) -> State:
        return replace(state, data=False, aside=True)

    def apply(self, io: Actions) -> None:
        io.set_aside()


class RemoveAside(_Step):
    def describe(self) -> str:
        return f"Remove {self.desired.aside}."

    def simulate(self, state: State) -> State:
        return replace(state, aside=False)

    def apply(self, io: Actions) -> None:
        io.remove_aside()


@dataclass(frozen=True)
class Copy(_Step):
    label: str

    def describe(self) -> str:
        return f"Restore the backup {self.label} to {self.desired.staging}."

    def simulate(self, state: State) -> State:
        record = Record(self.desired.name, "copied", self.desired.request)
        return replace(state, staging=True, record=record)

    def apply(self, io: Actions) -> None:
        io.copy(self.label)
        io.note(Record(self.desired.name, "copied", self.desired.request))


class Swap(_Step):
    def describe(self) -> str:
        return f"Make it {self.desired.data_dir}."

    def simulate(self, state: State) -> State:
        record = Record(self.desired.name, "restored", self.desired.request)
        return replace(state, data=True, staging=False, record=record)

    def apply(self, io: Actions) -> None:
        io.note(Record(self.desired.name, "restored", self.desired.request))
        io.swap()


class Start(_Step):
    def describe(self) -> str:
        return f"Start PostgreSQL {self.desired.version}/{self.desired.cluster}."

    def simulate(self, state: State) -> State:
        return replace(state, running=True)

    def apply(self, io: Actions) -> None:
        io.start()


class AwaitWrites(_Step):
    def describe(self) -> str:
        return f"Replay WAL to {self.desired.where}, and wait until the server takes writes."

    def simulate(self, state: State) -> State:
        return replace(state, record=Record(self.desired.name, "done", self.desired.request))

    def apply(self, io: Actions) -> None:
        io.await_writes()
        io.note(Record(self.desired.name, "done", self.desired.request))


class Finish(_Step):
    def describe(self) -> str:
        return "Write down that the data were set aside."

    def simulate(self, state: State) -> State:
        return replace(state, record=Record(self.desired.name, "done"))

    def apply(self, io: Actions) -> None:
        io.note(Record(self.desired.name, "done"))


def moment(desired: Desired) -> datetime:
    """Return the moment to restore to."""
    text = desired.target or ""
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise Refusal(
            f"target={text} is no moment: write it as 2026-01-31 14:05:00+00, with its distance from UTC."
        ) from error
    if at.tzinfo is None:
        raise Refusal(f"target={text} says nothing of its time zone: write {text}+00 for UTC.")
    return at.astimezone(UTC)


def chosen(state: State, desired: Desired) -> Backup:
    """Choose the backup to begin with: the last one that ended before what is asked for."""
    backups = state.backups
    if not backups:
        raise Refusal(
            f"{state.host}: the repository has no backup of {desired.stanza}, so there is nothing to restore."
        )
    if desired.backup:
        for one in backups:
            if one.label == desired.backup:
                return one
        raise Refusal(
            f"{state.host}: the repository has no backup={desired.backup} of {desired.stanza}: it has "
            f"{', '.join(one.label for one in backups)}."
        )
    if desired.until != "time":
        return backups[-1]
    at = moment(desired).timestamp()
    if early := [one for one in backups if one.stop <= at]:
        return early[-1]
    raise Refusal(
        f"{state.host}: target={desired.target} is before the end of the oldest backup, "
        f"{backups[0].label} at {backups[0].stopped}: nothing earlier can be restored."
    )


def _refuse(state: State, desired: Desired, backup: Backup) -> None:
    if desired.until == "time" and moment(desired).timestamp() > state.now:
        raise Refusal(
            f"{state.host}: target={desired.target} is still to come: for all there is, set until=latest."
        )
    if state.stanza_version != desired.version:
        raise Refusal(
            f"{state.host}: the backups of {desired.stanza} are of PostgreSQL {state.stanza_version}, and "
            f"version={desired.version} was asked for: restore on a machine that has PostgreSQL "
            f"{state.stanza_version}."
        )
    # What is removed makes room before it is needed.
    gained = state.staging_size + (state.data_size if desired.old_data == "remove" else 0)
    if state.disk_free + gained - backup.size < state.disk_size * desired.min_free_pct / 100:
        raise Refusal(
            f"{state.host}: {backup.label} has {backup.size >> 20} MB, and {state.disk_free >> 20} MB are "
            f"free beside {desired.data_dir}, of which min_free_pct={desired.min_free_pct} must stay: make "
            "room, or set old_data=remove."
        )


def plan(state: State, desired: Desired) -> tuple[Step[State, Actions], ...]:
    """Return the steps that are left, or refuse."""
    if not NAME.fullmatch(desired.name):
        raise Refusal(
            f"name={desired.name} would make no name of a folder: use letters, digits, dots, underscores and "
            "hyphens."
        )
    record = state.record
    if record and (record.name, record.phase) == (desired.name, "done"):
        return ()
    restoring = desired.part != "set_aside"
    begun = restoring and record is not None and record.request == desired.request
    if begun and record and record.phase == "restored" and state.data:
        if desired.part == "copy":
            return ()
        start = () if state.running else (Start(desired),)
        return (*start, AwaitWrites(desired))
    copied = begun and record is not None and record.phase != "done" and state.staging
    copy: tuple[Step[State, Actions], ...] = ()
    if restoring and not copied:
        backup = chosen(state, desired)
        _refuse(state, desired, backup)
        copy = (Copy(desired, backup.label),)
    away = _away(state, desired)
    if desired.part == "set_aside":
        return (*away, Finish(desired))
    if desired.part == "copy":
        return copy if desired.old_data == "keep" else ()
    # The old server serves while the copy is made, unless the copy needs its room.
    first = (*away, *copy) if desired.old_data == "remove" else (*copy, *away)
    return (*first, Swap(desired), Start(desired), AwaitWrites(desired))


def _away(state: State, desired: Desired) -> tuple[Step[State, Actions], ...]:
    """Return the steps that put out of the way what is there."""
    if state.data and state.aside:
        raise Refusal(
            f"{state.host}: {desired.aside} is there already, and so is {desired.data_dir}: choose another "
            "name for this restore."
        )
    steps: list[Step[State, Actions]] = []
    if state.running:
        steps.append(Stop(desired))
    if state.data:
        steps.append(SetAside(desired))
    if desired.old_data == "remove" and (state.data or state.aside):
        steps.append(RemoveAside(desired))
    return tuple(steps)


def report(outcome: Outcome[State], desired: Desired) -> dict[str, Any]:
    """Return the module's result."""
    return {
        "changed": outcome.changed,
        "actions": list(outcome.actions),
        "aside": desired.aside if outcome.after.aside else None,
        "before": view(outcome.before),
        "after": view(outcome.after),
    }


def view(state: State) -> dict[str, Any]:
    """Return what is told of a state."""
    return {
        "running": state.running,
        "data": state.data,
        "restore": state.record.name if state.record else None,
        "phase": state.record.phase if state.record else None,
        "backups": [backup.label for backup in state.backups],
    }
