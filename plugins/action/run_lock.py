# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tells the module run_lock which run of Ansible it works for, and which other run has ended."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


def computer() -> str:
    """Return a name that no other computer, container or boot has, and that begins with one for people."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        return socket.gethostname()
    return f"{socket.gethostname()}/{boot}/{space}"


def started(process: int) -> str:
    """Return when a process was started; empty where that cannot be known, or where there is none."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def runs(process: int, since: str) -> bool:
    """Return whether this very process is still there; another one may have got its number meanwhile."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is there, and somebody else's
    return started(process) == since


class ActionModule(ActionBase):
    """Runs the module, and once more where the lock turns out to be that of a run that has ended."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        # This is a process of its own, begun by the run.
        process = os.getppid()
        this_run = {"computer": computer(), "process": process, "started": started(process)}
        result = self._ask(this_run, task_vars)
        held_by = result.get("held_by")
        if result.get("failed") and held_by and self._has_ended(held_by):
            result = self._ask({**this_run, "ended": held_by}, task_vars)
        elif self._task.args.get("state") == "read" and held_by and held_by["computer"] == computer():
            result["ended"] = self._has_ended(held_by)
        return result

    def _ask(self, run: Mapping[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        arguments = {**self._task.args, "run": run}
        result: dict[str, Any] = self._execute_module(module_args=arguments, task_vars=task_vars)
        return result

    @staticmethod
    def _has_ended(holder: Mapping[str, Any]) -> bool:
        return holder["computer"] == computer() and not runs(holder["process"], holder["started"])
