# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A master, its replicas and the sentinels that watch them, as one host sees them. No sockets here."""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Impossible, Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import hostport

SENTINEL_PORT = 26379
# What Sentinel goes by where nothing is set; it writes down only what differs.
DEFAULTS = {"down-after-milliseconds": "30000", "failover-timeout": "180000", "parallel-syncs": "1"}
# Sentinel writes them into its file as they are, and then does not understand its own file.
UNWRITABLE = set(" \t\r\n\"'")


@dataclass(frozen=True)
class Listed:
    """A server or a sentinel as it is listed."""

    host: str
    port: int

    @property
    def addr(self) -> str:
        return hostport(self.host, self.port)


@dataclass(frozen=True)
class Desired:
    """Who the servers and sentinels are, and how a sentinel is to watch."""

    name: str
    address: str
    servers: tuple[Listed, ...]
    sentinels: tuple[Listed, ...]
    quorum: int
    settings: Mapping[str, str]
    user: str
    password: str = field(repr=False)
    # Whether a master on this host is to hand over to another one.
    step_down: bool = False

    @property
    def majority(self) -> int:
        return len(self.sentinels) // 2 + 1

    @property
    def mine(self) -> Listed | None:
        """Return the sentinel of this host, where it is to have one."""
        return next((one for one in self.sentinels if one.host == self.address), None)

    def local(self, addr: str) -> bool:
        return any(one.addr == addr and one.host == self.address for one in self.servers)

    @classmethod
    def wanted(cls, params: Mapping[str, Any]) -> Desired:
        """Take the module's options, and refuse what no sentinels could do."""
        servers, sentinels = (
            tuple(Listed(str(_ip(one["host"], option)), one["port"]) for one in params[option])
            for option in ("servers", "sentinels")
        )
        for option, listed in (("servers", servers), ("sentinels", sentinels)):
            if twice := [one.addr for one in listed if listed.count(one) > 1]:
                raise Refusal(f"{twice[0]} is listed twice in {option}: list it once.")
        if len(sentinels) < 3:
            raise Refusal(
                f"sentinels lists {len(sentinels)}: a failover needs a majority of them, so list at least "
                "3, each on a machine of its own."
            )
        if len({one.host for one in sentinels}) < len(sentinels):
            raise Refusal("Two sentinels share a host: one machine away would be two votes away.")
        if not 1 <= params["quorum"] <= len(sentinels):
            raise Refusal(
                f"quorum={params['quorum']} of {len(sentinels)} sentinels: set it to a number from 1 to "
                f"{len(sentinels)}; {len(sentinels) // 2 + 1} is a majority."
            )
        if UNWRITABLE & set(params["sentinel_password"]):
            raise Refusal(
                "sentinel_password has a blank or a quote in it, which Sentinel cannot write into its file: "
                "choose one without."
            )
        settings = {
            "down-after-milliseconds": str(params["down_after_ms"]),
            "failover-timeout": str(params["failover_timeout_ms"]),
            "parallel-syncs": str(params["parallel_syncs"]),
        }
        return cls(
            params["name"],
            str(_ip(params["address"], "address")),
            servers,
            sentinels,
            params["quorum"],
            settings,
            params["sentinel_user"],
            params["sentinel_password"],
            params["step_down"],
        )


def _ip(host: str, option: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        raise Refusal(
            f"{option} has {host}, which is no IP address: list the addresses that sentinels tell clients."
        ) from None


@dataclass(frozen=True)
class Server:
    """A redis-server."""

    addr: str
    problem: str = ""  # why it does not answer; nothing else is known then
    role: str = "master"
    follows: str = ""  # the master's address, in a replica
    in_step: bool = False
    replicas: tuple[str, ...] = ()  # that are connected to it
    keys: int = 0
    offset: int = 0

    @property
    def is_master(self) -> bool:
        return not self.problem and self.role == "master"


@dataclass(frozen=True)
class Known:
    """A replica or another sentinel, as a sentinel sees it."""

    addr: str
    flags: tuple[str, ...] = ()
    # What a replica said last that it is; sentinels ask every ten seconds. Nothing of a sentinel.
    role: str = ""

    @property
    def away(self) -> bool:
        return bool({"s_down", "o_down", "disconnected"} & set(self.flags))


@dataclass(frozen=True)
class Watch:
    """What a sentinel knows of the master that it watches."""

    master: str
    flags: tuple[str, ...] = ()
    replicas: tuple[Known, ...] = ()
    sentinels: tuple[Known, ...] = ()
    usable: bool = True  # whether enough sentinels see each other to fail over


@dataclass(frozen=True)
class Sentinel:
    """A sentinel, asked over the network."""

    addr: str
    problem: str = ""
    watch: Watch | None = None
    # Whether it only looks on, for 30 s, because its clock or its process stood still.
    tilt: bool = False


@dataclass(frozen=True)
class Conf:
    """What a sentinel has written into its own file: the only place that tells its passwords."""

    master: str = ""
    quorum: int = 0
    settings: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULTS))
    login: tuple[str, str] = field(default=("", ""), repr=False)  # to the servers
    peer_login: tuple[str, str] = field(default=("", ""), repr=False)  # to the other sentinels
    announce_ip: str = ""
    others: tuple[str, ...] = ()  # masters of other names


