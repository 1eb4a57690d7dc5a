# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster behind PgBouncers, where clients can be held back while something is done to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Local, Place


@dataclass(frozen=True)
class Guarded(Place):
    """The options of what is done to a cluster while its clients are held back."""

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
class Behind:
    """A server, and the poolers that its clients come through."""

    host: str
    local: Local
    poolers: tuple[Pooler, ...] = ()
    # Transactions that a pause would have to wait for, each in words.
    long_transactions: tuple[str, ...] = ()
    # Little was written since the last one.
    checkpointed: bool = False

    @property
    def paused(self) -> bool:
        """Tell whether somebody is held back already."""
        return any(pool.paused for pooler in self.poolers for pool in pooler.pools)

    def held(self, wanted: Guarded) -> list[Pool]:
        """Return the pools whose clients are to be held back."""
        names = wanted.pooler_databases
        return [pool for pooler in self.poolers for pool in pooler.pools if pool.name in names]

    def with_pools(self, wanted: Guarded, change: Callable[[Pool], Pool]) -> Self:
        """Return the state with those pools changed, and the others as they are."""

        def changed(pool: Pool) -> Pool:
            return change(pool) if pool.name in wanted.pooler_databases else pool

        poolers = (replace(pooler, pools=tuple(map(changed, pooler.pools))) for pooler in self.poolers)
        return replace(self, poolers=tuple(poolers))
