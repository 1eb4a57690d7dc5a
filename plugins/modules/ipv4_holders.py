#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: ipv4_holders
short_description: Asks the network who has an IPv4 address
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Asks by ARP, and returns all machines that answer for the address, where the kernel would keep only one of
    them.
  - It changes nothing, and no machine learns anything from what it asks.
notes:
  - Needs root (O(ignore:become)).
  - Where a network answers for all of its addresses itself, as some clouds do, everybody looks like a peer.
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.reads
options:
  address:
    description: The address to ask for.
    type: str
    required: true
  interface:
    description: Where to ask, such as V(eth0).
    type: str
    required: true
  peers:
    description: Own addresses of the machines that may have it.
    type: list
    elements: str
    default: []
  timeout:
    description: Seconds in which to answer. It is asked three times in them.
    type: float
    default: 1.0
"""

EXAMPLES = r"""
- name: See who has the virtual IP
  payaid.scaling.ipv4_holders:
    address: 192.0.2.10
    interface: eth0
    peers: [192.0.2.12]
  register: virtual_ip
  failed_when: virtual_ip.foreign | length > 0
"""

RETURN = r"""
here:
  description: Whether this machine has the address.
  type: bool
  returned: success
peers:
  description: Those of O(peers) that answered for it.
  type: list
  elements: str
  returned: success
  sample: [192.0.2.12]
foreign:
  description: Addresses on the wire of all others that did.
  type: list
  elements: str
  returned: success
  sample: ["52:54:00:12:34:56"]
"""

from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._arp import ask, holders
from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing, runner
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal

ARGUMENTS: dict[str, dict[str, Any]] = {
    "address": {"type": "str", "required": True},
    "interface": {"type": "str", "required": True},
    "peers": {"type": "list", "elements": "str", "default": []},
    "timeout": {"type": "float", "default": 1.0},
}


def main() -> None:
    module = begin(ARGUMENTS)
    given = module.params
    address, peers = given["address"], given["peers"]
    with refusing(module):
        status, said, error = runner(module)(["ip", "-oneline", "-4", "address", "show", "to", address])
        if status:
            raise Refusal(f"`ip address show to {address}` failed: {error.strip()}.")
        found = holders(address, peers, ask(given["interface"], (address, *peers), given["timeout"]))
    module.exit_json(here=bool(said.strip()), peers=found.peers, foreign=found.foreign)


if __name__ == "__main__":
    main()
