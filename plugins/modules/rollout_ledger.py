#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: rollout_ledger
short_description: Keeps on a machine what was done to the platform, and only ever adds to it
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Reads the ledger of a machine, a file of one JSON object a line, and adds the entries that it lacks. What
    is written is never changed or removed.
  - Every machine gets every entry, so that the ledger survives the loss of any. What one has missed, because
    it was away or is new, is added the next time.
  - An entry has a name made of all that it says (C(id)), and names the one before it (C(previous)). A line
    that was changed, or written half, does not count, and is reported in RV(damaged).
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
options:
  path:
    description: The file. Its folder is made where there is none.
    type: path
    default: /var/lib/payaid/ledger.jsonl
  entries:
    description:
      - All entries that the machine is to have, as P(payaid.scaling.ledger_added#filter) or
        P(payaid.scaling.ledger_merged#filter) return them. Without any the ledger is only read.
    type: list
    elements: dict
    default: []
seealso:
  - plugin: payaid.scaling.ledger_merged
    plugin_type: filter
  - plugin: payaid.scaling.ledger_added
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Read what every machine knows
  payaid.scaling.rollout_ledger:
  register: ledger

- name: Write down that the first week is done, on every machine
  payaid.scaling.rollout_ledger:
    entries: "{{ known | payaid.scaling.ledger_added({'week': 1, 'outcome': 'verified', 'time': time}) }}"
  vars:
    time: "{{ now(utc=true).isoformat() }}"
    known: >-
      {{ ansible_play_hosts | map('extract', hostvars) | map(attribute='ledger') | map(attribute='entries')
         | payaid.scaling.ledger_merged }}
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["Write down entry 4."]
entries:
  description: What the ledger has now, or in check mode would, in the order of the file.
  returned: success
  type: list
  elements: dict
  contains:
    number: {description: "Which entry it is, from 1.", type: int}
    id: {description: "Its name, made of all that it says.", type: str, sample: 9f86d081884c7d65}
    previous: {description: Name of the entry before it; empty for the first., type: str}
damaged:
  description: Numbers of lines that are no entries, or are not as they were written.
  returned: success
  type: list
  elements: int
"""

from ansible_collections.payaid.scaling.plugins.module_utils._ledger.io import LedgerFile
from ansible_collections.payaid.scaling.plugins.module_utils._ledger.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge, diff

ARGUMENTS = {
    "path": {"type": "path", "default": "/var/lib/payaid/ledger.jsonl"},
    "entries": {"type": "list", "elements": "dict", "default": []},
}


def main() -> None:
    module = begin(ARGUMENTS)
    ledger, wanted = LedgerFile(module.params["path"]), module.params["entries"]
    with refusing(module):
        outcome = converge(
            ledger.observe, lambda state: plan(state, wanted), ledger, check_mode=module.check_mode
        )
    module.exit_json(
        changed=outcome.changed,
        actions=list(outcome.actions),
        entries=list(outcome.after.entries),
        damaged=list(outcome.after.damaged),
        diff=diff({"entries": len(outcome.before.entries)}, {"entries": len(outcome.after.entries)}),
    )


if __name__ == "__main__":
    main()
