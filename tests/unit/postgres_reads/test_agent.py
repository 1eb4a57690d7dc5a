# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the agent of a PostgreSQL server tells HAProxy, by what it saw."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import pytest
from ansible_collections.payaid.scaling.roles.postgres_agent.files.postgres_agent import (
    SAMPLES,
    Agent,
    Lag,
    Seen,
    State,
    answer,
)
from hypothesis import given
from hypothesis import strategies as st

MAX_LAG = 5.0
PRIMARY = Seen(primary=True)


def standby(
    known: int = 100, replayed: int = 100, *, streaming: bool = True, age: float = 0, paused: bool = False
) -> Seen:
    return Seen(
        primary=False, streaming=streaming, known=known, replayed=replayed, last_commit_age=age, paused=paused
    )


@pytest.mark.parametrize(
    ("state", "now", "replica", "primary"),
    [
        (State(), 10, "down #PostgreSQL has not been asked yet", "down #PostgreSQL has not been asked yet"),
        (State(PRIMARY, at=10), 10, "drain up #takes writes", "ready up #takes writes"),
        (State(standby(), 0.0, at=10), 11, "ready up #streams, lags 0.0 s", "drain up #streams, lags 0.0 s"),
        (State(standby(), 5.0, at=10), 10, "ready up #streams, lags 5.0 s", "drain up #streams, lags 5.0 s"),
        (State(standby(), 5.1, at=10), 10, "drain up #streams, lags 5.1 s", "drain up #streams, lags 5.1 s"),
        (
            State(standby(streaming=False), 3.0, at=10),
            10,
            "ready up #does not stream, lags 3.0 s",
            "drain up #does not stream, lags 3.0 s",
        ),
        (
            State(standby(paused=True), 7.0, at=10),
            10,
            "drain up #streams, lags 7.0 s, replay is paused",
            "drain up #streams, lags 7.0 s, replay is paused",
        ),
        (
            State(standby(streaming=False), None, at=10),
            10,
            "drain up #has not been seen streaming",
            "drain up #has not been seen streaming",
        ),
        (
            State(trouble="says: starting up", at=10),
            10,
            "down #PostgreSQL says: starting up",
            "down #PostgreSQL says: starting up",
        ),
        (
            State(standby(), 0.0, at=10, drained=True),
            10,
            "drain up #is about to be restarted",
            "drain up #is about to be restarted",
        ),
        (State(PRIMARY, at=10, drained=True), 10, "drain up #takes writes", "ready up #takes writes"),
        # Whatever it was, it may be another by now.
        *[
            (
                state,
                20,
                "down #PostgreSQL has not answered for 10 s",
                "down #PostgreSQL has not answered for 10 s",
            )
            for state in (State(PRIMARY, at=10), State(standby(), 0.0, at=10), State(trouble="x", at=10))
        ],
    ],
)
def test_what_haproxy_is_told(state: State, now: float, replica: str, primary: str) -> None:
    assert answer("replica", state, now, MAX_LAG) == replica
    assert answer("primary", state, now, MAX_LAG) == primary


@pytest.mark.parametrize(
    ("state", "told"),
    [
        (State(PRIMARY, at=10), "primary: takes writes"),
        (State(standby(), 0.0, at=10), "replica: streams, lags 0.0 s"),
        (State(standby(), 9.0, at=10), "lagging: streams, lags 9.0 s"),
        # HAProxy on app nodes that were set up before knows this word, and takes none that is new.
        (State(standby(), 0.0, at=10, drained=True), "lagging: is about to be restarted"),
        (State(trouble="says: no", at=10), "down: PostgreSQL says: no"),
    ],
)
def test_what_people_are_told(state: State, told: str) -> None:
    assert answer("status", state, 10, MAX_LAG) == told


@pytest.mark.parametrize(("ends_in", "wanted"), [(None, False), (60, True), (-1, False)])
def test_readers_leave_until_the_time_of_the_file(ends_in: int | None, wanted: bool, tmp_path: Path) -> None:
    file = tmp_path / "drain"
    if ends_in is not None:
        file.touch()
        os.utime(file, (time.time() + ends_in,) * 2)
    assert Agent(argparse.Namespace(drain_file=str(file))).drained() is wanted


@pytest.mark.parametrize("asked", ["", "REPLICA", "replica primary", "\x00"])
def test_other_questions_are_not_answered_in_words_that_haproxy_knows(asked: str) -> None:
    words = answer(asked, State(standby(), 0.0, at=10), 10, MAX_LAG).split()
    assert not {"up", "ready", "down", "drain", "maint", "stopped", "fail"} & set(words)


def lags(*looks: tuple[float, Seen]) -> list[float | None]:
    lag = Lag()
    return [lag.of(seen, now) for now, seen in looks]


@pytest.mark.parametrize(
    ("looks", "wanted"),
    [
        pytest.param([(0, standby()), (60, standby(age=3600))], [0, 0], id="an idle primary"),
        pytest.param(
            [(0, standby()), (1, standby(200)), (2, standby(300))], [0, 0, 1], id="replay stands still"
        ),
        pytest.param(
            [(0, standby()), (1, standby(200)), (2, standby(300)), (3, standby(400, 200))],
            [0, 0, 1, 1],
            id="replay goes on, one look behind",
        ),
        pytest.param(
            [
                (0, standby()),
                (1, standby(200)),
                (9, standby(200)),
                (10, standby(200, 200)),
                (11, standby(300, 200)),
            ],
            [0, 0, 8, 0, 0],
            id="caught up",
        ),
        pytest.param(
            [(0, standby(200, age=60)), (1, standby(200, age=61))], [60, 61], id="behind at the first look"
        ),
        pytest.param(
            [(0, standby()), (4, standby(streaming=False)), (8, standby(streaming=False)), (9, standby())],
            [0, 4, 8, 0],
            id="no contact for a while",
        ),
        pytest.param(
            [(0, standby(streaming=False)), (9, standby(streaming=False))], [None, None], id="never a contact"
        ),
        pytest.param(
            [(0, standby(paused=True)), (9, standby(paused=True))], [0, 0], id="paused with nothing to do"
        ),
    ],
)
def test_lag(looks: list[tuple[float, Seen]], wanted: list[float | None]) -> None:
    assert lags(*looks) == wanted


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 100)), min_size=1, max_size=60))
def test_lag_is_the_age_of_the_oldest_wal_that_waits(moves: list[tuple[int, int]]) -> None:
    lag, heard, known, replayed = Lag(), [(0.0, 0)], 0, 0
    lag.of(standby(0, 0), 0)
    for second, (more, percent) in enumerate(moves, start=1):
        known += more
        replayed += (known - replayed) * percent // 100
        heard.append((float(second), known))
        waiting = [when for when, position in heard if position > replayed]
        assert lag.of(standby(known, replayed), second) == (second - waiting[0] if waiting else 0)


def test_a_lag_of_days_takes_little_memory_and_is_still_seen() -> None:
    lag = Lag()
    lag.of(standby(0, 0), 0)
    for second in range(1, 20 * SAMPLES):
        assert lag.of(standby(second, 0), second) == second - 1
    assert len(lag.samples) <= SAMPLES
    # When half of it is replayed, the rest may seem older than it is, but never younger.
    found = lag.of(standby(20 * SAMPLES, 10 * SAMPLES), 20 * SAMPLES)
    assert found is not None
    assert 10 * SAMPLES <= found <= 20 * SAMPLES
    assert lag.of(standby(20 * SAMPLES, 20 * SAMPLES), 20 * SAMPLES) == 0
