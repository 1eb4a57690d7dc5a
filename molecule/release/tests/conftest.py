# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of the scenario, those before them, and clients that ask all the time."""

from __future__ import annotations

import itertools
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Asking, Machines, Playbooks, Power

NODES, BALANCERS = ("app1", "app2", "app3"), ("lb1", "lb2")
PORTS, WORKER_PORTS = (3000, 3001), (3100,)


@dataclass
class Account:
    """What clients were told, and what went wrong."""

    answers: int = 0
    releases: set[str] = field(default_factory=set)
    longest: float = 0.0
    errors: list[str] = field(default_factory=list)


@dataclass
class Fleet:
    """The nodes, and those before them."""

    machines: Machines
    ask: Asking
    play: Playbooks
    power: Power
    addresses: dict[str, str]

    def serve(self, node: str) -> set[str]:
        """Return the releases that the processes of a node serve."""
        return {
            str(self.ask(f"http://{self.addresses[node]}:{port}/api/whoami").json()["release"])
            for port in (*PORTS, *WORKER_PORTS)
        }

    def all_serve(self, release: str, nodes: Sequence[str] = NODES) -> bool:
        return {one for node in nodes for one in self.serve(node)} == {release}

    def units(self, node: str) -> dict[str, str]:
        """Return the processes that systemd knows of on a node, and what they are doing."""
        said = self.machines(node).check_output(
            "systemctl list-units --all --plain --no-legend 'payaid-app*@*.service'"
        )
        return {line.split()[0]: line.split()[2] for line in said.splitlines()}

    def upstream(self) -> dict[str, bool]:
        """Return the servers in the balancers' files, and whether they get requests; both have to agree."""
        files = [
            self.machines(name).file("/etc/nginx/upstreams/app.conf").content_string for name in BALANCERS
        ]
        assert len(set(files)) == 1
        lines = [line for line in files[0].splitlines() if line.strip().startswith("server ")]
        return {line.split()[1]: not line.endswith(" down;") for line in lines}

    def endpoints(self, *nodes: str) -> set[str]:
        return {f"{self.addresses[node]}:{port}" for node in nodes for port in PORTS}

    def kept(self, node: str) -> set[str]:
        return set(self.machines(node).check_output("ls /opt/payaid-app/releases").split())

    def drained(self) -> set[str]:
        """Return the servers that the balancers leave out."""
        return {server for server, serves in self.upstream().items() if not serves}

    def leave_out(self, servers: set[str]) -> None:
        """Have the balancers send no requests there, as a deployment does."""
        given = json.dumps({"name": "app", "drained": sorted(servers)})
        for name in BALANCERS:
            done = self.machines(name).ansible(
                "payaid.scaling.nginx_upstream", given, check=False, become=True
            )
            assert not done.get("failed"), done

    def deploy(self, release: str, *words: str, fails: bool = False, **more: Any) -> str:
        """Bring a release to the app nodes; nothing else sees to the balancers."""
        return self.scale(release, "--limit=app_nodes", *words, fails=fails, **more)

    def scale(self, release: str, *words: str, fails: bool = False, **more: Any) -> str:
        """Bring a release to the app nodes, and the balancers to those of them that serve."""
        said = self.play.converge(*words, fails=fails, release=release, **more)
        return " ".join(said.split())

    def begin(self, release: str, **more: Any) -> subprocess.Popen[str]:
        """Begin with a deployment, to be killed or met by another one."""
        where = self.play.scenario / "converge.yml"
        return self.play.begin(where, "--limit=app_nodes", release=release, **more)

    @contextmanager
    def traffic(self) -> Iterator[Account]:
        """Have clients ask both balancers, write, and wait for slow answers, always on new connections."""
        account, over = Account(), threading.Event()
        requests = (
            ("GET", "/page"),
            ("POST", "/orders"),
            ("GET", "/slow?ms=3000"),
            ("POST", "/slow?ms=1000"),
        )

        def client(balancer: str, method: str, path: str) -> None:
            for number in itertools.count():
                if over.is_set():
                    return
                began = time.monotonic()
                body = {"number": number} if method == "POST" else None
                try:
                    answer = self.ask(
                        f"http://{self.addresses[balancer]}{path}", method=method, body=body, timeout=30
                    )
                    said = answer.json() if answer.status == 200 else {}
                    if answer.status != 200 or (body and said["taken"] != f'{{"number": {number}}}'):
                        account.errors.append(f"{method} {path}: {answer.status} {answer.body[:200]!r}")
                    account.releases.add(said.get("release", ""))
                except (OSError, HTTPException) as error:
                    account.errors.append(f"{method} {path}: {error!r}")
                account.answers += 1
                account.longest = max(account.longest, time.monotonic() - began)
                time.sleep(0.05)

        clients = [
            threading.Thread(target=client, args=(balancer, *request))
            for balancer in BALANCERS
            for request in requests
        ]
        for one in clients:
            one.start()
        try:
            yield account
        finally:
            over.set()
            for one in clients:
                one.join()
        print(f"{account.answers} answers, longest {account.longest:.2f} s, {len(account.errors)} errors")


@pytest.fixture(scope="session")
def fleet(machines: Machines, ask: Asking, playbooks: Playbooks, power: Power) -> Fleet:
    addresses = {
        name: str(machines(name).ansible.get_variables()["ansible_host"]) for name in (*NODES, *BALANCERS)
    }
    return Fleet(machines, ask, playbooks, power, addresses)
