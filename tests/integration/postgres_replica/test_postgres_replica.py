# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against real servers: what it acts on, and the refusals that guard data."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.io import Host
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.steps import AwaitStreaming
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import end

from .conftest import DROP, HELD, KNOWN, PASSWORD, SLOW, Cluster, Standby, follower, new_primary, new_standby

CLONE_STEPS = 9
SENDER = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = :'slot'"


def fingerprint(folder: Path) -> str:
    """Digest every name and content below a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path.relative_to(folder)).encode())
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def beside(standby: Standby) -> set[str]:
    return {path.name for path in standby.data.parent.iterdir()}


def test_it_clones_and_then_has_nothing_to_do(primary: Cluster, standby: Standby) -> None:
    foretold = standby.ok(check=True)
    assert beside(standby) == set()
    assert primary.sql(KNOWN, slot=standby.slot) == ""

    done = standby.ok()
    assert (done["action"], done["changed"]) == ("clone", True)
    assert (done["actions"], done["reason"]) == (foretold["actions"], foretold["reason"])
    assert foretold["after"]["state"] == done["after"]["state"] == "streaming"
    assert done["after"]["system_identifier"] == primary.system_identifier()
    assert done["bytes"] > 1_000_000
    assert foretold["bytes"] > 1_000_000

    primary.sql("INSERT INTO t VALUES (-10)")
    standby.wait_for("SELECT count(*) FROM t WHERE n = -10", "1")
    sender = (
        "SELECT r.application_name FROM pg_stat_replication r "
        "JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = :'slot'"
    )
    assert primary.sql(sender, slot=standby.slot) == standby.slot

    again = standby.ok()
    assert (again["action"], again["changed"], again["actions"]) == ("none", False, [])
    assert beside(standby) == {"main", "main.passfile", "main.log"}


def test_an_empty_data_directory_is_cloned_into(standby: Standby) -> None:
    standby.data.mkdir(mode=0o700)
    assert standby.ok()["action"] == "clone"
    assert "main.new" not in beside(standby)


def test_a_half_made_base_backup_is_set_aside_and_kept(standby: Standby) -> None:
    standby.data.mkdir(mode=0o700)
    (standby.data / "backup_label").write_text("START WAL LOCATION: 0/2000028\n")
    shutil.chown(standby.data, "postgres", "postgres")
    assert standby.ok()["action"] == "clone"
    (kept,) = standby.data.parent.glob("main.old-*")
    assert (kept / "backup_label").exists()


def test_the_password_is_only_in_the_passfile(standby: Standby) -> None:
    process = standby.begin(max_rate=SLOW)
    deadline = time.monotonic() + 30
    while not standby.backups():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)
    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    process.send_signal(signal.SIGTERM)
    out, errors = process.communicate(timeout=20)
    assert not [line for line in lines if PASSWORD.encode() in line or b"s3cr" in line]
    assert "s3cr" not in out + errors
    assert standby.backups() == [], "a run that is told to end takes its base backup along"

    standby.ok()
    passfile = standby.data.with_name("main.passfile")
    assert stat.S_IMODE(passfile.stat().st_mode) == 0o600
    assert passfile.owner() == "postgres"
    holders = [path for path in standby.base.rglob("*") if path.is_file() and b"s3cr:et" in path.read_bytes()]
    assert holders == []  # in the passfile the colon is escaped
    holders = [path for path in standby.base.rglob("*") if path.is_file() and b"s3cr" in path.read_bytes()]
    assert holders == [passfile]


def test_wrong_settings_are_rewritten_without_a_restart(primary: Cluster, streaming: Standby) -> None:
    server = streaming.pid()
    owned = streaming.conf / "conf.d/50-replication.conf"
    owned.write_text(owned.read_text().replace(f"port={primary.port}", "port=1"))
    streaming.sql("ALTER SYSTEM SET primary_slot_name = 'another'")
    streaming.sql("SELECT pg_reload_conf()")
    streaming.wait_for("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'", "0")

    foretold = streaming.ok(check=True)
    done = streaming.ok()
    assert (done["action"], done["actions"]) == ("configure", foretold["actions"])
    assert streaming.streams()
    assert streaming.pid() == server
    assert "another" not in (streaming.data / "postgresql.auto.conf").read_text()
    assert streaming.ok()["changed"] is False


def test_another_application_name_is_taken_up(primary: Cluster, streaming: Standby) -> None:
    assert streaming.ok(application_name="db 2's")["action"] == "configure"
    names = primary.sql("SELECT application_name FROM pg_stat_replication")
    assert "db 2's" in names
    assert streaming.ok(application_name="db 2's")["changed"] is False


def test_a_new_slot_is_created_and_taken_up(primary: Cluster, streaming: Standby) -> None:
    try:
        assert streaming.ok(slot="other")["action"] == "configure"
        assert primary.sql(HELD, slot="other") == "1"
    finally:
        streaming.stop()
        primary.wait_for(HELD, "", slot="other")
        primary.sql(DROP, slot="other")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
def test_a_stopped_standby_is_started(primary: Cluster, streaming: Standby, how: signal.Signals) -> None:
    streaming.stop(how)
    primary.sql("INSERT INTO t VALUES (-2)")
    done = streaming.ok()
    assert (done["action"], done["before"]["state"]) == ("configure", "stopped")
    assert streaming.streams()


def test_a_standby_that_has_all_that_an_idle_primary_wrote_is_not_waited_for(
    primary: Cluster, streaming: Standby
) -> None:
    """It says to have received no more than the beginning of a segment, until more is written."""
    writer = int(primary.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'"))
    os.kill(writer, signal.SIGSTOP)  # it writes something every now and then
    try:
        primary.sql("SELECT pg_switch_wal()")
        primary.sql("CHECKPOINT")
        streaming.wait_for("SELECT pg_last_wal_replay_lsn()", primary.sql("SELECT pg_current_wal_lsn()"))
        streaming.stop()
        assert streaming.ok(timeout=10)["action"] == "configure"
    finally:
        os.kill(writer, signal.SIGCONT)
    assert streaming.streams()


def test_another_database_system_is_refused_and_left_alone(standby: Standby) -> None:
    standby.create()
    before = fingerprint(standby.base)
    sentence = standby.refused()
    assert "another database system" in sentence
    assert "set on_foreign=reclone" in sentence
    assert fingerprint(standby.base) == before


def test_a_second_primary_is_refused_and_keeps_running(streaming: Standby) -> None:
    streaming.sql("SELECT pg_promote()")
    streaming.sql("CREATE TABLE rogue (n int)")
    server = streaming.pid()
    sentence = streaming.refused()
    assert "split brain" in sentence
    assert streaming.pid() == server
    assert streaming.sql("SELECT pg_is_in_recovery()") == "f"

    streaming.stop()
    assert "ahead of the primary" in streaming.refused()
    assert streaming.pid() is None


def test_a_wrong_password_is_one_clear_sentence(standby: Standby) -> None:
    sentence = standby.refused(replication_password="not this one")  # noqa: S106  # wrong on purpose
    assert sentence.endswith(
        f"the primary 127.0.0.1:{standby.primary.port} refused the password of replicator: set "
        "replication_password to the one the role has there."
    )
    assert beside(standby) == set()


def test_a_primary_that_is_not_there_is_named(standby: Standby) -> None:
    sentence = standby.refused(primary_port=1)
    assert "nothing listens on 127.0.0.1:1: check primary_host, primary_port" in sentence


def test_an_access_rule_that_is_missing_is_named(primary: Cluster, standby: Standby) -> None:
    hba = primary.conf / "pg_hba.conf"
    rules = hba.read_text()
    try:
        for database in ("replication", "postgres"):
            kept = [line for line in rules.splitlines() if not line.startswith(f"host {database} ")]
            hba.write_text("\n".join(kept) + "\n")
            primary.sql("SELECT pg_reload_conf()")
            time.sleep(0.5)
            assert f"for the database {database} " in standby.refused()
    finally:
        hba.write_text(rules)
        primary.sql("SELECT pg_reload_conf()")


def test_settings_lower_than_the_primarys_are_refused_before_anything_is_copied(primary: Cluster) -> None:
    with new_standby(primary, "max_connections = 20", "max_worker_processes = 4") as standby:
        sentence = standby.refused()
        assert "max_connections is 20 here and 100 on" in sentence
        assert "max_worker_processes is 4 here and 8 on" in sentence
        assert beside(standby) == set()


def test_a_base_backup_that_fails_gives_its_reason(standby: Standby) -> None:
    assert 'failed: transfer rate "1" is out of range.' in standby.refused(max_rate="1")


def test_a_slot_of_another_standby_is_refused(primary: Cluster, streaming: Standby) -> None:
    with new_standby(primary) as second:
        sentence = second.refused(slot=streaming.slot)
        assert f"is in use by {streaming.slot} at 127.0.0.1" in sentence
        assert beside(second) == set()


def test_an_inactive_slot_is_reused(primary: Cluster, standby: Standby) -> None:
    primary.sql("SELECT pg_create_physical_replication_slot(:'slot', true)", slot=standby.slot)
    done = standby.ok()
    assert not [sentence for sentence in done["actions"] if "slot" in sentence]
    assert standby.streams()


def test_paused_replay_is_refused(streaming: Standby) -> None:
    streaming.sql("SELECT pg_wal_replay_pause()")
    streaming.wait_for("SELECT pg_get_wal_replay_pause_state()", "paused")
    assert "is paused" in streaming.refused()


def test_a_killed_run_is_completed_and_leaves_no_orphan(primary: Cluster, standby: Standby) -> None:
    process = standby.begin(max_rate=SLOW)
    deadline = time.monotonic() + 30
    while len(standby.backups()) < 2 or not (standby.data.with_name("main.new") / "base").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    orphans = standby.backups()
    assert len(orphans) == 2, "the base backup and its WAL child outlive a killed run"
    assert primary.sql(HELD, slot=standby.slot) == "1"

    foretold = standby.ok(check=True)
    assert standby.backups() == orphans, "a check run ends nothing"
    done = standby.ok()
    assert done["actions"] == foretold["actions"]
    assert "End the copy" in done["actions"][0]
    assert not [sentence for sentence in done["actions"] if "Create the physical slot" in sentence]
    assert not [orphan for orphan in orphans if orphan.lives()]
    assert standby.backups() == []
    assert standby.streams()
    assert beside(standby) == {"main", "main.passfile", "main.log"}


def test_a_child_whose_leader_died_is_ended_too(standby: Standby) -> None:
    process = standby.begin(max_rate=SLOW)
    deadline = time.monotonic() + 30
    while len(standby.backups()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(1)  # the run looks for children five times a second
    process.kill()
    process.communicate()
    leader = min(standby.backups(), key=lambda backup: backup.started)
    os.kill(leader.pid, signal.SIGKILL)
    time.sleep(0.5)
    assert standby.ok()["action"] == "clone"
    assert standby.backups() == []


def test_a_primary_that_has_not_noticed_the_end_of_a_base_backup_is_waited_for(
    primary: Cluster, standby: Standby
) -> None:
    """After a power cut nothing here is left to be ended, and the primary holds the slot for a while."""
    process = standby.begin(max_rate=SLOW)
    deadline = time.monotonic() + 30
    while primary.sql(HELD, slot=standby.slot) == "":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    sender = int(primary.sql(SENDER, slot=standby.slot))
    os.kill(sender, signal.SIGSTOP)
    try:
        process.kill()
        process.communicate()
        while working := standby.backups():  # one may have made a child meanwhile
            end(working)
        second = standby.begin()
        with pytest.raises(subprocess.TimeoutExpired):
            second.communicate(timeout=3)
    finally:
        os.kill(sender, signal.SIGCONT)
    out, _errors = second.communicate(timeout=60)
    done = json.loads(out)
    assert not done.get("failed"), done
    waits = f"Wait until 127.0.0.1:{primary.port} notices that an earlier base backup of this host has ended."
    assert done["actions"][0] == waits
    assert standby.streams()
    assert beside(standby) == {"main", "main.passfile", "main.log"}


@pytest.mark.parametrize("done", range(1, CLONE_STEPS))
def test_a_run_that_ended_after_any_step_is_completed(standby: Standby, done: int) -> None:
    desired = standby.desired()
    host = Host(desired)
    steps = plan(host.observe(), desired)
    assert len(steps) == CLONE_STEPS
    for step in steps[:done]:
        step.apply(host)
    rest = standby.ok()
    left = [step.describe() for step in steps[done:]]
    # A standby that was started may stream before anybody waits for it.
    assert rest["actions"] in ((left, left[1:]) if isinstance(steps[done], AwaitStreaming) else (left,))
    assert standby.streams()
    assert standby.ok()["changed"] is False


@pytest.mark.parametrize("after", [0.3, 0.6, 0.9, 1.2, 1.5, 2.0])
def test_a_run_that_is_killed_at_any_moment_is_completed(standby: Standby, after: float) -> None:
    process = standby.begin()
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    standby.ok()
    assert standby.streams()
    assert standby.backups() == []
    assert beside(standby) == {"main", "main.passfile", "main.log"}


def test_two_runs_at_once_do_not_meet(standby: Standby) -> None:
    first = standby.begin(max_rate="8M")
    deadline = time.monotonic() + 30
    while not standby.backups():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "another run is at work" in standby.refused()
    out, _err = first.communicate(timeout=60)
    assert '"failed"' not in out
    assert standby.streams()


def test_a_standby_follows_the_primary_that_took_over() -> None:
    with new_primary() as old, new_standby(old) as heir, new_standby(old) as other:
        heir.ok()
        other.ok()
        old.sql("INSERT INTO t VALUES (-3)")
        heir.wait_for("SELECT count(*) FROM t WHERE n = -3", "1")
        other.wait_for("SELECT count(*) FROM t WHERE n = -3", "1")
        assert "is itself a standby" in other.refused(primary_port=heir.port)
        old.stop()
        heir.sql("SELECT pg_promote()")
        done = other.ok(primary_port=heir.port)
        assert (done["action"], done["after"]["timeline"]) == ("configure", 2)
        assert other.ok(primary_port=heir.port)["changed"] is False


def test_a_second_change_of_the_primary_soon_after_the_first_is_followed() -> None:
    """The standby's pg_control still has the timeline of two primaries ago, and nobody streams to it."""
    with new_primary() as first, new_standby(first) as heir, new_standby(first) as other:
        heir.ok()
        other.ok()
        first.stop()
        heir.sql("SELECT pg_promote()")
        former = follower(first, heir)
        former.ok()
        other.ok(primary_port=heir.port)
        heir.sql("INSERT INTO t VALUES (-4)")
        other.wait_for("SELECT count(*) FROM t WHERE n = -4", "1")
        former.wait_for("SELECT count(*) FROM t WHERE n = -4", "1")
        heir.stop()
        other.wait_for("SELECT count(*) FROM pg_stat_wal_receiver", "0")
        former.sql("SELECT pg_promote()")
        done = other.ok(primary_port=former.port)
        assert (done["action"], done["before"]["timeline"], done["after"]["timeline"]) == ("configure", 2, 3)


