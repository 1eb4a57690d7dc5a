# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The probe against a small platform on loopback: load balancers and processes that can misbehave."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from itertools import cycle
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._probe import (
    Answer,
    Client,
    Entry,
    Process,
    ask_entry,
    write_and_read,
)
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


@dataclass
class Platform:
    """Answers as the app does through a load balancer that takes one node after the other."""

    nodes: list[str] = field(default_factory=lambda: ["app1", "app2"])
    # How many reads miss a contact that was just written: the replicas' lag.
    lag: int = 0
    whoami: tuple[int, bytes] | None = None
    created: tuple[int, bytes] = (201, b'{"id": 17}')
    url: str = ""
    seen: list[tuple[str, str, dict[str, str], dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._turn = cycle(self.nodes)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> tuple[int, bytes]:
        self.seen.append((method, path, headers, json.loads(body or b"{}")))
        if method == "POST":
            return self.created
        if path == "/api/whoami":
            return self.whoami or (200, json.dumps({"node": next(self._turn)}).encode())
        self.lag -= 1
        return (404, b'{"error": "not found"}') if self.lag >= 0 else (200, b'{"id": 17}')


def handler_of(platform: Platform) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            sent = {name.lower(): value for name, value in self.headers.items()}
            status, body = platform.answer(self.command, self.path, sent, self.rfile.read(length))
            # A status of four digits ends the answer before the length it promised.
            cut = status > 999
            self.send_response(status // 10 if cut else status)
            self.send_header("Content-Length", str(len(body) + cut))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer()

        def do_POST(self) -> None:
            self._answer()

        def log_message(self, *arguments: object) -> None:
            """Stay silent."""

    return Handler


Serve = Callable[..., Platform]


@pytest.fixture
def serve() -> Iterator[Serve]:
    running: list[tuple[ThreadingHTTPServer, Thread]] = []

    def start(platform: Platform, context: ssl.SSLContext | None = None) -> Platform:
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(platform))
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        platform.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return platform

    yield start
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate as the role nginx does: its own authority, for an address."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lb1")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False
        )
        .sign(key, SHA256())
    )
    (folder / "certificate.pem").write_bytes(signed.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder


def context_of(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context


def ask(platform: Platform, *nodes: str, patience: float = 5.0, certificate: str = "") -> dict[str, int]:
    entry = Entry("lb1", platform.url, certificate)
    return ask_entry(Client(timeout=2), entry, nodes, time.monotonic, patience)


def write(writer: Platform, reader: Platform, patience: float = 5.0) -> dict[str, Any]:
    return write_and_read(
        Client(timeout=2), Process("app1", writer.url), Process("app2", reader.url), time.monotonic, patience
    )


def test_a_load_balancer_is_asked_until_every_node_has_answered(serve: Serve) -> None:
    platform = serve(Platform(nodes=["app1", "app1", "app2"]))
    assert ask(platform, "app1", "app2") == {"app1": 2, "app2": 1}
    method, path, headers, _body = platform.seen[0]
    assert (method, path, headers["x-tenant-id"]) == ("GET", "/api/whoami", "platform-probe")


def test_a_node_that_does_not_answer_is_named(serve: Serve) -> None:
    platform = serve(Platform(nodes=["app1"]))
    with pytest.raises(
        Refusal, match=r"^lb1 \(http://127\.0\.0\.1:\d+\): no answer from app2, app3 within"
    ) as caught:
        ask(platform, "app3", "app1", "app2", patience=0.2)
    assert list(caught.value.details["answered"]) == ["app1"]


ENTRIES: dict[str, tuple[tuple[int, bytes], str]] = {
    "an error": ((502, b"<html>Bad gateway"), r"the last answer was 502 \{\}\."),
    "an error that says why": (
        (503, b'{"error": "draining"}'),
        r"the last answer was 503 \{'error': 'draining'\}\.",
    ),
    "half an answer": ((2000, b'{"node": "app1"}'), r"the last answer was 0 \{'error': 'IncompleteRead"),
    "half an error": ((5020, b"{}"), r"the last answer was 0 \{'error': 'IncompleteRead"),
    "no object": ((200, b"[]"), r"no answer from app1 within 0 s; the last answer was 200 \{\}\."),
}


@pytest.mark.parametrize(("answer", "said"), ENTRIES.values(), ids=ENTRIES)
def test_what_a_load_balancer_answers_instead_is_said(
    serve: Serve, answer: tuple[int, bytes], said: str
) -> None:
    with pytest.raises(Refusal, match=said):
        ask(serve(Platform(whoami=answer)), "app1", patience=0.1)


def test_a_load_balancer_that_is_gone_is_said() -> None:
    with pytest.raises(Refusal, match=r"the last answer was 0 \{'error': '.*refused'\}"):
        ask(Platform(url="http://127.0.0.1:9"), "app1", patience=0.1)


def test_without_nodes_the_load_balancer_itself_must_answer(serve: Serve) -> None:
    assert ask(serve(Platform(nodes=["app1"]))) == {"app1": 1}
    with pytest.raises(Refusal, match="no answer from any node within"):
        ask(Platform(url="http://127.0.0.1:9"), patience=0.1)


def test_patience_is_counted_by_the_clock_that_is_given(serve: Serve) -> None:
    ticks = iter([0.0, 1.0, 2.0, 31.0])
    platform = serve(Platform(nodes=["app1"]))
    with pytest.raises(Refusal, match="within 30 s"):
        ask_entry(Client(timeout=2), Entry("lb1", platform.url), ["app2"], lambda: next(ticks), 30)
    assert len(platform.seen) == 2


def test_a_certificate_that_is_given_is_trusted(serve: Serve, certificate: Path) -> None:
    platform = serve(Platform(), context_of(certificate))
    trusted = (certificate / "certificate.pem").read_text()
    assert ask(platform, "app1", "app2", certificate=trusted) == {"app1": 1, "app2": 1}


def test_a_certificate_that_nobody_vouches_for_is_refused(serve: Serve, certificate: Path) -> None:
    platform = serve(Platform(), context_of(certificate))
    with pytest.raises(Refusal, match="certificate verify failed"):
        ask(platform, "app1", patience=0.1)


def test_a_certificate_that_cannot_be_read_is_said(serve: Serve) -> None:
    with pytest.raises(Refusal, match=r"the last answer was 0 \{'error': '"):
        ask(serve(Platform()), "app1", patience=0.1, certificate="not PEM")


def test_the_platform_is_asked_directly(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert ask(serve(Platform(nodes=["app1"])), "app1") == {"app1": 1}


def test_what_one_node_writes_another_reads(serve: Serve) -> None:
    writer, reader = serve(Platform()), serve(Platform(lag=2))
    contact = write(writer, reader)
    assert contact.pop("milliseconds") >= 200
    assert contact == {"id": "17", "written_through": "app1", "read_through": "app2"}
    ((method, path, headers, body),) = writer.seen
    assert (method, path, headers["content-type"]) == ("POST", "/api/contacts", "application/json")
    assert headers["x-tenant-id"] == "platform-probe"
    assert body["email"].endswith("@platform-probe.invalid")
    assert [path for _method, path, _headers, _body in reader.seen] == ["/api/contacts/17"] * 3


def test_every_write_has_a_key_of_its_own(serve: Serve) -> None:
    platform = serve(Platform())
    write(platform, platform)
    write(platform, platform)
    keys = {headers["idempotency-key"] for method, _path, headers, _body in platform.seen if method == "POST"}
    assert len(keys) == 2


CREATED: dict[str, tuple[tuple[int, bytes], str]] = {
    "refused": ((503, b'{"error": "read-only"}'), r"contact: 503 \{'error': 'read-only'\}\."),
    "not created": ((200, b'{"id": 17}'), r"contact: 200 \{'id': 17\}\."),
    "created without an id": ((201, b"{}"), r"contact: 201 \{\}\."),
}


@pytest.mark.parametrize(("answer", "said"), CREATED.values(), ids=CREATED)
def test_a_node_that_does_not_write_is_named(serve: Serve, answer: tuple[int, bytes], said: str) -> None:
    with pytest.raises(Refusal, match=r"^app1 \(http.*\) did not accept a " + said):
        write(serve(Platform(created=answer)), Platform(url="http://127.0.0.1:9"))


def test_a_node_that_does_not_read_is_named(serve: Serve) -> None:
    with pytest.raises(
        Refusal,
        match=r"^The contact 17, written through app1, could not be read through app2 within 0 s: 404",
    ):
        write(serve(Platform()), serve(Platform(lag=1000)), patience=0.3)


def test_an_answer_is_decoded(serve: Serve) -> None:
    platform = serve(Platform(whoami=(200, b'{"node": "app1"}')))
    assert Client(timeout=2).get(f"{platform.url}/api/whoami") == Answer(200, {"node": "app1"})
