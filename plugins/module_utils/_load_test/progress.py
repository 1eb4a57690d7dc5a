# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test has done so far, out of what its tool tells while it runs. No input or output here.

Artillery tells of slices of ten seconds, each by itself. k6 is asked,
and tells of everything since its begin.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

FAILED_CODES = "http.codes.5"
ERRORS = "errors."
LIMITED = "http.codes.429"
TIMES = "http.response_time"


@dataclass(frozen=True)
class Progress:
    """Counts since the begin, and what was seen last."""

    requests: int = 0
    failed: int = 0
    limited: int = 0
    # Those that are there now. Artillery's come and go, and how many there are follows from that.
    users: int = 0
    # ms; of the last slice with Artillery, of all so far with k6. None where nothing was answered.
    p95: float | None = None

    def told(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "failed": self.failed,
            "limited": self.limited,
            "users": self.users,
            "p95": self.p95,
        }


def of_artillery(lines: Iterable[str]) -> Progress:
    """Read the slices that the plugin in roles/load_test/files has written, a line each."""
    counted: dict[str, float] = {}
    p95: float | None = None
    for line in lines:
        try:
            told = json.loads(line)
        except ValueError:
            continue  # the last line may be half written; the next look has it whole
        for name, count in (told.get("counters") or {}).items():
            counted[name] = counted.get(name, 0) + count
        p95 = ((told.get("summaries") or {}).get(TIMES) or {}).get("p95", p95)
    went = counted.get("vusers.completed", 0) + counted.get("vusers.failed", 0)
    failed = sum(n for name, n in counted.items() if name.startswith((FAILED_CODES, ERRORS)))
    return Progress(
        requests=int(counted.get("http.requests", 0)),
        failed=int(failed),
        limited=int(counted.get(LIMITED, 0)),
        users=int(max(counted.get("vusers.created", 0) - went, 0)),
        p95=p95,
    )


def of_k6(answer: Mapping[str, Any]) -> Progress:
    """Read what k6 answers at /v1/metrics."""
    samples = {
        str(one.get("id")): (one.get("attributes") or {}).get("sample") or {}
        for one in answer.get("data") or []
        if isinstance(one, dict)
    }
    requests = int(_of(samples, "http_reqs", "count"))
    return Progress(
        requests=requests,
        failed=round(_of(samples, "http_req_failed", "rate") * requests),
        limited=int(_of(samples, "limited", "count")),
        users=int(_of(samples, "vus", "value")),
        p95=samples.get("http_req_duration", {}).get("p(95)") if requests else None,
    )


def _of(samples: Mapping[str, Mapping[str, Any]], metric: str, field: str) -> float:
    return float(samples.get(metric, {}).get(field) or 0)


def sentence(seconds: float, of: float, now: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Say how far a run is, and how it goes, in one line for people."""
    if not now["requests"] and not now["users"]:
        return f"{seconds:.0f} of about {of:.0f} s: nothing is told of it yet"
    passed = max(seconds - float(before.get("seconds") or 0), 1)
    rate = (now["requests"] - int(before.get("requests") or 0)) / passed
    p95 = "-" if now.get("p95") is None else f"{now['p95']:.0f} ms"
    limited = f", {now['limited']} limited" if now.get("limited") else ""
    return (
        f"{seconds:.0f} of about {of:.0f} s: {rate:.0f} requests/s, p95 {p95}, {now['users']} users, "
        f"{now['failed']} of {now['requests']} failed{limited}"
    )
