# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a week of the rollout has: which features, and which of the machines that are listed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.figures import RefusedError
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.model import KINDS
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.states import State, weeks_of

# Machines that no role sees to yet.
UNTOUCHED = frozenset({"load_generators"})
Groups = Mapping[str, Sequence[str]]
Weeks = Sequence[Mapping[str, Any]]
Features = Mapping[str, int]


def number_of(week: Any, weeks: Weeks) -> int | None:
    """Return a week as a number; none where nothing is said."""
    return None if week is None or not str(week).strip() else week_of(week, weeks)


def week_of(week: Any, weeks: Weeks) -> int:
    """Return a week as a number, and refuse what is none."""
    text = str(week).strip()
    if not text.isdecimal() or int(text) >= len(weeks):
        raise RefusedError(f"rollout_week={text}: give a number from 0 to {len(weeks) - 1}.")
    return int(text)


def rollout(groups: Groups, weeks: Weeks, features: Features, week: Any, back_from: Any) -> dict[str, Any]:
    """Return what the week has. Where none is said, all: every feature and every machine.

    On the way back from a later week the machines of that one are worked on as well, so that what the week
    does not have can be taken out of use.
    """
    number = number_of(week, weeks)
    if number is None:
        return {
            "week": None,
            "has": dict.fromkeys(features, True),
            "machines": _machines(groups, None),
            "active": None,
        }
    states = weeks_of(weeks, features)
    later = max(number, number_of(back_from, weeks) or 0)
    return {
        "week": number,
        "has": {name: int(since) <= number for name, since in features.items()},
        "machines": _machines(groups, states[later]),
        "active": states[number].uses.get("app_nodes"),
    }


def _machines(groups: Groups, state: State | None) -> dict[str, list[str]]:
    found = {kind: list(groups.get(kind) or ()) for kind in KINDS}
    if state is not None:
        found = {kind: hosts[: state.uses.get(kind, len(hosts))] for kind, hosts in found.items()}
    databases = _once(found["postgres_primary"] + found["postgres_replicas"])
    return {
        **found,
        "databases": databases,
        "all": _once([host for kind in KINDS if kind not in UNTOUCHED for host in found[kind]]),
    }


def _once(hosts: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(hosts))


def shortage(groups: Groups, weeks: Weeks, features: Features, week: Any) -> str:
    """Return what keeps an inventory from a week, in one sentence; empty where nothing does."""
    number = number_of(week, weeks)
    return "" if number is None else short_of(groups, weeks_of(weeks, features)[number])


def short_of(groups: Groups, state: State) -> str:
    """Return the first group of which a state needs more machines than are listed."""
    for kind, least in state.needs.items():
        if least > (listed := len(groups.get(kind) or ())):
            return (
                f"{state.name} needs {least} of the group {kind}, and the inventory lists {listed}: add "
                "machines to it."
            )
    return ""
