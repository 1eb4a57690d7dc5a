# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a planned change of the primary needs to know, and what is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Desired
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.model import Behind, Guarded

SECONDS_TO_FOLLOW = 60


@dataclass(frozen=True)
class Wanted(Guarded):
    """The options of postgres_switchover."""

    target_host: str
    target_port: int
    replication_user: str
    replication_password: str | None = field(repr=False)
    max_lag: int
    slot: str | None = None

    def follower(self, slot: str) -> Desired:
        """Return what postgres_replica would be asked for here, once the target has taken over."""
        return Desired(
            version=self.version,
            cluster=self.cluster,
            data_dir=self.data_dir,
            config_dir=self.config_dir,
            primary_host=self.target_host,
            primary_port=self.target_port,
            replication_user=self.replication_user,
            replication_password=self.replication_password,
            slot=slot,
            application_name=slot,
            checkpoint="fast",
            max_rate=None,
            min_free_pct=0,
            timeout=SECONDS_TO_FOLLOW,
            sslmode=self.sslmode,
            sslrootcert=self.sslrootcert,
        )

    @property
    def target(self) -> str:
        return f"{self.target_host}:{self.target_port}"


@dataclass(frozen=True)
class Target:
    """The standby that is to take over, or that has."""

    system_identifier: str
    major: int
    in_recovery: bool
    received: int = 0
    replayed: int = 0
    streaming: bool = False
    replay_paused: bool = False
    may_promote: bool = True
    limits: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class State(Behind):
    """All that a decision needs."""

    target: Target
    limits: tuple[tuple[str, int], ...] = ()

    @property
    def runs_as_primary(self) -> bool:
        return self.local.server == "up" and not self.local.in_recovery

    @property
    def ended_as_primary(self) -> bool:
        """Tell whether the server here was a primary and was shut down in good order."""
        local = self.local
        return local.server == "down" and local.control_state == "shut down" and local.shutdown_end > 0
