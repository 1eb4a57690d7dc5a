# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every case, as fault, run, look by redis-cli, run again. What check mode foretells is what is done."""

from __future__ import annotations

import re
from typing import Any

import pytest

from .cases import CASES, KEYS, Scene, check
from .conftest import Fleet, Module, Server, redis_cli, wait_for


def lasting(servers: list[Server]) -> list[list[tuple[Any, ...]]]:
    """What CLUSTER NODES says, but for what passes: times, and suspicions."""
    passing = {"fail", "fail?"}
    return [
        [(r.id, r.port, r.flags - passing, r.master, r.slots, r.open_slots) for r in server.rows()]
        for server in servers
        if server.process
    ]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.refused])
def test_refused(name: str, fleet: Fleet, module: Module) -> None:
    case = CASES[name]
    scene = case.scene(fleet)
    before = lasting(fleet.servers)
    foretold = module(scene.servers, check=True, **scene.options)
    assert lasting(fleet.servers) == before
    result = module(scene.servers, **scene.options)
    assert result.get("failed"), result
    assert case.refused in result["msg"]
    if name != "blocked_bus":  # what nobody could foresee, and the meeting is under way
        assert foretold["msg"] == result["msg"]
        assert lasting(fleet.servers) == before


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.refused])
def test_put_right(name: str, fleet: Fleet, module: Module) -> None:
    case = CASES[name]
    scene = case.scene(fleet)
    foretold = module(scene.servers, check=True, **scene.options)
    result = module(scene.servers, **scene.options)
    assert not result.get("failed"), result["msg"]
    assert foretold["actions"] == result["actions"]
    assert foretold["changed"] is result["changed"] is case.changes
    assert result["health"]["state"] == case.health
    if case.changes:
        assert foretold["after"] == result["after"]
    look(scene)
    again = module(scene.servers, **scene.options)
    assert (again["changed"], again["actions"]) == (False, [])


def look(scene: Scene) -> None:
    """Ask by redis-cli, whose word is nobody's of ours."""
    up = [server for server in scene.servers if server.process]
    said = redis_cli(up[0], *check(up[0])).stdout
    assert "[OK] All 16384 slots covered." in said
    assert "[OK] All nodes agree about slots configuration." in said
    assert not re.search(r"\[(WARNING|ERR)\]", said), said
    known = re.findall(r"^\w{40} ", redis_cli(up[0], "cluster", "nodes").stdout, re.MULTILINE)
    assert len(known) == len(scene.servers), "neither ghosts nor strangers"
    for server in up:
        assert "master_link_status:down" not in redis_cli(server, "info", "replication").stdout
        assert "cluster_state:ok" in redis_cli(server, "cluster", "info").stdout


def test_no_key_is_lost_when_a_reshard_is_killed_and_run_again(fleet: Fleet, module: Module) -> None:
    scene = CASES["killed_in_reshard"].scene(fleet)
    module(scene.servers, **scene.options)
    masters = [server for server in scene.servers if server.do("ROLE")[0] == "master"]
    assert len(masters) == 4
    wait_for(lambda: sum(server.do("DBSIZE") for server in masters) == KEYS, "every key to be there once")
    with scene.servers[0].cluster() as client:
        for number in range(0, KEYS, 97):
            assert client.get(f"key:{number}") == f"value {number}"


def test_the_owner_s_copy_of_a_key_wins(fleet: Fleet, module: Module) -> None:
    scene = CASES["half_moved_equal"].scene(fleet)
    module(scene.servers, **scene.options)
    with scene.servers[0].cluster() as client:
        assert (client.get("{b}"), client.get("{b}:more")) == ("value", "only here")
    assert sum(server.do("DBSIZE") for server in scene.servers if server.do("ROLE")[0] == "master") == 2


def test_a_replica_s_copy_outlives_its_wiped_master(fleet: Fleet, module: Module) -> None:
    scene = CASES["wiped_master"].scene(fleet)
    module(scene.servers, **scene.options)
    assert all(server.info()["cluster_slots_ok"] == "16384" for server in scene.servers)
