# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps bring the instances of a host to what is wanted: files first, then what runs, restarts last."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Impossible, Refusal, Step
from ansible_collections.payaid.scaling.plugins.module_utils._redis_server.model import (
    SECRETS,
    Desired,
    Instance,
    State,
    Told,
    Wanted,
    conf_file,
    dropin_file,
)


class IO(Protocol):
    """What the steps need from the host."""

    def write_users(self, text: str) -> None: ...

    def write_conf(self, port: int, text: str) -> None: ...

    def write_dropin(self, port: int, text: str) -> None: ...

    def reload_units(self) -> None: ...

    def enable(self, port: int) -> None: ...

    def start(self, port: int) -> None:
        """Start, and return once it answers."""

    def command(self, port: int, *words: str) -> None: ...

    def fail_over(self, port: int) -> None:
        """Hand the shard over to a replica that is in step, and return once everybody knows."""

    def retire(self, port: int) -> None:
        """Stop, for good."""

    def restart(self, port: int) -> None:
        """Restart while all others of its cluster are well, and return once it is in step again."""


@dataclass(frozen=True)
class WriteUsers:
    text: str = field(repr=False)

    def describe(self) -> str:
        return "Write the users"

    def simulate(self, state: State) -> State:
        return replace(state, users_file=self.text)

    def apply(self, io: IO) -> None:
        io.write_users(self.text)


@dataclass(frozen=True)
class WriteConf:
    port: int
    text: str = field(repr=False)

    def describe(self) -> str:
        return f"Write {conf_file(self.port)}"

    def simulate(self, state: State) -> State:
        return state.changed(self.port, conf=self.text)

    def apply(self, io: IO) -> None:
        io.write_conf(self.port, self.text)


@dataclass(frozen=True)
class WriteDropin:
    port: int
    text: str
    # A process that runs goes on under the old one.
    running: bool

    def describe(self) -> str:
        return f"Write {dropin_file(self.port)}"

    def simulate(self, state: State) -> State:
        changed = state.changed(self.port, dropin=self.text)
        if self.running:
            changed = changed.changed(self.port, installed_at=state.instance(self.port).started_at + 1)
        return replace(changed, units_stale=True)

    def apply(self, io: IO) -> None:
        io.write_dropin(self.port, self.text)


@dataclass(frozen=True)
class ReloadUnits:
    def describe(self) -> str:
        return "Let systemd read the changed units"

    def simulate(self, state: State) -> State:
        return replace(state, units_stale=False)

    def apply(self, io: IO) -> None:
        io.reload_units()


@dataclass(frozen=True)
class Enable:
    port: int

    def describe(self) -> str:
        return f"Start the instance on port {self.port} at boot"

    def simulate(self, state: State) -> State:
        return state.changed(self.port, enabled=True)

    def apply(self, io: IO) -> None:
        io.enable(self.port)


@dataclass(frozen=True)
class Start:
    port: int
    not_before: float = 0.0

    def describe(self) -> str:
        return f"Start the instance on port {self.port}"

    def simulate(self, state: State) -> State:
        return started(state, self.port, self.not_before)

    def apply(self, io: IO) -> None:
        io.start(self.port)


@dataclass(frozen=True)
class SetUsers:
    """At run time, and not by ACL LOAD, with which Redis 7.0 cuts off every client of every user."""

    port: int
    lines: Mapping[str, str] = field(repr=False)
    gone: tuple[str, ...]

    def describe(self) -> str:
        parts = [f"set {', '.join(self.lines)}"] if self.lines else []
        parts += [f"delete {', '.join(self.gone)}"] if self.gone else []
        return f"Bring the users of port {self.port} up to date: {'; '.join(parts)}"

    def simulate(self, state: State) -> State:
        one = state.instance(self.port)
        if one.now is None:
            raise Impossible("one.now")
        if one.then is None:
            raise Impossible("one.then")
        return state.changed(self.port, now=replace(one.now, users=one.then.users))

    def apply(self, io: IO) -> None:
        for name, line in self.lines.items():
            io.command(self.port, "ACL", "SETUSER", name, "reset", *line.split())
        for name in self.gone:
            io.command(self.port, "ACL", "DELUSER", name)


@dataclass(frozen=True)
class Set:
    """All in one command: some settings are only valid together."""

    port: int
    values: Mapping[str, str] = field(repr=False)

    def describe(self) -> str:
        shown = [
            name if name in SECRETS else f"{name} to {value or 'nothing'}"
            for name, value in self.values.items()
        ]
        return f"Set on port {self.port} {', '.join(shown)}"

    def simulate(self, state: State) -> State:
        one = state.instance(self.port)
        if one.now is None:
            raise Impossible("one.now")
        return state.changed(self.port, now=Told({**one.now.settings, **self.values}, one.now.users))

    def apply(self, io: IO) -> None:
        io.command(self.port, "CONFIG", "SET", *(word for pair in self.values.items() for word in pair))


