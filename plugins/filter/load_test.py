# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test may ask, what came of it, and how that is shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_report.given import RefusedError
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_report.page import page
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_test.phases import phases
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_test.problems import problem
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_test.record import record
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_test.tries import following, judged

Given = Mapping[str, Any]
NOTHING: Given = MappingProxyType({})


def load_test_problem(
    scenarios: Given, name: str, plan: Given, target: str, allowed: Sequence[str], given: Given
) -> str:
    """Return why a load test must not be begun; nothing where it may."""
    return problem(scenarios, name, plan, target, allowed, given)


def load_test_phases(planned: Sequence[Given], share: int = 1, place: int = 0) -> list[dict[str, Any]]:
    """Return what one of several load generators does of a plan."""
    if not 0 <= place < share:
        raise AnsibleFilterError(f"load_test_phases: place {place} is none of {share} load generators.")
    return phases(planned, share, place)


def load_test_record(
    told: Given, machines: Mapping[str, Sequence[str]], hostvars: Mapping[str, Given], settings: Given
) -> dict[str, Any]:
    """Return all that is kept of a load test."""
    return record(told, machines, hostvars, settings)


def load_test_page(run: Given, previous: Given = NOTHING) -> dict[str, Any]:
    """Return what the page of a run shows."""
    try:
        return page(run, previous)
    except RefusedError as refusal:
        raise AnsibleFilterError(str(refusal)) from refusal


def load_test_next(run: Given, settings: Given, tried: Sequence[Given]) -> dict[str, Any]:
    """Return which setting to try next; nothing where there is none."""
    return following(run, settings, tried)


def load_test_judged(attempt: Given, run: Given) -> dict[str, Any]:
    """Return whether a setting that was tried is kept, with what came of it."""
    return judged(attempt, run)


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "load_test_judged": load_test_judged,
            "load_test_next": load_test_next,
            "load_test_page": load_test_page,
            "load_test_phases": load_test_phases,
            "load_test_problem": load_test_problem,
            "load_test_record": load_test_record,
        }
