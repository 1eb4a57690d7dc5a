# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A platform that goes through the weeks, and the traffic that never stops meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.payaid.scaling.tests.traffic.process import Traffic
from redis import Redis, RedisCluster

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import (
        Asking,
        Machines,
        Patience,
        Playbooks,
        Running,
    )

MACHINES = ("lb1", "lb2", "app1", "app2", "pg1", "pg2", "redis1", "redis2", "redis3", "gen1")
# Requests a second: what a computer carries beside Ansible, of which a slow one has little left.
RATE = float(os.environ.get("WEEKS_RATE", "30"))
LEDGER = "/var/lib/payaid/ledger.jsonl"
WEEKS = {
    0: "week0_baseline",
    1: "week1_load_balancer",
    2: "week2_read_replica",
    3: "week3_redis_cluster",
    4: "week4_load_test",
    5: "week5_production",
}
# What a computer carries on which all of it runs, with the other traffic beside it.
LOAD: dict[str, Any] = {
    "load_test_phases": [{"seconds": 10, "rate": 2}, {"seconds": 20, "rate": 5}],
    "load_test_users": 40,
    "load_test_think_time": 4,
    "load_test_ramp": 5,
    "load_test_hold": 20,
}
TARGETS: dict[str, Any] = {"concurrent_users": 40, "api_response_time_p95": 2000}
# As many of them as would not be there again by chance.
REMEMBERED = 500
LASTS = 6 * 3600  # s, longer than all tests together


