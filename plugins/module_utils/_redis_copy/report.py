# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module returns."""

from __future__ import annotations

from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Outcome, diff
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.io import Tally
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import (
    SAMPLE,
    Desired,
    Survey,
    Verdict,
    shown,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.plan import numbered


def counted(survey: Survey) -> dict[str, int]:
    """Return the counts of a survey; those of the verdicts on the source's keys make up source_keys."""
    counts = {verdict.value: survey.count(verdict) for verdict in Verdict}
    return {"source_keys": survey.source_keys, "target_keys": survey.target_keys, **counts}


def report(outcome: Outcome[Survey], tally: Tally, desired: Desired) -> dict[str, Any]:
    before, after = counted(outcome.before), counted(outcome.after)
    conflicts = outcome.before.pending.get(Verdict.CONFLICT, ())
    return {
        "changed": outcome.changed,
        "actions": list(outcome.actions),
        "before": before,
        "after": after,
        "diff": diff(before, after),
        "types": dict(outcome.before.types),
        "copied": tally.copied,
        "replaced": tally.replaced,
        "deleted": tally.deleted,
        "gone_meanwhile": tally.gone,
        "overtaken": tally.overtaken,
        "behind": outcome.after.behind,
        "conflict_sample": [shown(pending.key) for pending in conflicts[:SAMPLE]],
        "complete": complete(outcome.after, desired),
    }


def complete(survey: Survey, desired: Desired) -> bool:
    """Tell whether every key of the source is in the cluster, unless the app has changed it there since."""
    settled = [Verdict.EQUAL, Verdict.AHEAD, Verdict.DROPPED]
    if desired.on_conflict == "target":
        settled.append(Verdict.CONFLICT)
    return sum(survey.count(verdict) for verdict in settled) == survey.source_keys


def warnings(result: dict[str, Any], desired: Desired) -> list[str]:
    """Say what a person may have to see to, though nothing is wrong with the run."""
    said = []
    after = result["after"]
    if after[Verdict.CONFLICT.value]:
        said.append(
            f"The source and the cluster differ in {numbered(after['conflicts'])}, and the cluster's value "
            "was kept, as on_conflict=target says."
        )
    if after[Verdict.WITHDRAWN.value] and not desired.delete:
        said.append(
            f"The cluster holds {numbered(after['deleted_at_source'])} copied earlier that the source has no "
            "more: delete=true deletes what the app has not written since."
        )
    return said
