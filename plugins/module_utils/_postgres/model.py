# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host, its standby and the primary look like, and what they should look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.backups import Repository

Data = Literal["absent", "empty", "partial", "unknown", "cluster"]
Server = Literal["down", "starting", "up"]
Registration = Literal["missing", "half", "done", "elsewhere"]

# A standby refuses to start, or silently pauses replay, when one of these is lower than on its primary.
MATCHED_SETTINGS = (
    "max_connections",
    "max_worker_processes",
    "max_wal_senders",
    "max_prepared_transactions",
    "max_locks_per_transaction",
)

# pg_control says one of these about a cluster that last ran, or still runs, as a primary.
PRIMARY_STATES = frozenset({"in production", "shut down", "shutting down", "in crash recovery"})


@dataclass(frozen=True)
class Place:
    """One cluster of this host, named and laid out as Debian does it."""

    version: int
    cluster: str
    data_dir: str
    config_dir: str

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Place:
        return cls(**cls.paths(params))

    @staticmethod
    def paths(params: Mapping[str, Any]) -> dict[str, Any]:
        version, cluster = params["version"], params["cluster"]
        return {
            "version": version,
            "cluster": cluster,
            "data_dir": (params["data_dir"] or f"/var/lib/postgresql/{version}/{cluster}").rstrip("/"),
            "config_dir": (params["config_dir"] or f"/etc/postgresql/{version}/{cluster}").rstrip("/"),
        }

    @property
    def name(self) -> str:
        return f"PostgreSQL {self.version}/{self.cluster}"

    @property
    def bin_dir(self) -> str:
        return f"/usr/lib/postgresql/{self.version}/bin"

    @property
    def debian_layout(self) -> bool:
        """Tell whether Debian's cluster tools and systemd unit know the cluster by its config directory."""
        return self.config_dir == f"/etc/postgresql/{self.version}/{self.cluster}"

    @property
    def unit(self) -> str:
        return f"postgresql@{self.version}-{self.cluster}.service"

    @property
    def config_file(self) -> str:
        return f"{self.config_dir}/postgresql.conf"

    # Beside the data directory, so that a base backup, which would carry it along, never contains it.
    @property
    def marker(self) -> str:
        return f"{self.data_dir}.clone.json"


@dataclass(frozen=True)
class Desired(Place):
    """The options of postgres_replica, with the paths that follow from them."""

    primary_host: str
    primary_port: int
    replication_user: str
    replication_password: str | None = field(repr=False)
    slot: str
    application_name: str
    checkpoint: str
    max_rate: str | None
    min_free_pct: int
    timeout: int
    sslmode: str
    sslrootcert: str | None
    on_diverged: Literal["fail", "rewind", "reclone"] = "fail"
    on_foreign: Literal["fail", "reclone"] = "fail"
    on_lost_slot: Literal["fail", "reclone"] = "fail"
    on_split_brain: Literal["fail", "stop"] = "fail"
    strategy: Literal["staging", "in_place"] = "staging"
    keep_replaced: bool = True
    drop_idle_slots: bool = False
    clone_from: Literal["primary", "backup"] = "primary"
    pgbackrest_stanza: str = "main"

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Desired:
        name = params["application_name"] or params["slot"]
        return cls(**{**params, **cls.paths(params), "application_name": name})

    @property
    def primary(self) -> str:
        return f"{self.primary_host}:{self.primary_port}"

    @property
    def in_place(self) -> bool:
        return self.strategy == "in_place"

    @property
    def from_backup(self) -> bool:
        return self.clone_from == "backup"

    @property
    def settings_file(self) -> str:
        return f"{self.config_dir}/conf.d/50-replication.conf"

    # These too stand beside the data directory; so a rename stays on one filesystem.
    @property
    def passfile(self) -> str:
        return f"{self.data_dir}.passfile"

    @property
    def staging(self) -> str:
        return f"{self.data_dir}.new"

    @property
    def copy_target(self) -> str:
        return self.data_dir if self.in_place else self.staging

    @property
    def scratch(self) -> str:
        """Where Debian's tool makes the cluster whose configuration we keep and whose data we do not."""
        return f"{self.data_dir}.initdb"


