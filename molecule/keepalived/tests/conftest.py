# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pair of load balancers, and a client that never stops to ask for the address they share."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import (
        Asking,
        Holders,
        Machines,
        Patience,
        Playbooks,
        Power,
    )

BALANCERS = ("lb1", "lb2")
EVERY = 0.02  # s
# Below the second after which a kernel sends a first packet again: what is asked in a gap stays unanswered.
IMPATIENT = 0.8  # s


@dataclass
class Account:
    """What a client saw that asks anew all the time, on a new connection each time."""

    answered: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def gap(self) -> float:
        """Return the longest time in which no answer came."""
        return max(after - before for before, after in pairwise(sorted(self.answered)))

    def __str__(self) -> str:
        failed = ", ".join(f"{count} x {what}" for what, count in self.failed.items()) or "none"
        return f"gap {self.gap:.2f} s, {len(self.answered)} answered, failed: {failed}"


@dataclass
class Pair:
    """Two load balancers, and the address that they share."""

    machines: Machines
    ask: Asking
    play: Playbooks
    soon: Patience
    power: Power
    holders_of: Holders
    address: str
    addresses: dict[str, str]
    interval: float = 1.0

    def run(self, name: str, command: str, *words: str) -> str:
        return str(self.machines(name).check_output(command, *words))

    def holders(self) -> list[str]:
        """Return who has the address."""
        return self.holders_of(self.address, BALANCERS)

    def holder(self) -> str:
        (holder,) = self.holders()
        return holder

    def other(self, name: str) -> str:
        return BALANCERS[1 - BALANCERS.index(name)]

    def settle(self) -> str:
        """Wait until both could have it and one does; return which."""

        def well() -> bool:
            for name in BALANCERS:
                if self.ask(f"http://{self.addresses[name]}/health").status != 200:
                    return False
                if self.machines(name).run("systemctl is-active keepalived").rc:
                    return False
            return len(self.holders()) == 1

        self.soon(well, 60)
        # Whoever comes back has looked at its service twice by then, and could take the address.
        time.sleep(4 * self.interval + 1)
        return self.holder()

    @contextmanager
    def asked(self, patience: float = IMPATIENT) -> Iterator[Account]:
        """Ask for the address at a steady pace, whether or not there are answers."""
        account, over = Account(), threading.Event()

        def once() -> None:
            try:
                answer = self.ask(f"http://{self.address}/health", timeout=patience)
                if answer.status == 200:
                    account.answered.append(time.monotonic())
                else:
                    account.failed[str(answer.status)] += 1
            except (OSError, HTTPException) as error:
                account.failed[type(error).__name__] += 1

        def pace(clients: ThreadPoolExecutor) -> None:
            next_one = time.monotonic()
            while not over.wait(max(next_one - time.monotonic(), 0)):
                clients.submit(once)
                next_one = max(next_one + EVERY, time.monotonic() - 1)

        with ThreadPoolExecutor(int(patience / EVERY) + 20) as clients:
            pacing = threading.Thread(target=pace, args=(clients,))
            pacing.start()
            time.sleep(0.5)
            try:
                yield account
                time.sleep(0.5)
            finally:
                over.set()
                pacing.join()

    def connect(self, count: int) -> list[HTTPConnection]:
        """Open connections that are kept, as browsers do, and ask once on each."""
        connections = [HTTPConnection(self.address, timeout=5) for _number in range(count)]
        for one in connections:
            one.request("GET", "/health")
            one.getresponse().read()
        return connections


def tell(text: str) -> None:
    """Keep what was measured, for whoever reads the log of a run that passed."""
    print(text)
    with (Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "measured.txt").open("a") as file:
        file.write(f"Debian {os.environ['LAB_DEBIAN']}  {text}\n")


@pytest.fixture(scope="session")
def report() -> Any:
    """Say what was measured."""
    return tell


@pytest.fixture(scope="session")
def any_pair(
    machines: Machines,
    ask: Asking,
    playbooks: Playbooks,
    soon: Patience,
    power: Power,
    holders_of: Holders,
) -> Pair:
    addresses = {
        name: str(machines(name).ansible.get_variables()["ansible_host"]) for name in (*BALANCERS, "app1")
    }
    network = addresses["lb1"].rpartition(".")[0]
    return Pair(machines, ask, playbooks, soon, power, holders_of, f"{network}.254", addresses)


@pytest.fixture(scope="module", params=[1.0, 0.2], ids=["default", "tuned"])
def pair(any_pair: Pair, request: pytest.FixtureRequest) -> Pair:
    """Return the pair at the default interval between signs of life, and then at a short one."""
    any_pair.interval = request.param
    any_pair.play.converge(keepalived_advert_interval=request.param)
    any_pair.settle()
    return any_pair
