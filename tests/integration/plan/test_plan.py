# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""playbooks/plan.yml with the real ansible-playbook: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[3]
INVENTORY = Path(__file__).with_name("inventory.yml")
PLAYBOOK = ROOT / "playbooks/plan.yml"
ELSEWHERE = re.compile(r"https?://|\bsrc=|@import|url\(|<script|<link", re.IGNORECASE)


def run(
    folder: Path, *words: str, inventory: str = str(INVENTORY), jsonl: bool = True
) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", inventory, str(PLAYBOOK)]
    callback = "ansible.posix.jsonl" if jsonl else "ansible.builtin.default"
    return subprocess.run(  # noqa: S603  # of this environment, with files of this test
        [*command, *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ
        | {
            "PWD": str(folder),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_STDOUT_CALLBACK": callback,
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        },
    )


def said(done: subprocess.CompletedProcess[str]) -> list[Any]:
    """Return what the tasks of a run said, the last of it last."""
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    hosts = [host for event in events for host in event.get("hosts", {}).values()]
    return [host["msg"] for host in hosts if host.get("msg") and host["msg"] != "All assertions passed"]


def refusal(folder: Path, *words: str, **options: Any) -> str:
    done = run(folder, *words, **options)
    assert done.returncode == 2, done.stdout + done.stderr
    assert not list(folder.glob("*.html"))
    return str(said(done)[-1])


def page_of(path: Path) -> ElementTree.Element:
    """Return the page as a tree, which it only is when it is well formed."""
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>\n")
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))  # noqa: S314  # made a moment ago


def words_of(element: ElementTree.Element | None) -> str:
    assert element is not None
    return " ".join("".join(element.itertext()).split())


def test_text_is_readable_as_it_is_printed(tmp_path: Path) -> None:
    done = run(tmp_path, jsonl=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        "\n        10,000 users, 1,000 requests a second: Phase 3, horizontal scaling, 10 machines, ₹30K-60K"
        in done.stdout
    )
    assert re.search(r"\n        App nodes +3 +2 GB +₹15K-30K\n", done.stdout)
    assert re.search(r"\n        Machines +5 +10\n", done.stdout)
    assert (tmp_path / "capacity-plan.html").is_file()
    assert str(tmp_path / "capacity-plan.html") in done.stdout


def test_json_and_page_say_the_same(tmp_path: Path) -> None:
    words = ("-e", "plan_users=12000", "-e", "plan_format=json")
    paths = ("-e", f"plan_page={tmp_path}/page.html", "-e", "plan_file=plan.json")
    done = run(tmp_path, *words, *paths)
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads((tmp_path / "plan.json").read_text(encoding="utf-8"))
    assert json.loads(said(done)[-2]) == told
    assert set(told) == {"plan", "phases", "weeks", "inventory"}
    plan = told["plan"]
    assert (plan["users"], plan["phase"], plan["cost"]["text"]) == (12000, 4, "₹42K-85K")
    # The inventory decides on these two, plan_figures of it on the third.
    sources = {row["name"]: (row["value"], row["source"]) for row in plan["assumptions"]}
    assert sources["processes_per_node"] == (2, "given")
    assert sources["max_connections"] == (320, "given")
    assert sources["reads_share"] == (0.95, "given")
    assert told["inventory"]["machine_count"] == 5
    assert len(told["phases"]) == 4
    assert len(told["weeks"]) == 6

    page = page_of(tmp_path / "page.html")
    assert words_of(page.find(".//h1")) == "Capacity plan for 12,000 users"
    tiles = {words_of(tile.find("dt")): words_of(tile.find("dd")) for tile in page.iterfind(".//dl/div")}
    assert tiles["₹ a month"] == "₹42K-85K"
    assert tiles["Machines"] == str(plan["machine_count"])
    assert tiles["With one lost"] == f"{plan['capacity']['users_one_lost']:,}"
    text = words_of(page.find("body"))
    for row in (*told["phases"], *told["weeks"]):
        assert f"{row['name']} " in text
        assert row["cost"]["text"] in text
    for row in plan["assumptions"]:
        assert row["name"] in text
        assert row["source"] in text


