# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Talks to systemd about load tests, and reads what their tools have written or answer."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from ansible_collections.payaid.scaling.plugins.module_utils._load_test.plan import BUSY, Runs
from ansible_collections.payaid.scaling.plugins.module_utils._load_test.progress import (
    Progress,
    of_artillery,
    of_k6,
)
from ansible_collections.payaid.scaling.plugins.module_utils._module import Run
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal

UNIT, WATCH = "payaid-load-test@", "payaid-load-test-watch@"
# The last two in microseconds since the machine was started.
FIELDS = (
    "ActiveState",
    "Result",
    "ExecMainStatus",
    "ExecMainStartTimestampMonotonic",
    "ExecMainExitTimestampMonotonic",
)
PROGRESS, OUTPUT, MARK = "progress.jsonl", "output", "begun"
K6 = ("127.0.0.1", 6565)
# It answers from memory, on the same machine.
SECONDS_TO_ANSWER = 5
LINES_SHOWN = 5


class LoadTests:
    """The load tests of one machine; each has a folder and an instance of the role's unit."""

    def __init__(self, run: Run, folder: str, host: str) -> None:
        self._run = run
        self._folder = Path(folder)
        self.host = host

    def observe(self, run: str) -> Runs:
        told = self._systemctl("show", f"{UNIT}{run}.service", f"--property={','.join(FIELDS)}")
        fields = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
        started, ended = (int(fields.get(name) or 0) for name in FIELDS[3:])
        listed = self._systemctl("list-units", "--all", "--plain", "--no-legend", f"{UNIT}*")
        rows = [line.split() for line in listed.splitlines() if line.strip()]
        others = [row[0].removeprefix(UNIT).removesuffix(".service") for row in rows if row[2] in BUSY]
        return Runs(
            state=fields.get("ActiveState", "inactive"),
            result=fields.get("Result", "success"),
            status=int(fields.get("ExecMainStatus") or 0),
            begun=(self._folder / run / MARK).exists(),
            took=(ended - started) / 1e6 if ended > started else None,
            others=tuple(other for other in others if other != run),
            left=tuple(sorted(path.name for path in self._folder.glob("*") if path.name != run)),
        )

    def sweep(self, runs: Sequence[str]) -> None:
        for run in runs:
            shutil.rmtree(self._folder / run)

    def start(self, run: str) -> None:
        """Begin it, and have it ended where nobody asks for it any more."""
        if not (self._folder / run / "command").exists():
            raise Refusal(
                f"{self.host}: {self._folder / run} has no load test to run: the role load_test makes it."
            )
        (self._folder / run / MARK).write_text(f"{time.time()}\n")
        self._systemctl("start", f"{UNIT}{run}.service")
        self.watched(run)

    def stop(self, run: str) -> None:
        self._systemctl("stop", f"{UNIT}{run}.service", f"{WATCH}{run}.timer")
        # Tools that are ended do not say that all was well, and nobody has to look into it.
        self._systemctl("reset-failed", f"{UNIT}{run}.service")

    def watched(self, run: str) -> None:
        """Somebody looks: the timer that ends the run begins again."""
        self._systemctl("restart", f"{WATCH}{run}.timer")

    def left(self, run: str) -> None:
        """Nobody has to look any more."""
        self._systemctl("stop", f"{WATCH}{run}.timer")

    def began(self, run: str) -> float:
        """Return when the run was begun, in seconds since 1970; nothing where it was not."""
        try:
            return float((self._folder / run / MARK).read_text())
        except FileNotFoundError:
            return 0

    def elapsed(self, run: str) -> float:
        """Return the seconds since a run was begun."""
        began = self.began(run)
        return max(time.time() - began, 0) if began else 0

    def progress(self, run: str, tool: str) -> Progress:
        if tool == "k6":
            return self._asked()
        try:
            text = (self._folder / run / PROGRESS).read_text()
        except FileNotFoundError:
            return Progress()  # it has not told of a slice yet
        return of_artillery(text.splitlines())

    def tail(self, run: str) -> list[str]:
        """Return the last that the tool has said."""
        try:
            text = (self._folder / run / OUTPUT).read_text(errors="replace")
        except FileNotFoundError:
            return []
        return [line.strip() for line in text.splitlines() if line.strip()][-LINES_SHOWN:]

    @staticmethod
    def _asked() -> Progress:
        connection = HTTPConnection(*K6, timeout=SECONDS_TO_ANSWER)
        try:
            connection.request("GET", "/v1/metrics")
            return of_k6(json.load(connection.getresponse()))
        except (HTTPException, OSError, ValueError):
            return Progress()  # before its begin and after its end it answers nobody
        finally:
            connection.close()

    def _systemctl(self, *words: str) -> str:
        status, output, errors = self._run(["systemctl", "--no-pager", *words])
        if status:
            raise Refusal(f"{self.host}: systemctl {' '.join(words)} says: {(errors or output).strip()}")
        return output
