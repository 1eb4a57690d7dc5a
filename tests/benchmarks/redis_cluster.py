# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times redis_cluster beside redis-cli, on servers of its own on loopback, and prints a table.

Nothing is asserted: the figures belong to the computer they were measured on. What counts is the ratio of two
that were taken in turn.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ansible_collections.payaid.scaling.tests.integration.redis_cluster.conftest import (
    Fleet,
    Server,
    redis_cli,
    run_module,
    wait_for,
)
from redis.crc import key_slot

ROUNDS = int(os.environ.get("BENCHMARK_ROUNDS", "3"))
MOVED = 1000  # slots
KEYS = int(os.environ.get("BENCHMARK_KEYS", "1000000"))
MANY = 60  # nodes
LONG = 600  # s
SETTLED = 3.0  # s; a server says cluster_state:fail for its first two seconds, whoever creates the cluster

Row = tuple[str, float, float]


@contextmanager
def fleet(count: int) -> Iterator[list[Server]]:
    with tempfile.TemporaryDirectory() as folder:
        servers = Fleet(Path(folder))
        try:
            yield servers.start(count)
        finally:
            servers.stop()


def timed(what: Callable[[], object]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


def module(servers: list[Server], **options: Any) -> None:
    result = run_module(servers, **options)
    assert not result.get("failed"), result["msg"]


def cli(server: Server, *words: str) -> None:
    done = redis_cli(server, "--cluster", *words, timeout=LONG)
    assert done.returncode == 0, done.stdout + done.stderr


def in_step(servers: list[Server]) -> bool:
    return all(s.do("ROLE")[0] == "master" or s.do("ROLE")[3] == "connected" for s in servers) and all(
        server.info()["cluster_state"] == "ok" for server in servers
    )


def create() -> list[Row]:
    """Until each command returns, and until every replica is in step, which redis-cli does not wait for."""
    times: dict[str, list[float]] = {"ours": [], "theirs": [], "ours in step": [], "theirs in step": []}
    for _round in range(ROUNDS):
        for who in ("ours", "theirs"):
            with fleet(6) as servers:
                addrs = [server.addr for server in servers]
                time.sleep(SETTLED)
                words = ("create", *addrs, "--cluster-replicas", "1", "--cluster-yes")
                began = time.monotonic()
                if who == "ours":
                    module(servers)
                else:
                    cli(servers[0], *words)
                times[who].append(time.monotonic() - began)
                wait_for(partial(in_step, servers), "every replica to be in step")
                times[f"{who} in step"].append(time.monotonic() - began)
    best = {name: statistics.median(seconds) for name, seconds in times.items()}
    return [
        ("create 6 nodes, until it returns", best["ours"], best["theirs"]),
        ("create 6 nodes, until every replica is in step", best["ours in step"], best["theirs in step"]),
    ]


def uneven(servers: list[Server]) -> None:
    """Three masters, the first of which owns 1,000 slots too many, and all keys are in these."""
    ends = [(0, 5461 + MOVED - 1), (5461 + MOVED, 10922), (10923, 16383)]
    for number, (server, (first, last)) in enumerate(zip(servers, ends, strict=True), start=1):
        server.do("CLUSTER", "ADDSLOTSRANGE", first, last)
        server.do("CLUSTER", "SET-CONFIG-EPOCH", number)
    for server in servers[1:]:
        servers[0].do("CLUSTER", "MEET", "127.0.0.1", server.port)
    wait_for(
        lambda: all(server.info()["cluster_state"] == "ok" for server in servers), "the nodes to have met"
    )
    fill(servers[0])


def fill(server: Server) -> None:
    tags: dict[int, str] = {}
    number = 0
    while len(tags) < MOVED:
        slot = key_slot(str(number).encode())
        if slot < MOVED:
            tags.setdefault(slot, str(number))
        number += 1
    each = KEYS // MOVED
    lines = (f"SET {{{tag}}}:{n} value-{n}\n" for tag in tags.values() for n in range(each))
    done = subprocess.run(  # noqa: S603  # our own words
        ["redis-cli", "-p", str(server.port), "--pipe"],  # noqa: S607  # wherever it is installed
        input="".join(lines),
        text=True,
        capture_output=True,
        check=True,
    )
    assert "errors: 0" in done.stdout, done.stdout
    assert server.do("DBSIZE") == each * MOVED


def reshard() -> list[Row]:
    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _round in range(ROUNDS):
        for who in ("ours", "theirs"):
            with fleet(3) as servers:
                uneven(servers)
                if who == "ours":
                    times[who].append(timed(partial(module, servers, replicas=0, rebalance="always")))
                else:
                    times[who].append(timed(partial(cli, servers[0], "rebalance", servers[0].addr)))
                moved = servers[1].do("DBSIZE") + servers[2].do("DBSIZE")
                assert moved > KEYS * 0.95, f"{who}: only {moved} keys have moved"
    best = {name: statistics.median(seconds) for name, seconds in times.items()}
    return [(f"move {MOVED} slots with {KEYS} small keys", best["ours"], best["theirs"])]


def nothing_to_do() -> list[Row]:
    with fleet(MANY) as servers:
        zones = [f"z{number // 2}" for number in range(MANY)]
        module(servers, zones=zones)
        ours = statistics.median(timed(lambda: module(servers, zones=zones)) for _round in range(ROUNDS))
        theirs = statistics.median(
            timed(lambda: cli(servers[0], "check", servers[0].addr)) for _round in range(ROUNDS)
        )
    return [(f"nothing to do on {MANY} nodes (redis-cli: check)", ours, theirs)]


def main() -> None:
    rows = [*create(), *reshard(), *nothing_to_do()]
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, medians of {ROUNDS}\n")
    print("| what | redis_cluster, s | redis-cli, s | ratio |\n|---|---:|---:|---:|")
    for what, ours, theirs in rows:
        print(f"| {what} | {ours:.2f} | {theirs:.2f} | {ours / theirs:.2f} |")


if __name__ == "__main__":
    main()
