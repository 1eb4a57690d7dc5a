# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is planned for the instances of a host, a row a case, and what holds for every plan."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._redis_server.model import (
    FIXED,
    Desired,
    Instance,
    Leftover,
    Seat,
    State,
    Told,
    files,
    parse_user,
    rows,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_server.plan import plan
from hypothesis import given
from hypothesis import strategies as st

PASSWORDS = {"operator": "secret-operator", "app": "secret-app", "replication": "secret-replication"}
THEN = Told(
    {"maxmemory": "268435456", "tcp-backlog": "4096", "masterauth": "secret-replication", "maxclients": "1"},
    {"default": "off", "operator": "on", "app": "on"},
)
MASTER = Seat("master", "10.0.0.1:6379", serves=True, replicas=("10.0.0.2:6379",))
REPLICA = Seat("replica", "10.0.0.1:6380")


def params(**changes: Any) -> dict[str, Any]:
    given = {
        "instances": [instance(6379), instance(6380)],
        "settings": {"appendonly": True, "maxmemory": "256mb"},
        "service": {"Restart": "always", "ReadWritePaths": ["", "-/var/lib/redis/%i"]},
        "users": [
            {"name": name, "password": secret, "rules": ["+@all"]} for name, secret in PASSWORDS.items()
        ],
        "replication_user": "replication",
        "replication_password": "secret-replication",
        "former_passwords": {},
        "cluster": True,
        "tls": False,
        "restart": [],
        "started_after": 0.0,
        "accept_downtime": False,
        "retire": "keep",
    }
    return given | changes


def instance(port: int, **changes: Any) -> dict[str, Any]:
    optional = ("maxmemory", "maxmemory_policy", "memory_max", "settings")
    return {"port": port, **dict.fromkeys(optional)} | changes


def desired(**changes: Any) -> Desired:
    return Desired.wanted(params(**changes))


def reached(wanted: Desired, **changes: Any) -> State:
    """Return a state in which nothing is left to do, but for changes of the instance on port 6379."""
    seats = {6379: MASTER, 6380: REPLICA}
    state = State(
        wanted.users_file(),
        tuple(
            Instance(one.port, one.conf(), one.dropin(), True, True, 100.0, 50.0, THEN, THEN, seats[one.port])
            for one in wanted.instances
        ),
    )
    return state.changed(6379, **changes)


def sentences(state: State, wanted: Desired) -> list[str]:
    return [step.describe() for step in plan(state, wanted)]


def told(**settings: str) -> Told:
    return Told({**THEN.settings, **{n.replace("_", "-"): v for n, v in settings.items()}}, THEN.users)


