# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the load balancer as a client does; the app behind it says what it was asked."""

from __future__ import annotations

import json
import re
import socket
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Asking, Machines, Patience

    from .conftest import Busy

testinfra_hosts = ["load_balancers"]
PORTS = (3000, 3001, 3002)
# The key and its answer are the example of RFC 6455.
WEBSOCKET = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def test_every_process_answers_in_turn(ask: Asking, edge: str) -> None:
    seen = Counter(ask(f"{edge}/where").json()["port"] for _time in range(30))
    assert set(seen) == set(PORTS)
    assert max(seen.values()) - min(seen.values()) <= 4, seen  # each worker takes turns by itself


def test_plain_http_is_redirected_and_keeps_method_and_path(ask: Asking, address: str) -> None:
    answer = ask(f"http://{address}/pay/me?now=1", method="POST", body={}, headers={"Host": "shop.example"})
    assert (answer.status, answer.headers["location"]) == (308, "https://shop.example/pay/me?now=1")


def test_health_is_the_apps_own_on_both(ask: Asking, edge: str, address: str) -> None:
    for url in (f"{edge}/health", f"http://{address}/health"):
        answer = ask(url)
        assert answer.status == 200, url
        assert answer.json()["path"] == "/api/health", url


def test_the_app_learns_who_asked(ask: Asking, edge: str, address: str) -> None:
    lies = {"X-Real-IP": "203.0.113.9", "X-Forwarded-For": "203.0.113.9"}
    seen = ask(f"{edge}/", headers={"Host": "shop.example", **lies}).json()["headers"]
    controller = address.rsplit(".", 1)[0] + ".1"
    assert seen["host"] == "shop.example"
    assert seen["x-real-ip"] == controller, "a client must not choose its own address"
    assert seen["x-forwarded-for"] == controller
    assert seen["x-forwarded-proto"] == "https"
    assert re.fullmatch("[0-9a-f]{32}", seen["x-request-id"])


def test_a_request_that_is_no_websocket_keeps_the_connection_to_the_app(ask: Asking, edge: str) -> None:
    answers = [ask(f"{edge}/").json() for _time in range(30)]
    for answer in answers:
        assert "connection" not in answer["headers"]
        assert "upgrade" not in answer["headers"]
    # Fewer connections than requests: they are kept.
    assert len({(answer["port"], answer["client_port"]) for answer in answers}) < 20


def test_a_websocket_is_handed_on(ask: Asking, edge: str) -> None:
    answer = ask.open(f"{edge}/socket", headers=WEBSOCKET)
    assert (answer.status, answer.getheader("Upgrade")) == (101, "websocket")
    assert answer.getheader("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize(
    ("protocol", "taken"),
    [("tls1", False), ("tls1_1", False), ("tls1_2", True), ("tls1_3", True)],
)
def test_only_protocols_that_are_safe_are_spoken(host: Any, protocol: str, taken: bool) -> None:
    # The lowest security level, so that it is the server that refuses and not this client.
    said = host.run(
        f"openssl s_client -connect 127.0.0.1:443 -{protocol} -cipher 'ALL:@SECLEVEL=0' </dev/null"
    )
    assert (said.rc == 0 and "Cipher is (NONE)" not in said.stdout) is taken, said.stderr


def test_http_2_is_offered(host: Any) -> None:
    said = host.run("openssl s_client -connect 127.0.0.1:443 -alpn h2,http/1.1 </dev/null | grep -a '^ALPN'")
    assert said.stdout.strip() == "ALPN protocol: h2"


def test_the_certificate_names_the_machine_and_its_address(host: Any, address: str) -> None:
    said = host.check_output("openssl x509 -noout -ext subjectAltName -in /etc/nginx/tls/server.crt")
    assert "DNS:lb1" in said
    assert f"IP Address:{address}" in said
    assert host.run("openssl x509 -noout -checkend 2592000 -in /etc/nginx/tls/server.crt").rc == 0


def test_the_key_is_for_root_alone(host: Any) -> None:
    key = host.file(host.file("/etc/nginx/tls/server.key").linked_to)
    assert (key.mode, key.user, key.group) == (0o600, "root", "root")
    assert host.file("/etc/nginx/tls").mode == 0o700


