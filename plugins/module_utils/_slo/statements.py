# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pg_stat_statements of one server or several says of the time that queries take.

It counts calls and adds up their time, and keeps no distribution; so there is a mean of all calls, and of
each statement, and no percentile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import NotMeasured, Reading, Value

WORST = 5
SHOWN = 200


@dataclass(frozen=True)
class Statement:
    """One statement of one server: how often it was called, and how long all calls took."""

    server: str
    # Who called it, and its number.
    key: str
    calls: int
    milliseconds: float
    query: str = ""

    @property
    def mean(self) -> float:
        return self.milliseconds / self.calls


def counters(statements: Sequence[Statement]) -> dict[str, dict[str, list[float]]]:
    """Write down what a later run has to take off."""
    told: dict[str, dict[str, list[float]]] = {}
    for one in statements:
        told.setdefault(one.server, {})[one.key] = [one.calls, one.milliseconds]
    return told


def since(statements: Sequence[Statement], earlier: Mapping[str, Any]) -> tuple[Statement, ...]:
    """Take off what was counted before. What has fewer calls than before was reset meanwhile."""
    left = []
    for one in statements:
        calls, milliseconds = earlier.get(one.server, {}).get(one.key, (0, 0))
        if one.calls < calls:
            calls, milliseconds = 0, 0
        if one.calls > calls:
            spent = max(one.milliseconds - milliseconds, 0)
            left.append(Statement(one.server, one.key, one.calls - int(calls), spent, one.query))
    return tuple(left)


def reading(where: str, statements: Sequence[Statement]) -> Reading:
    """Weigh every statement by its calls, and name the slowest."""
    calls = sum(one.calls for one in statements)
    if not calls:
        raise NotMeasured(f"{where}: pg_stat_statements has counted no query of this database")
    slowest = sorted(statements, key=lambda one: one.mean, reverse=True)[:WORST]
    evidence = {
        "calls": calls,
        "statements": len(statements),
        "worst": [
            {
                "server": one.server,
                "query": one.query[:SHOWN],
                "calls": one.calls,
                "mean_ms": round(one.mean, 3),
            }
            for one in slowest
        ],
    }
    return Reading(
        "postgres",
        where,
        {
            "query_time_mean": Value(sum(one.milliseconds for one in statements) / calls, evidence),
            "query_time_worst": Value(slowest[0].mean, evidence),
        },
    )
