# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which setting is tried next, and whether it has helped. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Run = Mapping[str, Any]
# Two load tests of the same platform differ by some percent by themselves.
HELPS = 0.05


def following(run: Run, settings: Mapping[str, Any], tried: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the first proposal of a run that was not tried yet; nothing where there is none."""
    known = {(one["variable"], _key(one["to"])) for one in tried}
    for finding in run.get("findings") or ():
        for variable, value in (finding.get("proposal") or {}).items():
            if (variable, _key(value)) not in known:
                return {
                    "variable": variable,
                    "from": settings.get(variable),
                    "to": value,
                    "because": finding["sentence"],
                    "before": figures(run),
                }
    return {}


def _key(value: Any) -> str:
    return repr(value)


def figures(run: Run) -> dict[str, float | None]:
    """Return by what two runs of the same load are compared."""
    results = {one["metric"]: one for one in (run.get("slo") or {}).get("results") or () if one["measured"]}
    seconds = float(run.get("seconds") or 0)
    requests = float((run.get("totals") or {}).get("requests") or 0)
    return {
        "p95": results["latency_p95"]["value"] if "latency_p95" in results else None,
        "errors": round(results["error_rate"]["value"], 4) if "error_rate" in results else None,
        "rate": round(requests / seconds, 1) if seconds else None,
    }


def judged(attempt: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """Return an attempt with what came of it, and whether it is kept.

    It is where fewer requests fail, or as many and the slowest of them are faster, each by more than chance.
    """
    before, after = attempt["before"], figures(run)
    return {**attempt, "after": after, "kept": _better(before, after)}


def _better(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    if None in (before["p95"], after["p95"], before["errors"], after["errors"]):
        return False
    for name in ("errors", "p95"):
        if after[name] < before[name] * (1 - HELPS):
            return True
        if after[name] > before[name] * (1 + HELPS):
            return False
    return False
