# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states that are left alone. Each refusal is one sentence: what is found, and what a person can do."""

from __future__ import annotations

import re
from collections.abc import Callable

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.facts import (
    data_is_ours_to_replace,
    held_by_us,
    needs_copy,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Desired, State
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import conninfo, lsn_to_text

OLDEST_VERSION = 15
# pg_basebackup -X stream holds two connections: one for the files, one for the WAL written meanwhile.
SENDERS_FOR_A_CLONE = 2


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
        return (
            f"{desired.data_dir} holds files that are no PostgreSQL data: empty it or correct data_dir; "
            "this module removes no data"
        )
    if local.data == "partial" and local.server != "down":
        return f"a server runs on the half-made {desired.data_dir}: stop {desired.unit} and run again"
    if local.data == "cluster" and local.system_identifier != state.primary.system_identifier:
        return (
            f"{desired.data_dir} belongs to another database system ({local.system_identifier}; the primary "
            f"{desired.primary} is {state.primary.system_identifier}): if nobody needs "
            "it, stop the cluster, move "
            "data_dir away and run again; else correct primary_host"
        )
    if (
        local.server != "down"
        and not local.in_recovery
        and (local.server == "up" or not local.standby_signal)
    ):
        return (
            f"{desired.data_dir} runs as a primary beside the primary {desired.primary} "
            "(split brain): decide which "
            "one keeps its writes and fence the other, or correct primary_host; nothing was stopped"
        )
    return None


BY_HAND = "this version neither rewinds nor clones over data: move data_dir away by hand and run again"


def _refuse_divergence(state: State, desired: Desired) -> str | None:
    local, primary = state.local, state.primary
    if local.data != "cluster":
        return None
    here = f"{desired.data_dir} is at {lsn_to_text(local.lsn)} on timeline {local.timeline}"
    there = f"the primary {desired.primary} at {lsn_to_text(primary.lsn)} on timeline {primary.timeline}"
    if local.timeline > primary.timeline:
        return f"{here}, ahead of {there}: correct primary_host if that one was replaced; {BY_HAND}"
    if local.timeline == primary.timeline:
        if local.was_primary:
            return (
                f"{here} and was a primary itself, so its WAL may differ from that of "
                f"{desired.primary}: {BY_HAND}"
            )
        if local.lsn > primary.lsn:
            return f"{here}, past {there}: the primary lost WAL that this standby has; {BY_HAND}"
        return None
    left = dict(primary.history).get(local.timeline)
    if left is None:
        return f"{here}, which is not in the history of {there}: {BY_HAND}"
    if local.was_primary:
        return f"{here} and was the primary before {desired.primary} took over: {BY_HAND}"
    if local.lsn > left:
        return f"{here}, past {lsn_to_text(left)} where {desired.primary} left that timeline: {BY_HAND}"
    return None


def _refuse_slot(state: State, desired: Desired) -> str | None:
    slot = state.primary.slot
    if slot is None:
        return None
    if slot.kind != "physical":
        return f"slot={desired.slot} on {desired.primary} is a {slot.kind} one: choose another name"
    if slot.active and not held_by_us(state, slot, desired):
        holder = slot.holder or "a client that may not be named"
        return (
            f"slot={desired.slot} on {desired.primary} is in use by {holder}: every "
            "standby needs its own; choose "
            "another slot, or end that client"
        )
    if slot.wal_status == "lost":
        remedy = (
            f"drop the slot on {desired.primary} and run again"
            if data_is_ours_to_replace(state.local)
            else f"dropping it alone does not help: drop it on {desired.primary}, move "
            "data_dir away and run again"
        )
        return f"slot={desired.slot} on {desired.primary} has lost the WAL this standby needs: {remedy}"
    return None


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
    if state.local.in_recovery and state.local.replay != "not paused":
        return (
            f"replay of {desired.unit} is {state.local.replay}: if that is not on purpose, run "
            "SELECT pg_wal_replay_resume() there"
        )
    return None


def _refuse_clone(state: State, desired: Desired) -> str | None:
    if not needs_copy(state, desired):
        return None
    local, primary = state.local, state.primary
    if local.symlink or local.mount_point:
        what = "a symbolic link" if local.symlink else "a mount point"
        return (
            f"{desired.data_dir} is {what} and cannot be renamed: set data_dir to a "
            "plain directory beneath it"
        )
    if state.staging and state.marker is None:
        return f"{desired.staging} exists and is not ours: move it away and run again"
    if primary.senders_free < SENDERS_FOR_A_CLONE and not state.orphans:
        return (
            f"{desired.primary} has {primary.senders_free} WAL senders free and a clone "
            f"needs {SENDERS_FOR_A_CLONE}: "
            "raise max_wal_senders there"
        )
    if primary.tablespaces:
        return (
            f"{desired.primary} has tablespaces ({', '.join(primary.tablespaces)}), "
            "which this version does not clone: "
            "make the standby by hand"
        )
    return _refuse_disk(state, desired)


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
    need = primary.size + primary.wal_size
    left = state.disk_free - need
    if left * 100 < state.disk_total * desired.min_free_pct:
        return (
            f"the clone needs {need >> 20} MiB and {state.disk_free >> 20} MiB are free "
            f"at {desired.data_dir}, which "
            f"leaves less than min_free_pct={desired.min_free_pct}: make room, or lower it"
        )
    return None


# The gravest first, for one sentence is said.
REFUSALS: tuple[Callable[[State, Desired], str | None], ...] = (
    _refuse_versions,
    _refuse_primary,
    _refuse_identity,
    _refuse_divergence,
    _refuse_slot,
    _refuse_settings,
    _refuse_pause,
    _refuse_clone,
)