OLD_USERS = Told(THEN.settings, {"default": "on", "app": "off", "guest": "on"})
NEW = {"conf": None, "dropin": None, "active": False, "enabled": False, "now": None, "seat": None}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "nothing": ({}, {}, []),
    "a new instance": (
        {},
        {**NEW, "started_at": 0.0},
        [
            "Write /etc/redis/redis-6379.conf",
            "Write /etc/systemd/system/redis-server@6379.service.d/payaid.conf",
            "Let systemd read the changed units",
            "Start the instance on port 6379 at boot",
            "Start the instance on port 6379",
        ],
    ),
    "a setting that can be set": (
        {},
        {"now": told(maxmemory="1", maxclients="7")},
        ["Set on port 6379 maxmemory to 268435456"],
    ),
    "a secret setting": ({}, {"now": told(masterauth="older")}, ["Set on port 6379 masterauth"]),
    "users, before the settings that need them": (
        {},
        {"now": Told({**THEN.settings, "masterauth": ""}, OLD_USERS.users)},
        [
            "Bring the users of port 6379 up to date: set default, operator, app; delete guest",
            "Set on port 6379 masterauth",
        ],
    ),
    "a setting that cannot be set, and no leave to restart": ({}, {"now": told(tcp_backlog="511")}, []),
    "a setting that cannot be set, and leave to restart a master": (
        {"restart": [6379, 6380]},
        {"now": told(tcp_backlog="511")},
        [
            "Fail the shard of port 6379 over to a replica",
            "Restart the instance on port 6379: tcp-backlog can only be set at its start",
        ],
    ),
    "a replica to restart": (
        {"restart": [6379]},
        {"seat": REPLICA, "now": told(tcp_backlog="511")},
        ["Restart the instance on port 6379: tcp-backlog can only be set at its start"],
    ),
    "a master without slots to restart": (
        {"restart": [6379]},
        {"seat": Seat("master", "10.0.0.1:6379"), "now": told(tcp_backlog="511")},
        ["Restart the instance on port 6379: tcp-backlog can only be set at its start"],
    ),
    "a program that is younger": (
        {"restart": [6379]},
        {"installed_at": 101.0, "seat": REPLICA},
        ["Restart the instance on port 6379: its program or unit is younger than it is"],
    ),
    "a unit that changes, and no leave": (
        {},
        {"dropin": "[Service]\n"},
        [
            "Write /etc/systemd/system/redis-server@6379.service.d/payaid.conf",
            "Let systemd read the changed units",
        ],
    ),
    "a unit that changes, and leave": (
        {"restart": [6379]},
        {"dropin": "[Service]\n", "seat": REPLICA},
        [
            "Write /etc/systemd/system/redis-server@6379.service.d/payaid.conf",
            "Let systemd read the changed units",
            "Restart the instance on port 6379: its program or unit is younger than it is",
        ],
    ),
    "a restart that is asked for": (
        {"restart": [6379, 6380], "started_after": 200.0},
        {},
        [
            "Fail the shard of port 6379 over to a replica",
            "Restart the instance on port 6379: it was asked for",
            "Restart the instance on port 6380: it was asked for",
        ],
    ),
    "downtime that is accepted": (
        {"restart": [6379], "started_after": 200.0, "accept_downtime": True},
        {"seat": replace(MASTER, replicas=())},
        ["Restart the instance on port 6379: it was asked for"],
    ),
    "a stopped instance, whatever its age": (
        {"restart": [6379], "started_after": 200.0},
        {"active": False, "now": None, "seat": None, "started_at": 0.0},
        ["Start the instance on port 6379"],
    ),
}


@pytest.mark.parametrize(("options", "found", "said"), CASES.values(), ids=CASES)
def test_what_is_planned(options: dict[str, Any], found: dict[str, Any], said: list[str]) -> None:
    wanted = desired(**options)
    assert sentences(reached(wanted, **found), wanted) == said


@pytest.mark.parametrize(("options", "found", "said"), CASES.values(), ids=CASES)
def test_an_interrupted_plan_is_completed_by_the_next_one(
    options: dict[str, Any], found: dict[str, Any], said: list[str]
) -> None:
    wanted = desired(**options)
    state = reached(wanted, **found)
    steps = plan(state, wanted)
    for done in range(len(steps) + 1):
        left = sentences(simulate(state, steps[:done]), wanted)
        # Units that a killed run has written are read by the next one, in whatever order.
        assert left == said[done:]


FIXABLE = {
    "maxmemory": ["268435456", "1"],
    "tcp-backlog": ["4096", "511"],
    "masterauth": ["secret-replication", ""],
}


