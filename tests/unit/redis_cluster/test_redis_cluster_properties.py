# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for plans of every shape from 6 to 60 nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, permutations, product

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import health, missing
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.layout import slices
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Desired,
    owned,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import (
    SLOTS,
    count,
    gaps,
    merged,
    overlap,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.steps import Step
from hypothesis import given, settings
from hypothesis import strategies as st

from .states import desired, empty


@st.composite
def shapes(draw: st.DrawFn, most: int = 60) -> Desired:
    replicas = draw(st.integers(0, min(3, most // 3 - 1)))
    size = draw(st.integers(max(6, 3 * (replicas + 1)), most))
    zones = draw(st.lists(st.integers(1, draw(st.integers(1, size))), min_size=size, max_size=size))
    return desired([f"z{zone}" for zone in zones], replicas=replicas, require_zones=draw(st.booleans()))


def start(wanted: Desired) -> Cluster:
    return empty([node.zone for node in wanted.nodes])


def prefer(wanted: Desired) -> Desired:
    return replace(wanted, require_zones=False)


@settings(max_examples=60)
@given(shapes(most=14))
def test_every_prefix_of_a_plan_leaves_the_rest_of_it(wanted: Desired) -> None:
    state, wanted = start(wanted), prefer(wanted)
    steps = plan(state, wanted)
    for done in range(len(steps) + 1):
        assert plan(state, wanted) == steps[done:]
        state = simulate(state, steps[done : done + 1])


@settings(max_examples=50)
@given(shapes(), st.data())
def test_some_prefix_of_a_large_plan_leaves_the_rest_of_it(wanted: Desired, data: st.DataObject) -> None:
    try:
        steps = plan(start(wanted), wanted)
    except Refusal:
        wanted = prefer(wanted)
        steps = plan(start(wanted), wanted)
    done = data.draw(st.integers(0, len(steps)))
    assert plan(simulate(start(wanted), steps[:done]), wanted) == steps[done:]


@settings(max_examples=50)
@given(shapes())
def test_a_plan_ends_in_the_wanted_shape(wanted: Desired) -> None:
    wanted = prefer(wanted)
    end = simulate(start(wanted), plan(start(wanted), wanted))
    masters = [node for node in end.nodes if node.me.slots]
    has = Counter(node.me.master_id for node in end.nodes if node.me.master_id)
    assert len(masters) == wanted.masters
    assert sum(count(node.me.slots) for node in masters) == SLOTS
    assert not gaps(owned(node.me for node in masters))
    assert not any(overlap(one.me.slots, other.me.slots) for one, other in combinations(masters, 2))
    assert all(has[node.me.id] >= wanted.replicas for node in masters)
    assert len({node.me.epoch for node in masters}) == len(masters)
    assert plan(end, wanted) == ()
    assert missing(end, end.listed) == ""


@settings(max_examples=50)
@given(shapes(), st.randoms(use_true_random=False))
def test_the_order_of_nodes_has_no_meaning(wanted: Desired, random: object) -> None:
    wanted = prefer(wanted)
    nodes = list(wanted.nodes)
    random.shuffle(nodes)  # type: ignore[attr-defined]  # hypothesis hands over a random.Random
    other = replace(wanted, nodes=tuple(nodes))
    state = start(wanted)
    shuffled = Cluster.of(state.named(node.addr) for node in nodes)
    assert plan(shuffled, other) == plan(state, wanted)


@settings(max_examples=60)
@given(shapes())
def test_zones_are_kept_apart_or_refused(wanted: Desired) -> None:
    strict = replace(wanted, require_zones=True)
    refusal = ""
    steps: Sequence[Step] = ()
    try:
        steps = plan(start(strict), strict)
    except Refusal as refused:
        refusal = refused.message
    if not steps:
        assert "anti_affinity=require cannot be kept" in refusal
        return
    end = simulate(start(strict), steps)
    assert health(end, strict.replicas)["affinity_violations"] == []
    # What require would do, prefer does as well.
    assert plan(start(strict), prefer(strict)) == steps


def possible(zones: tuple[str, ...], replicas: int) -> bool:
    """Try every choice of masters and of replicas."""
    masters = len(zones) // (replicas + 1)
    for chosen in combinations(range(len(zones)), masters):
        others = [i for i in range(len(zones)) if i not in chosen]
        for follow in product(chosen, repeat=len(others)):
            has = Counter(follow)
            apart = all(zones[i] != zones[m] for i, m in zip(others, follow, strict=True))
            if apart and all(has[m] >= replicas for m in chosen):
                return True
    return False


@pytest.mark.parametrize("size", [6, 7])
def test_require_refuses_only_what_no_choice_could_keep(size: int) -> None:
    for counts in product(range(size + 1), repeat=3):
        if sum(counts) != size:
            continue
        zones = tuple("a" * counts[0] + "b" * counts[1] + "c" * counts[2])
        wanted = desired(zones)
        try:
            plan(start(wanted), wanted)
            planned = True
        except Refusal:
            planned = False
        assert planned == possible(zones, 1), zones


@pytest.mark.parametrize("zones", sorted(set(permutations("aabbcc"))))
def test_three_zones_of_two_get_one_master_each(zones: tuple[str, ...]) -> None:
    wanted = desired(zones)
    end = simulate(start(wanted), plan(start(wanted), wanted))
    assert sorted(node.listed.zone for node in end.nodes if node.me.slots) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("masters", "ends"),
    [
        (3, [5460, 10922, 16383]),
        (4, [4095, 8191, 12287, 16383]),
        (5, [3276, 6553, 9829, 13106, 16383]),
        (6, [2730, 5460, 8191, 10922, 13652, 16383]),
        (7, [2340, 4680, 7021, 9361, 11702, 14042, 16383]),
    ],
)
def test_slices_are_those_of_redis_cli(masters: int, ends: list[int]) -> None:
    assert [share[0][1] for share in slices([1.0] * masters)] == ends


@given(st.integers(3, 1000))
def test_slices_cover_every_slot_once(masters: int) -> None:
    shares = slices([1.0] * masters)
    assert sum(count(share) for share in shares) == SLOTS
    assert merged(pair for share in shares for pair in share) == ((0, SLOTS - 1),)
