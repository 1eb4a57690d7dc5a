# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test has found to help lasts, from the week of the load tests on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
GROUPS = {
    "load_balancers": ["lb1"],
    "app_nodes": ["app1", "app2"],
    "postgres_primary": ["pg1"],
    "postgres_replicas": ["pg2"],
    "redis_nodes": ["redis1", "redis2", "redis3"],
    "load_generators": ["gen1"],
}


def pool_size(folder: Path, *, tuned: bool, **told: object) -> int:
    """Return what a playbook of the collection has for the size of a pool, where the inventory says 50."""
    inventory = folder / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    hosts = {group: {"hosts": dict.fromkeys(names)} for group, names in GROUPS.items()}
    (inventory / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": hosts}}))
    (inventory / "group_vars" / "all.yml").write_text("platform_pool_size: 50\n")
    if tuned:
        (inventory / "group_vars" / "tuned.yml").write_text("platform_pool_size: 60\n")
    machines = {"ansible.builtin.import_playbook": str(ROOT / "playbooks" / "machines.yml")}
    plays = [
        # As often as it is imported in a run, they are read once.
        *(machines, machines),
        {
            "hosts": "app1",
            "connection": "local",
            "gather_facts": False,
            "tasks": [
                {
                    "ansible.builtin.copy": {
                        "content": "{{ platform_pool_size }}",
                        "dest": str(folder / "said"),
                        "mode": "0600",
                    }
                }
            ],
        },
    ]
    (folder / "play.yml").write_text(yaml.safe_dump(plays))
    words = [str(folder / "play.yml"), f"--inventory={inventory}", f"--extra-vars={json.dumps(told)}"]
    done = subprocess.run(  # noqa: S603  # our own words
        [sys.executable, "-m", "ansible", "playbook", *words],
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "ANSIBLE_NOCOLOR": "1"},
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("TASK [Have them]") <= 1
    # A file that is no group's is not taken for an inventory.
    assert "unable to parse" not in done.stderr.lower()
    return int((folder / "said").read_text())


@pytest.mark.parametrize(
    ("told", "size"),
    [
        ({}, 60),
        ({"rollout_now": 5}, 60),
        ({"rollout_now": 4}, 60),
        ({"rollout_now": 3}, 50),
        ({"rollout_now": 3, "rollout_back_from": 4}, 50),
        ({"platform_tuned_file": ""}, 50),
    ],
)
def test_what_has_helped_comes_before_the_inventory_from_week_4_on(
    tmp_path: Path, told: dict[str, object], size: int
) -> None:
    assert pool_size(tmp_path, tuned=True, **told) == size


def test_nothing_was_tried_yet(tmp_path: Path) -> None:
    assert pool_size(tmp_path, tuned=False) == 50
