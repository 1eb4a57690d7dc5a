# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reading what PostgreSQL prints and writing what it reads. Pure functions of text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    MATCHED_SETTINGS,
    Control,
    Desired,
    Receiver,
)

OWNED_LINE = re.compile(r"^\s*(primary_conninfo|primary_slot_name)\b", re.IGNORECASE | re.MULTILINE)
# Two of the settings have other names in pg_control.
CONTROL_NAMES = {
    name: name.replace("prepared_transactions", "prepared_xacts").replace("per_transaction", "per_xact")
    for name in MATCHED_SETTINGS
}


def lsn_from_text(text: str | None) -> int:
    """Turn 0/3000148 into a number that can be compared; nothing is 0, before every position."""
    if not text:
        return 0
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def lsn_to_text(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def control_from_text(text: str) -> Control:
    """Parse pg_controldata as it prints with LC_ALL=C."""
    fields = {
        key.strip(): value.strip() for key, _sep, value in (line.partition(":") for line in text.splitlines())
    }
    try:
        return Control(
            state=fields["Database cluster state"],
            system_identifier=fields["Database system identifier"],
            timeline=max(
                int(fields["Latest checkpoint's TimeLineID"]),
                int(fields["Min recovery ending loc's timeline"]),
            ),
            lsn=max(
                lsn_from_text(fields["Latest checkpoint location"]),
                lsn_from_text(fields["Minimum recovery ending location"]),
            ),
            checkpoint_lsn=lsn_from_text(fields["Latest checkpoint location"]),
            checkpoint_timeline=int(fields["Latest checkpoint's TimeLineID"]),
            segment_size=int(fields["Bytes per WAL segment"]),
            hints_logged=fields["Data page checksum version"] != "0"
            or fields["wal_log_hints setting"] == "on",
            limits=tuple(
                (name, int(fields[f"{printed} setting"])) for name, printed in CONTROL_NAMES.items()
            ),
        )
    except (KeyError, ValueError) as error:
        raise Refusal(
            f"pg_controldata printed something unknown: {error} is missing or unreadable."
        ) from error


SLOT_DATABASE = 16 + 64  # in pg_replslot/NAME/state, behind its header and the name; PostgreSQL 15 to 17


def slot_is_physical(state: bytes) -> bool:
    """Tell a physical slot, which belongs to no database, from a logical one, by its file."""
    return len(state) > SLOT_DATABASE + 4 and state[SLOT_DATABASE : SLOT_DATABASE + 4] == bytes(4)


WAL_PAGE = 8192
FIRST_HEADER, PAGE_HEADER = 40, 24  # of the first page of a segment, and of every other


def shutdown_end(start: int, waldump: str, segment_size: int) -> int:
    """Return where the WAL ends, by what pg_waldump says of a checkpoint; 0 if it is another record."""
    found = re.search(r"len \(rec/tot\): *\d+/ *(\d+),.* desc: CHECKPOINT_SHUTDOWN ", waldump)
    return record_end(start, int(found[1]), segment_size) if found else 0


def record_end(start: int, length: int, segment_size: int) -> int:
    """Return the position after a record, which goes on behind the header of the next page where it must."""
    position = start
    while length > (room := WAL_PAGE - position % WAL_PAGE):
        position, length = position + room, length - room
        position += PAGE_HEADER if position % segment_size else FIRST_HEADER
    return (position + length + 7) // 8 * 8


def oldest_wal(file: str | None, segment_size: int) -> int:
    """Return where a WAL file begins, by its name without the timeline; 0 where there is none."""
    return (int(file[:8], 16) << 32) + int(file[8:], 16) * segment_size if file else 0


def wal_file(position: int, segment_size: int) -> str:
    """Return the name, without the timeline, of the file that holds the byte before a position."""
    last = max(position - 1, 0)
    return f"{last >> 32:08X}{(last & 0xFFFFFFFF) // segment_size:08X}"


def receiver_from_row(row: Mapping[str, Any] | None) -> Receiver | None:
    """Take one row of pg_stat_wal_receiver; there is none while no receiver runs."""
    if not row or row["status"] is None:
        return None
    return Receiver(
        status=str(row["status"]),
        slot=row["slot_name"] or "",
        host=row["sender_host"] or "",
        port=int(row["sender_port"] or 0),
        timeline=int(row["received_tli"] or 0),
    )


def standbys_waited_for(names: str) -> int:
    """Return how many standbys a commit waits for, as synchronous_standby_names says."""
    counted = re.match(r"\s*(?:(?:first|any)\s+)?(\d+)\s*\(", names, re.IGNORECASE)
    return int(counted[1]) if counted else int(bool(names.strip()))


def history_from_text(text: str) -> tuple[tuple[int, int], ...]:
    """Parse a timeline history file into (timeline, position where it was left)."""
    rows = (line.split() for line in text.splitlines())
    return tuple((int(row[0]), lsn_from_text(row[1])) for row in rows if len(row) >= 2 and row[0].isdigit())


def conninfo(desired: Desired, **more: str) -> str:
    """Write the libpq connection string to the primary. It names the passfile, never the password."""
    values = {
        "host": desired.primary_host,
        "port": str(desired.primary_port),
        "user": desired.replication_user,
        "passfile": desired.passfile if desired.replication_password is not None else "",
        "application_name": desired.application_name,
        "sslmode": desired.sslmode,
        "sslrootcert": desired.sslrootcert or "",
    } | more
    return " ".join(f"{key}={_conninfo_value(value)}" for key, value in values.items() if value)


def _conninfo_value(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9_./:@%+,-]+", value):
        return value
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def setting_literal(value: str) -> str:
    """Quote a value for postgresql.conf, where both quote and backslash are special."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def settings_file(desired: Desired) -> str:
    return (
        "# Written whole by payaid.scaling.postgres_replica; a change made here is lost.\n"
        f"primary_conninfo = {setting_literal(conninfo(desired))}\n"
        f"primary_slot_name = {setting_literal(desired.slot)}\n"
    )


def passfile(desired: Desired) -> str:
    """Write the one line libpq looks up; any database, because replication has none."""
    fields = (desired.primary_host, str(desired.primary_port), None, desired.replication_user)
    password = desired.replication_password or ""
    return ":".join("*" if part is None else _passfile_field(part) for part in (*fields, password)) + "\n"


def _passfile_field(value: str) -> str:
    return value.replace("\\", "\\\\").replace(":", "\\:")


def without_upstream(auto_conf: str) -> str:
    """Drop the two settings we own from postgresql.auto.conf, where they would beat our file."""
    return "".join(line for line in auto_conf.splitlines(keepends=True) if not OWNED_LINE.match(line))


# What pgBackRest leaves in a copy that it restores. The standby's own files say where its archive is.
RECOVERY_LINE = re.compile(
    r"^\s*(restore_command|recovery_target\w*)\b|^# Recovery settings generated by pgBackRest", re.IGNORECASE
)


def without_recovery(auto_conf: str) -> str:
    """Drop from postgresql.auto.conf what a restore has written there."""
    return "".join(line for line in auto_conf.splitlines(keepends=True) if not RECOVERY_LINE.match(line))


def archive_stanza(restore_command: str) -> str:
    """Return the stanza of pgBackRest that WAL is fetched from; empty where it comes from elsewhere."""
    found = re.search(r"\bpgbackrest\b.* --stanza=(\S+) .*\barchive-get\b", restore_command)
    return found[1] if found else ""


def last_complaint(log: str) -> str:
    """Return what the server last gave as the reason of a failure, without its time stamp and process."""
    found = [line for line in log.splitlines() if re.search(r"\b(ERROR|FATAL|PANIC):", line)]
    # The receiver's own failure explains more than the rejections of clients that follow it.
    telling = [line for line in found if "is starting up" not in line and "not yet accepting" not in line]
    return re.sub(r"^.*?\b(ERROR|FATAL|PANIC):\s*", "", telling[-1]) if telling else ""


def last_error(said: str) -> str:
    """Return the last error that one of the server's programs printed, without its name; or pgBackRest's."""
    lines = said.splitlines()
    if found := [line for line in lines if ": error: " in line or ": fatal: " in line]:
        return re.sub(r"^.*?: (error|fatal): ", "", found[-1])
    # pgBackRest goes on with hints after it.
    return next((line for line in lines if line.startswith("ERROR: ")), first_line(said))


def first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


CONNECTION_REMEDIES: Sequence[tuple[str, str]] = (
    (
        "password authentication failed",
        "the primary {primary} refused the password of {user}: set replication_password to the one the "
        "role has there",
    ),
    (
        "no password supplied",
        "the primary {primary} wants a password for {user}: set replication_password",
    ),
    (
        "no pg_hba.conf entry",
        "pg_hba.conf on the primary {primary} does not let {user} in from this host: add a line for the "
        "database {database} (the module needs both replication and postgres) and reload",
    ),
    (
        "pg_hba.conf rejects connection",
        "pg_hba.conf on the primary {primary} rejects {user} from this host for the database {database}: "
        "allow both replication and postgres and reload",
    ),
    (
        "to start WAL sender",
        "the role {user} may not replicate: run ALTER ROLE {user} REPLICATION on the primary {primary}",
    ),
    (
        "must be superuser or replication role",
        "the role {user} may not replicate: run ALTER ROLE {user} REPLICATION on the primary {primary}",
    ),
    (
        "Connection refused",
        "nothing listens on {primary}: check primary_host, primary_port and listen_addresses there",
    ),
    (
        "server does not support SSL",
        "the primary {primary} offers no TLS: turn ssl on there, or choose sslmode=prefer",
    ),
)


def connection_refused(host: str, desired: Desired, database: str, error: str) -> str:
    """Say in one sentence why the primary could not be asked, and what to do."""
    if told := certificate_problem(f"the primary {desired.primary}", desired.sslrootcert, error):
        return f"{host}: {told}."
    unknown = "the primary {primary} cannot be asked ({error}): check primary_host and primary_port"
    sentence = next((told for symptom, told in CONNECTION_REMEDIES if symptom in error), unknown)
    told = sentence.format(
        primary=desired.primary, user=desired.replication_user, database=database, error=first_line(error)
    )
    return f"{host}: {told}."


def certificate_problem(server: str, sslrootcert: str | None, error: str) -> str:
    """Say what libpq has against the certificate of a server, and what to do; nothing if it is not that."""
    authority = f"sslrootcert={sslrootcert or ''}"
    if "root certificate file" in error:
        return (
            f"{authority} cannot be read, and {server} not be verified: put its authority's certificate there"
        )
    if "certificate verify failed" in error:
        return (
            f"the certificate of {server} is not of the authority in {authority}, or has run out: correct "
            "sslrootcert, or give that server another certificate"
        )
    if named := re.search(r'server certificate for (.*) does not match host name "(.*)"', error):
        return (
            f"the certificate of {server} is for {named[1]}: have it issued for {named[2]} as well, or set "
            "sslmode=verify-ca"
        )
    return ""
