# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes the master away under traffic: writes come back, and each acknowledged one is accounted for.

Replication is asynchronous. What the master acknowledged in its last moments and had not sent yet goes with
it, and nothing that Sentinel does can change that; anything older must be there.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.payaid.scaling.molecule.conftest import Machines, Patience, Playbooks

    from .conftest import Access, Account

testinfra_hosts = ["redis1"]
BACK_WITHIN = 15.0  # s
LAST_MOMENTS = 1.0  # s; a machine that is not overloaded sends within milliseconds
UNIT = "redis-server@6379"


def unchanged(said: str) -> bool:
    return len(re.findall(r"changed=0 .*failed=0", said)) == 3


def wait_for_writes(account: Account, soon: Patience) -> float:
    """Return how long it took until a write was acknowledged."""
    before = len(account.acknowledged)
    return float(soon(lambda: len(account.acknowledged) > before, BACK_WITHIN))


def in_step(access: Access, address: str, master: str) -> bool:
    seen = access.replication(address)
    return (seen["role"], seen.get("master_host"), seen.get("master_link_status")) == ("slave", master, "up")


def account_for(account: Account, away: float) -> None:
    """Prove that nothing is lost that the master had acknowledged before its last moments."""
    time.sleep(3)  # in which the sentinels tell each other
    account.stop()
    lost = account.lost()
    print(
        f"{len(account.acknowledged)} writes acknowledged, {len(lost)} of them lost, {len(account.errors)} "
        "errors, "
        f"the longest pause {account.longest:.1f} s"
    )
    assert len(account.acknowledged) > 100
    older = [
        key for key in lost if not away - LAST_MOMENTS <= account.acknowledged[key][1] <= away + LAST_MOMENTS
    ]
    assert older == []


@pytest.fixture
def everybody(access: Access, machines: Machines, soon: Patience) -> Iterator[None]:
    """Leave all three in step, however the test ends."""
    yield
    for name in access.machines.values():
        machines(name).check_output("systemctl start %s payaid-sentinel", UNIT)
    soon(lambda: len(set(access.opinions())) == 1, 30)
    master = access.master()
    soon(lambda: all(a == master or in_step(access, a, master) for a in access.machines), 60)


@pytest.mark.usefixtures("everybody")
def test_a_machine_that_is_lost_is_replaced(
    access: Access, machines: Machines, traffic: Account, playbooks: Playbooks, soon: Patience
) -> None:
    old = access.master()
    machine = machines(access.machines[old])
    soon(lambda: len(traffic.acknowledged) > 500, 30)
    # Its sentinel as well, and with no time to say good-bye.
    pids = [machine.check_output("systemctl show -P MainPID %s", unit) for unit in ("payaid-sentinel", UNIT)]
    machine.check_output("kill -9 %s %s && systemctl stop payaid-sentinel %s", *pids, UNIT)
    away = time.monotonic()
    print(f"writes were back after {wait_for_writes(traffic, soon):.1f} s")
    account_for(traffic, away)

    machine.check_output("systemctl start payaid-sentinel %s", UNIT)
    soon(lambda: access.replaced(old), 30)
    new = access.master()
    took = soon(lambda: in_step(access, old, new), 60)
    print(f"the former master followed after {took:.1f} s")
    assert unchanged(playbooks.converge())
    assert access.master() == new


@pytest.mark.usefixtures("everybody")
def test_a_master_that_hangs_is_replaced_and_takes_no_writes_when_it_is_back(
    access: Access, machines: Machines, traffic: Account, soon: Patience
) -> None:
    old = access.master()
    machine = machines(access.machines[old])
    soon(lambda: len(traffic.acknowledged) > 500, 30)
    pid = machine.check_output("systemctl show -P MainPID %s", UNIT)
    machine.check_output("kill -STOP %s", pid)
    away = time.monotonic()
    try:
        took = wait_for_writes(traffic, soon)
        soon(lambda: access.replaced(old), 30)
    finally:
        machine.check_output("kill -CONT %s", pid)
    print(f"writes were back after {took:.1f} s")
    account_for(traffic, away)
    soon(lambda: in_step(access, old, access.master()), 60)


def test_a_process_that_is_killed_is_back_before_anybody_replaces_it(
    access: Access, machines: Machines, traffic: Account, soon: Patience
) -> None:
    old = access.master()
    machine = machines(access.machines[old])
    soon(lambda: len(traffic.acknowledged) > 500, 30)
    machine.check_output("kill -9 $(systemctl show -P MainPID %s)", UNIT)
    away = time.monotonic()
    print(f"writes were back after {wait_for_writes(traffic, soon):.1f} s")
    account_for(traffic, away)
    assert traffic.lost() == [], "what it wrote to its append-only file outlives the process"
    assert access.master() == old


def test_what_needs_a_restart_rolls_and_loses_nothing(
    access: Access, traffic: Account, playbooks: Playbooks
) -> None:
    def run_ids() -> set[str]:
        found = set()
        for address in access.machines:
            said: Any = access.server(address).info("server")
            found.add(said["run_id"])
        return found

    before = run_ids()
    try:
        playbooks.converge(redis_server_settings={"tcp-backlog": 1024})
        traffic.stop()
        print(f"{len(traffic.acknowledged)} writes acknowledged, the longest pause {traffic.longest:.1f} s")
        assert traffic.lost() == []
        assert not before & run_ids(), "a server was not restarted"
        assert traffic.longest < BACK_WITHIN
    finally:
        playbooks.converge()
    assert unchanged(playbooks.converge())
