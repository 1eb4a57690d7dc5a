# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against real servers, primaries and standbys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..postgres_replica.conftest import DROP, Cluster, Standby, new_primary

NAME = "db9"
STATUS = "SELECT coalesce(wal_status, 'none') FROM pg_replication_slots WHERE slot_name = :'slot'"


def run(server: Cluster, *, check: bool = False, **options: Any) -> Mapping[str, Any]:
    return server.run_module("postgres_physical_slot", check=check, **{"name": NAME} | options)


def ok(server: Cluster, **options: Any) -> Mapping[str, Any]:
    answer = run(server, **options)
    assert not answer.get("failed"), answer
    return answer


def refused(server: Cluster, **options: Any) -> str:
    """Return the sentence, which a check run says as well."""
    foretold, answer = (run(server, check=check, **options) for check in (True, False))
    assert answer.get("failed"), answer
    assert "Traceback" not in str(answer), answer
    assert foretold["msg"] == answer["msg"]
    return str(answer["msg"])


def comes_true(server: Cluster, **options: Any) -> Mapping[str, Any]:
    """A check run changes nothing and foretells what is done; afterwards nothing is left to do."""
    found = server.sql(STATUS, slot=NAME)
    foretold = ok(server, check=True, **options)
    assert server.sql(STATUS, slot=NAME) == found
    done = ok(server, **options)
    assert (foretold["changed"], foretold["actions"]) == (True, done["actions"])
    assert foretold["diff"] == done["diff"]
    again = ok(server, **options)
    assert (again["changed"], again["actions"]) == (False, [])
    assert again["slot"] == done["slot"]
    return done


def test_a_slot_is_made_and_dropped(primary: Cluster) -> None:
    made = comes_true(primary)
    assert made["actions"] == [f"Create the physical slot {NAME}, which keeps WAL from now on."]
    assert made["diff"] == {
        "before": {"state": "absent"},
        "after": {"state": "present", "wal_status": "reserved"},
    }
    assert made["slot"]["restart_lsn"] == primary.sql(
        "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = :'slot'", slot=NAME
    )
    assert (made["slot"]["active"], made["slot"]["safe_wal_size"]) == (False, None)

    dropped = comes_true(primary, state="absent")
    assert dropped["actions"] == [f"Drop the physical slot {NAME}."]
    assert dropped["slot"] is None


def test_a_slot_that_keeps_no_wal_is_made_to(primary: Cluster) -> None:
    made = comes_true(primary, reserve=False)
    assert (made["slot"]["wal_status"], made["slot"]["restart_lsn"]) == (None, None)

    kept = comes_true(primary)
    assert len(kept["actions"]) == 2
    assert kept["slot"]["wal_status"] == "reserved"
    assert ok(primary, reserve=False)["actions"] == []
    comes_true(primary, state="absent")


def test_a_standby_has_slots_of_its_own(streaming: Standby) -> None:
    assert comes_true(streaming)["slot"]["wal_status"] == "reserved"
    assert streaming.primary.sql(STATUS, slot=NAME) == ""
    assert streaming.ok()["changed"] is False
    comes_true(streaming, state="absent")


def test_a_slot_in_use_is_never_dropped(streaming: Standby) -> None:
    sentence = refused(streaming.primary, name=streaming.slot, state="absent")
    assert f"slot {streaming.slot} of PostgreSQL {streaming.version}/main is in use by " in sentence
    assert f"{streaming.slot} at 127.0.0.1 (process " in sentence
    assert streaming.streams()
    assert ok(streaming.primary, name=streaming.slot)["slot"]["active"] is True


def test_a_lost_slot_is_made_anew_only_by_order() -> None:
    with new_primary("max_slot_wal_keep_size = '16MB'", "wal_keep_size = 0") as primary:
        assert comes_true(primary)["slot"]["safe_wal_size"] > 0
        primary.outrun(NAME)
        assert "set recreate_lost=true" in refused(primary)
        anew = comes_true(primary, recreate_lost=True)
        assert anew["diff"]["before"]["wal_status"] == "lost"
        assert anew["slot"]["wal_status"] == "reserved"
        primary.outrun(NAME)
        comes_true(primary, state="absent")


def test_a_logical_slot_is_left_alone() -> None:
    with new_primary("wal_level = logical") as primary:
        primary.sql("SELECT pg_create_logical_replication_slot(:'slot', 'pgoutput')", slot=NAME)
        for state in ("present", "absent"):
            assert f"slot {NAME} of PostgreSQL {primary.version}/main is logical" in refused(
                primary, state=state
            )
        assert primary.sql(STATUS, slot=NAME) == "reserved"


def test_without_room_for_a_slot_nothing_is_done(primary: Cluster) -> None:
    fill = (
        "SELECT count(pg_create_physical_replication_slot('filler_' || n)) FROM generate_series(1, "
        "current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots)) n"
    )
    assert int(primary.sql(fill)) > 0
    try:
        assert "all 8 of max_replication_slots are in use" in refused(primary)
    finally:
        primary.sql(DROP.replace("= :'slot'", "LIKE 'filler%'"))


def test_without_wal_for_replicas_there_are_no_slots() -> None:
    with new_primary("wal_level = minimal", "max_wal_senders = 0") as primary:
        assert "wal_level is minimal: set it to replica" in refused(primary)
        assert ok(primary, state="absent")["changed"] is False


def test_a_server_that_does_not_run_is_told(standby: Standby) -> None:
    assert f"PostgreSQL {standby.version}/main does not run" in refused(standby)


def test_a_name_that_is_none_is_told(primary: Cluster) -> None:
    assert "name=Db-9' OR 1 is no slot name" in refused(primary, name="Db-9' OR 1")
