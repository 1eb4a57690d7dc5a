# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who is master, and which steps bring this host's servers and sentinel to follow and to watch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Impossible, Refusal, Step
from ansible_collections.payaid.scaling.plugins.module_utils._redis_sentinel.model import (
    DEFAULTS,
    Desired,
    Known,
    Listed,
    Own,
    Sentinel,
    Server,
    State,
    Watch,
    told,
)


class IO(Protocol):
    """What the steps need."""

    def reload_units(self) -> None: ...

    def enable(self) -> None: ...

    def start(self) -> None:
        """Start this host's sentinel, and return once it answers."""

    def restart(self) -> None:
        """Restart it while no other sentinel is away, and return once it sees the others again."""

    def follow(self, addr: str, master: str) -> None:
        """Make a server a replica, and return once it is in step."""

    def tell(self, *words: str) -> None:
        """Give this host's sentinel a command."""

    def reset(self, gone: tuple[str, ...]) -> None:
        """Let it forget everybody, and return once it sees those again who are there."""

    def hand_over(self, master: str) -> None:
        """Let the sentinels promote a replica, and return once the old master follows it."""


@dataclass(frozen=True)
class ReloadUnits:
    def describe(self) -> str:
        return "Let systemd read the changed unit of the sentinel"

    def simulate(self, state: State) -> State:
        return state.with_own(unit_stale=False)

    def apply(self, io: IO) -> None:
        io.reload_units()


@dataclass(frozen=True)
class Enable:
    def describe(self) -> str:
        return "Start the sentinel at boot"

    def simulate(self, state: State) -> State:
        return state.with_own(enabled=True)

    def apply(self, io: IO) -> None:
        io.enable()


@dataclass(frozen=True)
class Start:
    addr: str

    def describe(self) -> str:
        return f"Start the sentinel {self.addr}"

    def simulate(self, state: State) -> State:
        if state.own is None:
            raise Impossible("state.own")
        conf = state.own.conf
        watch = Watch(conf.master) if conf.master else None
        return started(state).with_sentinel(self.addr, Sentinel(self.addr, watch=watch))

    def apply(self, io: IO) -> None:
        io.start()


@dataclass(frozen=True)
class Restart:
    addr: str

    def describe(self) -> str:
        return f"Restart the sentinel {self.addr}: its program, unit or users are younger than it is"

    def simulate(self, state: State) -> State:
        return started(state)

    def apply(self, io: IO) -> None:
        io.restart()


@dataclass(frozen=True)
class Follow:
    addr: str
    master: str

    def describe(self) -> str:
        return f"Make {self.addr} a replica of {self.master}"

    def simulate(self, state: State) -> State:
        return state.with_server(self.addr, role="replica", follows=self.master, in_step=True, replicas=())

    def apply(self, io: IO) -> None:
        io.follow(self.addr, self.master)


@dataclass(frozen=True)
class Introduce:
    """How it logs in to the other sentinels, and the address that it gives them."""

    announce_ip: str
    user: str
    password: str = field(repr=False)

    def describe(self) -> str:
        return f"Let the sentinel announce {self.announce_ip} and log in to the others as {self.user}"

    def simulate(self, state: State) -> State:
        return state.with_conf(announce_ip=self.announce_ip, peer_login=(self.user, self.password))

    def apply(self, io: IO) -> None:
        for name, value in (
            ("announce-ip", self.announce_ip),
            ("sentinel-user", self.user),
            ("sentinel-pass", self.password),
        ):
            io.tell("CONFIG", "SET", name, value)


@dataclass(frozen=True)
class Monitor:
    addr: str
    name: str
    master: Listed
    quorum: int

    def describe(self) -> str:
        return f"Let the sentinel watch {self.master.addr} as {self.name} with quorum {self.quorum}"

    def simulate(self, state: State) -> State:
        conf = {
            "master": self.master.addr,
            "quorum": self.quorum,
            "settings": dict(DEFAULTS),
            "login": ("", ""),
        }
        watching = Sentinel(self.addr, watch=Watch(self.master.addr))
        return state.with_conf(**conf).with_sentinel(self.addr, watching)

    def apply(self, io: IO) -> None:
        io.tell("MONITOR", self.name, self.master.host, str(self.master.port), str(self.quorum))


