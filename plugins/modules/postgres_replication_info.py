#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: postgres_replication_info
short_description: Read what part a PostgreSQL cluster plays in replication
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Looks at the data directory and the server of this host, and returns its role, its positions, whom it
    follows, who follows it, its slots, and what is wrong.
  - It changes nothing, and does not fail because the server is missing, stopped or ill; that is what it
    returns.
  - The server is asked once, over its local socket.
requirements:
  - Debian's postgresql-N
notes:
  - Needs root (O(ignore:become)), or the user postgres.
  - It fails where O(version) is not that of the data, and where C(pg_hba.conf) lacks the line C(local all
    postgres peer).
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.reads
  - payaid.scaling.postgres_cluster
seealso:
  - module: payaid.scaling.postgres_replica
  - module: payaid.scaling.postgres_physical_slot
"""

EXAMPLES = r"""
- name: See who is what
  payaid.scaling.postgres_replication_info:
    version: 17
  register: replication

- name: Go on only with a standby that is well
  payaid.scaling.postgres_replication_info:
    version: 17
  register: replication
  failed_when: replication.role != 'standby' or replication.problems | length > 0
"""

RETURN = r"""
role:
  description:
    - V(primary) or V(standby) where a server runs and takes questions. One that recovers to a point in time
      counts as V(standby) until it has ended.
    - V(stopped_primary) or V(stopped_standby) where none runs, by what the data were last, and by
      C(standby.signal).
    - V(starting) where a server runs and takes no questions, because it starts or stops, has no connection
      left, or does not answer for half a minute.
    - V(absent) where there are no data, or the programs are not installed.
    - V(broken) where data cannot be used, because a clone or rewind by M(payaid.scaling.postgres_replica) is
      under way or broke off, or because they are no PostgreSQL data.
  type: str
  returned: success
  sample: standby
running:
  description: Whether a server process runs on the data directory, even if it takes no questions yet.
  type: bool
  returned: success
system_identifier:
  description: The database system that the data belong to; none where there are no data.
  type: str
  returned: success
timeline:
  description: Timeline that the data are on.
  type: int
  returned: success
lsn:
  description:
    - How far the WAL is known here. What a primary has written, or the greater of what a standby has
      received and replayed.
    - Of a stopped server what C(pg_controldata) tells, its last checkpoint or where recovery has to come to
      at least. The WAL that is there may go further.
  type: str
  returned: success
  sample: 0/3000148
replayed_lsn:
  description: How far a standby has replayed the WAL.
  type: str
  returned: success
control_state:
  description: Database cluster state, as C(pg_controldata) prints it.
  type: str
  returned: success
  sample: in archive recovery
upstream:
  description: Whom the standby receives WAL from; none where no receiver runs.
  type: dict
  returned: success
  contains:
    host: {description: Host that it is connected to., type: str}
    port: {description: Port there., type: int}
    slot: {description: Slot there., type: str}
    status: {description: Status of the receiver., type: str, sample: streaming}
    last_message_age_s:
      description: Seconds since it heard from there. Half a minute is usual when nothing is written.
      type: float
lag:
  description:
    - How far replay is behind what was received; none unless RV(role=standby).
    - A standby that is not connected does not know what it is missing. See RV(upstream).
  type: dict
  returned: success
  contains:
    bytes: {description: Bytes of WAL that are received and not yet replayed., type: int}
    seconds:
      description: >-
        Seconds since the commit that was replayed last was made, where there is something to replay, else
        V(0). None where no commit was replayed since the start.
      type: float
replay_paused:
  description: Whether replay is paused, by somebody or because a setting is lower than on the primary.
  type: bool
  returned: success
limits:
  description:
    - The settings of which a standby must have no less than its primary, by their names.
    - What a server that takes questions runs with, whatever its files say by now. Of another one what its
      WAL was written with. Empty where there are no data.
  type: dict
  returned: success
  sample: {max_connections: 300, max_worker_processes: 8}
pending_restart:
  description: Settings in the files of a server that takes questions that wait for its restart.
  type: list
  elements: str
  returned: success
  sample: [max_connections]
replicas:
  description: Who receives WAL from this server, base backups too.
  type: list
  elements: dict
  returned: success
  contains:
    application_name: {description: Name that it goes by., type: str}
    address: {description: Address that it comes from; none over a local socket., type: str}
    state: {description: "V(startup), V(catchup), V(streaming), V(backup) or V(stopping).", type: str}
    sync_state: {description: "V(async), V(potential), V(sync) or V(quorum).", type: str}
    sent_lag_bytes: {description: Bytes of WAL here that were not sent to it yet., type: int}
    write_lag_bytes: {description: Bytes of WAL here that it has not reported written., type: int}
    flush_lag_bytes: {description: Bytes of WAL here that it has not reported to be on disk., type: int}
    replay_lag_bytes: {description: Bytes of WAL here that it has not reported replayed., type: int}
    replay_lag_seconds:
      description: Seconds until it reports that a commit is replayed; none without recent ones.
      type: float
slots:
  description: The replication slots of this server.
  type: list
  elements: dict
  returned: success
  contains:
    name: {description: Name., type: str}
    type: {description: V(physical) or V(logical)., type: str}
    active: {description: Whether somebody uses it now., type: bool}
    wal_status:
      description: V(reserved), V(extended), V(unreserved) or V(lost); none if it keeps no WAL.
      type: str
    safe_wal_size: {description: Bytes to be written before it may be lost; none without a limit., type: int}
    retained_bytes: {description: Bytes of WAL that it holds back., type: int}
synchronous_standby_names:
  description: The setting of that name, of a server that takes questions.
  type: str
  returned: success
clone:
  description: The clone or rewind by M(payaid.scaling.postgres_replica) that is not complete, if any.
  type: dict
  returned: success
  contains:
    phase: {description: "V(copying), V(copied), V(rewinding) or V(rewound).", type: str}
    bytes: {description: Bytes copied; V(0) of a rewind., type: int}
    total: {description: Bytes to copy; V(0) of a rewind., type: int}
problems:
  description: What is wrong, one sentence each.
  type: list
  elements: str
  returned: success
  sample: [slot db3 on this primary is inactive and holds back 3 GiB]
"""

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.cluster import CLUSTER_ARGUMENTS
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.info import report
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.info_io import look
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Place

ARGUMENTS = CLUSTER_ARGUMENTS


def main() -> None:
    module = begin(ARGUMENTS)
    with refusing(module):
        told = report(look(Place.of(module.params)))
    module.exit_json(changed=False, **told)


if __name__ == "__main__":
    main()
