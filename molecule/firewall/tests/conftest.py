# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The machines of all tiers, what each should reach of the others, and what it does reach."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import (
        Machines,
        Patience,
        Playbooks,
        Power,
    )

PROGRAM = "/usr/local/lib/payaid_firewall"
TIERS = {
    "lb1": "balancer",
    "lb2": "balancer",
    "app1": "app",
    "app2": "app",
    "pg1": "database",
    "pg2": "database",
    "redis1": "redis",
    "redis2": "redis",
    "redis3": "redis",
    "backup1": "backup",
    # It has no firewall.
    "mon1": "outside",
}
CLOSED = [name for name, tier in TIERS.items() if tier != "outside"]
ANYBODY = {"balancer", "app", "database", "redis", "backup", "outside"}
# What docs/firewall.md declares: for each tier its ports, and which tiers reach them.
MATRIX: dict[str, dict[int, set[str]]] = {
    "balancer": {80: ANYBODY, 443: ANYBODY},
    "app": {3000: {"balancer"}, 3001: {"balancer"}, 6432: {"database"}},
    "database": {5432: {"app", "database"}, 5430: {"app"}, 8432: {"backup"}},
    "redis": {
        6379: {"app", "redis"},
        6380: {"app", "redis"},
        16379: {"redis"},
        16380: {"redis"},
    },
    "backup": {8432: {"database"}},
}
# What the inventory adds for one machine outside.
EXTRA = 9100
DECLARED = sorted({port for ports in MATRIX.values() for port in ports} | {EXTRA})
# Each machine listens there as well, and nobody may come.
UNDECLARED = [3100, 5433, 8081, 9999, 26379]
PORTS = [22, *DECLARED, *UNDECLARED]


# Who is asked all the time by whom.
USED = [
    ("mon1", "lb1", 443),
    ("lb1", "app1", 3000),
    ("app1", "pg1", 5432),
    ("pg2", "pg1", 5432),
    ("app2", "redis1", 6379),
    ("redis2", "redis3", 16380),
    ("pg1", "backup1", 8432),
    ("pg1", "app2", 6432),
]


def wanted(asked: str, asker: str) -> list[int]:
    """Return the ports of a machine that another one should reach."""
    if TIERS[asked] == "outside":
        return PORTS
    tier = MATRIX[TIERS[asked]]
    return [
        port
        for port in PORTS
        if TIERS[asker] in tier.get(port, ()) or (port == EXTRA and TIERS[asker] == "outside")
    ]


def _changed(said: str) -> bool:
    return re.search(r"\bchanged=[1-9]", said) is not None


@dataclass
class Tiers:
    """The machines, asked all at once."""

    program: ClassVar[str] = PROGRAM
    names: ClassVar[list[str]] = list(TIERS)
    closed: ClassVar[list[str]] = CLOSED
    ports: ClassVar[list[int]] = PORTS
    undeclared: ClassVar[list[int]] = UNDECLARED
    used: ClassVar[list[tuple[str, str, int]]] = USED

    machines: Machines
    play: Playbooks
    soon: Patience
    power: Power
    addresses: dict[str, str]

    def run(self, name: str, command: str, *words: str) -> str:
        return str(self.machines(name).check_output(command, *words))

    def everywhere(self, command: str, names: list[str] | None = None) -> dict[str, str]:
        asked = names or CLOSED
        with ThreadPoolExecutor(len(asked)) as threads:
            return dict(zip(asked, threads.map(lambda name: self.run(name, command), asked), strict=True))

    def states(self) -> set[str]:
        """Return what the machines say is in force."""
        said = self.everywhere(f"if test -e {PROGRAM}; then {PROGRAM} state; else echo away; fi")
        return {state.strip() for state in said.values()}

    def scan(self) -> dict[str, dict[str, list[int]]]:
        """Return which ports each machine reaches of each other one."""
        command = f"python3 /opt/scan.py {','.join(map(str, PORTS))} {' '.join(self.addresses.values())}"
        names = {address: name for name, address in self.addresses.items()}
        return {
            asker: {
                names[address]: ports
                for address, ports in json.loads(said).items()
                if names[address] != asker
            }
            for asker, said in self.everywhere(command, list(TIERS)).items()
        }

    def differences(self) -> list[str]:
        """Return where what is reached is not what is declared."""
        return [
            f"{asker} to {asked}: {ports}, declared {wanted(asked, asker)}"
            for asker, found in self.scan().items()
            for asked, ports in found.items()
            if ports != wanted(asked, asker)
        ]

    def converge(self, **variables: Any) -> bool:
        """Run the scenario's playbook; return whether that changed anything."""
        return _changed(self.play.converge(**variables))

    def open(self) -> bool:
        """Go back from the week that brings the firewall."""
        return _changed(self.play("playbooks/firewall.yml", rollout_week=4, rollout_back_from=5))

    @contextmanager
    def in_use(self) -> Iterator[dict[str, dict[str, int]]]:
        """Have clients connect all the time; what they heard is there afterwards."""
        heard: dict[str, dict[str, int]] = {}
        names = [f"{asker}-{asked}-{port}" for asker, asked, port in USED]
        for name, (asker, asked, port) in zip(names, USED, strict=True):
            self.run(
                asker,
                f"systemd-run --quiet --unit=ask-{name} python3 /opt/ask.py {self.addresses[asked]} {port}",
            )
        try:
            yield heard
        finally:
            for name, (asker, _asked, _port) in zip(names, USED, strict=True):
                self.run(asker, f"systemctl stop ask-{name}")
        for name, (asker, _asked, _port) in zip(names, USED, strict=True):
            said = self.run(asker, f"journalctl --unit=ask-{name} --output=cat | grep '^{{' | tail -n 1")
            heard[name] = json.loads(said)


@pytest.fixture(scope="session")
def tiers(machines: Machines, playbooks: Playbooks, soon: Patience, power: Power) -> Tiers:
    """Return the machines, with their firewall up."""
    addresses = {name: str(machines(name).ansible.get_variables()["ansible_host"]) for name in TIERS}
    return Tiers(machines, playbooks, soon, power, addresses)
