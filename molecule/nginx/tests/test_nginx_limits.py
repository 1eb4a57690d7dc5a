# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the load balancer keeps from the app: too much, too slow, what it can answer itself, and mistakes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.payaid.scaling.molecule.conftest import (
        Answer,
        Asking,
        Machines,
        Patience,
        Playbooks,
    )

    from .conftest import Busy

testinfra_hosts = ["load_balancers"]
RATE: dict[str, Any] = {"nginx_limit_address_rate": 5, "nginx_limit_address_burst": 5}


@pytest.fixture
def put_back(playbooks: Playbooks) -> Iterator[None]:
    yield
    playbooks.converge()


def many(ask: Asking, url: str, count: int, **how: Any) -> list[Answer]:
    with ThreadPoolExecutor(8) as clients:
        return list(clients.map(lambda _number: ask(url, **how), range(count)))


@pytest.mark.usefixtures("put_back")
def test_one_address_or_tenant_gets_so_much_and_then_429(
    ask: Asking, edge: str, playbooks: Playbooks
) -> None:
    playbooks.converge(**RATE)
    answers = many(ask, f"{edge}/", 40)
    counted = Counter(answer.status for answer in answers)
    assert set(counted) == {200, 429}
    assert counted[200] < 20
    refused = next(answer for answer in answers if answer.status == 429)
    assert refused.json() == {"error": "too many requests"}
    assert refused.headers["retry-after"] == "1"
    # Whoever watches the platform is not counted.
    assert {answer.status for answer in many(ask, f"{edge}/health", 40)} == {200}

    playbooks.converge(nginx_limit_tenant_rate=5, nginx_limit_tenant_burst=5)
    one = Counter(a.status for a in many(ask, f"{edge}/", 40, headers={"X-Tenant-ID": "one"}))
    assert one[429] > 20
    assert {a.status for a in many(ask, f"{edge}/", 5, headers={"X-Tenant-ID": "two"})} == {200}
    assert {a.status for a in many(ask, f"{edge}/", 40)} == {200}

    network = edge.removeprefix("https://").rsplit(".", 1)[0] + ".0/24"
    playbooks.converge(**RATE, nginx_limit_exempt=[network])
    assert {a.status for a in many(ask, f"{edge}/", 40)} == {200}


def test_a_client_that_does_not_go_on_is_let_go(address: str) -> None:
    with socket.create_connection((address, 80), timeout=30) as connection:
        began = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\nHost: shop.example\r\nX-Slow: ")
        said = b""
        with contextlib.suppress(ConnectionResetError):
            said = connection.recv(1024)
        assert not said or b" 408 " in said
        assert 8 < time.monotonic() - began < 20


def test_a_head_that_is_too_large_is_refused(ask: Asking, edge: str) -> None:
    assert ask(f"{edge}/", headers={"X-Large": "x" * 4000}).status == 200
    assert ask(f"{edge}/", headers={"X-Large": "x" * 9000}).status == 400


def test_static_files_are_kept_also_when_the_app_has_them_no_longer(
    ask: Asking, edge: str, machines: Machines
) -> None:
    path = f"{edge}/_next/static/chunks/{time.monotonic_ns()}.js"
    first, second = ask(path), ask(path)
    assert (first.headers["x-cache-status"], second.headers["x-cache-status"]) == ("MISS", "HIT")
    assert first.body == second.body
    assert first.headers["strict-transport-security"] == "max-age=63072000"
    app = machines("app1")
    app.check_output("systemctl stop 'echo@*'")
    try:
        assert ask(path).headers["x-cache-status"] == "HIT"
        page = ask(f"{edge}/anything")
        assert (page.status, page.headers["retry-after"]) == (502, "5")
        assert b"We will be right back" in page.body
    finally:
        app.check_output("systemctl start echo@3000 echo@3001 echo@3002")


