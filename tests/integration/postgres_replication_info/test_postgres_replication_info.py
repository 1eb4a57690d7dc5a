# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module beside real servers, well and ill."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import local
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.info import report
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.info_io import look
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Place
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import end
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import lsn_from_text

from ..postgres_replica.conftest import DROP, HELD, SLOW, Cluster, Standby, new_primary, new_standby

# Much WAL with commits of its own.
WRITE = "INSERT INTO t SELECT g FROM generate_series(1, 50000) g"
CAUGHT_UP = "SELECT pg_last_wal_replay_lsn() >= :'lsn'::pg_lsn"


def told(cluster: Cluster, **options: Any) -> Mapping[str, Any]:
    answer = cluster.run_module("postgres_replication_info", **options)
    assert not answer.get("failed"), answer
    assert answer["changed"] is False
    return answer


@pytest.fixture
def pair() -> Iterator[Standby]:
    """A standby that streams from a primary that nobody else needs."""
    with new_primary("max_slot_wal_keep_size = '1GB'") as primary, new_standby(primary) as standby:
        standby.ok()
        yield standby


def in_step(standby: Standby) -> None:
    standby.wait_for(CAUGHT_UP, "t", lsn=standby.primary.sql("SELECT pg_current_wal_lsn()"))


def at_rest(standby: Standby) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Return what is told of both while nothing is written: a server writes WAL on its own now and then."""
    primary, deadline = standby.primary, time.monotonic() + 60
    while time.monotonic() < deadline:
        in_step(standby)
        primary.wait_for("SELECT bool_and(replay_lsn = pg_current_wal_lsn()) FROM pg_stat_replication", "t")
        position = primary.sql("SELECT pg_current_wal_lsn()")
        here, there = told(primary), told(standby)
        if primary.sql("SELECT pg_current_wal_lsn()") == position:
            return here, there
    pytest.fail("the primary does not come to rest")


def test_a_pair_that_is_well(pair: Standby) -> None:
    primary = pair.primary
    here, there = at_rest(pair)
    assert (here["role"], here["running"], here["control_state"]) == ("primary", True, "in production")
    assert (there["role"], there["running"], there["replay_paused"]) == ("standby", True, False)
    assert here["problems"] == there["problems"] == []
    assert here["system_identifier"] == there["system_identifier"] == primary.system_identifier()
    assert here["timeline"] == there["timeline"] == 1
    assert here["lsn"] == there["lsn"] == there["replayed_lsn"]
    assert here["upstream"] is here["lag"] is here["replayed_lsn"] is here["clone"] is there["clone"] is None

    age = there["upstream"].pop("last_message_age_s")
    assert 0 <= age < 60
    assert there["upstream"] == {
        "host": "127.0.0.1",
        "port": primary.port,
        "slot": pair.slot,
        "status": "streaming",
    }
    assert there["lag"] == {"bytes": 0, "seconds": 0}

    (replica,) = here["replicas"]
    replica.pop("replay_lag_seconds")
    assert replica == {
        "application_name": pair.slot,
        "address": "127.0.0.1",
        "state": "streaming",
        "sync_state": "async",
        "sent_lag_bytes": 0,
        "write_lag_bytes": 0,
        "flush_lag_bytes": 0,
        "replay_lag_bytes": 0,
    }
    (slot,) = here["slots"]
    assert slot.pop("safe_wal_size") > 0
    assert slot == {
        "name": pair.slot,
        "type": "physical",
        "active": True,
        "wal_status": "reserved",
        "retained_bytes": 0,
    }
    assert (there["replicas"], there["slots"]) == ([], [])
    assert told(pair, check=True)["upstream"]["status"] == "streaming"


def test_replay_that_is_paused_falls_behind(pair: Standby) -> None:
    pair.primary.sql("INSERT INTO t VALUES (-1)")
    in_step(pair)
    pair.sql("SELECT pg_wal_replay_pause()")
    pair.wait_for("SELECT pg_get_wal_replay_pause_state()", "paused")
    assert told(pair)["lag"] == {"bytes": 0, "seconds": 0}
    pair.primary.sql(WRITE)
    time.sleep(1)
    written = pair.primary.sql("SELECT pg_current_wal_lsn()")
    pair.wait_for("SELECT pg_last_wal_receive_lsn() >= :'lsn'::pg_lsn", "t", lsn=written)

    found = told(pair)
    assert (found["role"], found["replay_paused"]) == ("standby", True)
    assert found["problems"] == ["replay is paused: pg_wal_replay_resume() lets it go on"]
    behind = lsn_from_text(found["lsn"]) - lsn_from_text(found["replayed_lsn"])
    assert found["lag"]["bytes"] == behind > 1_000_000
    assert 1 <= found["lag"]["seconds"] < 60
    pair.primary.wait_for(
        "SELECT bool_and(flush_lsn >= :'lsn'::pg_lsn) FROM pg_stat_replication", "t", lsn=written
    )
    (replica,) = told(pair.primary)["replicas"]
    assert replica["replay_lag_bytes"] >= behind
    assert replica["flush_lag_bytes"] < 1000

    pair.sql("SELECT pg_wal_replay_resume()")
    in_step(pair)
    assert told(pair)["lag"] == {"bytes": 0, "seconds": 0}


def test_a_setting_below_the_primarys_is_named(pair: Standby) -> None:
    primary = pair.primary
    primary.stop()
    primary.configure("max_connections = 140")
    primary.start()
    pair.wait_for("SELECT pg_get_wal_replay_pause_state()", "paused")
    found = told(pair)
    assert found["replay_paused"] is True
    (problem,) = (sentence for sentence in found["problems"] if "max_connections" in sentence)
    assert problem.startswith("max_connections is 100 here and 140 on the primary: raise it here")
    assert "replay is paused: pg_wal_replay_resume() lets it go on" not in found["problems"]


def test_a_standby_that_is_stopped(pair: Standby) -> None:
    primary = pair.primary
    in_step(pair)
    pair.stop()
    primary.wait_for(HELD, "", slot=pair.slot)
    primary.sql(WRITE)
    stopped = told(pair)
    assert (stopped["role"], stopped["running"]) == ("stopped_standby", False)
    assert stopped["control_state"] == "shut down in recovery"
    assert stopped["problems"] == [f"PostgreSQL {pair.version}/main is stopped"]
    assert stopped["system_identifier"] == primary.system_identifier()

    here = told(primary)
    assert here["replicas"] == []
    (slot,) = here["slots"]
    assert slot["active"] is False
    assert slot["retained_bytes"] > 1_000_000
    (problem,) = here["problems"]
    assert re.fullmatch(rf"slot {pair.slot} on this primary is inactive and holds back [\d.]+ MiB", problem)

    (pair.data / "standby.signal").unlink()
    found = told(pair)
    assert found["role"] == "stopped_standby"
    assert "standby.signal is missing" in found["problems"][1]


def test_a_primary_that_is_stopped_or_was_killed(pair: Standby) -> None:
    primary = pair.primary
    primary.stop(signal.SIGQUIT)
    killed = told(primary)
    assert (killed["role"], killed["control_state"]) == ("stopped_primary", "in production")
    assert "was not shut down in good order" in killed["problems"][0]
    pair.wait_for("SELECT count(*) FROM pg_stat_wal_receiver", "0")
    alone = told(pair)
    assert (alone["role"], alone["upstream"]) == ("standby", None)
    assert alone["problems"] == ["it receives nothing from its primary: the server's log says why"]

    primary.start()
    primary.stop()
    stopped = told(primary)
    assert (stopped["role"], stopped["control_state"]) == ("stopped_primary", "shut down")
    assert stopped["problems"] == [f"PostgreSQL {primary.version}/main is stopped"]
    assert (stopped["slots"], stopped["synchronous_standby_names"]) == ([], None)

    (primary.data / "standby.signal").touch()
    assert told(primary)["role"] == "stopped_standby"


def test_a_standby_that_was_promoted(pair: Standby) -> None:
    pair.sql("SELECT pg_promote()")
    found = told(pair)
    assert (found["role"], found["timeline"], found["upstream"]) == ("primary", 2, None)
    assert found["problems"] == []
    assert told(pair.primary)["timeline"] == 1
    pair.stop(signal.SIGQUIT)
    assert told(pair)["role"] == "stopped_primary"


def test_a_slot_that_is_lost_and_one_that_waits_on_a_standby(pair: Standby) -> None:
    primary = pair.primary
    pair.run_module("postgres_physical_slot", name="later")
    (waiting,) = told(pair)["slots"]
    assert (waiting["name"], waiting["wal_status"]) == ("later", "reserved")
    assert told(pair)["problems"] == []
    pair.run_module("postgres_physical_slot", name="later", state="absent")

    primary.run_module("postgres_physical_slot", name="gone")
    primary.sql("ALTER SYSTEM SET max_slot_wal_keep_size = '16MB'")
    primary.sql("ALTER SYSTEM SET wal_keep_size = 0")
    primary.sql("SELECT pg_reload_conf()")
    primary.outrun("gone")
    found = told(primary)
    (gone,) = (slot for slot in found["slots"] if slot["name"] == "gone")
    assert (gone["wal_status"], gone["retained_bytes"]) == ("lost", None)
    (problem,) = (sentence for sentence in found["problems"] if "slot gone" in sentence)
    assert problem.startswith("slot gone on this primary has lost its WAL")
    primary.sql(DROP, slot="gone")


def test_commits_that_wait_for_a_standby_that_is_not_there(pair: Standby) -> None:
    primary = pair.primary
    wait = "commits wait: synchronous_standby_names is {}, which needs 2, and 1 of them stream"
    for names, problem in ((pair.slot, ""), (f"FIRST 2 ({pair.slot}, nobody)", wait)):
        primary.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        primary.sql("SELECT pg_reload_conf()")
        primary.wait_for("SHOW synchronous_standby_names", names)
        primary.wait_for("SELECT sync_state FROM pg_stat_replication", "sync")
        found = told(primary)
        assert found["synchronous_standby_names"] == names
        assert found["problems"] == ([problem.format(names)] if problem else [])


def test_a_server_that_takes_no_questions(pair: Standby) -> None:
    pair.stop()
    pair.configure("hot_standby = off")
    pair.start()
    found = told(pair)
    assert (found["role"], found["running"], found["lag"]) == ("starting", True, None)
    (problem,) = found["problems"]
    assert problem.startswith(f"PostgreSQL {pair.version}/main runs and takes no questions: it is starting")


def test_a_server_that_hangs(pair: Standby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "SECONDS_TO_ANSWER", 2)
    pid = pair.pid()
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        found = report(look(Place(pair.version, "main", str(pair.data), str(pair.conf))))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert (found["role"], found["running"]) == ("starting", True)
    assert "or hangs" in found["problems"][0]
    assert told(pair)["role"] == "standby"


def test_nothing_there(standby: Standby) -> None:
    absent = told(standby)
    assert (absent["role"], absent["running"], absent["lsn"]) == ("absent", False, None)
    assert absent["problems"] == [f"there is no {standby.data}"]
    assert told(standby, version=99)["problems"] == [
        "PostgreSQL 99 is not installed: /usr/lib/postgresql/99/bin is missing"
    ]
    standby.data.mkdir()
    assert told(standby)["role"] == "absent"
    (standby.data / "something").touch()
    assert told(standby)["role"] == "broken"


def test_data_of_another_version_are_refused(standby: Standby) -> None:
    standby.create()
    (standby.data / "PG_VERSION").write_text("14\n")
    answer = standby.run_module("postgres_replication_info")
    assert "holds PostgreSQL 14 data, and version asks for" in answer["msg"]


def test_a_clone_under_way_and_one_that_broke_off(standby: Standby) -> None:
    run = standby.begin(max_rate=SLOW)
    deadline = time.monotonic() + 30
    while not (found := told(standby))["clone"] or not found["clone"]["bytes"]:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)
    assert (found["role"], found["running"]) == ("broken", False)
    assert found["clone"]["phase"] == "copying"
    assert 0 < found["clone"]["bytes"] < found["clone"]["total"]
    assert found["problems"] == [f"a clone of {standby.data} is under way"]

    run.kill()
    run.communicate()
    end(standby.backups())
    found = told(standby)
    assert found["role"] == "broken"
    assert found["problems"] == [f"a clone of {standby.data} broke off: run postgres_replica again"]
    standby.ok()
    found = told(standby)
    assert (found["role"], found["clone"], found["problems"]) == ("standby", None, [])
