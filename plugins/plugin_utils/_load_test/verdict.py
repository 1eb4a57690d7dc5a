# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What several slo_checks say together, each of which saw a part of the platform. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._slo.judge import HEAD, aligned, rounded
from ansible_collections.payaid.scaling.plugins.module_utils._slo.targets import bound_of


def worst(checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one verdict out of those of several hosts, each as {host, slo}.

    Of a target that several have measured the worst value counts: if that one is good, all are.
    """
    names = list(dict.fromkeys(one["name"] for check in checks for one in check["slo"]["results"]))
    results = [_worst(name, checks) for name in names]
    problems = [problem for check in checks for problem in check["slo"]["problems"]]
    missed = [one["name"] for one in results if one["measured"] and not one["pass"]]
    unmeasured = [one["name"] for one in results if not one["measured"]]
    return {
        "results": results,
        "passed": not problems and not missed and not unmeasured,
        "missed": missed,
        "unmeasured": unmeasured,
        "problems": problems,
        "table": aligned([HEAD, *map(_row, results)]),
        "sentence": _sentence(results, problems),
    }


def _worst(name: str, checks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    told = [
        # Which file or address it was does not matter to whom reads on which machine.
        {**one, "source": f"{one['source'].split(' (')[0]} at {check['host']}" if one["source"] else ""}
        for check in checks
        for one in check["slo"]["results"]
        if one["name"] == name
    ]
    measured = [one for one in told if one["measured"]]
    if not measured:
        return told[0]
    # The more the worse, where less is wanted.
    sign = 1 if measured[0]["target"].startswith("<") else -1
    return max(measured, key=lambda one: (not one["pass"], sign * one["value"]))


def _shown(one: Mapping[str, Any]) -> str:
    if not one["measured"]:
        return "-"
    return f"{rounded(one['value'], *bound_of(one['target']))} {one['unit']}".rstrip()


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = ("pass" if one["pass"] else "MISSED") if one["measured"] else "not measured"
    return (one["name"], _shown(one), one["target"], verdict, one["source"] or one["reason"])


def _sentence(results: Sequence[Mapping[str, Any]], problems: Sequence[str]) -> str:
    """Say what keeps the whole from being good; nothing where it is."""
    missed = [
        f"{one['name']} is {_shown(one)} (target {one['target']}, by {one['source']})"
        for one in results
        if one["measured"] and not one["pass"]
    ]
    silent = [f"{one['name']} ({one['reason']})" for one in results if not one["measured"]]
    parts = [f"Performance targets are missed: {', '.join(missed)}"] if missed else []
    parts += [f"nobody has measured {', '.join(silent)}"] if silent else []
    parts += list(problems)
    return f"{'; '.join(parts)}." if parts else ""
