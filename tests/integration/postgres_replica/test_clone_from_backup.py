# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Standbys that are cloned from pgBackRest's repository, and that fetch from it what the primary has lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import Process, end

from .conftest import WAL_STATUS, Cluster, Standby, as_owner, free_port, new_primary, new_standby

COUNT = "SELECT count(*) FROM t WHERE n = :n"
SETTINGS = Path("/etc/pgbackrest/conf.d")
FROM_BACKUP = {"clone_from": "backup"}


@dataclass
class Stanza:
    """A repository in a folder of its own, and the cluster that is backed up there."""

    name: str
    primary: Cluster

    @property
    def repository(self) -> Path:
        return self.primary.base / "repository"

    @property
    def settings(self) -> Path:
        return SETTINGS / f"{self.name}.conf"

    @property
    def options(self) -> dict[str, Any]:
        return {**FROM_BACKUP, "pgbackrest_stanza": self.name}

    def write_settings(self) -> None:
        self.repository.mkdir()
        SETTINGS.mkdir(parents=True, exist_ok=True)
        lines = (
            f"[{self.name}]",
            f"pg1-path={self.primary.data}",
            f"pg1-port={self.primary.port}",
            f"pg1-socket-path={self.primary.base}",
            f"repo1-path={self.repository}",
            "repo1-retention-full=1",
            f"lock-path={self.primary.base}/lock",
            "log-level-file=off",
            "start-fast=y",
        )
        self.settings.write_text("\n".join(lines) + "\n")
        for path in (self.repository, self.settings):
            shutil.chown(path, "postgres", "postgres")

    def run(self, *words: str) -> str:
        return as_owner("/usr/bin/pgbackrest", f"--stanza={self.name}", "--log-level-console=off", *words)

    def backup(self) -> None:
        self.run("--type=full", "backup")

    def label(self) -> str:
        (found,) = json.loads(self.run("--output=json", "info"))
        return str(found["backup"][-1]["label"])

    def archive(self, primary: Cluster | None = None) -> None:
        """Return once all that is committed is in the repository."""
        primary = primary or self.primary
        segment = primary.sql("SELECT pg_walfile_name(pg_switch_wal())")
        primary.wait_for("SELECT last_archived_wal >= :'segment' FROM pg_stat_archiver", "t", segment=segment)

    def base_backups(self) -> int:
        """Return how many base backups the primary was asked for."""
        return (
            (self.primary.base / "server.log").read_text().count("received replication command: BASE_BACKUP")
        )

    def standby(
        self, primary: Cluster | None = None, *settings: str
    ) -> contextlib.AbstractContextManager[Standby]:
        return new_standby(primary or self.primary, *settings)


def fetching(stanza: Stanza, standby: Standby) -> None:
    """Have a standby fetch WAL from the repository."""
    words = f'pgbackrest --stanza={stanza.name} --pg1-path={standby.data} archive-get %f "%p"'
    (standby.conf / "conf.d/30-archive.conf").write_text(f"restore_command = '{words}'\n")


@contextlib.contextmanager
def new_stanza(*settings: str) -> Iterator[Stanza]:
    name = f"payaid{free_port()}"
    archiving = (
        "archive_mode = on",
        f"archive_command = 'pgbackrest --stanza={name} archive-push %p'",
        "log_replication_commands = on",
    )
    with new_primary(*archiving, *settings) as primary:
        stanza = Stanza(name, primary)
        stanza.write_settings()
        try:
            stanza.run("stanza-create")
            stanza.backup()
            yield stanza
        finally:
            stanza.settings.unlink()


@pytest.fixture(scope="module")
def stanza() -> Iterator[Stanza]:
    with new_stanza() as found:
        yield found


@pytest.fixture
def standby(stanza: Stanza) -> Iterator[Standby]:
    with new_standby(stanza.primary) as cluster:
        fetching(stanza, cluster)
        try:
            yield cluster
        finally:
            end(restores(cluster))


