# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks every node of the cluster with redis-cli."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.payaid.scaling.molecule.conftest import Machines, Patience

testinfra_hosts = ["redis_nodes"]
PORTS = (6379, 6380)
SLOTS = 16384


class Node(NamedTuple):
    """One line of CLUSTER NODES."""

    id: str
    host: str
    flags: set[str]
    master: str
    link: str
    slots: list[str]


@pytest.fixture
def redis(host: Any) -> Callable[..., str]:
    """Ask an instance of this machine."""
    variables = host.ansible.get_variables()
    secure = " --tls --cacert /etc/redis/tls/ca.crt" if host.file("/etc/redis/tls/ca.crt").exists else ""

    def ask(port: int, *words: str, user: str = "operator", password: str | None = None) -> str:
        secret = variables[f"vault_redis_{user}_password"] if password is None else password
        login = f"REDISCLI_AUTH={secret} redis-cli --user {user}" if secret else "redis-cli"
        command = f"{login}{secure} -c -h {variables['ansible_host']} -p {port}" + " %s" * len(words)
        return str(host.check_output(command, *words))

    return ask


def nodes(said: str) -> list[Node]:
    """Read CLUSTER NODES."""
    found = []
    for line in said.splitlines():
        node, address, flags, master, _ping, _pong, _epoch, link, *slots = line.split()
        found.append(Node(node, address.partition(":")[0], set(flags.split(",")), master, link, slots))
    return found


def info(said: str) -> dict[str, str]:
    """Read INFO or CLUSTER INFO."""
    return dict(line.split(":", 1) for line in said.splitlines() if ":" in line)


@pytest.mark.parametrize("port", PORTS)
def test_all_slots_are_served(redis: Callable[..., str], port: int) -> None:
    seen = info(redis(port, "CLUSTER", "INFO"))
    assert seen["cluster_state"] == "ok"
    assert seen["cluster_slots_ok"] == str(SLOTS)
    assert (seen["cluster_known_nodes"], seen["cluster_size"]) == ("6", "3")


@pytest.mark.parametrize("port", PORTS)
def test_no_master_is_beside_its_own_replica(redis: Callable[..., str], port: int) -> None:
    seen = {node.id: node for node in nodes(redis(port, "CLUSTER", "NODES"))}
    replicas = [node for node in seen.values() if "slave" in node.flags]
    assert len(replicas) == 3
    assert {node.link for node in seen.values()} == {"connected"}
    assert {seen[node.master].id for node in replicas} == {n.id for n in seen.values() if "master" in n.flags}
    assert not [node for node in replicas if node.host == seen[node.master].host]


def test_the_machines_share_masters_and_slots_evenly(redis: Callable[..., str]) -> None:
    masters = [node for node in nodes(redis(PORTS[0], "CLUSTER", "NODES")) if "master" in node.flags]
    assert len({node.host for node in masters}) == 3, "one machine away must not take two shards"
    sizes = []
    for master in masters:
        ends = [slots.partition("-") for slots in master.slots]
        sizes.append(sum(int(last or first) - int(first) + 1 for first, _dash, last in ends))
    assert sum(sizes) == SLOTS
    assert max(sizes) - min(sizes) <= 1


def test_what_one_node_takes_every_other_one_gives(host: Any, machines: Machines) -> None:
    variables = host.ansible.get_variables()
    secure = " --tls --cacert /etc/redis/tls/ca.crt" if host.file("/etc/redis/tls/ca.crt").exists else ""
    numbers = range(12)  # enough that every shard gets some

    def say(name: str, port: int, words: list[str]) -> list[str]:
        machine = machines(name)
        said = machine.check_output(
            f"printf %s | REDISCLI_AUTH=%s redis-cli{secure} --user app -c -h %s -p %s",
            "".join(f"{line}\n" for line in words),
            variables["vault_redis_app_password"],
            machine.ansible.get_variables()["ansible_host"],
            str(port),
        )
        return [line for line in said.splitlines() if not line.startswith("-> Redirected")]

    mark = variables["inventory_hostname"]
    written = say(mark, PORTS[0], [f"SET molecule:{mark}:{n} {mark}-{n} EX 60" for n in numbers])
    assert written == ["OK"] * len(numbers)
    for name in variables["groups"]["redis_nodes"]:
        for port in PORTS:
            read = say(name, port, [f"GET molecule:{mark}:{n}" for n in numbers])
            assert read == [f"{mark}-{n}" for n in numbers], (name, port)


@pytest.mark.parametrize("port", PORTS)
def test_nothing_is_said_without_the_password(redis: Callable[..., str], port: int) -> None:
    assert redis(port, "PING") == "PONG"
    assert "NOAUTH" in redis(port, "PING", password="")
    assert "NOAUTH" in redis(port, "GET", "molecule:1", password="")
    assert "NOAUTH" in redis(port, "PING", password="x")  # noqa: S106  # of the operator
    assert "WRONGPASS" in redis(port, "AUTH", "default", "", password="")


