#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_physical_slot
short_description: Makes or drops a physical replication slot
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Runs on the host of the server that has the slot, or is to have it, and asks it over its local socket.
    The server may be a primary or a standby.
  - A slot that exists is looked at too. One that keeps no WAL is made anew where O(reserve=true), and one
    whose WAL is gone is refused unless O(recreate_lost=true).
  - A slot that somebody uses is never dropped. A logical or temporary slot of that name is refused, and left
    alone.
  - M(payaid.scaling.postgres_replica) makes its own slot on the primary, and does not need this module.
requirements:
  - Debian's postgresql-N
notes:
  - Needs root (O(ignore:become)), or the user postgres.
  - A slot that nobody uses holds WAL back until C(max_slot_wal_keep_size) is reached, or the disk is full.
    On a standby too, and nothing moves it there. So one that is made on a standby for the time after a
    switchover is best made shortly before, or with O(reserve=false).
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
  - payaid.scaling.postgres_cluster
seealso:
  - module: payaid.scaling.postgres_replication_info
  - module: payaid.scaling.postgres_replica
options:
  name:
    description: Name of the slot. Lower-case letters, digits and underscores, at most 63.
    type: str
    required: true
  state:
    description: Whether the slot is to be there.
    type: str
    choices: [present, absent]
    default: present
  reserve:
    description:
      - Whether the slot keeps WAL from now on, or only from the first time that it is used.
      - With V(false), a slot that keeps WAL already is left as it is.
    type: bool
    default: true
  recreate_lost:
    description:
      - Whether a slot whose WAL is gone is dropped and made anew. That does not bring the WAL back. A
        standby that used it has to be cloned again.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Keep WAL for a replica that is still to come
  payaid.scaling.postgres_physical_slot:
    version: 17
    name: db3

- name: Let no WAL be kept for a replica that is gone for good
  payaid.scaling.postgres_physical_slot:
    version: 17
    name: db3
    state: absent
"""

RETURN = r"""
actions:
  description: The steps, one sentence each.
  type: list
  elements: str
  returned: success
  sample: ["Create the physical slot db3, which keeps WAL from now on."]
slot:
  description: >-
    The slot as it is now, or in check mode as it would be, without what cannot be foretold; none where there
    is none. In a refusal as it was found.
  type: dict
  returned: always, once it could be observed
  contains:
    name: {description: Name., type: str}
    active: {description: Whether somebody uses it now., type: bool}
    wal_status:
      description: V(reserved), V(extended), V(unreserved) or V(lost); none if it keeps no WAL.
      type: str
    safe_wal_size: {description: Bytes to be written before it may be lost; none without a limit., type: int}
    restart_lsn: {description: Where the WAL begins that it keeps., type: str, sample: 0/3000000}
"""

from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.cluster import CLUSTER_ARGUMENTS
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.slot import Wanted, plan, report
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.slot_io import SlotServer

ARGUMENTS: dict[str, dict[str, Any]] = {
    **CLUSTER_ARGUMENTS,
    "name": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "reserve": {"type": "bool", "default": True},
    "recreate_lost": {"type": "bool", "default": False},
}


def main() -> None:
    module = begin(ARGUMENTS)
    wanted = Wanted.from_params(module.params)
    with refusing(module):
        server = SlotServer(wanted)
        outcome = converge(
            server.observe, lambda state: plan(state, wanted), server, check_mode=module.check_mode
        )
    module.exit_json(**report(outcome, wanted))


if __name__ == "__main__":
    main()
