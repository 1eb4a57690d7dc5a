# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role on the controller, which is where all of it happens."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ..postgres_replica.authority import Authority

ROOT = Path(__file__).resolve().parents[3]
ENDED = datetime.timedelta(minutes=-5)


def play(folder: Path, entry: str, *options: str, **variables: Any) -> tuple[int, dict[str, Any], str]:
    """Run the role on this computer; return what it changed or refused, and all that was said."""
    playbook = folder / "play.json"
    role = {"name": "payaid.scaling.private_ca", "tasks_from": entry}
    tasks = [{"name": "Run it", "ansible.builtin.include_role": role, "vars": variables}]
    playbook.write_text(json.dumps([{"hosts": "db1", "gather_facts": False, "tasks": tasks}]))
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "db1,", "-c", "local"]
    done = subprocess.run(  # noqa: S603  # of this environment, with files of this test
        [*command, str(playbook), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ
        | {
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.posix.jsonl",
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
        },
    )
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    stats: dict[str, Any] = next((event["stats"] for event in events if "stats" in event), {})
    failures = [
        host["msg"]
        for event in events
        for host in event.get("hosts", {}).values()
        if host.get("failed") or host.get("msg", "").startswith("db1: ")
    ]
    return done.returncode, stats.get("db1", {}), failures[0] if failures else done.stdout + done.stderr


def given(folder: Path, **files: str) -> tuple[int, str]:
    code, _stats, said = play(
        folder, "given", private_ca_given=files, private_ca_given_option="pgbouncer_tls"
    )
    return code, said


@pytest.fixture
def ours(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ours")


def test_files_that_go_together_are_taken(tmp_path: Path, ours: Authority) -> None:
    certificate, key = ours.issue("192.0.2.1")
    code, said = given(tmp_path, ca=ours.certificate, certificate=certificate, key=key)
    assert code == 0, said
    foreign, foreign_key = Authority(tmp_path / "foreign").issue("192.0.2.1")
    code, said = given(tmp_path, certificate=foreign, key=foreign_key)
    assert code == 0, said


def test_what_is_wrong_with_files_is_one_sentence(tmp_path: Path, ours: Authority) -> None:
    certificate, key = ours.issue("192.0.2.1")
    _other, other_key = ours.issue("192.0.2.2")
    ended, ended_key = ours.issue("192.0.2.3", ENDED)
    foreign = Authority(tmp_path / "foreign").certificate
    for files, sentence in (
        (
            {"ca": ours.certificate, "certificate": "/no/such.crt", "key": ""},
            "pgbouncer_tls_certificate=/no/such.crt, pgbouncer_tls_certificate_key= is no file on the",
        ),
        (
            {"ca": ours.certificate, "certificate": certificate, "key": other_key},
            f"the key pgbouncer_tls_certificate_key={other_key} is not that of the certificate {certificate}",
        ),
        (
            {"ca": ours.certificate, "certificate": ended, "key": ended_key},
            f"pgbouncer_tls_certificate={ended} is valid from",
        ),
        (
            {"ca": foreign, "certificate": certificate, "key": key},
            f"pgbouncer_tls_ca={foreign} is not the authority of pgbouncer_tls_certificate={certificate}, "
            "which commonName=payaid ours signed",
        ),
    ):
        code, said = given(tmp_path, **files)
        assert code == 2, said
        assert said.startswith("db1: "), said
        assert sentence in said


def test_a_machine_gets_a_certificate_once_and_anew_before_its_end(tmp_path: Path) -> None:
    wanted = {
        "private_ca_dir": str(tmp_path / "kept"),
        "private_ca_name": "Test",
        "private_ca_file": "db1",
        "private_ca_common_name": "db1",
        "private_ca_names": ["DNS:db1"],
    }
    code, stats, said = play(tmp_path, "main", "--check", **wanted)
    assert (code, stats.get("changed")) == (0, 0), said
    assert not (tmp_path / "kept").exists()

    code, stats, said = play(tmp_path, "main", **wanted)
    assert code == 0, said
    assert stats["changed"] > 0
    files = {
        name: (tmp_path / "kept" / name).read_bytes() for name in ("ca.crt", "ca.key", "db1.crt", "db1.key")
    }
    assert (tmp_path / "kept/ca.key").stat().st_mode & 0o777 == 0o600
    paths = {name: str(tmp_path / "kept" / name) for name in files}
    assert given(tmp_path, ca=paths["ca.crt"], certificate=paths["db1.crt"], key=paths["db1.key"])[0] == 0

    code, stats, said = play(tmp_path, "main", **wanted)
    assert (code, stats.get("changed")) == (0, 0), said
    # A lifetime of 825 days ends within 900 days, so it is signed anew, with the same key.
    code, stats, said = play(tmp_path, "main", **wanted, private_ca_renew_days=900)
    assert (code, stats.get("changed")) == (0, 1), said
    changed = {name for name, content in files.items() if Path(paths[name]).read_bytes() != content}
    assert changed == {"db1.crt"}
