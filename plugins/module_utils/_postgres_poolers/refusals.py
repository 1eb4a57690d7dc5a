# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps clients from being held back, each in one sentence that says what to do."""

from __future__ import annotations

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import certificate_problem
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.model import Behind, Guarded

REMEDY = (
    "start it, and let pooler_user in as one of its admin_users from this host; writes of its clients could "
    "not be held back otherwise"
)


def poolers_in_the_way(state: Behind, wanted: Guarded) -> str | None:
    """Say which pooler could not hold its clients back."""
    for pooler in state.poolers:
        if told := certificate_problem(f"the pooler {pooler.addr}", wanted.sslrootcert, pooler.problem):
            return told
        if pooler.problem:
            return f"the pooler {pooler.addr} cannot be asked ({pooler.problem}): {REMEDY}"
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


def transaction_in_the_way(state: Behind, wanted: Guarded) -> str | None:
    """Say which transaction a pause would wait for."""
    if not state.long_transactions:
        return None
    return (
        f"{state.long_transactions[0]} has been running for longer than max_transaction_age="
        f"{wanted.max_transaction_age} s, and a pause would wait for it: let it end, or end it"
    )
