# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Data that cannot follow the primary: refused as they are, put right as the options allow."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import end

from .conftest import DROP, HELD, SLOW, USER, WAL_STATUS, Cluster, Standby, follower, new_primary, new_standby

COUNT = "SELECT count(*) FROM t WHERE n = :n"


@contextlib.contextmanager
def promoted(*settings: str) -> Iterator[tuple[Cluster, Standby]]:
    """A primary, and its standby that has taken over from it while both run."""
    with new_primary(*settings) as old, new_standby(old, *settings) as heir:
        heir.ok()
        old.sql("INSERT INTO t VALUES (-1)")
        heir.wait_for(COUNT, "1", n=-1)
        yield old, heir
        # The heir's fixture looks after the slot on the one that it followed first.
        heir.stop(signal.SIGQUIT)


def promote(heir: Cluster) -> None:
    heir.sql("SELECT pg_promote()")
    heir.sql("INSERT INTO t VALUES (-2)")


def comes_right(standby: Standby, action: str, rogue: int | None = None, **options: Any) -> None:
    """The check run foretells what is done, it streams afterwards, and there is nothing left to do."""
    foretold = standby.ok(check=True, **options)
    done = standby.ok(**options)
    assert (done["action"], done["actions"]) == (action, foretold["actions"]), done
    assert done["reason"] == foretold["reason"]
    assert standby.streams()
    standby.wait_for(COUNT, "1", n=-1)
    if rogue is not None:
        assert standby.sql(COUNT, n=rogue) == "0"
    again = standby.ok(**options)
    assert (again["action"], again["actions"]) == ("none", [])


@pytest.mark.parametrize("drop", [False, True])
def test_a_former_primary_that_was_stopped_in_good_order_just_follows(drop: bool) -> None:
    with promoted("wal_level = logical") as (old, heir):
        old.sql("SELECT pg_create_logical_replication_slot('decoded', 'pgoutput')")
        old.stop()
        for number in range(0xF0, 0x100):  # made in advance, and still empty
            (old.data / f"pg_wal/0000000100000000000000{number:X}").write_bytes(bytes(1 << 24))
        heir.wait_for("SELECT count(*) FROM pg_stat_wal_receiver", "0")
        promote(heir)
        former = follower(old, heir)
        comes_right(former, "configure", drop_idle_slots=drop)
        slots = "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots WHERE slot_type = 'physical'"
        assert former.sql(slots) == ("" if drop else heir.slot)
        if not drop:
            comes_right(former, "configure", drop_idle_slots=True)
            assert former.sql(slots) == ""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["stopped", "killed"])
def test_a_former_primary_that_wrote_on_is_rewound(how: signal.Signals) -> None:
    with promoted() as (old, heir):
        promote(heir)
        old.sql("INSERT INTO t VALUES (-3)")
        former = follower(old, heir)
        assert "took over from it at timeline 2 (split brain): fence it" in former.refused()
        assert old.pid() is not None
        old.stop(how)
        assert "set on_diverged=rewind or reclone" in former.refused()
        assert old.pid() is None
        comes_right(former, "rewind", rogue=-3, on_diverged="rewind")
        former.wait_for(COUNT, "1", n=-2)


def test_a_former_primary_is_rewound_as_soon_as_its_number_is_free() -> None:
    """A killed server keeps its number until who started it takes notice, and counts as running."""
    with promoted() as (old, heir):
        promote(heir)
        old.stop()
        server = old.start_as_child()
        reaper = threading.Timer(6, server.wait)
        try:
            old.sql("INSERT INTO t VALUES (-3)")
            old.stop(signal.SIGKILL)
            reaper.start()
            comes_right(follower(old, heir), "rewind", rogue=-3, on_diverged="rewind")
        finally:
            reaper.cancel()
            server.wait()


def test_a_split_brain_is_ended_by_order() -> None:
    with promoted() as (old, heir):
        promote(heir)
        old.sql("INSERT INTO t VALUES (-3)")
        former = follower(old, heir)
        assert "set on_diverged=rewind or reclone" in former.refused(on_split_brain="stop")
        assert old.pid() is not None
        comes_right(former, "rewind", rogue=-3, on_split_brain="stop", on_diverged="rewind")


def test_a_successor_is_never_stopped_for_the_one_that_it_followed() -> None:
    with promoted() as (_old, heir):
        promote(heir)
        options = {"on_split_brain": "stop", "on_diverged": "reclone"}
        assert "no timeline tells which one took over" in heir.refused(**options)
        assert heir.pid() is not None


