# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs that are killed while they clone, a replica that is lost, a disk that is full, and refusals."""

from __future__ import annotations

import json
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Machines, Patience, Playbooks

ROOT = Path(__file__).resolve().parents[3]
ROLE_ALONE = "postgres_replica_preflight,postgres_replica_service,postgres_replica_verify"
KILLS = 10
# 300 MB.
BULK = """
DROP TABLE IF EXISTS bulk;
CREATE TABLE bulk AS SELECT g AS n, repeat(md5(g::text), 30) AS filler FROM generate_series(1, 300000) g
"""
RATE, CLONE_TAKES = "75M", 5.0  # s, with what is done before and after the copy
SECONDS_TO_NOTICE = 75  # that a client is gone: wal_sender_timeout and a little more
# By the name of its file, which there is only without pipelining.
FINDABLE = ("-e", "ansible_ssh_pipelining=false")
MODULE = "pgrep -f '^/usr/bin/python3 .*AnsiballZ_postgres_replica.py'"
CONTENT = "SELECT count(*), sum(hashtext(filler)::bigint) FROM bulk"
FOLLOWERS = "SELECT string_agg(application_name || ':' || state, ' ') FROM pg_stat_replication"
SLOTS = "SELECT string_agg(slot_name || ':' || active || ':' || wal_status, ' ') FROM pg_replication_slots"


def psql(machine: Any, query: str, database: str = "app") -> str:
    """Ask as the superuser."""
    ask = "cd / && sudo -u postgres psql -XAtq -v ON_ERROR_STOP=1 -d %s -c %s"
    return str(machine.check_output(ask, database, query))


class Replica:
    """The replica, as the one who looks after it meets it."""

    def __init__(self, host: Any, primary: Any, playbooks: Playbooks, soon: Patience) -> None:
        self.host, self.primary = host, primary
        self.playbooks, self.soon = playbooks, soon
        self.version = self.host.check_output("ls /etc/postgresql")
        self.parent = f"/var/lib/postgresql/{self.version}"
        self.data = f"{self.parent}/main"
        self.unit = f"postgresql@{self.version}-main.service"

    def begin(self, *words: str, whole: bool = False) -> subprocess.Popen[str]:
        tags = () if whole else ("--tags", ROLE_ALONE)
        return self.playbooks.begin(self.playbooks.scenario / "converge.yml", *tags, *words)

    def run(self, *words: str, whole: bool = False) -> str:
        run = self.begin(*words, whole=whole)
        said, _nothing = run.communicate(timeout=600)
        assert run.returncode == 0, said[-6000:]
        return said

    def refused(self, *words: str) -> str:
        """Return what a run that must fail says, as one line."""
        run = self.begin(*words)
        said, _nothing = run.communicate(timeout=600)
        assert run.returncode != 0, said[-3000:]
        assert "Traceback" not in said, said[-6000:]
        return re.sub(r"\s+", " ", said)

    def beside(self) -> set[str]:
        """Return what is beside the data, without what was set aside on purpose."""
        return set(self.host.check_output("ls -A %s", self.parent).split())

    def wipe(self) -> None:
        self.host.check_output("systemctl stop %s", self.unit)
        self.host.check_output("find %s -mindepth 1 -delete", self.data)

    def at_work(self) -> list[str]:
        return str(self.host.run(MODULE).stdout).split()

    def phase(self) -> str:
        """Return how far a killed run had come."""
        note = self.host.run("cat %s", f"{self.data}.clone.json").stdout
        if not note:
            return "before or after the clone"
        told = json.loads(note)
        return f"{told['phase']}, {told['progress']['done'] >> 20} of {told['progress']['total'] >> 20} MiB"

    def is_whole(self) -> None:
        """The replica streams all that the primary has, and nothing is left of what was broken off."""
        assert self.host.run("pgrep -x pg_basebackup").rc != 0
        assert self.beside() == {"main", "main.passfile"}
        self.soon(lambda: psql(self.primary, FOLLOWERS) == "pg2:streaming", within=SECONDS_TO_NOTICE)
        assert psql(self.primary, SLOTS) == "pg2:true:reserved"
        psql(self.primary, "INSERT INTO bulk VALUES (0, md5(random()::text))")
        self.soon(lambda: psql(self.host, CONTENT) == psql(self.primary, CONTENT), within=20)


@pytest.fixture(scope="module")
def primary(machines: Machines) -> Any:
    """Return the primary, with so much in it that a clone takes its time."""
    machine = machines("pg1")
    psql(machine, BULK)
    return machine


