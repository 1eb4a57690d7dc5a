# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a planned change of the primary needs to know, and what is wanted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Desired, Local, Place

SECONDS_TO_FOLLOW = 60


@dataclass(frozen=True)
class Guarded(Place):
    """A cluster whose clients come through poolers, and how these are asked to hold them back."""

    poolers: tuple[tuple[str, int], ...]
    pooler_databases: tuple[str, ...]
    pooler_user: str
    pooler_password: str | None = field(repr=False)
    sslmode: str
    sslrootcert: str | None
    max_transaction_age: int
    pause_timeout: int
    timeout: int

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Self:
        taken = {**params, **cls.paths(params)}
        taken["poolers"] = tuple((pooler["host"], pooler["port"]) for pooler in params["poolers"] or ())
        taken["pooler_databases"] = tuple(params["pooler_databases"])
        return cls(**taken)

    @property
    def pools(self) -> str:
        names = " and ".join(self.pooler_databases)
        return f"{names} on {', '.join(f'{host}:{port}' for host, port in self.poolers)}"


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


@dataclass(frozen=True)
class Pool:
    """One database of a pooler, as SHOW DATABASES tells it."""

    name: str
    host: str
    port: int
    mode: str = "transaction"
    paused: bool = False
    disabled: bool = False


@dataclass(frozen=True)
class Pooler:
    """One PgBouncer, or why it cannot be asked."""

    addr: str
    pools: tuple[Pool, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class State:
    """All that a decision needs."""

    host: str
    local: Local
    target: Target
    poolers: tuple[Pooler, ...] = ()
    limits: tuple[tuple[str, int], ...] = ()
    # Transactions that a pause would have to wait for, each in words.
    long_transactions: tuple[str, ...] = ()
    # Little was written since the last one.
    checkpointed: bool = False

    @property
    def runs_as_primary(self) -> bool:
        return self.local.server == "up" and not self.local.in_recovery

    @property
    def ended_as_primary(self) -> bool:
        """Tell whether the server here was a primary and was shut down in good order."""
        local = self.local
        return local.server == "down" and local.control_state == "shut down" and local.shutdown_end > 0


def held_pools(poolers: tuple[Pooler, ...], wanted: Guarded) -> list[Pool]:
    """Return the pools whose clients are to be held back."""
    return [pool for pooler in poolers for pool in pooler.pools if pool.name in wanted.pooler_databases]


def with_pools(
    poolers: tuple[Pooler, ...], wanted: Guarded, change: Callable[[Pool], Pool]
) -> tuple[Pooler, ...]:
    """Return the poolers with those pools changed, and the others as they are."""

    def changed(pool: Pool) -> Pool:
        return change(pool) if pool.name in wanted.pooler_databases else pool

    return tuple(replace(pooler, pools=tuple(map(changed, pooler.pools))) for pooler in poolers)
