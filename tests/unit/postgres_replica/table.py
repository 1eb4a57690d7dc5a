# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E501  # a row is read across, up to ansible-test's 160 columns
"""The decision table: a state, and the steps or the refusal it calls for."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Local, State

from .states import (
    ABSENT,
    CONNECTING,
    COPIED,
    COPYING,
    EMPTY,
    EX_PRIMARY,
    FOREIGN,
    FREE,
    HELD,
    NOW,
    PARTIAL,
    PRIMARY_HERE,
    RECEIVER,
    STARTING,
    STOPPED,
    STREAMING,
    state,
)

CLONE = "MarkClone Copy Swap WriteSettings Start AwaitStreaming RemoveMarker"
COPY_AGAIN = CLONE.removeprefix("MarkClone ")
AFTER_COPY = "Swap WriteSettings Start AwaitStreaming RemoveMarker"

# fmt: off
STEPS: dict[str, tuple[State, str, str]] = {
    "streaming as asked": (state(), "none", ""),
    "absent": (state(ABSENT), "clone", CLONE),
    "empty": (state(EMPTY), "clone", CLONE),
    "half-made, backup_label without pg_control": (state(PARTIAL), "clone", CLONE),
    "absent, never registered": (state(ABSENT, config={"registration": "missing"}), "clone", f"Register {CLONE}"),
    "absent, half registered": (state(ABSENT, config={"registration": "half"}), "clone", f"Register {CLONE}"),
    "absent, no slot, no passfile": (state(ABSENT, primary={"slot": None}, passfile=False), "clone", f"WritePassfile CreateSlot {CLONE}"),
    "marked, nothing copied yet": (state(ABSENT, marker=COPYING), "clone", COPY_AGAIN),
    "marked, copy unfinished": (state(ABSENT, marker=COPYING, staging=True), "clone", f"DiscardStaging {COPY_AGAIN}"),
    "marked, orphan at work": (
        state(ABSENT, marker=COPYING, staging=True, orphans=2, primary={"slot": HELD}),
        "clone", f"EndOrphans DiscardStaging {COPY_AGAIN}"),
    "orphan holds the last senders": (state(ABSENT, marker=COPYING, orphans=2, primary={"senders_free": 0}), "clone", f"EndOrphans {COPY_AGAIN}"),
    "copied, not yet in place": (state(ABSENT, marker=COPIED, staging=True), "clone", AFTER_COPY),
    "copied, the slot made anew since": (
        state(ABSENT, marker=COPIED, staging=True, primary={"slot": replace(FREE, restart_lsn=NOW)}),
        "clone", f"MarkClone DiscardStaging {COPY_AGAIN}"),
    "copied, the slot gone since": (
        state(ABSENT, marker=COPIED, staging=True, primary={"slot": None}),
        "clone", f"CreateSlot MarkClone DiscardStaging {COPY_AGAIN}"),
    "copied from another system": (
        state(ABSENT, marker=replace(COPIED, system_identifier=FOREIGN), staging=True),
        "clone", f"MarkClone DiscardStaging {COPY_AGAIN}"),
    "copied through another slot": (state(ABSENT, marker=replace(COPIED, slot="old"), staging=True), "clone", f"MarkClone DiscardStaging {COPY_AGAIN}"),
    "in place, never started": (
        state(replace(STOPPED, control_state="in production", backup_label=True), marker=COPIED, config={"owned": False, "conninfo": "", "slot": ""}),
        "configure", "WriteSettings Start AwaitStreaming RemoveMarker"),
    "started, not yet streaming": (state(CONNECTING, marker=COPIED), "configure", "AwaitStreaming RemoveMarker"),
    "streaming, still marked": (state(marker=COPIED), "configure", "RemoveMarker"),
    "streaming, a stale copy left": (state(marker=COPYING, staging=True), "configure", "DiscardStaging RemoveMarker"),
    "stopped": (state(STOPPED), "configure", "Start AwaitStreaming"),
    "stopped by a crash": (state(replace(STOPPED, control_state="in archive recovery")), "configure", "Start AwaitStreaming"),
    "stopped exactly where the primary is": (state(replace(STOPPED, lsn=NOW)), "configure", "Start AwaitStreaming"),
    "stopped, standby.signal gone": (state(replace(STOPPED, standby_signal=False)), "configure", "WriteSettings Start AwaitStreaming"),
    "starting": (state(STARTING, primary={"slot": HELD}), "configure", "Reload AwaitStreaming"),
    "starting with other settings": (state(STARTING, config={"owned": False, "conninfo": "host=old"}), "configure", "WriteSettings Reload AwaitStreaming"),
    "connecting": (state(CONNECTING), "configure", "AwaitStreaming"),
    "connecting, our own slot held": (state(CONNECTING, primary={"slot": HELD}), "configure", "AwaitStreaming"),
    "wrong conninfo on disk and in force": (
        state(replace(STREAMING, conninfo="host=old"), config={"owned": False, "conninfo": "host=old"}),
        "configure", "WriteSettings Reload AwaitStreaming"),
    "wrong conninfo on disk only": (state(config={"owned": False, "conninfo": "host=old"}), "configure", "WriteSettings"),
    "right on disk, not in force": (state(replace(STREAMING, conninfo="host=old")), "configure", "Reload AwaitStreaming"),
    "wrong slot": (
        state(replace(STREAMING, slot="old", receiver=replace(RECEIVER, slot="old")), config={"owned": False, "slot": "old"}, primary={"slot": None}),
        "configure", "CreateSlot WriteSettings Reload AwaitStreaming"),
    "stale lines in postgresql.auto.conf": (
        state(replace(STREAMING, slot="old"), config={"auto_clean": False, "slot": "old"}),
        "configure", "WriteSettings Reload AwaitStreaming"),
    "from another host": (state(replace(STREAMING, receiver=replace(RECEIVER, host="10.0.0.9"))), "configure", "AwaitStreaming"),
    "receiver waits": (state(replace(STREAMING, receiver=replace(RECEIVER, status="waiting"))), "configure", "AwaitStreaming"),
    "passfile differs": (state(passfile=False), "configure", "WritePassfile"),
    "lower timeline, before the fork": (state(replace(STOPPED, timeline=2, lsn=0x3FFFFFF)), "configure", "Start AwaitStreaming"),
    "lower timeline, exactly at the fork": (state(replace(STOPPED, timeline=2, lsn=0x4000000)), "configure", "Start AwaitStreaming"),
    "a data directory that is a link, streaming": (state(replace(STREAMING, symlink=True)), "none", ""),
}

REFUSALS: dict[str, tuple[State, str]] = {
    "another system identifier": (state(replace(STOPPED, system_identifier=FOREIGN)), "belongs to another database system"),
    "another system identifier, running": (state(replace(PRIMARY_HERE, system_identifier=FOREIGN)), "belongs to another database system"),
    "another major version of the primary": (state(primary={"major": 16}), "runs PostgreSQL 16, and version asks for 17"),
    "another major version here": (state(replace(STOPPED, major=16)), "holds PostgreSQL 16 data"),
    "split brain": (state(PRIMARY_HERE), "split brain"),
    "split brain, marked as ours": (state(PRIMARY_HERE, marker=COPIED), "split brain"),
    "split brain, starting": (state(replace(PRIMARY_HERE, server="starting")), "split brain"),
    "timeline above the primary's": (state(replace(STOPPED, timeline=4)), "ahead of the primary"),
    "same timeline, was a primary": (state(EX_PRIMARY), "was a primary itself"),
    "same timeline, was a primary, crashed": (state(replace(EX_PRIMARY, control_state="in production")), "was a primary itself"),
    "same timeline, was a primary, standby.signal touched": (state(replace(EX_PRIMARY, standby_signal=True)), "was a primary itself"),
    "same timeline, past the primary": (state(replace(STOPPED, lsn=NOW + 1)), "the primary lost WAL that this standby has"),
    "lower timeline, past the fork": (state(replace(STOPPED, timeline=2, lsn=0x4000001)), "past 0/4000000 where 10.0.0.1:5432 left"),
    "lower timeline, running, past the fork": (state(replace(CONNECTING, timeline=2, lsn=0x4000001)), "past 0/4000000 where 10.0.0.1:5432 left"),
    "lower timeline, ex-primary at the fork": (state(replace(EX_PRIMARY, timeline=2, lsn=0x4000000)), "was the primary before"),
    "timeline absent from the history": (state(replace(STOPPED, timeline=2), primary={"history": ((1, 0x2000000),)}), "not in the history"),
    "slot lost, data here": (state(STOPPED, primary={"slot": replace(FREE, wal_status="lost")}), "dropping it alone does not help"),
    "slot lost, nothing here": (state(ABSENT, primary={"slot": replace(FREE, wal_status="lost")}), "drop the slot on 10.0.0.1:5432 and run again"),
    "slot logical": (state(ABSENT, primary={"slot": replace(FREE, kind="logical")}), "is a logical one"),
    "slot held by another, clone": (state(ABSENT, primary={"slot": replace(HELD, holder="db9 at 10.0.0.9")}), "in use by db9 at 10.0.0.9"),
    "slot held by another, stopped": (state(STOPPED, primary={"slot": replace(HELD, holder="")}), "in use by a client that may not be named"),
    "slot held by another, connecting": (state(CONNECTING, primary={"slot": replace(HELD, holder_address="10.0.0.9")}), "in use by"),
    "replay paused": (state(replace(STREAMING, replay="paused")), "is paused"),
    "replay pause requested": (state(replace(STREAMING, replay="pause requested")), "is pause requested"),
    "settings too low, running": (state(config={"limits": (("max_connections", 50),)}), "max_connections is 50 here and 100 on"),
    "settings too low, clone": (
        state(ABSENT, config={"limits": (("max_prepared_transactions", 0),)}, primary={"limits": (("max_prepared_transactions", 9),)}),
        "max_prepared_transactions is 0 here and 9 on"),
    "hot_standby off": (state(STOPPED, config={"hot_standby": False}), "hot_standby is off"),
    "files that are no data": (state(Local(data="unknown")), "no PostgreSQL data"),
    "a server on a half-made copy": (state(replace(PARTIAL, server="starting")), "a server runs on the half-made"),
    "data without configuration": (state(STOPPED, config={"registration": "missing"}), "and no /etc/postgresql/17/main/postgresql.conf"),
    "configuration of other data": (state(ABSENT, config={"registration": "elsewhere", "data_directory": "/srv/pg"}), "keeps its data in /srv/pg"),
    "settings overridden": (
        state(config={"conninfo": "host=x", "source": "/etc/postgresql/17/main/conf.d/90-x.conf"}),
        "is set in /etc/postgresql/17/main/conf.d/90-x.conf"),
    "settings not included": (state(STOPPED, config={"conninfo": "", "slot": ""}), "include_dir 'conf.d'"),
    "link to clone into": (state(replace(EMPTY, symlink=True)), "is a symbolic link"),
    "mount point to clone into": (state(replace(EMPTY, mount_point=True)), "is a mount point"),
    "staging that is not ours": (state(ABSENT, staging=True), "main.new exists and is not ours"),
    "too few senders": (state(ABSENT, primary={"senders_free": 1}), "has 1 WAL senders free and a clone needs 2"),
    "tablespaces": (state(ABSENT, primary={"tablespaces": ("fast",)}), "has tablespaces (fast)"),
    "disk too small": (state(ABSENT, disk_free=11 << 30), "leaves less than min_free_pct=10"),
    "disk cannot be checked": (state(ABSENT, primary={"unreadable": ("app",)}), "GRANT pg_read_all_stats TO replicator"),
    "primary is a standby": (state(primary={"in_recovery": True}), "is itself a standby"),
    "primary writes too little": (state(ABSENT, primary={"wal_level": "minimal"}), "set it to replica"),
}
# fmt: on
