# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as Ansible runs it, with a systemctl that is played."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# The module takes its arguments the way Ansible hands them to it, without the controller's start-up time.
RUNNER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.payaid.scaling.plugins.modules.app_release import main
with patch_module_args(json.loads(sys.argv[1])):
    main()
"""
RESTING = """#!/bin/sh
printf 'Id=app@1.service\\n'
printf 'ActiveState=inactive\\nUnitFileState=disabled\\nNeedDaemonReload=no\\n'
printf 'ExecMainStartTimestampMonotonic=0\\n'
"""
BROKEN = """#!/bin/sh
echo 'Failed to connect to bus.' >&2
exit 1
"""


def run(folder: Path, systemctl: str) -> tuple[int, dict[str, Any]]:
    program = folder / "systemctl"
    program.write_text(systemctl)
    program.chmod(0o755)
    given = {
        "release": "2.0",
        "release_dir": "/opt/app/releases/2.0",
        "link": str(folder / "current"),
        "units": [{"unit": "app@.service", "ports": [1]}],
        "_ansible_check_mode": True,
        "_ansible_remote_tmp": str(folder),
    }
    ended = subprocess.run(  # noqa: S603  # the tests' own program
        [sys.executable, "-c", RUNNER, json.dumps(given)],
        env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, json.loads(ended.stdout)


def test_a_check_run_tells_the_plan_and_the_difference(tmp_path: Path) -> None:
    status, result = run(tmp_path, RESTING)
    assert (status, result["changed"]) == (0, True)
    assert [action.split()[0] for action in result["actions"]] == ["Point", "Start", "Restart"]
    assert result["diff"]["before"]["current"] == ""
    assert result["diff"]["after"]["current"] == "/opt/app/releases/2.0"
    assert not (tmp_path / "current").exists()


def test_a_refusal_is_a_failure_with_a_sentence(tmp_path: Path) -> None:
    status, result = run(tmp_path, BROKEN)
    assert status == 1
    assert result["failed"] is True
    assert result["msg"].endswith("failed: Failed to connect to bus.")
    assert result["rc"] == 1
