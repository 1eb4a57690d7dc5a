# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The weeks of the rollout: what each has, and which one may come next."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.figures import RefusedError
from ansible_collections.payaid.scaling.plugins.plugin_utils._rollout.gate import problem, standing
from ansible_collections.payaid.scaling.plugins.plugin_utils._rollout.machines import rollout, shortage
from ansible_collections.payaid.scaling.plugins.plugin_utils._rollout.status import status, table

Groups = Mapping[str, Sequence[str]]
Weeks = Sequence[Mapping[str, Any]]
Features = Mapping[str, int]


def rollout_state(
    groups: Groups, weeks: Weeks, features: Features, week: Any = "", back_from: Any = ""
) -> dict[str, Any]:
    """Return the features and the machines of a week."""
    try:
        return rollout(groups, weeks, features, week, back_from)
    except RefusedError as refusal:
        raise AnsibleFilterError(str(refusal)) from refusal


def rollout_shortage(groups: Groups, weeks: Weeks, features: Features, week: Any = "") -> str:
    """Return what keeps an inventory from a week."""
    try:
        return shortage(groups, weeks, features, week)
    except RefusedError as refusal:
        raise AnsibleFilterError(str(refusal)) from refusal


def rollout_problem(entries: Sequence[Mapping[str, Any]], weeks: Weeks, week: Any, back: bool = False) -> str:
    """Return why a week may not come next."""
    return problem(entries, weeks, week, back=back)


def rollout_standing(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the week that was verified last, and what was begun after it."""
    now = standing(entries)
    return {"week": now.week, "verified": now.verified, "pending": now.pending}


def rollout_status(
    ledgers: Mapping[str, Mapping[str, Any]], locks: Mapping[str, Mapping[str, Any]], weeks: Weeks
) -> dict[str, Any]:
    """Return where the rollout stands by what all machines answer."""
    return status(ledgers, locks, weeks)


def rollout_table(told: Mapping[str, Any]) -> list[str]:
    """Return the same for people."""
    return table(told)


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "rollout_problem": rollout_problem,
            "rollout_shortage": rollout_shortage,
            "rollout_standing": rollout_standing,
            "rollout_state": rollout_state,
            "rollout_status": rollout_status,
            "rollout_table": rollout_table,
        }
