# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Any history of an app, of copies and of kills: nobody's last word is lost without being asked about."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.journal import Journal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import ABSENT, Entry, Verdict
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.plan import decide
from hypothesis import example, given, settings
from hypothesis import strategies as st

KEYS = (b"a", b"b", b"c")
TO_PUT = (Verdict.NEW, Verdict.LOST, Verdict.OUTDATED)

# A kill comes after so many of the writes to the journal and to the cluster; a large number is none.
kills = st.integers(0, 12) | st.just(1000)
keys = st.sampled_from(KEYS)
app_steps = st.tuples(st.sampled_from(["write", "delete"]), keys)
runs = st.tuples(st.just("run"), kills)
Step = tuple[str, bytes | int]


class Killed(Exception):  # noqa: N818  # not an error, an end
    """The run was killed."""


class World:
    """Both sides, where a value is written but once, and every other one serialised by each in its way."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "journal")
        self.source: dict[bytes, int] = {}
        self.cluster: dict[bytes, int] = {}
        self.values = 0
        # What was last brought over whole, and what the app did in the cluster.
        self.brought: dict[bytes, int] = {}
        self.touched: set[bytes] = set()
        # What the source said when the cluster's word was let stand.
        self.settled: dict[bytes, int] = {}
        # Written in a form of the cluster's own, and not noted: nobody can tell who wrote it.
        self.unproven: set[bytes] = set()

    def app(self, side: dict[bytes, int], what: str, key: bytes) -> None:
        if side is self.cluster:
            self.touched.add(key)
        if what == "delete":
            side.pop(key, None)
        else:
            self.values += 1
            side[key] = self.values

    def entry(self, side: dict[bytes, int], key: bytes) -> Entry | None:
        if key not in side:
            return None
        mark = b"c" if side is self.cluster and side[key] % 2 else b"s"
        return Entry(b"%s%019d" % (mark, side[key]))

    def judge(self, journal: Journal, key: bytes, *, final: bool) -> Verdict | None:
        equal = self.source.get(key) == self.cluster.get(key)
        source, target = self.entry(self.source, key), self.entry(self.cluster, key)
        return decide(source, target, journal.get(key), equal=equal, final=final, tolerance=0)

    def run(self, *, final: bool, on_conflict: str, kill: int) -> set[bytes]:
        """Do what the module does to each key, and return those in conflict."""
        left = kill
        conflicts = set()

        def breathe() -> None:
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1

        with Journal(self.path, read_only=False) as journal:
            journal.belongs("source", ["node"])
            for key in KEYS:
                said = self.judge(journal, key, final=final)
                if said is Verdict.CONFLICT:
                    conflicts.add(key)
                    self.keep(journal, key, on_conflict)
                if said in TO_PUT or (said is Verdict.CONFLICT and on_conflict == "source"):
                    self.put(journal, key, breathe)
                elif said is Verdict.WITHDRAWN:
                    self.drop(journal, key, breathe)
                elif said is Verdict.EQUAL:
                    self.learn(journal, key)
        return conflicts

    def keep(self, journal: Journal, key: bytes, on_conflict: str) -> None:
        source, target = self.entry(self.source, key), self.entry(self.cluster, key)
        if on_conflict == "target" and source and target:
            journal.kept([(key, source, target)])
            self.settled[key] = self.source[key]

    def drop(self, journal: Journal, key: bytes, breathe: Callable[[], None]) -> None:
        breathe()
        journal.intend([(key, ABSENT)])
        breathe()
        del self.cluster[key]
        self.brought.pop(key, None)
        breathe()
        journal.gone([key])

    def put(self, journal: Journal, key: bytes, breathe: Callable[[], None]) -> None:
        source = self.entry(self.source, key)
        assert source is not None
        breathe()
        journal.intend([(key, source)])
        breathe()
        self.cluster[key] = self.source[key]
        self.brought[key] = self.source[key]
        self.touched.discard(key)
        target = self.entry(self.cluster, key)
        assert target is not None
        if target != source:
            self.unproven.add(key)
        breathe()
        journal.copied([(key, source, target)])
        self.unproven.discard(key)

    def learn(self, journal: Journal, key: bytes) -> None:
        source, target, base = (
            self.entry(self.source, key),
            self.entry(self.cluster, key),
            journal.get(key),
        )
        assert source is not None
        assert target is not None
        ours = base is not None and base.ours(target, 0)
        (journal.copied if ours else journal.found)([(key, source, target)])
        self.brought[key] = self.source[key]
        self.touched.discard(key)
        if ours:
            self.unproven.discard(key)
        elif self.cluster[key] % 2:
            self.unproven.add(key)


def live(world: World, steps: list[Step], *, switched: bool, on_conflict: str) -> None:
    """Let the app and runs of the module, killed or not, have their turns."""
    for what, which in steps:
        if isinstance(which, bytes):
            world.app(world.cluster if switched else world.source, what, which)
        else:
            try:
                world.run(final=switched, on_conflict=on_conflict, kill=which)
            except Killed:
                continue


@settings(max_examples=400)
@given(
    st.lists(app_steps | runs, max_size=12),
    st.lists(app_steps, max_size=5),
    st.lists(app_steps | runs, max_size=8),
    st.sampled_from(["source", "target"]),
)
# Killed between a deletion and the note of it; the key is made again.
@example([("write", b"a"), ("run", 1000), ("delete", b"a"), ("run", 2)], [("write", b"a")], [], "source")
# Killed between a write and the note of it; the app goes on to write at the source.
@example([("write", b"a"), ("run", 2)], [("write", b"a")], [], "source")
# The same after the switch, and the cluster's word stands, twice.
@example([], [("write", b"a")], [("run", 2), ("write", b"a"), ("run", 1000)], "target")
# The same; the app writes over it.
@example([], [("write", b"a")], [("run", 2), ("write", b"a")], "source")
# Both have written, and the cluster's word stands; then the app deletes it there.
@example(
    [("write", b"a")],
    [("write", b"a")],
    [("write", b"a"), ("run", 1000), ("delete", b"a")],
    "target",
)
def test_nobodys_last_word_is_lost(
    before: list[Step], between: list[Step], after: list[Step], on_conflict: str
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        live(world, before, switched=False, on_conflict="fail")
        assert world.run(final=False, on_conflict="fail", kill=1000) == set()
        for key in KEYS:
            if key not in world.unproven:
                assert world.source.get(key) == world.cluster.get(key), "a copy that went through is whole"
        # After the last copy and before the switch.
        live(world, between, switched=False, on_conflict="fail")
        live(world, after, switched=True, on_conflict=on_conflict)
        assert_last_pass(world, on_conflict)
        again = dict(world.cluster)
        world.run(final=True, on_conflict=on_conflict, kill=1000)
        assert world.cluster == again, "a second last pass changes nothing"


def assert_last_pass(world: World, on_conflict: str) -> None:
    held, by_app, touched = dict(world.cluster), set(world.touched), world.touched | world.unproven
    source, spoken = dict(world.source), world.touched & world.brought.keys()
    changed = {key for key in KEYS if world.source.get(key) != world.brought.get(key)}
    # Killed amid a write, a run leaves open whether the app has written over it or before it.
    with Journal(world.path, read_only=True) as journal:
        begun = {key for key in KEYS if (base := journal.get(key)) and base.intent}
    conflicts = world.run(final=True, on_conflict=on_conflict, kill=1000)
    # Who was asked once, and let the cluster's word stand, is asked in every pass.
    asked = changed | begun | world.settled.keys()
    assert conflicts <= touched & asked, "nobody is asked unless both have spoken"
    both = {key for key in spoken & changed if source.get(key) not in (None, held.get(key))}
    settled = {key for key in KEYS if world.settled.get(key) == source.get(key)}
    assert both - begun - settled <= conflicts, "where both have spoken, somebody is asked"
    for key in KEYS:
        cluster = world.cluster.get(key)
        if key in conflicts:
            assert cluster == (source.get(key) if on_conflict == "source" else held.get(key))
        elif key not in touched:
            assert cluster == source.get(key)
        elif cluster != held.get(key):
            # Only at the source has it been written: the app's deletion hit what was not there yet, or nobody
            # could tell that it was a run that wrote here, and both sides have been the same since.
            assert key in changed | begun
            assert key not in held or (key not in by_app and cluster == source.get(key))


@settings(max_examples=200)
@given(st.lists(app_steps | runs, max_size=14))
# Killed between a write in a form of the cluster's own and the note of it; changed before the next run.
@example([("write", b"a"), ("run", 2), ("write", b"a")])
def test_a_killed_copy_is_completed_by_the_next_one(steps: list[Step]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder))
        # Nobody writes in the cluster, so nothing may ever look as if somebody had.
        live(world, steps, switched=False, on_conflict="fail")
        assert world.run(final=False, on_conflict="fail", kill=1000) == set()
        for key in KEYS:
            if key in world.source or key not in world.unproven:
                assert world.cluster.get(key) == world.source.get(key)
