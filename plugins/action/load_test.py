# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Waits for a load test on its machine, and says every now and then how far it is."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.payaid.scaling.plugins.module_utils._load_test.progress import sentence

display = Display()
# A look that fails costs nothing as long as one comes through before the machine ends the run by itself.
LOOKS_THAT_MAY_FAIL = 3


class ActionModule(ActionBase):
    """Runs the module again and again until the load test has ended."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        super().run(tmp, task_vars)
        wanted = self._task.args.get("state", "ended")
        first = self._look(task_vars, "started" if wanted == "ended" else wanted)
        if first.get("failed") or wanted != "ended" or self._task.check_mode:
            return first
        try:
            last = self._wait(first, task_vars)
        except BaseException:
            # Whoever ends the playbook ends the load with it.
            self._look(task_vars, "stopped")
            raise
        if last.get("failed") or last.get("unreachable"):
            return last
        return _ended({**last, "changed": first["changed"], "actions": first["actions"]})

    def _wait(self, first: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        name = (task_vars or {}).get("inventory_hostname", "")
        interval, of = float(self._task.args.get("interval", 10)), float(self._task.args["seconds"])
        seen, before, failures = first, _counts(first), 0
        # This is a process of its own, which goes on where the one that began it is killed.
        begun_by = os.getppid()
        while seen["active"]:
            time.sleep(interval)
            if os.getppid() != begun_by:
                raise AnsibleError("The run that waited for this load test has ended, and so it has.")
            now = self._look(task_vars, "read")
            if now.get("failed") or now.get("unreachable"):
                failures += 1
                if failures > LOOKS_THAT_MAY_FAIL:
                    return now
                continue
            failures = 0
            # k6 answers nobody any more once it has ended.
            if now["progress"]["requests"] < before["requests"]:
                now["progress"] = seen["progress"]
            display.display(f"{name}: {sentence(now['elapsed'], of, now['progress'], before)}")
            seen, before = now, _counts(now)
        return seen

    def _look(self, task_vars: dict[str, Any] | None, state: str) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_args={**self._task.args, "state": state}, task_vars=task_vars
        )
        return result


def _counts(seen: Mapping[str, Any]) -> dict[str, Any]:
    return {"requests": seen["progress"]["requests"], "seconds": seen["elapsed"]}


def _ended(result: dict[str, Any]) -> dict[str, Any]:
    """Fail where the tool has, with what it has said."""
    if result["result"] != "success" or result["status"]:
        said = " ".join(result["output"]) or "nothing"
        result |= {
            "failed": True,
            "msg": f"The load test has ended by itself ({result['result']}, status {result['status']}). "
            f"The last that was said is: {said}",
        }
    return result
