# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times postgres_replica beside a bare pg_basebackup, on servers of its own on loopback, and prints a table.

Nothing is asserted: the figures belong to the computer they were measured on. What counts is the ratio of two
that were taken in turn. The copy is the same in both; the module also checks first, makes a standby of it,
starts it and waits until it streams.
"""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Callable

from ansible_collections.payaid.scaling.tests.integration.postgres_replica.conftest import (
    DROP,
    PASSWORD,
    USER,
    Cluster,
    Standby,
    as_owner,
    new_primary,
    new_standby,
)

ROUNDS = int(os.environ.get("BENCHMARK_ROUNDS", "3"))
MEGABYTES = int(os.environ.get("BENCHMARK_MEGABYTES", "2048"))
SLOT = "bare"


def timed(what: Callable[[], object]) -> float:
    began = time.monotonic()
    what()
    return time.monotonic() - began


def fill(primary: Cluster) -> None:
    rows = MEGABYTES * 1024 // 8 * 7  # of a kilobyte each, seven to a page of eight
    filled = "SELECT g AS n, repeat(md5(g::text), 32) AS filler FROM generate_series(1, :rows) g"
    primary.sql(f"CREATE TABLE big AS {filled}", rows=rows)
    primary.sql("CHECKPOINT")


def bare(standby: Standby) -> None:
    primary = standby.primary
    source = f"host=127.0.0.1 port={primary.port} user={USER} passfile={standby.base}/bare.passfile"
    argv = ["-d", source, "-D", f"{standby.base}/data/bare", "-X", "stream", "-S", SLOT, "--checkpoint=fast"]
    as_owner(primary.program("pg_basebackup"), *argv, "--no-password")


def prepare_bare(standby: Standby) -> None:
    escaped = PASSWORD.replace("\\", "\\\\").replace(":", "\\:")
    passfile = standby.base / "bare.passfile"
    passfile.write_text(f"*:*:*:*:{escaped}\n")
    passfile.chmod(0o600)
    shutil.chown(passfile, "postgres", "postgres")
    standby.primary.sql("SELECT pg_create_physical_replication_slot(:'slot')", slot=SLOT)


def clone(primary: Cluster) -> tuple[float, float, float]:
    """Return the seconds of a bare copy, of the module's clone, and of a module that finds nothing to do."""
    with new_standby(primary) as standby:
        prepare_bare(standby)
        theirs = timed(lambda: bare(standby))
        primary.sql(DROP, slot=SLOT)
        shutil.rmtree(standby.base / "data/bare")
        ours = timed(lambda: standby.ok(timeout=600))
        return theirs, ours, timed(standby.ok)


def main() -> None:
    # Writes reach the disk, as they do where it counts.
    with new_primary("fsync = on", "max_wal_size = '4GB'", "shared_buffers = '128MB'") as primary:
        fill(primary)
        size = int(primary.sql("SELECT sum(pg_database_size(oid)) FROM pg_database")) / 1024**3
        rounds = [clone(primary) for _round in range(ROUNDS)]
    theirs, ours, again = (statistics.median(column) for column in zip(*rounds, strict=True))
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {size:.2f} GiB, medians of {ROUNDS}\n")
    print("| what | seconds | times the bare copy |\n|---|---:|---:|")
    for what, seconds in (
        ("bare pg_basebackup with the same options", theirs),
        ("postgres_replica, until the standby streams", ours),
        ("postgres_replica, nothing to do", again),
    ):
        print(f"| {what} | {seconds:.2f} | {seconds / theirs:.2f} |")


if __name__ == "__main__":
    main()
