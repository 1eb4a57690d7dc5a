# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a copy is done: at once where nobody writes to the source, else when only the app's own changes are
left."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import Desired, Survey, Verdict
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.plan import (
    CopyIO,
    Step,
    names,
    numbered,
    plan,
)

ROUNDS = 5
# What only somebody who writes to the source can have brought about once everything had been copied.
BY_THE_APP = (Verdict.NEW, Verdict.OUTDATED, Verdict.WITHDRAWN)


def settle(observe: Callable[[], Survey], io: CopyIO, desired: Desired) -> Survey:
    """Compare all keys again, and see to those that a failover or the app has undone meanwhile."""
    survey = observe()
    for _round in range(ROUNDS):
        steps = plan(survey, desired)
        moving = [step for step in steps if step.verdict in BY_THE_APP]
        if moving and desired.final:
            raise still_written(moving, desired)
        left = [step for step in steps if step not in moving]
        if not left:
            return survey.excused(step.verdict for step in moving)
        for step in left:
            step.apply(io)
        survey = observe()
    return survey


def still_written(moving: list[Step], desired: Desired) -> Refusal:
    keys = [pending for step in moving for pending in step.keys]
    return Refusal(
        f"{numbered(len(keys))} changed at the source {desired.source.addr} during this last pass "
        f"({names(keys)}): something still writes to it; switch it over to the cluster, then run again.",
        still_written=len(keys),
    )