@given(
    ports=st.sets(st.sampled_from([6379, 6380])),
    found=st.lists(
        st.fixed_dictionaries(
            {
                "active": st.booleans(),
                "enabled": st.booleans(),
                "conf": st.booleans(),
                "dropin": st.booleans(),
                "installed_at": st.sampled_from([50.0, 150.0]),
                "seat": st.sampled_from([MASTER, REPLICA]),
                "settings": st.fixed_dictionaries({n: st.sampled_from(v) for n, v in FIXABLE.items()}),
                "users": st.dictionaries(st.sampled_from(["default", "app", "guest"]), st.just("on")),
            }
        ),
        min_size=2,
        max_size=2,
    ),
)
def test_every_plan_reaches_what_is_wanted_and_can_be_interrupted(
    ports: set[int], found: list[dict[str, Any]]
) -> None:
    wanted = desired(restart=sorted(ports))
    state = reached(wanted)
    for port, one in zip((6379, 6380), found, strict=True):
        now = Told({**THEN.settings, **one["settings"]}, one["users"])
        state = state.changed(
            port,
            conf=state.instance(port).conf if one["conf"] else "port 1\n",
            dropin=state.instance(port).dropin if one["dropin"] else None,
            enabled=one["enabled"],
            active=one["active"],
            installed_at=one["installed_at"],
            started_at=100.0 if one["active"] else 0.0,
            now=now if one["active"] else None,
            seat=one["seat"] if one["active"] else None,
        )
    steps = plan(state, wanted)
    said = [step.describe() for step in steps]
    for done in range(len(steps) + 1):
        assert sentences(simulate(state, steps[:done]), wanted) == said[done:]
    restarted = [sentence for sentence in said if sentence.startswith("Restart")]
    assert all(any(str(port) in sentence for port in ports) for sentence in restarted)
    after = simulate(state, steps)
    assert all(row["restart"] == [] for row in rows(after.instances, 0.0) if row["port"] in ports)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a port twice": (
        {"instances": [instance(6379), instance(6379)]},
        "Port 6379 is listed twice in instances: give each instance its own.",
    ),
    "a setting of the module's": (
        {"settings": {"Port": 1}},
        "The setting port is written by the module itself: take it out of settings.",
    ),
    "a password beside the users": (
        {"instances": [instance(6379, settings={"requirepass": "x"})]},
        "The setting requirepass is written by the module itself: take it out of settings.",
    ),
    "a setting that cannot be read back": (
        {"settings": {"rename-command": "KEYS x"}},
        "The setting rename-command cannot be read back from a running instance: take it out of settings.",
    ),
    "a user twice": (
        {"users": [{"name": "app", "password": "x", "rules": []}] * 2},
        "The user app is listed twice, or is Redis's own: give each user its own name.",
    ),
    "the default user": (
        {"users": [{"name": "default", "password": "x", "rules": []}]},
        "The user default is listed twice, or is Redis's own: give each user its own name.",
    ),
    "a former password of nobody": (
        {"former_passwords": {"ap": ["x"]}},
        "former_passwords names ap, which is no user: list it in users, or take it out.",
    ),
}


@pytest.mark.parametrize(("options", "said"), REFUSED.values(), ids=REFUSED)
def test_what_no_instance_could_be_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(Refusal) as refusal:
        desired(**options)
    assert refusal.value.message == said


def test_a_master_that_nobody_stands_in_for_is_not_restarted() -> None:
    wanted = desired(restart=[6379], started_after=200.0)
    with pytest.raises(Refusal) as refusal:
        plan(reached(wanted, seat=replace(MASTER, replicas=())), wanted)
    assert refusal.value.message == (
        "10.0.0.1:6379 has no replica that could serve while it restarts: add one, or set accept_downtime."
    )


@pytest.mark.parametrize(("now", "then", "kind"), [(False, True, "without"), (True, False, "with")])
def test_tls_is_not_switched_under_way(now: bool, then: bool, kind: str) -> None:
    with pytest.raises(Refusal) as refusal:
        plan(reached(desired(tls=now)), desired(tls=then))
    assert refusal.value.message.startswith(f"The instance on port 6379 runs {kind} TLS, and ")
    stopped = reached(desired(tls=now), active=False, now=None, seat=None)
    stopped = stopped.changed(6380, active=False, now=None, seat=None)
    assert "Start the instance on port 6379" in sentences(stopped, desired(tls=then))


LEFT = (Leftover(6381, member=False), Leftover(6382, member=True))


@pytest.mark.parametrize(
    ("retire", "left", "stopped"),
    [("keep", LEFT, []), ("any", LEFT, [6381, 6382]), ("drained", LEFT[:1], [6381])],
)
def test_what_is_not_listed_any_more_is_stopped(
    retire: str, left: tuple[Leftover, ...], stopped: list[int]
) -> None:
    wanted = desired(retire=retire)
    state = replace(reached(wanted), leftovers=left)
    said = [f"Stop the instance on port {port}, which is not wanted any more, for good" for port in stopped]
    assert sentences(state, wanted) == said
    assert sentences(simulate(state, plan(state, wanted)), wanted) == []


def test_a_member_of_a_cluster_is_not_stopped() -> None:
    wanted = desired(retire="drained")
    with pytest.raises(Refusal) as refusal:
        plan(replace(reached(wanted), leftovers=LEFT), wanted)
    assert refusal.value.message == (
        "The instance on port 6382 is not listed, and still a member of its cluster: take it out first "
        "(redis_cluster with unlisted=remove)."
    )


