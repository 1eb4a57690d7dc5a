#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_replica
short_description: Makes this host a streaming standby of a PostgreSQL primary
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Looks at the data directory, the server and the primary, and takes the steps that are left until the
    standby streams through its own physical slot and has replayed what the primary had written.
  - Clones only where there is no data, or a half-made copy of its own. Wrong connection settings are
    rewritten, a stopped standby is started, and a former primary that was stopped in good order before its
    successor took over just follows it.
  - Every other state is refused with one sentence and left as it is, above all another database system, a
    second primary (split brain), WAL that the primary does not have, and a standby whose WAL is gone.
    O(on_diverged), O(on_foreign), O(on_lost_slot) and O(on_split_brain) say which of them to put right.
  - A run that was interrupted is completed by the next one. While it copies, C(<data_dir>.clone.json) says
    how many bytes of how many are there.
  - It owns C(conf.d/50-replication.conf) in O(config_dir), and beside O(data_dir) the files
    C(<data_dir>.passfile) with the password, which only postgres can read, C(<data_dir>.clone.json) and,
    while it works, C(<data_dir>.new) and C(<data_dir>.initdb). It takes C(primary_conninfo) and
    C(primary_slot_name) out of C(postgresql.auto.conf).
  - Where O(config_dir) has no C(postgresql.conf), Debian's C(pg_createcluster) makes it first; a C(conf.d)
    that is there already is kept, so settings can be laid down before.
requirements:
  - python3-psycopg 3.1 or later on the target
  - Debian's postgresql-common and postgresql-N
  - pgBackRest 2.45 or later, set up on the target to read the repository, for O(clone_from=backup)
notes:
  - Needs root (O(ignore:become)), or the user postgres where the cluster is registered already.
  - On the primary C(pg_hba.conf) must let O(replication_user) in from this host for the databases
    C(replication) and C(postgres). The role needs C(REPLICATION), and C(pg_read_all_stats) where it may not
    connect to every database. With C(pg_monitor) instead, a standby whose WAL is gone is recognised without
    a slot that says so.
  - To rewind, it needs C(EXECUTE) on C(pg_ls_dir), C(pg_stat_file) and both forms of C(pg_read_binary_file)
    in the primary's database C(postgres), and C(pg_checkpoint) where the primary has made no checkpoint since
    its promotion.
  - The standby itself connects to the primary as O(sslmode) says, so postgres has to be able to read
    O(sslrootcert). A check run before that file is there asks the primary without verifying it.
  - Tablespaces and cascading are not offered in this version.
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
  - payaid.scaling.postgres_cluster
  - payaid.scaling.postgres_login
  - payaid.scaling.postgres_tls
options:
  primary_host:
    description: Name or address of the present primary.
    type: str
    required: true
  primary_port:
    description: Port of the primary.
    type: int
    default: 5432
  slot:
    description:
      - Physical replication slot of this standby, and of no other. It is created on the primary if it is
        missing.
      - Lower-case letters, digits and underscores.
    type: str
    required: true
  application_name:
    description: Name under which the primary sees this standby. O(slot) if not given.
    type: str
  checkpoint:
    description: Whether a base backup begins with a V(fast) checkpoint, or waits for a V(spread) one.
    type: str
    choices: [fast, spread]
    default: fast
  max_rate:
    description: Most that C(pg_basebackup) transfers each second, in its own words, such as V(100M).
    type: str
  min_free_pct:
    description: >-
      Refuse a clone that would leave less than this percentage of the disk free. V(0) does not check.
    type: int
    default: 10
  timeout:
    description: >-
      Seconds to wait until the standby streams, counted anew whenever it has come nearer.
    type: int
    default: 300
  on_diverged:
    description:
      - What to do with data that have WAL which the primary does not have, such as those of a primary that
        was replaced while it wrote. V(rewind) and V(reclone) give that WAL up.
      - V(rewind) undoes it with C(pg_rewind), and refuses where that is not possible, above all a divergence
        within one timeline, which C(pg_rewind) does not see. A rewind that broke off leaves data of no use,
        and takes V(reclone) to go on.
    type: str
    choices: [fail, rewind, reclone]
    default: fail
  on_foreign:
    description: >-
      What to do with data of another database system. A primary that runs on them is never stopped.
    type: str
    choices: [fail, reclone]
    default: fail
  on_lost_slot:
    description:
      - What to do with a standby that needs WAL which the primary has no longer. Dropping the slot does not
        help. One that has a C(restore_command) is left to get it from its archive, unless C(pgbackrest info)
        says that this has it no longer either.
      - Where there are no data, a lost slot is dropped and made anew.
    type: str
    choices: [fail, reclone]
    default: fail
  on_split_brain:
    description:
      - Whether a primary that runs here is stopped. It only is where the timeline of O(primary_host) proves
        that it took over from this one, and then O(on_diverged) says what becomes of the data.
    type: str
    choices: [fail, stop]
    default: fail
  clone_from:
    description:
      - What a clone copies. With V(backup) the last backup of pgBackRest from which WAL leads to where the
        primary is, so nothing is read there; C(restore_command) has to be set, to fetch the WAL since.
    type: str
    choices: [primary, backup]
    default: primary
  pgbackrest_stanza:
    description: The cluster's name in the repository, for O(clone_from=backup).
    type: str
    default: main
  strategy:
    description:
      - Where a clone is made. With V(staging) beside the data directory, so that data which it replaces are
        there until it is complete; both need their room.
      - V(in_place) removes the old data first. It needs no more room than the data, and works where the data
        directory is a mount point or a link.
    type: str
    choices: [staging, in_place]
    default: staging
  keep_replaced:
    description:
      - Whether data that a clone has replaced stay beside the data directory as RV(replaced). Otherwise they
        are removed once the standby streams.
    type: bool
    default: true
  drop_idle_slots:
    description:
      - Whether physical slots on this standby that nobody uses are dropped. A former primary has those of its
        standbys, and they hold its WAL back for nobody until the disk is full.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Follow the primary
  payaid.scaling.postgres_replica:
    version: 17
    primary_host: 10.0.0.11
    replication_user: replicator
    replication_password: "{{ vault_replication_password }}"
    slot: db2

