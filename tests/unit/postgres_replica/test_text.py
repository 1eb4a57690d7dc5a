# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What PostgreSQL printed, read; what it is to read, written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Control, Receiver
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from .states import DESIRED

FIXTURES = Path(__file__).parent / "fixtures"
WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("name", "state", "timeline"),
    [
        ("running_primary", "in production", 1),
        ("running_standby", "in archive recovery", 1),
        ("stopped_standby", "shut down in recovery", 1),
        ("promoted_and_stopped", "shut down", 2),
    ],
)
def test_pg_controldata_is_read(name: str, state: str, timeline: int) -> None:
    control = text.control_from_text((FIXTURES / f"controldata_{name}.txt").read_text())
    assert isinstance(control, Control)
    assert (control.state, control.timeline) == (state, timeline)
    assert control.system_identifier.isdigit()
    assert control.lsn > 0x1000000


def test_a_standby_is_as_far_as_it_has_to_recover() -> None:
    printed = (FIXTURES / "controldata_stopped_standby.txt").read_text()
    assert text.lsn_to_text(text.control_from_text(printed).lsn) == "0/3000000"


def test_unknown_control_data_are_refused() -> None:
    with pytest.raises(Refusal, match="pg_controldata"):
        text.control_from_text("something else")


def test_the_receiver_is_read() -> None:
    row = json.loads((FIXTURES / "wal_receiver_streaming.json").read_text())
    assert text.receiver_from_row(row) == Receiver("streaming", "db2", "127.0.0.1", 5432, 1)
    assert text.receiver_from_row(None) is None
    assert text.receiver_from_row(dict.fromkeys(row)) is None


def test_a_timeline_history_is_read() -> None:
    printed = (FIXTURES / "timeline_history.txt").read_text()
    assert text.history_from_text(printed) == ((1, 0x3000000),)
    assert text.history_from_text("") == ()


def test_the_last_complaint_is_found() -> None:
    log = (FIXTURES / "log_of_a_standby.txt").read_text()
    assert text.last_complaint(log) == "terminating walreceiver process due to administrator command"
    assert text.last_complaint(log + "\nx FATAL:  the database system is starting up\n").startswith(
        "terminating"
    )
    assert text.last_complaint("LOG:  fine\n") == ""


def test_the_error_of_a_program_is_found() -> None:
    full = (
        'pg_basebackup: error: could not write to file "main.new/base/1/2": No space left on device\n'
        'pg_basebackup: removing contents of data directory "main.new"\n'
    )
    assert text.last_error(full) == 'could not write to file "main.new/base/1/2": No space left on device'
    assert text.last_error("something else\n") == "something else"
    assert text.last_error("") == ""


@given(st.integers(0, 2**64 - 1))
def test_positions_survive_being_written(lsn: int) -> None:
    assert text.lsn_from_text(text.lsn_to_text(lsn)) == lsn


@pytest.mark.parametrize(
    ("written", "lsn"), [(None, 0), ("", 0), ("0/0", 0), ("1/0", 1 << 32), ("A/FF", 0xA000000FF)]
)
def test_positions_are_read(written: str | None, lsn: int) -> None:
    assert text.lsn_from_text(written) == lsn


@given(WORDS, WORDS)
def test_libpq_reads_the_connection_string_as_meant(user: str, name: str) -> None:
    # No user and no name can hold this by chance.
    secret = "\u0416" * 8
    desired = replace(DESIRED, replication_user=user, application_name=name, replication_password=secret)
    read = conninfo_to_dict(text.conninfo(desired))
    assert (read["user"], read["application_name"]) == (user, name)
    assert read["passfile"] == "/var/lib/postgresql/17/main.passfile"
    assert secret not in text.conninfo(desired)


def test_without_a_password_there_is_no_passfile() -> None:
    assert "passfile" not in text.conninfo(replace(DESIRED, replication_password=None))


def test_the_settings_file_is_written() -> None:
    desired = replace(DESIRED, application_name="it's", sslmode="verify-full", sslrootcert="/etc/ssl/ca.pem")
    assert text.settings_file(desired).splitlines()[1:] == [
        "primary_conninfo = 'host=10.0.0.1 port=5432 user=replicator "
        "passfile=/var/lib/postgresql/17/main.passfile "
        r"application_name=''it\\''s'' sslmode=verify-full sslrootcert=/etc/ssl/ca.pem'",
        "primary_slot_name = 'db2'",
    ]


def test_the_passfile_is_escaped() -> None:
    desired = replace(DESIRED, primary_host="fe80::1", replication_password=r"a:b\c")  # noqa: S106  # made up
    assert text.passfile(desired) == "fe80\\:\\:1:5432:*:replicator:a\\:b\\\\c\n"


def test_only_our_lines_leave_postgresql_auto_conf() -> None:
    before = "# keep\nx = 1\nprimary_conninfo = 'x'\nPRIMARY_SLOT_NAME = 'y'\nprimary_conninfo_x = 1\n"
    assert text.without_upstream(before) == "# keep\nx = 1\nprimary_conninfo_x = 1\n"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        ("FATAL:  password authentication failed for user", "set replication_password to the one"),
        ("fe_sendauth: no password supplied", "set replication_password."),
        ("FATAL:  no pg_hba.conf entry for replication connection", "line for the database replication"),
        ("FATAL:  must be superuser or replication role", "ALTER ROLE replicator REPLICATION"),
        ("FATAL:  permission denied to start WAL sender", "ALTER ROLE replicator REPLICATION"),
        ("connection refused by peer\nConnection refused", "listen_addresses"),
        ("server does not support SSL, but SSL was required", "offers no TLS"),
        ("SSL error: certificate verify failed", "is not of the authority in sslrootcert=/etc/ca.pem"),
        ('server certificate for "db9" (and 1 other name) does not match host name "10.0.0.1"',
         'is for "db9" (and 1 other name): have it issued for 10.0.0.1 as well'),
        ('root certificate file "/etc/ca.pem" does not exist\n', "sslrootcert=/etc/ca.pem cannot be read"),
        ("connection timeout expired", "(connection timeout expired): check primary_host"),
    ],
)  # fmt: skip
def test_a_refused_connection_names_the_remedy(error: str, remedy: str) -> None:
    desired = replace(DESIRED, sslmode="verify-full", sslrootcert="/etc/ca.pem")
    sentence = text.connection_refused("db2", desired, "replication", error)
    assert remedy in sentence
    assert sentence.startswith("db2: ")
    assert sentence.count("\n") == 0
