# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page about faults at the edge."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ansible_collections.payaid.scaling.tests.traffic.account import Report, Request
from ansible_collections.payaid.scaling.tests.traffic.page import Measured, Row, render

ABOUT: dict[str, str | float] = {
    "date": "2026-01-02",
    "debian": "13.1",
    "nginx": "1.26.3",
    "keepalived": "2.3.3",
    "node": "20.19.2",
    "cores": "2",
    "rate": 60.0,
    "sockets": "4",
}
QUIET = Row("deployed ten times", True, 100.2, 6012, {}, 0, 5.02, 0.21, 40, 0.05, 0, 0.012)
FAILED = {"create: status 502": 2, "message: cut": 1}
LOUD = Row("a process is killed", False, 20.0, 1200, FAILED, 0.31, 5.1, 0.05, 2, 0.04, 2, 0.03)


def test_the_page() -> None:
    page = render(ABOUT, [LOUD, QUIET])
    assert "on 2026-01-02: Debian 13.1, nginx 1.26.3, keepalived 2.3.3, Node.js 20.19.2" in page
    assert "60 requests a second" in page
    assert "{" not in page
    planned, _title, broken = page.partition("## Broken on purpose")
    assert (
        "| deployed ten times | 6012 in 100 s | 0 | - | 5.02 s | 0.21 s | 40 again, 0.05 s at most |\n"
        in planned
    )
    assert (
        "| a process is killed | 1200 in 20 s | 2 x create: status 502, 1 x message: cut "
        "| 0.3 s | 5.10 s | 0.05 s | 2 again, 0.04 s at most, 2 cut |\n"
    ) in broken
    assert page.endswith("later than 0.03 s after it was due.\n")
    for line in page.splitlines():
        if line.startswith("|"):
            assert line.count("|") == 8


def test_no_table_without_rows() -> None:
    assert "|" not in render(ABOUT, [])
    assert "## Broken on purpose" not in render(ABOUT, [QUIET])


def test_a_row_of_a_report() -> None:
    lost = Request("create", "new", due=1, sent=1, ended=3, cause="reset")
    report = Report(
        since=0, until=10, figures={}, failures=(lost, replace(lost, over="kept")), silence=0.5, recovery=3,
        releases=("1",), closes={"1001": 2}, broken=0, reconnects=2, gap=0.1, crossed=1, late=0.01,
    )  # fmt: skip
    row = Row.of("x", False, report)
    assert row.failed == {"create (new): reset": 1, "create (kept): reset": 1}
    assert (row.seconds, row.recovery, row.silence, row.reconnects) == (10, 3, 0.5, 2)


def test_a_row_is_kept_once(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    measured = Measured.read(path)
    measured.about = ABOUT
    for row in (QUIET, LOUD, replace(QUIET, sent=1)):
        measured.keep(row)
    measured.write(path)
    assert Measured.read(path) == Measured(ABOUT, [replace(QUIET, sent=1), LOUD])
