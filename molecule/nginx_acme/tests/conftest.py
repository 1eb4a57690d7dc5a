# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who asks here: clients that know the name of the shop, and trust whom they should."""

from __future__ import annotations

import datetime
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
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

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


@dataclass
class Authority:
    """Signs a certificate that says who knows whether it was revoked; its files are in a folder."""

    folder: Path
    responder: str

    def issue(self, name: str) -> None:
        """Write ca.crt, ca.key, server.crt, server.key, and the index of what was signed."""
        now = datetime.datetime.now(datetime.UTC)
        end = now + datetime.timedelta(days=30)
        own, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority with OCSP")])
        unsigned = x509.CertificateBuilder().issuer_name(issuer).not_valid_before(now).not_valid_after(end)
        ca = unsigned.subject_name(issuer).public_key(own.public_key()).serial_number(1)
        ca = ca.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        responder = x509.UniformResourceIdentifier(self.responder)
        access = x509.AccessDescription(AuthorityInformationAccessOID.OCSP, responder)
        server = (
            unsigned.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .public_key(key.public_key())
            .serial_number(0xACE)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        )
        for file, builder in (("ca.crt", ca), ("server.crt", server)):
            signed = builder.sign(own, hashes.SHA256())
            (self.folder / file).write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        plain = serialization.NoEncryption()
        for file, private in (("ca.key", own), ("server.key", key)):
            content = private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain
            )
            (self.folder / file).write_bytes(content)
        # As `openssl ca` keeps it: V for valid, until when, not revoked, serial number, no file, whose.
        (self.folder / "index.txt").write_text(f"V\t{end:%y%m%d%H%M%SZ}\t\t0ACE\tunknown\t/CN={name}\n")


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


@pytest.fixture
def authority(tmp_path: Path, machines: Machines) -> Iterator[Authority]:
    """Have another authority sign for the shop, with its responder on the ACME server's machine."""
    made = Authority(tmp_path, "http://acme1.dns.podman:2560/")
    made.issue("shop.payaid.test")
    machine = machines("acme1")
    machine.check_output("install -d -m 755 /var/lib/ocsp")
    for file in ("ca.crt", "ca.key", "index.txt"):
        machine.check_output("printf %%s %s >/var/lib/ocsp/%s", (tmp_path / file).read_text(), file)
    machine.check_output(
        "systemd-run --unit=ocsp --working-directory=/var/lib/ocsp openssl ocsp -port 2560 -index index.txt"
        " -CA ca.crt -rsigner ca.crt -rkey ca.key -nmin 60"
    )
    yield made
    machine.check_output("systemctl stop ocsp")
