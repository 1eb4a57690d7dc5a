# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against real servers and poolers, with clients that write all the time."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psycopg

from ..postgres_replica.conftest import USER, Cluster, Standby, follower
from .conftest import Pair, Writers, open_pair

COUNT = "SELECT count(*) FROM written"
STALL = 3.0  # s; what the platform promises


def rows(cluster: Cluster) -> set[int]:
    return set(map(int, cluster.sql("SELECT n FROM written").split()))


def assert_nothing_lost(writers: Writers, cluster: Cluster) -> None:
    assert writers.errors == []
    assert len(writers.acknowledged) > 100
    assert set(writers.acknowledged) <= rows(cluster)
    assert writers.longest < STALL, f"a client waited for {writers.longest:.2f} s"


def test_clients_see_a_pause_and_no_error_there_and_back(pair: Pair) -> None:
    with Writers(pair.bouncers) as writers:
        time.sleep(1)
        foretold = pair.ok(check=True)
        pair.lead_to(pair.standby)
        done = pair.ok()
        assert done["actions"] == foretold["actions"]
        assert (done["changed"], done["after"]["here"], done["after"]["target"]) == (
            True,
            "stopped",
            "primary",
        )
        assert 0 < done["held_seconds"] < STALL
        again = pair.ok()
        assert (again["changed"], again["actions"]) == (False, [])

        # The old one follows without a rewind, and gets its place back.
        former = follower(pair.primary, pair.standby)
        assert former.ok()["action"] == "configure"
        back = Pair(pair.standby, former, pair.bouncers)
        back.lead_to(former)
        assert back.ok()["after"]["target"] == "primary"
        time.sleep(1)
    assert_nothing_lost(writers, former)
    heir = Standby(pair.standby.base, pair.standby.version, pair.standby.port, primary=former)
    assert heir.ok()["action"] == "configure"


def test_commits_that_wait_for_a_standby_wait_only_until_the_old_primary_follows() -> None:
    names = 'synchronous_standby_names = \'ANY 1 ("old", "new")\''
    with open_pair(name="new") as pair:
        for cluster in (pair.primary, pair.standby):
            (cluster.conf / "conf.d/30-synchronous.conf").write_text(names + "\n")
            cluster.sql("SELECT pg_reload_conf()")
        pair.primary.wait_for("SELECT sync_state FROM pg_stat_replication", "quorum")
        with Writers(pair.bouncers) as writers:
            time.sleep(1)
            foretold = pair.ok(check=True, slot="old")
            pair.lead_to(pair.standby)
            done = pair.ok(slot="old")
            assert done["actions"] == foretold["actions"]
            assert done["actions"][-1].endswith(f"follow 127.0.0.1:{pair.standby.port} through the slot old.")
            assert done["after"]["here"] == "standby"
            time.sleep(1)
        assert_nothing_lost(writers, pair.standby)
        pair.standby.wait_for("SELECT application_name || sync_state FROM pg_stat_replication", "oldquorum")
        assert pair.ok(slot="old")["changed"] is False
        # postgres_replica has nothing to add.
        former = follower(pair.primary, pair.standby)
        assert former.ok(slot="old", sslmode="prefer")["changed"] is False


def test_a_run_that_is_killed_goes_on_to_the_end(pair: Pair) -> None:
    with Writers(pair.bouncers) as writers:
        time.sleep(0.5)
        pair.lead_to(pair.standby)
        process = pair.begin()
        deadline = time.monotonic() + 30
        while pair.paused() == {"0"}:
            assert time.monotonic() < deadline
        process.kill()
        process.communicate()
        pair.standby.wait_for("SELECT pg_is_in_recovery()", "f")
        time.sleep(1)
    assert_nothing_lost(writers, pair.standby)
    assert pair.paused() == {"0"}
    assert pair.ok()["changed"] is False


def test_a_standby_that_does_not_take_over_gives_the_writes_back(pair: Pair) -> None:
    """It is frozen once the primary has stopped: nobody can take over, so the old one starts again."""
    with Writers(pair.bouncers) as writers:
        time.sleep(0.5)
        process = pair.begin(timeout=2)
        deadline = time.monotonic() + 30
        while pair.paused() == {"0"}:
            assert time.monotonic() < deadline
        out = told_while_frozen(process, pair.standby)
        time.sleep(1)
    # Stopping waits for the standby as well.
    assert "does not answer within timeout=2 s" in out or "did not stop" in out
    assert "was started again and takes writes" in out
    assert writers.errors == []
    assert set(writers.acknowledged) <= rows(pair.primary)
    assert pair.paused() == {"0"}


