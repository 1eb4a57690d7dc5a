# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a key, and what follows from it for the run."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import (
    ABSENT,
    NEVER,
    Base,
    Desired,
    Endpoint,
    Entry,
    Pending,
    Shard,
    Survey,
    Verdict,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.plan import decide, plan
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_000_000_000_000
SOON, LATER = NOW + 60_000, NOW + 600_000
A, B, C = (Entry(letter * 20) for letter in (b"a", b"b", b"c"))
# The same value as A, as the cluster serialises it.
A2 = Entry(b"A" * 20)
KNOWN = Base(A, A2, copied=True)
FOUND = Base(A, A2)
BEGUN = Base(intent=A)
BEGUN_AGAIN = Base(A, A2, copied=True, intent=B)
GOING = Base(A, A2, copied=True, intent=ABSENT)
KEPT = Base(A, C, kept=True)
EXPIRED = Base(Entry(A.digest, NOW - 5000), Entry(A2.digest, NOW - 5000), copied=True)
V = Verdict

# What the source holds, what the cluster holds, what is known, whether the values are the same; and what is
# said before the switch and after it.
TABLE: list[tuple[str, Entry | None, Entry | None, Base | None, bool | None, V | None, V | None]] = [
    ("nowhere", None, None, KNOWN, None, None, None),
    ("only at the source, never seen", A, None, None, None, V.NEW, V.NEW),
    ("begun, and not there", A, None, BEGUN, None, V.LOST, V.LOST),
    ("copied, and not there", A, None, KNOWN, None, V.LOST, V.DROPPED),
    ("found to be the same, and not there", A, None, FOUND, None, V.LOST, V.DROPPED),
    ("copied, changed at the source, and not there", B, None, KNOWN, None, V.LOST, V.CONFLICT),
    ("copied, replacing begun, and not there", B, None, BEGUN_AGAIN, None, V.LOST, V.CONFLICT),
    ("expired on both sides, and made again", B, None, EXPIRED, None, V.NEW, V.NEW),
    ("the cluster's own", None, A, None, None, None, None),
    ("copied, and deleted at the source", None, A2, KNOWN, None, V.WITHDRAWN, V.WITHDRAWN),
    ("found to be the same, and deleted at the source", None, A2, FOUND, None, None, None),
    ("copied, deleted at the source, changed in the cluster", None, C, KNOWN, None, None, None),
    ("begun, done, and deleted at the source", None, A, BEGUN, None, V.WITHDRAWN, V.WITHDRAWN),
    ("begun, deleted at the source, the app's in the cluster", None, C, BEGUN, None, None, None),
    ("deleting begun, not done", None, A2, GOING, None, V.WITHDRAWN, V.WITHDRAWN),
    ("deleting begun, done, and made again", B, None, GOING, None, V.NEW, V.NEW),
    ("deleting begun, not done, and made again", B, A2, GOING, False, V.OUTDATED, V.OUTDATED),
    ("the same, never seen", A, A, None, True, V.EQUAL, V.EQUAL),
    ("the same but for its form, never seen", A, A2, None, True, V.EQUAL, V.EQUAL),
    ("different, never seen", A, C, None, False, V.CONFLICT, V.CONFLICT),
    ("of a module's type, never seen", A, A2, None, None, V.CONFLICT, V.CONFLICT),
    ("of a module's type, copied", A, A2, KNOWN, None, V.EQUAL, V.EQUAL),
    ("of a module's type, changed at the source", B, A2, KNOWN, None, V.OUTDATED, V.OUTDATED),
    ("changed at the source", B, A2, KNOWN, False, V.OUTDATED, V.OUTDATED),
    ("changed at the source, after being found", B, A2, FOUND, False, V.OUTDATED, V.OUTDATED),
    ("changed in the cluster", A, C, KNOWN, False, V.AHEAD, V.AHEAD),
    ("changed on both sides", B, C, KNOWN, False, V.CONFLICT, V.CONFLICT),
    ("changed on both sides to the same", B, B, KNOWN, True, V.EQUAL, V.EQUAL),
    ("replacing begun, not done", B, A2, BEGUN_AGAIN, False, V.LOST, V.LOST),
    ("replacing begun, done, not noted", B, B, BEGUN_AGAIN, True, V.EQUAL, V.EQUAL),
    ("replacing begun, done, changed at the source", C, B, BEGUN_AGAIN, False, V.OUTDATED, V.OUTDATED),
    ("replacing begun, something else in the cluster", B, C, BEGUN_AGAIN, False, V.LOST, V.CONFLICT),
    ("begun, something else in the cluster", A, C, BEGUN, False, V.LOST, V.CONFLICT),
    ("different and left so", A, C, KEPT, False, V.CONFLICT, V.CONFLICT),
    ("different and left so, changed in the cluster", A, B, KEPT, False, V.AHEAD, V.AHEAD),
    ("different and left so, changed at the source", B, C, KEPT, False, V.CONFLICT, V.CONFLICT),
    ("different and left so, deleted in the cluster", A, None, KEPT, None, V.LOST, V.DROPPED),
    ("different and left so, deleted at the source", None, C, KEPT, None, None, None),
    ("different and left so, then made the same", A, A, KEPT, True, V.EQUAL, V.EQUAL),
    ("deleting begun, changed on both sides", B, C, GOING, False, V.CONFLICT, V.CONFLICT),
    ("begun, done, changed at the source", B, A, BEGUN, False, V.OUTDATED, V.OUTDATED),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
@pytest.mark.parametrize("final", [False, True], ids=["copy", "finish"])
def test_what_is_said_of_a_key(row: Any, final: bool) -> None:
    _name, source, target, base, equal, before, after = row
    said = decide(source, target, base, equal=equal, final=final, tolerance=1000, now=NOW)
    assert said is (after if final else before)


def expiring(entry: Entry, moment: int) -> Entry:
    return Entry(entry.digest, moment)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (SOON, SOON, V.EQUAL),
        (LATER, SOON, V.OUTDATED),
        (SOON, LATER, V.AHEAD),
        (NEVER, SOON, V.OUTDATED),
        (SOON, NEVER, V.AHEAD),
        (NEVER, LATER, V.CONFLICT),
    ],
)
def test_an_expiry_is_part_of_what_a_key_holds(source: int, target: int, said: Verdict) -> None:
    base = Base(expiring(A, SOON), expiring(A, SOON), copied=True)
    equal = source == target
    one, other = expiring(A, source), expiring(A, target)
    assert decide(one, other, base, equal=equal, final=True, tolerance=1000, now=NOW) is said


