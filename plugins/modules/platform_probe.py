#!/usr/bin/python

# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_probe
short_description: Asks the whole platform from outside
version_added: 0.1.0
description:
  - Sends requests through every load balancer until each app node has answered, then writes a contact
    through one node and reads it through another.
  - It fails with one sentence that names the load balancer or node which did not do its part.
  - The contact belongs to the tenant C(platform-probe) and stays in the database; since nothing of the
    platform changes by it, the module reports no change. In check mode it is not written.
author:
  - The payaid.scaling maintainers (@payaid)
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.reads
options:
  entries:
    description: The load balancers.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name of the load balancer, for messages.
        type: str
        required: true
      url:
        description: Its address, such as C(https://192.0.2.10).
        type: str
        required: true
      certificate:
        description: Certificate in PEM to trust, for one that no public authority has signed.
        type: str
        default: ""
  processes:
    description: The app processes, addressed past the load balancers.
    type: list
    elements: dict
    required: true
    suboptions:
      node:
        description: Node as it names itself at C(/api/whoami).
        type: str
        required: true
      url:
        description: Address of the process, such as C(http://192.0.2.21:3000).
        type: str
        required: true
  contacts:
    description:
      - Whether to write and read a contact; an app without that part of the contract sets it to V(false).
    type: bool
    default: true
  timeout:
    description: How long each of the questions may take in all, in seconds.
    type: int
    default: 30
"""

EXAMPLES = r"""
- name: Ask the platform as a client would
  payaid.scaling.platform_probe:
    entries:
      - {name: lb1, url: "https://192.0.2.10", certificate: "{{ certificate }}"}
    processes:
      - {node: app1, url: "http://192.0.2.21:3000"}
      - {node: app2, url: "http://192.0.2.22:3000"}
"""

RETURN = r"""
entries:
  description: For each load balancer, how many answers came from which node.
  returned: success
  type: dict
  sample: {lb1: {app1: 2, app2: 1}}
contact:
  description: The contact that was written and read; empty where that was not asked for.
  returned: success
  type: dict
  sample: {id: "17", written_through: app1, read_through: app2, milliseconds: 31}
"""

import time
import typing as t

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._probe import (
    Client,
    Entry,
    Process,
    ask_entry,
    write_and_read,
)

ENTRY = {
    "name": {"type": "str", "required": True},
    "url": {"type": "str", "required": True},
    "certificate": {"type": "str", "default": ""},
}
PROCESS = {"node": {"type": "str", "required": True}, "url": {"type": "str", "required": True}}
ARGUMENTS = {
    "entries": {"type": "list", "elements": "dict", "required": True, "options": ENTRY},
    "processes": {"type": "list", "elements": "dict", "required": True, "options": PROCESS},
    "contacts": {"type": "bool", "default": True},
    "timeout": {"type": "int", "default": 30},
}


def main() -> None:
    module = begin(ARGUMENTS)
    given: dict[str, t.Any] = module.params
    entries = [Entry(**entry) for entry in given["entries"]]
    processes = [Process(**process) for process in given["processes"]]
    nodes = sorted({process.node for process in processes})
    client = Client(timeout=10)
    contact: dict[str, t.Any] = {}
    with refusing(module):
        seen = {e.name: ask_entry(client, e, nodes, time.monotonic, given["timeout"]) for e in entries}
        if given["contacts"] and processes and not module.check_mode:
            other = next((p for p in processes if p.node != processes[0].node), processes[-1])
            contact = write_and_read(client, processes[0], other, time.monotonic, given["timeout"])
    module.exit_json(changed=False, entries=seen, contact=contact)


if __name__ == "__main__":
    main()
