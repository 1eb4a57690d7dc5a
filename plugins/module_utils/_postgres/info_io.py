# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Looking at one cluster of this host, at what it takes part in, and at what was begun here and not ended."""

from __future__ import annotations

import os
import platform

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import system as host_system
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.info import Found
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.local import LocalCluster
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Local, Place
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.notes import Notes, Progress
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import System

# The connection string of the receiver is left out: somebody may have put a password there.
MORE = """
SELECT json_build_object(
  'since_replay_s', round(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 3),
  'lsn', here.lsn,
  'synchronous_standby_names', current_setting('synchronous_standby_names'),
  'synchronous_commit', current_setting('synchronous_commit'),
  'pending_restart', (
    SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM pg_settings WHERE pending_restart),
  'upstream', (
    SELECT json_build_object('host', sender_host, 'port', sender_port, 'slot', slot_name, 'status', status,
      'last_message_age_s', round(extract(epoch FROM clock_timestamp() - last_msg_receipt_time), 3))
    FROM pg_stat_wal_receiver),
  'replicas', (
    SELECT coalesce(json_agg(json_build_object(
      'application_name', application_name, 'address', host(client_addr),
      'state', state, 'sync_state', sync_state,
      'sent_lag_bytes', here.lsn - sent_lsn, 'write_lag_bytes', here.lsn - write_lsn,
      'flush_lag_bytes', here.lsn - flush_lsn, 'replay_lag_bytes', here.lsn - replay_lsn,
      'replay_lag_seconds', extract(epoch FROM replay_lag)) ORDER BY application_name, pid), '[]')
    FROM pg_stat_replication),
  'slots', (
    SELECT coalesce(json_agg(json_build_object(
      'name', slot_name, 'type', slot_type, 'active', active, 'wal_status', wal_status,
      'safe_wal_size', safe_wal_size, 'retained_bytes', here.lsn - restart_lsn) ORDER BY slot_name), '[]')
    FROM pg_replication_slots)
)
FROM (
  SELECT CASE WHEN pg_is_in_recovery() THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
    ELSE pg_current_wal_lsn() END AS lsn
) here
"""


def look(place: Place) -> Found:
    """Look at the cluster. That it is missing or stopped is an answer too."""
    if not os.path.exists(f"{place.bin_dir}/pg_controldata"):
        return Found(place, Local(data="absent"), installed=False)
    system = System()
    _refuse_version(place)
    # A clone that ends meanwhile takes its note away last: read first, it is at worst out of date.
    notes = Notes(place, system)
    marker, note = notes.read()
    local, answer = LocalCluster(place, system).observe(MORE)
    return Found(
        place=place,
        local=local,
        marker=marker,
        progress=Progress(**note.get("progress", {})),
        working=bool(notes.orphans()),
        answer=answer,
    )


def _refuse_version(place: Place) -> None:
    """Data of another version cannot be read with these programs."""
    found = host_system.read_or_empty(f"{place.data_dir}/PG_VERSION").strip()
    if found and found != str(place.version):
        raise Refusal(
            f"{platform.node()}: {place.data_dir} holds PostgreSQL {found} data, and version asks for "
            f"{place.version}: correct version or data_dir."
        )
