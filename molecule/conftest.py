# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of all scenarios ask with."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import testinfra

Machines = Callable[[str], Any]
Patience = Callable[..., Any]


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


@pytest.fixture(scope="session")
def machines(request: pytest.FixtureRequest) -> Machines:
    """Find another machine of the scenario by its name."""
    inventory = request.config.getoption("--ansible-inventory")

    def machine(name: str) -> Any:
        return testinfra.get_host(f"ansible://{name}?ansible_inventory={inventory}")

    return machine


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