- name: Say what would be done, over a verified connection and without loading the primary's disk
  payaid.scaling.postgres_replica:
    version: 17
    primary_host: db1.example.org
    replication_user: replicator
    replication_password: "{{ vault_replication_password }}"
    slot: db3
    sslmode: verify-full
    sslrootcert: /etc/ssl/certs/ca-certificates.crt
    checkpoint: spread
    max_rate: 100M
  check_mode: true
"""

RETURN = r"""
action:
  description: What the steps amount to, one of V(none), V(configure), V(clone), V(rewind) or V(reclone).
  type: str
  returned: success
  sample: clone
reason:
  description: What was found that called for it.
  type: str
  returned: success
  sample: there is no /var/lib/postgresql/17/main
actions:
  description: The steps, one sentence each.
  type: list
  elements: str
  returned: success
  sample: [Start PostgreSQL 17/main.]
before:
  description: The standby as it was found.
  type: dict
  returned: always, once it could be observed
  contains: &state
    state:
      description:
        - One of V(absent), V(empty), V(partial), V(unknown), V(stopped), V(starting), V(standby),
          V(streaming), V(primary) or V(broken).
      type: str
    system_identifier:
      description: The database system that the data belong to.
      type: str
    timeline:
      description: Timeline that the data are on.
      type: int
    lsn:
      description: How far the WAL is known here.
      type: str
    slot:
      description: The slot it streams through, or is set to.
      type: str
after:
  description: The standby as it is now, or in check mode as it would be.
  type: dict
  returned: success
  contains: *state
replaced:
  description: Where the data that a clone has replaced were set aside, if there were any and they were kept.
  type: str
  returned: success
slots:
  description: Physical slots of this standby, as a server that was the primary before still has them.
  type: list
  elements: str
  returned: success
bytes:
  description: Bytes that the clone copied; in check mode the size of what it would copy; else 0.
  type: int
  returned: success
"""

from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge, diff
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.cluster import (
    CLUSTER_ARGUMENTS,
    LOGIN_ARGUMENTS,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.io import Host
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Desired
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.plan import plan, report

ARGUMENTS: dict[str, dict[str, Any]] = {
    **CLUSTER_ARGUMENTS,
    **LOGIN_ARGUMENTS,
    "primary_host": {"type": "str", "required": True},
    "primary_port": {"type": "int", "default": 5432},
    "slot": {"type": "str", "required": True},
    "application_name": {"type": "str"},
    "checkpoint": {"type": "str", "choices": ["fast", "spread"], "default": "fast"},
    "max_rate": {"type": "str"},
    "min_free_pct": {"type": "int", "default": 10},
    "timeout": {"type": "int", "default": 300},
    "on_diverged": {"type": "str", "choices": ["fail", "rewind", "reclone"], "default": "fail"},
    "on_foreign": {"type": "str", "choices": ["fail", "reclone"], "default": "fail"},
    "on_lost_slot": {"type": "str", "choices": ["fail", "reclone"], "default": "fail"},
    "on_split_brain": {"type": "str", "choices": ["fail", "stop"], "default": "fail"},
    "strategy": {"type": "str", "choices": ["staging", "in_place"], "default": "staging"},
    "keep_replaced": {"type": "bool", "default": True},
    "drop_idle_slots": {"type": "bool", "default": False},
    "clone_from": {"type": "str", "choices": ["primary", "backup"], "default": "primary"},
    "pgbackrest_stanza": {"type": "str", "default": "main"},
}


def main() -> None:
    module = begin(ARGUMENTS)
    desired = Desired.from_params(module.params)
    with refusing(module):
        host = Host(desired, check_mode=module.check_mode)
        with host.alone():
            outcome = converge(
                host.observe, lambda state: plan(state, desired), host, check_mode=module.check_mode
            )
    result = report(outcome, desired, host.copied_bytes, host.replaced)
    module.exit_json(**result, diff=diff(result["before"], result["after"]))


if __name__ == "__main__":
    main()
