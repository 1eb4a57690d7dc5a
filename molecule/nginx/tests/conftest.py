# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the load balancer is asked."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.client import HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Asking


@pytest.fixture
def address(host: Any) -> str:
    """Return the load balancer's address."""
    return str(host.ansible.get_variables()["ansible_host"])


@pytest.fixture
def edge(host: Any, ask: Asking, address: str) -> str:
    """Return the load balancer's address for HTTPS, trusting the certificate that it was given."""
    ask.certificate = host.file("/etc/nginx/tls/server.crt").content_string
    return f"https://{address}"


@dataclass
class Busy:
    """Clients that use their connections all the time, and never ask anything twice."""

    address: str
    certificate: str
    asked: int = 0
    lost: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    clients: list[threading.Thread] = field(default_factory=list)

    def start(self) -> None:
        self.clients = [threading.Thread(target=self._ask) for _number in range(12)]
        for client in self.clients:
            client.start()

    def stop(self) -> list[str]:
        """Return what they did not get an answer to."""
        self.over.set()
        for client in self.clients:
            client.join()
        return self.lost

    def _ask(self) -> None:
        trust = ssl.create_default_context(cadata=self.certificate)
        connection = HTTPSConnection(self.address, timeout=10, context=trust)
        while not self.over.wait(0.005):
            self.asked += 1
            try:
                # It opens a new connection by itself where the answer before ended the old one.
                connection.request(
                    "POST", "/_next/static/busy" if self.asked % 2 else "/busy%2F?a=1", body="x"
                )
                answer = connection.getresponse()
                # So many from one address are too many, which is an answer as well.
                assert answer.status in {200, 429}
                answer.read()
            except (OSError, HTTPException, AssertionError) as error:
                self.lost.append(repr(error))
                connection.close()
        connection.close()


@pytest.fixture
def busy(ask: Asking, edge: str, address: str) -> Iterator[Busy]:
    assert edge
    clients = Busy(address, ask.certificate)
    clients.start()
    yield clients
    clients.stop()
