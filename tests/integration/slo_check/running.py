# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs slo_check as Ansible does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]
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
    process = subprocess.Popen(  # noqa: S603  # this interpreter and a file of this repository
        [sys.executable, str(ROOT / "plugins/modules/slo_check.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / ".collections")},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps({"ANSIBLE_MODULE_ARGS": given}))
    process.stdin.close()
    process.stdin = None
    return process


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