def test_a_machine_that_is_to_run_none_is_written_nothing() -> None:
    wanted = desired(instances=[], retire="drained")
    state = State(None, (), leftovers=LEFT[:1])
    assert sentences(state, wanted) == [
        "Stop the instance on port 6381, which is not wanted any more, for good"
    ]


def test_the_files() -> None:
    wanted = desired(
        instances=[
            instance(6379, maxmemory="1gb", memory_max="2G", settings={"hz": 20, "save": ["60 1", "300 1"]})
        ],
        replication_password='with "quotes" and \\',  # noqa: S106
        former_passwords={"app": ["older"]},
    )
    (one,) = wanted.instances
    assert one.conf().splitlines()[1:] == [
        "aclfile /etc/redis/users.acl",
        "appendonly yes",
        "cluster-enabled yes",
        "daemonize no",
        "dir /var/lib/redis/6379",
        "hz 20",
        'masterauth "with \\"quotes\\" and \\\\"',
        "masteruser replication",
        "maxmemory 1gb",
        "pidfile /run/redis-6379/redis-server.pid",
        "port 6379",
        "save 60 1",
        "save 300 1",
        "supervised systemd",
    ]
    assert one.dropin().splitlines()[1:] == [
        "[Service]",
        "Restart=always",
        "ReadWritePaths=",
        "ReadWritePaths=-/var/lib/redis/%i",
        "MemoryMax=2G",
    ]
    users = wanted.users_file().splitlines()
    assert users[0] == "user default off"
    hashes = [hashlib.sha256(password.encode()).hexdigest() for password in ("secret-app", "older")]
    assert users[2] == f"user app on #{hashes[0]} #{hashes[1]} +@all"


def test_with_tls_nothing_listens_without_it() -> None:
    lines = desired(tls=True).instances[0].conf().splitlines()
    assert "port 0" in lines
    assert "tls-port 6379" in lines


def test_a_server_that_is_taken_over_keeps_its_default_user_on() -> None:
    wanted = desired(former_passwords={"default": ["older"]})
    assert wanted.users_file().startswith("user default on #")
    assert wanted.users_file().splitlines()[0].endswith(" ~* &* +@all")


SAME = [
    # Redis 7.0, from a file and at run time, in two processes.
    (
        "user app on #2d #1a ~* &* +@all -@admin -swapdb +cluster|replicas -flushall +role -sort",
        "user app on sanitize-payload #1a #2d ~* &* +@all -@admin -sort -flushall +role -swapdb "
        "+cluster|replicas",
    ),
    ("user r on #2d resetchannels -@all +psync +ping", "user r on #2d resetchannels -@all +ping +psync"),
]
DIFFERENT = [
    ("user app on #2d ~* +@all -@admin", "user app on #2d ~* -@admin +@all"),
    ("user app on #2d ~* +@all -keys", "user app on #2d ~* +@all"),
    ("user app on #2d ~* -@all +get -@admin +set", "user app on #2d ~* -@all +set -@admin +get"),
    ("user app on #2d ~a (~b +get)", "user app on #2d ~a (~b +set)"),
    ("user app on #2d ~*", "user app off #2d ~*"),
    ("user app on #2d ~*", "user app on #2e ~*"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_users_that_mean_the_same_are_the_same(one: str, other: str) -> None:
    assert parse_user(one) == parse_user(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_users_that_differ_are_not_the_same(one: str, other: str) -> None:
    assert parse_user(one) != parse_user(other)


def test_secrets_are_shown_nowhere() -> None:
    wanted = desired()
    before = State(None, reached(wanted, **NEW, started_at=0.0).instances)
    steps = plan(before, wanted)
    shown = str(files(simulate(before, steps))) + str([step.describe() for step in steps]) + repr(steps)
    shown += repr(before) + repr(wanted)
    for secret in PASSWORDS.values():
        assert secret not in shown
        assert hashlib.sha256(secret.encode()).hexdigest() not in shown


def test_what_is_fixed_is_named_as_redis_names_it() -> None:
    assert {"cluster-enabled", "aclfile", "tcp-backlog", "io-threads"} <= FIXED
    assert not FIXED & {"maxmemory", "appendonly", "bind", "tls-cert-file", "cluster-node-timeout"}
