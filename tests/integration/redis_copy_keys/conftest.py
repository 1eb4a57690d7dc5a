# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A standalone Redis, a cluster of six, and the module run between them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.cluster import RedisCluster

from ..redis_cluster.conftest import HOST, Fleet, Server, arguments, wait_for

# The module takes its arguments the way Ansible hands them to it, without the controller's start-up time.
RUNNER = """
import importlib, json, sys
from ansible.module_utils.testing import patch_module_args
modules = "ansible_collections.payaid.scaling.plugins.modules."
main = importlib.import_module(modules + sys.argv[1]).main
with patch_module_args(json.loads(sys.argv[2])):
    main()
"""


def command(module: str, args: dict[str, Any], *, check: bool = False) -> list[str]:
    given = args | {"_ansible_check_mode": check, "_ansible_diff": True}
    return [sys.executable, "-c", RUNNER, module, json.dumps(given)]


def run(module: str, args: dict[str, Any], *, check: bool = False) -> dict[str, Any]:
    """Run a module to its end and return what it says."""
    done = subprocess.run(command(module, args, check=check), capture_output=True, text=True, check=False)  # noqa: S603  # our own words
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


@dataclass
class Sides:
    """Both sides of a copy, and clients of an app on each."""

    source: Server
    nodes: list[Server]
    journal: Path

    def arguments(self, **options: Any) -> dict[str, Any]:
        given: dict[str, Any] = {
            "source": {"host": HOST, "port": self.source.port},
            "nodes": [{"host": HOST, "port": server.port} for server in self.nodes],
            "journal": str(self.journal),
            "timeout": 20,
        }
        return given | options

    def copy(self, *, check: bool = False, **options: Any) -> dict[str, Any]:
        result = run("redis_copy_keys", self.arguments(**options), check=check)
        assert not result.get("failed"), result
        return result

    def refusal(self, *, check: bool = False, **options: Any) -> str:
        result = run("redis_copy_keys", self.arguments(**options), check=check)
        assert result.get("failed"), result
        assert "exception" not in result, result
        return str(result["msg"])

    def old(self) -> redis.Redis:
        return redis.Redis(host=HOST, port=self.source.port)

    def new(self) -> RedisCluster:
        return RedisCluster(host=HOST, port=self.masters()[0].port)

    def masters(self) -> list[Server]:
        return [server for server in self.nodes if server.process and server.do("ROLE")[0] == "master"]


def healed(nodes: list[Server]) -> bool:
    """Tell whether every node is up, and every master has a replica in step."""
    for server in nodes:
        if server.process is None:
            server.start()
    roles = [server.do("ROLE") for server in nodes]
    well = all(server.info()["cluster_state"] == "ok" for server in nodes)
    followed = all(role[2] for role in roles if role[0] == "master")
    return well and followed and all(role[3] == "connected" for role in roles if role[0] != "master")


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, list[Server]]]:
    fleet = Fleet(tmp_path_factory.mktemp("redis_copy"), ports=set(range(21000, 21200)))
    try:
        nodes = fleet.start(6)
        (source,) = fleet.start(1, "--cluster-enabled", "no")
        formed = run("redis_cluster", arguments(nodes))
        assert formed["health"]["state"] == "ok", formed
        yield source, nodes
    finally:
        fleet.stop()


@pytest.fixture
def sides(servers: tuple[Server, list[Server]], tmp_path: Path) -> Sides:
    """Two empty sides."""
    source, nodes = servers
    wait_for(lambda: healed(nodes), "the cluster to be well")
    source.do("FLUSHALL")
    sides = Sides(source, nodes, tmp_path / "journal")
    for server in sides.masters():
        server.do("FLUSHALL")
    return sides