@dataclass(frozen=True)
class FailOver:
    port: int

    def describe(self) -> str:
        return f"Fail the shard of port {self.port} over to a replica"

    def simulate(self, state: State) -> State:
        seat = state.instance(self.port).seat
        if seat is None:
            raise Impossible("seat")
        return state.changed(self.port, seat=replace(seat, role="replica", serves=False, replicas=()))

    def apply(self, io: IO) -> None:
        io.fail_over(self.port)


@dataclass(frozen=True)
class Retire:
    port: int

    def describe(self) -> str:
        return f"Stop the instance on port {self.port}, which is not wanted any more, for good"

    def simulate(self, state: State) -> State:
        return replace(state, leftovers=tuple(one for one in state.leftovers if one.port != self.port))

    def apply(self, io: IO) -> None:
        io.retire(self.port)


@dataclass(frozen=True)
class Restart:
    port: int
    reasons: tuple[str, ...]
    not_before: float = 0.0

    def describe(self) -> str:
        return f"Restart the instance on port {self.port}: {'; '.join(self.reasons)}"

    def simulate(self, state: State) -> State:
        return started(state, self.port, self.not_before)

    def apply(self, io: IO) -> None:
        io.restart(self.port)


def started(state: State, port: int, not_before: float) -> State:
    """Foretell an instance that has just been started with the files as they are."""
    one = state.instance(port)
    youngest = max(one.started_at, one.installed_at, not_before) + 1
    return state.changed(port, active=True, started_at=youngest, now=one.then)


def plan(state: State, desired: Desired) -> tuple[Step[State, IO], ...]:
    """Return the steps from the state to what is desired; none when it is reached."""
    _refuse_a_switch_of_tls(state, desired)
    steps: list[Step[State, IO]] = []
    if desired.instances and state.users_file != desired.users_file():
        steps.append(WriteUsers(desired.users_file()))
    for wanted in desired.instances:
        one = state.instance(wanted.port)
        if one.conf != wanted.conf():
            steps.append(WriteConf(wanted.port, wanted.conf()))
        if one.dropin != wanted.dropin():
            steps.append(WriteDropin(wanted.port, wanted.dropin(), one.active))
    if state.units_stale or any(isinstance(step, WriteDropin) for step in steps):
        steps.append(ReloadUnits())
    for step in tuple(steps):
        state = step.simulate(state)
    for wanted in desired.instances:
        steps += _running(state.instance(wanted.port), desired)
    for wanted in desired.instances:
        steps += _restarting(state.instance(wanted.port), wanted, desired)
    return tuple(steps + _retiring(state, desired))


def _running(one: Instance, desired: Desired) -> list[Step[State, IO]]:
    """Return what an instance needs that can be done while it runs."""
    steps: list[Step[State, IO]] = []
    if not one.enabled:
        steps.append(Enable(one.port))
    if not one.active:
        return [*steps, Start(one.port, desired.started_after)]
    # Users first: replicas log in as one of them.
    if one.users_to_set() or one.users_to_delete():
        lines = {user.name: user.line() for user in desired.users if user.name in one.users_to_set()}
        steps.append(SetUsers(one.port, lines, one.users_to_delete()))
    if values := one.settings_to_set():
        steps.append(Set(one.port, values))
    return steps


def _retiring(state: State, desired: Desired) -> list[Step[State, IO]]:
    if desired.retire == "keep":
        return []
    if members := [one for one in state.leftovers if one.member and desired.retire == "drained"]:
        raise Refusal(
            f"The instance on port {members[0].port} is not listed, and still a member of its cluster: "
            "take it out first (redis_cluster with unlisted=remove).",
            port=members[0].port,
        )
    return [Retire(one.port) for one in state.leftovers]


def _restarting(one: Instance, wanted: Wanted, desired: Desired) -> list[Step[State, IO]]:
    reasons = one.outdated(desired.started_after)
    if not reasons or wanted.port not in desired.restart:
        return []
    steps: list[Step[State, IO]] = []
    if one.seat is not None and one.seat.serves:
        if one.seat.replicas:
            steps.append(FailOver(one.port))
        elif not desired.accept_downtime:
            raise Refusal(
                f"{one.seat.addr} has no replica that could serve while it restarts: add one, or set "
                "accept_downtime.",
                port=one.port,
            )
    return [*steps, Restart(one.port, reasons, desired.started_after)]


def _refuse_a_switch_of_tls(state: State, desired: Desired) -> None:
    for one in state.instances:
        if one.active and one.conf is not None and one.speaks_tls != desired.tls:
            kind, other = ("with", "without") if one.speaks_tls else ("without", "with")
            raise Refusal(
                f"The instance on port {one.port} runs {kind} TLS, and nodes {kind} and {other} it do not "
                "understand each other: stop all instances of all machines first (systemctl stop "
                "'redis-server@*'), then run again. Their data stays.",
                port=one.port,
            )
