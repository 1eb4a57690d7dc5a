# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an inventory carries and costs, as it is and in the weeks of the rollout."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.filter.capacity import (
    capacity_change,
    capacity_changes,
    capacity_inventory,
    capacity_plan,
    capacity_problems,
    capacity_weeks,
)
from ansible_collections.payaid.scaling.plugins.filter.platform import MACHINE_GROUPS, topology_problems

from ..collection.tree import read

Told = dict[str, Any]
WEEKS = read("playbooks/vars/weeks.yml")
TABLE, FEATURES = WEEKS["rollout_weeks"], WEEKS["rollout_features"]
GROUPS: dict[str, list[str]] = {
    "load_balancers": ["lb1", "lb2"],
    "app_nodes": ["app1", "app2", "app3"],
    "postgres_primary": ["pg1"],
    "postgres_replicas": ["pg2", "pg3"],
    "backup": [],
    "redis_nodes": ["redis1", "redis2", "redis3"],
    "monitoring": ["mon1"],
    "load_generators": ["mon1"],
}
COMMON: Told = {
    "platform_app_ports": [3000, 3001],
    "platform_pool_size": 50,
    "platform_pool_reserve": 20,
    "postgres_server_max_connections": 300,
    "redis_server_instances": [{"port": 6379, "maxmemory": "1gb"}, {"port": 6380, "maxmemory": "1gb"}],
}


def inventory(**changes: Any) -> tuple[dict[str, list[str]], dict[str, Told]]:
    """Return groups and hostvars; changes are of groups, or of the variables of all hosts."""
    groups = copy.deepcopy(GROUPS) | {name: hosts for name, hosts in changes.items() if name in GROUPS}
    variables = COMMON | {name: value for name, value in changes.items() if name not in GROUPS}
    return groups, {host: dict(variables) for hosts in groups.values() for host in hosts}


def told(given: Told | None = None, week: int | None = None, **changes: Any) -> Told:
    groups, hostvars = inventory(**changes)
    if week is None:
        return capacity_inventory(groups, hostvars, given or {})
    return capacity_inventory(groups, hostvars, given or {}, TABLE[week], FEATURES)


def test_an_inventory_like_the_blueprint_is_what_the_plan_says() -> None:
    planned = capacity_plan({"users": 10000})
    listed = told({"users": 10000}, load_balancers=["lb1"], monitoring=[], load_generators=[])
    for part in ("nodes", "machine_count", "processes", "pools", "connections", "redis", "cost"):
        assert listed[part] == planned[part], part
    assert listed["capacity"]["users_one_lost"] == planned["capacity"]["users_one_lost"] == 10640


def test_what_is_listed_is_paid_for_and_counted() -> None:
    found = told()
    assert found["machine_count"] == 12
    assert found["nodes"]["monitoring"] == found["nodes"]["load_generators"] == 1
    # 2 x 2-5, 3 x 5-10, 10-20, 3-5, and mon1 once, as the load generator that it is as well.
    assert (found["cost"]["low"], found["cost"]["high"]) == (37000, 75000)
    assert (found["name"], found["phase"]) == ("Inventory", 0)


def test_a_machine_with_two_tasks_is_paid_for_once() -> None:
    found = told(redis_nodes=["app1", "app2", "app3"], monitoring=[], load_generators=[])
    assert found["machine_count"] == 8
    assert {row["kind"]: (row["count"], row["own"]) for row in found["machines"]}["redis_nodes"] == (3, 0)
    assert (found["cost"]["low"], found["cost"]["high"]) == (29000, 60000)


@pytest.mark.parametrize(
    ("changes", "part", "wanted"),
    [
        ({"app_nodes_active": 2}, "processes", 4),
        ({"app_nodes_active": ""}, "processes", 6),
        ({"platform_app_ports": [3000]}, "processes", 3),
        ({"platform_pool_size": 40}, "connections", {"primary": 180, "replica": 180, "kept": 10, "max": 300}),
        (
            {"postgres_replicas": [], "platform_pool_size": 20},
            "connections",
            {"primary": 240, "replica": 0, "kept": 10, "max": 300},
        ),
        (
            {
                "redis_mode": "sentinel",
                "redis_server_instances": [{"port": 6379}],
                "redis_server_maxmemory": "512mb",
            },
            "redis",
            {"mode": "sentinel", "masters": 1, "replicas": 2, "maxmemory_mb": 512},
        ),
        (
            {
                "redis_cluster_replicas": 0,
                "redis_server_instances": [{"port": 6379, "maxmemory": 1073741824}],
            },
            "redis",
            {"mode": "cluster", "masters": 3, "replicas": 0, "maxmemory_mb": 1024},
        ),
    ],
)
def test_what_the_variables_decide(changes: Told, part: str, wanted: Any) -> None:
    assert told(**changes)[part] == wanted


