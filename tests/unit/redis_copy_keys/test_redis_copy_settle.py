# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a copy is over, and what is said of it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Outcome, Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.io import Tally, ahead
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import Pending, Survey, Verdict
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.report import report, warnings
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.settle import ROUNDS, settle
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.source import Pace

from .test_redis_copy_plan import A, keys, survey, wanted

WELL = Survey(10, 10, {Verdict.EQUAL: 10})


class Recorder:
    """Notes what it is asked to write."""

    def __init__(self) -> None:
        self.put_keys: list[bytes] = []
        self.dropped: list[bytes] = []

    def put(self, keys: Sequence[Pending]) -> None:
        self.put_keys += [pending.key for pending in keys]

    def drop(self, keys: Sequence[Pending]) -> None:
        self.dropped += [pending.key for pending in keys]


def test_what_a_failover_lost_is_copied_again() -> None:
    seen = iter([survey(LOST=keys(2)), WELL])
    recorder = Recorder()
    assert settle(lambda: next(seen), recorder, wanted()) == WELL
    assert recorder.put_keys == [b"key:0", b"key:1"]


@pytest.mark.parametrize("verdict", ["NEW", "OUTDATED", "WITHDRAWN"])
def test_what_the_app_goes_on_writing_is_left_to_the_next_pass_or_refused_in_the_last(verdict: str) -> None:
    state = survey(**{verdict: keys(3, held=A)})
    recorder = Recorder()
    end = settle(lambda: state, recorder, wanted(delete=True))
    assert (end.behind, end.pending) == (3, {})
    assert end.count(Verdict[verdict]) == 3, "the counts keep saying so"
    with pytest.raises(Refusal, match=r"^3 keys changed at the source old:6379 during this last pass"):
        settle(lambda: state, recorder, wanted(delete=True, final=True))
    assert (recorder.put_keys, recorder.dropped) == ([], [])


def test_a_cluster_that_goes_on_losing_keys_is_not_taken_for_done() -> None:
    state = survey(LOST=keys(1))
    recorder = Recorder()
    assert settle(lambda: state, recorder, wanted()) == state
    assert len(recorder.put_keys) == ROUNDS


@pytest.mark.parametrize(
    ("state", "on_conflict", "complete"),
    [
        (WELL, "fail", True),
        (Survey(), "fail", True),
        (Survey(3, 9, {Verdict.EQUAL: 1, Verdict.AHEAD: 1, Verdict.DROPPED: 1}), "fail", True),
        (Survey(3, 9, {Verdict.EQUAL: 2, Verdict.OUTDATED: 1}), "fail", False),
        (Survey(3, 9, {Verdict.EQUAL: 2, Verdict.NEW: 1}), "target", False),
        (Survey(3, 9, {Verdict.EQUAL: 2, Verdict.CONFLICT: 1}), "target", True),
        (Survey(3, 9, {Verdict.EQUAL: 2, Verdict.CONFLICT: 1}), "source", False),
        (Survey(3, 9, {Verdict.EQUAL: 3, Verdict.WITHDRAWN: 4}), "fail", True),
    ],
)
def test_complete_is_when_every_key_of_the_source_is_accounted_for(
    state: Survey, on_conflict: str, complete: bool
) -> None:
    result = report(Outcome(state, state), Tally(), wanted(on_conflict=on_conflict))
    assert result["complete"] is complete


def test_what_is_reported_of_a_run() -> None:
    before = survey(NEW=keys(2), CONFLICT=keys(12, held=A), WITHDRAWN=keys(1, held=A))
    after = before.moved(Verdict.NEW, Verdict.EQUAL, 2)
    asked = wanted(on_conflict="target")
    result = report(Outcome(before, after, ("Copy 2 keys",)), Tally(copied=2), asked)
    assert (result["changed"], result["actions"], result["copied"]) == (True, ["Copy 2 keys"], 2)
    assert (result["before"]["missing"], result["after"]["missing"]) == (2, 0)
    assert (result["before"]["equal"], result["after"]["equal"]) == (10, 12)
    assert (result["before"]["target_keys"], result["after"]["target_keys"]) == (10, 12)
    assert result["conflict_sample"] == [f"key:{number}" for number in range(10)]
    assert result["diff"] == {"before": result["before"], "after": result["after"]}
    said = warnings(result, asked)
    assert ["12 keys, and the cluster" in said[0], "1 key copied earlier" in said[1]] == [True, True]
    assert len(warnings(result, wanted(on_conflict="target", delete=True))) == 1


def test_parts_are_fetched_ahead_in_order_and_their_error_is_heard() -> None:
    assert list(ahead(iter([[1], [], [2]]))) == [[1], [], [2]]

    def broken() -> Sequence[int]:
        raise Refusal("gone")

    with pytest.raises(Refusal, match="gone"):
        list(ahead(part() for part in (lambda: [1], broken)))


def test_a_pace_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    monkeypatch.setattr("time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    free, slow = Pace(0), Pace(100)
    for _turn in range(10):
        free.wait(50)
    assert clock == [0.0]
    for _turn in range(10):
        slow.wait(50)
    assert clock == [4.5], "the first is free, the other nine take half a second each"
