# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is master and what a host has to do about it, a row a case, and what holds for every plan."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._redis_sentinel.model import (
    DEFAULTS,
    Conf,
    Desired,
    Known,
    Own,
    Sentinel,
    Server,
    State,
    Watch,
    in_motion,
    read_conf,
    rows,
    shortcomings,
    view,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_sentinel.plan import choose, plan
from hypothesis import given
from hypothesis import strategies as st

PASSWORD = "secret-of-sentinel"  # noqa: S105  # of nobody
HOSTS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
R1, R2, R3 = (f"{host}:6379" for host in HOSTS)
S1, S2, S3 = (f"{host}:26379" for host in HOSTS)
SERVERS, SENTINELS = (R1, R2, R3), (S1, S2, S3)
STRANGER = "10.0.0.9:6379"
SETTINGS = {"down-after-milliseconds": "5000", "failover-timeout": "60000", "parallel-syncs": "1"}


def params(**changes: Any) -> dict[str, Any]:
    given = {
        "name": "mymaster",
        "address": HOSTS[0],
        "servers": [{"host": host, "port": 6379} for host in HOSTS],
        "sentinels": [{"host": host, "port": 26379} for host in HOSTS],
        "quorum": 2,
        "down_after_ms": 5000,
        "failover_timeout_ms": 60000,
        "parallel_syncs": 1,
        "sentinel_user": "sentinel",
        "sentinel_password": PASSWORD,
        "step_down": False,
    }
    return given | changes


def desired(number: int = 1, **changes: Any) -> Desired:
    """Return what is wanted on one of the three hosts."""
    return Desired.wanted(params(address=HOSTS[number - 1], **changes))


def watch(sentinel: str, master: str, **changes: Any) -> Watch:
    return replace(
        Watch(
            master,
            ("master",),
            tuple(Known(addr, ("slave",)) for addr in SERVERS if addr != master),
            tuple(Known(addr, ("sentinel",)) for addr in SENTINELS if addr != sentinel),
        ),
        **changes,
    )


def whole(master: str = R1) -> State:
    """Return a state in which nothing is left to do on any host."""
    servers = tuple(
        Server(addr, keys=9, offset=100, replicas=tuple(sorted(set(SERVERS) - {master})))
        if addr == master
        else Server(addr, role="replica", follows=master, in_step=True, keys=9, offset=100)
        for addr in SERVERS
    )
    sentinels = tuple(Sentinel(addr, watch=watch(addr, master)) for addr in SENTINELS)
    return State(servers, sentinels, own(master))


def own(master: str = R1, number: int = 1, **changes: Any) -> Own:
    login = ("sentinel", PASSWORD)
    conf = Conf(master, 2, SETTINGS, login, login, HOSTS[number - 1])
    return Own(replace(conf, **changes), started_at=100.0, installed_at=50.0)


def new() -> State:
    """Return servers and sentinels that nobody has told anything."""
    servers = tuple(Server(addr) for addr in SERVERS)
    sentinels = tuple(Sentinel(addr, problem="Connection refused") for addr in SENTINELS)
    return State(servers, sentinels, Own(Conf(), active=False, enabled=False, installed_at=50.0))


def sentences(state: State, wanted: Desired) -> list[str]:
    return [step.describe() for step in plan(state, wanted)]


def with_watch(state: State, *sentinels: str, **changes: Any) -> State:
    for one in state.sentinels:
        if one.addr in sentinels and one.watch is not None:
            state = state.with_sentinel(one.addr, replace(one, watch=replace(one.watch, **changes)))
    return state


INTRODUCE = "Let the sentinel announce 10.0.0.{} and log in to the others as sentinel"
SET_ALL = (
    "Set for mymaster down-after-milliseconds to 5000, failover-timeout to 60000, its login to the user "
    "sentinel"
)
AWAY = Known("10.0.0.9:26379", ("sentinel", "s_down"))

