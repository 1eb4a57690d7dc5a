#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: run_lock
short_description: Keeps a second run out while one is under way
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Writes a file on the host that says who does what. Whoever comes second is refused, and told who holds the
    lock and since when.
  - The lock belongs to one run of C(ansible-playbook). Where that run was started on this controller and has
    ended, killed for example, the next run takes the lock over by itself. Of a run on another computer nobody
    can know that, so it has to be said (O(break)).
  - It is left only by the run that holds it. With a path below C(/run) a restart of the host ends it too.
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
options:
  path:
    description: The file.
    type: path
    required: true
  holder:
    description: Who does it, for people to read.
    type: str
    required: true
  what:
    description: What is done meanwhile, for people to read.
    type: str
    default: run
  state:
    description: Whether the lock is to be held or left. With V(read) it is only told who holds it.
    type: str
    choices: [held, left, read]
    default: held
  break:
    description: Take it from whoever holds it. Two runs at once leave the platform with a part of each.
    type: bool
    default: false
  override:
    description: >-
      How people say that they mean O(break), for the sentence that refuses. Without it they are told to
      remove the file.
    type: str
    default: ""
  run:
    description: >-
      The run of Ansible, and another one that has ended. The action plugin fills this in; leave it out.
    type: dict
"""

EXAMPLES = r"""
- name: Let nobody else deploy meanwhile
  payaid.scaling.run_lock:
    path: /run/payaid-app.lock
    holder: alice@ops1
    what: deployment
    break: "{{ break_lock | default(false) | bool }}"
    override: -e break_lock=true

- name: Leave it again
  payaid.scaling.run_lock:
    path: /run/payaid-app.lock
    holder: alice@ops1
    state: left
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["Take the lock for alice@ops1."]
held_by:
  description: Who holds the lock now, or in check mode would. When refused, who holds it instead.
  returned: when somebody does
  type: dict
  contains:
    name: {description: Who it is., type: str}
    since: {description: When the lock was taken., type: str, sample: "2026-01-15T09:00:00Z"}
    what: {description: What is done meanwhile., type: str, sample: deployment}
    computer: {description: Where Ansible runs., type: str}
    process: {description: Number of its process there., type: int}
    started: {description: When that process was started in ticks of its system., type: str}
ended:
  description: >-
    Whether that run has ended without leaving the lock. Only known of runs that were started where this one
    was.
  returned: with O(state=read), when somebody holds it and it can be known
  type: bool
"""

from datetime import UTC, datetime

from ansible_collections.payaid.scaling.plugins.module_utils._lock.io import LockFile
from ansible_collections.payaid.scaling.plugins.module_utils._lock.plan import Holder, Wanted, plan
from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge, diff

ARGUMENTS = {
    "path": {"type": "path", "required": True},
    "holder": {"type": "str", "required": True},
    "what": {"type": "str", "default": "run"},
    "state": {"type": "str", "choices": ["held", "left", "read"], "default": "held"},
    "break": {"type": "bool", "default": False},
    "override": {"type": "str", "default": ""},
    "run": {"type": "dict"},
}


def main() -> None:
    module = begin(ARGUMENTS)
    given, lock = module.params, LockFile(module.params["path"])
    run, now = given["run"] or {}, datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    wanted = Wanted(
        run=Holder.from_dict(
            {
                "computer": "",
                "process": 0,
                "started": "",
                **run,
                "name": given["holder"],
                "since": now,
                "what": given["what"],
            }
        ),
        state=given["state"],
        by_force=given["break"],
        override=given["override"],
        ended=Holder.from_dict(run["ended"]) if run.get("ended") else None,
    )
    with refusing(module):
        outcome = converge(
            lock.observe, lambda state: plan(state, wanted), lock, check_mode=module.check_mode
        )
    before, after = (
        {"held_by": state.holder.as_dict()} if state.holder else {}
        for state in (outcome.before, outcome.after)
    )
    module.exit_json(
        changed=outcome.changed, actions=list(outcome.actions), **after, diff=diff(before, after)
    )


if __name__ == "__main__":
    main()
