# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge with its app nodes, the traffic that never stops, and the rows that it leaves for docs/edge-
faults.md.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.payaid.scaling.tests.traffic.account import Report
from ansible_collections.payaid.scaling.tests.traffic.page import Measured, Row
from ansible_collections.payaid.scaling.tests.traffic.process import Traffic

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
ACTIVE = ("app1", "app2")
PORTS = (3000, 3001)
# Requests a second: what a computer carries beside Ansible, of which a slow one has little left.
RATE = float(os.environ.get("EDGE_RATE", "60"))
SOCKETS = 4
# s; the balancer's own, and then a slow answer of another process.
CLIENT_TIMEOUT = 20
BEFORE, AFTER = 2.0, 3.0  # s of traffic with nothing done, at either end


@dataclass
class Trial:
    """One change or fault, and what clients saw of it."""

    traffic: Traffic
    began: float
    struck: float = 0.0
    seen: Report | None = None

    def strike(self) -> None:
        """Note that what was to be broken is broken by now."""
        self.struck = self.traffic.mark("struck")

    @property
    def report(self) -> Report:
        assert self.seen is not None
        return self.seen


@dataclass
class Edge:
    """The machines of this scenario."""

    machines: Machines
    ask: Asking
    play: Playbooks
    soon: Patience
    power: Power
    holders_of: Holders
    addresses: dict[str, str]
    state: Path
    rows: Path
    address: str = field(init=False)

    def __post_init__(self) -> None:
        self.address = self.addresses["lb1"].rpartition(".")[0] + ".254"
        self.ask.certificate = self.authority.read_text()

    @property
    def authority(self) -> Path:
        return self.state / "web-ca" / "ca.crt"

    # -- machines

    def run(self, name: str, command: str, *words: str) -> str:
        return str(self.machines(name).check_output(command, *words))

    def signal(self, name: str, port: int, signal: str) -> None:
        """Send a signal to one process of the app."""
        self.run(name, "systemctl kill --kill-whom=main --signal=%s payaid-app@%s.service", signal, str(port))

    def psql(self, query: str) -> str:
        return self.run("pg1", "cd / && sudo -u postgres psql -XAtq -v ON_ERROR_STOP=1 -d app -c %s", query)

    def holders(self) -> list[str]:
        """Return who has the virtual IP."""
        return self.holders_of(self.address, BALANCERS)

    def holder(self) -> str:
        (found,) = self.holders()
        return found

    # -- releases

    def release(self, name: str, playbook: str = "playbooks/release.yml", **how: Any) -> str:
        """Run a playbook with a release of that name; the good ones are all the same build."""
        broken = self.state / "releases" / f"{name}.tar.gz"
        if broken.exists():
            how |= {"app_node_artifact": str(broken), "app_node_artifact_sha256": ""}
        said = self.play(playbook, app_node_release=name, **({"app_nodes_active": 2} | how))
        return " ".join(said.split())

    def serve(self, *nodes: str) -> set[str]:
        """Return the releases that the processes of these nodes serve."""
        return {
            str(self.ask(f"http://{self.addresses[node]}:{port}/api/whoami").json()["release"])
            for node in nodes
            for port in PORTS
        }

    def nodes(self) -> set[str]:
        """Return the nodes that answer, as a client sees them."""
        return {str(self.ask(f"https://{self.address}/api/whoami").json()["node"]) for _time in range(50)}

    # -- what clients see

    def well(self) -> bool:
        """Whether everything is there that may be broken."""
        asked = [f"https://{self.addresses[name]}/health" for name in BALANCERS]
        asked += [f"http://{self.addresses[node]}:{port}/api/health" for node in ACTIVE for port in PORTS]
        if any(self.ask(url).status != 200 for url in asked):
            return False
        try:
            alive = [self.machines(name).run("systemctl is-active keepalived").rc for name in BALANCERS]
        except RuntimeError:  # SSH is not there yet
            return False
        return not any(alive)

    def settle(self) -> None:
        """Wait until all is well, and have the balancers forget what failed."""
        self.soon(self.well, 120)
        for name in BALANCERS:
            self.run(name, "systemctl reload nginx")
        self.soon(lambda: len(self.holders()) == 1, 30)
        time.sleep(1)

    @contextmanager
    def trial(self, what: str, *, planned: bool) -> Iterator[Trial]:
        """Have clients ask all the time, and keep what they saw; every write they were promised has to be
        there.
        """
        folder = self.rows.parent / "traffic"
        target = f"https://{self.address}"
        words = (f"--sockets={SOCKETS}", f"--timeout={CLIENT_TIMEOUT}")
        with Traffic(target, folder, *words, ca=self.authority, rate=RATE) as traffic:
            time.sleep(BEFORE)
            one = Trial(traffic, traffic.mark(what))
            yield one
            time.sleep(AFTER)
            one.seen = traffic.report(one.began)
            traffic.stop()
        row = Row.of(what, planned, one.seen)
        print(row)
        for failure in one.seen.failures[:20]:
            print(
                f"  {failure.sent - one.began:.2f} to {failure.ended - one.began:.2f} s, {failure.over}: "
                f"{failure.cause}, {failure.said}"
            )
        measured = Measured.read(self.rows)
        measured.about |= self.about()
        measured.keep(row)
        measured.write(self.rows)
        verdict = traffic.verify(self.psql)
        assert verdict.good, verdict
        # Else it was not the platform that was measured.
        assert one.seen.late < 1, f"this computer was too busy: a request was sent {one.seen.late:.2f} s late"

    def about(self) -> dict[str, str | float]:
        """Return where and with what this is measured."""
        node = 'exec "/proc/$(systemctl show -P MainPID payaid-app@3000.service)/exe" --version'
        return {
            "date": datetime.now(UTC).date().isoformat(),
            "debian": self.run("lb1", "cat /etc/debian_version").strip(),
            "nginx": self.run("lb1", "nginx -v 2>&1").rpartition("/")[2].strip(),
            "keepalived": self.run("lb1", "keepalived --version 2>&1 | head -n 1").split()[1].lstrip("v"),
            "node": self.run("app1", node).strip().lstrip("v"),
            "cores": str(os.cpu_count()),
            "rate": RATE,
            "sockets": str(SOCKETS),
        }


@pytest.fixture(scope="session")
def session_edge(
    machines: Machines,
    ask: Asking,
    playbooks: Playbooks,
    soon: Patience,
    power: Power,
    holders_of: Holders,
) -> Edge:
    variables = {name: machines(name).ansible.get_variables() for name in (*BALANCERS, *ACTIVE)}
    # Beside Molecule's own folder of the scenario, which it empties at its end.
    rows = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]).parent / "edge_faults.json"
    return Edge(
        machines,
        ask,
        playbooks,
        soon,
        power,
        holders_of,
        {name: str(each["ansible_host"]) for name, each in variables.items()},
        Path(variables["lb1"]["ansible_ssh_private_key_file"]).parent,
        rows,
    )


@pytest.fixture
def edge(session_edge: Edge) -> Edge:
    """Return the edge with all that the test before has broken mended."""
    session_edge.settle()
    return session_edge