def test_the_access_log_is_json(host: Any, ask: Asking, edge: str, address: str, soon: Patience) -> None:
    path = f"/log-me/{time.monotonic_ns()}"
    sent = ask(edge + path).json()
    # Whatever a client sends, the line must stay JSON.
    ask(f"{edge}/odd\\'%22?<>", headers={"Referer": '"', "User-Agent": '\\"'})
    with socket.create_connection((address, 80), timeout=5) as connection:
        connection.sendall(b'no HTTP "at all\r\n\r\n')
        assert b" 400 " in connection.recv(1024)

    def lines() -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in host.file("/var/log/nginx/access.log").content_string.splitlines()
        ]

    soon(lambda: path in [line["uri"] for line in lines()] and 400 in [line["status"] for line in lines()])
    line = next(line for line in lines() if line["uri"] == path)
    assert (line["status"], line["method"]) == (200, "GET")
    assert line["upstream"].endswith(f":{sent['port']}")
    assert line["upstream_status"] == "200"
    assert line["request_id"] == sent["headers"]["x-request-id"]
    assert not [line for line in lines() if line["uri"] == "/health"]


def test_a_body_that_is_too_large_is_refused(ask: Asking, edge: str) -> None:
    assert ask(f"{edge}/", method="POST", body="x" * 1024 * 1024).json()["length"] > 1024 * 1024
    assert (
        ask(f"{edge}/", method="POST", body="x", headers={"Content-Length": str(11 * 1024 * 1024)}).status
        == 413
    )


def test_the_version_is_not_shown(ask: Asking, address: str) -> None:
    answer = ask(f"http://{address}/")
    assert answer.headers["server"] == "nginx"


def test_a_process_that_is_gone_costs_no_request(
    ask: Asking, edge: str, machines: Machines, soon: Patience
) -> None:
    app = machines("app1")
    app.check_output("systemctl stop echo@3001.service")
    try:
        answers = [ask(f"{edge}/") for _time in range(20)]
    finally:
        app.check_output("systemctl start echo@3001.service")
    assert {answer.status for answer in answers} == {200}
    assert {answer.json()["port"] for answer in answers} == {3000, 3002}
    soon(lambda: ask(f"{edge}/").json()["port"] == 3001, 15)


def test_a_reload_cuts_nobody_off(host: Any, ask: Asking, edge: str) -> None:
    before = host.check_output("systemctl show -P MainPID nginx")
    host.check_output("systemctl reload nginx")
    assert {ask(f"{edge}/").status for _time in range(10)} == {200}
    assert host.check_output("systemctl show -P MainPID nginx") == before


def test_requests_on_kept_connections_outlive_reloads(host: Any, ask: Asking, edge: str, busy: Busy) -> None:
    # Each before is done when systemctl is.
    host.check_output("for n in $(seq 20); do systemctl reload nginx || exit 1; sleep 0.2; done")
    assert busy.stop() == []
    assert busy.asked > 1000
    # And they are kept again.
    answer = ask(f"{edge}/busy%2F?a=1")
    assert answer.headers.get("connection") != "close"
    assert answer.json()["path"] == "/busy%2F?a=1"


def test_nginx_is_kept_from_what_it_does_not_need(host: Any) -> None:
    exposure = host.check_output("systemd-analyze security --no-pager nginx.service | tail -n 1")
    assert float(re.findall(r"[0-9]+[.][0-9]", exposure)[0]) < 3.0, exposure
    # Not only written down: it runs so.
    status = host.check_output("cat /proc/%s/status", host.check_output("systemctl show -P MainPID nginx"))
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert re.search(r"^Seccomp:\t2$", status, re.MULTILINE)


def test_an_nginx_that_is_killed_comes_back(host: Any, ask: Asking, edge: str, soon: Patience) -> None:
    host.check_output("kill -KILL $(systemctl show -P MainPID nginx)")
    took = soon(lambda: ask(f"{edge}/").status == 200)
    assert took < 3
    host.check_output("systemctl stop nginx")  # who means it is obeyed
    try:
        time.sleep(1)
        assert not host.service("nginx").is_running
    finally:
        host.check_output("systemctl start nginx")


def test_the_log_goes_on_in_a_new_file(host: Any, ask: Asking, edge: str, soon: Patience) -> None:
    log = "/var/log/nginx/access.log"
    ask(f"{edge}/old-file")
    soon(lambda: "/old-file" in host.file(log).content_string)
    host.check_output("logrotate --force /etc/logrotate.d/nginx")
    assert "/old-file" in host.file(f"{log}.1").content_string
    soon(lambda: ask(f"{edge}/new-file").status == 200 and "/new-file" in host.file(log).content_string)


def test_the_configuration_is_sound_and_nginx_starts_with_the_machine(host: Any) -> None:
    said = host.run("nginx -t")
    assert said.rc == 0
    assert "warn" not in said.stderr, said.stderr
    assert host.service("nginx").is_running
    assert host.service("nginx").is_enabled
    assert host.service("logrotate.timer").is_enabled
    assert host.check_output("systemctl is-system-running") == "running"
