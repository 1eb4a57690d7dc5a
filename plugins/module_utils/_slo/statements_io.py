# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks PostgreSQL servers for pg_stat_statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import first_line
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import hostport
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import NotMeasured
from ansible_collections.payaid.scaling.plugins.module_utils._slo.statements import Statement

try:
    import psycopg
    from psycopg import sql
except ImportError:
    HAS_PSYCOPG = False
else:
    HAS_PSYCOPG = True

SECONDS_TO_CONNECT = 10
EXTENSION = """
SELECT n.nspname, pg_has_role('pg_read_all_stats', 'USAGE')
FROM (SELECT 1) slo_check
LEFT JOIN pg_extension e ON e.extname = 'pg_stat_statements'
LEFT JOIN pg_namespace n ON n.oid = e.extnamespace
"""
# Only what reads and writes rows: BEGIN and SET cost nothing and would make the mean look better than it is.
# What runs inside a function is in the time of its caller. Questions about all this are left out, ours too.
ROWS = (
    r"^(\s|\(|/\*([^*]|\*(?!/))*\*/|--[^\n]*\n)*"
    r"(select|insert|update|delete|merge|with|values|table)\M"
)
STATEMENTS = r"""
SELECT s.userid || '/' || s.queryid, s.calls, s.total_exec_time, s.query
FROM {schema}.pg_stat_statements s
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND s.toplevel AND s.calls > 0
  AND (%(roles)s::text[] IS NULL OR s.userid IN (SELECT oid FROM pg_roles WHERE rolname = ANY(%(roles)s)))
  AND s.query ~* %(rows)s
  AND s.query !~* '\m(pg_stat_statements|slo_check)'
"""


@dataclass(frozen=True)
class Server:
    host: str
    port: int

    @property
    def name(self) -> str:
        return hostport(self.host, self.port)


@dataclass(frozen=True)
class Login:
    """How to get in, the same on every server."""

    database: str
    user: str
    password: str | None
    sslmode: str
    sslrootcert: str | None
    roles: tuple[str, ...]

    @classmethod
    def wanted(cls, given: Mapping[str, Any]) -> Login:
        return cls(
            given["database"],
            given["login_user"],
            given["login_password"],
            given["sslmode"],
            given["sslrootcert"],
            tuple(given["roles"]),
        )


def ask(servers: Sequence[Server], login: Login) -> tuple[Statement, ...]:
    """Return the statements of all servers. Each has its own, because a replica counts what is read there."""
    if not HAS_PSYCOPG:
        raise NotMeasured("psycopg is missing on the host that runs the module: install python3-psycopg")
    return tuple(statement for server in servers for statement in _ask(server, login))


def _ask(server: Server, login: Login) -> list[Statement]:
    try:
        with psycopg.connect(
            host=server.host,
            port=server.port,
            dbname=login.database,
            user=login.user,
            password=login.password,
            sslmode=login.sslmode,
            sslrootcert=login.sslrootcert,
            connect_timeout=SECONDS_TO_CONNECT,
            application_name="slo_check",
            client_encoding="UTF8",
            options="-c statement_timeout=30s -c default_transaction_read_only=on",
            autocommit=True,
        ) as connection:
            schema, may_read = connection.execute(EXTENSION).fetchone() or (None, None)
            if schema is None:
                raise NotMeasured(
                    f"{server.name}: {login.database} lacks the extension pg_stat_statements: create it"
                )
            if not may_read:
                raise NotMeasured(
                    f"{server.name}: {login.user} may not see what others run: grant it pg_read_all_stats"
                )
            query = sql.SQL(STATEMENTS).format(schema=sql.Identifier(schema))
            rows = connection.execute(query, {"roles": list(login.roles) or None, "rows": ROWS}).fetchall()
    except psycopg.Error as error:
        raise NotMeasured(f"{server.name}: PostgreSQL says {first_line(str(error)).rstrip('.')}") from error
    return [Statement(server.name, str(row[0]), int(row[1]), float(row[2]), str(row[3])) for row in rows]