@pytest.fixture
def replica(primary: Any, machines: Machines, playbooks: Playbooks, soon: Patience) -> Replica:
    # By its name: pytest's --hosts would have all of them wiped.
    return Replica(machines("pg2"), primary, playbooks, soon)


def kill_module(replica: Replica, run: subprocess.Popen[str]) -> bool:
    """Kill the module on the machine; Ansible lives, and says so."""
    found = replica.at_work()
    if found:
        replica.host.run("kill -KILL " + " ".join(found))
    said, _nothing = run.communicate(timeout=120)
    assert not found or run.returncode != 0, said[-3000:]
    return bool(found)


def kill_ansible(replica: Replica, run: subprocess.Popen[str]) -> bool:
    """Kill Ansible on the controller; the module goes on alone, and a second run is kept off it."""
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate(timeout=120)
    goes_on = bool(replica.at_work())
    if goes_on:
        second = replica.begin()
        said, _nothing = second.communicate(timeout=300)
        assert second.returncode == 0 or "another run is at work in" in said, said[-3000:]
    replica.soon(lambda: not replica.at_work(), within=120)
    return goes_on


def test_killed_at_any_moment_of_a_clone_and_run_again(replica: Replica) -> None:
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")
    moments, interrupted = random.Random(seed), 0  # noqa: S311  # a seed, so that it can be told again
    for number in range(KILLS):
        replica.wipe()
        run = replica.begin(*FINDABLE, "-e", f"postgres_replica_max_rate={RATE}")
        replica.soon(replica.at_work, within=60)
        moment = moments.uniform(0, CLONE_TAKES)
        time.sleep(moment)
        kill = kill_ansible if number in (3, 7) else kill_module
        met = kill(replica, run)
        interrupted += met
        print(f"{kill.__name__} {moment:.2f} s after its start, met: {met}, {replica.phase()}")
        began = time.monotonic()
        replica.run()
        print(f"  run again: {time.monotonic() - began:.1f} s")
        replica.is_whole()
    assert interrupted >= KILLS // 2, "most runs had ended before they were killed"
    assert "changed=0" in replica.run()


def test_a_replica_whose_data_were_moved_away_is_cloned_anew(replica: Replica) -> None:
    replica.host.check_output("mv %s %s", replica.data, f"{replica.parent}/away")
    try:
        # Its server still streams through the slot.
        assert f"which is this host: stop {replica.unit}" in replica.refused()
        assert replica.beside() == {"away", "main.passfile"}
        replica.host.check_output("systemctl stop %s", replica.unit)
        replica.run()
    finally:
        replica.host.check_output("rm -rf %s", f"{replica.parent}/away")
    replica.is_whole()


def test_a_replica_whose_package_was_purged_is_made_anew(replica: Replica) -> None:
    """Purging takes the data along, and the settings that are not ours."""
    replica.host.check_output(
        "DEBIAN_FRONTEND=noninteractive apt-get -qq purge %s", f"postgresql-{replica.version}"
    )
    assert not replica.host.file(replica.data).exists
    assert not replica.host.file(f"/etc/postgresql/{replica.version}/main/postgresql.conf").exists
    replica.run(whole=True)
    replica.is_whole()
    assert "changed=0" in replica.run(whole=True)


@contextmanager
def small_disk(replica: Replica, size: str) -> Iterator[None]:
    """Have a file system of its own where the data are to be; what was there before comes back afterwards."""
    replica.host.check_output("systemctl stop %s", replica.unit)
    replica.host.check_output(
        "mount -t tmpfs -o size=%s,uid=postgres,gid=postgres,mode=755 tmpfs %s", size, replica.parent
    )
    try:
        yield
    finally:
        replica.host.check_output("systemctl stop %s", replica.unit)
        replica.host.check_output("umount %s", replica.parent)


def test_a_disk_that_is_too_small_is_refused_and_a_full_one_harms_nobody(replica: Replica) -> None:
    with small_disk(replica, "200M"):
        said = replica.refused()
        assert f"MiB are free at {replica.data}, which leaves less than min_free_pct=10: make room" in said
        assert replica.beside() == set()

        said = replica.refused("-e", "postgres_replica_min_free_pct=0")
        assert re.search(r"pg2: the base backup of \S+ failed: .*No space left on device", said), said[-3000:]
        assert replica.host.run("pgrep -x pg_basebackup").rc != 0
        psql(replica.primary, "INSERT INTO bulk VALUES (-1, 'written while the disk of the replica is full')")
        assert psql(replica.primary, SLOTS) == "pg2:false:reserved"

        replica.host.check_output("mount -o remount,size=4G %s", replica.parent)
        replica.run()
        replica.is_whole()
    replica.run()
    replica.is_whole()


