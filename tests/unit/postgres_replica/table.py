# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# ruff: noqa: E501  # a row is read across, up to ansible-test's 160 columns
"""The decision table: a state, and the steps or the refusal it calls for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Local, State

from .states import (
    ABSENT,
    BACKUPS,
    CONNECTING,
    COPIED,
    COPYING,
    EMPTY,
    EX_PRIMARY,
    FETCH,
    FOREIGN,
    FREE,
    HELD,
    LEFT,
    NOW,
    PARTIAL,
    PRIMARY_HERE,
    RECEIVER,
    REPLACING,
    REPOSITORY,
    REWINDING,
    REWOUND,
    STARTING,
    STOPPED,
    STREAMING,
    UNREACHABLE,
    state,
)

CLONE = "MarkClone Copy Swap WriteSettings Start AwaitStreaming RemoveMarker"
COPY_AGAIN = CLONE.removeprefix("MarkClone ")
# Over data whose settings are right already.
RECLONE = CLONE.replace("WriteSettings ", "")
COPY_OVER = RECLONE.removeprefix("MarkClone ")
AFTER_COPY = "Swap WriteSettings Start AwaitStreaming RemoveMarker"

LOST, HELD_LOST = replace(FREE, wal_status="lost"), replace(HELD, wal_status="lost")
AHEAD = replace(STOPPED, timeline=4)
PAST = replace(STOPPED, lsn=NOW + 1, replayed=NOW + 1)
FORKED = replace(STOPPED, timeline=2, lsn=0x4000001, replayed=0x4000001)
# A primary that was replaced at 0/4000000 and wrote on until it was stopped.
FORMER = replace(EX_PRIMARY, timeline=2, lsn=0x4000000, replayed=0x4000000, shutdown_end=0x4000078)
MOUNTED = replace(FORKED, mount_point=True)
IN_PLACE = replace(COPYING, in_place=True)
REPLACED_COPY = replace(COPIED, replaces=True)

# A clone from the backup, and a standby that can fetch WAL, on a primary that has lost what it needs.
FROM_BACKUP: dict[str, str | bool] = {"clone_from": "backup"}
RESTORE = CLONE.replace("Copy", "Restore")
ARCHIVED: dict[str, Any] = {"repository": REPOSITORY, "config": {"restore_command": FETCH}}
WITHOUT: dict[str, Any] = {"slot": LOST, "oldest_wal": 0x5000000}
LATE = replace(REPOSITORY, oldest_wal="000000030000000000000005", newest_wal="000000030000000000000006")
GAP = replace(REPOSITORY, newest_wal="000000030000000000000003")

# fmt: off
STEPS: dict[str, tuple[State, str, str]] = {
    "streaming as asked": (state(), "none", ""),
    "absent": (state(ABSENT), "clone", CLONE),
    "empty": (state(EMPTY), "clone", CLONE),
    "half-made, backup_label without pg_control": (state(PARTIAL), "clone", CLONE),
    "absent, never registered": (state(ABSENT, config={"registration": "missing"}), "clone", f"Register {CLONE}"),
    "absent, half registered": (state(ABSENT, config={"registration": "half"}), "clone", f"Register {CLONE}"),
    "absent, no slot, no passfile": (state(ABSENT, primary={"slot": None}, passfile=False), "clone", f"WritePassfile MarkClone CreateSlot {COPY_AGAIN}"),
    "marked, nothing copied yet": (state(ABSENT, marker=COPYING), "clone", COPY_AGAIN),
    "marked, copy unfinished": (state(ABSENT, marker=COPYING, staging=True), "clone", f"DiscardStaging {COPY_AGAIN}"),
    "marked, orphan at work": (
        state(ABSENT, marker=COPYING, staging=True, orphans=2, primary={"slot": HELD}),
        "clone", f"EndOrphans DiscardStaging {COPY_AGAIN}"),
    "orphan holds the last senders": (state(ABSENT, marker=COPYING, orphans=2, primary={"senders_free": 0}), "clone", f"EndOrphans {COPY_AGAIN}"),
    "marked, its base backup ended a moment ago": (
        state(ABSENT, marker=COPYING, staging=True, primary={"slot": LEFT}), "clone", f"AwaitFreeSlot DiscardStaging {COPY_AGAIN}"),
    "it holds the last senders": (state(ABSENT, marker=COPYING, primary={"slot": LEFT, "senders_free": 0}), "clone", f"AwaitFreeSlot {COPY_AGAIN}"),
    "copied, not yet in place": (state(ABSENT, marker=COPIED, staging=True), "clone", AFTER_COPY),
    "copied, the slot made anew since": (
        state(ABSENT, marker=COPIED, staging=True, primary={"slot": replace(FREE, restart_lsn=NOW)}),
        "clone", f"MarkClone DiscardStaging {COPY_AGAIN}"),
    "copied, the slot gone since": (
        state(ABSENT, marker=COPIED, staging=True, primary={"slot": None}),
        "clone", f"MarkClone CreateSlot DiscardStaging {COPY_AGAIN}"),
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
    "stopped exactly where the primary is": (state(replace(STOPPED, lsn=NOW, replayed=NOW)), "configure", "Start AwaitStreaming"),
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
    "lower timeline, before the fork": (state(replace(STOPPED, timeline=2, lsn=0x3FFFFFF, replayed=0x3FFFFFF)), "configure", "Start AwaitStreaming"),
    "lower timeline, exactly at the fork": (state(replace(STOPPED, timeline=2, lsn=0x4000000, replayed=0x4000000)), "configure", "Start AwaitStreaming"),
    "lower timeline, received past the fork and replayed to it": (
        state(replace(CONNECTING, timeline=2, lsn=0x4000100, replayed=0x4000000)), "configure", "AwaitStreaming"),
    "lower timeline, ex-primary that stopped at the fork": (
        state(replace(EX_PRIMARY, timeline=2, lsn=0x3FFFF88, replayed=0x3FFFF88, shutdown_end=0x4000000)), "configure", "WriteSettings Start AwaitStreaming"),
    "slot lost, nothing here": (
        state(ABSENT, primary={"slot": LOST}), "clone", f"MarkClone DropSlot CreateSlot {COPY_AGAIN}"),
    "slot lost, an archive may have it": (
        state(STOPPED, primary={"slot": LOST}, config={"restore_command": "cp"}), "configure", "DropSlot CreateSlot Start AwaitStreaming"),
    "slot lost, and the archive has it": (state(STOPPED, primary=WITHOUT, **ARCHIVED), "configure", "DropSlot CreateSlot Start AwaitStreaming"),
    "slot lost while it runs, and the archive has it": (
        state(CONNECTING, primary=WITHOUT, **ARCHIVED), "configure", "Stop DropSlot CreateSlot Start AwaitStreaming"),
    "slot lost while it streams, as one does that has caught up": (
        state(STREAMING, primary={"slot": HELD_LOST}, **ARCHIVED), "configure", "Stop DropSlot CreateSlot Start AwaitStreaming"),
    "slot lost while it streams, and nothing fetches WAL": (
        state(STREAMING, primary={"slot": HELD_LOST, "oldest_wal": 0x4000000}), "configure", "Stop DropSlot CreateSlot Start AwaitStreaming"),
    "slot lost while it streams, and new settings": (
        state(STREAMING, primary={"slot": HELD_LOST}, repository=REPOSITORY, config={"restore_command": FETCH, "owned": False}),
        "configure", "Stop DropSlot CreateSlot WriteSettings Start AwaitStreaming"),
    "slot lost, and its WAL is there yet": (
        state(STOPPED, primary={"slot": LOST, "oldest_wal": 0x4000000}), "configure", "DropSlot CreateSlot Start AwaitStreaming"),
    "slot lost, and the archive cannot be asked": (
        state(STOPPED, primary=WITHOUT, config={"restore_command": FETCH}, repository=UNREACHABLE), "configure", "DropSlot CreateSlot Start AwaitStreaming"),
    "its WAL is gone, and the archive has it": (state(STOPPED, primary={"oldest_wal": 0x5000000}, **ARCHIVED), "configure", "Start AwaitStreaming"),
    "its segment is the oldest that is there": (state(STOPPED, primary={"oldest_wal": 0x4000000}), "configure", "Start AwaitStreaming"),
    "rewound, never started": (
        state(replace(STOPPED, control_state="in production", backup_label=True), marker=REWOUND, config={"owned": False, "conninfo": "", "slot": ""}),
        "configure", "WriteSettings Start AwaitStreaming RemoveMarker"),
    "a data directory that is a link, streaming": (state(replace(STREAMING, symlink=True)), "none", ""),
}

REFUSALS: dict[str, tuple[State, str]] = {
    "another system identifier": (state(replace(STOPPED, system_identifier=FOREIGN)), "belongs to another database system"),
    "another system identifier, running": (state(replace(PRIMARY_HERE, system_identifier=FOREIGN)), "and of another database system"),
    "another major version of the primary": (state(primary={"major": 16}), "runs PostgreSQL 16, and version asks for 17"),
    "another major version here": (state(replace(STOPPED, major=16)), "holds PostgreSQL 16 data"),
    "split brain": (state(PRIMARY_HERE), "no timeline tells which one took over"),
    "split brain, succeeded": (state(replace(PRIMARY_HERE, timeline=2)), "took over from it at timeline 3 (split brain): fence it, or set on_split_brain=stop"),
    "split brain, marked as ours": (state(PRIMARY_HERE, marker=COPIED), "split brain"),
    "split brain, starting": (state(replace(PRIMARY_HERE, server="starting")), "split brain"),
    "timeline above the primary's": (state(AHEAD), "ahead of the primary"),
    "same timeline, was a primary": (state(EX_PRIMARY), "was a primary itself"),
    "same timeline, was a primary, crashed": (state(replace(EX_PRIMARY, control_state="in production")), "was a primary itself"),
    "same timeline, was a primary, standby.signal touched": (state(replace(EX_PRIMARY, standby_signal=True)), "was a primary itself"),
    "same timeline, past the primary": (state(PAST), "the primary lost WAL that this standby has"),
    "lower timeline, past the fork": (state(FORKED), "past 0/4000000 where 10.0.0.1:5432 left"),
    "lower timeline, running, past the fork": (state(replace(CONNECTING, timeline=2, replayed=0x4000001)), "past 0/4000000 where 10.0.0.1:5432 left"),
    "lower timeline, ex-primary that wrote past the fork": (state(FORMER), "set on_diverged=rewind or reclone"),
    "lower timeline, ex-primary that crashed": (state(replace(FORMER, shutdown_end=0, control_state="in production")), "wrote past 0/4000000"),
    "timeline absent from the history": (state(replace(STOPPED, timeline=2), primary={"history": ((1, 0x2000000),)}), "not in the history"),
    "slot lost": (state(STOPPED, primary={"slot": LOST}), "set on_lost_slot=reclone"),
    "slot lost while it streams, and no telling whether WAL is left": (
        state(STREAMING, primary={"slot": HELD_LOST}), "which holds no WAL any more, and replicator may not see what WAL is left"),
    "its WAL is gone": (state(STOPPED, primary={"oldest_wal": 0x5000000}), "the oldest WAL on 10.0.0.1:5432 begins at 0/5000000"),
    "a rewind broke off": (state(STOPPED, marker=REWINDING), "an earlier pg_rewind broke off"),
    "slot lost, nor has the archive it": (
        state(STOPPED, primary=WITHOUT, config={"restore_command": FETCH}, repository=LATE),
        "needs, nor has the archive of the stanza main, which has it from 0/5000000 to 0/7000000: set on_lost_slot=reclone"),
    "slot lost, and a gap in the archive": (
        state(STOPPED, primary=WITHOUT, config={"restore_command": FETCH}, repository=GAP), "which has it from 0/3000000 to 0/4000000"),
    "slot lost, the archive of another system": (
        state(STOPPED, primary=WITHOUT, config={"restore_command": FETCH}, repository=replace(REPOSITORY, system_identifier=FOREIGN)),
        "which has none of this database system"),
    "slot lost, an empty archive": (
        state(STOPPED, primary=WITHOUT, config={"restore_command": FETCH}, repository=replace(REPOSITORY, oldest_wal="", newest_wal="")),
        "which has none of this database system"),
    "its WAL is gone, nor has the archive it": (
        state(STOPPED, primary={"oldest_wal": 0x5000000}, config={"restore_command": FETCH}, repository=LATE),
        "begins at 0/5000000, nor has the archive of the stanza main"),
    "the archive knows a later timeline": (
        state(STOPPED, config={"restore_command": FETCH}, repository=replace(REPOSITORY, newest_wal="000000040000000000000004")),
        "has WAL of timeline 4, which a standby would follow, and the primary 10.0.0.1:5432 is on 3: correct primary_host, or remove 00000004.history"),
    "slot logical": (state(ABSENT, primary={"slot": replace(FREE, kind="logical")}), "is a logical one"),
    "slot held by another, clone": (state(ABSENT, primary={"slot": replace(HELD, holder="db9 at 10.0.0.9")}), "in use by db9 at 10.0.0.9"),
    "slot held by a base backup from here, which is not known": (state(ABSENT, primary={"slot": LEFT}), "in use by pg_basebackup at 10.0.0.2"),
    "slot held by a base backup from elsewhere": (
        state(ABSENT, marker=COPYING, primary={"slot": replace(LEFT, holder="pg_basebackup at 10.0.0.9")}), "in use by pg_basebackup at 10.0.0.9"),
    "slot held by a base backup, another one was ours": (
        state(ABSENT, marker=replace(COPYING, slot="old"), primary={"slot": LEFT}), "in use by pg_basebackup at 10.0.0.2"),
    "slot held by the server whose data were moved away": (state(ABSENT, primary={"slot": HELD}), "which is this host: stop postgresql@17-main.service"),
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

# What options allow: a state, options, the action, and its steps.
ALLOWED: dict[str, tuple[State, dict[str, str | bool], str, str]] = {
    "timeline above, rewind": (state(AHEAD), {"on_diverged": "rewind"}, "rewind", "Rewind Start AwaitStreaming RemoveMarker"),
    "timeline above, reclone": (state(AHEAD), {"on_diverged": "reclone"}, "reclone", RECLONE),
    "past the fork, rewind": (state(FORKED), {"on_diverged": "rewind"}, "rewind", "Rewind Start AwaitStreaming RemoveMarker"),
    "past the fork, running": (
        state(replace(CONNECTING, timeline=2, replayed=0x4000001)), {"on_diverged": "rewind"}, "rewind", "Stop Rewind Start AwaitStreaming RemoveMarker"),
    "ex-primary, rewind": (
        state(FORMER, config={"owned": False, "conninfo": "", "slot": ""}, primary={"slot": None}, passfile=False), {"on_diverged": "rewind"},
        "rewind", "WritePassfile CreateSlot Rewind WriteSettings Start AwaitStreaming RemoveMarker"),
    "ex-primary, reclone": (state(FORMER), {"on_diverged": "reclone"}, "reclone", RECLONE),
    "a rewind broke off": (state(STOPPED, marker=REWINDING), {"on_diverged": "reclone"}, "reclone", RECLONE),
    "a rewind is still at work": (state(STOPPED, marker=REWINDING, orphans=1), {"on_diverged": "reclone"}, "reclone", f"EndOrphans {RECLONE}"),
    "same timeline, was a primary": (state(EX_PRIMARY), {"on_diverged": "reclone"}, "reclone", RECLONE),
    "same timeline, past the primary": (state(PAST), {"on_diverged": "reclone"}, "reclone", RECLONE),
    "foreign": (state(replace(STOPPED, system_identifier=FOREIGN)), {"on_foreign": "reclone"}, "reclone", RECLONE),
    "foreign, a standby that runs": (
        state(replace(CONNECTING, system_identifier=FOREIGN)), {"on_foreign": "reclone"}, "reclone", f"MarkClone Stop {COPY_OVER}"),
    "slot lost": (state(CONNECTING, primary={"slot": LOST}), {"on_lost_slot": "reclone"}, "reclone", f"MarkClone Stop DropSlot CreateSlot {COPY_OVER}"),
    "slot lost, dropped, killed": (
        state(STOPPED, marker=REPLACING, primary={"slot": None}), {}, "reclone", f"CreateSlot {COPY_OVER}"),
    "slot lost, copied, killed": (state(STOPPED, marker=REPLACED_COPY, staging=True), {}, "reclone", "Swap Start AwaitStreaming RemoveMarker"),
    "its WAL is gone": (state(STOPPED, primary={"oldest_wal": 0x5000000}), {"on_lost_slot": "reclone"}, "reclone", RECLONE),
    "split brain, to be rewound": (
        state(replace(PRIMARY_HERE, timeline=2)), {"on_split_brain": "stop", "on_diverged": "rewind"},
        "rewind", "Stop Rewind Start AwaitStreaming RemoveMarker"),
    "split brain, to be cloned": (
        state(replace(PRIMARY_HERE, timeline=2)), {"on_split_brain": "stop", "on_diverged": "reclone"}, "reclone", f"MarkClone Stop {COPY_OVER}"),
    "in place, on a mount point": (
        state(MOUNTED), {"on_diverged": "reclone", "strategy": "in_place"},
        "reclone", "MarkClone EmptyData Copy Start AwaitStreaming RemoveMarker"),
    "in place, nothing here": (state(ABSENT), {"strategy": "in_place"}, "clone", "MarkClone Copy WriteSettings Start AwaitStreaming RemoveMarker"),
    "in place, killed": (
        state(PARTIAL, marker=IN_PLACE), {"strategy": "in_place"}, "clone", "EmptyData Copy WriteSettings Start AwaitStreaming RemoveMarker"),
    "in place, killed at the end": (
        state(STOPPED, marker=IN_PLACE), {"strategy": "in_place"}, "reclone",
        "MarkClone EmptyData Copy Start AwaitStreaming RemoveMarker"),
    "in place, room only without the old data": (
        state(FORKED, disk_free=0, data_size=60 << 30), {"on_diverged": "reclone", "strategy": "in_place"},
        "reclone", "MarkClone EmptyData Copy Start AwaitStreaming RemoveMarker"),
    "the old data are not kept": (
        state(FORKED), {"on_diverged": "reclone", "keep_replaced": False}, "reclone", RECLONE.replace("RemoveMarker", "RemoveReplaced RemoveMarker")),
    "a former primary's slots": (
        state(replace(STREAMING, idle_slots=("db1", "db3"))), {"drop_idle_slots": True}, "configure", "DropIdleSlots"),
    "a former primary's slots, to be kept": (state(replace(STREAMING, idle_slots=("db1",))), {}, "none", ""),
    "slot lost, nor has the archive it": (
        state(STOPPED, primary=WITHOUT, config={"restore_command": FETCH}, repository=LATE), {"on_lost_slot": "reclone"},
        "reclone", f"MarkClone DropSlot CreateSlot {COPY_OVER}"),
    "slot lost, the archive has it, and a clone is allowed": (
        state(STOPPED, primary=WITHOUT, **ARCHIVED), {"on_lost_slot": "reclone"}, "configure", "DropSlot CreateSlot Start AwaitStreaming"),
    "absent, from the backup": (state(ABSENT, **ARCHIVED), FROM_BACKUP, "clone", RESTORE),
    "absent, no slot, from the backup": (
        state(ABSENT, primary={"slot": None}, **ARCHIVED), FROM_BACKUP, "clone", RESTORE.replace("MarkClone", "MarkClone CreateSlot")),
    "in place, from the backup": (
        state(ABSENT, **ARCHIVED), {**FROM_BACKUP, "strategy": "in_place"}, "clone", "MarkClone Restore WriteSettings Start AwaitStreaming RemoveMarker"),
    "a restore is still at work": (
        state(ABSENT, marker=COPYING, staging=True, orphans=3, **ARCHIVED), FROM_BACKUP,
        "clone", f"EndOrphans DiscardStaging {RESTORE.removeprefix('MarkClone ')}"),
    "restored, not yet in place": (state(ABSENT, marker=COPIED, staging=True, **ARCHIVED), FROM_BACKUP, "clone", AFTER_COPY),
    "begun from the primary, gone on from the backup": (
        state(ABSENT, marker=COPYING, staging=True, **ARCHIVED), FROM_BACKUP, "clone", f"DiscardStaging {RESTORE.removeprefix('MarkClone ')}"),
    "over data, from the backup": (
        state(FORKED, **ARCHIVED), {**FROM_BACKUP, "on_diverged": "reclone"}, "reclone", RECLONE.replace("Copy", "Restore")),
    "the only free sender is for the stream": (state(ABSENT, primary={"senders_free": 1}, **ARCHIVED), FROM_BACKUP, "clone", RESTORE),
    "streaming, and the archive knows a later timeline": (
        state(repository=replace(REPOSITORY, newest_wal="000000040000000000000004")), FROM_BACKUP, "none", ""),
    "streaming, and the repository is away": (state(repository=UNREACHABLE), FROM_BACKUP, "none", ""),
    "nothing is wrong": (
        state(), {"on_diverged": "reclone", "on_foreign": "reclone", "on_lost_slot": "reclone", "on_split_brain": "stop", "keep_replaced": False}, "none", ""),
}

STILL_REFUSED: dict[str, tuple[State, dict[str, str | bool], str]] = {
    "the repository is away": (
        state(ABSENT, repository=UNREACHABLE), FROM_BACKUP,
        "the backups of the stanza main cannot be read (unable to connect to '10.0.0.9:8432'): put pgBackRest right on this host, or set clone_from=primary"),
    "no stanza": (state(ABSENT, repository=replace(REPOSITORY, version=0)), FROM_BACKUP, "the repository has no stanza main: make it"),
    "the stanza of another system": (
        state(ABSENT, repository=replace(REPOSITORY, system_identifier=FOREIGN)), FROM_BACKUP,
        f"the stanza main is of another database system ({FOREIGN}; the primary"),
    "the stanza of another version": (
        state(ABSENT, repository=replace(REPOSITORY, version=15)), FROM_BACKUP, "the stanza main is of PostgreSQL 15, and version asks for 17"),
    "no backup": (state(ABSENT, repository=replace(REPOSITORY, backups=())), FROM_BACKUP, "the repository has no backup of the stanza main: take one"),
    "only backups of a timeline that was left": (
        state(ABSENT, repository=replace(REPOSITORY, backups=(replace(BACKUPS[0], stop_lsn="0/4000001"), replace(BACKUPS[1], stop_lsn="0/5000001")))),
        FROM_BACKUP, "from no backup of the stanza main WAL leads to timeline 3"),
    "nothing fetches WAL": (
        state(ABSENT, repository=REPOSITORY), FROM_BACKUP,
        'set restore_command in /etc/postgresql/17/main/conf.d to pgbackrest --stanza=main archive-get %f "%p", or'),
    "no sender for the stream": (state(ABSENT, primary={"senders_free": 0}, **ARCHIVED), FROM_BACKUP, "has 0 WAL senders free and a clone needs 1"),
    "a backup that the disk has no room for": (
        state(ABSENT, repository=replace(REPOSITORY, backups=(replace(BACKUPS[1], size=60 << 30),)), config={"restore_command": FETCH}), FROM_BACKUP,
        "the clone needs 62464 MiB"),
    "same timeline, was a primary": (state(EX_PRIMARY), {"on_diverged": "rewind"}, "set on_diverged=reclone"),
    "same timeline, past the primary": (state(PAST), {"on_diverged": "rewind"}, "set on_diverged=reclone"),
    "a rewind broke off": (state(STOPPED, marker=REWINDING), {"on_diverged": "rewind"}, "set on_diverged=reclone"),
    "no trace of hints": (state(replace(FORKED, hints_logged=False)), {"on_diverged": "rewind"}, "neither checksums nor wal_log_hints"),
    "rewind not permitted": (
        state(FORKED, primary={"rewind_denied": ("pg_stat_file(text, boolean)",)}), {"on_diverged": "rewind"},
        "GRANT EXECUTE ON FUNCTION pg_stat_file(text, boolean) TO replicator"),
    "no checkpoint, and none permitted": (
        state(FORKED, primary={"checkpoint_timeline": 2, "may_checkpoint": False}), {"on_diverged": "rewind"}, "GRANT pg_checkpoint TO replicator"),
    "full_page_writes off": (state(FORKED, primary={"full_page_writes": False}), {"on_diverged": "rewind"}, "full_page_writes is off"),
    "a rewind broke off in foreign data": (
        state(replace(STOPPED, system_identifier=FOREIGN), marker=REWINDING), {"on_diverged": "reclone"}, "set on_foreign=reclone"),
    "split brain, nothing said about the data": (state(replace(PRIMARY_HERE, timeline=2)), {"on_split_brain": "stop"}, "set on_diverged=rewind or reclone"),
    "split brain within one timeline": (
        state(PRIMARY_HERE), {"on_split_brain": "stop", "on_diverged": "reclone"}, "no timeline tells which one took over"),
    "split brain, this one is ahead": (
        state(replace(PRIMARY_HERE, timeline=4)), {"on_split_brain": "stop", "on_diverged": "reclone"}, "no timeline tells which one took over"),
    "a foreign primary that runs": (
        state(replace(PRIMARY_HERE, system_identifier=FOREIGN)), {"on_split_brain": "stop", "on_foreign": "reclone"}, "and of another database system"),
    "another major version": (state(replace(STOPPED, major=16)), {"on_foreign": "reclone", "on_diverged": "reclone"}, "holds PostgreSQL 16 data"),
    "no room beside the old data": (
        state(FORKED, disk_free=11 << 30), {"on_diverged": "reclone"}, "set strategy=in_place to remove the old data first"),
    "a mount point": (state(MOUNTED), {"on_diverged": "reclone"}, "is a mount point and cannot be renamed: set strategy=in_place"),
}
# fmt: on
