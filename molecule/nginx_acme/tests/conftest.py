# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks here: clients that know the name of the shop, and trust whom they should."""

from __future__ import annotations

import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from cryptography import x509

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Machines

BALANCERS = ("lb1", "lb2")


@dataclass
class Shop:
    """Asks a load balancer for the shop by HTTPS, over a connection of its own each time."""

    addresses: dict[str, str]
    trusted: str
    name: str = "shop.payaid.test"

    def certificate(self, balancer: str, trusted: str = "") -> x509.Certificate:
        """Return the certificate that is served, after its authority and its name were verified."""
        with self._connect(balancer, trusted or self.trusted) as connection:
            return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True) or b"")

    def ask(self, balancer: str, path: str = "/") -> int:
        """Return the status of one request."""
        client = HTTPConnection(self.name)
        client.sock = self._connect(balancer, self.trusted)
        try:
            client.request("GET", path)
            return client.getresponse().status
        finally:
            client.close()

    @contextmanager
    def asked_all_the_time(self) -> Iterator[Counter[str]]:
        """Ask both from four clients while something else happens; what came of it is counted afterwards."""
        seen: Counter[str] = Counter()
        over = False

        def client(number: int) -> Counter[str]:
            mine: Counter[str] = Counter()
            while not over:
                try:
                    mine[str(self.ask(BALANCERS[number % 2]))] += 1
                except OSError as error:
                    mine[repr(error)] += 1
                time.sleep(0.01)
            return mine

        with ThreadPoolExecutor(4) as clients:
            running = [clients.submit(client, number) for number in range(4)]
            try:
                yield seen
            finally:
                over = True
            for one in running:
                seen.update(one.result())

    def _connect(self, balancer: str, trusted: str) -> ssl.SSLSocket:
        trust = ssl.create_default_context(cadata=trusted)
        connection = socket.create_connection((self.addresses[balancer], 443), timeout=10)
        return trust.wrap_socket(connection, server_hostname=self.name)


@pytest.fixture(scope="session")
def addresses(machines: Machines) -> dict[str, str]:
    """Return the addresses of the load balancers and of the ACME server."""
    names = (*BALANCERS, "acme1")
    return {name: str(machines(name).ansible.get_variables()["ansible_host"]) for name in names}


@pytest.fixture(scope="session")
def shop(addresses: dict[str, str], machines: Machines) -> Shop:
    """Ask for the shop, trusting an authority that the ACME server makes anew whenever it starts."""
    state = Path(machines("lb1").ansible.get_variables()["ansible_ssh_private_key_file"]).parent
    trust = ssl.create_default_context(cafile=str(state / "acme/ca.crt"))
    client = HTTPConnection("acme1")
    connection = socket.create_connection((addresses["acme1"], 15000), timeout=10)
    client.sock = trust.wrap_socket(connection, server_hostname="acme1")
    client.request("GET", "/roots/0")
    return Shop(addresses, client.getresponse().read().decode())