CASES: dict[str, tuple[State, Desired, list[str]]] = {
    "nothing": (whole(), desired(), []),
    "nothing after a failover": (whole(R3), desired(), []),
    "all new": (
        new(),
        desired(),
        [
            "Start the sentinel at boot",
            f"Start the sentinel {S1}",
            INTRODUCE.format(1),
            f"Let the sentinel watch {R1} as mymaster with quorum 2",
            SET_ALL,
        ],
    ),
    "all new, on the host of a replica": (
        new(),
        desired(2),
        [
            "Start the sentinel at boot",
            f"Start the sentinel {S2}",
            f"Make {R2} a replica of {R1}",
            INTRODUCE.format(2),
            f"Let the sentinel watch {R1} as mymaster with quorum 2",
            SET_ALL,
        ],
    ),
    "all new, and one server holds data": (
        new().with_server(R2, keys=1000),
        desired(),
        [
            "Start the sentinel at boot",
            f"Start the sentinel {S1}",
            f"Make {R1} a replica of {R2}",
            INTRODUCE.format(1),
            f"Let the sentinel watch {R2} as mymaster with quorum 2",
            SET_ALL,
        ],
    ),
    "replicas, and no sentinels yet": (
        replace(whole(R3), sentinels=new().sentinels, own=new().own),
        desired(),
        [
            "Start the sentinel at boot",
            f"Start the sentinel {S1}",
            INTRODUCE.format(1),
            f"Let the sentinel watch {R3} as mymaster with quorum 2",
            SET_ALL,
        ],
    ),
    "a former master that came back": (
        whole(R2).with_server(R1, role="master", follows="", in_step=False),
        desired(),
        [f"Make {R1} a replica of {R2}"],
    ),
    "a former master that came back, on another host": (
        whole(R2).with_server(R1, role="master", follows="", in_step=False),
        replace(desired(3)),
        [],
    ),
    "a replica of a replica": (
        whole(R2).with_server(R1, follows=R3),
        desired(),
        [f"Make {R1} a replica of {R2}"],
    ),
    "an empty server that joins": (
        with_watch(
            whole(R2).with_server(R1, role="master", follows="", in_step=False, keys=0),
            *SENTINELS,
            replicas=(Known(R3, ("slave",)),),
        ),
        desired(),
        [f"Make {R1} a replica of {R2}"],
    ),
    "settings": (
        replace(whole(), own=own(quorum=1, settings=DEFAULTS)),
        desired(),
        ["Set for mymaster quorum to 2, down-after-milliseconds to 5000, failover-timeout to 60000"],
    ),
    "another password": (
        replace(whole(), own=own(login=("sentinel", "older"), peer_login=("sentinel", "older"))),
        desired(),
        [INTRODUCE.format(1), "Set for mymaster its login to the user sentinel"],
    ),
    "a sentinel that a killed run left half told": (
        replace(whole(), own=own(settings=DEFAULTS, login=("", ""))),
        desired(),
        [SET_ALL],
    ),
    "a sentinel that the others left behind": (
        replace(with_watch(whole(R2), S1, master=R3), own=own(R3)),
        desired(),
        [
            f"Let the sentinel watch {R3} as mymaster no more: the others have another master",
            f"Let the sentinel watch {R2} as mymaster with quorum 2",
            SET_ALL,
        ],
    ),
    "a sentinel that is away, on its host": (
        replace(
            whole().with_sentinel(S1, Sentinel(S1, problem="Connection refused")),
            own=replace(own(), active=False),
        ),
        desired(),
        [f"Start the sentinel {S1}"],
    ),
    "a sentinel that is away, elsewhere": (
        whole().with_sentinel(S3, Sentinel(S3, problem="Connection refused")),
        desired(),
        [],
    ),
    "a replica that is away, elsewhere": (
        whole().with_server(R3, problem="Connection refused", role="master", follows=""),
        desired(),
        [],
    ),
    "users that are younger than the sentinel": (
        replace(whole(), own=replace(own(), installed_at=150.0, unit_stale=True)),
        desired(),
        [
            "Let systemd read the changed unit of the sentinel",
            f"Restart the sentinel {S1}: its program, unit or users are younger than it is",
        ],
    ),
    "one that is gone for good": (
        with_watch(whole(), S1, sentinels=(Known(S2), Known(S3), AWAY)),
        desired(),
        ["Let the sentinel forget 10.0.0.9:26379, which is not listed and does not answer"],
    ),
    "a master that is to step down": (
        whole(),
        desired(step_down=True),
        [f"Let the sentinels make another one master in place of {R1}"],
    ),
    "a replica that is to step down": (whole(R2), desired(step_down=True), []),
    "a host without a sentinel": (
        replace(new(), own=None).with_server(R1, role="replica", follows=R2, in_step=True),
        desired(sentinels=[{"host": f"10.0.1.{n}", "port": 26379} for n in range(3)]),
        [],
    ),
}


@pytest.mark.parametrize(("state", "wanted", "said"), CASES.values(), ids=CASES)
def test_what_is_planned(state: State, wanted: Desired, said: list[str]) -> None:
    if state.own and wanted.mine and state.own.conf.announce_ip:
        state = state.with_conf(announce_ip=wanted.address)
    assert sentences(state, wanted) == said


