# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The states that are left alone, each with one sentence that says what to do."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import lsn_to_text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.refusals import (
    poolers_in_the_way,
    transaction_in_the_way,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_switchover.model import State, Wanted


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


def _refuse_transactions(state: State, wanted: Wanted) -> str | None:
    if not state.runs_as_primary or not state.target.in_recovery:
        return None
    return transaction_in_the_way(state, wanted)


REFUSALS: tuple[Callable[[State, Wanted], str | None], ...] = (
    _refuse_pair,
    _refuse_roles,
    _refuse_target,
    _refuse_limits,
    poolers_in_the_way,
    _refuse_transactions,
)
