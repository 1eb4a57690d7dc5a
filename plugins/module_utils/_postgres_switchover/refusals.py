# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states that are left alone, each with one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import (
    certificate_problem,
    lsn_to_text,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_switchover.model import (
    Guarded,
    Pooler,
    State,
    Wanted,
)


def _refuse_pair(state: State, wanted: Wanted) -> str | None:
    local, target = state.local, state.target
    if local.data != "cluster":
        return f"there is no cluster in {wanted.data_dir}: run this on the primary that is to hand over"
    if target.system_identifier != local.system_identifier:
        return (
            f"{wanted.target} belongs to another database system ({target.system_identifier}, not "
            f"{local.system_identifier}): correct target_host"
        )
    if target.major != local.major:
        return (
            f"{wanted.target} runs PostgreSQL {target.major} and this host {local.major}: correct target_host"
        )
    if not target.in_recovery and state.runs_as_primary:
        return (
            f"{wanted.target} takes writes, and so does this host (split brain): stop the one that is not "
            "in use, and let postgres_replica put it right"
        )
    return None


def _refuse_roles(state: State, wanted: Wanted) -> str | None:
    if not state.target.in_recovery or state.runs_as_primary or state.ended_as_primary:
        return None
    if state.local.server == "up":
        return "this host is itself a standby: run this on the primary, or choose that one as target_host"
    return (
        f"{wanted.name} is {state.local.server}, and pg_controldata says {state.local.control_state}: a "
        "switchover needs a running primary; after a crash start it, or use failover.yml"
    )


def _refuse_target(state: State, wanted: Wanted) -> str | None:
    local, target = state.local, state.target
    if not target.in_recovery:
        return None
    if not target.may_promote:
        return (
            f"{wanted.replication_user} may not promote {wanted.target}: GRANT EXECUTE ON FUNCTION "
            f"pg_promote(boolean, integer) TO {wanted.replication_user} in this primary's database postgres"
        )
    if target.replay_paused:
        return f"replay on {wanted.target} is paused: run SELECT pg_wal_replay_resume() there"
    if not state.runs_as_primary:
        return None
    if not target.streaming:
        return f"{wanted.target} does not stream: bring it right by postgres_replica first"
    lag = local.lsn - target.replayed
    if lag > wanted.max_lag:
        return (
            f"{wanted.target} has replayed {lsn_to_text(target.replayed)} of {lsn_to_text(local.lsn)}, which "
            f"is {lag} bytes behind and more than max_lag={wanted.max_lag}: wait until it has caught up"
        )
    return None


def _refuse_limits(state: State, wanted: Wanted) -> str | None:
    """The one that is stopped becomes a standby of the other one, and must then be no smaller."""
    there = dict(state.target.limits)
    low = [(name, value, there[name]) for name, value in state.limits if value < there.get(name, 0)]
    if not low:
        return None
    names = ", ".join(f"{name} is {here} here and {other} on {wanted.target}" for name, here, other in low)
    return f"{names}: this host could not follow afterwards; make them the same first"


def poolers_in_the_way(poolers: Sequence[Pooler], wanted: Guarded) -> str | None:
    """Say which pooler could not hold its clients back."""
    for pooler in poolers:
        if told := certificate_problem(f"the pooler {pooler.addr}", wanted.sslrootcert, pooler.problem):
            return told
        if pooler.problem:
            return f"the pooler {pooler.addr} cannot be asked ({pooler.problem}): {POOLER_REMEDY}"
        known = {pool.name: pool for pool in pooler.pools}
        for name in wanted.pooler_databases:
            pool = known.get(name)
            if pool is None:
                return f"the pooler {pooler.addr} has no database {name}: correct pooler_databases"
            if pool.mode == "session":
                return (
                    f"{name} of the pooler {pooler.addr} is in session mode, where PAUSE waits until every "
                    "client has left: set pool_mode=transaction there"
                )
            if pool.disabled:
                return f"{name} of the pooler {pooler.addr} is disabled: run ENABLE {name} there"
    return None


POOLER_REMEDY = (
    "start it, and let pooler_user in as one of its admin_users from this host; writes of its clients could "
    "not be held back otherwise"
)


def transaction_in_the_way(transactions: Sequence[str], max_age: int) -> str | None:
    if not transactions:
        return None
    return (
        f"{transactions[0]} has been running for longer than max_transaction_age="
        f"{max_age} s, and a pause would wait for it: let it end, or end it"
    )


def _refuse_poolers(state: State, wanted: Wanted) -> str | None:
    return poolers_in_the_way(state.poolers, wanted)


def _refuse_transactions(state: State, wanted: Wanted) -> str | None:
    if not state.runs_as_primary or not state.target.in_recovery:
        return None
    return transaction_in_the_way(state.long_transactions, wanted.max_transaction_age)


REFUSALS: tuple[Callable[[State, Wanted], str | None], ...] = (
    _refuse_pair,
    _refuse_roles,
    _refuse_target,
    _refuse_limits,
    _refuse_poolers,
    _refuse_transactions,
)
