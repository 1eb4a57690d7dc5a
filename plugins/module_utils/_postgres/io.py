# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that is to become, or stay, a standby: observing it, and doing what the steps ask."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Impossible, Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import backups_io, text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import system as host_system
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.backups import Backup, Repository
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.facts import (
    BASE_BACKUP,
    follows,
    settings_in_force,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.local import LocalCluster
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    MATCHED_SETTINGS,
    Config,
    Desired,
    Local,
    Marker,
    Registration,
    State,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.notes import Notes, Progress
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.primary import PrimaryServer
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import Service, System

UPSTREAM = ("primary_conninfo", "primary_slot_name")
READ = ("data_directory", "hot_standby", "restore_command", *UPSTREAM, *MATCHED_SETTINGS)
SECONDS_TO_RELOAD = 15
SECONDS_TO_VANISH = 15
SECONDS_TO_FREE_A_SLOT = 75  # a walsender notices a dead client after wal_sender_timeout, 60 s by default


class Host:
    """One cluster of this host and the primary it is to follow."""

    def __init__(
        self,
        desired: Desired,
        *,
        check_mode: bool = False,
        system: System | None = None,
        service: Service | None = None,
        primary: PrimaryServer | None = None,
    ) -> None:
        self.desired = desired
        self.system = system or System()
        self.service = service or host_system.service_for(self.system, desired, desired.timeout)
        self.primary = primary or PrimaryServer(self.system.host, desired, check_mode=check_mode)
        self.local = LocalCluster(desired, self.system)
        self.notes = Notes(desired, self.system)
        self.copied_bytes = 0
        self.replaced = ""

    def alone(self) -> contextlib.AbstractContextManager[None]:
        return self.system.alone(self.desired.data_dir)

    # -- observing

    def observe(self) -> State:
        """Look at this host first: its position must not have moved past the primary's in the meantime."""
        desired = self.desired
        local, answer = self.local.observe()
        config = self._config(answer)
        marker = self.notes.marker()
        if local.data == "unknown" and marker and marker.in_place and marker.phase == "copying":
            local = replace(local, data="partial")  # a run that was killed while it removed the old data
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
            orphans=len(self.notes.orphans()),
            passfile=desired.replication_password is None
            or self.system.holds(desired.passfile, text.passfile(desired), 0o600),
            disk_total=disk.f_blocks * disk.f_frsize,
            disk_free=disk.f_bavail * disk.f_frsize + reclaimable,
            data_size=host_system.tree_size(desired.data_dir) if desired.in_place else 0,
            repository=self._repository(local, config),
        )

    def _repository(self, local: Local, config: Config) -> Repository | None:
        """Ask for backups where they are to be cloned, and for WAL where the standby may have to fetch it."""
        if self.desired.from_backup:
            return backups_io.look(self.system, self.desired.pgbackrest_stanza)
        stanza = text.archive_stanza(config.restore_command)
        streaming = local.receiver is not None and local.receiver.status == "streaming"
        return backups_io.look(self.system, stanza) if stanza and not streaming else None

    def _config(self, answer: dict[str, Any]) -> Config:
        desired = self.desired
        config = Config(
            registration="missing",
            owned=self.system.holds(desired.settings_file, text.settings_file(desired), 0o640),
            auto_clean=not text.OWNED_LINE.search(host_system.read_or_empty(self._auto_conf)),
        )
        if answer:
            settings, files = answer["settings"], answer["files"]
            values = {name: settings[name] for name in READ}
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
            restore_command=values["restore_command"],
            limits=tuple((name, int(values[name])) for name in MATCHED_SETTINGS),
        )

    def _registration(self, data_directory: str) -> Registration:
        found = os.path.realpath(data_directory)
        if found == os.path.realpath(self.desired.data_dir):
            return "done"
        return "half" if found == os.path.realpath(self.desired.scratch) else "elsewhere"

    def _configured(self, config_file: str) -> dict[str, str]:
        return {name: self.local.setting(name, config_file) for name in READ}

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

    @property
    def _auto_conf(self) -> str:
        return f"{self.desired.data_dir}/postgresql.auto.conf"

    # -- the note

    def write_marker(self, marker: Marker) -> None:
        self.notes.write(marker)

    def remove_marker(self) -> None:
        self.notes.remove()

    def end_orphans(self) -> None:
        host_system.end(self.notes.orphans())
        self.await_free_slot()

    def _marker(self) -> Marker:
        if (marker := self.notes.marker()) is None:
            raise Refusal(f"{self.system.host}: {self.desired.marker} has vanished: run again.")
        return marker

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

    def drop_slot(self) -> None:
        self.await_free_slot()
        self.primary.drop_slot()

    # -- cloning

    def discard_staging(self) -> None:
        host_system.remove_tree(self.desired.staging)

    def empty_data(self) -> None:
        host_system.empty_dir(self.desired.data_dir)

    def copy(self) -> None:
        primary = self.desired.primary
        self._copy(self._base_backup(), self.primary.observe().size, f"the base backup of {primary}")

    def restore(self, backup: Backup) -> None:
        stanza, target = self.desired.pgbackrest_stanza, self.desired.copy_target
        words = (f"--pg1-path={target}", f"--set={backup.label}", "--type=standby", "restore")
        called = f"the restore of the backup {backup.label} of {stanza}"
        self._copy(backups_io.command(stanza, *words), backup.size, called)

    def _copy(self, argv: list[str], total: int, called: str) -> None:
        desired, marker = self.desired, self._marker()
        target = desired.copy_target
        self.system.make_dir(os.path.dirname(target))
        self.system.make_dir(target, 0o700)
        status, said = self.notes.run(argv, marker, lambda: Progress(host_system.tree_size(target), total))
        if status:
            raise Refusal(f"{self.system.host}: {called} failed: {said}.")
        self.copied_bytes = host_system.tree_size(target)
        # A standby before it gets its name: so it can never be started as a second primary.
        self._make_standby(target, restored=self.desired.from_backup)
        slot_lsn = self.await_free_slot()
        self.notes.write(replace(marker, phase="copied", slot_lsn=slot_lsn))

    def _base_backup(self) -> list[str]:
        desired = self.desired
        source = text.conninfo(desired, application_name=BASE_BACKUP, keepalives_idle="30")
        argv = [f"{desired.bin_dir}/pg_basebackup", "-d", source, "-D", desired.copy_target, "-X", "stream"]
        argv += ["-S", desired.slot, f"--checkpoint={desired.checkpoint}", "--no-password"]
        return argv + ([f"--max-rate={desired.max_rate}"] if desired.max_rate else [])

    def await_free_slot(self) -> int:
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

    def _make_standby(self, data_dir: str, *, restored: bool = False) -> None:
        auto_conf = f"{data_dir}/postgresql.auto.conf"
        before = host_system.read_or_empty(auto_conf)
        after = text.without_upstream(before)
        if restored:
            after = text.without_recovery(after)
        if after != before:
            self.system.write(auto_conf, after, 0o600)
        if not os.path.exists(f"{data_dir}/standby.signal"):
            self.system.write(f"{data_dir}/standby.signal", "", 0o600)

    def swap(self) -> None:
        desired = self.desired
        if os.path.isdir(desired.data_dir):
            if os.listdir(desired.data_dir):
                aside = f"{desired.data_dir}.old-{time.strftime('%Y%m%dT%H%M%S')}"
                self.notes.write(replace(self._marker(), replaced=aside))
                os.rename(desired.data_dir, aside)
                self.replaced = aside
            else:
                os.rmdir(desired.data_dir)
        os.rename(desired.staging, desired.data_dir)
        host_system.sync_dir(os.path.dirname(desired.data_dir))

    def remove_replaced(self) -> None:
        marker = self._marker()
        # The note may have been edited; what is removed is only ever a name that this module gives.
        if not marker.replaced.startswith(f"{self.desired.data_dir}.old-"):
            raise Impossible("the name of the data that were set aside")
        host_system.remove_tree(marker.replaced)
        self.notes.write(replace(marker, replaced=""))
        self.replaced = ""

    def drop_idle_slots(self, names: tuple[str, ...]) -> None:
        listed = ", ".join(text.setting_literal(name) for name in names)
        # One that has come into use meanwhile is left alone.
        question = (
            "SELECT json_agg(pg_drop_replication_slot(slot_name)) FROM pg_replication_slots "  # noqa: S608  # quoted
            f"WHERE slot_type = 'physical' AND NOT active AND slot_name IN ({listed})"
        )
        if server := self.local.postmaster():
            self.local.ask(server, question)

    # -- rewinding

    def rewind(self, marker: Marker) -> None:
        """Undo what the primary does not have. From the first change to the end the data are of no use."""
        desired = self.desired
        primary = self.primary.observe()
        if primary.checkpoint_timeline < primary.timeline:
            # pg_rewind reads the timeline from the last checkpoint, which may be from before the promotion.
            self.primary.checkpoint()
        self._recover_alone()
        source = text.conninfo(desired, application_name="pg_rewind", dbname="postgres")
        argv = [f"{desired.bin_dir}/pg_rewind", "-D", desired.data_dir, f"--source-server={source}"]
        argv.append(f"--config-file={desired.config_file}")
        tried = self.system.run([*argv, "--dry-run"])
        if tried.returncode:
            raise Refusal(
                f"{self.system.host}: pg_rewind cannot rewind {desired.data_dir} onto {desired.primary} "
                f"({text.last_error(tried.stderr)}): nothing was changed; set on_diverged=reclone."
            )
        status, said = self.notes.run(argv, marker)
        if status:
            raise Refusal(
                f"{self.system.host}: pg_rewind failed half-way, and {desired.data_dir} is of no use any "
                f"more ({said}): set on_diverged=reclone, and run again."
            )
        self._make_standby(desired.data_dir)
        self.notes.write(replace(marker, phase="rewound"))

    def _recover_alone(self) -> None:
        """Bring a server that crashed to an end in good order, without letting anybody in.

        pg_rewind would do so itself, but not in the dry run that comes first.
        """
        if self.local.control().state in ("shut down", "shut down in recovery"):
            return
        desired = self.desired
        self._await_vacancy()
        single = ["--single", "-F", "-D", desired.data_dir, "-c", f"config_file={desired.config_file}"]
        self.local.run("postgres", *single, "template1", timeout=desired.timeout)

    def _await_vacancy(self) -> None:
        """Wait until nobody has the number of the server that was killed: PostgreSQL takes it to run yet.

        It is only given up when the process that started the server takes notice, and its children end.
        """
        lock = f"{self.desired.data_dir}/postmaster.pid"
        number = host_system.read_or_empty(lock).partition("\n")[0].strip()
        deadline = time.monotonic() + SECONDS_TO_VANISH
        while number and self.system.owns_process(number):
            if time.monotonic() > deadline:
                raise Refusal(
                    f"{self.system.host}: {lock} names process {number}, which runs: end it, or, if it is no "
                    "server of these data, remove that file, and run again."
                )
            time.sleep(0.1)

    # -- running

    def write_settings(self) -> None:
        desired = self.desired
        self.system.write(desired.settings_file, text.settings_file(desired), 0o640)
        self._make_standby(desired.data_dir)

    def start(self) -> None:
        self.service.start()

    def stop(self) -> None:
        """Stop the server in good order, clients or not."""
        self.service.stop()

    def reload(self) -> None:
        def in_force() -> str | None:
            local, _answer = self.local.observe()
            # While it is starting it cannot be asked; the wait for streaming proves it instead.
            told = local.server != "up" or settings_in_force(local, self.desired)
            return None if told else "the new settings are not in force"

        if postmaster := self.local.postmaster():
            os.kill(postmaster.pid, signal.SIGHUP)
        self._until(in_force, SECONDS_TO_RELOAD)

    def await_streaming(self) -> None:
        """Wait until the standby has received and replayed what the primary had written when we began.

        As long as it comes nearer, by WAL from an archive, it is given more time.
        """
        target = self.primary.observe().lsn
        reached = 0

        def arrived() -> str | None:
            nonlocal reached
            found = self.local.postmaster()
            if found is None:
                return "the server has stopped"
            answer = self.local.ask(found)
            if answer is None:
                return "the server takes no questions yet"
            reached = min(text.lsn_from_text(answer["replay_lsn"]), target)
            receiver = text.receiver_from_row(answer["receiver"])
            if receiver is None or receiver.status != "streaming" or not follows(receiver, self.desired):
                return f"the WAL receiver is {receiver.status if receiver else 'not running'}"
            replayed = text.lsn_from_text(answer["replay_lsn"])
            # What it has had before it started does not count as received, until more is written there.
            received = max(text.lsn_from_text(answer["receive_lsn"]), replayed)
            # What was flushed may end inside a record; replay is then done when it waits for the rest.
            if received < target or (replayed < target and not answer["idle"]):
                return f"it has replayed {text.lsn_to_text(replayed)} of {text.lsn_to_text(target)}"
            return None

        self._until(arrived, self.desired.timeout, lambda: reached)

    def _until(
        self, wanting: Callable[[], str | None], seconds: float, progress: Callable[[], int] = lambda: 0
    ) -> None:
        desired, log = self.desired, self.service.log
        offset, deadline = host_system.size_of(log), time.monotonic() + seconds
        before = progress()
        while (reason := wanting()) is not None:
            if (now := progress()) > before:
                before, deadline = now, time.monotonic() + seconds
            if time.monotonic() > deadline:
                said = text.last_complaint(host_system.read_from(log, offset))
                raise Refusal(
                    f"{self.system.host}: after {seconds:g} s PostgreSQL "
                    f"{desired.version}/{desired.cluster} does not "
                    f"follow {desired.primary}: "
                    f"{reason}{f', and its log says: {said}' if said else ''} (see {log})."
                )
            time.sleep(0.3)
