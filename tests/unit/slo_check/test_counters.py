# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Counters of PostgreSQL and Redis: their sums, and what is left when an earlier count is taken off."""

from __future__ import annotations

import json

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._slo import (
    keyspace,
    keyspace_io,
    statements,
    statements_io,
)
from ansible_collections.payaid.scaling.plugins.module_utils._slo.keyspace import Keyspace
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import NotMeasured
from ansible_collections.payaid.scaling.plugins.module_utils._slo.statements import Statement
from hypothesis import given
from hypothesis import strategies as st

CALLS = st.integers(1, 10_000)


def statement(key: str, calls: int, milliseconds: float, server: str = "db1:5432") -> Statement:
    return Statement(server, key, calls, milliseconds, f"SELECT {key}")


def test_the_mean_is_weighed_by_calls_and_the_worst_are_named() -> None:
    quick, slow = statement("1", 990, 990.0), statement("2", 10, 9000.0)
    other = statement("1", 1000, 3010.0, "db2:5432")
    told = statements.reading("db1, db2", [quick, slow, other]).values
    assert told["query_time_mean"].value == pytest.approx(13000 / 2000)
    assert told["query_time_worst"].value == 900
    evidence = told["query_time_mean"].evidence
    assert (evidence["calls"], evidence["statements"]) == (2000, 3)
    assert [one["server"] for one in evidence["worst"]] == ["db1:5432", "db2:5432", "db1:5432"]
    assert evidence["worst"][0] == {"server": "db1:5432", "query": "SELECT 2", "calls": 10, "mean_ms": 900.0}


@given(st.lists(st.tuples(CALLS, st.floats(0, 1e6)), min_size=1, max_size=30))
def test_the_mean_is_that_of_all_calls(rows: list[tuple[int, float]]) -> None:
    """Spell every call out, and take the plain mean."""
    told = statements.reading(
        "db", [statement(str(n), calls, ms) for n, (calls, ms) in enumerate(rows)]
    ).values
    assert told["query_time_mean"].value == pytest.approx(
        sum(ms for _calls, ms in rows) / sum(calls for calls, _ms in rows)
    )
    assert told["query_time_worst"].value == pytest.approx(max(ms / calls for calls, ms in rows))
    assert told["query_time_mean"].value <= told["query_time_worst"].value * (1 + 1e-9)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(CALLS, CALLS)),
    st.dictionaries(st.sampled_from("abcdef"), st.tuples(CALLS, CALLS)),
)
def test_what_is_left_is_what_came_between(
    first: dict[str, tuple[int, int]], more: dict[str, tuple[int, int]]
) -> None:
    """Also through JSON, as Ansible hands it on."""
    before = [statement(key, calls, ms) for key, (calls, ms) in first.items()]
    both = {
        key: tuple(map(sum, zip(first.get(key, (0, 0)), more.get(key, (0, 0)), strict=True)))
        for key in first | more
    }
    after = [statement(key, calls, ms) for key, (calls, ms) in both.items()]
    noted = json.loads(json.dumps(statements.counters(before)))
    left = {one.key: (one.calls, one.milliseconds) for one in statements.since(after, noted)}
    assert left == more


def test_a_statement_that_was_reset_counts_from_then() -> None:
    noted = statements.counters([statement("a", 100, 5000.0)])
    assert statements.since([statement("a", 3, 30.0)], noted) == (statement("a", 3, 30.0),)
    assert statements.since([statement("a", 100, 5000.0)], noted) == ()
    elsewhere = statement("a", 100, 5000.0, "db2:5432")
    assert statements.since([elsewhere], noted) == (elsewhere,)


def test_no_call_is_no_time() -> None:
    with pytest.raises(NotMeasured, match=r"^db1: pg_stat_statements has counted no query of this database$"):
        statements.reading("db1", [])


def server(run_id: str, hits: int, misses: int, role: str = "master") -> Keyspace:
    return Keyspace(f"{run_id}:6379", run_id, role, True, hits, misses)


