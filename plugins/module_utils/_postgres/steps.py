# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps, each small enough to be the last one done before a run is killed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Impossible
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.backups import Backup
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    Desired,
    Local,
    Marker,
    Receiver,
    Slot,
    State,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.refusals import (
    SENDERS_FOR_A_CLONE,
    standby_starting,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import conninfo


class Actions(Protocol):
    """What the steps need done. Each returns only once it has taken effect."""

    def register(self) -> None: ...
    def write_passfile(self) -> None: ...
    def end_orphans(self) -> None: ...
    def await_free_slot(self) -> int: ...
    def create_slot(self) -> None: ...
    def drop_slot(self) -> None: ...
    def empty_data(self) -> None: ...
    def rewind(self, marker: Marker) -> None: ...
    def remove_replaced(self) -> None: ...
    def drop_idle_slots(self, names: tuple[str, ...]) -> None: ...
    def stop(self) -> None: ...
    def write_marker(self, marker: Marker) -> None: ...
    def remove_marker(self) -> None: ...
    def discard_staging(self) -> None: ...
    def copy(self) -> None: ...
    def restore(self, backup: Backup) -> None: ...
    def swap(self) -> None: ...
    def write_settings(self) -> None: ...
    def start(self) -> None: ...
    def reload(self) -> None: ...
    def await_streaming(self) -> None: ...


@dataclass(frozen=True)
class _Step:
    desired: Desired


class Register(_Step):
    def describe(self) -> str:
        return f"Create the configuration in {self.desired.config_dir} with Debian's pg_createcluster."

    def simulate(self, state: State) -> State:
        config = replace(state.config, registration="done", data_directory=self.desired.data_dir)
        return replace(state, config=config)

    def apply(self, io: Actions) -> None:
        io.register()


class WritePassfile(_Step):
    def describe(self) -> str:
        return f"Write the password of {self.desired.replication_user} to {self.desired.passfile}."

    def simulate(self, state: State) -> State:
        return replace(state, passfile=True)

    def apply(self, io: Actions) -> None:
        io.write_passfile()


class EndOrphans(_Step):
    def describe(self) -> str:
        return "End the copy that an earlier run left at work."

    def simulate(self, state: State) -> State:
        return _without_backup(replace(state, orphans=0))

    def apply(self, io: Actions) -> None:
        io.end_orphans()


def _without_backup(state: State) -> State:
    """Return the state in which the primary has let go of a base backup."""
    slot = state.primary.slot
    freed = slot and replace(slot, active=False, holder="", holder_address="")
    free = state.primary.senders_free + SENDERS_FOR_A_CLONE
    return replace(state, primary=replace(state.primary, slot=freed, senders_free=free))


class AwaitFreeSlot(_Step):
    def describe(self) -> str:
        return (
            f"Wait until {self.desired.primary} notices that an earlier base backup of this host has ended."
        )

    def simulate(self, state: State) -> State:
        return _without_backup(state)

    def apply(self, io: Actions) -> None:
        io.await_free_slot()


class CreateSlot(_Step):
    def describe(self) -> str:
        return f"Create the physical slot {self.desired.slot} on {self.desired.primary}."

    def simulate(self, state: State) -> State:
        slot = Slot(restart_lsn=state.primary.lsn)
        return replace(state, primary=replace(state.primary, slot=slot))

    def apply(self, io: Actions) -> None:
        io.create_slot()


class DropSlot(_Step):
    def describe(self) -> str:
        return f"Drop the slot {self.desired.slot} on {self.desired.primary}, which has lost its WAL."

    def simulate(self, state: State) -> State:
        return replace(state, primary=replace(state.primary, slot=None))

    def apply(self, io: Actions) -> None:
        io.drop_slot()


@dataclass(frozen=True)
class MarkClone(_Step):
    marker: Marker

    def describe(self) -> str:
        data = ", and that the data here are given up" if self.marker.replaces else ""
        return f"Note in {self.desired.marker} that a clone has begun{data}."

    def simulate(self, state: State) -> State:
        return replace(state, marker=self.marker)

    def apply(self, io: Actions) -> None:
        io.write_marker(self.marker)


@dataclass(frozen=True)
class Stop(_Step):
    whose: str

    def describe(self) -> str:
        return f"Stop {self.desired.name}, {self.whose}."

    def simulate(self, state: State) -> State:
        local, slot = state.local, state.primary.slot
        recovering = local.in_recovery or standby_starting(local)
        stopped = replace(
            local,
            server="down",
            in_recovery=False,
            control_state="shut down in recovery" if recovering else "shut down",
            # The record of the shutdown itself lies past all that a primary had written.
            shutdown_end=0 if recovering else local.lsn + 1,
            replay="not paused",
            receiver=None,
            conninfo="",
            slot="",
        )
        freed = slot and replace(slot, active=False, holder="", holder_address="")
        return replace(state, local=stopped, primary=replace(state.primary, slot=freed))

    def apply(self, io: Actions) -> None:
        io.stop()


class EmptyData(_Step):
    def describe(self) -> str:
        return f"Remove what is in {self.desired.data_dir}, to clone in place."

    def simulate(self, state: State) -> State:
        local = Local(data="empty", symlink=state.local.symlink, mount_point=state.local.mount_point)
        return replace(state, local=local)

    def apply(self, io: Actions) -> None:
        io.empty_data()


class DiscardStaging(_Step):
    def describe(self) -> str:
        return f"Remove the unfinished copy in {self.desired.staging}."

    def simulate(self, state: State) -> State:
        return replace(state, staging=False)

    def apply(self, io: Actions) -> None:
        io.discard_staging()


class Copy(_Step):
    def describe(self) -> str:
        return f"Copy {self.desired.primary} into {self.desired.copy_target} with pg_basebackup."

    def simulate(self, state: State) -> State:
        return _copied(state, self.desired)

    def apply(self, io: Actions) -> None:
        io.copy()


@dataclass(frozen=True)
class Restore(_Step):
    backup: Backup

    def describe(self) -> str:
        stanza, target = self.desired.pgbackrest_stanza, self.desired.copy_target
        return f"Restore the backup {self.backup.label} of the stanza {stanza} into {target} with pgBackRest."

    def simulate(self, state: State) -> State:
        return _copied(state, self.desired)

    def apply(self, io: Actions) -> None:
        io.restore(self.backup)


def _copied(state: State, desired: Desired) -> State:
    slot, begun = state.primary.slot, state.marker
    if begun is None:
        raise Impossible("the note of the clone")
    marker = replace(begun, phase="copied", slot_lsn=slot.restart_lsn if slot else 0)
    if desired.in_place:
        return _with_copy(state, desired, marker=marker)
    return replace(state, marker=marker, staging=True)


class Swap(_Step):
    def describe(self) -> str:
        return f"Put the copy in place as {self.desired.data_dir}."

    def simulate(self, state: State) -> State:
        marker = state.marker
        if marker and state.local.data not in ("absent", "empty"):
            # Its name tells the time, which nobody can foretell.
            marker = replace(marker, replaced=f"{self.desired.data_dir}.old-")
        return _with_copy(state, self.desired, staging=False, marker=marker)

    def apply(self, io: Actions) -> None:
        io.swap()


def _with_copy(state: State, desired: Desired, **changes: Any) -> State:
    """Return the state with a copy that is yet to be started: the primary's data, made a standby's."""
    primary, config = state.primary, replace(state.config, auto_clean=True)
    if config.owned:
        # Nothing in the data stands before our settings any more.
        config = replace(config, conninfo=conninfo(desired), slot=desired.slot, source=desired.settings_file)
    local = Local(
        data="cluster",
        major=primary.major,
        system_identifier=primary.system_identifier,
        timeline=primary.timeline,
        lsn=primary.lsn,
        replayed=primary.lsn,
        control_state="in production",
        backup_label=True,
        standby_signal=True,
        symlink=state.local.symlink,
        mount_point=state.local.mount_point,
    )
    return replace(state, local=local, config=config, **changes)


@dataclass(frozen=True)
class Rewind(_Step):
    marker: Marker

    def describe(self) -> str:
        return f"Undo with pg_rewind what {self.desired.data_dir} has and {self.desired.primary} has not."

    def simulate(self, state: State) -> State:
        return _with_copy(state, self.desired, marker=replace(self.marker, phase="rewound"))

    def apply(self, io: Actions) -> None:
        io.rewind(self.marker)


class RemoveReplaced(_Step):
    def describe(self) -> str:
        return "Remove the data that were set aside."

    def simulate(self, state: State) -> State:
        return replace(state, marker=state.marker and replace(state.marker, replaced=""))

    def apply(self, io: Actions) -> None:
        io.remove_replaced()


class WriteSettings(_Step):
    def describe(self) -> str:
        return f"Write the connection to {self.desired.primary} to {self.desired.settings_file}."

    def simulate(self, state: State) -> State:
        config = replace(
            state.config,
            conninfo=conninfo(self.desired),
            slot=self.desired.slot,
            source=self.desired.settings_file,
            owned=True,
            auto_clean=True,
        )
        return replace(state, config=config, local=replace(state.local, standby_signal=True))

    def apply(self, io: Actions) -> None:
        io.write_settings()


class Start(_Step):
    def describe(self) -> str:
        return f"Start {self.desired.name}."

    def simulate(self, state: State) -> State:
        config = state.config
        local = replace(
            state.local,
            server="up",
            in_recovery=True,
            control_state="in archive recovery",
            backup_label=False,
            replay="not paused",
            conninfo=config.conninfo,
            slot=config.slot,
        )
        return replace(state, local=local)

    def apply(self, io: Actions) -> None:
        io.start()


class Reload(_Step):
    def describe(self) -> str:
        return f"Reload {self.desired.name}."

    def simulate(self, state: State) -> State:
        config, slot = state.config, state.primary.slot
        local = replace(state.local, conninfo=config.conninfo, slot=config.slot, receiver=None)
        # The plan is only made when nobody else holds the slot; our receiver lets go of it to connect anew.
        freed = slot and replace(slot, active=False, holder="", holder_address="")
        return replace(state, local=local, primary=replace(state.primary, slot=freed))

    def apply(self, io: Actions) -> None:
        io.reload()


class AwaitStreaming(_Step):
    def describe(self) -> str:
        return f"Wait until it streams from {self.desired.primary} and has replayed what was written there."

    def simulate(self, state: State) -> State:
        desired, primary = self.desired, state.primary
        receiver = Receiver(
            "streaming", desired.slot, desired.primary_host, desired.primary_port, primary.timeline
        )
        local = replace(
            state.local,
            server="up",
            in_recovery=True,
            conninfo=state.config.conninfo,
            slot=state.config.slot,
            receiver=receiver,
            timeline=primary.timeline,
            lsn=primary.lsn,
            replayed=primary.lsn,
        )
        held = primary.slot and replace(primary.slot, active=True, holder_address=primary.our_address)
        return replace(state, local=local, primary=replace(primary, slot=held))

    def apply(self, io: Actions) -> None:
        io.await_streaming()


@dataclass(frozen=True)
class DropIdleSlots(_Step):
    names: tuple[str, ...]

    def describe(self) -> str:
        return f"Drop {', '.join(self.names)} here, which hold WAL back for nobody."

    def simulate(self, state: State) -> State:
        return replace(state, local=replace(state.local, idle_slots=()))

    def apply(self, io: Actions) -> None:
        io.drop_idle_slots(self.names)


class RemoveMarker(_Step):
    def describe(self) -> str:
        return f"Remove {self.desired.marker}: the standby is complete."

    def simulate(self, state: State) -> State:
        return replace(state, marker=None)

    def apply(self, io: Actions) -> None:
        io.remove_marker()