@pytest.mark.parametrize(("state", "wanted", "said"), CASES.values(), ids=CASES)
def test_an_interrupted_plan_is_completed_by_the_next_one(
    state: State, wanted: Desired, said: list[str]
) -> None:
    if state.own and wanted.mine and state.own.conf.announce_ip:
        state = state.with_conf(announce_ip=wanted.address)
    steps = plan(state, wanted)
    for done in range(len(steps) + 1):
        assert sentences(simulate(state, steps[:done]), wanted) == said[done:]


REFUSED: dict[str, tuple[State, str]] = {
    "two servers that hold data": (
        new().with_server(R2, keys=7).with_server(R3, keys=8),
        f"{R2} (7 keys) and {R3} (8 keys) are masters that hold data, and one can only follow the other by "
        "losing its own: run FLUSHALL on all but one.",
    ),
    "two masters with replicas": (
        whole(R2).with_server(R1, role="master", follows="", replicas=(STRANGER,)),
        f"Both {R2} and {R1} are masters, and {STRANGER} follows the latter: decide whose data counts, and "
        "run "
        "REPLICAOF on the other one by hand.",
    ),
    "data that nobody knows": (
        with_watch(
            whole(R2).with_server(R1, role="master", follows=""),
            *SENTINELS,
            replicas=(Known(R3, ("slave",)),),
        ),
        f"{R1} holds 9 keys and was never a replica of {R2}: run FLUSHALL on it if they are not needed, or "
        "take "
        "it out of servers.",
    ),
    "a foreign master": (
        with_watch(whole(), *SENTINELS, master=STRANGER),
        f"The sentinels take {STRANGER} for the master, which is not listed in servers: list it, or correct "
        "the "
        "list.",
    ),
    "a foreign master that servers follow": (
        replace(new(), servers=tuple(Server(a, role="replica", follows=STRANGER) for a in SERVERS)),
        f"The servers follow {STRANGER}, which is not listed in servers: list it, or correct the list.",
    ),
    "servers of two masters": (
        new().with_server(R1, role="replica", follows=R2).with_server(R2, role="replica", follows=R3),
        f"Servers follow different masters ({R2}, {R3}), and no sentinel knows which is right: run "
        "REPLICAOF by "
        "hand on those that are wrong.",
    ),
    "a server away that may have the data": (
        new().with_server(R3, problem="Connection refused"),
        f"{R3} does not answer (Connection refused), and no sentinel knows who is master: start it, for it "
        "may "
        "be the one with the newest data.",
    ),
    "a master that nobody could replace": (
        whole().with_server(R1, problem="Connection refused", role="master"),
        f"The master {R1} does not answer (Connection refused), and the sentinels have not made another one "
        "master: start it, or bring 2 of the 3 sentinels and a replica back.",
    ),
    "no majority": (
        whole()
        .with_sentinel(S2, Sentinel(S2, problem="timed out"))
        .with_sentinel(S3, Sentinel(S3, problem="timed out")),
        f"1 of 3 sentinels answer, and only a majority can tell who is master: start {S2} (timed out), {S3} "
        "(timed out).",
    ),
    "sentinels of three minds": (
        with_watch(with_watch(whole(), S2, master=R2), S3, master=R3),
        f"The sentinels do not agree who is master: {R1} says {S1}; {R2} says {S2}; {R3} says {S3}. Wait "
        "until "
        "they do, or run SENTINEL REMOVE mymaster on those that are wrong.",
    ),
    "another name": (
        replace(whole(), own=own(others=("cache",))),
        "The sentinel of this host (10.0.0.1) watches another master as well, cache: run SENTINEL REMOVE "
        "cache "
        "on it, or make cache the name.",
    ),
    "a stranger that is alive": (
        with_watch(whole(), S1, replicas=(Known(R2), Known(R3), Known(STRANGER, ("slave",)))),
        f"{STRANGER} takes part and is not listed in servers: list it, or stop it for good (it is forgotten "
        "then).",
    ),
}


@pytest.mark.parametrize(("state", "said"), REFUSED.values(), ids=REFUSED)
def test_what_is_unsafe_is_refused(state: State, said: str) -> None:
    with pytest.raises(Refusal) as refusal:
        plan(state, desired())
    assert refusal.value.message == said


