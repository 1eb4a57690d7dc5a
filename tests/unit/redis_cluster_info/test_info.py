# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the info module refuses; what it reports is tried with redis_cluster and on real servers."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import health
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.refusals import refuse_silence
from ansible_collections.payaid.scaling.plugins.modules import redis_cluster, redis_cluster_info

from ..redis_cluster.states import after, alter, down, empty, peer, stranger

GHOST = frozenset({"slave", "fail", "noaddr"})


def test_one_node_that_answers_is_enough() -> None:
    refuse_silence(alter(after(), *(down(number) for number in range(2, 7))))


def test_no_node_that_answers_is_too_few() -> None:
    with pytest.raises(Refusal, match=r"Node n1:6379 cannot be reached \(Connection refused\): start it"):
        refuse_silence(alter(empty(), *(down(number) for number in range(1, 7))))


def test_ghosts_are_told_from_nodes_that_are_down() -> None:
    lost = alter(after(), down(4), peer(4, flags={"slave", "fail"}), stranger(7, port=0, flags=GHOST))
    told = health(lost, 1)
    assert (told["state"], told["down"], told["ghosts"]) == ("degraded", ["n4:6379"], ["id7"])


def test_it_returns_what_redis_cluster_returns() -> None:
    own, other = (yaml.safe_load(module.RETURN) for module in (redis_cluster_info, redis_cluster))
    assert own["nodes"] == other["nodes"]
    assert own["health"] == other["health"]
