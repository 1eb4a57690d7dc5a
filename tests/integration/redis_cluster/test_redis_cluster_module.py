# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against real servers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import redis
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.io import RedisIO
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import Desired, Listed
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.plan import plan

from .conftest import HOST, Fleet, Module, Server, arguments, kill_module, wait_for

CREATE_STEPS = 13
PASSWORD = "correct-horse-battery"  # noqa: S105  # of a server that lives as long as one test


def wanted(servers: list[Server]) -> Desired:
    nodes = (Listed(HOST, server.port, zone) for server, zone in zip(servers, "aabbcc", strict=True))
    return Desired(tuple(nodes))


def by_role(result: dict[str, Any]) -> dict[str, list[str]]:
    roles: dict[str, list[str]] = {"master": [], "replica": []}
    for row in result["nodes"]:
        roles[row["role"]].append(row["addr"])
    return roles


def assert_well(servers: list[Server], result: dict[str, Any]) -> None:
    """Ask the nodes themselves."""
    assert result["health"]["state"] == "ok", result
    for server in servers:
        assert server.info()["cluster_state"] == "ok"
        assert server.info()["cluster_known_nodes"] == str(len(servers))
        role = server.do("ROLE")
        assert role[0] == "master" or role[3] == "connected"


def test_create_is_what_check_mode_foretold_and_changes_nothing_again(
    six: list[Server], module: Module
) -> None:
    foretold = module(six, check=True)
    assert all(server.info()["cluster_known_nodes"] == "1" for server in six)
    done = module(six)
    assert_well(six, done)
    assert foretold["changed"] is done["changed"] is True
    assert foretold["actions"] == done["actions"]
    assert len(done["actions"]) == CREATE_STEPS
    for key in ("before", "after", "diff", "health"):
        assert foretold[key] == done[key], key

    def lasting(result: dict[str, Any]) -> list[dict[str, Any]]:
        return [{key: row[key] for key in row if key != "flags"} for row in result["nodes"]]

    assert lasting(foretold) == lasting(done)
    for check in (True, False):
        again = module(list(reversed(six)), check=check, zones="ffeeddccbbaa"[-6:])
        assert (again["changed"], again["actions"]) == (False, [])
        assert again["after"] == again["before"] == done["after"]


def test_three_zones_of_two(six: list[Server], module: Module) -> None:
    result = module(six, zones="abcabc")
    rows = {row["id"]: row for row in result["nodes"]}
    assert sorted(row["zone"] for row in rows.values() if row["role"] == "master") == ["a", "b", "c"]
    assert [row["slots"] for row in rows.values() if row["slots"]] == ["0-5460", "5461-10922", "10923-16383"]
    for row in rows.values():
        assert row["role"] == "master" or rows[row["master_id"]]["zone"] != row["zone"]
    assert result["health"]["affinity_violations"] == []


@pytest.mark.parametrize("done", range(CREATE_STEPS + 1))
def test_create_that_was_interrupted_after_a_step_is_finished(
    six: list[Server], module: Module, done: int
) -> None:
    desired = wanted(six)
    with RedisIO(desired.nodes, Login(), timeout=15) as io:
        steps = plan(io.observe(), desired)
        for step in steps[:done]:
            step.apply(io)
    rest = [step.describe() for step in steps[done:]]
    result = module(six)
    assert result["actions"] == rest
    assert result["changed"] == bool(rest)
    if not rest:  # nothing was left to do but to wait
        wait_for(lambda: module(six)["health"]["state"] == "ok", "the replicas to be in step")
        result = module(six)
    assert_well(six, result)


@pytest.mark.parametrize("seen", [" 0-5460", "handshake", "5461-10922"])
def test_create_that_was_killed_is_finished(six: list[Server], module: Module, seen: str) -> None:
    """Killed for real, as soon as the first node shows this: with slots, while nodes meet, when they have."""
    kill_module(six, lambda: seen in six[0].nodes())
    module(six)
    wait_for(lambda: module(six)["health"]["state"] == "ok", "the replicas to be in step")
    assert_well(six, module(six))
    assert not module(six)["changed"]


