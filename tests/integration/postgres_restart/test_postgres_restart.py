# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against real servers and poolers, with clients that write all the time."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ..postgres_replica.conftest import PASSWORD, USER, Cluster
from ..postgres_switchover.conftest import Pair, Writers

STALL = 3.0  # s; what the platform promises
SHOW = "SELECT setting FROM pg_settings WHERE name = 'max_connections'"
REPLAY = "SELECT pg_get_wal_replay_pause_state()"


def options(pair: Pair, **more: Any) -> dict[str, Any]:
    poolers = [{"host": "127.0.0.1", "port": bouncer.port} for bouncer in pair.bouncers]
    return {"poolers": poolers, "pooler_user": "switcher", "catch_up_timeout": 20} | more


def restart(pair: Pair, cluster: Cluster, *, check: bool = False, **more: Any) -> Mapping[str, Any]:
    answer = cluster.run_module("postgres_restart", check=check, **options(pair, **more))
    assert not answer.get("failed"), answer
    return answer


def refused(pair: Pair, cluster: Cluster, **more: Any) -> str:
    answer = cluster.run_module("postgres_restart", **options(pair, **more))
    assert answer.get("failed"), answer
    assert "Traceback" not in str(answer), answer
    return str(answer["msg"])


def configure(cluster: Cluster, *lines: str, readable: bool = True) -> None:
    """Write settings as the role does, and have the server read them if it can."""
    path = cluster.conf / "conf.d/20-test.conf"
    path.write_text("\n".join(lines) + "\n")
    shutil.chown(path, "postgres", "postgres")
    loaded = cluster.sql("SELECT pg_conf_load_time()")
    cluster.sql("SELECT pg_reload_conf()")
    if not readable:
        return
    deadline = time.monotonic() + 10
    while cluster.sql("SELECT pg_conf_load_time()") == loaded:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.2)


def rows(cluster: Cluster) -> set[int]:
    return set(map(int, cluster.sql("SELECT n FROM written").split()))


def test_a_setting_is_raised_and_lowered_while_clients_see_a_pause_and_no_error(pair: Pair) -> None:
    with Writers(pair.bouncers) as writers:
        time.sleep(0.5)
        for value, order in (
            (80, (pair.standby, pair.primary)),
            (70, (pair.primary, pair.standby)),
        ):
            for cluster in order:
                assert restart(pair, cluster)["actions"] == []
                configure(cluster, f"max_connections = {value}")
                foretold = restart(pair, cluster, check=True)
                done = restart(pair, cluster)
                assert done["actions"] == foretold["actions"] != []
                assert done["before"]["pending_restart"] == ["max_connections"]
                assert done["after"] == foretold["after"]
                assert restart(pair, cluster)["changed"] is False
                assert cluster.sql(SHOW) == str(value)
                if cluster is pair.primary:
                    assert 0 < done["held_seconds"] < STALL
                pair.standby.wait_for(REPLAY, "not paused")
        time.sleep(0.5)
    assert writers.errors == []
    assert len(writers.acknowledged) > 100
    assert set(writers.acknowledged) <= rows(pair.primary)
    assert writers.longest < STALL, f"a client waited for {writers.longest:.2f} s"
    pair.standby.wait_for("SELECT count(*) FROM written", str(len(rows(pair.primary))))
    assert pair.paused() == {"0"}


def test_a_server_is_restarted_once_if_it_is_older_than_asked(pair: Pair) -> None:
    before, moment = pair.primary.pid(), time.time()
    assert restart(pair, pair.primary, started_after=moment)["changed"] is True
    after = pair.primary.pid()
    assert after not in (None, before)
    assert restart(pair, pair.primary, started_after=moment)["changed"] is False
    assert pair.primary.pid() == after


def test_readers_leave_a_standby_before_it_is_restarted(pair: Pair, tmp_path: Path) -> None:
    drain = tmp_path / "drain"
    where = f"host=127.0.0.1 port={pair.standby.port} dbname=postgres user={USER}"
    drained_when_left: list[bool] = []

    def read() -> None:
        with psycopg.connect(where, password=PASSWORD, autocommit=True) as reader:
            connected.set()
            while not drain.exists():
                reader.execute("SELECT 1")
                time.sleep(0.05)
            time.sleep(3)  # until its pool has heard of it
            reader.execute("SELECT 1")
            drained_when_left.append(drain.stat().st_mtime > time.time())

    connected = threading.Event()
    reader = threading.Thread(target=read)
    reader.start()
    assert connected.wait(10)
    configure(pair.standby, "max_connections = 80")
    done = restart(pair, pair.standby, drain_file=str(drain))
    reader.join()
    assert drained_when_left == [True]
    assert done["cut_off"] == 0
    assert not drain.exists()
    assert pair.standby.sql(SHOW) == "80"

    # One that stays is cut off in the end.
    with psycopg.connect(where, password=PASSWORD, autocommit=True):
        configure(pair.standby, "max_connections = 90")
        assert restart(pair, pair.standby, drain_file=str(drain), drain_timeout=1)["cut_off"] == 1
    assert pair.standby.sql(SHOW) == "90"


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("max_connections = many", "max_connections"),
        ("nonsense = 1", 'unrecognized configuration parameter "nonsense"'),
        ("shared_buffers = 1000TB", "shared_buffers"),
        ("shared_buffers = 900GB", "shared_buffers is 921600 MiB and the machine has"),
        ("shared_preload_libraries = nonesuch", "there is no library nonesuch"),
    ],
)
def test_what_a_server_would_not_start_with_is_said_before_it_is_stopped(
    pair: Pair, line: str, wanted: str
) -> None:
    before = pair.primary.pid()
    configure(pair.primary, "max_wal_senders = 9")
    configure(pair.primary, "max_wal_senders = 9", line, readable=False)
    sentence = refused(pair, pair.primary)
    assert wanted in sentence
    assert "would not start again" in sentence
    assert "nothing was stopped" in sentence
    assert pair.primary.pid() == before
    assert pair.paused() == {"0"}