def restores(standby: Standby) -> list[Process]:
    """Return the processes that restore for this standby."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = path.read_bytes().decode(errors="replace").split("\0")
            process = Process.of(int(path.parent.name))
            ours = any(word.startswith(f"--pg1-path={standby.data}") for word in words)
            if (
                "pgbackrest" in words[0]
                and any(word.startswith("restore") for word in words)
                and ours
                and process
            ):
                found.append(process)
    return found


def beside(standby: Standby) -> set[str]:
    return {path.name for path in standby.data.parent.iterdir()}


def write(primary: Cluster, number: int) -> None:
    primary.sql("INSERT INTO t VALUES (:n)", n=number)


def test_it_clones_the_last_backup_without_asking_the_primary_for_one(
    stanza: Stanza, standby: Standby
) -> None:
    write(stanza.primary, -1)
    before = stanza.base_backups()
    foretold = standby.ok(check=True, **stanza.options)
    assert beside(standby) == set()

    done = standby.ok(**stanza.options)
    assert (done["action"], done["actions"]) == ("clone", foretold["actions"])
    assert any(
        f"Restore the backup {stanza.label()} of the stanza {stanza.name}" in told for told in done["actions"]
    )
    assert done["bytes"] > 1_000_000
    assert foretold["bytes"] > 1_000_000
    assert stanza.base_backups() == before
    standby.wait_for(COUNT, "1", n=-1)
    assert standby.sql("SELECT count(*) FROM t") == stanza.primary.sql("SELECT count(*) FROM t")
    assert standby.streams()
    assert "restore_command" not in (standby.data / "postgresql.auto.conf").read_text()

    again = standby.ok(**stanza.options)
    assert (again["action"], again["actions"]) == ("none", [])
    assert beside(standby) == {"main", "main.passfile", "main.log"}


def test_wal_that_the_primary_has_no_longer_comes_from_the_archive() -> None:
    """Between the backup and the making of the slot the primary has thrown its WAL away."""
    with new_stanza("wal_keep_size = 0") as stanza, stanza.standby() as standby:
        fetching(stanza, standby)
        write(stanza.primary, -1)
        for _segment in range(6):
            stanza.primary.sql("SELECT pg_switch_wal()")
            stanza.archive()
            stanza.primary.sql("CHECKPOINT")
        assert standby.ok(**stanza.options)["action"] == "clone"
        standby.wait_for(COUNT, "1", n=-1)
        log = (standby.data.parent / "main.log").read_text()
        assert "restored log file" in log
        assert "started streaming WAL" in log


def test_a_restore_that_goes_on_after_its_run_was_killed_is_ended(stanza: Stanza, standby: Standby) -> None:
    process = standby.begin(**stanza.options)
    deadline = time.monotonic() + 30
    while not (left := restores(standby)):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for restore in left:  # it would be too quick to be met
        os.kill(restore.pid, signal.SIGSTOP)
    time.sleep(0.5)
    process.kill()
    process.communicate()
    assert [restore for restore in left if restore.lives()]

    foretold = standby.ok(check=True, **stanza.options)
    done = standby.ok(**stanza.options)
    assert done["actions"] == foretold["actions"]
    assert "End the copy" in done["actions"][0]
    assert restores(standby) == []
    assert standby.streams()
    assert beside(standby) == {"main", "main.passfile", "main.log"}


@pytest.mark.parametrize("strategy", ["staging", "in_place"])
@pytest.mark.parametrize("after", [0.4, 0.7, 1.0, 1.3, 1.7, 2.2])
def test_a_run_that_is_killed_at_any_moment_is_completed(
    stanza: Stanza, standby: Standby, after: float, strategy: str
) -> None:
    options = {**stanza.options, "strategy": strategy}
    process = standby.begin(**options)
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    standby.ok(**options)
    assert standby.streams()
    assert restores(standby) == []
    assert beside(standby) == {"main", "main.passfile", "main.log"}


def test_what_cannot_be_restored_is_said_beforehand(
    stanza: Stanza, standby: Standby, primary: Cluster
) -> None:
    fetch = standby.conf / "conf.d/30-archive.conf"
    told = fetch.read_text()
    fetch.write_text("")
    assert "set restore_command in" in standby.refused(**stanza.options)
    fetch.write_text(told)
    assert "or set clone_from=primary" in standby.refused(**FROM_BACKUP, pgbackrest_stanza="nobody")
    assert beside(standby) == set()
    with new_standby(primary) as other:
        fetching(stanza, other)
        assert f"the stanza {stanza.name} is of another database system" in other.refused(**stanza.options)
        assert beside(other) == set()


def test_a_repository_that_cannot_be_read_is_no_empty_one(stanza: Stanza, standby: Standby) -> None:
    info = stanza.repository / f"backup/{stanza.name}/backup.info"
    copies = [info, info.with_name("backup.info.copy")]
    kept = [path.read_bytes() for path in copies]
    try:
        for path in copies:
            path.write_text("[cipher\nnonsense\n")
        assert f"the backups of the stanza {stanza.name} cannot be read" in standby.refused(**stanza.options)
    finally:
        for path, content in zip(copies, kept, strict=True):
            path.write_bytes(content)
    assert beside(standby) == set()


@contextlib.contextmanager
def starved(stanza: Stanza) -> Iterator[Standby]:
    """A standby that was away for longer than its slot keeps WAL."""
    with stanza.standby() as standby:
        fetching(stanza, standby)
        standby.ok()
        standby.stop()
        write(stanza.primary, -1)
        stanza.primary.outrun(standby.slot)
        stanza.archive()
        yield standby


SHORT = ("max_slot_wal_keep_size = '16MB'", "wal_keep_size = 0")


def test_a_lost_slot_is_made_anew_and_the_archive_gives_what_is_missing() -> None:
    with new_stanza(*SHORT) as stanza, starved(stanza) as standby:
        foretold = standby.ok(check=True)
        done = standby.ok()
        assert (done["action"], done["actions"]) == ("configure", foretold["actions"])
        assert "which has lost its WAL" in done["actions"][0]
        standby.wait_for(COUNT, "1", n=-1)
        assert standby.streams()
        assert stanza.primary.sql(WAL_STATUS, slot=standby.slot) in ("reserved", "extended")
        assert stanza.base_backups() == 1  # the one that it was cloned by
        assert standby.ok()["changed"] is False


def test_a_standby_that_runs_with_a_lost_slot_gets_another_one() -> None:
    """It tries the lost one again and again, and may by itself stream through it once it has caught up."""
    with new_stanza(*SHORT) as stanza, starved(stanza) as standby:
        standby.start()
        standby.wait_for(COUNT, "1", n=-1, seconds=60)
        standby.ok()
        assert standby.streams()
        assert stanza.primary.sql(WAL_STATUS, slot=standby.slot) in ("reserved", "extended")
        assert stanza.base_backups() == 1


def test_what_the_archive_has_no_longer_takes_a_clone() -> None:
    with new_stanza(*SHORT) as stanza, starved(stanza) as standby:
        stanza.backup()  # keeps no WAL from before it
        sentence = standby.refused()
        assert "nor has the archive of the stanza" in sentence
        assert "set on_lost_slot=reclone" in sentence
        done = standby.ok(on_lost_slot="reclone", **stanza.options)
        assert done["action"] == "reclone"
        standby.wait_for(COUNT, "1", n=-1)
        assert stanza.base_backups() == 1


def test_a_backup_of_the_timeline_before_leads_to_the_primary_that_took_over() -> None:
    with new_stanza() as stanza, new_standby(stanza.primary) as heir, stanza.standby(heir) as standby:
        archive = (
            f"archive_command = 'pgbackrest --stanza={stanza.name} --pg1-path={heir.data} archive-push %p'"
        )
        (heir.conf / "conf.d/20-archive.conf").write_text(f"archive_mode = on\n{archive}\n")
        heir.ok()
        stanza.primary.stop()
        heir.wait_for("SELECT count(*) FROM pg_stat_wal_receiver", "0")
        heir.sql("SELECT pg_promote()")
        write(heir, -2)
        heir.sql("CHECKPOINT")
        stanza.archive(heir)
        fetching(stanza, standby)
        done = standby.ok(**stanza.options)
        assert (done["action"], done["after"]["timeline"]) == ("clone", 2)
        standby.wait_for(COUNT, "1", n=-2)
        assert standby.ok(**stanza.options)["changed"] is False
