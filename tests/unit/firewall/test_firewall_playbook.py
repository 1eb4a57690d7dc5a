# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the playbook makes of an inventory: whether there is a firewall, and who reaches what."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
VARS = ROOT / "playbooks/vars"
NONE, ALONE, PRESENT, ABSENT = "no machine", "left alone", "present", "absent"


class Case(NamedTuple):
    """What a run is told, whether a machine has a firewall already, and what comes of it."""

    told: dict[str, Any]
    found: bool
    outcome: str


CASES = [
    Case({}, False, ALONE),
    Case({}, True, PRESENT),
    Case({"platform_firewall": ""}, False, ALONE),
    Case({"platform_firewall": True}, False, PRESENT),
    Case({"platform_firewall": "false"}, False, ABSENT),
    Case({"platform_firewall": False}, True, ABSENT),
    Case({"rollout_week": 5}, False, ALONE),
    Case({"rollout_week": 5}, True, PRESENT),
    Case({"rollout_week": 5, "platform_firewall": True}, False, PRESENT),
    Case({"rollout_week": 5, "platform_firewall": False}, True, ABSENT),
    Case({"rollout_week": 4}, False, NONE),
    Case({"rollout_week": 4, "platform_firewall": True}, False, NONE),
    Case({"rollout_now": 4, "rollout_back_from": "5"}, True, ABSENT),
    Case({"rollout_now": 4, "rollout_back_from": "5", "platform_firewall": True}, True, ABSENT),
    Case({"rollout_now": 3, "rollout_back_from": "4"}, False, NONE),
]
# By docs/firewall.md; the addresses end as those of inventories/prod do.
RULES = {
    "lb1": {"virtual IP": [12], "web": [], "node exporter": [51], "nginx exporter": [51]},
    "app2": {"app": [11, 12], "pooler": [31, 32, 33], "node exporter": [51], "metrics of the app": [51]},
    "pg3": {
        "backups": [61],
        "postgres": [21, 22, 23, 31, 32],
        "postgres agent": [21, 22, 23],
        "node exporter": [51],
        "postgres exporter": [51],
    },
    "backup1": {"backups": [31, 32, 33], "node exporter": [51]},
    "redis1": {
        "redis": [21, 22, 23, 42, 43, 44],
        "redis bus": [42, 43, 44],
        "node exporter": [51],
        "redis exporter": [51],
    },
    # It is a member of the cluster until it has been emptied.
    "redis4": {"redis": [21, 22, 23, 41, 42, 43], "redis bus": [41, 42, 43]},
}
RETIRED = {"redis_retired": {"hosts": {"redis4": {"platform_address": "192.0.2.44"}}}}
PORTS = {
    "web": [80, 443],
    "virtual IP": [],
    "app": [3000, 3001],
    "pooler": [6432],
    "postgres": [5432],
    "postgres agent": [5430],
    "backups": [8432],
    "redis": [6379, 6380],
    "redis bus": [16379, 16380],
    "sentinel": [26379],
    "node exporter": [9100],
    "nginx exporter": [9113],
    "postgres exporter": [9187],
    "redis exporter": [9121],
    "metrics of the app": [3000, 3001],
}


def play(number: int, case: Case) -> dict[str, Any]:
    outcome = (
        f"{{{{ '{NONE}' if not __firewall_machines else '{ALONE}' if __firewall_left_alone "
        "else firewall_state }}"
    )
    return {
        "hosts": "app1",
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(VARS / "weeks.yml"), str(VARS / "firewall.yml")],
        "vars": case.told,
        "tasks": [
            {
                "ansible.builtin.set_fact": {"platform_firewall_unit": {"stat": {"exists": case.found}}},
            },
            {
                "ansible.builtin.copy": {
                    "content": outcome,
                    "dest": f"{{{{ folder }}}}/{number}",
                    "mode": "0600",
                },
            },
        ],
    }


