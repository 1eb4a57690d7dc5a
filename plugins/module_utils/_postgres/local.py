# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one cluster of this host looks like: its data, and the server that runs on them."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import system as host_system
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    Control,
    Data,
    Local,
    Place,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import System

QUESTION = """
SELECT json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'written_lsn', CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END,
  'written_file', CASE WHEN NOT pg_is_in_recovery() THEN pg_walfile_name(pg_current_wal_lsn()) END,
  'receive_lsn', pg_last_wal_receive_lsn(),
  'replay_lsn', pg_last_wal_replay_lsn(),
  'replay', CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END,
  'idle', (
    SELECT wait_event = 'RecoveryWalStream' FROM pg_stat_activity WHERE backend_type = 'startup'),
  'idle_slots', (
    SELECT coalesce(json_agg(slot_name ORDER BY slot_name), '[]') FROM pg_replication_slots
    WHERE slot_type = 'physical' AND NOT active AND NOT temporary),
  'busy_slots', (
    SELECT coalesce(json_agg(slot_name ORDER BY slot_name), '[]') FROM pg_replication_slots
    WHERE slot_type = 'physical' AND active AND NOT temporary),
  'receiver', (SELECT row_to_json(r) FROM pg_stat_wal_receiver r),
  'settings', (
    SELECT json_object_agg(name, setting) FROM pg_settings
    WHERE name IN ('config_file', 'data_directory', 'hot_standby', 'primary_conninfo', 'primary_slot_name',
      'max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions',
      'max_locks_per_transaction', 'restore_command')),
  'files', (
    SELECT coalesce(json_object_agg(name, json_build_array(setting, sourcefile)), '{}')
    FROM (SELECT DISTINCT ON (name) name, setting, sourcefile FROM pg_file_settings
          WHERE name IN ('primary_conninfo', 'primary_slot_name') ORDER BY name, seqno DESC) f)
)
"""

SECONDS_TO_ANSWER = 30
NO_ANSWER = "it did not answer in time"
# What is said of, or by, a server that runs and takes no questions now.
BUSY = (
    "starting up",
    "shutting down",
    "not yet accepting",
    "not accepting",
    "too many clients",
    "No such file",
    NO_ANSWER,
)


@dataclass(frozen=True)
class Postmaster:
    """What postmaster.pid says of a server that runs."""

    pid: int
    port: str
    socket_dir: str


