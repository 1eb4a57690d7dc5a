# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus is told of backups, by what pgBackRest says of them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.payaid.scaling.roles.exporters.files import backup_metrics


def backup(stop: int, *, error: bool = False) -> dict[str, Any]:
    return {"label": f"{stop}F", "error": error, "timestamp": {"start": stop - 5, "stop": stop}}


def stanza(*backups: dict[str, Any], code: int = 0, name: str = "main") -> dict[str, Any]:
    return {"name": name, "status": {"code": code, "message": "ok"}, "backup": list(backups)}


def samples(*stanzas: dict[str, Any], now: float = 1000.4) -> list[str]:
    return [line for line in backup_metrics.metrics(stanzas, now).splitlines() if not line.startswith("#")]


def test_the_newest_good_backup_counts() -> None:
    assert samples(stanza(backup(100), backup(300), backup(900, error=True))) == [
        "pgbackrest_looked_timestamp_seconds 1000",
        'pgbackrest_stanza_ok{stanza="main"} 1',
        'pgbackrest_last_backup_timestamp_seconds{stanza="main"} 300',
    ]


def test_a_stanza_without_a_backup_is_not_well() -> None:
    assert samples(stanza(code=2)) == [
        "pgbackrest_looked_timestamp_seconds 1000",
        'pgbackrest_stanza_ok{stanza="main"} 0',
    ]


def test_a_repository_without_any_stanza_is_not_well() -> None:
    """As where its disk is not there: pgBackRest finds nothing then, and nothing wrong."""
    assert samples() == ["pgbackrest_looked_timestamp_seconds 1000", "pgbackrest_stanza_ok 0"]


def test_names_are_quoted() -> None:
    assert 'pgbackrest_stanza_ok{stanza="a\\"b"} 1' in samples(stanza(name='a"b'))


@pytest.mark.parametrize("said", ["[]", json.dumps([stanza(backup(100))])])
def test_the_file_is_written_whole(said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, file = tmp_path / "pgbackrest", tmp_path / "out.prom"
    program.write_text(f"#!/bin/sh\necho '{said}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(backup_metrics, "INFO", (str(program),))
    monkeypatch.setattr(sys, "argv", ["backup_metrics", str(file)])
    backup_metrics.main()
    assert ('stanza_ok{stanza="main"} 1' in file.read_text()) == ("main" in said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.prom", "pgbackrest"]


def test_what_cannot_be_asked_leaves_the_last_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "out.prom"
    file.write_text("as it was\n")
    monkeypatch.setattr(backup_metrics, "INFO", ("/bin/false",))
    monkeypatch.setattr(sys, "argv", ["backup_metrics", str(file)])
    with pytest.raises(Exception, match="non-zero"):
        backup_metrics.main()
    assert file.read_text() == "as it was\n"
