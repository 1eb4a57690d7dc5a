# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the lines that the role nginx has its servers log, the latest first.

Requests that were limited are no errors, but no answers of the app either: they are quick, and among the
others they would make times and errors look better than they are. A WebSocket's time is how long somebody
stayed.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import (
    NotMeasured,
    Reading,
    Value,
    number,
    share,
    without_times_of_failures,
)
from ansible_collections.payaid.scaling.plugins.module_utils._slo.percentile import mean, percentile

LIMITED, CLIENT_LEFT, SWITCHED = 429, 499, 101
# s: a line is written when the answer has ended, and a worker keeps its lines for a second before it writes
# them.
DISORDER = 10


@dataclass(frozen=True)
class Line:
    at: float
    uri: str
    status: int
    milliseconds: int
    # Who has answered, the last one where others were asked before; empty where nginx has itself.
    upstream: str = ""


@dataclass
class Tally:
    """What was counted of the lines since a moment."""

    since: float
    prefix: str
    times: Counter[int] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    first: float = 0
    last: float = 0

    def add(self, file: str, lines: Iterable[bytes]) -> None:
        """Count the lines of one file, from its end to the moment since which is counted."""
        for raw in lines:
            line = parse(file, raw)
            if line.at < self.since - DISORDER:
                return
            if line.at >= self.since and line.uri.startswith(self.prefix):
                self._count(line)

    def _count(self, line: Line) -> None:
        self.codes[line.status] += 1
        self.first, self.last = min(self.first or line.at, line.at), max(self.last, line.at)
        if line.status not in (LIMITED, SWITCHED):
            self.times[line.milliseconds] += 1


def parse(file: str, raw: bytes) -> Line:
    """Read a line of the log format `json` of the role nginx."""
    try:
        told = json.loads(raw)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise NotMeasured(f"{file}: a line is no JSON object, so it is not of the role nginx: {_shown(raw)}")
    try:
        at = datetime.fromisoformat(_text(told, "time")).timestamp()
    except (ValueError, OverflowError):
        at = -1
    what = f"of a line of {file}: {_shown(raw)}"
    return Line(
        number(at, f"time {what}"),
        _text(told, "uri"),
        int(number(told.get("status"), f"status {what}")),
        round(number(told.get("request_time"), f"request_time {what}") * 1000),
        _text(told, "upstream").rpartition(",")[2].strip(),
    )


def _text(told: Mapping[str, Any], name: str) -> str:
    value = told.get(name)
    return value if isinstance(value, str) else ""


def _shown(raw: bytes) -> str:
    """Show the begin of a line, enough to know it by."""
    return repr(raw[:60].decode(errors="replace"))


def reading(files: Iterable[str], tally: Tally, minutes: float) -> Reading:
    """Say what was counted."""
    where = ", ".join(files)
    asked = sum(tally.times.values())
    if not asked:
        raise NotMeasured(
            f"{where}: no request for {tally.prefix or '/'} was answered in the last {minutes:g} minutes"
        )
    failed = sum(count for code, count in tally.codes.items() if 500 <= code <= 599)
    evidence = {
        "requests": asked,
        "limited": tally.codes[LIMITED],
        "clients_left": tally.codes[CLIENT_LEFT],
        "codes": {str(code): count for code, count in sorted(tally.codes.items())},
        "seconds": round(tally.last - tally.first),
    }
    values = {f"latency_p{p}": Value(float(percentile(tally.times, p)), evidence) for p in (50, 90, 95, 99)}
    values["latency_max"] = Value(float(max(tally.times)), evidence)
    values["latency_mean"] = Value(mean(tally.times), evidence)
    values["error_rate"] = Value(share(failed, asked), evidence)
    values["availability"] = Value(share(asked - failed, asked), evidence)
    missing: dict[str, str] = {}
    without_times_of_failures(values, missing, where)
    return Reading("nginx", where, values, missing)
