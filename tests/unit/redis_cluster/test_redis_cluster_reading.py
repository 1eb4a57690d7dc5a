# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How replies are read. The captured ones are CLUSTER NODES of Redis 7.0.15."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.doc_fragments.redis import ModuleDocFragment
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import LOGIN_ARGUMENTS
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster import connection, io
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Listed,
    Node,
    Peer,
    Problem,
    parse_nodes,
    parse_peer,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import text
from ansible_collections.payaid.scaling.plugins.modules.redis_cluster import ARGUMENTS, DOCUMENTATION
from redis.exceptions import AuthenticationError, BusyLoadingError, ResponseError

CAPTURED = Path(__file__).parent / "captured"


def captured(name: str) -> dict[int, Peer]:
    return {peer.port: peer for peer in parse_nodes((CAPTURED / f"{name}.txt").read_text())}


@pytest.mark.parametrize(
    ("name", "port", "flags", "slots", "connected", "follows"),
    [
        ("alone", 22000, "master myself", "", True, None),
        ("handshake", 22001, "handshake", "", False, None),
        ("healthy", 22000, "master myself", "0-5460", True, None),
        ("healthy", 22003, "slave", "", True, 22000),
        ("healthy_replica", 22001, "myself slave", "", True, 22004),
        ("importing", 22002, "master myself", "5461-10922", True, None),
        ("just_killed", 22000, "master", "0-5460", False, None),
        ("failed_over", 22000, "fail master", "", False, None),
        ("failed_over", 22003, "master", "0-5460", True, None),
        ("wiped", 0, "fail master noaddr", "", False, None),
    ],
)
def test_captured(name: str, port: int, flags: str, slots: str, connected: bool, follows: int | None) -> None:
    peers = captured(name)
    peer = peers[port]
    assert sorted(peer.flags) == flags.split()
    assert text(peer.slots) == slots
    assert peer.connected is connected
    assert peer.master_id == (peers[follows].id if follows else None)
    assert peer.bus_port == (port + 10000 if port else 0)


@pytest.mark.parametrize(
    ("name", "port", "mark"), [("migrating", 22000, "[100->-"), ("importing", 22002, "[100-<-")]
)
def test_captured_open_slots(name: str, port: int, mark: str) -> None:
    assert captured(name)[port].open_slots[0].startswith(mark)


@pytest.mark.parametrize(
    ("address", "addr", "bus_port"),
    [
        ("10.0.0.1:6379@16379", "10.0.0.1:6379", 16379),
        ("10.0.0.1:6379@16379,redis-1.example", "10.0.0.1:6379", 16379),
        ("10.0.0.1:6379@7000,,shard-id=0a1b", "10.0.0.1:6379", 7000),
        ("fd00::1:6379@16379", "[fd00::1]:6379", 16379),
        (":0@0", "id (without an address)", 0),
    ],
)
def test_addresses(address: str, addr: str, bus_port: int) -> None:
    peer = parse_peer(f"id {address} master - 0 0 3 connected 5 7-9 6")
    assert (peer.addr, peer.bus_port, text(peer.slots)) == (addr, bus_port, "5-9")


def test_two_ghosts_stay_two() -> None:
    lines = "".join(f"{name} :0@0 slave,fail,noaddr - 0 0 1 disconnected\n" for name in ("ghost1", "ghost2"))
    assert len(parse_nodes(lines)) == 2


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (AuthenticationError("WRONGPASS invalid username-password pair or user is disabled."), Problem.AUTH),
        (AuthenticationError("invalid username-password pair or user is disabled."), Problem.AUTH),
        (AuthenticationError("Authentication required."), Problem.AUTH),
        (ResponseError("NOAUTH Authentication required."), Problem.AUTH),
        (ResponseError("AUTH <password> called without any password configured"), Problem.AUTH),
        (
            ResponseError("NOPERM this user has no permissions to run the 'cluster|nodes' command"),
            Problem.AUTH,
        ),
        (BusyLoadingError("Redis is loading the dataset in memory"), Problem.LOADING),
        (ResponseError("This instance has cluster support disabled"), Problem.PLAIN),
        (ResponseError("unknown command 'CLUSTER'"), Problem.OTHER),
        (ConnectionRefusedError("Connection refused"), Problem.UNREACHABLE),
    ],
)
def test_failures(error: Exception, problem: Problem) -> None:
    assert connection.failure(error)[0] is problem


@pytest.mark.parametrize(
    ("config", "password", "masterauth", "announced"),
    [
        ([["requirepass", ""], ["masterauth", ""], ["cluster-announce-ip", ""]], False, False, ""),
        (
            [["requirepass", "s3"], ["masterauth", "s3"], ["cluster-announce-ip", "10.1.1.1"]],
            True,
            True,
            "10.1.1.1",
        ),
        ([["requirepass", "s3"], ["masterauth", ""], []], True, False, ""),
        ([ResponseError("NOPERM")] * 3, None, None, ""),
    ],
)
def test_config(config: list[Any], password: bool | None, masterauth: bool | None, announced: str) -> None:
    reply = (CAPTURED / "healthy_replica.txt").read_text()
    info, replication = "cluster_state:ok\r\n", "role:slave\r\nmaster_link_status:up\r\n"
    node = io.read(
        Node(Listed("n1", 6379, "a")),
        [reply, info, replication, 4, [["library_name", "lib", "engine", "LUA"]], *config],
    )
    assert (node.has_password, node.has_masterauth, node.announce_ip) == (password, masterauth, announced)
    assert (node.state, node.link, node.keys, node.alone) == ("ok", "up", 4, False)
    assert node.functions == ("lib",)
    assert "s3" not in repr(node)


def test_documentation_and_arguments_agree() -> None:
    documented = (
        yaml.safe_load(DOCUMENTATION)["options"] | yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    )

    def facts(options: dict[str, Any], nested: str) -> dict[str, Any]:
        keys = ("type", "elements", "default", "choices", "required")
        return {
            name: {key: option[key] for key in keys if key in option}
            | ({"options": facts(option[nested], nested)} if nested in option else {})
            for name, option in options.items()
        }

    assert facts(documented, "suboptions") == facts({**ARGUMENTS, **LOGIN_ARGUMENTS}, "options")