def test_create_that_redis_cli_left_half_done_is_finished(six: list[Server], module: Module) -> None:
    """Six masters, no replica, cluster_state:ok: redis-cli refuses to go on from there."""
    ends = [(0, 5460), (5461, 10922), (10923, 16383)]
    for server, (first, last) in zip(six, ends, strict=False):
        server.do("CLUSTER", "ADDSLOTSRANGE", first, last)
    for server in six[1:]:
        six[0].do("CLUSTER", "MEET", HOST, server.port)
    result = module(six, zones="abcabc")
    assert len(result["actions"]) == 3
    assert by_role(result)["master"] == [server.addr for server in six[:3]]
    assert_well(six, result)


def test_failover_is_no_change(six: list[Server], module: Module) -> None:
    before = by_role(module(six))
    rows = {row["id"]: row for row in module(six)["nodes"]}
    replica = next(server for server in six if server.addr == before["replica"][0])
    replica.do("CLUSTER", "FAILOVER")
    wait_for(lambda: replica.do("ROLE")[0] == "master", "the failover")
    after = module(six)
    assert after["changed"] is False
    assert replica.addr in by_role(after)["master"]
    assert {row["id"] for row in after["nodes"]} == set(rows)


def test_lost_replica_is_reported_and_no_change(six: list[Server], module: Module) -> None:
    lost = by_role(module(six))["replica"][0]
    server = next(server for server in six if server.addr == lost)
    server.stop()
    result = module(six)
    assert result.get("changed") is False, result
    assert result["health"]["state"] == "degraded"
    assert result["health"]["down"] == [lost]
    assert f"Down: {lost}." in json.dumps(result["warnings"])


def test_lost_master_is_waited_for_until_its_replica_took_over(six: list[Server], module: Module) -> None:
    lost = by_role(module(six))["master"][0]
    server = next(server for server in six if server.addr == lost)
    server.stop()
    result = module(six)
    assert not result.get("failed"), result["msg"]
    assert (result["changed"], result["health"]["down"]) == (False, [lost])
    assert len(by_role(result)["master"]) == 4, "the lost one, and the three that have slots"
    server.start()
    wait_for(lambda: module(six).get("health", {}).get("state") == "ok", "the old master to return")
    assert lost in by_role(module(six))["replica"]


def test_wiped_node_is_refused(six: list[Server], module: Module) -> None:
    lost = by_role(module(six))["replica"][0]
    server = next(server for server in six if server.addr == lost)
    server.stop()
    shutil.rmtree(server.folder)
    server.start()
    assert f"Node {lost} is alone, but the cluster knows another node" in module(six)["msg"]


def test_three_nodes_with_a_replica_each_are_refused(six: list[Server], module: Module) -> None:
    result = module(six[:3])
    assert result["failed"]
    assert "replicas=1 needs at least 6 nodes, 3 are listed" in result["msg"]
    assert module(six[:3], replicas=0)["health"]["state"] == "ok"


def test_nodes_of_one_zone_are_refused_unless_zones_are_only_preferred(
    six: list[Server], module: Module
) -> None:
    assert "zone a holds 6 of the 6 nodes" in module(six, zones="aaaaaa")["msg"]
    result = module(six, zones="aaaaaa", anti_affinity="prefer")
    assert len(result["health"]["affinity_violations"]) == 3
    assert module(six, zones="aaaaaa")["changed"] is False


def test_node_of_another_cluster_is_never_met(six: list[Server], fleet: Fleet, module: Module) -> None:
    other = fleet.start(3)
    assert module(other, replicas=0)["changed"]
    result = module([*six[:5], other[0]])
    assert f"Node {other[0].addr} belongs to another cluster: it knows " in result["msg"]
    assert module(six)["changed"]
    result = module([*six[:5], other[0]])
    assert "belongs to another cluster" in result["msg"]
    assert other[0].addr in result["msg"]
    assert all(server.info()["cluster_known_nodes"] == "3" for server in other)
    assert all(server.info()["cluster_known_nodes"] == "6" for server in six)