def test_nobody_steps_down_for_one_who_is_behind() -> None:
    state = whole().with_server(R2, in_step=False).with_server(R3, in_step=False)
    with pytest.raises(Refusal) as refusal:
        plan(state, desired(step_down=True))
    assert refusal.value.message == (
        f"{R1} has no replica that is in step and could take over: bring one back first."
    )


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "two sentinels": (
        {"sentinels": params()["sentinels"][:2]},
        "sentinels lists 2: a failover needs a majority of them, so list at least 3, each on a machine of "
        "its "
        "own.",
    ),
    "sentinels on one host": (
        {"sentinels": [{"host": HOSTS[0], "port": port} for port in (26379, 26380, 26381)]},
        "Two sentinels share a host: one machine away would be two votes away.",
    ),
    "a server twice": (
        {"servers": [{"host": HOSTS[0], "port": 6379}] * 2},
        f"{R1} is listed twice in servers: list it once.",
    ),
    "a name for an address": (
        {"servers": [{"host": "redis1", "port": 6379}]},
        "servers has redis1, which is no IP address: list the addresses that sentinels tell clients.",
    ),
    "too high a quorum": (
        {"quorum": 4},
        "quorum=4 of 3 sentinels: set it to a number from 1 to 3; 2 is a majority.",
    ),
    "a password that Sentinel cannot write down": (
        {"sentinel_password": "with blank"},
        "sentinel_password has a blank or a quote in it, which Sentinel cannot write into its file: choose "
        "one "
        "without.",
    ),
}


@pytest.mark.parametrize(("options", "said"), WRONG.values(), ids=WRONG)
def test_what_no_sentinels_could_do_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal) as refusal:
        desired(**options)
    assert refusal.value.message == said


# ---------------------------------------------------------------- for every state

SEEN = st.fixed_dictionaries(
    {
        "master": st.booleans(),
        "follows": st.sampled_from([*SERVERS, STRANGER]),
        "keys": st.sampled_from([0, 5]),
        "replicas": st.booleans(),
        "problem": st.sampled_from(["", "", "", "Connection refused"]),
    }
)
WATCHES = st.sampled_from(["", *SERVERS, STRANGER, "down"])


def server(addr: str, seen: dict[str, Any]) -> Server:
    if seen["problem"]:
        return Server(addr, problem=seen["problem"])
    if seen["master"] or seen["follows"] == addr:
        others = tuple(one for one in SERVERS if one != addr)
        return Server(addr, keys=seen["keys"], replicas=others if seen["replicas"] else ())
    return Server(addr, role="replica", follows=seen["follows"], in_step=True, keys=seen["keys"])


@given(
    number=st.integers(1, 3),
    seen=st.tuples(SEEN, SEEN, SEEN),
    watches=st.tuples(WATCHES, WATCHES, WATCHES),
    kept=st.sampled_from(["", *SERVERS]),
    step_down=st.booleans(),
)
def test_a_plan_reaches_what_is_wanted_or_is_refused_and_loses_nothing(
    number: int,
    seen: tuple[dict[str, Any], ...],
    watches: tuple[str, ...],
    kept: str,
    step_down: bool,
) -> None:
    wanted = desired(number, step_down=step_down)
    sentinels = [
        Sentinel(addr, problem="Connection refused")
        if master == "down"
        else Sentinel(addr, watch=watch(addr, master) if master else None)
        for addr, master in zip(SENTINELS, watches, strict=True)
    ]
    mine = sentinels[number - 1]
    # Its file says what it says.
    kept = mine.watch.master if mine.watch else ("" if not mine.problem else kept)
    state = State(
        tuple(server(addr, one) for addr, one in zip(SERVERS, seen, strict=True)),
        tuple(sentinels),
        replace(own(kept, number), active=not mine.problem),
    )
    try:
        steps = plan(state, wanted)
    except Refusal:  # the table above says of what
        return
    said = [step.describe() for step in steps]
    for done in range(len(steps) + 1):
        assert sentences(simulate(state, steps[:done]), wanted) == said[done:]
    # No server of another host is touched, none with data unknown to the sentinels is overwritten, and no
    # master with replicas is demoted behind the sentinels' back.
    remembered = {known.addr for one in state.watching if one.watch for known in one.watch.replicas}
    for before, after in zip(state.servers, simulate(state, steps).servers, strict=True):
        if before != after and not (step_down and any("in place of" in sentence for sentence in said)):
            assert wanted.local(before.addr)
            assert not (before.is_master and before.replicas)
            assert not (before.is_master and before.keys and before.addr not in remembered)