def test_a_rewind_says_beforehand_what_it_lacks() -> None:
    with promoted() as (old, heir):
        promote(heir)
        old.stop()
        former = follower(old, heir)
        heir.sql("REVOKE EXECUTE ON FUNCTION pg_read_binary_file(text) FROM :user", user=USER)
        sentence = former.refused(on_diverged="rewind")
        assert "GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO replicator" in sentence
        heir.sql("GRANT EXECUTE ON FUNCTION pg_read_binary_file(text) TO :user", user=USER)
        heir.sql("ALTER SYSTEM SET full_page_writes = off")
        heir.sql("SELECT pg_reload_conf()")
        heir.wait_for("SHOW full_page_writes", "off")
        assert "full_page_writes is off on" in former.refused(on_diverged="rewind")


def test_a_rewind_that_lacks_wal_changes_nothing() -> None:
    with promoted("wal_keep_size = 0") as (old, heir):
        promote(heir)
        old.sql("CHECKPOINT")
        old.sql("SELECT pg_switch_wal()")
        old.sql("CHECKPOINT")
        old.stop()
        former = follower(old, heir)
        sentence = former.refused(on_diverged="rewind")
        assert "pg_rewind cannot rewind" in sentence
        assert "nothing was changed; set on_diverged=reclone" in sentence
        comes_right(former, "reclone", on_diverged="reclone")


def test_without_a_trace_of_hints_only_a_clone_helps() -> None:
    with promoted("wal_log_hints = off") as (old, heir):
        promote(heir)
        old.sql("INSERT INTO t VALUES (-3)")
        old.stop()
        former = follower(old, heir)
        assert "neither checksums nor wal_log_hints" in former.refused(on_diverged="rewind")
        comes_right(former, "reclone", rogue=-3, on_diverged="reclone")


def test_a_rewind_that_broke_off_is_never_started_and_takes_a_clone() -> None:
    with promoted() as (old, heir):
        promote(heir)
        old.stop()
        former = follower(old, heir)
        note = {
            "phase": "rewinding",
            "system_identifier": "1",
            "slot": former.slot,
            "boot": "",
            "processes": [],
        }
        former.data.with_name("main.clone.json").write_text(json.dumps(note))
        for options in ({}, {"on_diverged": "rewind"}):
            assert "an earlier pg_rewind broke off" in former.refused(**options)
        comes_right(former, "reclone", on_diverged="reclone")


def test_a_divergence_within_one_timeline_is_never_rewound(primary: Cluster, streaming: Standby) -> None:
    """pg_rewind says of it that nothing is to be done; the node would start and serve rows of its own."""
    streaming.sql("SELECT 1")
    primary.sql("DELETE FROM t WHERE n = -1")
    primary.sql("INSERT INTO t VALUES (-1)")
    streaming.wait_for(COUNT, "1", n=-1)
    streaming.stop()
    (streaming.data / "standby.signal").unlink()
    streaming.start()
    streaming.sql("INSERT INTO t VALUES (-3)")
    streaming.stop()
    for options in ({}, {"on_diverged": "rewind"}):
        sentence = streaming.refused(**options)
        assert "was a primary itself" in sentence
        assert "set on_diverged=reclone" in sentence
    comes_right(streaming, "reclone", rogue=-3, on_diverged="reclone")


@pytest.mark.parametrize("keep", [True, False])
def test_foreign_data_are_set_aside(primary: Cluster, standby: Standby, keep: bool) -> None:
    standby.create()
    primary.sql("DELETE FROM t WHERE n = -1")
    primary.sql("INSERT INTO t VALUES (-1)")
    done = standby.ok(on_foreign="reclone", keep_replaced=keep)
    assert done["action"] == "reclone"
    aside = list(standby.data.parent.glob("main.old-*"))
    assert [done["replaced"]] == ([str(path) for path in aside] if keep else [None])
    assert standby.streams()
    assert standby.ok(on_foreign="reclone", keep_replaced=keep)["changed"] is False


def test_a_foreign_primary_that_runs_is_never_stopped(standby: Standby) -> None:
    standby.create()
    standby.start()
    options = {"on_foreign": "reclone", "on_split_brain": "stop", "on_diverged": "reclone"}
    assert "and of another database system" in standby.refused(**options)
    assert standby.pid() is not None


def test_a_lost_slot_takes_a_clone() -> None:
    with (
        new_primary("max_slot_wal_keep_size = '16MB'", "wal_keep_size = 0") as primary,
        new_standby(primary) as standby,
    ):
        standby.ok()
        primary.sql("INSERT INTO t VALUES (-1)")
        standby.wait_for(COUNT, "1", n=-1)
        standby.stop()
        primary.outrun(standby.slot)
        sentence = standby.refused()
        assert "has lost the WAL that" in sentence
        assert "set on_lost_slot=reclone" in sentence
        comes_right(standby, "reclone", on_lost_slot="reclone")
        assert primary.sql(WAL_STATUS, slot=standby.slot) in ("reserved", "extended")