def rules_of_all() -> dict[str, Any]:
    return {
        "hosts": ",".join(RULES),
        "connection": "local",
        "gather_facts": False,
        "vars_files": [str(VARS / "weeks.yml"), str(VARS / "firewall.yml")],
        "tasks": [
            {
                "ansible.builtin.copy": {
                    "content": "{{ firewall_rules | to_json }}",
                    "dest": "{{ folder }}/{{ mode_of_redis }}-{{ inventory_hostname }}",
                    "mode": "0600",
                },
                "loop": ["cluster", "sentinel"],
                "loop_control": {"loop_var": "mode_of_redis"},
                "vars": {"redis_mode": "{{ mode_of_redis }}"},
            },
            {
                "ansible.builtin.copy": {
                    "content": "{{ __firewall_machines | join(' ') }}",
                    "dest": "{{ folder }}/machines-{{ firewall_with_retired }}-{{ inventory_hostname }}",
                    "mode": "0600",
                },
                "loop": [False, True],
                "loop_control": {"loop_var": "firewall_with_retired"},
            },
        ],
    }


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run all cases, each a play of its own, and return the folder of what came of them."""
    folder = tmp_path_factory.mktemp("firewall")
    (folder / "retired.yml").write_text(yaml.safe_dump(RETIRED))
    # Not in a playbook's own folder: the files of variables name no others.
    (folder / "plays.yml").write_text(
        yaml.safe_dump([*(play(number, case) for number, case in enumerate(CASES)), rules_of_all()])
    )
    subprocess.run(  # noqa: S603  # our own words
        [
            *(sys.executable, "-m", "ansible", "playbook", str(folder / "plays.yml")),
            *(
                "-i",
                str(ROOT / "inventories/prod"),
                "-i",
                str(folder / "retired.yml"),
                "-e",
                f"folder={folder}",
            ),
            *("-e", f"ansible_python_interpreter={sys.executable}"),
        ],
        check=True,
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
    )
    return folder


@pytest.mark.parametrize("number", range(len(CASES)), ids=[str(case) for case in CASES])
def test_whether_there_is_a_firewall(made: Path, number: int) -> None:
    assert (made / str(number)).read_text() == CASES[number].outcome


def rules(made: Path, host: str, mode: str = "cluster") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((made / f"{mode}-{host}").read_text())
    return found


@pytest.mark.parametrize("host", RULES)
def test_who_reaches_what(made: Path, host: str) -> None:
    found = rules(made, host)
    assert {rule["name"]: [int(one.rpartition(".")[2]) for one in rule["from"]] for rule in found} == RULES[
        host
    ]
    for rule in found:
        assert rule["ports"] == PORTS[rule["name"]]
        assert rule["proto"] == ("vrrp" if rule["name"] == "virtual IP" else "tcp")


def test_sentinels_have_no_bus(made: Path) -> None:
    found = {rule["name"]: rule["ports"] for rule in rules(made, "redis1", "sentinel")}
    assert found == {name: PORTS[name] for name in ("redis", "sentinel", "node exporter", "redis exporter")}


def test_machines_that_leave_are_worked_on_where_they_are_emptied(made: Path) -> None:
    """Elsewhere they may be off already."""
    assert "redis4" not in (made / "machines-False-lb1").read_text().split()
    assert (made / "machines-True-lb1").read_text().split()[-1] == "redis4"
    asking = [
        path.name
        for path in (ROOT / "playbooks").glob("*.yml")
        if "firewall_with_retired" in path.read_text()
    ]
    assert asking == ["redis_scale.yml"]


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((ROOT / "playbooks").glob("*.yml"))
        if "import_playbook: edge.yml" in path.read_text()
    ],
    ids=lambda path: path.name,
)
def test_what_brings_new_ports_opens_them_first_and_closes_the_old_ones_last(path: Path) -> None:
    steps = [
        (play.get("ansible.builtin.import_playbook"), (play.get("vars") or {}).get("firewall_phase", ""))
        for play in yaml.safe_load(path.read_text())
    ]
    names = [name for name, _phase in steps]
    first, last = names.index("firewall.yml"), len(names) - 1 - names[::-1].index("firewall.yml")
    assert (steps[first], steps[last]) == (("firewall.yml", "open"), ("firewall.yml", ""))
    assert first < min(map(names.index, ("app.yml", "edge.yml")))
    assert last > max(number for number, name in enumerate(names) if name in {"app.yml", "edge.yml"})


def test_the_page_shows_the_flows_that_there_are() -> None:
    """Each row of the table is one flow, in the order of the file; that of SSH is the role's own."""
    page = (ROOT / "docs/firewall.md").read_text()
    rows = [
        (asked, by)
        for asked, by in re.findall(r"^\| (\w+) \| [^|]+ \| ([^|]+) \| [^|]+ \|$", page, re.MULTILINE)
        if asked != "asked" and by != "`firewall_ssh_from`, anybody by default"
    ]
    flows = yaml.safe_load((VARS / "firewall.yml").read_text())["platform_flows"]
    assert rows == [(flow["to"], ", ".join(flow["from"])) for flow in flows]