@pytest.mark.parametrize("master", SERVERS)
def test_all_hosts_one_after_the_other_make_it_whole(master: str) -> None:
    state = new().with_server(master, keys=3)
    for number in (1, 2, 3):
        wanted = desired(number)
        state = replace(state, own=new().own)
        state = simulate(state, plan(state, wanted))
        assert choose(state, wanted).addr == master
    assert [one.addr for one in state.servers if one.is_master] == [master]
    assert {one.watch.master for one in state.watching if one.watch} == {master}


# ---------------------------------------------------------------- what is read and told


def test_a_file_is_read_as_sentinel_writes_it() -> None:
    text = """# Generated by CONFIG REWRITE
aclfile "/etc/redis/sentinel.acl"
sentinel myid 9b2967e90277562269b5ad690de60c0afe3f28b0
sentinel sentinel-user sentinel

sentinel sentinel-pass peer#with\\backslash
sentinel announce-ip "10.0.0.1"
sentinel monitor mymaster 10.0.0.1 6379 2
sentinel config-epoch mymaster 0
sentinel down-after-milliseconds mymaster 5000
sentinel auth-pass mymaster secret
sentinel auth-user mymaster sentinel
sentinel known-replica mymaster 10.0.0.2 6379
sentinel monitor other 10.0.0.9 6379 2
sentinel parallel-syncs other 7
"""
    conf = read_conf(text, "mymaster")
    assert conf == Conf(
        R1,
        2,
        DEFAULTS | {"down-after-milliseconds": "5000"},
        ("sentinel", "secret"),
        ("sentinel", "peer#with\\backslash"),
        HOSTS[0],
        ("other",),
    )
    assert read_conf("", "mymaster") == Conf()


def test_what_is_in_motion_is_waited_for() -> None:
    assert not in_motion(whole())
    assert not in_motion(new())
    assert in_motion(with_watch(whole(), S2, master=R2))
    assert in_motion(with_watch(whole(), S2, flags=("master", "failover_in_progress")))
    assert in_motion(whole().with_server(R1, problem="Connection refused"))


SHORT: dict[str, tuple[State, list[str]]] = {
    "whole": (whole(), []),
    "a link": (whole().with_server(R3, in_step=False), [f"{R3} is not in step with {R1}"]),
    "a replica away": (
        whole().with_server(R3, problem="timed out", role="master"),
        [f"{R3} does not answer (timed out)"],
    ),
    "a second master": (
        whole().with_server(R3, role="master", follows=""),
        [f"2 servers are masters ({R1}, {R3})"],
    ),
    "a sentinel away": (
        whole().with_sentinel(S3, Sentinel(S3, problem="timed out")),
        [f"the sentinel {S3} does not answer"],
    ),
    "a sentinel that was told nothing": (
        whole().with_sentinel(S3, Sentinel(S3)),
        [f"the sentinel {S3} watches nothing"],
    ),
    "a sentinel that looks on": (
        whole().with_sentinel(S3, Sentinel(S3, watch=watch(S3, R1), tilt=True)),
        [f"the sentinel {S3} is in TILT mode, which ends 30 s after its machine is less busy"],
    ),
    "a sentinel of another mind": (
        with_watch(whole(), S3, master=R2),
        [f"the sentinel {S3} takes {R2} for the master"],
    ),
    "a sentinel that is not let in": (
        with_watch(whole(), S3, flags=("master", "disconnected"), usable=False),
        [
            f"the sentinel {S3} sees its master as master,disconnected",
            f"the sentinel {S3} does not see enough others to fail over",
        ],
    ),
    "a sentinel that knows a restarted server as the master that it was at first": (
        with_watch(whole(), S3, replicas=(Known(R2, ("slave",), "master"), Known(R3, ("slave",), "slave"))),
        [f"the sentinel {S3} has not heard yet that {R2} is a replica"],
    ),
    "a sentinel that sees nobody": (
        with_watch(whole(), S3, replicas=(Known(R2, ("slave", "s_down")), Known(R3)), sentinels=(Known(S1),)),
        [
            f"the sentinel {S3} does not see the replica {R2}",
            f"the sentinel {S3} does not see the sentinel {S2}",
        ],
    ),
}


@pytest.mark.parametrize(("state", "said"), SHORT.values(), ids=SHORT)
def test_what_keeps_it_from_being_whole(state: State, said: list[str]) -> None:
    assert shortcomings(state, desired()) == said


def test_secrets_are_shown_nowhere() -> None:
    state, wanted = new(), desired(2)
    steps = plan(state, wanted)
    after = simulate(state, steps)
    shown = repr(steps) + str([step.describe() for step in steps]) + repr(after) + repr(wanted)
    shown += str(view(after, wanted)) + str(rows(after))
    assert "sentinel" in shown
    assert PASSWORD not in shown
