#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_switchover
short_description: Hands the writes of this PostgreSQL primary over to one of its standbys
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Runs on the primary. Holds clients back in their poolers, stops the primary in good order, waits until
    the standby has replayed all of it, promotes it, points the poolers at it, and lets the clients go on.
    They see a pause and no error.
  - Everything that could stand in the way is looked at before anything is done. If something fails before
    the promotion, the primary is started again; whatever happens, clients are let go on.
  - What it does, it does in a process of its own, which ends its work even if Ansible, the connection or the
    module are killed meanwhile. A run on a switchover that is done, or was broken off, plans what is left.
  - Afterwards this server is stopped and has C(standby.signal), so that nothing starts it as a primary. With
    O(slot) it follows the new primary at once; else M(payaid.scaling.postgres_replica) makes it follow.
requirements:
  - python3-psycopg 3.1 or later on the target
  - PostgreSQL 15 or later, PgBouncer 1.18 or later
notes:
  - Needs root (O(ignore:become)).
  - "On the standby C(pg_hba.conf) must let O(replication_user) in from this host for the database
    C(postgres), and with O(slot) also for C(replication). The role needs C(EXECUTE) on
    C(pg_promote(boolean, integer)) and C(pg_read_all_stats)."
  - Write the new primary into each pooler's file before, and do not reload it; the module does, at the right
    moment. Where a file still names another host, the run says so after the promotion.
  - O(sslmode) and O(sslrootcert) are for the standby and for the poolers' consoles alike.
  - Clients that connect past the poolers lose their connections, as in a restart.
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
  - payaid.scaling.postgres_cluster
  - payaid.scaling.postgres_login
  - payaid.scaling.postgres_poolers
  - payaid.scaling.postgres_tls
options:
  target_host:
    description: Name or address of the standby that takes over.
    type: str
    required: true
  target_port:
    description: Its port.
    type: int
    default: 5432
  slot:
    description:
      - Physical slot on the new primary through which this server follows it, as with
        M(payaid.scaling.postgres_replica). It is created if it is missing.
      - Without it, this server stays stopped. Where commits wait for a standby, as
        C(synchronous_standby_names) says, they then wait until one follows.
    type: str
  max_lag:
    description: Bytes that the standby may be behind when the run begins.
    type: int
    default: 16777216
  timeout:
    description: >-
      Seconds that stopping, catching up and promoting may take each. Together with O(pause_timeout) they
      should stay below C(query_wait_timeout) of the poolers.
    type: int
    default: 10
"""

EXAMPLES = r"""
- name: Hand over to db2
  payaid.scaling.postgres_switchover:
    version: 17
    target_host: 10.0.0.12
    replication_user: replicator
    replication_password: "{{ vault_replication_password }}"
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
  sample: ["Promote 10.0.0.12:5432."]
before:
  description: What was found.
  type: dict
  returned: always, once it could be observed
  contains: &state
    here:
      description: One of V(primary), V(stopped) or V(standby).
      type: str
    target:
      description: V(standby) or V(primary).
      type: str
    target_lsn:
      description: How far the standby has replayed.
      type: str
    poolers:
      description: For each pooler, where each of its databases leads, and whether it is paused.
      type: dict
after:
  description: What is now, or in check mode would be.
  type: dict
  returned: success
  contains: *state
held_seconds:
  description: How long clients were held back. V(0) in check mode.
  type: float
  returned: success
"""

from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge, diff
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.cluster import (
    CLUSTER_ARGUMENTS,
    LOGIN_ARGUMENTS,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.detached import detached
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.console import POOLER_ARGUMENTS
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_switchover.io import Switchover
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_switchover.model import Wanted
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_switchover.plan import plan, report

ARGUMENTS: dict[str, dict[str, Any]] = {
    **CLUSTER_ARGUMENTS,
    **LOGIN_ARGUMENTS,
    **POOLER_ARGUMENTS,
    "target_host": {"type": "str", "required": True},
    "target_port": {"type": "int", "default": 5432},
    "slot": {"type": "str"},
    "max_lag": {"type": "int", "default": 16777216},
    "timeout": {"type": "int", "default": 10},
}


def switch(wanted: Wanted, check_mode: bool) -> dict[str, Any]:
    switchover = Switchover(wanted)
    with switchover.system.alone(wanted.data_dir), switchover.taken_back():
        outcome = converge(
            switchover.observe, lambda state: plan(state, wanted), switchover, check_mode=check_mode
        )
        return report(outcome, switchover.held.seconds)


def main() -> None:
    module = begin(ARGUMENTS)
    wanted = Wanted.from_params(module.params)
    with refusing(module):
        result = detached(lambda: switch(wanted, module.check_mode))
    module.exit_json(**result, diff=diff(result["before"], result["after"]))


if __name__ == "__main__":
    main()
