# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states that are left alone. Each refusal is one sentence: what is found, and what a person can do."""

from __future__ import annotations

import re
from collections.abc import Callable

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.facts import (
    backup_to_restore,
    held_by_us,
    left_behind,
    needs_copy,
    staging_is_ours,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Desired, Local, State
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import conninfo
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.unfit import (
    loss_unseen,
    slot_lost,
    torn,
    unfit,
    way,
)

OLDEST_VERSION = 15
# pg_basebackup -X stream holds two connections: one for the files, one for the WAL written meanwhile.
SENDERS_FOR_A_CLONE = 2
SENDERS_TO_STREAM = 1


def _refuse_versions(state: State, desired: Desired) -> str | None:
    if desired.version < OLDEST_VERSION:
        return (
            f"PostgreSQL {desired.version} is older than this module knows: set version "
            f"to {OLDEST_VERSION} or later"
        )
    if state.primary.major != desired.version:
        return (
            f"the primary {desired.primary} runs PostgreSQL {state.primary.major}, and version asks for "
            f"{desired.version}: streaming needs the same major version on both"
        )
    if state.local.major not in (None, desired.version):
        return (
            f"{desired.data_dir} holds PostgreSQL {state.local.major} data, and version asks for "
            f"{desired.version}: correct version, or move data_dir away and run again"
        )
    return None


def _refuse_primary(state: State, desired: Desired) -> str | None:
    if not re.fullmatch(r"[a-z0-9_]{1,63}", desired.slot):
        return (
            f"slot={desired.slot} is no slot name: use lower-case letters, digits and underscores, at most 63"
        )
    if "\n" in (desired.replication_password or ""):
        return "replication_password holds a line break, which a passfile cannot: choose another"
    if state.primary.in_recovery:
        return (
            f"{desired.primary} is itself a standby: set primary_host to the present primary "
            "(after a switchover the inventory may still name the old one)"
        )
    if state.primary.wal_level not in ("replica", "logical"):
        return (
            f"wal_level on {desired.primary} is {state.primary.wal_level}: set it to "
            "replica there and restart"
        )
    return None


def _refuse_identity(state: State, desired: Desired) -> str | None:
    local = state.local
    if local.data == "unknown":
        return f"{desired.data_dir} holds files that are no PostgreSQL data: empty it or correct data_dir"
    if local.data == "partial" and local.server != "down":
        return f"a server runs on the half-made {desired.data_dir}: stop {desired.unit} and run again"
    if local.server != "down" and not local.in_recovery and not standby_starting(local):
        return _refuse_second_primary(state, desired)
    return None


def standby_starting(local: Local) -> bool:
    return local.server == "starting" and local.standby_signal


def _refuse_second_primary(state: State, desired: Desired) -> str | None:
    """A running primary is only stopped by order, and where the other one is proved to be its successor."""
    local, primary = state.local, state.primary
    beside = f"{desired.data_dir} runs as a primary beside the primary {desired.primary}"
    if local.system_identifier != primary.system_identifier:
        return (
            f"{beside}, and of another database system ({local.system_identifier}, not "
            f"{primary.system_identifier}): if nobody needs it, stop {desired.unit} and run again with "
            "on_foreign=reclone; else correct primary_host"
        )
    succeeded = local.timeline < primary.timeline and local.timeline in dict(primary.history)
    if not succeeded:
        return (
            f"{beside} (split brain), and no timeline tells which one took over: decide which one keeps its "
            "writes and stop the other, or correct primary_host; nothing was stopped"
        )
    if desired.on_split_brain == "fail":
        return (
            f"{beside}, which took over from it at timeline {primary.timeline} (split brain): fence it, or "
            "set on_split_brain=stop to have it stopped, and on_diverged to say what becomes of its writes"
        )
    return None


def _refuse_archive(state: State, desired: Desired) -> str | None:
    """A standby takes the latest timeline that its archive knows of, whoever made it."""
    archive, primary = state.repository, state.primary
    goes_on = state.local.server != "down" and way(state, desired) == "follow" and not slot_lost(state)
    if archive is None or archive.system_identifier != primary.system_identifier or goes_on:
        return None
    latest = int(archive.newest_wal[:8] or "0", 16)
    if latest <= primary.timeline:
        return None
    return (
        f"the archive of the stanza {archive.stanza} has WAL of timeline {latest}, which a standby would "
        f"follow, and the primary {desired.primary} is on {primary.timeline}: correct primary_host, or "
        f"remove {latest:08X}.history and the WAL of that timeline from the archive"
    )


def _refuse_data(state: State, desired: Desired) -> str | None:
    """The data that are here cannot follow, and nothing allows to give them up."""
    if way(state, desired) == "reclone":
        return None
    wrong = unfit(state, desired)
    if wrong is None and torn(state):
        return (
            f"an earlier pg_rewind broke off in {desired.data_dir}, which is of no use any more: set "
            "on_diverged=reclone and run again"
        )
    if wrong is None:
        return None
    if way(state, desired) == "rewind":
        return _refuse_rewind(state, desired)
    if wrong.option == "on_foreign":
        remedy = "if nobody needs these data, set on_foreign=reclone; else correct primary_host or data_dir"
    elif wrong.option == "on_lost_slot":
        remedy = "set on_lost_slot=reclone, or give it a restore_command for an archive that has it"
    elif wrong.rewindable:
        remedy = (
            "correct primary_host, or set on_diverged=rewind or reclone to give up what only this host has"
        )
    else:
        remedy = (
            "correct primary_host, or set on_diverged=reclone to give up what only this host has "
            "(pg_rewind does not see a divergence within one timeline)"
        )
    return f"{wrong.because}: {remedy}"


def _refuse_rewind(state: State, desired: Desired) -> str | None:
    local, primary = state.local, state.primary
    if not local.hints_logged:
        return (
            f"{desired.data_dir} has neither checksums nor wal_log_hints, so pg_rewind cannot tell what "
            "changed there: set on_diverged=reclone"
        )
    if primary.rewind_denied:
        functions = ", ".join(primary.rewind_denied)
        return (
            f"{desired.replication_user} may not call what pg_rewind calls on {desired.primary}: "
            f"GRANT EXECUTE ON FUNCTION {functions} TO {desired.replication_user} in its database postgres, "
            "or set on_diverged=reclone"
        )
    if not primary.full_page_writes:
        return f"full_page_writes is off on {desired.primary}, and pg_rewind needs it: turn it on there"
    if primary.checkpoint_timeline < primary.timeline and not primary.may_checkpoint:
        return (
            f"{desired.primary} has made no checkpoint since it took over, and {desired.replication_user} "
            f"may order none: run CHECKPOINT there, or GRANT pg_checkpoint TO {desired.replication_user}"
        )
    return None


def _refuse_slot(state: State, desired: Desired) -> str | None:
    slot = state.primary.slot
    if slot is None:
        return None
    if slot.kind != "physical":
        return f"slot={desired.slot} on {desired.primary} is a {slot.kind} one: choose another name"
    if slot.active and not (held_by_us(state, slot, desired) or left_behind(state, desired)):
        return f"slot={desired.slot} on {desired.primary} is in use by {_holder(state, desired)}"
    if loss_unseen(state) and way(state, desired) == "follow":
        return (
            f"{desired.data_dir} streams through slot={desired.slot} on {desired.primary}, which holds no "
            f"WAL any more, and {desired.replication_user} may not see what WAL is left there to go on with: "
            f"GRANT pg_monitor TO {desired.replication_user}"
        )
    return None


def _holder(state: State, desired: Desired) -> str:
    slot, here = state.primary.slot, state.primary.our_address
    holder = (slot and slot.holder) or "a client that may not be named"
    # A server goes on for up to a minute when its data were moved away.
    if slot and slot.holder == f"{desired.application_name} at {here}" and state.local.server == "down":
        return (
            f"{holder}, which is this host: stop {desired.unit} if its data were moved away, "
            "else choose another slot"
        )
    return f"{holder}: every standby needs its own; choose another slot, or end that client"


def _refuse_settings(state: State, desired: Desired) -> str | None:
    config = state.config
    needed = dict(state.primary.limits)
    low = [(name, value, needed[name]) for name, value in config.limits if value < needed.get(name, 0)]
    if low:
        names = ", ".join(
            f"{name} is {here} here and {there} on {desired.primary}" for name, here, there in low
        )
        return f"{names}: raise it in {desired.config_dir}/conf.d (and restart a running standby) first"
    if not config.hot_standby:
        return f"hot_standby is off in {desired.config_dir}: turn it on; the module asks the standby by SQL"
    if state.local.data == "cluster" and config.registration == "missing":
        return (
            f"there is data in {desired.data_dir} and no {desired.config_file}: put the "
            "configuration back, or correct "
            "config_dir"
        )
    if config.registration == "missing" and not desired.debian_layout:
        return f"{desired.config_file} is missing: create it, or leave config_dir at Debian's place"
    if config.registration == "elsewhere":
        return (
            f"{desired.config_file} keeps its data in {config.data_directory}, and "
            f"data_dir is {desired.data_dir}: "
            "make them the same"
        )
    ours_is_written = config.owned and config.auto_clean
    if ours_is_written and (config.conninfo, config.slot) != (conninfo(desired), desired.slot):
        where = (
            f"in {config.source}" if config.source and config.source != desired.settings_file else "elsewhere"
        )
        return (
            f"primary_conninfo or primary_slot_name is set {where}, past "
            f"{desired.settings_file}: remove it there, and "
            f"see that {desired.config_file} has include_dir 'conf.d'"
        )
    return None


def _refuse_pause(state: State, desired: Desired) -> str | None:
    to_be_stopped = way(state, desired) != "follow"
    if state.local.in_recovery and state.local.replay != "not paused" and not to_be_stopped:
        return (
            f"replay of {desired.unit} is {state.local.replay}: if that is not on purpose, run "
            "SELECT pg_wal_replay_resume() there"
        )
    return None


def _refuse_clone(state: State, desired: Desired) -> str | None:
    if not needs_copy(state, desired):
        return None
    local, primary = state.local, state.primary
    if (local.symlink or local.mount_point) and not desired.in_place:
        what = "a symbolic link" if local.symlink else "a mount point"
        return (
            f"{desired.data_dir} is {what} and cannot be renamed: set strategy=in_place, or data_dir to a "
            "plain directory beneath it"
        )
    if state.staging and not staging_is_ours(state):
        return f"{desired.staging} exists and is not ours: move it away and run again"
    senders = SENDERS_TO_STREAM if desired.from_backup else SENDERS_FOR_A_CLONE
    to_be_freed = state.orphans or left_behind(state, desired)
    if primary.senders_free < senders and not to_be_freed:
        return (
            f"{desired.primary} has {primary.senders_free} WAL senders free and a clone needs {senders}: "
            "raise max_wal_senders there"
        )
    if primary.tablespaces:
        return (
            f"{desired.primary} has tablespaces ({', '.join(primary.tablespaces)}), "
            "which this version does not clone: "
            "make the standby by hand"
        )
    return _refuse_backup(state, desired) or _refuse_disk(state, desired)


def _refuse_backup(state: State, desired: Desired) -> str | None:
    """The backup that is to be cloned cannot be had, or would never come to follow the primary."""
    if not desired.from_backup:
        return None
    found, primary = state.repository, state.primary
    stanza = f"the stanza {desired.pgbackrest_stanza}"
    otherwise = "or set clone_from=primary"
    if found is None or found.problem:
        why = found.problem if found else "nobody has asked"
        return (
            f"the backups of {stanza} cannot be read ({why}): put pgBackRest right on this host, {otherwise}"
        )
    if not found.version:
        return f"the repository has no {stanza.removeprefix('the ')}: make it and take a backup, {otherwise}"
    if found.system_identifier != primary.system_identifier:
        return (
            f"{stanza} is of another database system ({found.system_identifier}; the primary "
            f"{desired.primary} is {primary.system_identifier}): correct pgbackrest_stanza, {otherwise}"
        )
    if found.version != desired.version:
        return (
            f"{stanza} is of PostgreSQL {found.version}, and version asks for {desired.version}: upgrade the "
            f"stanza and take a backup, {otherwise}"
        )
    if not found.backups:
        return f"the repository has no backup of {stanza}: take one, {otherwise}"
    if backup_to_restore(state) is None:
        return (
            f"from no backup of {stanza} WAL leads to timeline {primary.timeline}, which the primary "
            f"{desired.primary} is on: take a backup, {otherwise}"
        )
    if not state.config.restore_command:
        return (
            "nothing fetches the WAL since the backup: set restore_command in "
            f"{desired.config_dir}/conf.d to "
            f'pgbackrest --stanza={desired.pgbackrest_stanza} archive-get %f "%p", {otherwise}'
        )
    return None


def _refuse_disk(state: State, desired: Desired) -> str | None:
    primary = state.primary
    if not desired.min_free_pct:
        return None
    if primary.unreadable:
        return (
            f"the size of {', '.join(primary.unreadable)} on {desired.primary} may not "
            "be read, so the disk cannot be "
            f"checked: GRANT pg_read_all_stats TO {desired.replication_user} there, or set min_free_pct=0"
        )
    backup = backup_to_restore(state) if desired.from_backup else None
    # What is restored grows to what the primary has by now.
    need = max(primary.size, backup.size if backup else 0) + primary.wal_size
    free = state.disk_free + (state.data_size if desired.in_place else 0)
    left = free - need
    if left * 100 < state.disk_total * desired.min_free_pct:
        return (
            f"the clone needs {need >> 20} MiB and {free >> 20} MiB are free at {desired.data_dir}, which "
            f"leaves less than min_free_pct={desired.min_free_pct}: make room, or lower it"
            f"{_in_place_hint(state, desired)}"
        )
    return None


def _in_place_hint(state: State, desired: Desired) -> str:
    has_data = state.local.data == "cluster" and not desired.in_place
    return ", or set strategy=in_place to remove the old data first" if has_data else ""


# The gravest first, for one sentence is said.
REFUSALS: tuple[Callable[[State, Desired], str | None], ...] = (
    _refuse_versions,
    _refuse_primary,
    _refuse_identity,
    _refuse_archive,
    _refuse_data,
    _refuse_slot,
    _refuse_settings,
    _refuse_pause,
    _refuse_clone,
)