def _words(line: str) -> list[str]:
    """Split a line as Sentinel does: a backslash outside of quotes is a backslash."""
    if line.startswith("#"):
        return []
    words = shlex.shlex(line, posix=True, punctuation_chars=False)
    words.whitespace_split = True
    words.commenters = words.escape = ""
    return list(words)


def read_conf(text: str, name: str) -> Conf:
    """Read the file of a sentinel."""
    conf, settings, others = Conf(), dict(DEFAULTS), set()
    for line in text.splitlines():
        match _words(line):
            case ["sentinel", "monitor", str(other), ip, port, quorum]:
                if other == name:
                    conf = replace(conf, master=hostport(ip, int(port)), quorum=int(quorum))
                else:
                    others.add(other)
            case ["sentinel", "auth-user", str(other), user] if other == name:
                conf = replace(conf, login=(user, conf.login[1]))
            case ["sentinel", "auth-pass", str(other), password] if other == name:
                conf = replace(conf, login=(conf.login[0], password))
            case ["sentinel", "sentinel-user", user]:
                conf = replace(conf, peer_login=(user, conf.peer_login[1]))
            case ["sentinel", "sentinel-pass", password]:
                conf = replace(conf, peer_login=(conf.peer_login[0], password))
            case ["sentinel", "announce-ip", ip]:
                conf = replace(conf, announce_ip=ip)
            case ["sentinel", str(setting), str(other), value] if other == name and setting in DEFAULTS:
                settings[setting] = value
    return replace(conf, settings=settings, others=tuple(sorted(others)))


@dataclass(frozen=True)
class Own:
    """The sentinel of this host, as its file and systemd tell of it."""

    conf: Conf
    active: bool = True
    enabled: bool = True
    unit_stale: bool = False  # systemd has not read its newest unit
    started_at: float = 0.0
    installed_at: float = 0.0  # of the youngest of its program, unit and users

    @property
    def outdated(self) -> bool:
        return self.active and self.started_at < self.installed_at


@dataclass(frozen=True)
class State:
    """All servers and all sentinels."""

    servers: tuple[Server, ...]
    sentinels: tuple[Sentinel, ...]
    own: Own | None = None

    def server(self, addr: str) -> Server | None:
        return next((one for one in self.servers if one.addr == addr), None)

    @property
    def watching(self) -> tuple[Sentinel, ...]:
        return tuple(one for one in self.sentinels if one.watch)

    def with_server(self, addr: str, **changes: Any) -> State:
        servers = (replace(one, **changes) if one.addr == addr else one for one in self.servers)
        return replace(self, servers=tuple(servers))

    def with_own(self, **changes: Any) -> State:
        if self.own is None:
            raise Impossible("self.own")
        return replace(self, own=replace(self.own, **changes))

    def with_conf(self, **changes: Any) -> State:
        if self.own is None:
            raise Impossible("self.own")
        return self.with_own(conf=replace(self.own.conf, **changes))

    def with_sentinel(self, addr: str, sentinel: Sentinel) -> State:
        return replace(self, sentinels=tuple(sentinel if o.addr == addr else o for o in self.sentinels))


def told(state: State) -> dict[str, list[str]]:
    """Return the addresses that sentinels give for the master, with those who give them."""
    found: dict[str, list[str]] = {}
    for one in state.watching:
        if one.watch is None:
            raise Impossible("one.watch")
        found.setdefault(one.watch.master, []).append(one.addr)
    # A sentinel that does not run says what its file says.
    if not found and state.own and state.own.conf.master:
        found[state.own.conf.master] = ["the file of this host's sentinel"]
    return found


