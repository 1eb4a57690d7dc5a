# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many machines a load needs, what they cost, and what an inventory carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.charts import charts
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.figures import RefusedError, figures_of
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.inventory import of_inventory
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.plan import plan, states
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.report import report
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.states import PHASES, weeks_of
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.words import change, changes, text

Given = Mapping[str, Any]
Groups = Mapping[str, Sequence[str]]
HostVars = Mapping[str, Mapping[str, Any]]
NOTHING: Given = MappingProxyType({})


def _refusing(function: Callable[..., Any], *given: Any) -> Any:
    """Have what cannot be planned fail as Ansible's filters do."""
    try:
        return function(*given)
    except RefusedError as refusal:
        raise AnsibleFilterError(str(refusal)) from refusal


def capacity_plan(given: Given) -> dict[str, Any]:
    """Return the smallest platform that carries a load, with its cost and every assumption."""
    told: dict[str, Any] = _refusing(lambda: plan(figures_of(given)))
    return told


def capacity_phases(given: Given) -> list[dict[str, Any]]:
    """Return the blueprint's phases beside each other, as each would be for a load."""
    told: list[dict[str, Any]] = _refusing(lambda: states(PHASES, figures_of(given)))
    return told


def capacity_weeks(given: Given, weeks: Sequence[Given], features: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the weeks of the rollout beside each other, as each would be for a load."""
    told: list[dict[str, Any]] = _refusing(lambda: states(weeks_of(weeks, features), figures_of(given)))
    return told


def _inventory(
    groups: Groups, hostvars: HostVars, given: Given, week: Given, features: Mapping[str, int]
) -> dict[str, Any]:
    figures = figures_of(given)
    asked = weeks_of([week], features)[0] if week else None
    state, platform, priced = of_inventory(groups, hostvars, figures, asked)
    return report(state, platform, figures, priced)


def capacity_inventory(
    groups: Groups,
    hostvars: HostVars,
    given: Given = NOTHING,
    week: Given = NOTHING,
    features: Mapping[str, int] = NOTHING,
) -> dict[str, Any]:
    """Return what an inventory carries and costs, as it is or as a week of the rollout has it."""
    told: dict[str, Any] = _refusing(_inventory, groups, hostvars, given, week, features)
    return told


def capacity_change(before: Given, after: Given) -> list[str]:
    """Return lines that compare what two platforms carry and cost."""
    return change(before, after)


def capacity_changes(before: Given, after: Given) -> list[dict[str, str]]:
    """Return the same as data."""
    return changes(before, after)


def capacity_charts(given: Given) -> dict[str, Any]:
    """Return the charts of cost and machines over users, as shapes."""
    told: dict[str, Any] = _refusing(lambda: charts(figures_of(given)))
    return told


def capacity_text(told: Given) -> list[str]:
    """Return the lines that playbooks/plan.yml prints."""
    return text(told)


def capacity_problems(given: Given, groups: Groups = NOTHING, hostvars: HostVars = NOTHING) -> list[str]:
    """Return why no plan can be made, in one sentence; nothing when one can."""
    try:
        plan(figures_of(given))
        if groups.get("app_nodes"):
            of_inventory(groups, hostvars, figures_of(given), None)
    except RefusedError as refusal:
        return [str(refusal)]
    return []


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "capacity_change": capacity_change,
            "capacity_changes": capacity_changes,
            "capacity_charts": capacity_charts,
            "capacity_inventory": capacity_inventory,
            "capacity_phases": capacity_phases,
            "capacity_plan": capacity_plan,
            "capacity_problems": capacity_problems,
            "capacity_text": capacity_text,
            "capacity_weeks": capacity_weeks,
        }
