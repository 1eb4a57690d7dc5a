# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking the primary: once as an ordinary client for what SQL knows, once as a standby would ask."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, LiteralString

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    MATCHED_SETTINGS,
    Desired,
    Primary,
    Slot,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import (
    connection_refused,
    first_line,
    history_from_text,
    lsn_from_text,
    oldest_wal,
)

try:
    import psycopg
    from psycopg import sql
except ImportError:
    HAS_PSYCOPG = False
else:
    HAS_PSYCOPG = True

DATABASE = "postgres"
SECONDS_TO_CONNECT = 10
DUPLICATE_OBJECT, UNDEFINED_OBJECT = "42710", "42704"
# What pg_rewind calls on the server that it rewinds onto.
REWIND_FUNCTIONS = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
    "pg_stat_file(text, boolean)",
)

# One question, so that everything in the answer is of one moment.
QUESTION = """
SELECT json_build_object(
  'major', current_setting('server_version_num')::int / 10000,
  'in_recovery', pg_is_in_recovery(),
  'our_address', coalesce(host(inet_client_addr()), ''),
  'settings', (SELECT json_object_agg(name, setting) FROM pg_settings WHERE name = ANY(%(names)s)),
  'senders', (SELECT count(*) FROM pg_stat_replication),
  'tablespaces', (
    SELECT coalesce(json_agg(spcname ORDER BY spcname), '[]') FROM pg_tablespace
    WHERE spcname NOT IN ('pg_default', 'pg_global')),
  'databases', (
    SELECT json_object_agg(datname, CASE
      WHEN has_database_privilege(oid, 'CONNECT') OR pg_has_role('pg_read_all_stats', 'MEMBER')
      THEN pg_database_size(oid) END)
    FROM pg_database),
  'wal_bytes', pg_size_bytes(current_setting('wal_segment_size')),
  'may_list_wal', has_function_privilege('pg_ls_waldir()', 'EXECUTE'),
  'checkpoint_timeline', (SELECT timeline_id FROM pg_control_checkpoint()),
  'may_checkpoint', pg_has_role('pg_checkpoint', 'USAGE'),
  'denied', (
    SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM unnest(%(rewind)s::text[]) AS name
    WHERE NOT has_function_privilege(name, 'EXECUTE')),
  'slot', (
    SELECT json_build_object(
      'kind', s.slot_type, 'active', s.active, 'wal_status', s.wal_status, 'restart_lsn', s.restart_lsn,
      'application_name', r.application_name, 'address', host(r.client_addr))
    FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid
    WHERE s.slot_name = %(slot)s)
)
"""


# A question of its own: who may not call the function may not even name it in a branch that is never taken.
OLDEST_WAL = "SELECT min(substr(name, 9)) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"