SUMS: list[tuple[list[Keyspace], float]] = [
    ([server("a", 7, 3)], 70),
    ([server("a", 90, 10), server("b", 0, 100)], 45),
    # A replica that is read from has counters too, and they are not of the masters.
    ([server("a", 7, 3), server("b", 1000, 0, "slave")], 70),
    ([server("a", 0, 5), server("b", 0, 0)], 0),
]


@pytest.mark.parametrize(("servers", "rate"), SUMS)
def test_the_rate_is_that_of_all_masters_together(servers: list[Keyspace], rate: float) -> None:
    assert keyspace.reading("r", servers, None).values["cache_hit_rate"].value == rate


@given(st.lists(st.tuples(CALLS, CALLS, CALLS, CALLS), min_size=1, max_size=6))
def test_what_was_counted_before_is_taken_off(rows: list[tuple[int, int, int, int]]) -> None:
    before = [server(str(n), hits, misses) for n, (hits, misses, _h, _m) in enumerate(rows)]
    after = [server(str(n), hits + h, misses + m) for n, (hits, misses, h, m) in enumerate(rows)]
    noted = json.loads(json.dumps(keyspace.counters(before)))
    told = keyspace.reading("r", after, noted).values["cache_hit_rate"]
    hits, misses = sum(row[2] for row in rows), sum(row[3] for row in rows)
    assert told.value == pytest.approx(100 * hits / (hits + misses))
    assert (told.evidence["hits"], told.evidence["misses"]) == (hits, misses)
    assert told.evidence["counted_since_start"] == []


def test_a_replica_that_became_master_counts_from_the_earlier_look() -> None:
    noted = keyspace.counters([server("a", 50, 50), server("b", 900, 0, "slave")])
    after = [server("b", 901, 3), server("a", 50, 50, "slave")]
    told = keyspace.reading("r", after, noted).values["cache_hit_rate"]
    assert (told.value, told.evidence["hits"], told.evidence["misses"]) == (25, 1, 3)


def test_a_server_that_was_restarted_or_reset_counts_from_then() -> None:
    noted = {"a": [500, 500], "b": [500, 500]}
    told = keyspace.reading("r", [server("new", 3, 1), server("b", 1, 3)], noted).values["cache_hit_rate"]
    assert told.value == 50
    assert told.evidence["counted_since_start"] == ["new:6379", "b:6379"]


def test_without_lookups_or_masters_there_is_no_rate() -> None:
    with pytest.raises(NotMeasured, match=r"^r: no key was looked up"):
        keyspace.reading("r", [server("a", 0, 0)], None)
    with pytest.raises(NotMeasured, match=r"^r: no key was looked up"):
        keyspace.reading("r", [server("a", 5, 5)], {"a": [5, 5]})
    with pytest.raises(NotMeasured, match=r"^r: none of the Redis servers is a master"):
        keyspace.reading("r", [server("a", 5, 5, "slave")], None)


INFO = {
    "run_id": "f00",
    "role": "master",
    "cluster_enabled": "1",
    "keyspace_hits": "12",
    "keyspace_misses": "3",
}


def test_info_is_read() -> None:
    assert keyspace.of("r1:6379", INFO) == Keyspace("r1:6379", "f00", "master", True, 12, 3)


@pytest.mark.parametrize("text", ["", "many", "-1", "1.5"])
def test_info_without_counters_is_not_taken_for_none(text: str) -> None:
    with pytest.raises(NotMeasured, match=r"^r1:6379: keyspace_hits of INFO is no number"):
        keyspace.of("r1:6379", INFO | {"keyspace_hits": text})


def test_a_client_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statements_io, "HAS_PSYCOPG", False)
    monkeypatch.setattr(keyspace_io, "REDIS_IMPORT_ERROR", "no module")
    with pytest.raises(NotMeasured, match="install python3-psycopg"):
        statements_io.ask([], statements_io.Login("d", "u", None, "prefer", None, ()))
    with pytest.raises(NotMeasured, match="install python3-redis"):
        keyspace_io.ask([], Login())
