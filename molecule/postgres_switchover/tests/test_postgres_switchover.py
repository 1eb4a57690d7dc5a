# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The primary is changed on purpose, dies, or is lost with its machine, while clients write and read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Patience

    from .conftest import Platform

testinfra_hosts = ["app1"]
ROUNDS = 5
STALL = 3.0  # s; the longest that a client may wait in a switchover


def test_there_and_back_again_without_an_error(platform: Platform) -> None:
    assert platform.writer() == "pg1"
    with platform.traffic() as account:
        time.sleep(2)
        for _round in range(ROUNDS):
            for heir in ("pg2", "pg1"):
                platform.play("playbooks/switchover.yml", "-e", f"switchover_to={heir}")
                assert platform.writer() == heir
        time.sleep(2)
    seen = f"{len(account.acknowledged)} acknowledged, {account.reads} reads"
    print(f"{seen}, longest wait {account.longest:.2f} s")
    assert account.errors == []
    assert len(account.acknowledged) > 1000
    platform.prove(account)
    assert account.longest < STALL


def test_the_platform_keeps_whom_it_finds(platform: Platform) -> None:
    platform.play("playbooks/switchover.yml", "-e", "switchover_to=pg3")
    said = platform.play("molecule/postgres_switchover/converge.yml")
    assert platform.writer() == "pg3"
    assert set(platform.changed(said).values()) == {0}, said[-3000:]
    slots = "SELECT string_agg(slot_name || ':' || active, ' ' ORDER BY slot_name) FROM pg_replication_slots"
    assert platform.psql("pg3", slots) == "pg1:true pg2:true"
    assert platform.psql("pg1", slots) == platform.psql("pg2", slots) == ""
    said = platform.play("playbooks/switchover.yml", "-e", "switchover_to=pg3")
    assert set(platform.changed(said).values()) == {0}
    platform.play("playbooks/switchover.yml", "-e", "switchover_to=pg1")


def test_a_host_that_cannot_take_over_is_refused(platform: Platform) -> None:
    said = platform.play("playbooks/switchover.yml", "-e", "switchover_to=pg9", fails=True)
    assert "switchover_to=pg9 is no database server of this inventory" in said


def test_a_pooler_that_is_down_leaves_all_as_it_was(platform: Platform) -> None:
    machine = platform.machine("app2")
    machine.check_output("systemctl stop pgbouncer")
    try:
        said = platform.play("playbooks/switchover.yml", "-e", "switchover_to=pg2", fails=True)
    finally:
        machine.check_output("systemctl start pgbouncer")
    assert "cannot be asked" in said
    assert platform.writer() == "pg1"
    said = platform.play("molecule/postgres_switchover/converge.yml")
    assert platform.writer() == "pg1"


def test_a_postmaster_that_is_killed_comes_back_by_itself(platform: Platform, soon: Patience) -> None:
    with platform.traffic() as account:
        time.sleep(2)
        platform.machine("pg1").check_output(
            "kill -9 $(head -1 $(sudo -u postgres psql -XAtqc 'SHOW data_directory')/postmaster.pid)"
        )
        killed = time.time()
        soon(
            lambda: platform.machine("pg1").run("sudo -u postgres psql -XAtqc 'SELECT 1'").rc == 0, within=60
        )
        time.sleep(3)
    first = next(when for when in account.times if when > killed + 0.5)
    print(f"writes came back {first - killed:.1f} s after the kill, {len(account.errors)} errors")
    platform.prove(account)


def test_a_primary_that_is_lost_with_its_machine_is_replaced(platform: Platform, soon: Patience) -> None:
    with platform.traffic() as account:
        time.sleep(2)
        platform.kill("pg1")
        said = platform.play("playbooks/failover.yml", fails=True)
        assert "failover_fenced=pg1" in said
        began = time.time()
        platform.play("playbooks/failover.yml", "-e", "failover_fenced=pg1")
        time.sleep(3)
    first = next(when for when in account.times if when > began)
    print(f"writes came back {first - began:.1f} s after the start of failover.yml")
    # 12 s where nothing else is at work; how much longer else is a matter of what else.
    assert first - began < 60
    assert len(account.acknowledged) > 100

    # It comes back as the primary that it was; nobody writes to it, and nobody is made to believe in it.
    platform.start("pg1")
    soon(lambda: platform.answers("pg1"), within=60)
    said = platform.play("molecule/postgres_switchover/converge.yml", fails=True)
    assert "split brain" in said
    assert "on_split_brain=stop" in said
    platform.play(
        "molecule/postgres_switchover/converge.yml",
        *("-e", "postgres_replica_on_split_brain=stop", "-e", "postgres_replica_on_diverged=rewind"),
    )
    assert platform.writer() != "pg1"
    platform.prove(account)
    assert set(platform.changed(platform.play("molecule/postgres_switchover/converge.yml")).values()) == {0}
