# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a switchover does from each state, what it refuses, and what holds in every moment of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Local
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.model import Pool, Pooler
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_switchover.model import (
    State,
    Target,
    Wanted,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_switchover.plan import plan, view
from hypothesis import given, settings
from hypothesis import strategies as st

OURS, NOW = "7300000000000000001", 0x5000000
LIMITS = (("max_connections", 100), ("max_wal_senders", 10))
WANTED = Wanted.from_params(
    {
        "version": 17,
        "cluster": "main",
        "data_dir": None,
        "config_dir": None,
        "target_host": "10.0.0.2",
        "target_port": 5432,
        "replication_user": "replicator",
        "replication_password": "secret",
        "sslmode": "prefer",
        "sslrootcert": None,
        "poolers": [{"host": "10.0.0.21", "port": 6432}, {"host": "10.0.0.22", "port": 6432}],
        "pooler_databases": ["app_rw"],
        "pooler_user": "switcher",
        "pooler_password": "secret",
        "max_lag": 1 << 24,
        "max_transaction_age": 5,
        "pause_timeout": 5,
        "timeout": 10,
    }
)
PRIMARY = Local(
    data="cluster",
    server="up",
    major=17,
    system_identifier=OURS,
    timeline=1,
    lsn=NOW,
    control_state="in production",
)
ENDED = replace(PRIMARY, server="down", control_state="shut down", shutdown_end=NOW + 1, standby_signal=True)
STANDBY_HERE = replace(PRIMARY, in_recovery=True, control_state="in archive recovery")
TARGET = Target(OURS, 17, in_recovery=True, received=NOW, replayed=NOW, streaming=True, limits=LIMITS)
TAKEN = replace(TARGET, in_recovery=False, streaming=False, replayed=NOW + 1)
CAUGHT_UP = replace(TARGET, streaming=False, received=NOW + 1, replayed=NOW + 1)
OLD, NEW = Pool("app_rw", "10.0.0.1", 5432), Pool("app_rw", "10.0.0.2", 5432)
READS = Pool("app_ro", "10.0.0.2,10.0.0.3", 5432)

ALL = "Checkpoint Pause Stop AwaitTarget Promote Reload Resume"


def poolers(*pools: Pool) -> tuple[Pooler, ...]:
    return tuple(
        Pooler(f"{host}:{port}", (pool, READS))
        for (host, port), pool in zip(WANTED.poolers, pools, strict=True)
    )


def paused(pool: Pool) -> Pool:
    return replace(pool, paused=True)


def state(
    local: Local = PRIMARY, target: Target = TARGET, pools: tuple[Pool, Pool] = (OLD, OLD), **more: Any
) -> State:
    return State("db1", local, target=target, poolers=poolers(*pools), limits=LIMITS, **more)


def names(found: State) -> str:
    return " ".join(type(step).__name__ for step in plan(found, WANTED))


STEPS: dict[str, tuple[State, str]] = {
    "a primary and its standby": (state(), ALL),
    "little was written since the last checkpoint": (
        state(checkpointed=True),
        ALL.removeprefix("Checkpoint "),
    ),
    "no pooler": (replace(state(), poolers=()), "Checkpoint Stop AwaitTarget Promote"),
    "broken off while some were held back": (
        state(pools=(paused(OLD), OLD)),
        ALL.removeprefix("Checkpoint "),
    ),
    "broken off while all were held back": (
        state(pools=(paused(OLD), paused(OLD))),
        "Stop AwaitTarget Promote Reload Resume",
    ),
    "broken off after the stop": (
        state(ENDED, pools=(paused(OLD), paused(OLD))),
        "AwaitTarget Promote Reload Resume",
    ),
    "broken off after the stop, nobody held back": (state(ENDED), "Pause AwaitTarget Promote Reload Resume"),
    "broken off before the promotion": (
        state(ENDED, CAUGHT_UP, (paused(OLD), paused(OLD))),
        "Promote Reload Resume",
    ),
    "broken off after the promotion": (state(ENDED, TAKEN, (paused(OLD), paused(OLD))), "Reload Resume"),
    "broken off between two poolers": (state(ENDED, TAKEN, (paused(NEW), NEW)), "Resume"),
    "done": (state(ENDED, TAKEN, (NEW, NEW)), ""),
    "done, and this one follows": (state(STANDBY_HERE, TAKEN, (NEW, NEW)), ""),
    "done, a pooler leads astray": (state(STANDBY_HERE, TAKEN, (NEW, OLD)), "Reload"),
    "a long transaction when all is done": (
        state(STANDBY_HERE, TAKEN, (NEW, NEW), long_transactions=("x",)),
        "",
    ),
}

REFUSALS: dict[str, tuple[State, str]] = {
    "no data here": (state(Local(data="absent")), "run this on the primary that is to hand over"),
    "another system": (
        state(target=replace(TARGET, system_identifier="1")),
        "belongs to another database system",
    ),
    "another version": (state(target=replace(TARGET, major=16)), "runs PostgreSQL 16 and this host 17"),
    "two primaries": (state(target=TAKEN), "split brain"),
    "this is a standby": (state(STANDBY_HERE), "this host is itself a standby"),
    "the primary crashed": (
        state(replace(ENDED, control_state="in production", shutdown_end=0)),
        "pg_controldata says in production",
    ),
    "a standby that was stopped": (
        state(replace(ENDED, control_state="shut down in recovery", shutdown_end=0)),
        "a switchover needs a running primary",
    ),
    "may not promote": (
        state(target=replace(TARGET, may_promote=False)),
        "GRANT EXECUTE ON FUNCTION pg_promote",
    ),
    "replay is paused": (state(target=replace(TARGET, replay_paused=True)), "pg_wal_replay_resume()"),
    "the standby does not stream": (state(target=replace(TARGET, streaming=False)), "does not stream"),
    "the standby lags": (
        state(replace(PRIMARY, lsn=NOW + (1 << 24) + 1)),
        "16777217 bytes behind and more than max_lag=16777216",
    ),
    "it could not follow": (
        state(target=replace(TARGET, limits=(("max_connections", 200),))),
        "max_connections is 100 here and 200 on 10.0.0.2:5432",
    ),
    "a pooler is down": (
        replace(state(), poolers=(Pooler("10.0.0.21:6432", problem="connection refused"),)),
        "the pooler 10.0.0.21:6432 cannot be asked (connection refused)",
    ),
    "a pooler shows a certificate that does not verify": (
        replace(state(), poolers=(Pooler("10.0.0.21:6432", problem="certificate verify failed"),)),
        "the certificate of the pooler 10.0.0.21:6432 is not of the authority in sslrootcert=",
    ),
    "a pooler has no such database": (
        replace(state(), poolers=(Pooler("10.0.0.21:6432", (READS,)),)),
        "has no database app_rw",
    ),
    "session mode": (state(pools=(OLD, replace(OLD, mode="session"))), "set pool_mode=transaction there"),
    "disabled": (state(pools=(OLD, replace(OLD, disabled=True))), "run ENABLE app_rw there"),
    "a long transaction": (
        state(long_transactions=("transaction 7 of app in app",)),
        "transaction 7 of app in app has been running for longer than max_transaction_age=5 s",
    ),
}


@pytest.mark.parametrize("row", STEPS)
def test_a_state_calls_for_these_steps(row: str) -> None:
    found, wanted = STEPS[row]
    assert names(found) == wanted
    steps = plan(found, WANTED)
    for done in range(len(steps) + 1):
        assert plan(simulate(found, steps[:done]), WANTED) == steps[done:]


FOLLOWING = replace(WANTED, slot="db1")


@pytest.mark.parametrize("row", STEPS)
def test_with_a_slot_the_one_that_handed_over_follows_at_last(row: str) -> None:
    found, wanted = STEPS[row]
    steps = plan(found, FOLLOWING)
    follows = " Follow" if found.local.server == "down" or "Stop" in wanted else ""
    assert " ".join(type(step).__name__ for step in steps) == (wanted + follows).strip()
    for done in range(len(steps) + 1):
        assert plan(simulate(found, steps[:done]), FOLLOWING) == steps[done:]
    assert simulate(found, steps).local.server == "up"
    assert "secret" not in "".join(step.describe() for step in steps)


@pytest.mark.parametrize("row", REFUSALS)
def test_a_state_is_refused(row: str) -> None:
    found, wanted = REFUSALS[row]
    with pytest.raises(Refusal, match=re.escape(wanted)) as caught:
        plan(found, WANTED)
    assert caught.value.message.startswith("db1: ")
    assert caught.value.message.endswith(".")
    assert "secret" not in f"{caught.value.message}{caught.value.details}{WANTED!r}"


pools = st.builds(replace, st.sampled_from((OLD, NEW)), paused=st.booleans())
states = st.builds(
    lambda local, target, one, two, checkpointed: state(local, target, (one, two), checkpointed=checkpointed),
    st.sampled_from((PRIMARY, ENDED, STANDBY_HERE)),
    st.sampled_from((TARGET, CAUGHT_UP, TAKEN)),
    pools,
    pools,
    st.booleans(),
)


@settings(max_examples=1000)
@given(states, st.sampled_from((WANTED, FOLLOWING)))
def test_no_moment_has_two_primaries_or_a_client_that_meets_none(found: State, wanted: Wanted) -> None:
    try:
        steps = plan(found, wanted)
    except Refusal:
        return
    for done in range(len(steps) + 1):
        now = simulate(found, steps[:done])
        assert plan(now, wanted) == steps[done:]
        assert not (now.runs_as_primary and not now.target.in_recovery)
        stopped_here = any(type(step).__name__ == "Stop" for step in steps[:done])
        if stopped_here and now.target.in_recovery:
            assert all(
                pool.paused for pooler in now.poolers for pool in pooler.pools if pool.name == "app_rw"
            )
    end = simulate(found, steps)
    assert not end.target.in_recovery
    for pooler in view(end)["poolers"].values():
        assert pooler["app_rw"] == "10.0.0.2:5432"