entries = st.none() | st.builds(
    Entry, st.sampled_from([b"a", b"b", b"c"]), st.sampled_from([NEVER, SOON, LATER])
)
bases = st.none() | st.builds(Base, entries, entries, st.booleans(), entries, st.booleans())


@given(entries, entries, bases, st.booleans())
def test_nothing_is_written_over_what_only_the_app_has_changed(
    source: Entry | None, target: Entry | None, base: Base | None, final: bool
) -> None:
    equal = source == target
    said = decide(source, target, base, equal=equal, final=final, tolerance=0, now=NOW)
    if target is not None and said in (V.OUTDATED, V.LOST, V.WITHDRAWN):
        assert base is not None
        begun = not final and said is V.LOST and base.intent is not None
        assert target in (base.target, base.intent) or begun
    if said is V.WITHDRAWN:
        assert base is not None
        assert base.copied or target == base.intent
    if source is not None:
        assert said is not None
        assert (said is V.EQUAL) == (equal and target is not None)


# ------------------------------------------------------------------ plan


def wanted(**options: Any) -> Desired:
    return Desired(Endpoint("old", 6379), (Endpoint("n1", 6379),), **options)


def keys(count: int, *, kind: str = "string", held: Entry | None = None) -> tuple[Pending, ...]:
    return tuple(Pending(b"key:%d" % number, kind, 100, held) for number in range(count))


def survey(**pending: tuple[Pending, ...]) -> Survey:
    """Return a survey of so many keys to a verdict, and ten that are the same."""
    by = {Verdict[name]: found for name, found in pending.items()}
    counts = {verdict: len(found) for verdict, found in by.items()} | {V.EQUAL: 10}
    at_source = sum(number for verdict, number in counts.items() if verdict is not V.WITHDRAWN)
    return Survey(at_source, 10, counts, by)


EVERYTHING = survey(
    NEW=(*keys(3), *keys(1, kind="hash")),
    LOST=keys(1),
    OUTDATED=keys(2, held=A),
    CONFLICT=keys(1, kind="list", held=A),
    WITHDRAWN=keys(2, held=A),
)