def in_motion(state: State) -> bool:
    """Tell whether sentinels are still at it: a failover takes seconds, and so does its being known."""
    said = told(state)
    failing_over = any("failover_in_progress" in one.watch.flags for one in state.watching if one.watch)
    masters = [state.server(addr) for addr in said]
    return failing_over or len(said) > 1 or any(one is not None and not one.is_master for one in masters)


def shortcomings(state: State, desired: Desired) -> list[str]:
    """Say what keeps it from being whole: a master, all others in step, all sentinels of one mind."""
    return list(_shortcomings(state, desired))


def _shortcomings(state: State, desired: Desired) -> Iterator[str]:
    for server in state.servers:
        if server.problem:
            yield f"{server.addr} does not answer ({server.problem})"
    masters = [one.addr for one in state.servers if one.is_master]
    if len(masters) != 1:
        yield f"{len(masters)} servers are masters ({', '.join(masters) or 'each is a replica'})"
        return
    for server in state.servers:
        following = server.follows == masters[0] and server.in_step
        if not (server.problem or server.is_master or following):
            yield f"{server.addr} is not in step with {masters[0]}"
    for sentinel in state.sentinels:
        yield from _shortcomings_of(sentinel, masters[0], desired)


def _shortcomings_of(sentinel: Sentinel, master: str, desired: Desired) -> Iterator[str]:
    watch = sentinel.watch
    if sentinel.problem or watch is None:
        yield f"the sentinel {sentinel.addr} {'does not answer' if sentinel.problem else 'watches nothing'}"
        return
    if sentinel.tilt:
        yield f"the sentinel {sentinel.addr} is in TILT mode, which ends 30 s after its machine is less busy"
    if watch.master != master:
        yield f"the sentinel {sentinel.addr} takes {watch.master} for the master"
    if {"s_down", "o_down", "disconnected", "failover_in_progress"} & set(watch.flags):
        yield f"the sentinel {sentinel.addr} sees its master as {','.join(watch.flags)}"
    if not watch.usable:
        yield f"the sentinel {sentinel.addr} does not see enough others to fail over"
    for seen, listed, what in (
        (watch.replicas, {one.addr for one in desired.servers} - {master}, "replica"),
        (watch.sentinels, {one.addr for one in desired.sentinels} - {sentinel.addr}, "sentinel"),
    ):
        here = {one.addr for one in seen if not one.away}
        for addr in sorted(listed - here):
            yield f"the sentinel {sentinel.addr} does not see the {what} {addr}"
    # A server is a master at its start. A sentinel that has not heard that it is a replica since makes it one
    # again at once when it is promoted, and the failover hangs.
    servers = {one.addr for one in desired.servers}
    for replica in watch.replicas:
        if replica.role == "master" and replica.addr in servers and not replica.away:
            yield f"the sentinel {sentinel.addr} has not heard yet that {replica.addr} is a replica"


def view(state: State, desired: Desired) -> dict[str, Any]:
    """Return what --diff shows."""
    shown: dict[str, Any] = {
        "servers": {
            one.addr: f"replica of {one.follows}" if one.follows else one.role for one in state.servers
        }
    }
    if state.own:
        conf = state.own.conf
        shown["sentinel"] = {
            "running": state.own.active,
            "enabled": state.own.enabled,
            "master": conf.master,
            "quorum": conf.quorum,
            **conf.settings,
            "login": f"{conf.login[0]}" if conf.login[0] else "",
            "announce-ip": conf.announce_ip,
            "knows": sorted(one.addr for one in _known(state, desired)),
        }
    return shown


def _known(state: State, desired: Desired) -> Iterable[Known]:
    mine = desired.mine
    watch = next((one.watch for one in state.watching if mine and one.addr == mine.addr), None)
    return (*watch.replicas, *watch.sentinels) if watch else ()


def rows(state: State) -> dict[str, list[dict[str, Any]]]:
    """Return what the module tells of everybody."""
    return {
        "nodes": [
            {
                "addr": one.addr,
                "role": None if one.problem else one.role,
                "follows": one.follows or None,
                "in_step": one.in_step,
                "keys": one.keys,
                "problem": one.problem or None,
            }
            for one in state.servers
        ],
        "sentinels": [
            {
                "addr": one.addr,
                "master": one.watch.master if one.watch else None,
                "usable": bool(one.watch and one.watch.usable),
                "problem": one.problem or None,
            }
            for one in state.sentinels
        ],
    }
