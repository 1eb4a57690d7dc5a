# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From three masters to four and back under traffic, and ten runs that are killed while slots move."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Machines, Patience, Playbooks

    from .conftest import Access, Account

testinfra_hosts = ["redis1"]
ROOT = Path(__file__).resolve().parents[3]
PORTS = (6379, 6380)
SCALE = ROOT / "playbooks/redis_scale.yml"
RESHAPE = ROOT / "molecule/redis_cluster/files/reshape.yml"
KEYS, KILLS = 50_000, 10


def members(access: Access) -> list[dict[str, Any]]:
    said: Any = access.instance(*access.everybody[0]).cluster("NODES")
    return list(said.values())


def shape(access: Access) -> tuple[int, int]:
    """Return how many masters own slots, and how many nodes there are."""
    nodes = members(access)
    return sum(bool(node["slots"]) for node in nodes), len(nodes)


def well(access: Access) -> bool:
    """Every node says that all slots are served, and nobody has one open."""
    for address, port in access.everybody:
        info: Any = access.instance(address, port).cluster("INFO")
        if info["cluster_state"] != "ok" or info["cluster_slots_ok"] != "16384":
            return False
    return not any(node["migrations"] for node in members(access))


def test_one_machine_more_under_traffic(
    access: Access, playbooks: Playbooks, traffic: Account, soon: Patience
) -> None:
    assert shape(access) == (3, 6)
    shard = access.shards()
    foretold = playbooks(SCALE, "--check", "--diff", inventory="inventory_scaled")
    assert re.search(r"-\s+role: empty", foretold), "the diff shows what a new node becomes"
    assert shape(access) == (3, 6)
    playbooks(SCALE, inventory="inventory_scaled")
    assert shape(access) == (4, 8)
    traffic.prove(shard)
    soon(lambda: well(access))


@pytest.fixture
def known(access: Access) -> dict[str, str]:
    """Many keys, and what they hold."""
    pairs = {f"known:{number}": f"value {number}" for number in range(KEYS)}
    with access.cluster() as client:
        names = list(pairs)
        for first in range(0, KEYS, 1000):
            pipe = client.pipeline()
            for name in names[first : first + 1000]:
                pipe.set(name, pairs[name])
            pipe.execute()
    return pairs


def lost(access: Access, pairs: dict[str, str]) -> list[str]:
    names, missing = list(pairs), []
    with access.cluster() as client:
        for first in range(0, len(names), 1000):
            part = names[first : first + 1000]
            pipe = client.pipeline()
            for name in part:
                pipe.get(name)
            found = pipe.execute()
            missing += [name for name, value in zip(part, found, strict=True) if value != pairs[name]]
    return missing


def reshape(playbooks: Playbooks, machines: int) -> subprocess.Popen[str]:
    """Begin to bring the cluster to the instances of so many machines."""
    # Without pipelining the module is a file on the machine, by whose name its process is found.
    return playbooks.begin(
        RESHAPE, inventory="inventory_scaled", machines=machines, ansible_ssh_pipelining=False
    )


def killed(playbooks: Playbooks, host: Any, access: Access, machines: int, delay: float) -> bool:
    """Kill a run, on both sides, a while after its first slot was opened; tell whether it was still at it."""
    run = reshape(playbooks, machines)
    end = time.monotonic() + 60
    while run.poll() is None and not any(node["migrations"] for node in own_words(access)):
        assert time.monotonic() < end, "no slot was opened"
    time.sleep(delay)
    # Ansible first, and all of it: it would run a module again whose connection breaks off.
    if run.poll() is None:
        os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    found = host.run("pgrep -f '^/usr/bin/python3 .*AnsiballZ_redis_cluster.py'").stdout.split()
    if found:
        host.run("kill -KILL " + " ".join(found))
    return bool(found)


def own_words(access: Access) -> list[dict[str, Any]]:
    """What nodes say of themselves: only there are open slots to be seen."""
    found = []
    for address, port in access.everybody:
        said: Any = access.instance(address, port).cluster("NODES")
        found += [node for node in said.values() if "myself" in node["flags"]]
    return found


def test_killed_at_any_moment_and_run_again(
    machines: Machines, playbooks: Playbooks, access: Access, known: dict[str, str], soon: Patience
) -> None:
    """Ten times, alternately with one machine less and one more."""
    interrupted = 0
    for number in range(KILLS):
        wanted = 3 if number % 2 == 0 else 4
        moment = secrets.randbelow(1500) / 1000  # s
        interrupted += killed(playbooks, machines("redis1"), access, wanted, moment)
        again = reshape(playbooks, wanted)
        said, _nothing = again.communicate(timeout=300)
        assert again.returncode == 0, said
        assert shape(access) == (wanted, 2 * wanted), number
        soon(lambda: well(access))
        assert lost(access, known) == [], number
    assert interrupted >= KILLS // 2, "most runs had ended before they were killed"


def test_one_machine_less_under_traffic(
    access: Access, playbooks: Playbooks, traffic: Account, machines: Machines
) -> None:
    assert shape(access) == (4, 8)
    shard = access.shards()
    with pytest.raises(AssertionError, match="is not listed in nodes: list it, set unlisted=remove"):
        playbooks(SCALE)
    assert shape(access) == (4, 8)
    playbooks(SCALE, redis_scale_remove=True)
    assert shape(access) == (3, 6)
    traffic.prove(shard)
    fourth = machines("redis4")
    for port in PORTS:
        assert not fourth.service(f"redis-server@{port}").is_running
        assert not fourth.service(f"redis-server@{port}").is_enabled
    assert "changed=0" in playbooks(SCALE)
