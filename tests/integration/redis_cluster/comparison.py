# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs every case against the module and against redis-cli, and writes what each said and left into a page.

Run by `make comparison`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .cases import CASES, Case, Scene
from .conftest import HOST, Fleet, redis_cli, run_module

PAGE = Path(__file__).parents[3] / "docs" / "redis-cluster-comparison.md"
HEAD = """# redis_cluster beside redis-cli

Made by `make comparison` with {version}; each case is made twice, on fresh servers on loopback.
"Left behind" is what the nodes themselves say afterwards. For the module,
`tests/integration/redis_cluster/test_redis_cluster_cases.py` asserts the same on every run of the tests,
and that a second run changes nothing.
"""
MOST = 420  # characters of what was said
CLI_TIMEOUT = 25  # s; a create that waits for a node it cannot reach waits for ever
NOISE = re.compile(
    r"^(>>>|\[OK\]|[MS]: |   |Waiting|\.+$|Performing|Master\[|Adding replica|Can I set|Warning: )"
)


@contextmanager
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory() as folder:
        servers = Fleet(Path(folder))
        try:
            yield servers
        finally:
            servers.stop()


def by_module(case: Case) -> tuple[str, str]:
    with fleet() as servers:
        scene = case.scene(servers)
        result = run_module(scene.servers, **scene.options)
        if result.get("failed"):
            said = f"refuses: {result['msg']}"
        elif not result["changed"]:
            said = f"changed=false, health {result['health']['state']}"
        else:
            said = "; ".join(result["actions"])
        return tidy(said, servers), left(scene)


def by_redis_cli(case: Case) -> tuple[str, str, str]:
    with fleet() as servers:
        scene = case.scene(servers)
        seed = next(server for server in scene.servers if server.process)
        try:
            done = redis_cli(seed, *scene.cli, timeout=CLI_TIMEOUT, password=scene.password)
            said = f"rc {done.returncode}: {gist(done.stdout + done.stderr)}"
        except subprocess.TimeoutExpired:
            said = f"hangs (ended after {CLI_TIMEOUT} s)"
        return tidy(" ".join(("redis-cli", *scene.cli)), servers), tidy(said, servers), left(scene)


def gist(output: str) -> str:
    """Return the lines that say how it ended."""
    lines = [line.strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines()]
    told = [line for line in lines if line and not NOISE.match(line)]
    return " / ".join(told[-2:]) or "says nothing of note"


def left(scene: Scene) -> str:
    """Say in what state the nodes are that answer."""
    up = [server for server in scene.servers if server.process]
    states = {server.info()["cluster_state"] for server in up}
    rows = [row for server in up for row in server.rows()]
    roles = [str(server.do("ROLE")[0]) for server in up]
    slots = {row.id: row.slots for row in rows}
    covered = sum(last - first + 1 for ends in slots.values() for first, last in ends)
    said = [
        f"cluster_state {' and '.join(sorted(states))}",
        f"{roles.count('master')} masters, {roles.count('slave')} replicas up",
        f"{covered} slots owned",
    ]
    links = sum("master_link_status:down" in str(s.raw("INFO", "replication")) for s in up)
    ghosts = {row.id for row in rows if row.flags & {"noaddr", "handshake"}}
    marks = {mark for row in rows for mark in row.open_slots}
    if links:
        said.append(f"**{links} replica links down**")
    if ghosts:
        said.append(f"**{len(ghosts)} members without an address**")
    if marks:
        said.append(f"**{len(marks)} open slot marks**")
    return ", ".join(said)


def tidy(text: str, fleet: Fleet) -> str:
    """Give nodes and ids names that are the same in every run, and make it fit into a table."""
    for number, server in enumerate(fleet.servers, start=1):
        for host in (HOST, "localhost", "192.0.2.9"):
            text = text.replace(
                f"{host}:{server.port}", f"n{number}" if host == HOST else f"{host}/n{number}"
            )
        text = text.replace(str(server.port + 10000), f"n{number}'s")
    text = re.sub(r"\b[0-9a-f]{40}\b", "ID", text).replace("|", r"\|")
    return text if len(text) <= MOST else f"{text[:MOST]} …"


def main() -> None:
    version = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=True)  # noqa: S607
    number = re.search(r"v=(\S+)", version.stdout)
    parts = [HEAD.format(version=f"Redis {number[1] if number else '?'}")]
    for case in CASES.values():
        print(case.title, file=sys.stderr)
        ours, (command, theirs, theirs_left) = by_module(case), by_redis_cli(case)
        parts.append(
            f"\n## {case.title}\n\n| | says | left behind |\n|---|---|---|\n"
            f"| redis_cluster | {ours[0]} | {ours[1]} |\n| redis-cli | {theirs} | {theirs_left} |\n"
            f"\nWith redis-cli: `{command}`\n"
        )
    PAGE.write_text("".join(parts))


if __name__ == "__main__":
    main()
