# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The time of queries on real PostgreSQL servers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from ..postgres_replica.conftest import PASSWORD, USER, Cluster, new_primary
from .running import begin, end, only, run

TARGETS = {"database_query_time": 50}
PRELOAD = "shared_preload_libraries = 'pg_stat_statements'"
# Every statement is counted, as one who wants to know it all has it.
TRACK = "pg_stat_statements.track_utility = on"
SLOW = "SELECT pg_sleep(0.04)"
CALLS = "SELECT coalesce(sum(calls), 0) FROM pg_stat_statements WHERE query LIKE '%slo_check%'"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with new_primary(PRELOAD, TRACK, "pg_stat_statements.track = all") as one:
        yield one


@pytest.fixture
def counted(cluster: Cluster) -> Cluster:
    """A server that has counted nothing yet."""
    cluster.sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
    cluster.sql("SELECT pg_stat_statements_reset()")
    return cluster


def place(*clusters: Cluster, **more: Any) -> dict[str, Any]:
    return {
        "servers": [{"host": "127.0.0.1", "port": cluster.port} for cluster in clusters],
        "database": "postgres",
        "login_user": USER,
        "login_password": PASSWORD,
    } | more


def told(*clusters: Cluster, targets: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    options = {name: more.pop(name) for name in ("since", "fail") if name in more}
    answer = run(targets or TARGETS, postgres=place(*clusters, **more), **options)
    assert PASSWORD not in str(answer)
    return answer


def test_the_mean_is_that_of_the_queries_and_the_slowest_is_named(counted: Cluster) -> None:
    for _number in range(3):
        counted.sql(SLOW)
    for _number in range(7):
        # What only begins and ends, and what changes no rows, is quick and would hide the others.
        counted.sql("BEGIN; SELECT count(*) FROM t; COMMIT; SET work_mem = '4MB'")
    # On a computer that others use too, 40 ms may become many; they never become fewer.
    answer = told(counted, targets={"query_time_worst": 30, "database_query_time": 10_000})
    mean, worst = (answer["results"][n] for n in (0, 1))
    assert (mean["name"], worst["name"]) == ("database_query_time", "query_time_worst")
    rows = counted.sql(
        "SELECT sum(calls), sum(total_exec_time) FROM pg_stat_statements"
        " WHERE query LIKE '%pg_sleep%' OR query LIKE '%FROM t'"
    ).split("|")
    assert int(rows[0]) == mean["evidence"]["calls"] == 10
    assert mean["value"] == pytest.approx(float(rows[1]) / 10)
    # Three of ten took 40 ms or more.
    assert mean["value"] >= 12
    assert mean["pass"]
    assert worst["value"] >= 40
    assert mean["evidence"]["worst"][0]["query"] == "SELECT pg_sleep($1)"
    assert mean["evidence"]["worst"][0]["calls"] == 3
    assert answer["missed"] == ["query_time_worst"]
    assert "query_time_worst is " in answer["msg"]


def test_what_runs_inside_a_function_is_counted_once(counted: Cluster) -> None:
    counted.sql(
        "CREATE OR REPLACE FUNCTION nap() RETURNS void LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_sleep(0.04); END'"
    )
    counted.sql("SELECT nap()")
    assert only(told(counted))["evidence"]["calls"] == 1


def test_comments_before_a_statement_do_not_hide_it(counted: Cluster) -> None:
    for query in (
        "/* traceparent='00' */ SELECT 1",
        "-- a note\n  (SELECT 2)",
        "WITH one AS (SELECT 1) SELECT * FROM one",
        "TABLE t",
        "VALUES (1)",
        "update t set n = n where n = 1",
    ):
        counted.sql(query)
    assert only(told(counted))["evidence"]["calls"] == 6


def test_only_what_came_between(counted: Cluster) -> None:
    bound = {"database_query_time": 900}
    counted.sql("SELECT pg_sleep(2)")
    counted.sql("SELECT count(*) FROM t")
    before = told(counted, targets=bound)
    assert before["failed"]
    assert only(before)["value"] >= 1000
    counted.sql("SELECT count(*) FROM t")
    after = told(counted, targets=bound, since=before["counters"])
    assert not after.get("failed"), after
    assert only(after)["evidence"]["calls"] == 1
    nothing = told(counted, since=told(counted, fail=False)["counters"])
    assert "pg_stat_statements has counted no query of this database" in nothing["msg"]


def test_an_interval_takes_only_what_happens_in_it(counted: Cluster) -> None:
    counted.sql("SELECT pg_sleep(0.2)")
    process = begin(TARGETS, postgres=place(counted), interval=4)
    deadline = time.monotonic() + 30
    while counted.sql(CALLS) != "1":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    counted.sql("SELECT count(*) FROM t")
    assert [one["query"] for one in only(end(process))["evidence"]["worst"]] == ["SELECT count(*) FROM t"]


def test_only_the_roles_that_are_asked_for_count(counted: Cluster) -> None:
    counted.sql(SLOW)
    counted.sql("SET ROLE :user; SELECT 1", user=USER)
    everybody = only(told(counted))
    mine = only(told(counted, roles=[USER]))
    assert (everybody["evidence"]["calls"], mine["evidence"]["calls"]) == (2, 1)
    assert mine["value"] < everybody["value"]
    assert "has counted no query" in told(counted, roles=["nobody"])["msg"]


def test_the_extension_may_be_in_any_schema(counted: Cluster) -> None:
    counted.sql(SLOW)
    counted.sql('CREATE SCHEMA "Odd one"; ALTER EXTENSION pg_stat_statements SET SCHEMA "Odd one"')
    counted.sql('GRANT USAGE ON SCHEMA "Odd one" TO :user', user=USER)
    try:
        assert only(told(counted))["evidence"]["calls"] == 1
    finally:
        counted.sql("ALTER EXTENSION pg_stat_statements SET SCHEMA public")


def test_several_servers_are_one_database(counted: Cluster) -> None:
    counted.sql(SLOW)
    with new_primary(PRELOAD) as other:
        other.sql("CREATE EXTENSION pg_stat_statements")
        other.sql("SELECT pg_stat_statements_reset()")
        other.sql("SELECT count(*) FROM t")
        both = told(counted, other)
        assert only(both)["evidence"]["calls"] == 2
        assert set(both["counters"]["postgres"]) == {f"127.0.0.1:{one.port}" for one in (counted, other)}
        other.stop()
        gone = told(counted, other)
    assert f"127.0.0.1:{other.port}: PostgreSQL says connection failed" in gone["msg"]
    assert only(gone)["measured"] is False


def refusals(cluster: Cluster, **more: Any) -> str:
    answer = told(cluster, **more)
    assert answer["failed"]
    assert only(answer)["measured"] is False
    return str(answer["msg"])


def test_who_may_not_see_what_others_run_measures_nothing(counted: Cluster) -> None:
    counted.sql(SLOW)
    counted.sql("REVOKE pg_monitor FROM :user", user=USER)
    try:
        assert f"{USER} may not see what others run: grant it pg_read_all_stats" in refusals(counted)
    finally:
        counted.sql("GRANT pg_monitor TO :user", user=USER)


def test_without_the_extension_one_sentence_says_so(counted: Cluster) -> None:
    counted.sql("DROP EXTENSION pg_stat_statements")
    assert refusals(counted) == (
        f"database_query_time was not measured, because 127.0.0.1:{counted.port}: postgres lacks the "
        "extension pg_stat_statements: create it."
    )


def test_an_extension_that_is_not_loaded_says_so() -> None:
    with new_primary() as cluster:
        cluster.sql("CREATE EXTENSION pg_stat_statements")
        assert "PostgreSQL says pg_stat_statements must be loaded via " in refusals(cluster)


def test_a_wrong_password_is_told_and_not_shown(counted: Cluster) -> None:
    sentence = refusals(counted, login_password="wrong-canary")  # noqa: S106  # nobody has it
    assert "PostgreSQL says " in sentence
    assert "authentication failed" in sentence
    assert "wrong-canary" not in sentence
