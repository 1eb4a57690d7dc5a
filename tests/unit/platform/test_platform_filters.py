# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbooks compute from an inventory, a row a case."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable
from copy import deepcopy
from typing import Any, NamedTuple

import pytest
from ansible_collections.payaid.scaling.plugins.filter.platform import (
    MONITORING_SECRETS,
    NEEDED_SECRETS,
    FilterModule,
    addresses_of,
    endpoints_of,
    machine_problems,
    platform_hosts,
    probe_entries,
    probe_processes,
    redis_instances,
    topology_problems,
)
from jinja2.exceptions import UndefinedError

GROUPS = {
    "load_balancers": ["lb1"],
    "app_nodes": ["app1", "app2"],
    "postgres_primary": ["pg1"],
    "postgres_replicas": ["pg2"],
    "redis_nodes": ["redis1", "redis2", "redis3"],
    "monitoring": ["mon1"],
}
HOSTS = ["lb1", "app1", "app2", "pg1", "pg2", "redis1", "redis2", "redis3", "mon1"]
HOSTVARS: dict[str, dict[str, Any]] = {
    host: {
        "ansible_host": f"192.0.2.{number}",
        "platform_address": f"10.0.0.{number}",
        "platform_answer": {"unreachable": False},
        "ansible_facts": {
            "distribution": "Debian",
            "distribution_major_version": "13",
            "hostname": f"{host}-name",
        },
        **dict.fromkeys((*NEEDED_SECRETS, *MONITORING_SECRETS), "secret"),
    }
    for number, host in enumerate(HOSTS, start=11)
}


class Inventory(NamedTuple):
    groups: dict[str, list[str]]
    hostvars: dict[str, dict[str, Any]]


Change = Callable[[Inventory], object]


def group(name: str, *hosts: str) -> Change:
    return lambda given: given.groups.update({name: list(hosts)})


def no_group(name: str) -> Change:
    return lambda given: given.groups.pop(name)


def variable(name: str, value: Any, *hosts: str) -> Change:
    return lambda given: [given.hostvars[host].update({name: value}) for host in hosts or HOSTS]


def no_variable(name: str, *hosts: str) -> Change:
    return lambda given: [given.hostvars[host].pop(name) for host in hosts or HOSTS]


def inventory(*changes: Change) -> Inventory:
    given = Inventory(deepcopy(GROUPS), deepcopy(HOSTVARS))
    for change in changes:
        change(given)
    return given


def hostvars_with(*changes: Change) -> dict[str, dict[str, Any]]:
    return inventory(*changes).hostvars


# With Sentinel, each machine has one instance, and a master alone takes no writes.
SENTINEL = (
    variable("redis_mode", "sentinel"),
    variable("redis_server_instances", [{"port": 6379}]),
    variable("redis_server_min_replicas_to_write", 1),
    variable("vault_redis_sentinel_password", "secret"),
)
FINE: dict[str, list[Change]] = {
    "verified TLS from the app to the servers": [
        variable("postgres_server_tls_source", "private_ca"),
        variable("platform_pooler_sslmode", "verify-full"),
        variable("pgbouncer_client_tls_sslmode", "require"),
    ],
    "encrypted to a pooler that has no authority": [variable("platform_pooler_sslmode", "require")],
    "one Redis master and three sentinels": [*SENTINEL],
    "a quorum of one": [*SENTINEL, variable("redis_sentinel_quorum", "1")],
    "the full platform": [],
    "just as many connections as the server takes": [
        variable("platform_pool_size", 20),
        variable("platform_pool_reserve", 5),
        variable("postgres_server_max_connections", 60),
    ],
    "one of the pool's machines serves": [variable("app_nodes_active", "1")],
    "all of the pool's machines serve": [variable("app_nodes_active", 2)],
    "no replicas of the database": [no_group("postgres_replicas")],
    "an empty group of replicas": [group("postgres_replicas")],
    "nobody who watches, and no password for that": [
        group("monitoring"),
        no_variable("vault_redis_monitor_password"),
    ],
    "two that watch, one of which does something else as well": [group("monitoring", "mon1", "lb1")],
    "a machine with two tasks": [group("load_balancers", "app1")],
    "two load balancers with an address for both": [
        group("load_balancers", "lb1", "app1"),
        variable("platform_virtual_ip", "10.0.0.10"),
    ],
    "no address for both": [variable("platform_virtual_ip", "")],
    "three Redis instances without replicas": [
        variable("redis_cluster_replicas", 0),
        variable("redis_server_instances", [{"port": 6379}]),
    ],
    "one Redis machine with six instances": [
        group("redis_nodes", "redis1"),
        variable("redis_server_instances", [{"port": port} for port in range(6379, 6385)]),
    ],
}


