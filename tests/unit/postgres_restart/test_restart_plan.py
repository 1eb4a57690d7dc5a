# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a restart does from each state, what it refuses, and what holds in every moment of it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.doc_fragments import postgres_poolers, postgres_tls
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Local
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.console import POOLER_ARGUMENTS
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_poolers.model import Pool, Pooler
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_restart.model import State, Wanted
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_restart.plan import plan, view
from ansible_collections.payaid.scaling.plugins.modules import postgres_restart
from hypothesis import given, settings
from hypothesis import strategies as st

OPTIONS: dict[str, Any] = {
    "version": 17,
    "cluster": "main",
    "data_dir": None,
    "config_dir": None,
    "poolers": [{"host": "10.0.0.21", "port": 6432}, {"host": "10.0.0.22", "port": 6432}],
    "pooler_databases": ["app_rw"],
    "pooler_user": "switcher",
    "pooler_password": "secret",
    "sslmode": "prefer",
    "sslrootcert": None,
    "max_transaction_age": 5,
    "pause_timeout": 5,
    "timeout": 10,
    "started_after": 0,
    "drain_file": "/run/drain",
    "drain_timeout": 30,
    "catch_up_timeout": 300,
}
WANTED = Wanted.from_params(OPTIONS)
ALL = replace(WANTED, started_after=1000)
UNDRAINED = replace(WANTED, drain_file=None)
PRIMARY = Local(data="cluster", server="up", major=17, control_state="in production")
STANDBY = replace(
    PRIMARY,
    in_recovery=True,
    standby_signal=True,
    control_state="in archive recovery",
    conninfo="host=10.0.0.1",
)
ENDED = replace(PRIMARY, server="down", control_state="shut down")
ENDED_STANDBY = replace(STANDBY, server="down", in_recovery=False, control_state="shut down in recovery")
FREE, HELD = Pool("app_rw", "10.0.0.1", 5432), Pool("app_rw", "10.0.0.1", 5432, paused=True)
READS = Pool("app_ro", "127.0.0.1", 5433)
PENDING = ("max_connections", "shared_buffers")


def primary(local: Local = PRIMARY, pools: tuple[Pool, Pool] = (FREE, FREE), **more: Any) -> State:
    poolers = tuple(
        Pooler(f"{host}:{port}", (pool, READS))
        for (host, port), pool in zip(WANTED.poolers, pools, strict=True)
    )
    return State("db1", local, poolers=poolers, started=500, **more)


def standby(local: Local = STANDBY, **more: Any) -> State:
    return State("db2", local, started=500, **{"following": True, **more})


def names(found: State, wanted: Wanted) -> str:
    return " ".join(type(step).__name__ for step in plan(found, wanted))


STEPS: dict[str, tuple[State, Wanted, str]] = {
    "a primary, nothing waits": (primary(), WANTED, ""),
    "a standby, nothing waits": (standby(), WANTED, ""),
    "a primary": (primary(pending=PENDING), WANTED, "Checkpoint Pause Stop Start Resume"),
    "a primary that has written little": (
        primary(pending=PENDING, checkpointed=True),
        WANTED,
        "Pause Stop Start Resume",
    ),
    "a primary without poolers": (
        replace(primary(pending=PENDING), poolers=()),
        WANTED,
        "Checkpoint Stop Start",
    ),
    "a standby": (standby(pending=PENDING), WANTED, "Drain Stop Start AwaitStream Undrain"),
    "a standby without an agent": (standby(pending=PENDING), UNDRAINED, "Stop Start AwaitStream"),
    "a standby that does not replay because of what waits": (
        standby(pending=PENDING, following=False),
        WANTED,
        "Drain Stop Start AwaitStream Undrain",
    ),
    "a standby that follows an archive": (
        standby(replace(STANDBY, conninfo=""), pending=PENDING, following=False),
        WANTED,
        "Drain Stop Start Undrain",
    ),
    "all, a primary": (primary(), ALL, "Checkpoint Pause Stop Start Resume"),
    "all, a standby": (standby(), ALL, "Drain Stop Start AwaitStream Undrain"),
    "all, one that was started since": (replace(standby(), started=1000), ALL, ""),
    "broken off while some were held back": (
        primary(pools=(HELD, FREE), pending=PENDING),
        WANTED,
        "Pause Stop Start Resume",
    ),
    "broken off after the stop": (primary(ENDED, (HELD, HELD)), WANTED, "Start Resume"),
    "broken off after the start": (primary(pools=(HELD, HELD)), WANTED, "Resume"),
    "broken off between two poolers": (primary(pools=(FREE, HELD)), WANTED, "Resume"),
    "broken off while drained": (
        standby(pending=PENDING, drained=True),
        WANTED,
        "Stop Start AwaitStream Undrain",
    ),
    "broken off after the stop of a standby": (
        standby(ENDED_STANDBY, drained=True, following=False),
        WANTED,
        "Start AwaitStream Undrain",
    ),
    "broken off before it followed": (standby(following=False, drained=True), WANTED, "AwaitStream Undrain"),
    "broken off before readers came back": (standby(drained=True), WANTED, "Undrain"),
    "a standby that lags behind, nothing waits": (standby(following=False), WANTED, "AwaitStream"),
    "what is in the way of nothing": (
        primary(faults=("x",), long_transactions=("x",)),
        WANTED,
        "",
    ),
}

