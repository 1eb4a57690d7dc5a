# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What two servers may be for a copy between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.facts import (
    Facts,
    Server,
    rdb_version,
    refuse_unfit,
)

SOURCE = Server("old:6379", "s", (7, 0), databases={0: 5})
NODES = tuple(Server(f"n{number}:6379", f"n{number}", (7, 0), cluster=True) for number in (1, 2, 3))
GOOD = Facts(SOURCE, NODES, NODES[0])


def source(**changes: Any) -> Facts:
    return replace(GOOD, source=replace(SOURCE, **changes))


def node(**changes: Any) -> Facts:
    return replace(GOOD, masters=(NODES[0], replace(NODES[1], **changes), NODES[2]))


def seed(**changes: Any) -> Facts:
    return replace(GOOD, seed=replace(NODES[0], **changes))


FIT = {
    "as they are": GOOD,
    "an empty source": source(databases={}),
    "an old source": source(version=(5, 0)),
    "a newer cluster": replace(GOOD, masters=tuple(replace(n, version=(8, 0)) for n in NODES)),
    "a newer source that serialises alike": replace(
        GOOD,
        source=replace(SOURCE, version=(8, 0), rdb=12),
        masters=tuple(replace(n, version=(7, 4)) for n in NODES),
    ),
    "both newer than all that are known": replace(
        GOOD,
        source=replace(SOURCE, version=(9, 0)),
        masters=tuple(replace(n, version=(9, 0)) for n in NODES),
    ),
    "clocks nearly alike": source(clock=900),
}
UNFIT = {
    "the same server": (
        source(run_id="n2", cluster=True),
        "The source old:6379 and node n2:6379 are the same server",
    ),
    "a cluster as source": (source(cluster=True), "The source old:6379 is in cluster mode"),
    "a replica as source": (source(role="slave"), "The source old:6379 is a replica"),
    "a source that loads": (source(loading=True), "The source old:6379 is still loading"),
    "other databases": (source(databases={0: 1, 3: 2}), "The source old:6379 has keys in database 3"),
    "no cluster": (seed(cluster=False), "Node n1:6379 is not in cluster mode"),
    "a cluster that fails": (
        replace(GOOD, state="fail"),
        "The cluster of node n1:6379 has cluster_state:fail",
    ),
    "a cluster without all slots": (
        replace(GOOD, slots=16000),
        "The cluster of node n1:6379 serves 16000 of 16384",
    ),
    "a node that loads": (node(loading=True), "Node n2:6379 is still loading"),
    "an old node": (node(version=(6, 2)), "Node n2:6379 is Redis 6.2: upgrade"),
    "an older cluster": (
        source(version=(7, 2)),
        "The source old:6379 is Redis 7.2, whose keys node n1:6379, Redis 7.0, cannot read",
    ),
    "a key of a later form": (source(rdb=11), "The source old:6379 is Redis 7.0, whose keys node n1:6379"),
    "a source newer than all that are known": (
        source(version=(9, 9)),
        "The source old:6379 is Redis 9.9, whose keys node n1:6379",
    ),
    "clocks apart": (
        node(clock=-3000),
        "The clocks of the source old:6379 and node n2:6379 are 3000 ms apart",
    ),
}


@pytest.mark.parametrize("facts", FIT.values(), ids=FIT.keys())
def test_what_may_be_copied(facts: Facts) -> None:
    refuse_unfit(facts, 1000)


@pytest.mark.parametrize(("facts", "words"), UNFIT.values(), ids=UNFIT.keys())
def test_what_may_not(facts: Facts, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        refuse_unfit(facts, 1000)
    assert refused.value.message.startswith(words)
    assert refused.value.message.endswith(".")
    assert refused.value.message.count(". ") == 0, "one sentence"


@pytest.mark.parametrize(
    ("version", "writes"),
    [
        ((3, 0), 6),
        ((3, 2), 7),
        ((5, 0), 9),
        ((6, 2), 9),
        ((7, 0), 10),
        ((7, 2), 11),
        ((7, 4), 12),
        ((8, 0), 12),
    ],
)
def test_the_form_that_a_version_writes(version: tuple[int, int], writes: int) -> None:
    assert rdb_version(version) == writes


def test_a_later_version_is_not_guessed_at() -> None:
    assert rdb_version((8, 2)) is None


@pytest.mark.parametrize(("maxmemory", "used", "room"), [(0, 5, None), (10, 4, 6), (10, 12, 0)])
def test_the_room_of_a_node(maxmemory: int, used: int, room: int | None) -> None:
    assert Server("n1:6379", maxmemory=maxmemory, used_memory=used).room == room
