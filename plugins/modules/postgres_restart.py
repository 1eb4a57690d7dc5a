#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_restart
short_description: Restarts a PostgreSQL server whose settings wait for it, without an error for its clients
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Restarts the server of this host if settings in its files wait for a restart, or if it was started before
    O(started_after). Another one is left alone.
  - Whether it would start again is looked at before anything is stopped. What its files say must be
    readable, its memory fit into the machine, its libraries exist, and on a standby five settings be no
    lower than its primary's.
  - Those who read from a standby are sent elsewhere first, by O(drain_file). It is done once the standby
    follows its primary again and has caught up.
  - The clients of a primary are held back in their poolers while it is away. Whatever happens, they are let
    go on.
  - What it does, it does in a process of its own, which ends its work even if Ansible, the connection or the
    module are killed meanwhile. A run on a restart that was broken off plans what is left.
requirements:
  - python3-psycopg 3.1 or later on the target
  - PostgreSQL 15 or later, PgBouncer 1.18 or later
notes:
  - Needs root (O(ignore:become)).
  - In which order servers may be restarted is for the caller to know. C(max_connections) and four others
    must never be lower on a standby than its primary runs with, so they are raised on standbys first, and
    lowered on the primary first. C(playbooks/postgres_rolling_restart.yml) of this collection does so.
  - Clients that connect past the poolers lose their connections.
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
  - payaid.scaling.postgres_cluster
  - payaid.scaling.postgres_poolers
  - payaid.scaling.postgres_tls
options:
  started_after:
    description: >-
      Moment in seconds since the epoch. A server that was started before is restarted even if nothing waits
      for it.
    type: float
    default: 0
  drain_file:
    description:
      - File by which this host's agent for HAProxy sends readers elsewhere while its time of modification
        is in the future, as C(postgres_agent_drain_file) of the role C(postgres_agent). It is used on
        standbys.
      - Without it, those who read from a standby lose their connections.
    type: path
  drain_timeout:
    description: Seconds that readers have to leave a standby. Those that are still there then are cut off.
    type: int
    default: 30
  catch_up_timeout:
    description: Seconds in which a standby must follow its primary again, and as many to catch up.
    type: int
    default: 300
  timeout:
    description: >-
      Seconds that stopping may take while clients are held back. Together with O(pause_timeout) and the
      start it should stay below C(query_wait_timeout) of the poolers. Otherwise O(catch_up_timeout) counts.
    type: int
    default: 10
seealso:
  - module: payaid.scaling.postgres_replication_info
  - module: payaid.scaling.postgres_switchover
"""

EXAMPLES = r"""
- name: Restart the primary if its settings wait for it
  payaid.scaling.postgres_restart:
    version: 17
    poolers:
      - host: 10.0.0.21
      - host: 10.0.0.22
    pooler_user: switcher
    pooler_password: "{{ vault_pooler_admin_password }}"
"""

RETURN = r"""
actions:
  description: The steps, one sentence each.
  type: list
  elements: str
  returned: success
  sample: ["Stop PostgreSQL 17/main, for max_connections.", "Start PostgreSQL 17/main."]
before:
  description: What was found.
  type: dict
  returned: always, once it could be observed
  contains: &state
    role:
      description: V(primary) or V(standby).
      type: str
    server:
      description: V(up), V(starting) or V(down).
      type: str
    pending_restart:
      description: Settings that wait for a restart.
      type: list
      elements: str
    following:
      description: Whether a standby receives WAL and replays it.
      type: bool
    drained:
      description: Whether readers are being sent elsewhere.
      type: bool
    paused:
      description: The pools whose clients are held back.
      type: list
      elements: str
after:
  description: What is now, or in check mode would be.
  type: dict
  returned: success
  contains: *state
held_seconds:
  description: How long clients were held back. V(0) in check mode, and of a standby.
  type: float
  returned: success
cut_off:
  description: How many readers had not left a standby within O(drain_timeout).
  type: int
  returned: success
"""

from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge, diff
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.cluster import CLUSTER_ARGUMENTS
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.detached import detached
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.console import POOLER_ARGUMENTS
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_restart.io import Restart
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_restart.model import Wanted
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_restart.plan import plan, report

ARGUMENTS: dict[str, dict[str, Any]] = {
    **CLUSTER_ARGUMENTS,
    **POOLER_ARGUMENTS,
    "started_after": {"type": "float", "default": 0},
    "drain_file": {"type": "path"},
    "drain_timeout": {"type": "int", "default": 30},
    "catch_up_timeout": {"type": "int", "default": 300},
    "timeout": {"type": "int", "default": 10},
}


def restart(wanted: Wanted, check_mode: bool) -> dict[str, Any]:
    work = Restart(wanted)
    with work.system.alone(wanted.data_dir), work.taken_back():
        outcome = converge(work.observe, lambda state: plan(state, wanted), work, check_mode=check_mode)
        return report(outcome, work.held.seconds, work.cut_off)


def main() -> None:
    module = begin(ARGUMENTS)
    wanted = Wanted.from_params(module.params)
    with refusing(module):
        result = detached(lambda: restart(wanted, module.check_mode))
    module.exit_json(**result, diff=diff(result["before"], result["after"]))


if __name__ == "__main__":
    main()