REFUSALS: dict[str, tuple[State, str]] = {
    "no data": (primary(Local(data="absent")), "there is no cluster in /var/lib/postgresql/17/main"),
    "stopped by somebody": (primary(ENDED), "PostgreSQL 17/main is down: start it first"),
    "stopped by a switchover": (
        primary(replace(ENDED, standby_signal=True), (HELD, HELD)),
        "PostgreSQL 17/main is down: start it first",
    ),
    "a standby that was stopped": (standby(ENDED_STANDBY), "is down: start it first"),
    "starting": (standby(replace(STANDBY, server="starting")), "is starting: start it first"),
    "would not start": (
        primary(pending=PENDING, faults=("postgres says: nonsense", "more")),
        "PostgreSQL 17/main would not start again, because postgres says: nonsense: correct it",
    ),
    "a standby would not start": (
        standby(pending=PENDING, faults=("x",)),
        "would not start again, because x",
    ),
    "a pooler is down": (
        replace(primary(pending=PENDING), poolers=(Pooler("10.0.0.21:6432", problem="refused"),)),
        "the pooler 10.0.0.21:6432 cannot be asked (refused)",
    ),
    "session mode": (
        primary(pools=(FREE, replace(FREE, mode="session")), pending=PENDING),
        "set pool_mode=transaction there",
    ),
    "a long transaction": (
        primary(pending=PENDING, long_transactions=("transaction 7 of app in app",)),
        "transaction 7 of app in app has been running for longer than max_transaction_age=5 s",
    ),
}


@pytest.mark.parametrize("row", STEPS)
def test_a_state_calls_for_these_steps(row: str) -> None:
    found, wanted, expected = STEPS[row]
    assert names(found, wanted) == expected
    assert names(simulate(found, plan(found, wanted)), wanted) == ""


@pytest.mark.parametrize("row", REFUSALS)
def test_a_state_is_refused(row: str) -> None:
    found, wanted = REFUSALS[row]
    with pytest.raises(Refusal, match=re.escape(wanted)) as caught:
        plan(found, WANTED)
    assert caught.value.message.startswith(f"{found.host}: ")
    assert caught.value.message.endswith(".")
    assert "secret" not in f"{caught.value.message}{caught.value.details}{WANTED!r}"


pools = st.sampled_from((FREE, HELD))
states = st.one_of(
    st.builds(
        lambda local, one, two, pending, done: primary(local, (one, two), pending=pending, checkpointed=done),
        st.sampled_from((PRIMARY, ENDED)),
        pools,
        pools,
        st.sampled_from(((), PENDING)),
        st.booleans(),
    ),
    st.builds(
        lambda local, pending, following, drained: standby(
            local, pending=pending, following=following, drained=drained
        ),
        st.sampled_from((STANDBY, ENDED_STANDBY)),
        st.sampled_from(((), PENDING)),
        st.booleans(),
        st.booleans(),
    ),
)


@settings(max_examples=1000)
@given(states, st.sampled_from((WANTED, ALL)))
def test_nobody_meets_a_server_that_is_away_and_a_killed_run_is_completed(
    found: State, wanted: Wanted
) -> None:
    try:
        steps = plan(found, wanted)
    except Refusal:
        return
    for done in range(len(steps) + 1):
        now = simulate(found, steps[:done])
        assert plan(now, wanted) == steps[done:]
        if not now.up and any(type(step).__name__ == "Stop" for step in steps[:done]):
            assert now.drained or all(pool.paused for pooler in now.poolers for pool in pooler.pools[:1])
    end = simulate(found, steps)
    told = view(end)
    assert (told["server"], told["pending_restart"], told["drained"], told["paused"]) == ("up", [], False, [])
    assert end.started >= wanted.started_after
    if end.local.in_recovery:
        assert end.following


def test_the_options_about_poolers_are_documented_as_they_are() -> None:
    described = {
        name: option
        for fragment in (postgres_poolers, postgres_tls)
        for name, option in yaml.safe_load(fragment.ModuleDocFragment.DOCUMENTATION)["options"].items()
    }
    assert set(described) == set(POOLER_ARGUMENTS)
    own = yaml.safe_load(postgres_restart.DOCUMENTATION)["options"]
    for name, told in {**described, **own}.items():
        spec = postgres_restart.ARGUMENTS[name]
        assert (told["type"], told.get("default")) == (spec["type"], spec.get("default")), name
    assert set(described) | set(own) <= set(postgres_restart.ARGUMENTS)
