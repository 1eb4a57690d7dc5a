# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a load test must not be begun, in one sentence. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

TOOLS = {"artillery": "load_test_nodejs_binary", "k6": "load_test_k6_binary"}
SCHEMES = ("http", "https")
# What a script takes from its environment: {{ $env.NAME }}.
TAKEN = re.compile(r"\$env\.(\w+)")


def problem(
    scenarios: Mapping[str, Any],
    name: str,
    plan: Mapping[str, Any],
    target: str,
    allowed: Sequence[str],
    given: Mapping[str, Any],
) -> str:
    """Return the first thing that is wrong; nothing where the load test can be begun.

    plan is the scenario with what was asked for besides, allowed are the names and addresses of the platform,
    and given has share, environment and the programs by the names of their variables.
    """
    if name not in scenarios:
        return f"load_test_scenario={name} is none of {', '.join(sorted(scenarios))}."
    return next(_problems(name, plan, target, allowed, given), "")


def _problems(
    name: str, plan: Mapping[str, Any], target: str, allowed: Sequence[str], given: Mapping[str, Any]
) -> Iterator[str]:
    tool = plan.get("tool")
    if tool not in TOOLS:
        yield f"The scenario {name} has tool={tool}: take {' or '.join(TOOLS)}."
        return
    if not given.get(TOOLS[tool]):
        yield f"The scenario {name} needs {tool}: give its path on the controller as {TOOLS[tool]}."
    yield from _target(target, allowed)
    if not _number(given.get("share"), least=1):
        yield f"load_test_share={given.get('share')}: give the number of load generators, 1 or more."
    yield from _phases(plan) if tool == "artillery" else _users(plan)
    lacking = sorted(
        set(TAKEN.findall(json.dumps(plan))) - {str(key) for key in given.get("environment") or {}}
    )
    if lacking:
        yield f"The scenario {name} takes {' and '.join(lacking)} from load_test_environment: give it there."


def _target(target: str, allowed: Sequence[str]) -> Iterator[str]:
    """A load test of somebody else's machines is an attack, and most often a slip of the pen."""
    parts = urlsplit(str(target))
    if parts.scheme not in SCHEMES or not parts.hostname:
        yield f"load_test_target={target} is no address that begins with http:// or https://."
    elif parts.hostname not in {str(one).strip("[]").lower() for one in allowed}:
        yield (
            f"load_test_target={target} is of none of the machines that the inventory lists "
            f"({', '.join(map(str, allowed)) or 'none'}): ask one of those."
        )
    elif parts.path.strip("/") or parts.query:
        yield f"load_test_target={target} has more than a host and a port: the scenario says which paths."


def _phases(plan: Mapping[str, Any]) -> Iterator[str]:
    phases = plan.get("phases") or []
    if not phases:
        yield "load_test_phases is empty, so nobody would come: list one with seconds and rate."
    for number, phase in enumerate(phases, 1):
        for field, least in (("seconds", 1), ("rate", 0), ("to", 0)):
            value = phase.get(field, 0 if field == "to" else None)
            # Artillery ends at once where it is given a part of a user.
            if not _number(value, least) or float(value) % 1:
                yield (
                    f"Phase {number} of load_test_phases has {field}={value}: "
                    f"give a whole number, {least} or more."
                )
    if phases and not any(float(phase.get("rate") or 0) + float(phase.get("to") or 0) for phase in phases):
        yield "load_test_phases has no phase with a rate above 0, so nobody would come."


def _users(plan: Mapping[str, Any]) -> Iterator[str]:
    for field, least in (("users", 1), ("think_time", 0.1), ("ramp", 1), ("hold", 1)):
        if not _number(plan.get(field), least):
            yield f"load_test_{field}={plan.get(field)}: give a number, {least} or more."
    if not plan.get("paths"):
        yield "The scenario lists no paths, so nothing would be asked."


def _number(value: Any, least: float) -> bool:
    try:
        return not isinstance(value, bool) and float(value) >= least
    except (TypeError, ValueError):
        return False