def test_a_standby_may_not_become_smaller_than_its_primary(pair: Pair) -> None:
    before = pair.standby.pid()
    configure(pair.standby, "max_connections = 50")
    assert "max_connections is 50 in its files and 60 on its primary" in refused(pair, pair.standby)
    assert pair.standby.pid() == before
    assert pair.standby.streams()


def test_rules_of_access_that_cannot_be_read_are_said(pair: Pair) -> None:
    configure(pair.primary, "max_connections = 80")
    with (pair.primary.conf / "pg_hba.conf").open("a") as file:
        file.write("nonsense\n")
    assert "line 4 of pg_hba.conf" in refused(pair, pair.primary)


def test_a_server_that_fails_to_start_all_the_same_lets_clients_go_on(pair: Pair) -> None:
    """What no look at the files shows: the files are gone once the server has stopped."""
    pair.standby.sql("SELECT 1")
    configure(pair.primary, "max_connections = 80")
    moved = pair.primary.conf / "moved.conf"

    def take_away() -> None:
        while pair.primary.pid() is not None:
            time.sleep(0.001)
        (pair.primary.conf / "postgresql.conf").rename(moved)

    taker = threading.Thread(target=take_away)
    process = pair.primary.begin_module("postgres_restart", **options(pair))
    taker.start()
    out, _errors = process.communicate(timeout=120)
    taker.join()
    moved.rename(pair.primary.conf / "postgresql.conf")
    assert "did not start" in out
    assert "It is down: " in out
    assert "Clients are not held back any more." in out
    assert pair.paused() == {"0"}
    pair.primary.start()
    assert pair.primary.sql(SHOW) == "80"


def test_a_standby_that_does_not_answer_does_not_keep_the_primary_from_ending(pair: Pair) -> None:
    """A primary waits in its shutdown for its standbys; a frozen one would make it wait for a minute."""
    configure(pair.primary, "shared_buffers = 9MB")
    server = pair.standby.pid()
    assert server is not None
    frozen = [server, *map(int, Path(f"/proc/{server}/task/{server}/children").read_text().split())]
    with Writers(pair.bouncers) as writers:
        time.sleep(0.5)
        for pid in frozen:
            os.kill(pid, signal.SIGSTOP)
        try:
            sentence = refused(pair, pair.primary, timeout=2)
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)
        time.sleep(1)
    assert "did not stop" in sentence
    assert "was started again. Clients are not held back any more." in sentence
    assert writers.errors == []
    assert set(writers.acknowledged) <= rows(pair.primary)
    assert pair.paused() == {"0"}


def test_a_run_that_is_killed_goes_on_to_the_end(pair: Pair) -> None:
    configure(pair.primary, "max_wal_senders = 9")
    configure(pair.primary, "shared_buffers = 9MB")
    before = pair.primary.pid()
    with Writers(pair.bouncers) as writers:
        time.sleep(0.5)
        process = pair.primary.begin_module("postgres_restart", **options(pair))
        deadline = time.monotonic() + 30
        while pair.paused() == {"0"}:
            assert time.monotonic() < deadline
        process.kill()
        process.communicate()
        deadline = time.monotonic() + 30
        while pair.primary.pid() in (None, before) or pair.paused() != {"0"}:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(1)
    assert writers.errors == []
    assert set(writers.acknowledged) <= rows(pair.primary)
    assert restart(pair, pair.primary)["changed"] is False


def test_clients_that_were_left_waiting_are_let_go_on(pair: Pair) -> None:
    for bouncer in pair.bouncers:
        bouncer.admin("PAUSE app_rw")
    done = restart(pair, pair.primary)
    assert len(done["actions"]) == 1
    assert done["actions"][0].startswith("Let the clients of app_rw on")
    assert pair.paused() == {"0"}


def test_a_long_transaction_and_a_pooler_that_is_down_are_in_the_way(pair: Pair) -> None:
    before = pair.primary.pid()
    configure(pair.primary, "max_connections = 80")
    where = f"host=127.0.0.1 port={pair.bouncers[1].port} dbname=app_rw user={USER}"
    with psycopg.connect(where) as busy:
        busy.execute("INSERT INTO written VALUES (1)")
        assert "did not hold its clients back within" in refused(pair, pair.primary, pause_timeout=1)
        assert pair.paused() == {"0"}
        busy.execute("SELECT 1")
        time.sleep(1.2)
        assert "longer than max_transaction_age=1 s" in refused(pair, pair.primary, max_transaction_age=1)
        busy.rollback()
    pair.bouncers[1].stop()
    assert f"the pooler 127.0.0.1:{pair.bouncers[1].port} cannot be asked" in refused(pair, pair.primary)
    assert pair.primary.pid() == before


def test_a_server_that_somebody_stopped_is_left_alone(pair: Pair) -> None:
    pair.standby.stop()
    assert "is down: start it first" in refused(pair, pair.standby)
    assert pair.standby.pid() is None