class PrimaryServer:
    """The server to follow, as this host and its replication role see it."""

    def __init__(self, host: str, desired: Desired, *, check_mode: bool = False) -> None:
        if not HAS_PSYCOPG:
            raise Refusal(f"{host}: psycopg is missing: install python3-psycopg.")
        self.host = host
        self.desired = desired
        if check_mode and desired.sslrootcert and not os.path.exists(desired.sslrootcert):
            # The run that this one foretells brings it; what the primary is can be told without.
            self.desired = replace(desired, sslmode="require", sslrootcert=None)

    def observe(self) -> Primary:
        answer = self._ask()
        with self._connect("replication") as connection:
            row = connection.execute("IDENTIFY_SYSTEM").fetchone() or ()
            system_identifier, timeline, position = str(row[0]), int(row[1]), str(row[2])
            history = ""
            if timeline > 1:
                # The protocol takes no parameters here; the number came from the server a line ago.
                command = sql.SQL("TIMELINE_HISTORY {}").format(sql.Literal(timeline))
                content = (connection.execute(command).fetchone() or ("", ""))[1]
                history = content.decode() if isinstance(content, bytes) else str(content)
        settings, sizes = answer["settings"], answer["databases"]
        return Primary(
            major=answer["major"],
            system_identifier=system_identifier,
            timeline=timeline,
            lsn=lsn_from_text(position),
            in_recovery=answer["in_recovery"],
            history=history_from_text(history),
            limits=tuple((name, int(settings[name])) for name in MATCHED_SETTINGS),
            wal_level=settings["wal_level"],
            senders_free=int(settings["max_wal_senders"]) - answer["senders"],
            tablespaces=tuple(answer["tablespaces"]),
            size=sum(size for size in sizes.values() if size is not None),
            # pg_settings gives it in MiB.
            wal_size=int(settings["max_wal_size"]) << 20,
            unreadable=tuple(sorted(name for name, size in sizes.items() if size is None)),
            our_address=answer["our_address"],
            slot=_slot(answer["slot"]),
            oldest_wal=oldest_wal(answer["oldest_wal"], answer["wal_bytes"]),
            segment_size=answer["wal_bytes"],
            checkpoint_timeline=answer["checkpoint_timeline"],
            may_checkpoint=answer["may_checkpoint"],
            rewind_denied=tuple(answer["denied"]),
            full_page_writes=settings["full_page_writes"] == "on",
        )

    def slot(self) -> Slot | None:
        return _slot(self._ask()["slot"])

    def create_slot(self) -> None:
        """Create the slot and keep WAL from now on, not only from the first connection."""
        name = sql.Identifier(self.desired.slot)
        with self._connect("replication") as connection:
            try:
                connection.execute(sql.SQL("CREATE_REPLICATION_SLOT {} PHYSICAL RESERVE_WAL").format(name))
            except psycopg.Error as error:
                if error.sqlstate != DUPLICATE_OBJECT:
                    raise

    def drop_slot(self) -> None:
        name = sql.Identifier(self.desired.slot)
        with self._connect("replication") as connection:
            try:
                connection.execute(sql.SQL("DROP_REPLICATION_SLOT {}").format(name))
            except psycopg.Error as error:
                if error.sqlstate != UNDEFINED_OBJECT:
                    raise

    def checkpoint(self) -> None:
        with self._connect(DATABASE) as connection:
            connection.execute("CHECKPOINT")

    def _ask(self) -> dict[str, Any]:
        asked = {
            "names": [*MATCHED_SETTINGS, "wal_level", "max_wal_size", "full_page_writes"],
            "slot": self.desired.slot,
            "rewind": list(REWIND_FUNCTIONS),
        }
        with self._connect(DATABASE) as connection:
            row = connection.execute(QUESTION, asked).fetchone()
            answer: dict[str, Any] = row[0] if row else {}
            wal = connection.execute(OLDEST_WAL).fetchone() if answer["may_list_wal"] else None
        return answer | {"oldest_wal": wal[0] if wal else None}

    @contextlib.contextmanager
    def _connect(self, database: LiteralString) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        """Connect to a database, or to `replication` as pg_hba.conf calls a standby's connection."""
        desired = self.desired
        replication = database == "replication"
        try:
            with psycopg.connect(
                host=desired.primary_host,
                port=desired.primary_port,
                user=desired.replication_user,
                password=desired.replication_password,
                sslmode=desired.sslmode,
                sslrootcert=desired.sslrootcert,
                connect_timeout=SECONDS_TO_CONNECT,
                application_name="postgres_replica",
                client_encoding="UTF8",
                autocommit=True,
                dbname=None if replication else database,
                replication="true" if replication else None,
            ) as connection:
                yield connection
        except psycopg.OperationalError as error:
            raise Refusal(connection_refused(self.host, desired, database, str(error))) from error
        except psycopg.Error as error:
            raise Refusal(
                f"{self.host}: the primary {desired.primary} said: {first_line(str(error))}."
            ) from error


def _slot(row: dict[str, Any] | None) -> Slot | None:
    if row is None:
        return None
    holder = " at ".join(part for part in (row["application_name"], row["address"]) if part)
    return Slot(
        kind=row["kind"],
        active=row["active"],
        holder=holder,
        holder_address=row["address"] or "",
        wal_status=row["wal_status"] or "",
        restart_lsn=lsn_from_text(row["restart_lsn"]),
    )
