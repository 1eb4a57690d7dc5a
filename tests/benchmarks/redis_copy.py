# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times a copy of a single Redis into a cluster beside `redis-cli --cluster import`, and prints a table.

Nothing is asserted: the figures belong to the computer they were measured on, where both tools copy the same
keys between the same servers, in turns. A run of the module also compares every key before and after, which
redis-cli does not; the last row is such a comparison alone. Run it from the root of the checkout:
`PYTHONPATH=.collections .venv/bin/python -m tests.benchmarks.redis_copy 100000`.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..integration.redis_cluster.conftest import Fleet, Server, arguments
from ..integration.redis_copy_keys.conftest import Sides, run

TURNS = 3
HOUR = 3_600_000  # ms


def fill(source: Server, keys: int) -> None:
    """Write what a web platform keeps: mostly small strings that expire, some hashes."""
    with source.client() as client, client.pipeline(transaction=False) as pipe:
        for number in range(keys):
            if number % 10:
                pipe.set(f"cache:{number}", "x" * 100, px=HOUR)
            else:
                pipe.hset(f"session:{number}", mapping={f"field{n}": "value" for n in range(5)})
            if number % 5000 == 0:
                pipe.execute()
        pipe.execute()


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def import_by_cli(sides: Sides) -> None:
    cli = shutil.which("redis-cli")
    if cli is None:
        sys.exit("redis-cli is missing: install the package redis-tools.")
    words = [cli, "--cluster", "import", sides.nodes[0].addr, "--cluster-from", sides.source.addr]
    subprocess.run([*words, "--cluster-copy"], check=True, capture_output=True)  # noqa: S603  # our own words


def emptied(sides: Sides, keys: int) -> None:
    """See that all came over, and take it away again."""
    sizes = [server.do("DBSIZE") for server in sides.masters()]
    if sum(sizes) != keys:
        sys.exit(f"{keys} keys were to be copied, and {sum(sizes)} were.")
    for server in sides.masters():
        server.do("FLUSHALL")
    sides.journal.unlink(missing_ok=True)


def main() -> None:
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    with tempfile.TemporaryDirectory() as folder:
        fleet = Fleet(Path(folder))
        try:
            nodes = fleet.start(6)
            (source,) = fleet.start(1, "--cluster-enabled", "no")
            run("redis_cluster", arguments(nodes))
            fill(source, keys)
            sides = Sides(source, nodes, Path(folder) / "journal")
            ours, theirs, compared = [], [], []
            for _turn in range(TURNS):
                theirs.append(timed(lambda: import_by_cli(sides)))
                emptied(sides, keys)
                ours.append(timed(sides.copy))
                compared.append(timed(sides.copy))
                emptied(sides, keys)
        finally:
            fleet.stop()
    reference = statistics.median(theirs)
    print(f"{os.cpu_count()} cores, {keys} keys, median of {TURNS} turns\n")
    print("| what | seconds | keys a second | times redis-cli |\n|---|---:|---:|---:|")
    rows = (("redis-cli --cluster import", theirs), ("redis_copy_keys", ours), ("unchanged again", compared))
    for what, times in rows:
        middle = statistics.median(times)
        print(f"| {what} | {middle:.1f} | {keys / middle:.0f} | {middle / reference:.2f} |")


if __name__ == "__main__":
    main()