@dataclass(frozen=True)
class Remove:
    addr: str
    name: str
    master: str

    def describe(self) -> str:
        return f"Let the sentinel watch {self.master} as {self.name} no more: the others have another master"

    def simulate(self, state: State) -> State:
        conf = {"master": "", "quorum": 0, "settings": dict(DEFAULTS), "login": ("", "")}
        return state.with_conf(**conf).with_sentinel(self.addr, Sentinel(self.addr))

    def apply(self, io: IO) -> None:
        io.tell("REMOVE", self.name)


@dataclass(frozen=True)
class Set:
    name: str
    quorum: int | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    login: tuple[str, str] | None = field(default=None, repr=False)

    def describe(self) -> str:
        parts = [f"quorum to {self.quorum}"] if self.quorum else []
        parts += [f"{name} to {value}" for name, value in self.values.items()]
        parts += [f"its login to the user {self.login[0]}"] if self.login else []
        return f"Set for {self.name} {', '.join(parts)}"

    def simulate(self, state: State) -> State:
        if state.own is None:
            raise Impossible("state.own")
        conf = state.own.conf
        return state.with_conf(
            quorum=self.quorum or conf.quorum,
            settings={**conf.settings, **self.values},
            login=self.login or conf.login,
        )

    def apply(self, io: IO) -> None:
        words = ["quorum", str(self.quorum)] if self.quorum else []
        words += [word for pair in self.values.items() for word in pair]
        words += ["auth-user", self.login[0], "auth-pass", self.login[1]] if self.login else []
        io.tell("SET", self.name, *words)


@dataclass(frozen=True)
class Forget:
    """By RESET: there is no other way to let a sentinel forget one that is gone."""

    addr: str
    gone: tuple[str, ...]

    def describe(self) -> str:
        return f"Let the sentinel forget {', '.join(self.gone)}, which is not listed and does not answer"

    def simulate(self, state: State) -> State:
        (sentinel,) = (one for one in state.sentinels if one.addr == self.addr)
        if sentinel.watch is None:
            raise Impossible("sentinel.watch")
        watch = replace(
            sentinel.watch,
            replicas=tuple(one for one in sentinel.watch.replicas if one.addr not in self.gone),
            sentinels=tuple(one for one in sentinel.watch.sentinels if one.addr not in self.gone),
        )
        return state.with_sentinel(self.addr, replace(sentinel, watch=watch))

    def apply(self, io: IO) -> None:
        io.reset(self.gone)


@dataclass(frozen=True)
class HandOver:
    master: str
    # The likeliest one; it is the sentinels that choose.
    successor: str

    def describe(self) -> str:
        return f"Let the sentinels make another one master in place of {self.master}"

    def simulate(self, state: State) -> State:
        others = tuple(s.addr for s in state.servers if not s.problem and s.addr != self.successor)
        following = {"role": "replica", "follows": self.successor, "in_step": True, "replicas": ()}
        for addr in others:
            state = state.with_server(addr, **following)
        state = state.with_server(self.successor, role="master", follows="", replicas=others)
        for one in state.watching:
            if one.watch is None:
                raise Impossible("one.watch")
            watch = replace(one.watch, master=self.successor)
            state = state.with_sentinel(one.addr, replace(one, watch=watch))
        return state.with_conf(master=self.successor) if state.own and state.own.conf.master else state

    def apply(self, io: IO) -> None:
        io.hand_over(self.master)


def started(state: State) -> State:
    """Foretell a sentinel that has just been started."""
    if state.own is None:
        raise Impossible("state.own")
    return state.with_own(active=True, started_at=max(state.own.started_at, state.own.installed_at) + 1)


