# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""States to plan from: a healthy pair, and what can be wrong with it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.backups import Backup, Repository
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    MATCHED_SETTINGS,
    Config,
    Desired,
    Local,
    Marker,
    Primary,
    Receiver,
    Slot,
    State,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import conninfo

OURS, FOREIGN = "7300000000000000001", "7300000000000000002"
TIMELINE, NOW = 3, 0x5000000
HISTORY = ((1, 0x2000000), (2, 0x4000000))
LIMITS = tuple(zip(MATCHED_SETTINGS, (100, 8, 10, 0, 64), strict=True))

DESIRED = Desired.from_params(
    {
        "version": 17,
        "cluster": "main",
        "data_dir": None,
        "config_dir": None,
        "primary_host": "10.0.0.1",
        "primary_port": 5432,
        "replication_user": "replicator",
        "replication_password": "secret",
        "slot": "db2",
        "application_name": None,
        "checkpoint": "fast",
        "max_rate": None,
        "min_free_pct": 10,
        "timeout": 300,
        "sslmode": "prefer",
        "sslrootcert": None,
    }
)

RECEIVER = Receiver("streaming", "db2", "10.0.0.1", 5432, TIMELINE)
HELD = Slot(active=True, holder="db2 at 10.0.0.2", holder_address="10.0.0.2", restart_lsn=NOW)
# By a base backup that was ended here, and of whose end the primary does not know yet.
LEFT = replace(HELD, holder="pg_basebackup at 10.0.0.2")
FREE = Slot(restart_lsn=0x3000000)
PRIMARY = Primary(
    major=17,
    system_identifier=OURS,
    timeline=TIMELINE,
    lsn=NOW,
    history=HISTORY,
    limits=LIMITS,
    size=1 << 30,
    wal_size=1 << 30,
    our_address="10.0.0.2",
    slot=FREE,
    checkpoint_timeline=TIMELINE,
)
CONFIG = Config(
    registration="done",
    data_directory=DESIRED.data_dir,
    conninfo=conninfo(DESIRED),
    slot="db2",
    source=DESIRED.settings_file,
    owned=True,
    limits=LIMITS,
)
UNSET = replace(CONFIG, conninfo="", slot="", source="", owned=False)
STOPPED = Local(
    data="cluster",
    major=17,
    system_identifier=OURS,
    timeline=TIMELINE,
    lsn=NOW - 0x100,
    replayed=NOW - 0x100,
    control_state="shut down in recovery",
    standby_signal=True,
)
STARTING = replace(STOPPED, server="starting", control_state="in archive recovery")
CONNECTING = replace(STARTING, server="up", in_recovery=True, conninfo=CONFIG.conninfo, slot="db2")
STREAMING = replace(CONNECTING, receiver=RECEIVER)
PRIMARY_HERE = replace(
    STOPPED, server="up", control_state="in production", standby_signal=False, in_recovery=False
)
EX_PRIMARY = replace(STOPPED, control_state="shut down", standby_signal=False)
ABSENT, EMPTY, PARTIAL = Local(data="absent"), Local(data="empty"), Local(data="partial")
COPYING = Marker("copying", OURS, "db2")
COPIED = Marker("copied", OURS, "db2", FREE.restart_lsn)
REPLACING = replace(COPYING, replaces=True)
REWINDING, REWOUND = Marker("rewinding", OURS, "db2"), Marker("rewound", OURS, "db2")

# What the standby's files say, and what it finds there: WAL without a gap up to where the primary is.
FETCH = 'pgbackrest --stanza=main archive-get %f "%p"'
BACKUPS = (
    Backup("20260101-013000F", 1767229200.0, 1 << 29, 2, "0/3800000"),
    Backup("20260102-013000F", 1767315600.0, 1 << 30, TIMELINE, "0/4800000"),
)
REPOSITORY = Repository(
    "main",
    version=17,
    system_identifier=OURS,
    backups=BACKUPS,
    oldest_wal="000000020000000000000003",
    newest_wal="000000030000000000000004",
)
UNREACHABLE = Repository("main", problem="unable to connect to '10.0.0.9:8432'")

HEALTHY = State(
    host="db2",
    local=STREAMING,
    config=CONFIG,
    primary=replace(PRIMARY, slot=HELD),
    disk_total=100 << 30,
    disk_free=60 << 30,
)


def state(local: Local = STREAMING, **changes: Any) -> State:
    """Return a state in which only the named things differ from a healthy pair."""
    primary = replace(PRIMARY, slot=HELD if local.receiver else FREE)
    primary = replace(primary, **changes.pop("primary", {}))
    config = UNSET if local.data in ("absent", "empty", "partial") else CONFIG
    config = replace(config, **changes.pop("config", {}))
    return replace(HEALTHY, local=local, primary=primary, config=config, **changes)
