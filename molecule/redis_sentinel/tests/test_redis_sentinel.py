# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks every server and every sentinel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError

if TYPE_CHECKING:
    from .conftest import Access

testinfra_hosts = ["redis_nodes"]
SERVER, SENTINEL = 6379, 26379
NAME = "mymaster"
UNITS = ("redis-server@6379", "payaid-sentinel")


@pytest.fixture
def address(host: Any) -> str:
    return str(host.ansible.get_variables()["ansible_host"])


def test_everybody_follows_the_one_master_or_is_it(access: Access, address: str) -> None:
    master, seen = access.master(), access.replication(address)
    if address == master:
        assert (seen["role"], seen["connected_slaves"]) == ("master", 2)
        assert {seen["slave0"]["state"], seen["slave1"]["state"]} == {"online"}
        assert {seen["slave0"]["ip"], seen["slave1"]["ip"]} == set(access.machines) - {master}
    else:
        assert (seen["role"], seen["master_host"], seen["master_link_status"]) == ("slave", master, "up")


def test_what_the_app_writes_is_on_every_server(access: Access, address: str) -> None:
    key = f"molecule:{address}"
    with access.client() as client:
        assert client.set(key, "written", ex=60)
        assert client.wait(2, 2000) == 2
    for one in access.machines:
        with access.server(one) as client:
            assert client.get(key) == "written"


def test_a_sentinel_sees_all_others(access: Access, address: str) -> None:
    flat = access.ask(address, "SENTINEL", "MASTER", NAME)
    seen = dict(zip(flat[::2], flat[1::2], strict=True))
    expected = {
        "flags": "master",
        "num-slaves": "2",
        "num-other-sentinels": "2",
        "quorum": "2",
        "down-after-milliseconds": "5000",
        "failover-timeout": "60000",
        "parallel-syncs": "1",
    }
    assert {name: seen[name] for name in expected} == expected
    assert access.ask(address, "SENTINEL", "CKQUORUM", NAME).startswith("OK 3 usable Sentinels")


def test_a_client_may_ask_a_sentinel_and_nothing_else(access: Access, address: str) -> None:
    password = access.passwords["app"]
    with Redis(host=address, port=SENTINEL, password=password, decode_responses=True) as client:
        assert client.sentinel_get_master_addr_by_name(NAME) == (access.master(), SERVER)
        for words in (("SENTINEL", "REMOVE", NAME), ("SENTINEL", "FAILOVER", NAME), ("ACL", "LIST")):
            with pytest.raises(NoPermissionError):
                client.execute_command(*words)
    with Redis(host=address, port=SENTINEL) as stranger, pytest.raises(AuthenticationError):
        stranger.sentinel_get_master_addr_by_name(NAME)


def test_a_sentinel_may_do_little_at_a_server(access: Access, address: str) -> None:
    with access.server(address, "sentinel") as client:
        assert client.ping()
        for words in (("GET", "x"), ("SHUTDOWN",), ("CONFIG", "GET", "*"), ("ACL", "LIST")):
            with pytest.raises(NoPermissionError):
                client.execute_command(*words)
    with access.server(address) as client:
        client.execute_command("ACL", "LOG", "RESET")


def test_nothing_that_a_sentinel_needs_is_denied(access: Access, address: str) -> None:
    with access.server(address) as client:
        denied = [entry for entry in client.acl_log() if entry["username"] == "sentinel"]
    assert denied == []
    said = access.ask(address, "ACL", "LOG")
    assert [entry for entry in said if "sentinel" in entry] == []


def test_only_those_who_are_known_get_in(access: Access, address: str) -> None:
    for port, names in (
        (SERVER, {"app", "default", "operator", "replication", "sentinel"}),
        (SENTINEL, {"default", "operator", "sentinel"}),
    ):
        with access.server(address, port=port) as client:
            lines = client.acl_list()
        assert {line.split()[1] for line in lines} == names
    with access.server(address) as client:
        assert [line.split()[2] for line in client.acl_list() if line.split()[1] == "default"] == ["off"]


def test_a_master_without_a_replica_takes_no_writes(access: Access, address: str) -> None:
    with access.server(address) as client:
        assert client.config_get("min-replicas-to-write") == {"min-replicas-to-write": "1"}


def test_secrets_are_closed_to_others(host: Any, access: Access) -> None:
    own = host.file("/var/lib/redis-sentinel/sentinel.conf")
    assert (own.mode & 0o077, own.user) == (0, "redis")
    users = host.file("/etc/redis/sentinel.acl")
    assert (users.mode & 0o007, users.user) == (0, "redis")
    processes = host.check_output("ps -eo args")
    units = host.check_output("systemctl cat payaid-sentinel")
    # Without the commands of the tests themselves.
    journal = host.check_output("journalctl --no-pager -o cat | grep -v COMMAND=")
    assert "redis-server" in processes
    for name, password in access.passwords.items():
        for shown in (users.content_string, processes, units, journal):
            assert password not in shown, name


@pytest.mark.parametrize("unit", UNITS)
def test_it_starts_with_the_machine(host: Any, unit: str) -> None:
    assert host.service(unit).is_running
    assert host.service(unit).is_enabled
    assert host.check_output("systemctl is-system-running") == "running"


def test_a_sentinel_may_write_its_own_file_and_no_other(host: Any) -> None:
    pid = host.check_output("systemctl show -P MainPID payaid-sentinel")
    for path in ("/etc/redis/x", "/var/lib/redis/x", "/usr/x"):
        assert "Read-only file system" in host.run("nsenter -t %s -m -- touch %s", pid, path).stderr
    status = dict(
        line.split(":\t", 1) for line in host.file(f"/proc/{pid}/status").content_string.splitlines()
    )
    assert (status["NoNewPrivs"], int(status["CapBnd"], 16)) == ("1", 0)
