# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads twenty times a second through the pool for reads, whatever becomes of the reads before.

Each read takes a tenth of a second, so that a few are always in flight and the pool needs several
connections. For each there is a line of JSON: when it began, how long it took, and who answered with data of
what age, or the error. The age is that of a row that is written through the pool for writes all the time.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import suppress
from typing import Any

import psycopg

EVERY = 0.05  # s
BEAT = 0.1  # s
PATIENCE = 5.0  # s
LOGIN = f"host=127.0.0.1 port=6432 user=app password={os.environ['PGPASSWORD']} connect_timeout=5"
QUERY = """
SELECT host(inet_server_addr()), pg_is_in_recovery(),
       (SELECT extract(epoch FROM clock_timestamp() - at)::float FROM beat)
FROM pg_sleep(0.1)
"""

Connection = psycopg.AsyncConnection[tuple[Any, ...]]


async def connect(pool: str) -> Connection:
    connection = await psycopg.AsyncConnection.connect(f"{LOGIN} dbname={pool}", autocommit=True)
    connection.prepare_threshold = None  # PgBouncer 1.18 knows nothing of prepared statements
    return connection


async def beat() -> None:
    """Write how late it is through the pool for writes."""
    while True:
        with suppress(psycopg.Error):
            async with await connect("app_rw") as connection:
                await connection.execute("CREATE TABLE IF NOT EXISTS beat (at timestamptz)")
                await connection.execute("INSERT INTO beat SELECT now() WHERE NOT EXISTS (SELECT FROM beat)")
                while True:
                    await connection.execute("UPDATE beat SET at = clock_timestamp()")
                    await asyncio.sleep(BEAT)
        await asyncio.sleep(BEAT)


async def read(idle: list[Connection]) -> None:
    began = time.time()
    connection = None
    try:
        async with asyncio.timeout(PATIENCE):
            connection = idle.pop() if idle else await connect("app_ro")
            server, standby, age = await (await connection.execute(QUERY)).fetchone() or (None, None, None)
        said = {"server": server, "standby": standby, "age": age}
        idle.append(connection)
    except (psycopg.Error, TimeoutError) as error:
        said = {"error": f"{type(error).__name__}: {str(error).strip()}"}
        if connection is not None:
            await connection.close()
    print(json.dumps({"at": began, "took": time.time() - began} | said), flush=True)


async def main() -> None:
    idle: list[Connection] = []
    running = {asyncio.create_task(beat())}
    await asyncio.sleep(1)
    while True:
        task = asyncio.create_task(read(idle))
        running.add(task)
        task.add_done_callback(running.discard)
        await asyncio.sleep(EVERY)


asyncio.run(main())