def plan(state: State, desired: Desired) -> tuple[Step[State, IO], ...]:
    """Return this host's steps; none when its servers follow the master and its sentinel watches it."""
    _refuse_others(state, desired)
    steps: list[Step[State, IO]] = []
    mine = desired.mine
    if state.own and mine:
        steps += _running(state.own, mine)
    for step in steps:
        state = step.simulate(state)
    master = choose(state, desired)
    for server in state.servers:
        if desired.local(server.addr) and server.addr != master.addr and server.follows != master.addr:
            _refuse_loss(server, master, state)
            steps.append(Follow(server.addr, master.addr))
    if state.own and mine:
        watching = _watching(state.own, mine, master, desired)
        # What it knows was learnt for the master that it watched; a new one is learnt anew.
        if not any(isinstance(step, Monitor) for step in watching):
            watching += _forgetting(state, mine, desired)
        steps += watching
    if desired.step_down and desired.local(master.addr):
        steps.append(HandOver(master.addr, _successor(state, master)))
    return tuple(steps)


def _running(own: Own, mine: Listed) -> list[Step[State, IO]]:
    steps: list[Step[State, IO]] = []
    if own.unit_stale:
        steps.append(ReloadUnits())
    if not own.enabled:
        steps.append(Enable())
    if not own.active:
        steps.append(Start(mine.addr))
    elif own.outdated:
        steps.append(Restart(mine.addr))
    return steps


def _watching(own: Own, mine: Listed, master: Listed, desired: Desired) -> list[Step[State, IO]]:
    """Return what its file lacks, in an order in which it could be interrupted anywhere."""
    steps: list[Step[State, IO]] = []
    login = (desired.user, desired.password)
    if own.conf.peer_login != login or own.conf.announce_ip != mine.host:
        steps.append(Introduce(mine.host, *login))
    conf = own.conf
    if conf.master and conf.master != master.addr:
        steps.append(Remove(mine.addr, desired.name, conf.master))
    if conf.master != master.addr:
        steps.append(Monitor(mine.addr, desired.name, master, desired.quorum))
        conf = replace(conf, quorum=desired.quorum, settings=dict(DEFAULTS), login=("", ""))
    values = {name: value for name, value in desired.settings.items() if conf.settings[name] != value}
    quorum = desired.quorum if conf.quorum != desired.quorum else None
    if values or quorum or conf.login != login:
        steps.append(Set(desired.name, quorum, values, login if conf.login != login else None))
    return steps


def _forgetting(state: State, mine: Listed, desired: Desired) -> list[Step[State, IO]]:
    watch = next((one.watch for one in state.watching if one.addr == mine.addr), None)
    if watch is None:
        return []
    gone: list[str] = []
    for seen, listed, option in (
        (watch.replicas, desired.servers, "servers"),
        (watch.sentinels, desired.sentinels, "sentinels"),
    ):
        strangers = [one for one in seen if one.addr not in {each.addr for each in listed}]
        _refuse_strangers(strangers, option)
        gone += [one.addr for one in strangers]
    return [Forget(mine.addr, tuple(sorted(gone)))] if gone else []


def _refuse_strangers(strangers: list[Known], option: str) -> None:
    if alive := [one for one in strangers if not one.away]:
        raise Refusal(
            f"{alive[0].addr} takes part and is not listed in {option}: list it, or stop it for good (it is "
            "forgotten then).",
            node=alive[0].addr,
        )


# ---------------------------------------------------------------- who is master


def choose(state: State, desired: Desired) -> Listed:
    """Return the master: what the sentinels say, and where none does, what the servers say."""
    said = told(state)
    addr = _agreed(said, state, desired) if said else _by_servers(state, desired)
    listed = next((one for one in desired.servers if one.addr == addr), None)
    if listed is None:
        who = f"The sentinels take {addr} for the master" if said else f"The servers follow {addr}"
        raise Refusal(f"{who}, which is not listed in servers: list it, or correct the list.", node=addr)
    server = state.server(addr)
    if server is None:
        raise Impossible("server")
    if not server.is_master:
        how = f"does not answer ({server.problem})" if server.problem else f"is a replica of {server.follows}"
        raise Refusal(
            f"The master {addr} {how}, and the sentinels have not made another one master: start it, or "
            f"bring {desired.majority} of the {len(desired.sentinels)} sentinels and a replica back.",
            node=addr,
        )
    for other in state.servers:
        if other.addr != addr and other.is_master and other.replicas:
            raise Refusal(
                f"Both {addr} and {other.addr} are masters, and {other.replicas[0]} follows the latter: "
                "decide whose data counts, and run REPLICAOF on the other one by hand.",
                nodes=[addr, other.addr],
            )
    return listed


