# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks each app process past any load balancer, and systemd about it."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.payaid.scaling.molecule.conftest import Asking, Patience

testinfra_hosts = ["app_nodes"]
PORTS = (3000, 3001)
RESTARTED_WITHIN = 5  # s


@pytest.fixture
def process(host: Any) -> Callable[[int], str]:
    """Return the address of the process on a port."""
    address = host.ansible.get_variables()["ansible_host"]
    return lambda port: f"http://{address}:{port}"


@pytest.fixture
def secrets(host: Any) -> list[str]:
    """Return what nobody may see."""
    variables = host.ansible.get_variables()
    names = ("app_jwt_secret", "postgres_app_password", "redis_app_password")
    return [variables[f"vault_{name}"] for name in names]


def main_pid(host: Any, port: int) -> str:
    """Ask systemd for the process."""
    return str(host.check_output("systemctl show -P MainPID payaid-app@%s", str(port)))


@pytest.mark.parametrize("port", PORTS)
def test_a_process_says_what_it_is(host: Any, ask: Asking, process: Callable[[int], str], port: int) -> None:
    release = host.check_output("basename $(readlink -f /opt/payaid-app/current)")
    assert ask(f"{process(port)}/api/whoami").json() == {
        "node": "app1",
        "process": str(port),
        "release": release,
    }
    folder = host.check_output("readlink /proc/%s/cwd", main_pid(host, port))
    assert folder == f"/opt/payaid-app/releases/{release}"


@pytest.mark.parametrize("port", PORTS)
def test_a_process_reaches_database_and_redis(ask: Asking, process: Callable[[int], str], port: int) -> None:
    answer = ask(f"{process(port)}/api/health")
    assert (answer.status, answer.json()["status"]) == (200, "healthy")
    assert {answer.json()["checks"][name] for name in ("database", "redis")} == {True}


def test_what_one_process_writes_the_other_reads(ask: Asking, process: Callable[[int], str]) -> None:
    tenant = {"X-Tenant-ID": "molecule"}
    new = {"name": "Ada Molecule", "email": "ada@molecule.example"}
    written = ask(f"{process(3000)}/api/contacts", method="POST", body=new, headers=tenant)
    assert written.status == 201, written.body
    read = ask(f"{process(3001)}/api/contacts/{written.json()['id']}", headers=tenant)
    assert (read.status, read.json()["email"]) == (200, "ada@molecule.example")
    stranger = ask(f"{process(3001)}/api/contacts/{written.json()['id']}", headers={"X-Tenant-ID": "another"})
    assert stranger.status == 404


def test_a_login_at_one_process_holds_at_the_other(ask: Asking, process: Callable[[int], str]) -> None:
    who = {"email": "demo@payaid.lab", "password": "demo"}
    login = ask(f"{process(3000)}/api/login", method="POST", body=who)
    assert login.status == 200, login.body
    assert "httponly" in login.headers["set-cookie"].lower()
    cookie = {"Cookie": login.headers["set-cookie"].partition(";")[0]}
    assert ask(f"{process(3001)}/api/me", headers=cookie).json() == {"email": "demo@payaid.lab"}
    assert ask(f"{process(3001)}/api/me").status == 401


@pytest.mark.parametrize("port", PORTS)
def test_a_process_that_is_killed_is_back_by_itself(
    host: Any, ask: Asking, process: Callable[[int], str], soon: Patience, port: int
) -> None:
    before = main_pid(host, port)
    killed = float(host.check_output("cut -d ' ' -f 1 /proc/uptime && kill -9 %s", before))
    soon(
        lambda: main_pid(host, port) not in ("0", before) and ask(f"{process(port)}/api/live").status == 200,
        60,
    )
    # How long systemd took. The app's own start takes as long as the computer is busy with other things.
    said = host.check_output("systemctl show -P ExecMainStartTimestampMonotonic payaid-app@%s", str(port))
    assert int(said) / 1e6 - killed <= RESTARTED_WITHIN


