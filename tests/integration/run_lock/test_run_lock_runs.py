# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs of Ansible that get in each other's way: real ones, on this computer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PLAYBOOK = """
- name: Deploy
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Take the lock
      payaid.scaling.run_lock:
        path: "{{ folder }}/app.lock"
        holder: "{{ holder }}"
        what: deployment
        break: "{{ break_it | default(false) }}"

    - name: Say so
      ansible.builtin.file:
        path: "{{ folder }}/{{ holder }}"
        state: touch
        mode: "0644"

    - name: Deploy until told to end
      ansible.builtin.wait_for:
        path: "{{ folder }}/end"
        timeout: 60
      when: slow | default(false)

    - name: Leave it
      payaid.scaling.run_lock:
        path: "{{ folder }}/app.lock"
        holder: "{{ holder }}"
        state: left
"""

ASK = """
- name: Ask
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Read the lock
      payaid.scaling.run_lock:
        path: "{{ folder }}/app.lock"
        holder: nobody
        state: read
      register: lock

    - name: Keep what it says
      ansible.builtin.copy:
        content: "{{ __told | to_json }}"
        dest: "{{ folder }}/answer"
        mode: "0644"
      vars:
        __told: "{{ {'by': lock.held_by.name | default(''), 'ended': lock.ended | default(none)} }}"
"""


class Runs:
    """Runs of the playbook above."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.begun: list[subprocess.Popen[str]] = []
        (folder / "deploy.yml").write_text(PLAYBOOK)
        (folder / "ask.yml").write_text(ASK)

    def begin(self, holder: str, playbook: str = "deploy.yml", **more: Any) -> subprocess.Popen[str]:
        given = json.dumps({"folder": str(self.folder), "holder": holder, **more})
        run = subprocess.Popen(  # noqa: S603  # the tests' own playbook
            [
                str(Path(sys.executable).with_name("ansible-playbook")),
                str(self.folder / playbook),
                f"--extra-vars={given}",
            ],
            env=os.environ | {"ANSIBLE_NOCOLOR": "1", "NO_COLOR": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.begun.append(run)
        return run

    def whole(self, holder: str, **more: Any) -> tuple[int, str]:
        run = self.begin(holder, **more)
        said = run.communicate(timeout=120)[0]
        return run.returncode, " ".join(said.split())

    def hold(self, holder: str) -> subprocess.Popen[str]:
        """Begin a run, and wait until it has the lock."""
        run = self.begin(holder, slow=True)
        deadline = time.monotonic() + 60
        while not (self.folder / holder).exists():
            assert time.monotonic() < deadline
            assert run.poll() is None
            time.sleep(0.1)
        return run

    def ask(self) -> dict[str, Any]:
        """Return what a run is told that only reads the lock."""
        status, said = self.whole("", playbook="ask.yml")
        assert status == 0, said
        answer: dict[str, Any] = json.loads((self.folder / "answer").read_text())
        return answer

    def holder(self) -> str | None:
        file = self.folder / "app.lock"
        return str(json.loads(file.read_text())["name"]) if file.exists() else None


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    runs = Runs(tmp_path)
    yield runs
    for run in runs.begun:
        if run.poll() is None:
            os.killpg(run.pid, signal.SIGKILL)
            run.communicate()


def test_the_second_is_refused_and_told_who_is_first(runs: Runs) -> None:
    first = runs.hold("alice")
    status, said = runs.whole("bob")
    assert status != 0
    assert "a deployment of alice is under way since" in said
    assert f"process {first.pid} on" in said
    (runs.folder / "end").touch()
    assert first.wait(60) == 0
    assert runs.holder() is None
    assert runs.whole("bob")[0] == 0


def test_the_lock_of_a_run_that_was_killed_is_taken_over(runs: Runs) -> None:
    first = runs.hold("alice")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert runs.holder() == "alice"
    status, said = runs.whole("bob")
    assert status == 0, said
    assert runs.holder() is None


def test_the_lock_of_another_computer_is_taken_only_knowingly(runs: Runs) -> None:
    first = runs.hold("alice")
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    file = runs.folder / "app.lock"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"computer": "awx-7/boot/space"}))
    status, said = runs.whole("bob")
    assert status != 0
    assert "on awx-7;" in said
    assert runs.holder() == "alice"
    assert runs.whole("bob", break_it=True)[0] == 0
    assert runs.holder() is None


def test_who_holds_it_can_be_read_and_whether_that_run_has_ended(runs: Runs) -> None:
    assert runs.ask() == {"by": "", "ended": None}
    first = runs.hold("alice")
    assert runs.ask() == {"by": "alice", "ended": False}
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    assert runs.ask() == {"by": "alice", "ended": True}
    file = runs.folder / "app.lock"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"computer": "awx-7/boot/space"}))
    assert runs.ask() == {"by": "alice", "ended": None}
    assert runs.holder() == "alice"
