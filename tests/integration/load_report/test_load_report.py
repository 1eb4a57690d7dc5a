# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of a load test, written by the real ansible-playbook from the JSON of two runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from ansible_collections.payaid.scaling.tests.unit.load_report.rendering import TEMPLATES, rendered
from ansible_collections.payaid.scaling.tests.unit.load_report.runs import bare, earlier, whole

ROOT = Path(__file__).resolve().parents[3]
READ = "{{ lookup('ansible.builtin.file', playbook_dir ~ '/%s.json') | from_json }}"
PLAY = [
    {
        "hosts": "localhost",
        "connection": "local",
        "gather_facts": False,
        "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "tasks": [
            {
                "ansible.builtin.template": {
                    "src": str(TEMPLATES / "load-test.html.j2"),
                    "dest": "{{ playbook_dir }}/page.html",
                    "mode": "0644",
                },
                "vars": {
                    "run": READ % "run",
                    "previous": READ % "previous",
                    "page": "{{ run | payaid.scaling.load_test_page(previous) }}",
                },
            }
        ],
    }
]


def written(folder: Path, run: dict[str, Any], previous: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    for name, value in {"run.json": run, "previous.json": previous, "play.yml": PLAY}.items():
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    return subprocess.run(  # noqa: S603  # of this environment, with files of this test
        [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i",
            "localhost,",
            str(folder / "play.yml"),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ
        | {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        },
    )


def test_a_play_writes_the_page_that_the_unit_tests_look_at(tmp_path: Path) -> None:
    done = written(tmp_path, whole(), earlier())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.strip() == rendered(whole(), earlier()).strip()
    assert "changed=0 " in written(tmp_path, whole(), earlier()).stdout


def test_what_is_no_run_fails_in_one_sentence(tmp_path: Path) -> None:
    done = written(tmp_path, bare(slo=None), {})
    assert done.returncode == 2
    assert "The run has no slo: give what the load test wrote of it." in done.stdout + done.stderr
    assert not (tmp_path / "page.html").exists()