def test_the_other_process_serves_while_one_is_away(
    host: Any, ask: Asking, process: Callable[[int], str], soon: Patience
) -> None:
    host.check_output("systemctl stop payaid-app@3000")
    try:
        assert ask(f"{process(3001)}/api/health").status == 200
    finally:
        host.check_output("systemctl start payaid-app@3000")
    soon(lambda: ask(f"{process(3000)}/api/health").status == 200, 15)


def test_a_restart_lets_finish_what_is_in_flight(
    host: Any, ask: Asking, process: Callable[[int], str], soon: Patience
) -> None:
    with ThreadPoolExecutor() as background:
        slow = background.submit(ask, f"{process(3000)}/api/slow?ms=3000", timeout=20)
        time.sleep(1)
        restart = background.submit(host.check_output, "systemctl restart payaid-app@3000")
        assert slow.result(timeout=30).status == 200
        restart.result(timeout=60)
    soon(lambda: ask(f"{process(3000)}/api/health").status == 200, 15)
    assert host.check_output("systemctl show -P Result payaid-app@3000") == "success"


def test_the_environment_is_for_root_alone(host: Any) -> None:
    environment = host.file("/etc/payaid-app/environment")
    assert (environment.mode, environment.user, environment.group) == (0o600, "root", "root")
    assert host.run("sudo -u payaid-app cat /etc/payaid-app/environment").rc != 0


def test_no_secret_is_shown(host: Any, secrets: list[str]) -> None:
    shown = "".join(
        host.check_output(command)
        for command in (
            "ps -eo args",
            *(f"systemctl show payaid-app@{port}" for port in PORTS),
            *(f"systemctl cat payaid-app@{port}" for port in PORTS),
            "journalctl --no-pager -o cat | grep -v COMMAND=",  # sudo notes what the tests themselves ask,
        )
    )
    assert "payaid-app" in shown
    for number, secret in enumerate(secrets):
        assert len(secret) >= 32
        assert secret not in shown, f"secret {number}"  # its value must not stand in the test's output either
    for number, secret in enumerate(secrets):
        holders = host.run(
            "grep -rlF %s /etc /opt/payaid-app --exclude-dir=node_modules", secret
        ).stdout.split()
        assert "/etc/payaid-app/environment" in holders, f"secret {number}"
        for holder in holders:
            assert (host.file(holder).mode & 0o007, host.file(holder).user) == (0, "root"), holder


@pytest.mark.parametrize("port", PORTS)
def test_a_process_may_do_little(host: Any, port: int) -> None:
    pid = main_pid(host, port)
    assert host.check_output("ps -o user= -p %s", pid).strip() == "payaid-app"
    status = dict(
        line.split(":\t", 1) for line in host.file(f"/proc/{pid}/status").content_string.splitlines()
    )
    assert status["NoNewPrivs"] == "1"
    assert int(status["CapBnd"], 16) == 0
    # Its own namespace, in which the system is read-only.
    said = host.run("nsenter -t %s -m -- touch /opt/payaid-app/current/x", pid)
    assert "Read-only file system" in said.stderr
    exposure = host.check_output("systemd-analyze security --no-pager payaid-app@%s | tail -n 1", str(port))
    found = re.search(r"([0-9.]+) (\S+)", exposure.partition(": ")[2])
    assert found is not None, exposure
    assert float(found[1]) < 2.0, exposure


@pytest.mark.parametrize("port", PORTS)
def test_limits_are_in_force(host: Any, port: int) -> None:
    said = host.check_output("systemctl show -p MemoryMax -p CPUQuotaPerSecUSec payaid-app@%s", str(port))
    assert set(said.split()) == {f"MemoryMax={512 * 1024 * 1024}", "CPUQuotaPerSecUSec=2s"}


def test_they_start_with_the_machine(host: Any) -> None:
    for port in PORTS:
        assert host.service(f"payaid-app@{port}").is_enabled
        assert host.service(f"payaid-app@{port}").is_running
    said = host.run("systemd-analyze verify /etc/systemd/system/payaid-app@.service")
    assert "payaid-app" not in said.stderr, said.stderr
    assert host.check_output("systemctl is-system-running") == "running"
