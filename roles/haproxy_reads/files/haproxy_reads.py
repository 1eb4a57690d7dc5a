# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Has PgBouncer reconnect a pool when HAProxy sends reads to other servers than before.

HAProxy chooses a server when a connection is opened, and a pool keeps its connections. Reads leave a replica
that lags, and come back to one that has caught up, only when the pool opens them anew; RECONNECT does that
to each as it falls idle, so no read is cut off.
"""

from __future__ import annotations

import argparse
import csv
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

TIERS = ("replicas", "primary", "any")  # in the order in which HAProxy prefers them
PATIENCE = 2.0  # s


@dataclass(frozen=True)
class Reads:
    """Where HAProxy sends new connections."""

    process: str
    tier: str
    servers: frozenset[str]
    elsewhere: int  # connections to servers that get no new ones

    def same_as(self, other: Reads | None) -> bool:
        """Tell whether new connections go to the same servers."""
        return other is not None and self == replace(other, elsewhere=self.elsewhere)

    def __str__(self) -> str:
        return f"{self.tier}: {', '.join(sorted(self.servers)) or 'no server'}"


def reads(process: str, rows: Sequence[Mapping[str, str]]) -> Reads:
    """Read the answer to `show stat`."""
    servers = [row for row in rows if row["pxname"] in TIERS and row["svname"] != "BACKEND"]
    up = [(row["pxname"], row["svname"]) for row in servers if row["status"].startswith("UP")]
    tier = next((name for name in TIERS if name in dict(up)), TIERS[-1])
    # HAProxy itself closes the connections to servers that are down.
    left = [row for row in servers if row["status"].startswith("DRAIN")]
    left += [row for row in servers if row["status"].startswith("UP") and row["pxname"] != tier]
    return Reads(
        process,
        tier,
        frozenset(server for name, server in up if name == tier),
        sum(int(row["scur"]) for row in left),
    )


def must_reconnect(before: Reads | None, after: Reads) -> bool:
    """Tell whether a pool holds connections that it would not get again, or lacks some that it would."""
    if not after.servers:
        return False
    if before is None or before.process != after.process or before.tier != after.tier:
        return True
    left = bool(before.servers - after.servers) and after.elsewhere > 0
    return left or bool(after.servers - before.servers)


def ask(path: str, question: str) -> str:
    """Ask HAProxy."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        connection.connect(path)
        connection.sendall(f"{question}\n".encode())
        with connection.makefile() as said:
            return said.read()


def look(path: str) -> Reads:
    info = dict(line.split(": ", 1) for line in ask(path, "show info").splitlines() if ": " in line)
    return reads(info["Pid"], list(csv.DictReader(ask(path, "show stat").removeprefix("# ").splitlines())))


def logins(console: psycopg.Connection[dict[str, Any]], pool: str) -> int:
    rows = console.execute("SHOW POOLS").fetchall()
    return sum(int(row["sv_login"]) for row in rows if row["database"] == pool)


def reconnect(conninfo: str, pool: str) -> None:
    # The console knows neither parameters nor transactions nor prepared statements.
    with psycopg.connect(
        conninfo, autocommit=True, connect_timeout=int(PATIENCE), row_factory=dict_row
    ) as console:
        console.prepare_threshold = None
        # A login that RECONNECT interrupts counts as failed, and PgBouncer would turn clients away for it.
        give_up = time.monotonic() + PATIENCE
        while logins(console, pool) and time.monotonic() < give_up:
            time.sleep(0.01)
        console.execute(sql.SQL("RECONNECT {}").format(sql.Identifier(pool)))


def follow(arguments: argparse.Namespace) -> None:
    before: Reads | None = None
    last: Reads | None = None
    while True:
        try:
            after = look(arguments.haproxy)
            # Changes come in bursts: it waits until two looks say the same.
            if after.same_as(last):
                if must_reconnect(before, after):
                    reconnect(arguments.pgbouncer, arguments.pool)
                    print(f"{arguments.pool} reconnects to {after}", flush=True)
                before = after
            last = after
        except (OSError, psycopg.Error) as error:  # either may be restarting; what was missed is done then
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        time.sleep(arguments.interval)


def main() -> str | None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--haproxy", required=True, metavar="SOCKET")
    parser.add_argument(
        "--pgbouncer", metavar="CONNINFO", help="the console; without it, only say where reads go"
    )
    parser.add_argument("--pool", metavar="NAME")
    parser.add_argument("--interval", type=float, default=0.25, metavar="SECONDS")
    arguments = parser.parse_args()
    if arguments.pgbouncer:
        follow(arguments)
    where = look(arguments.haproxy)
    print(where)
    return None if where.servers else "no database server answers"


if __name__ == "__main__":
    sys.exit(main())