def info(replica: Replica) -> dict[str, Any]:
    """Return what postgres_replication_info says of the replica."""
    argv = [
        str(Path(sys.executable).with_name("ansible")),
        "-i",
        str(replica.playbooks.scenario / "inventory"),
        "pg2",
        "-b",
        "-o",
    ]
    argv += ["-m", "payaid.scaling.postgres_replication_info", "-a", f"version={replica.version}"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT).stdout  # noqa: S603  # our own words
    told: dict[str, Any] = json.loads(said[said.index("{") :])
    return told


def test_a_replica_that_lags_says_so(replica: Replica) -> None:
    psql(replica.host, "SELECT pg_wal_replay_pause()")
    try:
        replica.soon(lambda: psql(replica.host, "SELECT pg_get_wal_replay_pause_state()") == "paused")
        psql(replica.primary, "INSERT INTO bulk VALUES (-2, 'not replayed yet')")
        replica.soon(lambda: info(replica)["lag"]["bytes"] > 0, within=10)
        assert info(replica)["problems"] == ["replay is paused: pg_wal_replay_resume() lets it go on"]
        assert (
            "is paused: if that is not on purpose, run SELECT pg_wal_replay_resume() there"
            in replica.refused()
        )
    finally:
        psql(replica.host, "SELECT pg_wal_replay_resume()")

    psql(replica.host, "ALTER SYSTEM SET recovery_min_apply_delay = '1h'")
    psql(replica.host, "SELECT pg_reload_conf()")
    try:
        psql(replica.primary, "INSERT INTO bulk VALUES (-3, 'to be replayed in an hour')")
        time.sleep(2)
        late = info(replica)["lag"]
        assert late["bytes"] > 0
        assert late["seconds"] >= 1
        # It does what it was told, so there is nothing to be put right.
        assert "changed=0" in replica.run()
    finally:
        psql(replica.host, "ALTER SYSTEM RESET recovery_min_apply_delay")
        psql(replica.host, "SELECT pg_reload_conf()")
    replica.is_whole()


@contextmanager
def no_walsenders(replica: Replica) -> Iterator[None]:
    """Have others take all the primary's WAL senders but one."""
    count = int(psql(replica.primary, "SHOW max_wal_senders")) - 1
    program = f"/usr/lib/postgresql/{replica.version}/bin/pg_receivewal"
    for number in range(count):
        folder = f"/run/received-{number}"
        replica.primary.check_output("install -d -o postgres %s", folder)
        replica.primary.check_output(
            "systemd-run --quiet --uid=postgres --unit=%s %s -D %s", f"received-{number}", program, folder
        )
    try:
        taken = "SELECT count(*) FROM pg_stat_replication"
        replica.soon(lambda: psql(replica.primary, taken) == str(count), within=20)
        yield
    finally:
        replica.primary.check_output("systemctl stop 'received-*' && rm -r /run/received-*")


def test_what_the_primary_refuses_is_one_sentence_and_changes_nothing(
    replica: Replica, soon: Callable[..., float]
) -> None:
    replica.wipe()
    soon(lambda: psql(replica.primary, SLOTS) == "pg2:false:reserved", within=20)
    with no_walsenders(replica):
        assert "has 1 WAL senders free and a clone needs 2: raise max_wal_senders there" in replica.refused()
    said = replica.refused("-e", "vault_postgres_replication_password=wrong")
    assert (
        "refused the password of replicator: set replication_password to the one the role has there" in said
    )
    rules = replica.primary.check_output("ls /etc/postgresql/*/main/pg_hba.conf")
    replica.primary.check_output("cp -p %s /run/kept && sed -i '/replicator/d' %s", rules, rules)
    psql(replica.primary, "SELECT pg_reload_conf()")
    try:
        soon(lambda: "does not let replicator in from this host: add a line" in replica.refused(), within=30)
    finally:
        replica.primary.check_output("cp -p /run/kept %s", rules)
        psql(replica.primary, "SELECT pg_reload_conf()")
    assert replica.host.check_output("ls -A %s", replica.data) == ""
    assert replica.beside() == {"main", "main.passfile"}
    assert psql(replica.primary, SLOTS) == "pg2:false:reserved"
    replica.run()
    replica.is_whole()
