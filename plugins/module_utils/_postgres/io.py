# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that is to become, or stay, a standby: observing it, and doing what the steps ask."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import system as host_system
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.facts import follows, settings_in_force
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    MATCHED_SETTINGS,
    Config,
    Data,
    Desired,
    Local,
    Marker,
    Registration,
    State,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.primary import PrimaryServer
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import Process, Service, System

UPSTREAM = ("primary_conninfo", "primary_slot_name")
SECONDS_TO_RELOAD = 15
SECONDS_TO_FREE_A_SLOT = 75  # a walsender notices a dead client after wal_sender_timeout, 60 s by default

QUESTION = """
SELECT json_build_object(
  'in_recovery', pg_is_in_recovery(),
  'receive_lsn', pg_last_wal_receive_lsn(),
  'replay_lsn', pg_last_wal_replay_lsn(),
  'replay', CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() END,
  'idle', (
    SELECT wait_event = 'RecoveryWalStream' FROM pg_stat_activity WHERE backend_type = 'startup'),
  'receiver', (SELECT row_to_json(r) FROM pg_stat_wal_receiver r),
  'settings', (
    SELECT json_object_agg(name, setting) FROM pg_settings
    WHERE name IN ('config_file', 'data_directory', 'hot_standby', 'primary_conninfo', 'primary_slot_name',
      'max_connections', 'max_worker_processes', 'max_wal_senders', 'max_prepared_transactions',
      'max_locks_per_transaction')),
  'files', (
    SELECT coalesce(json_object_agg(name, json_build_array(setting, sourcefile)), '{}')
    FROM (SELECT DISTINCT ON (name) name, setting, sourcefile FROM pg_file_settings
          WHERE name IN ('primary_conninfo', 'primary_slot_name') ORDER BY name, seqno DESC) f)
)
"""


@dataclass(frozen=True)
class Postmaster:
    """What postmaster.pid says of a server that runs."""

    pid: int
    port: str
    socket_dir: str