def test_wal_that_is_gone_is_noticed_without_a_slot_that_says_so() -> None:
    with new_primary("wal_keep_size = 0") as primary, new_standby(primary) as standby:
        standby.ok()
        primary.sql("INSERT INTO t VALUES (-1)")
        standby.wait_for(COUNT, "1", n=-1)
        standby.stop()
        primary.wait_for(HELD, "", slot=standby.slot)
        primary.sql(DROP, slot=standby.slot)
        for _segment in range(6):
            primary.sql("CREATE TABLE f AS SELECT g FROM generate_series(1, 1000) g; DROP TABLE f")
            primary.sql("SELECT pg_switch_wal()")
            primary.sql("CHECKPOINT")
        assert "the oldest WAL on" in standby.refused()
        comes_right(standby, "reclone", on_lost_slot="reclone")


def test_a_role_that_may_only_replicate_is_enough_to_clone() -> None:
    with new_primary() as primary, new_standby(primary) as standby:
        primary.sql("REVOKE pg_monitor, pg_checkpoint FROM :user", user=USER)
        primary.sql("REVOKE EXECUTE ON FUNCTION pg_ls_dir(text, boolean, boolean) FROM :user", user=USER)
        assert standby.ok()["action"] == "clone"
        assert standby.ok()["changed"] is False


def test_a_clone_in_place_goes_through_a_link(primary: Cluster, standby: Standby) -> None:
    elsewhere = standby.base / "elsewhere"
    standby.create()
    standby.data.rename(elsewhere)
    standby.data.symlink_to(elsewhere)
    assert "is a symbolic link and cannot be renamed" in standby.refused(on_foreign="reclone")
    primary.sql("DELETE FROM t WHERE n = -1")
    primary.sql("INSERT INTO t VALUES (-1)")
    comes_right(standby, "reclone", on_foreign="reclone", strategy="in_place")
    assert standby.data.is_symlink()
    assert {path.name for path in standby.data.parent.iterdir()} == {"main", "main.passfile", "main.log"}


@pytest.mark.parametrize("strategy", ["staging", "in_place"])
@pytest.mark.parametrize("after", [0.5, 0.8, 1.1, 1.4, 1.8])
def test_a_clone_over_data_that_is_killed_at_any_moment_is_completed(
    standby: Standby, after: float, strategy: str
) -> None:
    standby.create()
    options: dict[str, Any] = {"on_foreign": "reclone", "strategy": strategy}
    process = standby.begin(**options)
    try:
        process.communicate(timeout=after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
    standby.ok(**options)
    assert standby.streams()
    assert standby.backups() == []
    left = {path.name for path in standby.data.parent.iterdir() if ".old-" not in path.name}
    assert left == {"main", "main.passfile", "main.log"}


def test_data_that_were_half_removed_for_a_clone_in_place_are_ours(standby: Standby) -> None:
    standby.create()
    process = standby.begin(on_foreign="reclone", strategy="in_place", max_rate=SLOW)
    deadline = time.monotonic() + 30
    while not standby.backups():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    while working := standby.backups():  # one may have made a child meanwhile
        end(working)
    for path in standby.data.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (standby.data / "base").mkdir()
    assert standby.ok(strategy="in_place")["action"] in ("clone", "reclone")
    assert standby.streams()


def test_a_clone_over_data_that_was_killed_goes_on_without_the_option(standby: Standby) -> None:
    """That the data are given up was said once; by now they may be of no use."""
    standby.create()
    process = standby.begin(on_foreign="reclone", max_rate=SLOW)
    deadline = time.monotonic() + 30
    while not standby.backups():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.communicate()
    assert standby.ok()["action"] == "reclone"
    assert standby.streams()


def test_how_far_a_clone_has_come_can_be_read(standby: Standby) -> None:
    process = standby.begin(max_rate="2M")
    note = standby.data.with_name("main.clone.json")
    deadline, seen = time.monotonic() + 30, 0
    try:
        while seen <= 0:
            assert time.monotonic() < deadline
            with contextlib.suppress(FileNotFoundError, json.JSONDecodeError):
                seen = json.loads(note.read_text())["progress"]["done"]
            time.sleep(0.1)
        assert json.loads(note.read_text())["progress"]["total"] > 1_000_000
    finally:
        process.terminate()
        process.communicate(timeout=20)


def test_too_few_walsenders_and_too_little_disk_are_said_beforehand(primary: Cluster) -> None:
    with new_primary("max_wal_senders = 1") as narrow, new_standby(narrow) as standby:
        assert "has 1 WAL senders free and a clone needs 2: raise max_wal_senders there" in standby.refused()
    with new_standby(primary) as standby:
        assert "which leaves less than min_free_pct=100" in standby.refused(min_free_pct=100)
        assert not standby.data.exists()
