# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The host that is restored: observing it, and doing what the steps ask."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from contextlib import AbstractContextManager
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._pgbackrest.model import (
    Desired,
    Record,
    State,
)
from ansible_collections.payaid.scaling.plugins.module_utils._pgbackrest.plan import moment
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import backups_io
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import system as host_system
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.backups import Repository
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import first_line, last_complaint

# What a restore leaves in postgresql.auto.conf. A clone would take it along, and stop at the target for good.
RECOVERY_SETTINGS = (
    "restore_command",
    "recovery_target",
    "recovery_target_action",
    "recovery_target_name",
    "recovery_target_time",
    "recovery_target_timeline",
)
TARGETS = {"latest": "default", "time": "time", "name": "name"}
SYSTEMCTL = "/usr/bin/systemctl"


class Host:
    """The machine whose cluster is restored."""

    def __init__(self, desired: Desired) -> None:
        self.desired = desired
        self.system = host_system.System()

    def alone(self) -> AbstractContextManager[None]:
        return self.system.alone(self.desired.data_dir)

    # -- observing

    def observe(self) -> State:
        desired = self.desired
        folder = host_system.existing_ancestor(desired.data_dir)
        disk = shutil.disk_usage(folder)
        repository = self._repository() if desired.part != "set_aside" else Repository(desired.stanza)
        return State(
            host=self.system.host,
            now=time.time(),
            running=self._running(),
            data=os.path.isdir(desired.data_dir) and bool(os.listdir(desired.data_dir)),
            aside=os.path.exists(desired.aside),
            record=self._record(),
            backups=repository.backups,
            stanza_version=repository.version,
            disk_size=disk.total,
            disk_free=disk.free,
            data_size=host_system.tree_size(desired.data_dir),
            staging=os.path.exists(desired.staging),
            staging_size=host_system.tree_size(desired.staging),
        )

    def _running(self) -> bool:
        done = self.system.run([SYSTEMCTL, "is-active", self.desired.unit])
        return done.stdout.strip() in ("active", "activating", "reloading", "deactivating")

    def _record(self) -> Record | None:
        content = host_system.read_or_empty(self.desired.record)
        if not content:
            return None
        try:
            note = json.loads(content)
            return Record(note["name"], note["phase"], tuple(note["request"]))
        except (ValueError, KeyError, TypeError) as error:
            raise Refusal(
                f"{self.system.host}: {self.desired.record} cannot be read: if no restore is under "
                f"way, remove it and {self.desired.staging}, and run again."
            ) from error

    def _repository(self) -> Repository:
        found = backups_io.look(self.system, self.desired.stanza)
        if found.problem:
            raise Refusal(f"{self.system.host}: the repository cannot be read: {found.problem}.")
        return found

    # -- doing

    def note(self, record: Record) -> None:
        content = {"name": record.name, "phase": record.phase, "request": list(record.request)}
        self.system.write(self.desired.record, json.dumps(content) + "\n", 0o600)

    def stop(self) -> None:
        # A recovery to a moment ends at the first commit after it, and fails where there is none. A server
        # that cannot be asked any more is stopped all the same.
        self._psql("SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_xact_id() END", check=False)
        done = self.system.run([SYSTEMCTL, "stop", self.desired.unit], as_root=True)
        if done.returncode or self._running():
            raise Refusal(f"{self.system.host}: PostgreSQL did not stop: {first_line(done.stderr)}.")

    def set_aside(self) -> None:
        os.rename(self.desired.data_dir, self.desired.aside)
        host_system.sync_dir(os.path.dirname(self.desired.data_dir))

    def remove_aside(self) -> None:
        host_system.remove_tree(self.desired.aside)

    def copy(self, label: str) -> None:
        desired = self.desired
        host_system.remove_tree(desired.staging)
        self.system.make_dir(desired.staging, 0o700)
        arguments = [f"--set={label}", f"--type={TARGETS[desired.until]}"]
        if desired.until != "latest":
            target = desired.target or ""
            if desired.until == "time":
                target = moment(desired).strftime("%Y-%m-%d %H:%M:%S.%f+00")
            arguments += [f"--target={target}", "--target-action=promote"]
        if desired.timeline:
            arguments.append(f"--target-timeline={desired.timeline}")
        # Its own would name the folder of the copy, in which the server is not started.
        fetch = f'pgbackrest --stanza={desired.stanza} archive-get %f "%p"'
        arguments.append(f"--recovery-option=restore_command={fetch}")
        words = (f"--pg1-path={desired.staging}", *arguments, "restore")
        backups_io.run(self.system, desired.stanza, *words)

    def swap(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(self.desired.data_dir)  # empty, or it would have been set aside
        os.rename(self.desired.staging, self.desired.data_dir)
        host_system.sync_dir(os.path.dirname(self.desired.data_dir))

    def start(self) -> None:
        before = host_system.size_of(self.desired.log)
        self.system.run([SYSTEMCTL, "reset-failed", self.desired.unit], as_root=True)
        done = self.system.run([SYSTEMCTL, "start", self.desired.unit], as_root=True)
        if done.returncode:
            raise self._not_recovered(before, first_line(done.stderr))

    def await_writes(self) -> None:
        """Wait for the end of the recovery, and take its settings away."""
        before = max(0, host_system.size_of(self.desired.log) - 20000)
        deadline = time.monotonic() + self.desired.timeout
        while self._ask("SELECT pg_is_in_recovery()") != "f":
            if not self._running():
                raise self._not_recovered(before, "it stopped")
            if time.monotonic() > deadline:
                raise Refusal(
                    f"{self.system.host}: PostgreSQL has not replayed to {self.desired.where} within "
                    f"timeout={self.desired.timeout} s, and goes on: run again to wait on."
                )
            time.sleep(0.5)
        for name in RECOVERY_SETTINGS:
            self._psql(f"ALTER SYSTEM RESET {name}", check=True)
        self._psql("SELECT pg_reload_conf()", check=True)

    def _not_recovered(self, offset: int, otherwise: str) -> Refusal:
        why = last_complaint(host_system.read_from(self.desired.log, offset)) or otherwise
        hint = ""
        if "recovery target" in why:
            hint = "; the archive ends before the target, so restore with until=latest or an earlier target"
        return Refusal(
            f"{self.system.host}: PostgreSQL did not recover to {self.desired.where}: {why} "
            f"(see {self.desired.log}){hint}."
        )

    def _ask(self, query: str) -> str:
        return str(self._psql(query, check=False))

    def _psql(self, query: str, *, check: bool) -> Any:
        argv = [f"{self.desired.bin_dir}/psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-d", "postgres"]
        # timeout(1) and not ours: a server that hangs is like one that does not answer.
        patience = ["/usr/bin/timeout", "30"]
        done = self.system.run([*patience, *argv, "-p", str(self.desired.port), "-c", query])
        if done.returncode and check:
            raise Refusal(f"{self.system.host}: {query} failed: {first_line(done.stderr)}.")
        return done.stdout.strip() if done.returncode == 0 else ""