# A command of each kind that an app must never get through, and whom it would hurt.
DENIED = [
    ("FLUSHALL",),
    ("CONFIG", "GET", "masterauth"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "app", "+@all"),
    ("SHUTDOWN", "NOSAVE"),
    ("KEYS", "*"),
    ("CLUSTER", "RESET"),
    ("CLUSTER", "FAILOVER", "TAKEOVER"),
    ("MODULE", "LIST"),
    ("REPLICAOF", "NO", "ONE"),
    ("CLIENT", "LIST"),
    ("MONITOR",),
]


@pytest.mark.parametrize("words", DENIED, ids=" ".join)
def test_the_app_can_harm_nobody(redis: Callable[..., str], words: tuple[str, ...]) -> None:
    assert redis(PORTS[0], "ACL", "WHOAMI", user="app") == "app"
    assert "NOPERM" in redis(PORTS[0], *words, user="app")


def test_a_replica_can_follow_and_nothing_else(redis: Callable[..., str]) -> None:
    assert redis(PORTS[0], "PING", user="replication") == "PONG"
    for words in (("GET", "molecule:1"), ("INFO",), ("CLUSTER", "NODES"), ("ACL", "WHOAMI")):
        assert "NOPERM" in redis(PORTS[0], *words, user="replication")


@pytest.mark.parametrize("port", PORTS)
def test_the_default_user_is_off(redis: Callable[..., str], port: int) -> None:
    users = redis(port, "ACL", "LIST").splitlines()
    assert {line.split()[1] for line in users} == {"app", "default", "operator", "replication"}
    (default,) = [line for line in users if line.startswith("user default ")]
    assert default.split()[2] == "off"


@pytest.mark.parametrize("port", PORTS)
def test_what_is_written_outlives_a_restart(redis: Callable[..., str], port: int) -> None:
    seen = info(redis(port, "INFO", "persistence"))
    assert (seen["aof_enabled"], seen["aof_last_write_status"]) == ("1", "ok")
    assert redis(port, "CONFIG", "GET", "maxmemory").split() == ["maxmemory", str(256 * 1024 * 1024)]
    assert redis(port, "CONFIG", "GET", "maxmemory-policy").split() == ["maxmemory-policy", "allkeys-lru"]


@pytest.mark.parametrize("port", PORTS)
def test_replicas_follow(redis: Callable[..., str], port: int) -> None:
    seen = info(redis(port, "INFO", "replication"))
    if seen["role"] == "master":
        assert seen["connected_slaves"] == "1"
        assert "state=online" in seen["slave0"]
    else:
        assert seen["master_link_status"] == "up"


@pytest.mark.parametrize("port", PORTS)
def test_files_with_the_password_are_closed_to_others(host: Any, port: int) -> None:
    settings = host.file(f"/etc/redis/redis-{port}.conf")
    assert (settings.mode & 0o007, settings.user) == (0, "redis")
    assert host.file(f"/var/lib/redis/{port}").mode == 0o750
    users = host.file("/etc/redis/users.acl")
    assert (users.mode & 0o007, users.user) == (0, "redis")
    variables = host.ansible.get_variables()
    processes = host.check_output("ps -eo args")
    # Without the commands of the tests themselves.
    journal = host.check_output("journalctl --no-pager -o cat | grep -v COMMAND=")
    for name in ("app", "operator", "replication"):
        password = variables[f"vault_redis_{name}_password"]
        assert password not in users.content_string, "a hash of it is enough"
        assert password not in processes
        assert password not in journal


@pytest.mark.parametrize("port", PORTS)
def test_an_instance_starts_with_the_machine(host: Any, port: int) -> None:
    unit = host.service(f"redis-server@{port}")
    assert unit.is_running
    assert unit.is_enabled
    # The package's own one would hold the port after a boot.
    assert not host.service("redis-server").is_enabled
    assert host.check_output("systemctl is-system-running") == "running"


def test_an_instance_that_is_killed_comes_back_into_the_cluster(
    host: Any, redis: Callable[..., str], soon: Patience
) -> None:
    port = PORTS[1]
    before = host.check_output("systemctl show -P MainPID redis-server@%s", str(port))
    assert redis(port, "PING") == "PONG"
    host.check_output("kill -9 %s", before)

    def whole() -> bool:
        said = host.run("systemctl show -P MainPID redis-server@%s", str(port)).stdout.strip()
        if said in ("0", before):
            return False
        # A replica may have become the master meanwhile: either way nothing is missing.
        seen = nodes(redis(PORTS[0], "CLUSTER", "NODES"))
        return {node.link for node in seen} == {"connected"} and not any(
            node.flags & {"fail", "fail?", "handshake"} for node in seen
        )

    soon(whole, 30)
