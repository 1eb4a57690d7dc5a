# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A reader that keeps account, and the machines to take away from it."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Machines, Patience

LOG = "/run/reads.jsonl"


@dataclass(frozen=True)
class Account:
    """What a client that reads twenty times a second was told, by the time at which a read began."""

    machine: Any
    names: dict[str, str]  # of the servers, by address
    soon: Patience

    def start(self, password: str) -> None:
        self.machine.check_output(
            "rm -f %s && PGPASSWORD=%s systemd-run --quiet --unit=reads --collect --setenv=PGPASSWORD "
            "--property=StandardOutput=append:%s python3 /opt/reader.py",
            *(LOG, password, LOG),
        )

    def stop(self) -> None:
        self.machine.check_output("systemctl stop reads")
        said = self.since(0)
        print(
            f"{len(said)} reads {dict(Counter(read['server'] for read in said))}, "
            f"the longest {max(read['took'] for read in said):.1f} s"
        )
        for error, times in Counter(read["error"] for read in said if read["error"]).items():
            print(f"{times} x {error}")

    def since(self, begun: float) -> list[dict[str, Any]]:
        """Return the reads that began since then and have ended."""
        said = self.machine.check_output("cat %s", LOG).splitlines()
        reads = [{"error": "", "server": "nobody", "age": 0.0} | json.loads(line) for line in said]
        return [
            read | {"server": self.names.get(read["server"], "nobody")}
            for read in reads
            if read["at"] >= begun
        ]

    def errors(self, begun: float = 0) -> list[dict[str, Any]]:
        return [read for read in self.since(begun) if read["error"]]

    def avoid(self, *names: str, since: float, within: float, watch: float = 4) -> float:
        """Return after how many seconds the last read began that went to one of these servers, or failed."""
        time.sleep(max(0.0, since + within + watch - time.time()))
        reads = self.since(since)
        assert len([read for read in reads if read["at"] > since + within]) > 10 * watch, "it stopped reading"
        bad: list[float] = [read["at"] - since for read in reads if read["error"] or read["server"] in names]
        last = max(bad, default=0.0)
        print(f"{', '.join(names)} avoided after {last:.1f} s, {len(self.errors(since))} reads failed")
        assert last < within
        return last

    def use(self, *names: str, since: float, within: float) -> float:
        """Return after how many seconds all of these servers have answered."""

        def seen() -> bool:
            return set(names) <= {read["server"] for read in self.since(since)}

        self.soon(seen, since + within - time.time())
        took: float = max(
            min(read["at"] for read in self.since(since) if read["server"] == name) - since for name in names
        )
        print(f"{', '.join(names)} used after {took:.1f} s")
        return took


@pytest.fixture(scope="session")
def password(machines: Machines) -> str:
    """Return the app's password."""
    return str(machines("app1").ansible.get_variables()["vault_postgres_app_password"])


@pytest.fixture
def reads(machines: Machines, password: str, soon: Patience) -> Iterator[Account]:
    """Read during the test, from both replicas at its beginning."""
    names = {machines(n).ansible.get_variables()["ansible_host"]: n for n in ("pg1", "pg2", "pg3")}
    account = Account(machines("app1"), names, soon)
    account.start(password)
    try:
        account.use("pg2", "pg3", since=time.time(), within=30)
        yield account
    finally:
        account.stop()
