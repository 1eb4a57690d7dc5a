# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Commits that wait for one of two replicas: no acknowledged row is lost, and too few are told of."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.payaid.scaling.molecule.conftest import Patience

    from .conftest import Platform

testinfra_hosts = ["app1"]
CONVERGE = "molecule/postgres_switchover/converge.yml"
WAIT = ("-e", "postgres_server_synchronous_standbys=1")
# In s. In a switchover commits wait until the old primary follows. A computer with a load of fifteen for each
# processor took 5.3 s for that, and 76 s for a failover.
STALL, BACK = 10.0, 120.0
CONFIRMING = """
SELECT string_agg(application_name, ' ' ORDER BY application_name) FROM pg_stat_replication
WHERE sync_state = 'quorum'
"""
NAMES = "SHOW synchronous_standby_names"


def take_back(platform: Platform, soon: Patience, *lost: str) -> None:
    """Start machines that were lost, and have them follow."""
    for name in lost:
        platform.start(name)
    soon(lambda: all(platform.answers(name) for name in lost), within=60)
    platform.play(
        CONVERGE,
        *WAIT,
        *("-e", "postgres_replica_on_split_brain=stop", "-e", "postgres_replica_on_diverged=rewind"),
    )


@pytest.fixture(scope="module", autouse=True)
def waiting(platform: Platform) -> Iterator[None]:
    """Have every commit wait for a replica, and at the end for none."""
    platform.play(CONVERGE, *WAIT)
    yield
    platform.play(CONVERGE)
    assert {platform.psql(name, NAMES) for name in platform.databases} == {""}


def test_commits_wait_for_a_replica_whoever_is_the_primary(platform: Platform) -> None:
    writer = platform.writer()
    assert platform.psql(writer, CONFIRMING).split() == platform.others(writer)
    assert {platform.psql(name, NAMES) for name in platform.databases} == {'ANY 1 ("pg1", "pg2", "pg3")'}
    assert set(platform.changed(platform.play(CONVERGE, *WAIT)).values()) == {0}


def test_more_than_can_remain_is_refused(platform: Platform) -> None:
    said = platform.play(CONVERGE, "-e", "postgres_server_synchronous_standbys=2", fails=True)
    assert "has postgres_server_synchronous_standbys=2, and there are 3 database hosts" in " ".join(
        said.split()
    )
    assert set(platform.changed(said).values()) == {0}


def test_a_switchover_is_without_an_error(platform: Platform) -> None:
    with platform.traffic() as account:
        time.sleep(2)
        for _round in range(2):
            heir = platform.others(platform.writer())[-1]
            platform.play("playbooks/switchover.yml", *WAIT, "-e", f"switchover_to={heir}")
            assert platform.writer() == heir
            assert platform.psql(heir, CONFIRMING).split() == platform.others(heir)
        time.sleep(2)
    print(f"{len(account.acknowledged)} acknowledged, longest wait {account.longest:.2f} s")
    assert account.errors == []
    assert len(account.acknowledged) > 200
    platform.prove(account)
    assert account.longest < STALL


def test_a_replica_that_is_killed_stops_no_writes(platform: Platform, soon: Patience) -> None:
    writer = platform.writer()
    lost = platform.others(writer)[0]
    with platform.traffic() as account:
        time.sleep(2)
        platform.kill(lost)
        killed = time.time()
        time.sleep(5)
    after = [when for when in account.times if when > killed + 1]
    print(f"{len(after)} writes after the kill, longest wait {account.longest:.2f} s")
    assert len(after) > 100
    platform.prove(account)
    platform.start(lost)
    soon(lambda: platform.psql(writer, CONFIRMING).split() == platform.others(writer), within=60)


def test_a_primary_that_is_lost_takes_no_acknowledged_row_along(platform: Platform, soon: Patience) -> None:
    """What it wrote last has reached one of the replicas only: that one is chosen."""
    lost = platform.writer()
    late, heir = platform.others(lost)
    address = platform.machine(late).ansible.get_variables()["ansible_host"]
    with platform.traffic() as account:
        time.sleep(2)
        platform.machine(lost).check_output("ip route add blackhole %s", address)
        time.sleep(3)
        platform.kill(lost)
        began = time.time()
        platform.play("playbooks/failover.yml", *WAIT, "-e", f"failover_fenced={lost}")
        time.sleep(3)
    assert platform.writer() == heir
    found = platform.rows(heir)
    print(f"{len(account.acknowledged)} acknowledged, {len(account.acknowledged - found)} of them missing")
    platform.prove(account)
    first = next(when for when in account.times if when > began + 1)
    print(f"writes came back {first - began:.1f} s after the start of failover.yml")
    assert first - began < BACK
    assert platform.psql(heir, CONFIRMING) == late
    take_back(platform, soon, lost)
    platform.prove(account)
    assert platform.psql(heir, CONFIRMING).split() == platform.others(heir)
    assert set(platform.changed(platform.play(CONVERGE, *WAIT)).values()) == {0}


def test_with_too_few_left_to_confirm_a_failover_is_a_decision(platform: Platform, soon: Patience) -> None:
    lost = platform.writer()
    missing, heir = platform.others(lost)
    with platform.traffic() as account:
        time.sleep(2)
        platform.kill(missing)
        time.sleep(3)
        platform.kill(lost)
        fenced = ("-e", f"failover_fenced={lost},{missing}")
        said = " ".join(platform.play("playbooks/failover.yml", *WAIT, *fenced, fails=True).split())
        assert (
            f"what is left of the replicas is {heir}: commits would wait for replicas that are not there"
            in said
        )
        assert "give that promise up by postgres_server_synchronous_standbys=0" in said
        assert platform.psql(heir, "SELECT pg_is_in_recovery()") == "t"
        began = time.time()
        given_up = ("-e", "postgres_server_synchronous_standbys=0")
        platform.play("playbooks/failover.yml", *given_up, *fenced)
        time.sleep(3)
    first = next(when for when in account.times if when > began)
    print(f"writes came back {first - began:.1f} s after the start of failover.yml")
    assert first - began < BACK
    assert platform.psql(heir, NAMES) == ""
    platform.prove(account)
    # The promise holds again once there is somebody to keep it with.
    take_back(platform, soon, lost, missing)
    assert platform.psql(heir, CONFIRMING).split() == platform.others(heir)
    platform.prove(account)
