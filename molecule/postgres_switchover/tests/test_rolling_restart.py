# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that need a restart come into force on all servers while clients write and read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Patience

    from .conftest import Platform

testinfra_hosts = ["app1"]
STALL = 3.0  # s; the longest that a client may wait
MORE = ("-e", "postgres_server_max_connections=320")
CONVERGE = "molecule/postgres_switchover/converge.yml"
PLAYBOOK = "playbooks/postgres_rolling_restart.yml"
# What a standby logs when it has less than its primary: it does not replay any more, or does not start.
STOOD_STILL = "insufficient parameter settings"


def in_force(platform: Platform) -> dict[str, str]:
    return {name: platform.psql(name, "SHOW max_connections") for name in platform.databases}


def started(platform: Platform) -> dict[str, str]:
    return {name: platform.psql(name, "SELECT pg_postmaster_start_time()") for name in platform.databases}


def follow(platform: Platform) -> bool:
    """Tell whether both standbys stream to the primary's satisfaction."""
    streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
    return platform.psql(platform.writer(), streaming) == "2"


def complaints(platform: Platform) -> str:
    logs = [
        platform.machine(name).run("grep -h %s /var/log/postgresql/*.log", STOOD_STILL).stdout
        for name in platform.databases
    ]
    return "".join(logs)


def roll(platform: Platform, soon: Patience, *words: str) -> None:
    """Restart what waits for it while clients write and read, who must not notice."""
    with platform.traffic() as account:
        time.sleep(2)
        platform.play(PLAYBOOK, *words)
        soon(lambda: follow(platform), within=10)
        time.sleep(2)
    seen = f"{len(account.acknowledged)} acknowledged, {account.reads} reads"
    print(f"{seen}, longest wait {account.longest:.2f} s")
    assert account.errors == []
    assert len(account.acknowledged) > 1000
    assert account.reads > 1000
    platform.prove(account)
    assert account.longest < STALL


def test_a_setting_is_raised_and_lowered_again_without_an_error(platform: Platform, soon: Patience) -> None:
    writer, before = platform.writer(), started(platform)
    assert set(in_force(platform).values()) == {"300"}
    said = platform.play(CONVERGE, *MORE)
    # The primary's turn comes when its standbys have been restarted.
    assert "Settings wait for a restart of PostgreSQL on" in said
    assert f"{writer} (max_connections)" not in said
    assert started(platform) == before, "it was restarted without being asked to"
    roll(platform, soon, *MORE)
    assert set(in_force(platform).values()) == {"320"}
    raised = started(platform)
    assert all(raised[name] != before[name] for name in platform.databases)

    said = platform.play(CONVERGE)
    assert f"restart of PostgreSQL on {writer} (max_connections): run" in said
    assert started(platform) == raised
    roll(platform, soon)
    assert set(in_force(platform).values()) == {"300"}
    assert complaints(platform) == ""
    assert platform.writer() == writer

    after = started(platform)
    assert set(platform.changed(platform.play(PLAYBOOK)).values()) == {0}
    said = platform.play(CONVERGE)
    assert set(platform.changed(said).values()) == {0}, said[-3000:]
    assert "Settings wait for a restart" not in said
    assert started(platform) == after


def test_a_value_that_no_server_would_start_with_is_never_written(platform: Platform) -> None:
    before = started(platform)
    wrong = ("-e", '{"postgres_server_settings": {"max_locks_per_transaction": "many"}}')
    for playbook in (CONVERGE, PLAYBOOK):
        assert 'invalid value for parameter "max_locks_per_transaction"' in platform.play(
            playbook, *wrong, fails=True
        ).replace('\\"', '"')
    assert started(platform) == before
    assert set(platform.changed(platform.play(CONVERGE)).values()) == {0}


def test_statements_are_counted_in_the_database_of_the_app(platform: Platform) -> None:
    assert int(platform.psql(platform.writer(), "SELECT count(*) FROM pg_stat_statements")) > 0
    assert {platform.psql(name, "SHOW shared_buffers") for name in platform.databases} == {"256MB"}
