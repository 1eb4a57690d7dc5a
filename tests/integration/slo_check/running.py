# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs slo_check as Ansible does."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from .. import modules

DEFAULTS = (
    "api_response_time_p95",
    "database_query_time",
    "cache_hit_rate",
    "error_rate",
    "availability",
    "concurrent_users",
)


def begin(targets: dict[str, Any], **options: Any) -> subprocess.Popen[str]:
    """Start the module with these targets and no others, its arguments on its input."""
    given = {"targets": dict.fromkeys(DEFAULTS, False) | targets, **options}
    return modules.begin("slo_check", given)


def end(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for what the module says. It never changes anything, and never ends with a traceback."""
    out, errors = process.communicate(timeout=120)
    assert errors == ""
    answer: dict[str, Any] = json.loads(out)
    assert answer["changed"] is False
    assert "exception" not in answer, answer
    return answer


def run(targets: dict[str, Any], **options: Any) -> dict[str, Any]:
    return end(begin(targets, **options))


def only(answer: dict[str, Any]) -> dict[str, Any]:
    """Return the one result."""
    (result,) = answer["results"]
    return dict(result)
