# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of all scenarios ask with."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import testinfra

ROOT = Path(__file__).resolve().parents[1]
Machines = Callable[[str], Any]
Patience = Callable[..., Any]
Power = Callable[..., None]
Holders = Callable[[str, Sequence[str]], list[str]]


def pytest_configure() -> None:
    """Be ended by SIGTERM as by Ctrl-C, so that the tests take down what they have started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer, read whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Return the body as what it says in JSON."""
        return json.loads(self.body)


class Asking:
    """Asks over HTTP from the controller; redirects and cookies are left for the test to see."""

    certificate: str = ""

    def open(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        timeout: float = 10,
    ) -> HTTPResponse:
        """Send a request and return the answer with its body not yet read."""
        parts = urlsplit(url)
        connection: HTTPConnection
        if parts.scheme == "https":
            trust = ssl.create_default_context(cadata=self.certificate)
            connection = HTTPSConnection(parts.netloc, timeout=timeout, context=trust)
        else:
            connection = HTTPConnection(parts.netloc, timeout=timeout)
        sent = dict(headers or {})
        if body is not None:
            body = json.dumps(body)
            sent.setdefault("Content-Type", "application/json")
        target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
        connection.request(method, target, body=body, headers=sent)
        return connection.getresponse()

    def __call__(self, url: str, **how: Any) -> Answer:
        """Send a request and return the whole answer."""
        with self.open(url, **how) as answer:
            headers = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, headers, answer.read())


@pytest.fixture(scope="session")
def ask() -> Asking:
    """Ask over HTTP."""
    return Asking()


class Running:
    """A playbook that is under way, and what it has said so far."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._said: list[str] = []
        # Nobody reads along, and it would wait for somebody to.
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self._said += self.process.stdout

    def end(self, how: signal.Signals) -> bool:
        """Send it a signal, children and all; tell whether it was there to get it."""
        there = self.process.poll() is None
        if there:
            os.killpg(self.process.pid, how)
        self.process.wait()
        self._reading.join(10)  # a connection that is kept may have the pipe open for longer
        return there

    def well(self) -> str:
        """Wait for its end, which has to be a good one, and return what it has said."""
        self._reading.join()
        said = "".join(self._said)
        assert self.process.wait() == 0, said[-8000:]
        return " ".join(said.split())


class Playbooks:
    """Runs playbooks on the scenario's machines; a relative name is one of the checkout's."""

    def __init__(self) -> None:
        self.scenario = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])

    def begin(
        self, playbook: str | Path, *words: str, inventory: str = "inventory", **variables: Any
    ) -> subprocess.Popen[str]:
        """Start one in a session of its own, so that a test may kill it with all its children."""
        where = f"--inventory={self.scenario / inventory}"
        given = [f"--extra-vars={json.dumps(variables)}"] if variables else []
        return subprocess.Popen(  # noqa: S603  # our own words
            [*(sys.executable, "-m", "ansible", "playbook", where), *given, *words, str(ROOT / playbook)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
            start_new_session=True,
        )

    def __call__(self, playbook: str | Path, *words: str, fails: bool = False, **how: Any) -> str:
        """Run one to its end, which has to be a good one unless it has to fail; return what was said."""
        with self.begin(playbook, *words, **how) as running:
            try:
                said = running.communicate()[0]
            except BaseException:  # the test is ended, and nobody else would end the session
                os.killpg(running.pid, signal.SIGTERM)
                raise
        assert (running.returncode != 0) == fails, said[-8000:]
        return said

    @contextmanager
    def under_way(self, playbook: str | Path, *words: str, **how: Any) -> Iterator[Running]:
        """Have one run; it is ended with the test that has not waited for it."""
        with self.begin(playbook, *words, **how) as process:
            running = Running(process)
            try:
                yield running
            finally:
                running.end(signal.SIGTERM)

    def converge(self, *words: str, **how: Any) -> str:
        """Run the scenario's own."""
        return self(self.scenario / "converge.yml", *words, **how)


@pytest.fixture(scope="session")
def playbooks() -> Playbooks:
    """Run playbooks as a person at the controller does."""
    return Playbooks()


@pytest.fixture(scope="session")
def machines(request: pytest.FixtureRequest) -> Machines:
    """Find another machine of the scenario by its name."""
    inventory = request.config.getoption("--ansible-inventory")

    def machine(name: str) -> Any:
        return testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}")

    return machine


@pytest.fixture(scope="session")
def holders_of(machines: Machines) -> Holders:
    """Find which of some machines have an address."""

    def found(address: str, names: Sequence[str]) -> list[str]:
        asked = ("ip -oneline address show to %s", address)
        return [name for name in names if machines(name).check_output(*asked).strip()]

    return found


@pytest.fixture(scope="session")
def power() -> Power:
    """Do something to a machine as a whole, from outside: kill, start, pause or unpause it."""
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]

    def run(verb: str, name: str, *options: str) -> None:
        done = subprocess.run(  # noqa: S603  # our own words
            [*root, "podman", verb, *options, f"{os.environ['LAB_NAME']}-{name}"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture(scope="session")
def soon() -> Patience:
    """Wait for something to become true: the time in seconds that it took, or the failure that it did not."""

    def wait(what: Callable[[], Any], within: float = 5) -> float:
        began = time.monotonic()
        while True:
            last: object
            try:
                last = what()
            except OSError as error:  # refused or cut off, while a service restarts
                last = error
            took = time.monotonic() - began
            if last and not isinstance(last, OSError):
                return took
            if took > within:
                pytest.fail(f"not true within {within} s; last seen: {last!r}")
            time.sleep(0.1)

    return wait
