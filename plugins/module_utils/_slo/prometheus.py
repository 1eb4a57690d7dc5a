# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus is asked, and how its answer is read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import (
    NotMeasured,
    Reading,
    Unreachable,
    Value,
)
from ansible_collections.payaid.scaling.plugins.module_utils._slo.targets import Target

# The app's own histograms (docs/contract.md, reference_app/src/lib/metrics.ts), without what only machines
# ask for and what is limited; the exporter of Redis; a prober such as blackbox_exporter, the worst of what it
# probes. Without a 5xx there is no series of them, which is 0 and not unknown. Without any request 0/0 is
# NaN, and unknown.
_OF_USERS = 'route=~"/api/.*",route!~"/api/(health|live)",status!="429"'
_REQUESTS = "http_request_duration_seconds"
_QUERIES = "app_database_query_duration_seconds"
QUERIES: dict[str, str] = {
    **{
        f"latency_p{percent}": (
            f"1000 * histogram_quantile({percent / 100:g}, sum by (le) "
            f"(rate({_REQUESTS}_bucket{{{_OF_USERS}}}[WINDOW])))"
        )
        for percent in (50, 90, 95, 99)
    },
    "latency_mean": (
        f"1000 * sum(rate({_REQUESTS}_sum{{{_OF_USERS}}}[WINDOW]))"
        f" / sum(rate({_REQUESTS}_count{{{_OF_USERS}}}[WINDOW]))"
    ),
    "error_rate": (
        f'100 * (sum(rate({_REQUESTS}_count{{{_OF_USERS},status=~"5.."}}[WINDOW])) or vector(0))'
        f" / sum(rate({_REQUESTS}_count{{{_OF_USERS}}}[WINDOW]))"
    ),
    "availability": "100 * min(avg_over_time(probe_success[LONG_WINDOW]))",
    "query_time_mean": f"1000 * sum(rate({_QUERIES}_sum[WINDOW])) / sum(rate({_QUERIES}_count[WINDOW]))",
    **{
        f"query_time_p{percent}": (
            f"1000 * histogram_quantile({percent / 100:g}, sum by (le) (rate({_QUERIES}_bucket[WINDOW])))"
        )
        for percent in (95, 99)
    },
    "cache_hit_rate": (
        "100 * sum(rate(redis_keyspace_hits_total[WINDOW]))"
        " / (sum(rate(redis_keyspace_hits_total[WINDOW])) + sum(rate(redis_keyspace_misses_total[WINDOW])))"
    ),
}
DURATION = re.compile(r"(\d+(ms|[smhdwy]))+")


def questions(targets: Iterable[Target], window: str, long_window: str) -> dict[str, str]:
    """Return what to ask, by the key of the target."""
    for given in (window, long_window):
        if not DURATION.fullmatch(given):
            raise NotMeasured(f"{given} is no duration, which is written as 5m or 30d")
    asked = {}
    for target in targets:
        query = target.query or QUERIES.get(target.metric, "")
        if "prometheus" in target.sources and query:
            asked[target.key] = query.replace("LONG_WINDOW", long_window).replace("WINDOW", window)
    return asked


def read(where: str, asked: Mapping[str, str], ask: Callable[[str], Any]) -> Reading:
    """Ask, and read what is answered."""
    values: dict[str, Value] = {}
    missing: dict[str, str] = {}
    for key, query in asked.items():
        try:
            values[key] = Value(single(ask(query)), {"query": query})
        except Unreachable:
            raise
        except NotMeasured as why:
            missing[key] = f"{where}: {why} ({query})"
    return Reading("prometheus", where, values, missing)


def single(answer: Any) -> float:
    """Return the one number of an answer of the HTTP API."""
    told = answer if isinstance(answer, dict) else {}
    if told.get("status") == "error":
        raise NotMeasured(f"the query is refused: {told.get('error')}")
    data = told.get("data")
    kind, result = (data.get("resultType"), data.get("result")) if isinstance(data, dict) else (None, None)
    if kind not in ("vector", "scalar") or not isinstance(result, list):
        raise NotMeasured("the answer is neither a vector nor a scalar of Prometheus")
    if kind == "vector":
        if len(result) != 1:
            raise NotMeasured(f"the query yields {len(result)} series where one is wanted")
        result = result[0].get("value") if isinstance(result[0], dict) else None
    return _finite(result)


def _finite(sample: Any) -> float:
    """A sample is its time and its value, the value as a text."""
    try:
        value = float(sample[1])
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise NotMeasured("the answer has no sample") from error
    if not math.isfinite(value):
        raise NotMeasured(f"the query yields {value}, as it does when there was nothing to measure")
    return value
