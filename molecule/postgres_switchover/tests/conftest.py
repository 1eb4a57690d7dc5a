# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Clients on the app nodes, the databases, and the playbooks that are run while the clients go on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Machines, Playbooks, Power

NODES = ("app1", "app2")
DATABASES = ("pg1", "pg2", "pg3")
RECAP = re.compile(r"^(\w+) +: ok=\d+ +changed=(\d+) .* failed=(\d+)", re.MULTILINE)
UNIT, OUT = "payaid-traffic", "/run/payaid-traffic.json"


@dataclass
class Account:
    """What the clients were promised, and what became of them."""

    acknowledged: set[int] = field(default_factory=set)
    times: list[float] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    reads: int = 0
    longest: float = 0.0


@dataclass
class Platform:
    """The machines of this scenario."""

    machine: Machines
    play: Playbooks
    power: Power
    databases: tuple[str, ...] = DATABASES
    off: set[str] = field(default_factory=set)

    def psql(self, name: str, query: str, database: str = "app") -> str:
        said = self.machine(name).check_output(
            "cd / && sudo -u postgres psql -XAtq -v ON_ERROR_STOP=1 -d %s -c %s", database, query
        )
        return str(said)

    def answers(self, name: str) -> bool:
        """Whether the machine is there, and its PostgreSQL."""
        try:
            return bool(self.machine(name).run("sudo -u postgres psql -XAtqc 'SELECT 1'").rc == 0)
        except RuntimeError:  # SSH is not there yet
            return False

    def writer(self) -> str:
        """Return the one that takes writes, which is one of those that are there."""
        there = [name for name in self.databases if name not in self.off]
        (found,) = [name for name in there if self.psql(name, "SELECT pg_is_in_recovery()") == "f"]
        return found

    def kill(self, name: str) -> None:
        """Take the machine's power away."""
        self.power("kill", name, "--signal=KILL")
        self.off.add(name)

    def start(self, name: str) -> None:
        self.power("start", name)
        self.off.discard(name)

    @contextmanager
    def traffic(self) -> Iterator[Account]:
        """Have clients on every app node write and read; their account is complete once they have ended."""
        account = Account()
        secret = self.machine(NODES[0]).ansible.get_variables()["vault_postgres_app_password"]
        for name in NODES:
            self.machine(name).check_output(
                "systemd-run --quiet --unit=%s --setenv=PGHOST=127.0.0.1 --setenv=PGPORT=6432 "
                "--setenv=PGUSER=app --setenv=PGPASSWORD=%s /usr/bin/python3 /usr/local/bin/traffic %s",
                UNIT,
                secret,
                OUT,
            )
        try:
            yield account
        finally:
            for name in NODES:
                self.machine(name).check_output("systemctl stop %s", UNIT)
                said = json.loads(self.machine(name).check_output("cat %s", OUT))
                account.acknowledged |= set(said["acknowledged"])
                account.times += said["times"]
                account.errors += said["errors"]
                account.reads += said["reads"]
                account.longest = max(account.longest, said["longest"])
        account.times.sort()

    def rows(self, name: str) -> set[int]:
        return set(map(int, self.psql(name, "SELECT n FROM traffic").split()))

    def prove(self, account: Account) -> None:
        """Nothing that was acknowledged is missing on the server that takes writes."""
        missing = account.acknowledged - self.rows(self.writer())
        assert not missing, f"{len(missing)} of {len(account.acknowledged)} acknowledged rows are gone"

    @staticmethod
    def changed(said: str) -> dict[str, int]:
        """Return how much a playbook changed on each machine, by what it said at its end."""
        return {name: int(count) for name, count, _failed in RECAP.findall(said) if name != "localhost"}

    def others(self, name: str) -> list[str]:
        return [host for host in self.databases if host != name]


@pytest.fixture(scope="session")
def platform(machines: Machines, playbooks: Playbooks, power: Power) -> Platform:
    return Platform(machines, playbooks, power)


@pytest.fixture(autouse=True)
def table(platform: Platform) -> None:
    """Give the clients a table, made by their own user."""
    platform.psql(
        platform.writer(),
        "CREATE TABLE IF NOT EXISTS traffic (n bigint PRIMARY KEY); ALTER TABLE traffic OWNER TO app",
    )