def test_the_page_needs_nothing_else_and_can_be_read_by_anybody(tmp_path: Path) -> None:
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    path = tmp_path / "capacity-plan.html"
    text = path.read_text(encoding="utf-8")
    assert not ELSEWHERE.findall(text)
    for needed in ("prefers-color-scheme: dark", "@media print", "width=device-width", 'charset="utf-8"'):
        assert needed in text
    page = page_of(path)
    assert page.get("lang") == "en"
    identities = [one.get("id") for one in page.iter() if one.get("id")]
    assert len(identities) == len(set(identities))
    links = [link.get("href", "") for link in page.iter("a")]
    assert links
    assert all(link.removeprefix("#") in identities and link.startswith("#") for link in links)
    charts = list(page.iter("svg"))
    assert len(charts) == 3
    for chart in charts:
        assert chart.get("role") == "img"
        assert words_of(chart.find("title"))
        assert chart.get("aria-labelledby") in identities
    for table in page.iter("table"):
        assert [head.get("scope") for head in table.iterfind("thead/tr/th")].count("col") >= 2
        assert all(row.find("th") is not None for row in table.iterfind("tbody/tr"))
    named = [one.get("aria-labelledby") for one in page.iter("section")]
    assert all(name in identities for name in named)


def test_a_second_run_changes_nothing_and_a_check_run_writes_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, "--check").returncode == 0
    assert not list(tmp_path.glob("*.html"))
    assert "changed=1 " in run(tmp_path, jsonl=False).stdout
    assert "changed=0 " in run(tmp_path, jsonl=False).stdout


def test_no_page_and_no_platform(tmp_path: Path) -> None:
    done = run(tmp_path, "-e", "plan_page=", "-e", "plan_format=json", inventory="somewhere,")
    assert done.returncode == 0, done.stdout + done.stderr
    told = json.loads(said(done)[-1])
    assert told["inventory"] == {}
    assert told["plan"]["cost"]["text"] == "₹30K-60K"
    assert list(tmp_path.glob("*.html")) == []


@pytest.mark.parametrize(
    ("variables", "wanted"),
    [
        ({"plan_users": "0"}, "users=0: give a whole number of 1 or more (users). Nothing was written."),
        (
            {"plan_users": "lots"},
            "users=lots: give a whole number of 1 or more (users). Nothing was written.",
        ),
        ({"plan_format": "xml"}, "plan_format=xml: set it to text or json. Nothing was written."),
        ({"plan_figures": {"user": 5}}, "user is no figure: did you mean users? Nothing was written."),
        (
            {"plan_figures": 5},
            "The figures are no dictionary: give them by name, such as {users: 10000}. Nothing",
        ),
        (
            {"plan_figures": {"throughput_per_process": 0}},
            "throughput_per_process=0: give a number above 0 (requests/s). Nothing was written.",
        ),
        (
            {"plan_figures": {"prices": {"app_nodes": {"low": 5}}}},
            "prices.app_nodes has no high: give low and high, ₹ a month. Nothing was written.",
        ),
        (
            {"plan_figures": {"pool_size": 120}},
            "pool_size=120 and pool_reserve=0 make 370 connections with 3 app nodes and 10 kept, and "
            "max_connections=320: raise max_connections to 370, or lower pool_size to 103. Nothing was "
            "written.",
        ),
        (
            {"platform_pool_size": 200},
            "pool_size=200 and pool_reserve=5 make 420 connections with 1 app node and 10 kept, and "
            "max_connections=320: raise max_connections to 420, or lower pool_size to 150. Nothing was "
            "written.",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(tmp_path: Path, variables: dict[str, Any], wanted: str) -> None:
    assert refusal(tmp_path, "-e", json.dumps(variables)).startswith(wanted)