@pytest.mark.usefixtures("put_back")
def test_what_anybody_may_see_is_kept_for_a_moment_and_nothing_else(
    ask: Asking, edge: str, playbooks: Playbooks, soon: Patience
) -> None:
    playbooks.converge(nginx_micro_cache_seconds=5)

    def said(**headers: str) -> str:
        return ask(f"{edge}/page", headers=headers).headers["x-cache-status"]

    assert [said(), said()] == ["MISS", "HIT"]
    assert {said(Cookie="session=1"), said(Authorization="Bearer x")} == {"BYPASS"}
    tenant = {"X-Tenant-ID": "one"}
    assert [said(**tenant), said(**tenant)] == ["MISS", "HIT"]
    time.sleep(6)
    assert said() == "STALE"  # and asked anew behind it
    soon(lambda: said() == "HIT")


@pytest.mark.usefixtures("put_back")
def test_closed_for_maintenance_all_but_health_is_503(ask: Asking, edge: str, playbooks: Playbooks) -> None:
    playbooks.converge("-e", "nginx_maintenance=true")  # as one types it
    page = ask(f"{edge}/pay", method="POST", body={})
    assert (page.status, page.headers["retry-after"]) == (503, "60")
    assert b"Under maintenance" in page.body
    assert ask(f"{edge}/health").status == 200
    playbooks.converge()
    assert ask(f"{edge}/pay").status == 200


@pytest.mark.usefixtures("put_back")
def test_a_proxy_that_is_trusted_says_for_whom_it_asks(ask: Asking, edge: str, playbooks: Playbooks) -> None:
    controller = edge.removeprefix("https://").rsplit(".", 1)[0] + ".1"
    playbooks.converge(nginx_trusted_proxies=[f"{controller}/32"])
    told = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    seen = ask(f"{edge}/", headers=told).json()["headers"]
    assert seen["x-real-ip"] == "198.51.100.7"  # whom the last one that is trusted has seen


def test_the_numbers_are_for_this_machine_alone(host: Any, address: str) -> None:
    asked = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8081/status').read().decode())"
    assert "Active connections" in host.check_output("python3 -c %s", asked)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address, 8081), timeout=2)


def test_there_is_room_for_as_many_connections_as_are_promised(host: Any) -> None:
    (wanted,) = re.findall(r"worker_rlimit_nofile (\d+);", host.file("/etc/nginx/nginx.conf").content_string)
    workers = host.check_output("pgrep --parent $(cat /run/nginx.pid)").split()
    for worker in workers:
        (limit,) = re.findall(r"Max open files +(\d+)", host.file(f"/proc/{worker}/limits").content_string)
        assert limit == wanted
    assert host.check_output("cat /proc/sys/net/core/somaxconn") == "8192"
    assert re.findall(r"\s8192\s.*:443\s", host.check_output("ss -lnt")), "the socket's own queue is shorter"


@pytest.mark.usefixtures("put_back")
def test_a_mistake_of_ours_leaves_all_serving(
    host: Any, ask: Asking, edge: str, playbooks: Playbooks
) -> None:
    files = ("/etc/nginx/nginx.conf", "/etc/nginx/upstreams/app.conf")
    before = {name: host.file(name).content for name in files}
    process = host.check_output("systemctl show -P MainPID nginx")
    for wrong, sentence in (
        ({"nginx_client_max_body_size": "ten"}, "failed to validate"),
        (
            {"nginx_upstream_servers": [{"address": "no.such.host.invalid:3000"}]},
            "host not found in upstream",
        ),
        ({"nginx_tls": "files", "nginx_tls_certificate": "/no/such.crt"}, "is no file on the controller"),
    ):
        assert sentence in " ".join(playbooks.converge(fails=True, **wrong).split())
        assert {name: host.file(name).content for name in files} == before
        assert ask(f"{edge}/").status == 200
    assert host.check_output("systemctl show -P MainPID nginx") == process


