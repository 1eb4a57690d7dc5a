#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_promote
short_description: Makes this PostgreSQL standby the primary, in an emergency
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Promotes the standby of this host, after it has replayed all the WAL that it received, and makes a
    checkpoint, so that others can be rewound onto it.
  - It knows nothing of the former primary. Whoever calls it has fenced that one, or there are two that take
    writes. While both run, M(payaid.scaling.postgres_switchover) is the way.
  - A server that is a primary already is left alone.
notes:
  - Needs root (O(ignore:become)), or the user postgres.
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
  - payaid.scaling.postgres_cluster
options:
  timeout:
    description: Seconds to wait until it takes writes.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Take over from a primary that is gone
  payaid.scaling.postgres_promote:
    version: 17
"""

RETURN = r"""
actions:
  description: The steps, one sentence each.
  type: list
  elements: str
  returned: success
  sample: ["Promote PostgreSQL 17/main."]
before:
  description: What was found.
  type: dict
  returned: always, once it could be observed
  contains: &state
    role:
      description: V(standby) or V(primary).
      type: str
    timeline:
      description: Timeline of the data. In check mode the next one, if nobody else takes it.
      type: int
    lsn:
      description: How far the WAL is known here.
      type: str
after:
  description: What is now, or in check mode would be.
  type: dict
  returned: success
  contains: *state
"""

from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge, diff
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.cluster import CLUSTER_ARGUMENTS
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Place
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.promote import Standby, plan, view

ARGUMENTS: dict[str, dict[str, Any]] = {**CLUSTER_ARGUMENTS, "timeout": {"type": "int", "default": 60}}


def main() -> None:
    module = begin(ARGUMENTS)
    with refusing(module):
        standby = Standby(Place.of(module.params), module.params["timeout"])
        outcome = converge(standby.observe, plan, standby, check_mode=module.check_mode)
    before, after = view(outcome.before), view(outcome.after)
    result = {"changed": outcome.changed, "actions": list(outcome.actions), "before": before, "after": after}
    module.exit_json(**result, diff=diff(before, after))


if __name__ == "__main__":
    main()