@dataclass
class Rollout:
    """The machines of this scenario, and the playbooks of the weeks."""

    machines: Machines
    ask: Asking
    play: Playbooks
    soon: Patience
    addresses: dict[str, str]
    state: Path
    # Seconds that each week took when it was last brought about.
    took: dict[int, float] = field(default_factory=dict)

    @property
    def authority(self) -> Path:
        return self.state / "web-ca" / "ca.crt"

    @property
    def edge(self) -> str:
        self.ask.certificate = self.authority.read_text()
        return f"https://{self.addresses['lb1']}"

    @property
    def shared(self) -> str:
        """Return where the load balancers are asked together, from week 5 on."""
        return self.edge.rpartition(".")[0] + ".254"

    @property
    def server(self) -> str:
        """Return where the single server of week 0 is asked."""
        return f"http://{self.addresses['app1']}:3000"

    def run(self, name: str, command: str, *words: str) -> str:
        return str(self.machines(name).check_output(command, *words))

    def psql(self, query: str) -> str:
        return self.run("pg1", "cd / && sudo -u postgres psql -XAtq -v ON_ERROR_STOP=1 -d app -c %s", query)

    def week(self, number: int, **how: Any) -> str:
        began = time.monotonic()
        said = self.play(f"playbooks/{WEEKS[number]}.yml", **{**self.loaded, **how})
        self.took[number] = time.monotonic() - began
        return " ".join(said.split())

    def begun(self, number: int) -> AbstractContextManager[Running]:
        """Have a week be under way."""
        return self.play.under_way(f"playbooks/{WEEKS[number]}.yml", **self.loaded)

    def killed(self, number: int, moments: random.Random) -> bool:
        """Run a week and kill it, children and all, at some moment; tell whether it had not ended before."""
        began = time.monotonic()
        with self.begun(number) as running:
            moment = began + moments.uniform(0.1, 1) * self.took.get(number, 240)
            while time.monotonic() < moment and running.process.poll() is None:
                time.sleep(0.1)
            if running.end(signal.SIGKILL):
                return True
            running.well()
        self.took[number] = time.monotonic() - began
        return False

    def verify(self, number: int, **how: Any) -> str:
        """Ask whether the week that it is in is whole."""
        return " ".join(self.play("playbooks/rollout_verify.yml", rollout_week=number, **how).split())

    def status(self) -> dict[str, Any]:
        """Return where it stands, as programs read it."""
        text = self.play("playbooks/rollout_status.yml", rollout_format="json")
        # Among what Ansible says of its own it is the only JSON.
        told: dict[str, Any] = json.loads(text[text.index("{\n") : text.rindex("}") + 1])
        return told

    def keep(self, entries: list[dict[str, Any]]) -> None:
        """Leave the ledger, beside the accounts of the traffic, for docs/rollout-timeline.md."""
        about = {
            "date": datetime.now(UTC).date().isoformat(),
            "debian": self.run("lb1", "cat /etc/debian_version").strip(),
            "cores": os.cpu_count(),
        }
        text = json.dumps({"about": about, "entries": entries}, indent=2)
        (self.beside / "weeks.json").write_text(text + "\n")

    @property
    def beside(self) -> Path:
        """Return the folder beside Molecule's own of the scenario, which it empties at its end."""
        return Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]).parent

    @property
    def reports(self) -> Path:
        return self.beside / "load-tests"

    @property
    def targets(self) -> dict[str, Any]:
        return TARGETS

    @property
    def loaded(self) -> dict[str, Any]:
        """What every week is given; those without a load test take no notice."""
        return {**LOAD, "slo_targets": TARGETS, "load_test_reports": str(self.reports)}

    @property
    def secret(self) -> dict[str, Any]:
        return {
            "username": "operator",
            "password": (self.state / "secrets" / "redis_operator").read_text().strip(),
        }

    def redis(self, instance: str) -> Redis:
        """Return a client of one instance, such as `redis1:6379`."""
        name, port = instance.split(":")
        return Redis(self.addresses[name], int(port), decode_responses=True, **self.secret)

    def roles(self) -> dict[str, str]:
        """Return what the members of the cluster are, as the first one sees it; who owns no slot is none."""
        found = {}
        with self.redis("redis1:6379") as client:
            for address, node in client.cluster("nodes").items():
                slave = "slave" in node["flags"]
                found[self._instance(address)] = "slave" if slave else "master" if node["slots"] else "none"
        return found

    def _instance(self, address: str) -> str:
        """Return the name of what is called by its address in the cluster."""
        host, port = address.split(":")
        return f"{next(name for name, own in self.addresses.items() if own == host)}:{port}"

    def masters(self) -> set[str]:
        return {instance for instance, role in self.roles().items() if role == "master"}

    def hand_over(self, master: str) -> None:
        """Let the replica of a master take its place."""
        with self.redis(master) as client:
            node_id = client.cluster("myid")
            [follower] = client.cluster("replicas", node_id)
        with self.redis(self._instance(follower)) as client:
            client.cluster("failover")
        self.soon(lambda: master not in self.masters(), 30)

    def remember(self, name: str) -> None:
        """Have Redis hold for hours what somebody has logged in with, say."""
        with RedisCluster(self.addresses["redis1"], 6379, **self.secret) as client:
            for number in range(REMEMBERED):
                client.set(f"{name}:{number}", number, ex=LASTS)

    def remembers(self, name: str) -> bool:
        with RedisCluster(self.addresses["redis1"], 6379, decode_responses=True, **self.secret) as client:
            there = [client.get(f"{name}:{number}") for number in range(REMEMBERED)]
            lasting = 0 < client.ttl(f"{name}:0") <= LASTS
        return lasting and there == [str(number) for number in range(REMEMBERED)]

    def back(self, number: int, **how: Any) -> str:
        return " ".join(self.play("playbooks/rollback.yml", rollout_week=number, **how).split())

    def ledger(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run(name, f"cat {LEDGER}").splitlines()]

    @contextmanager
    def without_ledger(self, *names: str) -> Iterator[None]:
        """Have these machines know of nothing."""
        for name in names:
            self.run(name, f"mv {LEDGER} {LEDGER}.away")
        try:
            yield
        finally:
            for name in names:
                self.run(name, f"mv {LEDGER}.away {LEDGER}")

    def done(self, name: str = "pg1") -> list[str]:
        """Return what a machine's ledger says, as `1 verified`."""
        return [f"{entry['week']} {entry['outcome']}" for entry in self.ledger(name)]

    def nodes(self, url: str) -> set[str]:
        """Return who answers."""
        return {str(self.ask(f"{url}/api/whoami").json()["node"]) for _time in range(30)}

    @contextmanager
    def traffic(self, target: str) -> Iterator[None]:
        """Have clients ask all the time: nothing may fail, and every write that was acknowledged be there."""
        ca = self.authority if target.startswith("https") else None
        with Traffic(target, self.beside / "traffic", ca=ca, rate=RATE) as traffic:
            began = traffic.mark("begin")
            yield
            report = traffic.report(began)
            traffic.stop()
        print(f"{report.sent} requests, {report.longest:.2f} s at the most")
        assert report.failures == ()
        assert report.sent > RATE
        verdict = traffic.verify(self.psql)
        assert verdict.good, verdict


@pytest.fixture(scope="session")
def rollout(machines: Machines, ask: Asking, playbooks: Playbooks, soon: Patience) -> Rollout:
    variables = {name: machines(name).ansible.get_variables() for name in MACHINES}
    return Rollout(
        machines,
        ask,
        playbooks,
        soon,
        {name: str(each["ansible_host"]) for name, each in variables.items()},
        Path(variables["lb1"]["ansible_ssh_private_key_file"]).parent,
    )