class LocalCluster:
    """One cluster of this host, looked at and asked, never changed."""

    def __init__(self, place: Place, system: System) -> None:
        self.place = place
        self.system = system

    def observe(self, more: str = "") -> tuple[Local, dict[str, Any]]:
        """Return what is there, and what the server answered if it takes questions.

        More may be asked at once, by a statement that returns another JSON object.
        """
        path = self.place.data_dir
        local = Local(data=_classify(path), symlink=os.path.islink(path), mount_point=os.path.ismount(path))
        postmaster = self.postmaster()
        if local.data != "cluster":
            return replace(local, server="starting" if postmaster else "down"), {}
        # The server rewrites pg_control before it sets backup_label aside: read in the other order, a copy
        # that is just starting would pass for a primary.
        label = os.path.exists(f"{path}/backup_label")
        control = self.control()
        local = replace(
            local,
            server="starting" if postmaster else "down",
            major=int(host_system.read(f"{path}/PG_VERSION").strip()),
            system_identifier=control.system_identifier,
            timeline=control.timeline,
            lsn=control.lsn,
            replayed=control.lsn,
            control_state=control.state,
            control_limits=control.limits,
            hints_logged=control.hints_logged,
            backup_label=label,
            standby_signal=os.path.exists(f"{path}/standby.signal"),
            shutdown_end=self._shutdown_end(control),
            idle_slots=self._slots_on_disk(),
        )
        if postmaster is None:
            return local, {}
        question = f"SELECT ({QUESTION})::jsonb || ({more})::jsonb" if more else QUESTION
        if (answer := self.ask(postmaster, question)) is None:
            return local, {}
        receiver = text.receiver_from_row(answer["receiver"])
        names = ("written_lsn", "receive_lsn", "replay_lsn")
        written, received, replayed = (text.lsn_from_text(answer[name]) for name in names)
        return replace(
            local,
            server="up",
            in_recovery=answer["in_recovery"],
            replay=answer["replay"] or "not paused",
            # pg_control has the one of the last checkpoint, both after a promotion and on a standby that has
            # followed one.
            timeline=max(
                control.timeline,
                self._received_timeline(max(received, replayed), control.segment_size),
                receiver.timeline if receiver else 0,
                int((answer["written_file"] or "0")[:8], 16),
            ),
            lsn=max(written, received, replayed) or control.lsn,
            replayed=max(written, replayed) or control.lsn,
            receiver=receiver,
            idle_slots=tuple(answer["idle_slots"]),
            busy_slots=tuple(answer["busy_slots"]),
            conninfo=answer["settings"]["primary_conninfo"],
            slot=answer["settings"]["primary_slot_name"],
        ), answer

    def _received_timeline(self, position: int, segment_size: int) -> int:
        """Return the timeline of the newest WAL file that holds a position: no SQL tells it on a standby."""
        name = text.wal_file(position, segment_size)
        files = Path(self.place.data_dir, "pg_wal").glob(f"*{name}")
        return max((int(path.name[:8], 16) for path in files if position), default=0)

    def _slots_on_disk(self) -> tuple[str, ...]:
        """Return the physical slots that a server which takes no questions has."""
        found = []
        for state in sorted(Path(self.place.data_dir, "pg_replslot").glob("*/state")):
            with suppress(FileNotFoundError):  # one that was dropped meanwhile
                if text.slot_is_physical(state.read_bytes()):
                    found.append(state.parent.name)
        return tuple(found)

    def control(self) -> Control:
        return text.control_from_text(self.run("pg_controldata", self.place.data_dir))

    def _shutdown_end(self, control: Control) -> int:
        """Where a former primary stopped writing, if it was shut down in good order; 0 if not known."""
        if control.state != "shut down":
            return 0
        position = text.lsn_to_text(control.checkpoint_lsn)
        argv = [f"{self.place.bin_dir}/pg_waldump", "-n", "1", "-s", position]
        # The file itself: given the folder, it looks into any file there, and fails on an empty one.
        file = text.wal_file(control.checkpoint_lsn + 1, control.segment_size)
        argv.append(f"{self.place.data_dir}/pg_wal/{control.checkpoint_timeline:08X}{file}")
        # Without the WAL of its last checkpoint there is no telling, and it counts as diverged.
        said = self.system.run(argv, timeout=60).stdout
        return text.shutdown_end(control.checkpoint_lsn, said, control.segment_size)

    def postmaster(self) -> Postmaster | None:
        """Find the server that runs on the data directory."""
        path = self.place.data_dir
        lines = host_system.read_or_empty(f"{path}/postmaster.pid").splitlines()
        try:
            # A server works in its data directory: that tells it from a process that took over its number.
            pid = int(lines[0])
            here = os.readlink(f"/proc/{pid}/cwd")
        except (IndexError, ValueError, OSError):
            return None
        if here != os.path.realpath(path):
            return None
        return Postmaster(pid, *(lines[3:5] if len(lines) > 4 else ("", "")))

    def accepts(self) -> bool:
        """Tell by its own note whether the server takes connections, sooner than what started it does."""
        lines = host_system.read_or_empty(f"{self.place.data_dir}/postmaster.pid").splitlines()
        return self.postmaster() is not None and len(lines) > 7 and lines[7].strip() == "ready"

    def ask(self, server: Postmaster, question: str = QUESTION, **variables: object) -> dict[str, Any] | None:
        """Ask the running server over its socket; None while it takes no questions."""
        done = self.psql(server, question, **variables)
        if done.returncode == 0:
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer
        if any(word in done.stderr for word in BUSY) or not server.port:
            return None
        raise Refusal(
            f"{self.system.host}: the running server cannot be asked over its socket "
            f"({text.first_line(done.stderr)}): let pg_hba.conf have the line local all postgres peer."
        )

    def psql(
        self, server: Postmaster, statement: str, **variables: object
    ) -> subprocess.CompletedProcess[str]:
        """Run a statement; :'name' in it stands for a variable, which psql quotes."""
        argv = [f"{self.place.bin_dir}/psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]
        given = [part for name, value in variables.items() for part in ("-v", f"{name}={value}")]
        target = ["-h", server.socket_dir, "-p", server.port]
        try:
            return self.system.run([*argv, *given, *target], feed=statement, timeout=SECONDS_TO_ANSWER)
        except subprocess.TimeoutExpired:
            # A server that was frozen, or cannot keep up, still takes the connection.
            return subprocess.CompletedProcess(argv, 1, "", NO_ANSWER)

    def demand(self, question: str) -> dict[str, Any]:
        """Ask the running server, which must answer."""
        server = self.postmaster()
        answer = self.ask(server, question) if server else None
        if answer is None:
            raise Refusal(f"{self.system.host}: {self.place.name} takes no questions any more: run again.")
        return answer

    def run(self, program: str, *arguments: str, timeout: float = 60) -> str:
        """Run one of the server's programs, which must succeed."""
        done = self.system.run([f"{self.place.bin_dir}/{program}", *arguments], timeout=timeout)
        if done.returncode:
            raise Refusal(f"{self.system.host}: {program} said: {text.first_line(done.stderr)}.")
        return done.stdout

    def setting(self, name: str, config_file: str) -> str:
        """Let the server itself say what it makes of its files, includes and postgresql.auto.conf."""
        return self.run("postgres", *_asking_for(name, config_file)).strip()

    def try_setting(self, name: str, config_file: str) -> subprocess.CompletedProcess[str]:
        """Do the same where the files may be wrong, which is an answer too."""
        return self.system.run(
            [f"{self.place.bin_dir}/postgres", *_asking_for(name, config_file)], timeout=60
        )


def _asking_for(name: str, config_file: str) -> list[str]:
    # -C wants to know of an access file, and reads none.
    options = [f"config_file={config_file}", "hba_file=/dev/null", "ident_file=/dev/null"]
    return ["-C", name, *(part for option in options for part in ("-c", option))]


def _classify(path: str) -> Data:
    if not os.path.lexists(path):
        return "absent"
    if not os.path.isdir(path):
        return "unknown"
    names = os.listdir(path)
    if not names:
        return "empty"
    if os.path.exists(f"{path}/global/pg_control"):
        return "cluster"
    # A base backup brings this first and pg_control last.
    return "partial" if "backup_label" in names else "unknown"