def _agreed(said: Mapping[str, list[str]], state: State, desired: Desired) -> str:
    answering = [one for one in state.sentinels if not one.problem]
    known = max((1 + len(one.watch.sentinels) for one in state.watching if one.watch), default=0)
    if len(answering) <= known // 2:
        away = [f"{one.addr} ({one.problem})" for one in state.sentinels if one.problem]
        raise Refusal(
            f"{len(answering)} of {known} sentinels answer, and only a majority can tell who is master: "
            f"start {', '.join(away)}."
        )
    if len(said) == 1:
        return next(iter(said))
    for addr, sentinels in said.items():
        if len(sentinels) >= desired.majority:
            return addr
    opinions = "; ".join(f"{addr} says {', '.join(who)}" for addr, who in sorted(said.items()))
    raise Refusal(
        f"The sentinels do not agree who is master: {opinions}. Wait until they do, or run SENTINEL REMOVE "
        f"{desired.name} on those that are wrong.",
        said={addr: list(who) for addr, who in said.items()},
    )


def _by_servers(state: State, desired: Desired) -> str:
    if away := [one for one in state.servers if one.problem]:
        raise Refusal(
            f"{away[0].addr} does not answer ({away[0].problem}), and no sentinel knows who is master: "
            "start it, for it may be the one with the newest data.",
            node=away[0].addr,
        )
    followed = sorted({one.follows for one in state.servers if one.follows})
    if len(followed) > 1:
        raise Refusal(
            f"Servers follow different masters ({', '.join(followed)}), and no sentinel knows which is "
            "right: run REPLICAOF by hand on those that are wrong.",
            nodes=followed,
        )
    if followed:
        return followed[0]
    holding = [one for one in state.servers if one.keys]
    if len(holding) > 1:
        raise Refusal(
            f"{' and '.join(f'{one.addr} ({one.keys} keys)' for one in holding)} are masters that hold "
            "data, and one can only follow the other by losing its own: run FLUSHALL on all but one.",
            nodes=[one.addr for one in holding],
        )
    return holding[0].addr if holding else desired.servers[0].addr


def _refuse_loss(server: Server, master: Listed, state: State) -> None:
    """Refuse to overwrite data that nobody says is a copy."""
    if server.problem:
        raise Refusal(f"{server.addr} does not answer ({server.problem}): start it.", node=server.addr)
    # A server that was restarted comes up as a master: its sentinels know that it was a replica.
    remembered = {known.addr for one in state.watching if one.watch for known in one.watch.replicas}
    if server.is_master and server.keys and server.addr not in remembered:
        raise Refusal(
            f"{server.addr} holds {server.keys} keys and was never a replica of {master.addr}: run FLUSHALL "
            "on it if they are not needed, or take it out of servers.",
            node=server.addr,
            keys=server.keys,
        )


def _refuse_others(state: State, desired: Desired) -> None:
    if state.own and state.own.conf.others:
        other = state.own.conf.others[0]
        raise Refusal(
            f"The sentinel of this host ({desired.address}) watches another master as well, {other}: run "
            f"SENTINEL REMOVE {other} on it, or make {other} the name.",
            masters=list(state.own.conf.others),
        )


def _successor(state: State, master: Listed) -> str:
    """Return a replica that could take over."""
    in_step = [one for one in state.servers if one.follows == master.addr and one.in_step]
    if not in_step:
        raise Refusal(
            f"{master.addr} has no replica that is in step and could take over: bring one back first.",
            node=master.addr,
        )
    return max(in_step, key=lambda one: one.offset).addr
