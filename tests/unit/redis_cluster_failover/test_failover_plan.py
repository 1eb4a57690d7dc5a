# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a replica is promoted, or why not."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.failover import plan
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import Cluster, Problem

from ..redis_cluster.states import after, alter, down, empty, node, peer

HEALTHY = after()
DEAD = alter(HEALTHY, down(1), peer(1, flags={"master", "fail"}))
ALL_DEAD = alter(DEAD, down(3), down(5))

STEPS: dict[str, tuple[Any, ...]] = {
    "a master already": (HEALTHY, 1, "graceful", []),
    "graceful": (HEALTHY, 4, "graceful", ["Make n4:6379 master in place of n1:6379"]),
    "force": (DEAD, 4, "force", ["Make n4:6379 master in place of n1:6379 (force)"]),
    "takeover": (ALL_DEAD, 4, "takeover", ["Make n4:6379 master in place of n1:6379 (takeover)"]),
}
REFUSALS: dict[str, tuple[Any, ...]] = {
    "in no cluster": (empty(), 1, "graceful", "Node n1:6379 is no replica and owns no slots: "),
    "master dead": (
        DEAD,
        4,
        "graceful",
        "cannot take over from its master n1:6379, because it does not answer",
    ),
    "link down": (
        alter(HEALTHY, node(4, link="down")),
        4,
        "graceful",
        "because its link to it is down: wait",
    ),
    "no majority": (ALL_DEAD, 4, "force", "only 0 of 3 masters answer: start others"),
    "replica dead": (alter(HEALTHY, down(2), down(4)), 4, "graceful", "Node n4:6379 cannot be reached"),
    "wrong password": (
        alter(HEALTHY, node(4, problem=Problem.AUTH, detail="WRONGPASS", view=())),
        4,
        "graceful",
        "AUTH_FAIL on node n4:6379 (WRONGPASS)",
    ),
}


@pytest.mark.parametrize(("cluster", "number", "mode", "expected"), STEPS.values(), ids=STEPS)
def test_steps(cluster: Cluster, number: int, mode: str, expected: list[str]) -> None:
    steps = plan(cluster, f"n{number}:6379", mode)
    assert [step.describe() for step in steps] == expected
    after_it = simulate(cluster, steps)
    assert plan(after_it, f"n{number}:6379", mode) == ()
    assert after_it.named(f"n{number}:6379").me.slots == HEALTHY.named("n1:6379").me.slots


@pytest.mark.parametrize(("cluster", "number", "mode", "sentence"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(cluster: Cluster, number: int, mode: str, sentence: str) -> None:
    with pytest.raises(Refusal) as refusal:
        plan(cluster, f"n{number}:6379", mode)
    assert sentence in refusal.value.message
    assert ": " in refusal.value.message
    assert refusal.value.message.endswith(".")


def test_the_other_replicas_of_the_shard_follow_the_new_master() -> None:
    cluster = after(None, "aaabbbccc", replicas=2)
    heir = next(n for n in cluster.up if n.me.master_id == cluster.named("n1:6379").me.id)
    turned = simulate(cluster, plan(cluster, heir.addr, "graceful"))
    assert {n.addr for n in turned.followers(heir.me.id)} > {"n1:6379"}
    assert turned.followers("id1") == []