def test_a_load_balancer_limits_where_its_connections_are_decided() -> None:
    found = told(nginx_worker_connections=8192)
    # 2 workers with half of 8,192 each, of which 30 % stay free.
    assert found["capacity"]["users"] == 5734
    assert found["bottleneck"]["name"] == "clients"


def test_nodes_of_different_sizes_are_added_and_the_biggest_is_lost() -> None:
    groups, hostvars = inventory()
    hostvars["app3"]["platform_app_ports"] = [3000, 3001, 3002, 3003]
    found = capacity_inventory(groups, hostvars, {"throughput_per_process": 100, "headroom": 0})
    assert found["processes"] == 8
    assert found["capacity"]["requests_per_second"] == 800
    assert found["capacity"]["requests_per_second_one_lost"] == 400


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"app_nodes_active": 4}, "app_nodes_active=4: give a number from 1 to 3."),
        ({"postgres_primary": []}, "The group postgres_primary is empty: list at least one machine in the"),
        (
            {"platform_pool_size": 80},
            "pool_size=80 and pool_reserve=20 make 310 connections with 3 app nodes and 10 kept, and "
            "max_connections=300: raise max_connections to 310, or lower pool_size to 76.",
        ),
        (
            {"postgres_server_max_connections": "many"},
            "postgres_server_max_connections=many: give a whole number.",
        ),
        (
            {"redis_server_instances": [{"port": 1, "maxmemory": "lots"}]},
            "maxmemory=lots: give a size such as 1gb.",
        ),
    ],
)
def test_an_inventory_that_cannot_be_is_refused(changes: Told, wanted: str) -> None:
    with pytest.raises(AnsibleFilterError) as refusal:
        told(**changes)
    assert str(refusal.value).startswith(wanted)
    [said] = capacity_problems({}, *inventory(**changes))
    assert said.startswith(wanted)


def test_an_inventory_without_a_platform_is_no_problem() -> None:
    assert capacity_problems({}, {}, {}) == []
    assert capacity_problems({}, {"app_nodes": []}, {}) == []


def test_connections_are_refused_where_the_preflight_refuses_them() -> None:
    """The sum is made twice, for different sentences; it must be the same sum."""
    for replicas in ([], ["pg2"]):
        for size in range(1, 130):
            groups, hostvars = inventory(postgres_replicas=replicas, platform_pool_size=size)
            refused = [
                one for one in topology_problems(groups, hostvars) if "postgres_server_max_conn" in one
            ]
            assert bool(refused) == bool(capacity_problems({}, groups, hostvars)), (replicas, size)


@pytest.mark.parametrize(
    ("week", "machines", "low", "high"),
    [
        # The inventory gives the single Redis a machine of its own.
        (0, (0, 1, 1, 0, 1), 9000, 16667),
        (1, (1, 2, 1, 0, 1), 16000, 31667),
        (2, (1, 2, 1, 1, 1), 19500, 39167),
        (3, (1, 2, 1, 1, 3), 21500, 42500),
        (4, (1, 2, 1, 1, 3), 26500, 52500),
        (5, (2, 3, 1, 2, 3), 37000, 75000),
    ],
)
def test_an_inventory_in_each_week(week: int, machines: tuple[int, ...], low: int, high: int) -> None:
    found = told(week=week)
    kinds = ("load_balancers", "app_nodes", "postgres_primary", "postgres_replicas", "redis_nodes")
    assert tuple(found["nodes"][kind] for kind in kinds) == machines
    assert (found["cost"]["low"], found["cost"]["high"]) == (low, high)
    assert found["name"] == f"Week {week}"
    assert found["pools"]["pooler"] == (week >= 2)
    assert found["redis"]["mode"] == ("cluster" if week >= 3 else "single")