@pytest.mark.parametrize("changes", FINE.values(), ids=FINE)
def test_a_platform_has_no_problem(changes: list[Change]) -> None:
    assert topology_problems(*inventory(*changes)) == []


IMPOSSIBLE: dict[str, tuple[list[Change], list[str]]] = {
    "more connections than the server takes": (
        [variable("platform_pool_size", 120), variable("platform_pool_reserve", 30)],
        [
            "2 app nodes x 1 pools x (120 + 30) connections + 10 kept for administration make 310, and "
            "postgres_server_max_connections=300 of pg1: raise it, or lower platform_pool_size."
        ],
    ),
    "more connections than the server takes, and no replica": (
        [
            group("postgres_replicas"),
            variable("platform_pool_size", 20),
            variable("postgres_server_max_connections", 89, "pg1"),
        ],
        [
            "2 app nodes x 2 pools x (20 + 0) connections + 10 kept for administration make 90, and "
            "postgres_server_max_connections=89 of pg1: raise it, or lower platform_pool_size."
        ],
    ),
    "three that watch": (
        [group("monitoring", "mon1", "lb1", "app1")],
        [
            "The group monitoring lists mon1, lb1, app1: each of them reads everything, and two are enough "
            "for one to be lost, so take the others out of it."
        ],
    ),
    "one that watches without an address": (
        [no_variable("platform_address", "mon1")],
        ["mon1 has no platform_address: set it to the IPv4 address that the others reach it at."],
    ),
    "no load balancers": (
        [group("load_balancers")],
        ["The group load_balancers is empty: list at least one load balancer in the inventory."],
    ),
    "no app nodes": (
        [no_group("app_nodes")],
        ["The group app_nodes is empty: list at least one app node in the inventory."],
    ),
    "no primary": (
        [group("postgres_primary")],
        ["The group postgres_primary is empty: list at least one PostgreSQL primary in the inventory."],
    ),
    "no Redis machines": (
        [group("redis_nodes")],
        ["The group redis_nodes is empty: list at least one Redis machine in the inventory."],
    ),
    "two primaries": (
        [group("postgres_primary", "pg1", "pg2"), group("postgres_replicas")],
        [
            "The group postgres_primary lists pg1 and pg2: exactly one server takes writes, "
            "so move the others to postgres_replicas."
        ],
    ),
    "a primary that is a replica": (
        [group("postgres_replicas", "pg2", "pg1")],
        ["pg1 is in postgres_primary and in postgres_replicas: take it out of one of them."],
    ),
    "commits that wait for the only replica": (
        [variable("postgres_server_synchronous_standbys", 1, "pg1")],
        [
            "pg1 has postgres_server_synchronous_standbys=1, and there are 2 database hosts: when one is "
            "lost and another one takes over, the rest must still be as many, so add replicas, or set it to "
            "0."
        ],
    ),
    "commits that wait for less than nobody": (
        [variable("postgres_server_synchronous_standbys", -1, "pg2")],
        [
            "pg2 has postgres_server_synchronous_standbys=-1, and there are 2 database hosts: when one is "
            "lost and another one takes over, the rest must still be as many, so add replicas, or set it to "
            "0."
        ],
    ),
    "two machines for backups": (
        [group("backup", "redis1", "redis2")],
        [
            "The group backup lists redis1 and redis2: exactly one machine keeps the backups, so take the "
            "others out of it."
        ],
    ),
    "backups beside the data": (
        [group("backup", "pg2")],
        [
            "pg2 is in backup and is a database host: its backups would be lost with its data, so list "
            "another machine in backup."
        ],
    ),
    "three Redis instances for masters with a replica each": (
        [variable("redis_server_instances", [{"port": 6379}]), variable("redis_cluster_replicas", 1)],
        [
            "redis_cluster_replicas=1 needs at least 6 Redis instances for 3 masters, and redis_nodes "
            "(redis1, redis2, redis3) has 3: add machines, or instances to redis_server_instances."
        ],
    ),
    "six Redis instances for masters with two replicas each": (
        [variable("redis_cluster_replicas", "2")],
        [
            "redis_cluster_replicas=2 needs at least 9 Redis instances for 3 masters, and redis_nodes "
            "(redis1, redis2, redis3) has 6: add machines, or instances to redis_server_instances."
        ],
    ),
    "an unknown mode of Redis": (
        [variable("redis_mode", "standalone", "redis2")],
        ["redis2 has redis_mode=standalone: set it to cluster or sentinel."],
    ),
    "a mode that the app does not know of": (
        [*SENTINEL, no_variable("redis_mode", "app1", "app2")],
        ["redis1 has redis_mode=sentinel and app1 redis_mode=cluster: set it once for all hosts."],
    ),
    "two machines for three sentinels": (
        [*SENTINEL, group("redis_nodes", "redis1", "redis2")],
        [
            "redis_mode=sentinel needs 3 machines for as many sentinels, and redis_nodes (redis1, redis2) "
            "has "
            "2: add machines."
        ],
    ),
    "a quorum that is never reached": (
        [*SENTINEL, variable("redis_sentinel_quorum", 4)],
        [
            "redis1 has redis_sentinel_quorum=4, and there are 3 sentinels: set it to 2, a majority.",
        ],
    ),
    "two instances beside a sentinel": (
        [*SENTINEL, no_variable("redis_server_instances", "redis2")],
        [
            "redis2 has 2 Redis instances in redis_server_instances, and with redis_mode=sentinel each "
            "machine "
            "runs one: set it to [{port: 6379}]."
        ],
    ),
    "a former master that would take writes": (
        [*SENTINEL, no_variable("redis_server_min_replicas_to_write", "redis3")],
        [
            "redis3 has no redis_server_min_replicas_to_write, without which a former master that comes back "
            "takes writes that are lost: set it to 1."
        ],
    ),
    "no password for the sentinels": (
        [*SENTINEL, no_variable("vault_redis_sentinel_password")],
        ["vault_redis_sentinel_password is not set for lb1: put it into the inventory's vault."],
    ),
    "a variable of the first release": (
        [variable("redis_cluster_ports", [6379, 6380], "redis1")],
        [
            "redis1 has redis_cluster_ports, which is no variable any more: put it into "
            "redis_server_instances, a list such as [{port: 6379}, {port: 6380}]."
        ],
    ),
    "an authority that the pools do not know of": (
        [variable("postgres_server_tls_source", "private_ca", "pg1", "pg2")],
        ["pg1 has postgres_server_tls_source=private_ca and app1 snakeoil: set it once for all hosts."],
    ),
    "a pooler that turns its own app away": (
        [variable("pgbouncer_client_tls_sslmode", "require", "app2")],
        [
            "app2 has pgbouncer_client_tls_sslmode=require and an app that speaks no TLS: set "
            "platform_pooler_sslmode=require in a run before."
        ],
    ),
    "an app that verifies without an authority": (
        [variable("platform_pooler_sslmode", "verify-full", "app1")],
        [
            "app1 has platform_pooler_sslmode=verify-full, and no authority to verify with: set "
            "postgres_server_tls_source to private_ca or files."
        ],
    ),
    "a way to the pooler that is none": (
        [variable("platform_pooler_sslmode", "prefer", "app1")],
        [
            "app1 has platform_pooler_sslmode=prefer: set it to disable, require, verify-ca or verify-full.",
        ],
    ),
    "an address twice": (
        [variable("platform_address", "10.0.0.11", "app2")],
        ["lb1 and app2 share platform_address=10.0.0.11: each needs its own."],
    ),
    "no address": (
        [no_variable("platform_address", "redis2")],
        ["redis2 has no platform_address: set it to the IPv4 address that the others reach it at."],
    ),
    "a name for an address": (
        [variable("platform_address", "pg1.example.org", "pg1")],
        ["pg1 has platform_address=pg1.example.org, which is not an IPv4 address."],
    ),
    # The access rules and the lists of nodes are written for IPv4.
    "an IPv6 address": (
        [variable("platform_address", "2001:db8::1", "pg1")],
        ["pg1 has platform_address=2001:db8::1, which is not an IPv4 address."],
    ),
    **{
        f"no {secret}": (
            [no_variable(secret)],
            [f"{secret} is not set for lb1: put it into the inventory's vault."],
        )
        for secret in (*NEEDED_SECRETS, *MONITORING_SECRETS)
    },
    "an address for both of one load balancer": (
        [variable("platform_virtual_ip", "10.0.0.10")],
        [
            "lb1 has platform_virtual_ip=10.0.0.10, and is alone in load_balancers: add another one that can "
            "take it, or leave it empty."
        ],
    ),
    "an address for both that is a machine's": (
        [group("load_balancers", "lb1", "app1"), variable("platform_virtual_ip", "10.0.0.14")],
        [
            "lb1 has platform_virtual_ip=10.0.0.14, which is the platform_address of pg1: choose one that no "
            "machine has."
        ],
    ),
    "an address for both that only one knows": (
        [group("load_balancers", "lb1", "app1"), variable("platform_virtual_ip", "10.0.0.10", "app1")],
        [
            "lb1 has platform_virtual_ip=(empty) and app1 10.0.0.10: set it once for all load balancers.",
        ],
    ),
    "a name for the address of both": (
        [group("load_balancers", "lb1", "app1"), variable("platform_virtual_ip", "www.example.org")],
        [
            "lb1 has platform_virtual_ip=www.example.org, which is not an IPv4 address: set it to one, or to "
            "nothing."
        ],
    ),
    "an empty secret": (
        [variable("vault_redis_app_password", "")],
        ["vault_redis_app_password is not set for lb1: put it into the inventory's vault."],
    ),
    **{
        f"{given!r} active app nodes": (
            [variable("app_nodes_active", given)],
            [
                f"app_nodes_active={given}, and the group app_nodes has 2 machines: give a number from 1 to "
                "that, or add machines to the group."
            ],
        )
        for given in (3, "0", "-1", "many", "50%")
    },
    "different numbers of active app nodes": (
        [variable("app_nodes_active", 1, "app2")],
        ["app1 has app_nodes_active=2 and app2 1: set it once for all hosts."],
    ),
    "two problems": (
        [group("app_nodes"), variable("platform_address", "10.0.0.11", "pg2")],
        [
            "The group app_nodes is empty: list at least one app node in the inventory.",
            "lb1 and pg2 share platform_address=10.0.0.11: each needs its own.",
        ],
    ),
}


