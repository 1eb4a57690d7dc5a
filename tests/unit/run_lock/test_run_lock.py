# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets a lock, and who is refused: a row a case, and what holds for every case; then the file itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._lock.io import LockFile
from ansible_collections.payaid.scaling.plugins.module_utils._lock.plan import (
    Holder,
    Leave,
    State,
    Take,
    TakeOver,
    Wanted,
    age,
    plan,
)
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from hypothesis import given
from hypothesis import strategies as st

ALICE = Holder("alice@ops1", "2026-01-15T09:00:00Z", "deployment", "ops1/boot/space", 100, "5000")
LATER = replace(ALICE, since="2026-01-15T09:05:00Z")
BOB = Holder("bob@ops2", "2026-01-15T09:12:00Z", "deployment", "ops2/boot/space", 100, "5000")
FREE = State("app1", "/run/app.lock", None)
HERS = replace(FREE, holder=ALICE)
REFUSED = "refused"

TABLE: dict[str, tuple[State, Wanted, tuple[object, ...] | str]] = {
    "nobody holds it": (FREE, Wanted(BOB, "held", False), (Take(BOB),)),
    "the same run once more": (HERS, Wanted(LATER, "held", False), ()),
    "somebody else": (HERS, Wanted(BOB, "held", False), REFUSED),
    "the next run on the same computer": (HERS, Wanted(replace(LATER, process=101), "held", False), REFUSED),
    "a run that got the number of another": (
        HERS,
        Wanted(replace(LATER, started="6000"), "held", False),
        REFUSED,
    ),
    "a run that has ended": (
        HERS,
        Wanted(BOB, "held", False, ended=ALICE),
        (TakeOver(BOB, ALICE, "that run has ended"),),
    ),
    "another run than the one that has ended": (HERS, Wanted(BOB, "held", False, ended=LATER), REFUSED),
    "by force": (HERS, Wanted(BOB, "held", True), (TakeOver(BOB, ALICE, "it was told to"),)),
    "by force, of nobody": (FREE, Wanted(BOB, "held", True), (Take(BOB),)),
    "its own is left": (HERS, Wanted(LATER, "left", False), (Leave(),)),
    "that of others is not left": (HERS, Wanted(BOB, "left", False), ()),
    "that of others is not left by force either": (HERS, Wanted(BOB, "left", True), ()),
    "none is left": (FREE, Wanted(BOB, "left", False), ()),
    "that of others is only read": (HERS, Wanted(BOB, "read", False), ()),
    "it is only read also by force": (HERS, Wanted(BOB, "read", True), ()),
    "its own is only read": (HERS, Wanted(LATER, "read", False), ()),
}


@pytest.mark.parametrize(("state", "wanted", "steps"), TABLE.values(), ids=TABLE)
def test_steps(state: State, wanted: Wanted, steps: tuple[object, ...] | str) -> None:
    if steps == REFUSED:
        with pytest.raises(Refusal):
            plan(state, wanted)
    else:
        assert plan(state, wanted) == steps


def test_a_refusal_names_who_holds_it_where_and_since_when() -> None:
    with pytest.raises(Refusal) as caught:
        plan(HERS, Wanted(BOB, "held", False, override="-e break_it=true"))
    assert caught.value.message == (
        "app1: a deployment of alice@ops1 is under way since 2026-01-15T09:00:00Z, for 12 minutes (process "
        "100 on ops1; /run/app.lock): wait for it, or, if you are certain that it runs no more, take the "
        "lock from it by -e break_it=true."
    )
    assert caught.value.details == {"held_by": ALICE.as_dict()}


HOLDERS = st.sampled_from([ALICE, LATER, BOB])


@given(
    st.builds(replace, st.just(FREE), holder=st.none() | HOLDERS),
    st.builds(
        Wanted, HOLDERS, st.sampled_from(["held", "left"]), st.booleans(), st.just(""), st.none() | HOLDERS
    ),
)
def test_afterwards_nothing_is_left_to_do(state: State, wanted: Wanted) -> None:
    try:
        steps = plan(state, wanted)
    except Refusal:
        return
    reached = simulate(state, steps)
    assert plan(reached, wanted) == ()
    ours = reached.holder is not None and reached.holder.is_run(wanted.run)
    assert ours == (wanted.state == "held")


@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("2026-01-15T09:01:59Z", "119 seconds"),
        ("2026-01-15T09:02:00Z", "2 minutes"),
        ("2026-01-15T10:59:00Z", "119 minutes"),
        ("2026-01-15T21:00:00Z", "12 hours"),
        ("2026-01-18T09:00:00Z", "3 days"),
        ("2026-01-15T08:59:00Z", "0 seconds"),
        ("yesterday", "who knows how long"),
    ],
)
def test_an_age_is_said_in_words(now: str, said: str) -> None:
    assert age(ALICE.since, now) == said


def test_who_has_no_word_for_it_is_told_of_the_file() -> None:
    with pytest.raises(Refusal, match=r"it runs no more, remove /run/app\.lock\.$"):
        plan(HERS, Wanted(BOB, "held", False))


@pytest.fixture
def lock(tmp_path: Path) -> LockFile:
    return LockFile(str(tmp_path / "app.lock"))


def test_the_file_is_there_or_not(lock: LockFile, tmp_path: Path) -> None:
    assert lock.observe().holder is None
    lock.take(ALICE)
    assert lock.observe().holder == ALICE
    lock.take_over(BOB)
    assert lock.observe().holder == BOB
    lock.leave()
    assert lock.observe().holder is None
    assert list(tmp_path.iterdir()) == []


def test_of_two_at_the_same_moment_one_is_refused(lock: LockFile, tmp_path: Path) -> None:
    lock.take(ALICE)
    with pytest.raises(Refusal, match=r"alice@ops1 was quicker to take .*app\.lock"):
        lock.take(BOB)
    assert lock.observe().holder == ALICE
    assert [file.name for file in tmp_path.iterdir()] == ["app.lock"]


@pytest.mark.parametrize("content", ["", "{}", "[]", "alice", '{"name": "alice"}'])
def test_what_is_no_lock_is_refused(lock: LockFile, tmp_path: Path, content: str) -> None:
    (tmp_path / "app.lock").write_text(content)
    with pytest.raises(Refusal, match=r"app\.lock is no lock that run_lock wrote"):
        lock.observe()
