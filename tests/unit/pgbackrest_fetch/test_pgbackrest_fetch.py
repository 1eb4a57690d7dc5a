# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The restore_command of replicas: what PostgreSQL hears of it, and how long it waits."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "roles/pgbackrest/files/pgbackrest-fetch"
MARK = "/var/spool/pgbackrest/fetch.away"


@dataclass
class Fetch:
    """The program, with another one in place of pgbackrest that ends as it is told."""

    folder: Path

    @property
    def mark(self) -> Path:
        return self.folder / "away"

    def answers(self, what: str) -> None:
        stub = self.folder / "pgbackrest"
        stub.write_text(f'#!/bin/sh\necho "$@" >> {self.folder}/asked\n{what}\n')
        stub.chmod(0o755)

    def asked(self) -> list[str]:
        file = self.folder / "asked"
        return file.read_text().splitlines() if file.exists() else []

    def run(self) -> int:
        script = PROGRAM.read_text()
        assert MARK in script
        return subprocess.run(  # noqa: S603  # our own words
            [
                "/bin/sh",
                "-c",
                script.replace(MARK, str(self.mark)),
                "fetch",
                "--stanza=main",
                "archive-get",
                "a b",
                "c",
            ],
            env={"PATH": f"{self.folder}:{os.environ['PATH']}"},
            check=False,
        ).returncode


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    return Fetch(tmp_path)


@pytest.mark.parametrize("status", [0, 1])
def test_what_was_found_or_is_not_there_is_told_and_asked_for_again(fetch: Fetch, status: int) -> None:
    fetch.answers(f"exit {status}")
    assert [fetch.run(), fetch.run()] == [status, status]
    assert fetch.asked() == ["--log-level-console=warn --stanza=main archive-get a b c"] * 2


@pytest.mark.parametrize("status", [49, 126, 127, 137])
def test_a_failure_ends_no_recovery_and_is_not_repeated_at_once(fetch: Fetch, status: int) -> None:
    fetch.answers(f"exit {status}")
    assert [fetch.run(), fetch.run()] == [1, 1]
    assert len(fetch.asked()) == 1


def test_a_repository_that_does_not_answer_is_given_up(fetch: Fetch) -> None:
    fetch.answers("trap '' TERM; sleep 30")
    began = time.monotonic()
    assert fetch.run() == 1
    assert time.monotonic() - began < 10
    assert fetch.mark.exists()


def test_it_is_asked_again_a_minute_later(fetch: Fetch) -> None:
    fetch.answers("exit 0")
    fetch.mark.touch()
    assert fetch.run() == 1
    long_ago = time.time() - 61
    os.utime(fetch.mark, (long_ago, long_ago))
    assert fetch.run() == 0
