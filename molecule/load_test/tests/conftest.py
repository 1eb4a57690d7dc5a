# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load tests against a small platform."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess

    from ansible_collections.payaid.scaling.molecule.conftest import Machines, Playbooks

RUNS = "/var/lib/payaid-load-test"
NO_TARGETS: Mapping[str, Any] = MappingProxyType({})
# Somebody's report, which has a connection of the pool to itself for most of the time.
REPORT = """\
import re
import psycopg

given = open("/etc/payaid-app/environment").read()
url = re.search('^DATABASE_URL="?([^"?]*)', given, re.MULTILINE)[1]
connection = psycopg.connect(url, autocommit=True, prepare_threshold=None)
while True:
    connection.execute("SELECT pg_sleep(0.1)")
"""
UNITS = "systemctl list-units --all --plain --no-legend --state=active 'payaid-load-test@*'"


@dataclass
class LoadTests:
    """Runs load tests from the scenario's generators; one of k6 is the first one's."""

    machines: Machines
    play: Playbooks
    reports: Path

    def generator(self, command: str, name: str = "gen1") -> str:
        return str(self.machines(name).check_output(f"sudo sh -c '{command}'"))

    def going_on(self) -> list[str]:
        """Return the load tests that go on."""
        said = str(self.machines("gen1").check_output(UNITS))
        return [line.split()[0] for line in said.splitlines() if line.strip()]

    def __call__(
        self,
        scenario: str,
        *words: str,
        fails: bool = False,
        targets: Mapping[str, Any] = NO_TARGETS,
        **how: Any,
    ) -> tuple[str, dict[str, Any]]:
        """Run one; return what was said, and what is kept of it, which is nothing where it was refused."""
        before = set(self.reports.glob("*.json"))
        given = self.given(scenario, targets) | how
        said = self.play("playbooks/load_test.yml", *words, fails=fails, **given)
        kept = [json.loads(path.read_text()) for path in set(self.reports.glob("*.json")) - before]
        return " ".join(said.split()), kept[0] if kept else {}

    def given(self, scenario: str, targets: Mapping[str, Any] = NO_TARGETS) -> dict[str, Any]:
        """Return what a run is told."""
        return {
            "load_test_scenario": scenario,
            "load_test_reports": str(self.reports),
            # How quick this computer is, on which everything runs, is not what is tried.
            "slo_targets": {"api_response_time_p95": 5000, "concurrent_users": False, **targets},
        }

    @contextmanager
    def begun(self, **how: Any) -> Iterator[subprocess.Popen[str]]:
        """Have one be under way."""
        with self.play.begin(
            "playbooks/load_test.yml",
            load_test_scenario="users",
            load_test_reports=str(self.reports),
            load_test_users=20,
            load_test_think_time=2,
            load_test_ramp=5,
            load_test_hold=300,
            **how,
        ) as running:
            try:
                yield running
            finally:
                self.kill()

    @contextmanager
    def reports_made(self) -> Iterator[None]:
        """Have each node make reports of its own, with what the app itself logs in by."""
        nodes = [self.machines(name) for name in ("app1", "app2")]
        begin = "sudo systemd-run --collect --unit=report --property=RuntimeMaxSec=1200 python3 -c %s"
        try:
            for node in nodes:
                node.check_output(begin, REPORT)
            yield
            for node in nodes:  # it was there all the time
                node.check_output("systemctl is-active report")
        finally:
            for node in nodes:
                node.run("sudo systemctl stop report")

    def kill(self, *, workers: bool = True) -> None:
        """Kill the runs of this test, with those of its processes that are in sessions of their own."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                command = (process / "cmdline").read_bytes().decode()
                parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            if str(self.reports) in command and (workers or parent == os.getpid()):
                os.kill(int(process.name), signal.SIGKILL)


@pytest.fixture
def load_tests(machines: Machines, playbooks: Playbooks, tmp_path: Path) -> LoadTests:
    return LoadTests(machines, playbooks, tmp_path)