def test_a_standby_that_does_not_take_over_gives_the_writes_back_without_poolers_too(pair: Pair) -> None:
    server = pair.primary.pid()
    process = pair.begin(poolers=[], timeout=2)
    deadline = time.monotonic() + 30
    lock = pair.primary.data / "postmaster.pid"
    while "stopping" not in lock.read_text():
        assert time.monotonic() < deadline
    out = told_while_frozen(process, pair.standby)
    assert "was started again and takes writes" in out
    assert pair.primary.pid() not in (None, server)
    pair.primary.sql("INSERT INTO written VALUES (-1)")
    # Nothing is left of it that would make the next start one of a standby.
    assert not (pair.primary.data / "standby.signal").exists()
    done = pair.ok(poolers=[])
    assert (done["after"]["here"], done["after"]["target"]) == ("stopped", "primary")
    assert pair.standby.sql("SELECT n FROM written WHERE n = -1") == "-1"


def told_while_frozen(process: subprocess.Popen[str], standby: Standby) -> str:
    """Freeze the standby until the module gives up, and return what it says."""
    server = standby.pid()
    assert server is not None
    frozen = [server, *map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split())]
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    try:
        return process.communicate(timeout=60)[0]
    finally:
        for pid in frozen:
            os.kill(pid, signal.SIGCONT)


def test_a_pooler_that_is_not_told_is_named_and_lets_its_clients_go_on(pair: Pair) -> None:
    pair.bouncers[0].lead_to(pair.standby.port)
    sentence = pair.refused()
    assert "has taken over, but the pooler 127.0.0.1:" in sentence
    assert f"{pair.bouncers[1].port} (app_rw is at 127.0.0.1:{pair.primary.port})" in sentence
    assert pair.paused() == {"0"}
    pair.lead_to(pair.standby)
    done = pair.ok()
    assert len(done["actions"]) == 1
    assert done["actions"][0].startswith("Let app_rw on")


def test_a_transaction_that_does_not_end_makes_the_pause_give_up(pair: Pair) -> None:
    where = f"host=127.0.0.1 port={pair.bouncers[1].port} dbname=app_rw user={USER}"
    with psycopg.connect(where) as busy:
        busy.execute("INSERT INTO written VALUES (1)")
        sentence = pair.refused(pause_timeout=1)
        assert "did not hold its clients back within pause_timeout=1 s" in sentence
        assert "Clients are not held back any more." in sentence
        assert pair.paused() == {"0"}
        busy.execute("INSERT INTO written VALUES (2)")
        busy.commit()
        time.sleep(2.2)
        busy.execute("INSERT INTO written VALUES (3)")
        time.sleep(2.2)
        assert "has been running for longer than max_transaction_age=2 s" in pair.refused(
            max_transaction_age=2
        )
        busy.rollback()
    assert pair.primary.sql(COUNT) == "2"


def test_what_is_in_the_way_is_said_before_anything_is_done(pair: Pair) -> None:
    standby, server = pair.standby, pair.primary.pid()
    pair.primary.sql("REVOKE EXECUTE ON FUNCTION pg_promote(boolean, integer) FROM :user", user=USER)
    standby.wait_for(
        f"SELECT has_function_privilege('{USER}', 'pg_promote(boolean, integer)', 'EXECUTE')", "f"
    )
    assert "may not promote" in pair.refused()
    pair.primary.sql("GRANT EXECUTE ON FUNCTION pg_promote(boolean, integer) TO :user", user=USER)
    standby.wait_for(
        f"SELECT has_function_privilege('{USER}', 'pg_promote(boolean, integer)', 'EXECUTE')", "t"
    )
    standby.sql("SELECT pg_wal_replay_pause()")
    assert "replay on 127.0.0.1" in pair.refused()
    standby.sql("SELECT pg_wal_replay_resume()")
    pair.bouncers[1].stop()
    assert f"the pooler 127.0.0.1:{pair.bouncers[1].port} cannot be asked" in pair.refused()
    assert "cannot be asked" in pair.refused(target_port=1)
    assert "cannot be asked" in pair.refused(replication_password="wrong")  # noqa: S106  # on purpose
    standby.stop()
    assert "cannot be asked" in pair.refused()
    assert pair.primary.pid() == server
    assert pair.primary.sql("SELECT pg_is_in_recovery()") == "f"


def test_a_session_pool_is_refused(pair: Pair) -> None:
    pair.bouncers[0].mode = "session"
    pair.bouncers[0].lead_to(pair.primary.port)
    pair.bouncers[0].admin("RELOAD")
    assert "is in session mode" in pair.refused()