def test_node_that_holds_keys_is_refused(six: list[Server], module: Module) -> None:
    six[4].do("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    wait_for(lambda: six[4].info()["cluster_state"] == "ok", "a cluster of one")
    six[4].do("SET", "key", "value")
    # With all slots it would be a cluster of one, that may grow.
    six[4].do("CLUSTER", "DELSLOTSRANGE", 0, 99)
    assert f"Node {six[4].addr} holds 1 keys" in module(six)["msg"]
    six[4].do("FLUSHALL")
    assert all(server.info()["cluster_known_nodes"] == "1" for server in six)
    result = module(six)
    assert result["actions"][0] == f"Take slots 100-16383, left from an earlier use, from {six[4].addr}"
    assert_well(six, result)


def test_unlisted_member(six: list[Server], fleet: Fleet, module: Module) -> None:
    module(six)
    stranger = fleet.start(1)[0]
    six[0].do("CLUSTER", "MEET", HOST, stranger.port)
    wait_for(lambda: stranger.info()["cluster_known_nodes"] == "7", "the stranger to join")
    assert f"Member {stranger.addr} " in module(six)["msg"]
    ignored = module(six, unlisted="ignore")
    assert (ignored["changed"], ignored["health"]["unlisted"]) == (False, [stranger.addr])
    listed = module([*six, stranger])
    assert listed["actions"] == [f"Make {stranger.addr} a replica of {by_role(ignored)['master'][0]}"]


def test_node_that_is_not_in_cluster_mode_is_refused(six: list[Server], fleet: Fleet, module: Module) -> None:
    plain = fleet.start(1, "--cluster-enabled", "no")[0]
    assert f"Node {plain.addr} is not in cluster mode" in module([*six[:5], plain])["msg"]


def test_unreachable_and_unresolved_nodes_are_refused(six: list[Server], module: Module) -> None:
    six[5].stop()
    assert f"Node {six[5].addr} cannot be reached" in module(six)["msg"]
    nodes = arguments(six)["nodes"]
    nodes[2]["host"] = "redis-3.invalid"
    assert f"node redis-3.invalid:{six[2].port} resolves to nothing" in module(six, nodes=nodes)["msg"]


def test_nodes_that_are_yet_to_be_started_are_foretold(
    six: list[Server], fleet: Fleet, module: Module
) -> None:
    module(six)
    six[0].do("FUNCTION", "LOAD", "#!lua name=sum\nredis.register_function('one', function() return 1 end)")
    new = fleet.start(2)
    every, options = [*six, *new], {"rebalance": "always", "zones": "aabbccdd"}
    for server in new:
        server.stop()
    refused = module(every, check=True, **options)
    assert refused.get("failed"), refused
    assert refused["msg"].startswith(f"Node {new[0].addr} cannot be reached")
    foretold = module(every, check=True, assume_started=True, **options)
    for server in new:
        assert f"Node {server.addr} does not answer, and is taken for a new one" in str(foretold["warnings"])
    assert "cannot be reached" in module(every, assume_started=True, **options)["msg"], (
        "only check mode assumes"
    )

    for server in new:
        server.start()
    done = module(every, assume_started=True, **options)
    assert done["actions"] == foretold["actions"]
    assert done["after"] == foretold["after"]
    assert not done.get("warnings")


def test_passwords(fleet: Fleet, module: Module) -> None:
    servers = fleet.start(6, "--requirepass", PASSWORD, password=PASSWORD)
    for wrong in ({}, {"login_password": "wrong-horse"}):
        result = module(servers, **wrong)
        assert result["msg"].startswith("AUTH_FAIL on node ")
        assert all(server.addr in result["msg"] for server in servers)
        assert "wrong-horse" not in json.dumps(result)
    without = module(servers, login_password=PASSWORD)
    assert "has no masterauth while" in without["msg"]
    for server in servers:
        server.do("CONFIG", "SET", "masterauth", PASSWORD)
    result = module(servers, login_password=PASSWORD)
    assert_well(servers, result)
    assert PASSWORD not in json.dumps([without, result])


def test_acl_user_without_config(fleet: Fleet, module: Module) -> None:
    servers = fleet.start(6)
    for server in servers:
        server.do("ACL", "SETUSER", "deploy", "on", f">{PASSWORD}", "+cluster", "+info", "+dbsize", "+ping")
    result = module(servers, login_user="deploy", login_password=PASSWORD)
    assert_well(servers, result)


def test_replica_that_cannot_log_in_is_named(fleet: Fleet, module: Module) -> None:
    servers = fleet.start(6, "--requirepass", PASSWORD, "--masterauth", "wrong-horse", password=PASSWORD)
    result = module(servers, login_password=PASSWORD, join_timeout=3)
    assert result["msg"].startswith("join_timeout=3 s passed and the link of replica ")
    assert "is down: check masterauth" in result["msg"]


def test_blocked_bus_is_named(fleet: Fleet, module: Module) -> None:
    """A node that announces a bus port nobody listens on cannot be met."""
    servers = fleet.start(5) + fleet.start(1, "--cluster-announce-bus-port", "39999")
    result = module(servers, join_timeout=3)
    assert result["msg"].startswith("join_timeout=3 s passed and node ")
    assert f"does not see node {servers[5].addr}: open the cluster bus ports" in result["msg"]


def test_wrong_announced_address_is_refused_beforehand(fleet: Fleet, module: Module) -> None:
    servers = fleet.start(5) + fleet.start(1, "--cluster-announce-ip", "192.0.2.9")
    assert "has cluster-announce-ip 192.0.2.9" in module(servers)["msg"]
    assert all(server.info()["cluster_known_nodes"] == "1" for server in servers)


def test_open_slot_is_repaired_or_refused(six: list[Server], module: Module) -> None:
    masters = [s for s in six if s.addr in by_role(module(six))["master"]]
    masters[0].do("CLUSTER", "SETSLOT", 100, "MIGRATING", masters[1].do("CLUSTER", "MYID"))
    assert f"Node {masters[0].addr} has slots on the move ([100->-" in module(six, open_slots="fail")["msg"]
    result = module(six)
    assert result["actions"] == [f"Close slot 100 on {masters[0].addr}, which nothing moves any more"]
    assert_well(six, result)


@pytest.mark.parametrize("hiredis", [True, False], ids=["with hiredis", "without hiredis"])
def test_names_and_values_of_keys_may_be_any_bytes(six: list[Server], module: Module, hiredis: bool) -> None:
    names = {b"\xff\x00\r\n {1}", "schl\u00fcssel{1}".encode(), b"$3{1}"}  # of slot 9842
    module(six[:3], replicas=0)
    slots = {row.port: row.slots for row in six[0].rows()}
    owner = next(server for server in six if slots.get(server.port) == ((5461, 10922),))
    for name in names:
        owner.do("SET", name, name[::-1])
    away = next(server for server in six[:3] if server is not owner)
    nodes = arguments(six[:3])["nodes"]
    for node in nodes:
        node["weight"] = 1 if node["port"] == away.port else 0.01
    done = module(six[:3], hiredis=hiredis, nodes=nodes, replicas=0, rebalance="always")
    assert not done.get("failed"), done
    client = redis.Redis(HOST, away.port)
    assert {name: client.get(name) for name in client.scan_iter()} == {name: name[::-1] for name in names}


def ansible(servers: list[Server], folder: Path, *options: str) -> dict[str, Any]:
    """Run the module by ansible itself, as a user does."""
    args = json.dumps(arguments(servers))
    words = ["localhost", "-m", "payaid.scaling.redis_cluster", "-a", args, *options]
    done = subprocess.run(  # noqa: S603  # our own words
        [
            str(Path(sys.executable).with_name("ansible")),
            *("-i", "localhost,", "-c", "local", "-e", f"ansible_python_interpreter={sys.executable}"),
            *("-t", str(folder / "out"), *words),
        ],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": ".collections"},
        capture_output=True,
        text=True,
        check=False,
    )
    out = folder / "out" / "localhost"
    assert out.exists(), done.stdout + done.stderr
    return dict(json.loads(out.read_text()))


def test_run_by_ansible(six: list[Server], tmp_path: Path) -> None:
    foretold = ansible(six, tmp_path, "--check")
    done = ansible(six, tmp_path, "--diff")
    again = ansible(six, tmp_path)
    assert foretold["actions"] == done["actions"]
    assert (foretold["changed"], done["changed"], again["changed"]) == (True, True, False)
    assert_well(six, done)


def test_refusal_in_process(six: list[Server]) -> None:
    """A node that disappears between plan and apply is named."""
    desired = wanted(six)
    with RedisIO(desired.nodes, Login(), timeout=1) as io:
        steps = plan(io.observe(), desired)
        six[0].stop()
        with pytest.raises(Refusal, match=f"Node {six[0].addr} did not carry out CLUSTER ADDSLOTSRANGE"):
            steps[0].apply(io)
