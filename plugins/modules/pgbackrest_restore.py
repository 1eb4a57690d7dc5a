#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: pgbackrest_restore
short_description: Restores a PostgreSQL cluster from a pgBackRest repository
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Restores a backup beside the data directory, stops PostgreSQL on this host, sets its data directory aside
    for the restored one, replays WAL to the end of the archive or to a moment, and returns when the server
    takes writes.
  - What was there before is renamed, and removed only with O(old_data=remove).
  - Everything that can be known to be wrong is refused before PostgreSQL is stopped.
  - A run that was interrupted is completed by the next one that asks for the same.
  - The other servers of the cluster must not go on as they are, because the restored one begins a timeline of
    its own. With O(part=set_aside) the module only stops one and sets its data aside, so that it can be
    cloned anew.
  - It owns C(<data directory>.restore.json), in which it writes down how far it has come, and
    C(<data directory>.restoring).
requirements:
  - Debian's pgbackrest, configured on the target, and postgresql-N with the cluster's settings in
    C(/etc/postgresql)
notes:
  - Needs root (O(ignore:become)).
  - PostgreSQL fails to recover to a moment after which nothing was committed, because it never sees that it
    is there. Restore to the end of the archive then.
  - Tablespaces are restored to where they were, and are not set aside.
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
options:
  name:
    description:
      - What this restore is called. One that has finished is not done again under the same name.
      - The data that were there before are set aside as C(<data directory>.before-<name>).
      - Letters, digits, dots, underscores and hyphens.
    type: str
    required: true
  version:
    description: Major version of PostgreSQL.
    type: int
    required: true
  cluster:
    description: Debian's name of the cluster.
    type: str
    default: main
  port:
    description: Port of PostgreSQL, which is asked over its socket.
    type: int
    default: 5432
  stanza:
    description: Name of the cluster in the repository.
    type: str
    default: main
  part:
    description:
      - V(copy) only restores the backup beside the data directory, while the server goes on. With
        O(old_data=remove) it does nothing but check, because there is no room yet.
      - V(set_aside) only stops the server and sets its data aside.
      - V(all) does all of it, or what is left.
    type: str
    choices: [all, copy, set_aside]
    default: all
  until:
    description: How far to replay. V(time) and V(name) need O(target).
    type: str
    choices: [latest, time, name]
    default: latest
  target:
    description:
      - With O(until=time) the moment to stop at, with its distance from UTC, such as
        V(2026-01-31 14:05:00+00).
      - With O(until=name) the restore point that was made by C(pg_create_restore_point).
    type: str
  timeline:
    description: >-
      Timeline to follow, such as V(2) or V(current); the latest if not given. It matters only where the
      cluster was restored or failed over before.
    type: str
  backup:
    description: >-
      Label of the backup to begin with. If not given, the last one, or with O(until=time) the last that
      ended before it. A restore point that is older than the last backup needs it.
    type: str
  old_data:
    description: >-
      What becomes of the data directory that is there: it is kept under another name, or, where there is no
      room for both, removed before the backup is restored.
    type: str
    choices: [keep, remove]
    default: keep
  min_free_pct:
    description: Refuse a restore that would leave less than this percentage of the disk free.
    type: int
    default: 5
  timeout:
    description: Seconds to wait until WAL is replayed. The copy takes its own time.
    type: int
    default: 3600
"""

EXAMPLES = r"""
- name: Say what would be done, and whether it can be done
  payaid.scaling.pgbackrest_restore:
    name: 2026-01-31-after-the-flood
    version: 17
  check_mode: true

- name: Restore to the moment before the table was dropped
  payaid.scaling.pgbackrest_restore:
    name: 2026-01-31-dropped-table
    version: 17
    until: time
    target: 2026-01-31 14:05:00+00

- name: Have a replica cloned anew afterwards
  payaid.scaling.pgbackrest_restore:
    name: 2026-01-31-dropped-table
    version: 17
    part: set_aside
"""

RETURN = r"""
actions:
  description: The steps, one sentence each.
  type: list
  elements: str
  returned: success
  sample: [Stop PostgreSQL 17/main.]
aside:
  description: Where the data are that were there before; nothing if there were none or they were removed.
  type: str
  returned: success
  sample: /var/lib/postgresql/17/main.before-2026-01-31
before:
  description: The host as it was found.
  type: dict
  returned: success
  contains: &state
    running:
      description: Whether PostgreSQL runs.
      type: bool
    data:
      description: Whether there is anything in the data directory.
      type: bool
    restore:
      description: Name of the last restore here.
      type: str
    phase:
      description: How far it has come, one of V(copied), V(restored) or V(done).
      type: str
    backups:
      description: Labels of the backups in the repository, oldest first.
      type: list
      elements: str
after:
  description: The host as it is now, or in check mode as it would be.
  type: dict
  returned: success
  contains: *state
"""

from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._pgbackrest.io import Host
from ansible_collections.payaid.scaling.plugins.module_utils._pgbackrest.model import Desired
from ansible_collections.payaid.scaling.plugins.module_utils._pgbackrest.plan import plan, report
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge, diff

ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "version": {"type": "int", "required": True},
    "cluster": {"type": "str", "default": "main"},
    "port": {"type": "int", "default": 5432},
    "stanza": {"type": "str", "default": "main"},
    "part": {"type": "str", "choices": ["all", "copy", "set_aside"], "default": "all"},
    "until": {"type": "str", "choices": ["latest", "time", "name"], "default": "latest"},
    "target": {"type": "str"},
    "timeline": {"type": "str"},
    "backup": {"type": "str"},
    "old_data": {"type": "str", "choices": ["keep", "remove"], "default": "keep"},
    "min_free_pct": {"type": "int", "default": 5},
    "timeout": {"type": "int", "default": 3600},
}
RULES = {"required_if": [("until", "time", ["target"]), ("until", "name", ["target"])]}


def main() -> None:
    module = begin(ARGUMENTS, **RULES)
    desired = Desired.from_params(module.params)
    with refusing(module):
        host = Host(desired)
        with host.alone():
            outcome = converge(
                host.observe, lambda state: plan(state, desired), host, check_mode=module.check_mode
            )
    result = report(outcome, desired)
    module.exit_json(**result, diff=diff(result["before"], result["after"]))


if __name__ == "__main__":
    main()