@dataclass(frozen=True)
class Control:
    """What pg_controldata says."""

    state: str
    system_identifier: str
    timeline: int
    lsn: int
    checkpoint_lsn: int = 0
    checkpoint_timeline: int = 0
    segment_size: int = 16 << 20
    # Without either, changes of hint bits leave no trace in the WAL, and pg_rewind could not find them.
    hints_logged: bool = False
    # The settings of the primary, of which a standby learns by WAL.
    limits: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Receiver:
    """What pg_stat_wal_receiver says."""

    status: str
    slot: str
    host: str
    port: int
    timeline: int


@dataclass(frozen=True)
class Local:
    """The data directory and the server that runs, or does not run, on it."""

    data: Data
    server: Server = "down"
    major: int | None = None
    system_identifier: str | None = None
    timeline: int = 0
    # How far the WAL is known here, and how far it was replayed: only what was replayed cannot be taken back.
    lsn: int = 0
    replayed: int = 0
    # Where the WAL of a former primary ends, if it was shut down in good order.
    shutdown_end: int = 0
    hints_logged: bool = True
    control_state: str = ""
    # What a standby's settings must come up to.
    control_limits: tuple[tuple[str, int], ...] = ()
    backup_label: bool = False
    standby_signal: bool = False
    in_recovery: bool = False
    replay: str = "not paused"
    receiver: Receiver | None = None
    conninfo: str = field(default="", repr=False)
    slot: str = ""
    symlink: bool = False
    mount_point: bool = False
    # Physical slots of this server that nobody uses.
    idle_slots: tuple[str, ...] = ()
    # Those that somebody follows it through.
    busy_slots: tuple[str, ...] = ()

    @property
    def was_primary(self) -> bool:
        """Tell whether the data last belonged to a primary: a base backup that never ran did not."""
        return (
            self.data == "cluster"
            and not self.in_recovery
            and not self.backup_label
            and self.control_state in PRIMARY_STATES
        )


@dataclass(frozen=True)
class Config:
    """What the files say that a start, or a reload, would read."""

    registration: Registration
    data_directory: str = ""
    conninfo: str = field(default="", repr=False)
    slot: str = ""
    source: str = ""
    owned: bool = False
    auto_clean: bool = True
    hot_standby: bool = True
    restore_command: str = ""
    limits: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Slot:
    """One row of pg_replication_slots, with the client that holds it as far as it may be seen."""

    kind: str = "physical"
    active: bool = False
    holder: str = ""
    holder_address: str = ""
    wal_status: str = "reserved"
    restart_lsn: int = 0


@dataclass(frozen=True)
class Primary:
    """The server to follow."""

    major: int
    system_identifier: str
    timeline: int
    lsn: int
    in_recovery: bool = False
    history: tuple[tuple[int, int], ...] = ()
    limits: tuple[tuple[str, int], ...] = ()
    wal_level: str = "replica"
    senders_free: int = 10
    tablespaces: tuple[str, ...] = ()
    size: int = 0
    wal_size: int = 0
    unreadable: tuple[str, ...] = ()
    our_address: str = ""
    slot: Slot | None = None
    # Where the oldest WAL begins that is still there; 0 where the role may not know.
    oldest_wal: int = 0
    segment_size: int = 16 << 20
    # What pg_rewind needs of the primary.
    checkpoint_timeline: int = 0
    may_checkpoint: bool = True
    rewind_denied: tuple[str, ...] = ()
    full_page_writes: bool = True


@dataclass(frozen=True)
class Marker:
    """The note of a clone or rewind that has begun and not been seen to stream."""

    phase: Literal["copying", "copied", "rewinding", "rewound"]
    system_identifier: str
    slot: str
    slot_lsn: int = 0
    in_place: bool = False
    # The data that were found are given up. Said once, it holds until the copy has taken their place.
    replaces: bool = False
    # Where they were set aside.
    replaced: str = ""


@dataclass(frozen=True)
class State:
    """All that a decision needs."""

    host: str
    local: Local
    config: Config
    primary: Primary
    marker: Marker | None = None
    staging: bool = False
    orphans: int = 0
    passfile: bool = True
    disk_total: int = 0
    # Leftovers that the plan removes before it copies are counted as free.
    disk_free: int = 0
    # What cloning in place would free.
    data_size: int = 0
    # What there is of backups and archived WAL, where it matters and is known.
    repository: Repository | None = None