@pytest.mark.parametrize(
    ("week", "changes", "wanted"),
    [
        (1, {"app_nodes": ["app1"]}, "Week 1 needs 2 of the group app_nodes, and the inventory lists 1: add"),
        (
            2,
            {"postgres_replicas": []},
            "Week 2 needs 1 of the group postgres_replicas, and the inventory lists 0:",
        ),
        (
            3,
            {"redis_nodes": ["redis1"]},
            "Week 3 needs 3 of the group redis_nodes, and the inventory lists 1: add",
        ),
        (
            4,
            {"load_generators": []},
            "Week 4 needs 1 of the group load_generators, and the inventory lists 0: ",
        ),
    ],
)
def test_a_week_that_an_inventory_cannot_carry_is_refused(week: int, changes: Told, wanted: str) -> None:
    with pytest.raises(AnsibleFilterError) as refusal:
        told(week=week, **changes)
    assert str(refusal.value).startswith(wanted)


def test_a_single_redis_that_is_lost_leaves_its_reads_to_the_replicas() -> None:
    def lost(week: int) -> str:
        rows = told({"users": 4000}, week=week)["lost"]
        return next(str(row["effect"]) for row in rows if row["kind"] == "redis_nodes")

    # 400 a second and 700 that a server can: all on one, or the nine tenths that read on the replica.
    assert lost(1) == "Every read goes to the database, 57 % of what it can."
    assert lost(2) == "Every read goes to the database, 51 % of what it can."


def test_before_and_after_stand_beside_each_other() -> None:
    first, second = told(week=1), told(week=2)
    changed = {row["what"]: (row["before"], row["after"]) for row in capacity_changes(first, second)}
    assert changed["PostgreSQL replicas"] == ("0", "1")
    assert changed["₹ a month"] == ("₹16K-31.7K", "₹19.5K-39.2K")
    assert changed["Users carried"] == ("10,640", "10,640")
    lines = capacity_change(first, second)
    assert lines[0].split() == ["before", "after"]
    assert len({len(line) for line in lines}) == 1
    assert [line.split()[-2:] for line in lines if line.startswith("PostgreSQL")] == [["0", "1"]]


def test_the_weeks_are_a_table_that_playbooks_can_go_by() -> None:
    assert [week["week"] for week in TABLE] == [0, 1, 2, 3, 4, 5]
    groups = {*MACHINE_GROUPS, "monitoring", "load_generators"}
    for before, week in zip([None, *TABLE], TABLE, strict=False):
        assert {*week["needs"], *week["uses"]} <= groups
        for kind, needed in week["needs"].items():
            assert needed <= week["uses"].get(kind, needed), (week["week"], kind)
            # A later week takes no machine away, but the load generators when they have measured.
            if before and kind != "load_generators":
                assert needed >= before["needs"].get(kind, 0), (week["week"], kind)
        for kind, used in week["uses"].items():
            if before:
                assert used >= before["uses"].get(kind, used), (week["week"], kind)
    assert set(FEATURES.values()) == {1, 2, 3, 4, 5}


def test_the_lab_can_carry_every_week() -> None:
    children = read("inventories/lab/hosts.yml")["lab"]["children"]
    children |= children.pop("postgres")["children"]
    groups = {name: list(group.get("hosts") or ()) for name, group in children.items()}
    hostvars = {host: dict(COMMON) for hosts in groups.values() for host in hosts}
    costs = [capacity_inventory(groups, hostvars, {}, week, FEATURES)["cost"]["low"] for week in TABLE]
    assert costs == sorted(costs)
    assert len(set(costs)) == len(TABLE)


def test_the_weeks_beside_each_other() -> None:
    found = capacity_weeks({"users": 10000}, TABLE, FEATURES)
    assert [one["cost"]["text"] for one in found] == [
        "₹8K-15K",
        "₹15K-30K",
        "₹18.5K-37.5K",
        "₹21.5K-42.5K",
        "₹23.5K-47.5K",
        "₹36K-75K",
    ]
    assert [one["enough"] for one in found] == [False, True, True, True, True, True]
    assert [one["enough_one_lost"] for one in found] == [False, False, False, False, False, True]
    assert found[2]["brings"] == ["pooler", "replica reads"]


def test_a_table_of_weeks_that_is_none_is_refused() -> None:
    with pytest.raises(
        AnsibleFilterError, match=r"The table of weeks cannot be read \(KeyError: 'uses'\): give "
    ):
        capacity_weeks({}, [{"week": 1, "title": "One", "needs": {}}], FEATURES)
