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
    plan,
)
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from hypothesis import given
from hypothesis import strategies as st

ALICE = Holder("alice@ops1", "2026-01-15T09:00:00Z", "ops1/boot/space", 100, "5000")
LATER = replace(ALICE, since="2026-01-15T09:05:00Z")
BOB = Holder("bob@ops2", "2026-01-15T09:01:00Z", "ops2/boot/space", 100, "5000")
FREE = State("app1", "/run/app.lock", None)
HERS = replace(FREE, holder=ALICE)
REFUSED = "refused"

TABLE: dict[str, tuple[State, Wanted, tuple[object, ...] | str]] = {
    "nobody holds it": (FREE, Wanted(BOB, True, False), (Take(BOB),)),
    "the same run once more": (HERS, Wanted(LATER, True, False), ()),
    "somebody else": (HERS, Wanted(BOB, True, False), REFUSED),
    "the next run on the same computer": (HERS, Wanted(replace(LATER, process=101), True, False), REFUSED),
    "a run that got the number of another": (
        HERS,
        Wanted(replace(LATER, started="6000"), True, False),
        REFUSED,
    ),
    "a run that has ended": (
        HERS,
        Wanted(BOB, True, False, ended=ALICE),
        (TakeOver(BOB, ALICE, "that run has ended"),),
    ),
    "another run than the one that has ended": (HERS, Wanted(BOB, True, False, ended=LATER), REFUSED),
    "by force": (HERS, Wanted(BOB, True, True), (TakeOver(BOB, ALICE, "it was told to"),)),
    "by force, of nobody": (FREE, Wanted(BOB, True, True), (Take(BOB),)),
    "its own is left": (HERS, Wanted(LATER, False, False), (Leave(),)),
    "that of others is not left": (HERS, Wanted(BOB, False, False), ()),
    "that of others is not left by force either": (HERS, Wanted(BOB, False, True), ()),
    "none is left": (FREE, Wanted(BOB, False, False), ()),
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
        plan(HERS, Wanted(BOB, True, False))
    assert caught.value.message == (
        "app1: a deployment of alice@ops1 is under way since 2026-01-15T09:00:00Z (process 100 on ops1; "
        "/run/app.lock): wait for it, or, if you are certain that it runs no more, take the lock from it by "
        "-e app_node_break_lock=true."
    )
    assert caught.value.details == {"held_by": ALICE.as_dict()}


HOLDERS = st.sampled_from([ALICE, LATER, BOB])


@given(
    st.builds(replace, st.just(FREE), holder=st.none() | HOLDERS),
    st.builds(Wanted, HOLDERS, st.booleans(), st.booleans(), st.none() | HOLDERS),
)
def test_afterwards_nothing_is_left_to_do(state: State, wanted: Wanted) -> None:
    try:
        steps = plan(state, wanted)
    except Refusal:
        return
    reached = simulate(state, steps)
    assert plan(reached, wanted) == ()
    ours = reached.holder is not None and reached.holder.is_run(wanted.run)
    assert ours == wanted.held


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
    with pytest.raises(Refusal, match=r"app\.lock is no lock that deploy_lock wrote"):
        lock.observe()