def test_a_cluster_that_debian_does_not_know_is_registered_first(primary: Cluster, standby: Standby) -> None:
    name = f"payaid{standby.port}"
    conf = Path(f"/etc/postgresql/{primary.version}/{name}")
    (conf / "conf.d").mkdir(parents=True)
    role_file = conf / "conf.d/10-role.conf"
    options = {"cluster": name, "config_dir": None}
    try:
        role_file.write_text("max_wal_senders = 2\n")
        assert "max_wal_senders is 2 here and 8 on" in standby.refused(**options)
        assert not (conf / "postgresql.conf").exists()
        role_file.write_text("unix_socket_directories = '/tmp'\nfsync = off\n")
        foretold = standby.ok(check=True, **options)
        assert not (conf / "postgresql.conf").exists()
        done = standby.ok(**options)
        assert done["actions"] == foretold["actions"]
        assert "pg_createcluster" in done["actions"][0]
        assert standby.ok(**options)["changed"] is False
        listed = subprocess.run(["/usr/bin/pg_lsclusters", "-h"], capture_output=True, text=True, check=True)
        assert f"{standby.data}" in next(line for line in listed.stdout.splitlines() if name in line)
        assert role_file.exists()
        assert "main.initdb" not in beside(standby)
    finally:
        standby.stop(signal.SIGQUIT)
        shutil.rmtree(conf)
        Path(f"/var/log/postgresql/postgresql-{primary.version}-{name}.log").unlink(missing_ok=True)


def test_what_a_killed_run_has_left_of_a_file_is_taken_up(standby: Standby) -> None:
    """A run that is killed while it writes a file leaves the new one behind, which may hold a password."""
    folder = standby.data.parent
    left = folder / ".main.passfile.new"
    left.write_text("half of a pass")
    os.chown(left, folder.stat().st_uid, folder.stat().st_gid)
    standby.ok()
    assert not left.exists()
    assert standby.streams()