@pytest.mark.usefixtures("put_back")
def test_certificates_are_changed_under_the_clients_eyes(
    ask: Asking,
    edge: str,
    playbooks: Playbooks,
    tmp_path_factory: pytest.TempPathFactory,
    soon: Patience,
) -> None:
    folder = tmp_path_factory.mktemp("authority") / "web"
    private = {"nginx_tls": "private_ca", "nginx_tls_ca_dir": str(folder)}
    playbooks.converge(**private)
    ask.certificate = (folder / "ca.crt").read_text()
    soon(lambda: ask(f"{edge}/").status == 200)
    # The same files, as if somebody had brought them: nothing is to be done.
    given = {
        "nginx_tls": "files",
        "nginx_tls_ca": str(folder / "ca.crt"),
        "nginx_tls_certificate": str(folder / "lb1.crt"),
        "nginx_tls_certificate_key": str(folder / "lb1.key"),
    }
    said = playbooks.converge(**given)
    assert not re.search("changed=[1-9]", said), said
    said = playbooks.converge(fails=True, **given | {"nginx_tls_certificate_key": str(folder / "ca.key")})
    assert "is not that of the certificate" in " ".join(said.split())
    assert ask(f"{edge}/").status == 200


@pytest.mark.usefixtures("put_back")
def test_of_old_certificates_the_last_one_is_kept(
    host: Any,
    ask: Asking,
    edge: str,
    playbooks: Playbooks,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("authority") / "web"
    certificate = folder / "lb1.crt"

    def serve(text: str = "") -> str:
        """Bring this certificate, or one that is signed anew; return its text."""
        certificate.unlink(missing_ok=True)
        if text:
            certificate.write_text(text)
        playbooks.converge(nginx_tls="private_ca", nginx_tls_ca_dir=str(folder))
        return certificate.read_text()

    def files(text: str) -> set[str]:
        name = hashlib.sha256(text.strip().encode()).hexdigest()[:16]
        return {f"{name}.crt", f"{name}.key"}

    first, second = serve(), serve()
    assert serve(first) == first  # so that the last one is older than another
    third = serve()
    there = set(host.file("/etc/nginx/tls").listdir())
    assert files(first) | files(third) <= there
    assert not files(second) & there
    ask.certificate = (folder / "ca.crt").read_text()
    assert ask(f"{edge}/").status == 200


def drain(host: Any, addresses: list[str], drained: list[str]) -> dict[str, Any]:
    """Run the module as a playbook would."""
    done: dict[str, Any] = host.ansible(
        "payaid.scaling.nginx_upstream",
        json.dumps(
            {
                "name": "app",
                "servers": [{"address": address, "fail_timeout": 3} for address in addresses],
                "drained": drained,
            }
        ),
        check=False,
        become=True,
    )
    assert not done.get("failed"), json.dumps(done)
    return done


@pytest.mark.usefixtures("put_back")
def test_a_process_is_emptied_without_a_failed_request(
    host: Any, ask: Asking, edge: str, machines: Machines
) -> None:
    app = machines("app1")
    where = app.ansible.get_variables()["ansible_host"]
    addresses = [f"{where}:{port}" for port in (3000, 3001, 3002)]
    answers: list[Answer] = []
    with ThreadPoolExecutor(4) as clients:
        over = False

        def client() -> None:
            while not over:
                answers.append(ask(f"{edge}/", method="POST", body={}))

        running = [clients.submit(client) for _number in range(4)]
        try:
            for address in addresses:
                done = drain(host, addresses, [address])
                assert done["open_connections"] == {address: 0}
                app.check_output("systemctl restart echo@%s", address.rpartition(":")[2])
                time.sleep(1)
            drain(host, addresses, [])
        finally:
            over = True
        for one in running:
            one.result()
    assert Counter(answer.status for answer in answers) == {200: len(answers)}
    assert len(answers) > 100


@pytest.mark.usefixtures("put_back")
def test_a_process_is_emptied_and_nobodys_connection_is_cut(
    host: Any, machines: Machines, busy: Busy
) -> None:
    where = machines("app1").ansible.get_variables()["ansible_host"]
    addresses = [f"{where}:{port}" for port in (3000, 3001, 3002)]
    for drained in ([addresses[0]], [addresses[1]], []):
        assert drain(host, addresses, drained)["changed"]
    assert busy.stop() == []
