# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The admin consoles of PgBouncers, asked and told side by side."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any, LiteralString

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.cluster import TLS_ARGUMENTS
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import first_line
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.model import (
    Guarded,
    Pool,
    Pooler,
)

HAS_PSYCOPG = True
try:
    import psycopg
    from psycopg import sql
except ImportError:
    HAS_PSYCOPG = False

# What doc_fragments/postgres_poolers.py and postgres_tls.py describe.
POOLER_ARGUMENTS: dict[str, dict[str, Any]] = {
    "poolers": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"host": {"type": "str", "required": True}, "port": {"type": "int", "default": 6432}},
    },
    "pooler_databases": {"type": "list", "elements": "str", "default": ["app_rw"]},
    "pooler_user": {"type": "str", "default": "pgbouncer"},
    "pooler_password": {"type": "str", "no_log": True},
    **TLS_ARGUMENTS,
    "max_transaction_age": {"type": "int", "default": 5},
    "pause_timeout": {"type": "int", "default": 5},
}

SECONDS_TO_CONNECT = 3
SECONDS_TO_RELOAD = 5
PARALLEL = 32


class Poolers:
    """All poolers before one cluster. Connections are kept, so that the pause is not spent on making them."""

    def __init__(self, host: str, wanted: Guarded) -> None:
        self.host = host
        self.wanted = wanted
        self._connections: dict[str, Any] = {}
        self._pool = ThreadPoolExecutor(max_workers=PARALLEL)

    def observe(self) -> tuple[Pooler, ...]:
        return tuple(self._pool.map(self._look, self.wanted.poolers))

    def pause(self) -> None:
        """Hold clients back. Whoever is in a transaction may end it, as long as pause_timeout allows."""
        paused = self._tell("PAUSE {}", self.wanted.pause_timeout)
        if late := [addr for addr, error in paused.items() if error]:
            raise Refusal(
                f"{self.host}: the pooler {late[0]} did not hold its clients back within pause_timeout="
                f"{self.wanted.pause_timeout} s ({paused[late[0]]}): look for a long transaction there with "
                "SHOW SERVERS, and run again."
            )

    def reload(self, there: tuple[str, int]) -> None:
        """Let all poolers read their files, and see that they did: before 1.25 RELOAD reports no errors."""
        self._each("RELOAD")
        wanted, deadline = self.wanted, time.monotonic() + SECONDS_TO_RELOAD
        while astray := [
            f"{pooler.addr} ({pooler.problem or f'{pool.name} is at {pool.host}:{pool.port}'})"
            for pooler in self.observe()
            for pool in pooler.pools or (Pool("", "", 0),)
            if pooler.problem or (pool.name in wanted.pooler_databases and (pool.host, pool.port) != there)
        ]:
            if time.monotonic() > deadline:
                raise Refusal(
                    f"{self.host}: {there[0]}:{there[1]} has taken over, but the pooler {astray[0]} does not "
                    "lead there: write its configuration anew (site.yml does) and reload it."
                )
            time.sleep(0.05)

    def resume(self) -> list[str]:
        """Let clients go on wherever that is possible; return what went wrong."""
        said = self._tell("RESUME {}", SECONDS_TO_RELOAD)
        return [f"{addr}: {error}" for addr, error in said.items() if error and "not paused" not in error]

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._pool.shutdown(wait=False)

    # -- talking

    def _look(self, place: tuple[str, int]) -> Pooler:
        addr = f"{place[0]}:{place[1]}"
        try:
            connection = self._connection(place)
            mode = next(
                row["value"] for row in rows_of(connection, "SHOW CONFIG") if row["key"] == "pool_mode"
            )
            rows = rows_of(connection, "SHOW DATABASES")
        except psycopg.Error as error:
            self._connections.pop(addr, None)
            return Pooler(addr, problem=first_line(str(error)))
        return Pooler(addr, tuple(_pool(row, mode) for row in rows))

    def _connection(self, place: tuple[str, int]) -> Any:
        addr = f"{place[0]}:{place[1]}"
        if addr not in self._connections:
            self._connections[addr] = psycopg.connect(
                host=place[0],
                port=place[1],
                dbname="pgbouncer",
                user=self.wanted.pooler_user,
                password=self.wanted.pooler_password,
                sslmode=self.wanted.sslmode,
                sslrootcert=self.wanted.sslrootcert,
                connect_timeout=SECONDS_TO_CONNECT,
                autocommit=True,
                # The console takes simple queries only, and psycopg prepares what it has seen a few times.
                prepare_threshold=None,
            )
        return self._connections[addr]

    def _tell(self, command: LiteralString, seconds: float) -> dict[str, str]:
        """Give every pooler a command for every database, and return what each said if it did not do it."""

        def commands(connection: Any) -> None:
            for name in self.wanted.pooler_databases:
                try:
                    connection.execute(sql.SQL(command).format(sql.Identifier(name)))
                except psycopg.Error as error:
                    if "already" not in str(error):
                        raise

        return self._all(commands, seconds)

    def _each(self, command: LiteralString) -> dict[str, str]:
        return self._all(lambda connection: connection.execute(command), SECONDS_TO_RELOAD)

    def _all(self, do: Callable[[Any], object], seconds: float) -> dict[str, str]:
        def tell(place: tuple[str, int]) -> None:
            do(self._connection(place))

        work = {self._pool.submit(tell, place): place for place in self.wanted.poolers}
        wait(work, timeout=seconds)
        said = {}
        for future, (host, port) in work.items():
            addr = f"{host}:{port}"
            if not future.done():
                said[addr] = "no answer yet"
                # It waits for an answer on this one; another connection has to say what comes next.
                self._connections.pop(addr, None)
            else:
                error = future.exception()
                said[addr] = first_line(str(error)) if error else ""
        return said


def rows_of(connection: Any, question: LiteralString) -> list[dict[str, Any]]:
    cursor = connection.execute(question)
    names = [column.name for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _pool(row: dict[str, Any], mode: str) -> Pool:
    return Pool(
        name=str(row["name"]),
        host=str(row["host"] or ""),
        port=int(row["port"]),
        mode=str(row["pool_mode"] or mode),
        paused=str(row["paused"]) == "1",
        disabled=str(row["disabled"]) == "1",
    )
