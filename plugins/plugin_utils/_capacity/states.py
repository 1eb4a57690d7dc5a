# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states that a platform may be in: the blueprint's phases, and the weeks of the rollout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .figures import RefusedError


@dataclass(frozen=True)
class State:
    """How many machines of each group a state has at least and at most, and how they work together."""

    name: str
    title: str
    needs: Mapping[str, int]
    # What is not among them may be any number.
    uses: Mapping[str, int]
    # What has no machine of its own.
    shared: frozenset[str] = frozenset()
    pooler: bool = True
    # A cluster, or a single instance.
    redis_cluster: bool = True
    app_machine_size: int = 1
    database_machine_size: int = 1
    # What is there once, and not counted by the load.
    once: frozenset[str] = frozenset()
    phase: int = 0
    users: tuple[int, int | None] | None = field(default=None)
    brings: tuple[str, ...] = ()

    def within(self, kind: str, count: int) -> int:
        """Return how many of a kind this state has where so many are wanted."""
        return min(
            max(count, self.needs.get(kind, 0)), self.uses.get(kind, max(count, self.needs.get(kind, 0)))
        )


_NONE_BESIDE = {"monitoring": 0, "load_generators": 0, "backup": 0}
_ALONE = {
    "load_balancers": 0,
    "app_nodes": 1,
    "postgres_primary": 1,
    "postgres_replicas": 0,
    "redis_nodes": 1,
}

# The blueprint's Scaling Strategy, which only plans are made from; so it is kept here, beside the prices, and
# not with the weeks, by which playbooks act. It prices neither monitoring nor backups.
PHASES = (
    State(
        name="Phase 1",
        title="Single server",
        phase=1,
        users=(100, 500),
        needs=_ALONE,
        uses=_ALONE | _NONE_BESIDE,
        shared=frozenset({"redis_nodes"}),
        pooler=False,
        redis_cluster=False,
        brings=("one app server", "one database", "one Redis on the app server"),
    ),
    State(
        name="Phase 2",
        title="Vertical scaling",
        phase=2,
        users=(500, 2000),
        needs=_ALONE,
        uses=_ALONE | _NONE_BESIDE,
        shared=frozenset({"redis_nodes"}),
        pooler=False,
        redis_cluster=False,
        # The blueprint says "increase server resources"; twice is the least that deserves the name.
        app_machine_size=2,
        database_machine_size=2,
        brings=("machines twice as big", "caching", "better queries"),
    ),
    State(
        name="Phase 3",
        title="Horizontal scaling",
        phase=3,
        users=(2000, 10000),
        needs={
            "load_balancers": 1,
            "app_nodes": 2,
            "postgres_primary": 1,
            "postgres_replicas": 1,
            "redis_nodes": 3,
        },
        uses={"load_balancers": 1, "app_nodes": 3, "postgres_primary": 1, "postgres_replicas": 2}
        | _NONE_BESIDE,
        brings=("load balancer", "read replicas", "PgBouncer", "Redis Cluster"),
    ),
    State(
        name="Phase 4",
        title="Advanced scaling",
        phase=4,
        users=(10000, None),
        needs={
            "load_balancers": 1,
            "app_nodes": 5,
            "postgres_primary": 1,
            "postgres_replicas": 2,
            "redis_nodes": 3,
        },
        # The blueprint's "5-10 app instances" is no limit, for what needs more.
        uses={"postgres_primary": 1} | _NONE_BESIDE,
        brings=("a second load balancer", "multiple replicas", "CDN", "queue workers"),
    ),
)


def weeks_of(weeks: Sequence[Mapping[str, Any]], features: Mapping[str, int]) -> list[State]:
    """Return the weeks of playbooks/vars/weeks.yml as states."""
    try:
        return [_week(week, features) for week in weeks]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RefusedError(
            f"The table of weeks cannot be read ({type(error).__name__}: {error}): give rollout_weeks and "
            "rollout_features of playbooks/vars/weeks.yml."
        ) from error


def _week(week: Mapping[str, Any], features: Mapping[str, int]) -> State:
    number = int(week["week"])
    have = {name for name, since in features.items() if int(since) <= number}
    cluster = "redis_cluster" in have
    once = {"monitoring": "monitoring", "load_generators": "load_test", "backup": "backups"}
    uses = {kind: int(count) for kind, count in week["uses"].items()}
    return State(
        name=f"Week {number}",
        title=str(week["title"]),
        needs={kind: int(count) for kind, count in week["needs"].items()},
        uses={kind: 0 for kind, feature in once.items() if feature not in have} | uses,
        # Load comes from the machine that watches, as in the lab; a single Redis is on the app's.
        shared=frozenset({"load_generators"} if cluster else {"load_generators", "redis_nodes"}),
        pooler="pooler" in have,
        redis_cluster=cluster,
        once=frozenset(kind for kind, feature in once.items() if feature in have),
        brings=tuple(str(name).replace("_", " ") for name, since in features.items() if int(since) == number),
    )