def test_a_plan_says_what_is_done_to_how_many_keys() -> None:
    steps = plan(EVERYTHING, wanted(on_conflict="source", delete=True))
    assert [step.describe() for step in steps] == [
        "Copy 1 key again that an earlier run had begun or the cluster has lost (1 string)",
        "Copy 4 keys that the cluster does not have (1 hash, 3 string)",
        "Replace 2 keys that changed at the source after being copied (2 string)",
        "Overwrite 1 key that the cluster holds differently, as on_conflict says (1 list)",
        "Delete 2 keys copied earlier and gone from the source since (2 string)",
    ]


@pytest.mark.parametrize("on_conflict", ["source", "target"])
@pytest.mark.parametrize("delete", [True, False])
def test_every_prefix_of_a_plan_leaves_the_rest_of_it(on_conflict: str, delete: bool) -> None:
    asked = wanted(on_conflict=on_conflict, delete=delete)
    state, steps = EVERYTHING, plan(EVERYTHING, asked)
    for done in range(len(steps) + 1):
        assert plan(state, asked) == steps[done:]
        state = simulate(state, steps[done : done + 1])


def test_the_foretold_counts_add_up() -> None:
    after = simulate(EVERYTHING, plan(EVERYTHING, wanted(on_conflict="source", delete=True)))
    assert dict(after.counts) == {V.EQUAL: 18}
    assert (after.source_keys, after.target_keys) == (18, 13)


def test_what_is_left_alone_is_no_step() -> None:
    state = survey(CONFLICT=keys(1, held=A), WITHDRAWN=keys(2000, held=A))
    assert plan(state, wanted(on_conflict="target")) == ()


@pytest.mark.parametrize(
    ("state", "options", "words"),
    [
        (
            survey(CONFLICT=keys(2, held=A), NEW=keys(5)),
            {},
            "The source old:6379 and the cluster differ in 2 keys of which either may be right "
            "(key:0, key:1): set on_conflict",
        ),
        (
            survey(WITHDRAWN=keys(3, held=A)),
            {"delete": True, "deleted_limit": 2},
            "The source old:6379 is without 3 keys copied from it earlier, more than deleted_limit=2",
        ),
        (
            Survey(5, 0, {V.DROPPED: 5}),
            {"final": True, "deleted_limit": 4},
            "The cluster of n1:6379 is without 5 keys copied into it earlier, more than deleted_limit=4",
        ),
        (
            Survey(shards=(Shard("n1:6379", None, 900), Shard("n2:6379", 800, 900))),
            {},
            "Node n2:6379 has room for 800 bytes below its maxmemory, and the keys that would go there "
            "take 900",
        ),
    ],
)
def test_what_is_refused_before_a_key_is_written(state: Survey, options: Any, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        plan(state, wanted(**options))
    assert refused.value.message.startswith(words)
    assert refused.value.message.endswith((".", "copied."))


def parameters(**changes: Any) -> dict[str, Any]:
    return {
        "source": {"host": "old", "port": 6379},
        "nodes": [{"host": "n1", "port": 6379}],
        "stage": "copy",
        "on_conflict": "fail",
        "delete": False,
        "deleted_limit": 1000,
        "expiry_tolerance_ms": 1000,
        "batch_keys": 500,
        "batch_bytes": 1 << 20,
        "max_rate": 0,
        "timeout": 60,
    } | changes


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"nodes": []}, "nodes is empty"),
        ({"source": {"host": "old", "port": 0}}, "old:0 has no usable port"),
        ({"nodes": [{"host": "::1", "port": 70000}]}, "[::1]:70000 has no usable port"),
        ({"batch_keys": 0}, "batch_keys=0 is too little: give 1 or more"),
        ({"batch_bytes": 10}, "batch_bytes=10 is too little"),
        ({"max_rate": -1}, "max_rate=-1 is too little"),
        ({"timeout": 0}, "timeout=0 is too little"),
        ({"deleted_limit": -1}, "deleted_limit=-1 is too little"),
        ({"expiry_tolerance_ms": -1}, "expiry_tolerance_ms=-1 is too little"),
    ],
)
def test_options_that_no_run_could_be_done_with(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(Refusal, match="^" + words.replace("[", r"\[").replace("]", r"\]")):
        Desired.wanted(parameters(**changes))


def test_options_are_taken_as_given() -> None:
    desired = Desired.wanted(parameters(stage="finish", on_conflict="target", max_rate=7))
    assert (desired.final, desired.on_conflict, desired.max_rate) == (True, "target", 7)
    assert desired.source.addr == "old:6379"