@pytest.mark.parametrize(("changes", "said"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_inventory_is_said_to_be(changes: list[Change], said: list[str]) -> None:
    assert topology_problems(*inventory(*changes)) == said


class Sealed(dict[str, Any]):
    """Variables of a host, one of which can only be looked at with the vault password."""

    def get(self, key: str, default: Any = None) -> Any:
        if key == "vault_redis_app_password":
            raise UndefinedError("Attempt to use undecryptable variable.")
        return super().get(key, default)


@pytest.mark.parametrize(
    ("changes", "feature"),
    [
        ([group("load_balancers")], "load_balancer"),
        ([group("redis_nodes", "redis1")], "redis_cluster"),
        ([variable("platform_virtual_ip", "10.0.0.99")], "virtual_ip"),
        ([variable("platform_pool_size", 500)], "pooler"),
    ],
)
def test_what_a_week_does_not_have_is_no_problem(changes: list[Change], feature: str) -> None:
    given = inventory(*changes)
    assert topology_problems(given.groups, given.hostvars) != []
    assert topology_problems(given.groups, given.hostvars, {feature: True}) != []
    assert topology_problems(given.groups, given.hostvars, {feature: False}) == []


def test_the_first_weeks_have_no_sentinels() -> None:
    given = inventory(*SENTINEL)
    [said] = topology_problems(given.groups, given.hostvars, {"redis_cluster": False})
    assert said.startswith("redis1 has redis_mode=sentinel, and before week 3 of the rollout")


def test_a_secret_without_its_vault_password_is_said_to_be() -> None:
    given = inventory()
    assert topology_problems(given.groups, given.hostvars | {"lb1": Sealed(given.hostvars["lb1"])}) == [
        "vault_redis_app_password of lb1 cannot be decrypted: give the vault password "
        "(--ask-vault-pass or --vault-password-file)."
    ]


def test_an_inventory_of_nothing_is_said_to_be() -> None:
    assert [problem.split(" is empty")[0] for problem in topology_problems({}, {})] == [
        "The group load_balancers",
        "The group app_nodes",
        "The group postgres_primary",
        "The group redis_nodes",
    ]


MACHINES: dict[str, tuple[list[Change], list[str]]] = {
    "all well": ([], []),
    "Debian 12": (
        [variable("ansible_facts", {"distribution": "Debian", "distribution_major_version": "12"})],
        [],
    ),
    "not asked": ([no_variable("platform_answer"), no_variable("ansible_facts")], []),
    "an unknown Debian": (
        [variable("ansible_facts", {"distribution": "Debian", "distribution_major_version": "11"}, "pg1")],
        ["pg1 runs Debian 11: the platform knows Debian 12 and 13 (distribution_major_version)."],
    ),
    "another system": (
        [variable("ansible_facts", {"distribution": "Fedora", "distribution_major_version": "13"}, "app1")],
        ["app1 runs Fedora 13: the platform knows Debian 12 and 13 (distribution_major_version)."],
    ),
    "a host that cannot be reached": (
        [
            variable(
                "platform_answer", {"unreachable": True, "msg": "Failed to connect:\n  timed out."}, "redis3"
            )
        ],
        ["redis3 (ansible_host=192.0.2.18) cannot be reached over SSH: Failed to connect: timed out."],
    ),
    "a host that has no address to reach it at": (
        [variable("platform_answer", {"unreachable": True, "msg": "No route"}), no_variable("ansible_host")],
        [f"{host} (ansible_host={host}) cannot be reached over SSH: No route." for host in HOSTS],
    ),
}


@pytest.mark.parametrize(("changes", "said"), MACHINES.values(), ids=MACHINES)
def test_a_machine_that_cannot_be_worked_on_is_said_to_be(changes: list[Change], said: list[str]) -> None:
    assert machine_problems(*inventory(*changes)) == said


def test_every_host_of_the_platform_is_listed_once() -> None:
    assert platform_hosts(GROUPS | {"load_balancers": ["app1", "lb1"]}) == [
        "app1",
        "lb1",
        "app2",
        "pg1",
        "pg2",
        "redis1",
        "redis2",
        "redis3",
        "mon1",
    ]


def test_every_port_of_a_machine_is_an_instance_in_its_zone() -> None:
    hostvars = hostvars_with(
        variable("redis_server_instances", [{"port": "7000"}], "redis2"),
        variable("platform_zone", "hall2", "redis2"),
    )
    assert redis_instances(["redis1", "redis2"], hostvars) == [
        {"host": "10.0.0.16", "port": 6379, "zone": "redis1"},
        {"host": "10.0.0.16", "port": 6380, "zone": "redis1"},
        {"host": "10.0.0.17", "port": 7000, "zone": "hall2"},
    ]


def test_addresses_take_a_suffix() -> None:
    assert addresses_of(["app1", "app2"], HOSTVARS) == ["10.0.0.12", "10.0.0.13"]
    assert addresses_of(["app1"], HOSTVARS, "/32") == ["10.0.0.12/32"]


def test_neighbouring_endpoints_are_on_different_machines() -> None:
    assert endpoints_of(["app1", "app2"], HOSTVARS, [3000, 3001]) == [
        "10.0.0.12:3000",
        "10.0.0.13:3000",
        "10.0.0.12:3001",
        "10.0.0.13:3001",
    ]


def test_a_load_balancer_is_asked_over_what_it_serves() -> None:
    hostvars = hostvars_with(
        variable("__platform_certificate", {"content": b64encode(b"PEM").decode()}, "lb1")
    )
    assert probe_entries(["lb1"], hostvars) == [
        {"name": "lb1", "url": "https://10.0.0.11", "certificate": "PEM"}
    ]
    assert probe_entries(["lb1"], HOSTVARS) == [{"name": "lb1", "url": "http://10.0.0.11", "certificate": ""}]
    hostvars = hostvars_with(variable("__platform_certificate", {"skipped": True}, "lb1"))
    assert probe_entries(["lb1"], hostvars)[0]["url"] == "http://10.0.0.11"


def test_the_shared_address_is_asked_for_whoever_has_it() -> None:
    hostvars = hostvars_with(
        variable("__platform_certificate", {"content": b64encode(b"ONE\n").decode()}, "lb1"),
        variable("__platform_certificate", {"content": b64encode(b"TWO\n").decode()}, "app1"),
    )
    *_each, shared = probe_entries(["lb1", "app1"], hostvars, "10.0.0.10")
    assert shared == {"name": "the virtual IP", "url": "https://10.0.0.10", "certificate": "ONE\n\nTWO"}
    *_each, shared = probe_entries(["lb1", "app1"], HOSTVARS, "10.0.0.10")
    assert shared == {"name": "the virtual IP", "url": "http://10.0.0.10", "certificate": ""}


def test_a_process_is_known_by_the_name_its_node_gives_itself() -> None:
    hostvars = hostvars_with(no_variable("ansible_facts", "app2"))
    assert probe_processes(["app1", "app2"], hostvars, [3000]) == [
        {"node": "app1-name", "url": "http://10.0.0.12:3000"},
        {"node": "app2", "url": "http://10.0.0.13:3000"},
    ]


def test_every_filter_is_offered() -> None:
    assert all(callable(function) for function in FilterModule().filters().values())
