# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page about the weeks under traffic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.payaid.scaling.tests.traffic import timeline
from ansible_collections.payaid.scaling.tests.traffic.account import Account, Writer
from ansible_collections.payaid.scaling.tests.traffic.timeline import Step, render, steps, watched

MIDNIGHT = 1_767_312_000.0  # 2026-01-02T00:00:00+00:00
ABOUT = {"date": "2026-01-02", "debian": "13.1", "cores": 2}


def entry(week: int, outcome: str, second: int) -> dict[str, Any]:
    return {
        "week": week,
        "outcome": outcome,
        "time": f"2026-01-02T00:{second // 60:02}:{second % 60:02}+00:00",
    }


LEDGER = [
    entry(0, "begun", 0),
    entry(0, "verified", 5),
    entry(1, "begun", 20),
    entry(1, "verified", 50),
    entry(2, "begun", 55),  # killed
    entry(2, "begun", 60),
    entry(2, "verified", 90),
    entry(3, "begun", 200),  # nobody watched
    entry(3, "verified", 220),
    entry(2, "begun", 310),
    entry(2, "verified", 350),
]


def account_of(folder: Path, begins: int, ends: int, *failed: int, kind: str = "page") -> Account:
    """Return one of a request a second; its own clock began 1000 s before that day."""
    path = folder / f"{begins}.jsonl"
    writer = Writer(path)
    writer.add("started", at=1000 + begins, wall=MIDNIGHT + begins, run="t1", rate=1)
    for second in range(begins, ends):
        due = 1000 + second
        cause = "reset" if second in failed else None
        written = {"id": f"{begins}-{second}", "name": "x"} if second % 10 == 0 and not cause else {}
        writer.add(
            "request", kind=kind, over="kept", due=due, sent=due, ended=due + 0.02, cause=cause, **written
        )
    writer.add("complete", until=1000 + ends)
    writer.close()
    return Account.of(path)


def test_a_step_leads_from_one_verified_week_to_the_next() -> None:
    assert steps(LEDGER) == [
        Step(0, 1, MIDNIGHT + 20, MIDNIGHT + 50),
        Step(1, 2, MIDNIGHT + 55, MIDNIGHT + 90),
        Step(2, 3, MIDNIGHT + 200, MIDNIGHT + 220),
        Step(3, 2, MIDNIGHT + 310, MIDNIGHT + 350),
    ]
    assert [step.label for step in steps(LEDGER)] == [
        "to week 1",
        "to week 2",
        "to week 3",
        "back to week 2",
    ]
    # A week that was asked for once more leads nowhere.
    assert steps([*LEDGER[:4], entry(1, "begun", 60), entry(1, "verified", 70)]) == steps(LEDGER[:4])


def test_what_was_watched_is_cut_where_a_step_ends(tmp_path: Path) -> None:
    accounts = [
        account_of(tmp_path, 300, 360),
        account_of(tmp_path, 10, 100, 70),
        account_of(tmp_path, 500, 510),
    ]
    found = watched(accounts, LEDGER)
    assert [[each.step.label for each in one.stretches] for one in found] == [
        ["to week 1", "to week 2"],
        ["back to week 2"],
    ]
    first, second = found[0].stretches
    assert (first.report.since, first.report.until) == (1010, 1050)
    assert (second.report.since, second.report.until) == (1050, 1100)
    assert (first.report.failed(), second.report.failed()) == ({}, {"page (kept): reset": 1})
    assert [bucket.failed for bucket in found[0].buckets].index(1) == 12  # from 70 to 75 s
    assert (first.quick.p50, first.quick.p99) == (0.02, 0.02)


def test_the_page_and_its_picture(tmp_path: Path) -> None:
    found = watched([account_of(tmp_path, 10, 100, 70), account_of(tmp_path, 300, 360)], LEDGER)
    for one in found:
        writer = Writer(one.account.path)
        writer.add("verified", acknowledged=len(one.account.acknowledged), missing=0, duplicated=0)
        writer.close()
        one.account.refresh()
    page, drawn = render(found, ABOUT)
    assert "on 2026-01-02: Debian 13.1, all machines on one computer with 2 cores" in page
    assert "**1 of 150 requests and messages failed** in 2 minutes of traffic with 2\nlogins" in page
    assert "Of 14 acknowledged writes 14 were asked for\nafterwards: 0 were missing, 0 were there" in page
    rows = [line for line in page.splitlines() if line.startswith(("| to", "| back"))]
    assert rows == [
        "| to week 1 | 40 s | 41 | 0 | 20 ms | 20 ms | 20 ms | 0.02 s | - |",
        "| to week 2 | 50 s | 50 | 1 x page (kept): reset | 20 ms | 20 ms | 20 ms | 0.02 s | - |",
        "| back to week 2 | 60 s | 60 | 0 | 20 ms | 20 ms | 20 ms | 0.02 s | - |",
    ]
    tree = ElementTree.fromstring(drawn)  # noqa: S314  # our own
    text = [
        " ".join("".join(each.itertext()).split()) for each in tree.iter("{http://www.w3.org/2000/svg}text")
    ]
    assert {"0 → 1", "1 → 2", "3 → 2", "Failed requests: 1 of 150"} <= set(text)
    classes = [each.get("class") for each in tree.iter("{http://www.w3.org/2000/svg}rect")]
    assert (classes.count("forth"), classes.count("away"), classes.count("bad")) == (2, 1, 1)
    assert "nan" not in drawn


def test_times_without_a_good_answer_have_no_line(tmp_path: Path) -> None:
    (one,) = watched([account_of(tmp_path, 10, 100, *range(10, 100))], LEDGER)
    assert {(bucket.p50, bucket.p99) for bucket in one.buckets} == {(None, None)}
    _page, drawn = render([one], ABOUT)
    assert 'class="line p50" d=""' in drawn


def test_what_is_slow_on_purpose_is_asked_and_not_timed(tmp_path: Path) -> None:
    (one,) = watched([account_of(tmp_path, 10, 100, kind="slow")], LEDGER)
    assert {bucket.sent for bucket in one.buckets} == {5}
    assert one.stretches[0].quick.sent == 0


def test_it_is_made_of_what_the_test_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "traffic").mkdir()
    account_of(tmp_path / "traffic", 10, 100)
    (tmp_path / "traffic" / "0.jsonl").touch()  # one that was ended before it began
    (tmp_path / "weeks.json").write_text(json.dumps({"about": ABOUT, "entries": LEDGER}))
    for name in ("PAGE", "PICTURE"):
        monkeypatch.setattr(timeline, name, tmp_path / name)
    timeline.main([str(tmp_path / "weeks.json")])
    assert "| to week 1 |" in (tmp_path / "PAGE").read_text()
    assert ElementTree.parse(tmp_path / "PICTURE").getroot().tag.endswith("svg")  # noqa: S314  # our own