class Host:
    """One cluster of this host and the primary it is to follow."""

    def __init__(
        self,
        desired: Desired,
        *,
        system: System | None = None,
        service: Service | None = None,
        primary: PrimaryServer | None = None,
    ) -> None:
        self.desired = desired
        self.system = system or System()
        self.service = service or host_system.service_for(self.system, desired)
        self.primary = primary or PrimaryServer(self.system.host, desired)
        self.copied_bytes = 0

    def alone(self) -> contextlib.AbstractContextManager[None]:
        return self.system.alone(self.desired.data_dir)

    # -- observing

    def observe(self) -> State:
        """Look at this host first: its position must not have moved past the primary's in the meantime."""
        desired = self.desired
        local, answer = self._local()
        config = self._config(answer)
        marker, _note = self._marker()
        staging = os.path.lexists(desired.staging)
        disk = os.statvfs(host_system.existing_ancestor(desired.data_dir))
        reclaimable = host_system.tree_size(desired.staging) if marker and staging else 0
        return State(
            host=self.system.host,
            local=local,
            config=config,
            primary=self.primary.observe(),
            marker=marker,
            staging=staging,
            orphans=len(self._orphans()),
            passfile=desired.replication_password is None
            or self.system.holds(desired.passfile, text.passfile(desired), 0o600),
            disk_total=disk.f_blocks * disk.f_frsize,
            disk_free=disk.f_bavail * disk.f_frsize + reclaimable,
        )

    def _local(self) -> tuple[Local, dict[str, Any]]:
        path = self.desired.data_dir
        local = Local(data=_classify(path), symlink=os.path.islink(path), mount_point=os.path.ismount(path))
        postmaster = self._postmaster()
        if local.data != "cluster":
            return replace(local, server="starting" if postmaster else "down"), {}
        # The server rewrites pg_control before it sets backup_label aside: read in the other order, a copy
        # that is just starting would pass for a primary.
        label = os.path.exists(f"{path}/backup_label")
        control = text.control_from_text(self._run_pg("pg_controldata", path))
        local = replace(
            local,
            server="starting" if postmaster else "down",
            major=int(host_system.read(f"{path}/PG_VERSION").strip()),
            system_identifier=control.system_identifier,
            timeline=control.timeline,
            lsn=control.lsn,
            control_state=control.state,
            backup_label=label,
            standby_signal=os.path.exists(f"{path}/standby.signal"),
        )
        if postmaster is None or (answer := self._ask(postmaster)) is None:
            return local, {}
        receiver = text.receiver_from_row(answer["receiver"])
        positions = (answer["receive_lsn"], answer["replay_lsn"])
        return replace(
            local,
            server="up",
            in_recovery=answer["in_recovery"],
            replay=answer["replay"] or "not paused",
            timeline=max(control.timeline, receiver.timeline if receiver else 0),
            lsn=max(map(text.lsn_from_text, positions)) or control.lsn,
            receiver=receiver,
            conninfo=answer["settings"]["primary_conninfo"],
            slot=answer["settings"]["primary_slot_name"],
        ), answer

    def _postmaster(self) -> Postmaster | None:
        """Find the server that runs on the data directory."""
        path = self.desired.data_dir
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

    def _ask(self, server: Postmaster) -> dict[str, Any] | None:
        """Ask the running server over its socket; None while it takes no questions."""
        argv = [f"{self.desired.bin_dir}/psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]
        target = ["-h", server.socket_dir, "-p", server.port]
        done = self.system.run([*argv, *target], feed=QUESTION, timeout=30)
        if done.returncode == 0:
            answer: dict[str, Any] = json.loads(done.stdout)
            return answer
        busy = ("starting up", "shutting down", "not yet accepting", "not accepting", "No such file")
        if any(word in done.stderr for word in busy) or not server.port:
            return None
        raise Refusal(
            f"{self.system.host}: the running server cannot be asked over its socket "
            f"({text.first_line(done.stderr)}): let pg_hba.conf have the line local all postgres peer."
        )

    def _config(self, answer: dict[str, Any]) -> Config:
        desired = self.desired
        config = Config(
            registration="missing",
            owned=self.system.holds(desired.settings_file, text.settings_file(desired), 0o640),
            auto_clean=not text.OWNED_LINE.search(host_system.read_or_empty(self._auto_conf)),
        )
        if answer:
            settings, files = answer["settings"], answer["files"]
            values = {name: settings[name] for name in (*MATCHED_SETTINGS, "hot_standby", "data_directory")}
            values |= {name: files.get(name, ("", ""))[0] for name in UPSTREAM}
            config = replace(config, source=next((files[name][1] for name in UPSTREAM if name in files), ""))
            registered = settings["config_file"] == desired.config_file
            config = replace(config, registration="done" if registered else "elsewhere")
        elif os.path.exists(desired.config_file):
            values = self._configured(desired.config_file)
            config = replace(config, registration=self._registration(values["data_directory"]))
        else:
            values = self._configured_before_registration()
        return replace(
            config,
            data_directory=values["data_directory"],
            conninfo=values["primary_conninfo"],
            slot=values["primary_slot_name"],
            hot_standby=values["hot_standby"] == "on",
            limits=tuple((name, int(values[name])) for name in MATCHED_SETTINGS),
        )

    def _registration(self, data_directory: str) -> Registration:
        found = os.path.realpath(data_directory)
        if found == os.path.realpath(self.desired.data_dir):
            return "done"
        return "half" if found == os.path.realpath(self.desired.scratch) else "elsewhere"

    def _configured(self, config_file: str) -> dict[str, str]:
        """Let the server itself say what it makes of its files, includes and postgresql.auto.conf."""
        names = ("data_directory", "hot_standby", *UPSTREAM, *MATCHED_SETTINGS)
        # -C wants to know of an access file, and reads none.
        options = [f"config_file={config_file}", "hba_file=/dev/null", "ident_file=/dev/null"]
        arguments = [part for option in options for part in ("-c", option)]
        return {name: self._run_pg("postgres", "-C", name, *arguments).strip() for name in names}

    def _configured_before_registration(self) -> dict[str, str]:
        """Foretell the settings of a cluster that is yet to be registered: conf.d may be there already."""
        desired = self.desired
        folder = os.path.dirname(desired.settings_file)
        lines = [f"data_directory = {text.setting_literal(desired.scratch)}"]
        if os.path.isdir(folder):
            lines.append(f"include_dir = {text.setting_literal(folder)}")
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".conf") as file:
            file.write("\n".join(lines) + "\n")
            file.flush()
            # Nothing in it is secret, and the server's owner has to read it.
            os.chmod(file.name, 0o644)
            return self._configured(file.name)

    def _run_pg(self, program: str, *arguments: str) -> str:
        done = self.system.run([f"{self.desired.bin_dir}/{program}", *arguments], timeout=60)
        if done.returncode:
            raise Refusal(f"{self.system.host}: {program} said: {text.first_line(done.stderr)}.")
        return done.stdout

    @property
    def _auto_conf(self) -> str:
        return f"{self.desired.data_dir}/postgresql.auto.conf"

    # -- the marker, and the processes it records

    def _marker(self) -> tuple[Marker | None, dict[str, Any]]:
        content = host_system.read_or_empty(self.desired.marker)
        if not content:
            return None, {}
        try:
            note: dict[str, Any] = json.loads(content)
            return Marker(note["phase"], note["system_identifier"], note["slot"], note["slot_lsn"]), note
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(
                f"{self.system.host}: {self.desired.marker} cannot be read: if no clone is "
                "under way, remove it and "
                f"{self.desired.staging}, and run again."
            ) from error

    def _write_note(self, marker: Marker, processes: tuple[Process, ...] = ()) -> None:
        note = {
            "phase": marker.phase,
            "system_identifier": marker.system_identifier,
            "slot": marker.slot,
            "slot_lsn": marker.slot_lsn,
            "boot": host_system.boot_id(),
            "processes": [[process.pid, process.started] for process in processes],
        }
        self.system.write(self.desired.marker, json.dumps(note) + "\n", 0o600)

    def _orphans(self) -> tuple[Process, ...]:
        _marker, note = self._marker()
        if note.get("boot") != host_system.boot_id():
            return ()
        recorded = [Process(pid, started) for pid, started in note["processes"]]
        living = {process for process in recorded if process.lives()}
        # The first one leads the session; while it lives, a child it made since belongs to us too.
        if recorded and recorded[0] in living:
            living.update(recorded[0].session())
        return tuple(sorted(living, key=lambda process: process.pid))

    def write_marker(self, marker: Marker) -> None:
        self._write_note(marker)

    def remove_marker(self) -> None:
        os.unlink(self.desired.marker)
        host_system.sync_dir(os.path.dirname(self.desired.marker))

    def end_orphans(self) -> None:
        host_system.end(self._orphans())
        self._await_free_slot()

    # -- preparing

    def register(self) -> None:
        """Have Debian's tool write the configuration, around a cluster that is thrown away.

        Given an existing data directory the tool wants the configuration files in it, which a base backup of
        a Debian primary does not have, and when it fails it drops the cluster. So it never sees our data.
        """
        desired = self.desired
        name = [str(desired.version), desired.cluster]
        if not os.path.exists(desired.config_file):
            host_system.remove_tree(desired.scratch)
            self.system.make_dir(os.path.dirname(desired.data_dir))
            self._debian("pg_createcluster", *name, "-d", desired.scratch)
        self._debian("pg_conftool", *name, "set", "data_directory", desired.data_dir)
        host_system.remove_tree(desired.scratch)

    def _debian(self, program: str, *arguments: str) -> None:
        done = self.system.run([f"/usr/bin/{program}", *arguments], as_root=True)
        if done.returncode:
            raise Refusal(f"{self.system.host}: {program} said: {text.first_line(done.stderr)}.")

    def write_passfile(self) -> None:
        self.system.write(self.desired.passfile, text.passfile(self.desired), 0o600)

    def create_slot(self) -> None:
        self.primary.create_slot()

    # -- cloning

    def discard_staging(self) -> None:
        host_system.remove_tree(self.desired.staging)

    def copy(self) -> None:
        desired = self.desired
        marker, _note = self._marker()
        if marker is None:
            raise Refusal(f"{self.system.host}: {desired.marker} has vanished: run again.")
        self.system.make_dir(os.path.dirname(desired.staging))
        self.system.make_dir(desired.staging, 0o700)
        with tempfile.TemporaryFile() as errors:
            process = self.system.start_gated(self._base_backup(), errors)
            with host_system.ended_on_exit(process) as leader:
                self._write_note(marker, (leader,))
                self.system.open_gate(process)
                self._watch(process, leader, marker)
            errors.seek(0)
            complaint = errors.read().decode(errors="replace")
        if process.returncode:
            last = complaint.strip().splitlines()[-1:] or ["it was ended"]
            raise Refusal(f"{self.system.host}: the base backup of {desired.primary} failed: {last[0]}.")
        self.copied_bytes = host_system.tree_size(desired.staging)
        # A standby before it gets its name: so it can never be started as a second primary.
        self._make_standby(desired.staging)
        slot_lsn = self._await_free_slot()
        self._write_note(replace(marker, phase="copied", slot_lsn=slot_lsn))

    def _base_backup(self) -> list[str]:
        desired = self.desired
        source = text.conninfo(desired, application_name="pg_basebackup", keepalives_idle="30")
        argv = [f"{desired.bin_dir}/pg_basebackup", "-d", source, "-D", desired.staging, "-X", "stream"]
        argv += ["-S", desired.slot, f"--checkpoint={desired.checkpoint}", "--no-password"]
        return argv + ([f"--max-rate={desired.max_rate}"] if desired.max_rate else [])

    def _watch(self, process: subprocess.Popen[bytes], leader: Process, marker: Marker) -> None:
        """Wait for the base backup, and record the child it makes for the WAL."""
        recorded: tuple[Process, ...] = (leader,)
        while process.poll() is None:
            children = tuple(member for member in leader.session() if member != leader)
            if (leader, *children) != recorded:
                recorded = (leader, *children)
                self._write_note(marker, recorded)
            time.sleep(0.2)

    def _await_free_slot(self) -> int:
        """Wait until the primary has noticed that the slot's client is gone; return where its WAL begins."""
        deadline = time.monotonic() + SECONDS_TO_FREE_A_SLOT
        while True:
            slot = self.primary.slot()
            if slot is None or not slot.active:
                return slot.restart_lsn if slot else 0
            if time.monotonic() > deadline:
                raise Refusal(
                    f"{self.system.host}: slot={self.desired.slot} on {self.desired.primary} stays in use by "
                    f"{slot.holder or 'a client that may not be named'}: end that client, and run again."
                )
            time.sleep(0.2)

    def _make_standby(self, data_dir: str) -> None:
        auto_conf = f"{data_dir}/postgresql.auto.conf"
        before = host_system.read_or_empty(auto_conf)
        if (after := text.without_upstream(before)) != before:
            self.system.write(auto_conf, after, 0o600)
        if not os.path.exists(f"{data_dir}/standby.signal"):
            self.system.write(f"{data_dir}/standby.signal", "", 0o600)

    def swap(self) -> None:
        desired = self.desired
        if os.path.isdir(desired.data_dir):
            if os.listdir(desired.data_dir):
                os.rename(desired.data_dir, f"{desired.data_dir}.old-{time.strftime('%Y%m%dT%H%M%S')}")
            else:
                os.rmdir(desired.data_dir)
        os.rename(desired.staging, desired.data_dir)
        host_system.sync_dir(os.path.dirname(desired.data_dir))

    # -- running

    def write_settings(self) -> None:
        desired = self.desired
        self.system.write(desired.settings_file, text.settings_file(desired), 0o640)
        self._make_standby(desired.data_dir)

    def start(self) -> None:
        self.service.start()

    def reload(self) -> None:
        def in_force() -> str | None:
            local, _socket = self._local()
            # While it is starting it cannot be asked; the wait for streaming proves it instead.
            told = local.server != "up" or settings_in_force(local, self.desired)
            return None if told else "the new settings are not in force"

        if postmaster := self._postmaster():
            os.kill(postmaster.pid, signal.SIGHUP)
        self._until(in_force, SECONDS_TO_RELOAD)

    def await_streaming(self) -> None:
        """Wait until the standby has received and replayed what the primary had written when we began."""
        target = self.primary.observe().lsn

        def arrived() -> str | None:
            found = self._postmaster()
            if found is None:
                return "the server has stopped"
            answer = self._ask(found)
            if answer is None:
                return "the server takes no questions yet"
            receiver = text.receiver_from_row(answer["receiver"])
            if receiver is None or receiver.status != "streaming" or not follows(receiver, self.desired):
                return f"the WAL receiver is {receiver.status if receiver else 'not running'}"
            received = text.lsn_from_text(answer["receive_lsn"])
            replayed = text.lsn_from_text(answer["replay_lsn"])
            # What was flushed may end inside a record; replay is then done when it waits for the rest.
            if received < target or (replayed < target and not answer["idle"]):
                return f"it has replayed {text.lsn_to_text(replayed)} of {text.lsn_to_text(target)}"
            return None

        self._until(arrived, self.desired.timeout)

    def _until(self, wanting: Callable[[], str | None], seconds: float) -> None:
        desired, log = self.desired, self.service.log
        offset, deadline = host_system.size_of(log), time.monotonic() + seconds
        while (reason := wanting()) is not None:
            if time.monotonic() > deadline:
                said = text.last_complaint(host_system.read_from(log, offset))
                raise Refusal(
                    f"{self.system.host}: after {seconds:g} s PostgreSQL "
                    f"{desired.version}/{desired.cluster} does not "
                    f"follow {desired.primary}: "
                    f"{reason}{f', and its log says: {said}' if said else ''} (see {log})."
                )
            time.sleep(0.3)


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
