# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the Redis instances of a host are like, and what they are to be like. No sockets and no files here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Union

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal

USERS_FILE = "/etc/redis/users.acl"
HEADER = "# Ansible managed: written whole by payaid.scaling.redis_server."
SECRETS = frozenset({"masterauth", "requirepass", "tls-key-file-pass", "tls-client-key-file-pass"})
# What decides what an instance is: the module writes it itself.
OWNED = frozenset(
    {
        "aclfile",
        "daemonize",
        "dir",
        "masterauth",
        "masteruser",
        "pidfile",
        "port",
        "requirepass",
        "supervised",
    }
    | {"cluster-enabled", "tls-port"}
)
# What CONFIG GET does not tell of a running instance, so that nobody could know whether it has effect.
UNTOLD = frozenset({"include", "loadmodule", "rename-command", "user"})
# "can't set immutable config" or "protected config" in Redis 7.0 and 8.0.
FIXED = frozenset(
    {
        "aclfile",
        "always-show-logo",
        "aof_rewrite_cpulist",
        "appenddirname",
        "appendfilename",
        "bgsave_cpulist",
        "bio_cpulist",
        "cluster-config-file",
        "cluster-enabled",
        "cluster-port",
        "daemonize",
        "databases",
        "dbfilename",
        "dir",
        "disable-thp",
        "enable-debug-command",
        "enable-module-command",
        "enable-protected-configs",
        "io-threads",
        "io-threads-do-reads",
        "locale-collate",
        "logfile",
        "pidfile",
        "rdbchecksum",
        "server_cpulist",
        "set-proc-title",
        "socket-mark-id",
        "supervised",
        "syslog-enabled",
        "syslog-facility",
        "syslog-ident",
        "tcp-backlog",
        "unixsocket",
        "unixsocketperm",
    }
)
# What a running instance changes by itself, or has by other ways than its file.
OTHERS = frozenset({"maxclients", "replicaof", "requirepass", "slaveof"})

EVERYTHING = ("~*", "&*", "+@all")

# A setting's value, or its values where it is given more than once.
Value = Union[str, tuple[str, ...]]  # noqa: UP007  # pylint misreads | at run time
Settings = Mapping[str, Value]


def conf_file(port: int | str) -> str:
    return f"/etc/redis/redis-{port}.conf"


def data_dir(port: int) -> str:
    return f"/var/lib/redis/{port}"


def unit(port: int) -> str:
    return f"redis-server@{port}.service"


def dropin_file(port: int) -> str:
    return f"/etc/systemd/system/{unit(port)}.d/payaid.conf"


def quoted(value: str) -> str:
    """Write a value the way redis-server reads it back, whatever it holds."""
    plain = value and not set(value) & set(" \t\"'\\#")
    return value if plain else '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def spelled(value: Any) -> str:
    """Return a value of YAML in the words of Redis."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def settings_of(given: Mapping[str, Any]) -> dict[str, Value]:
    return {
        name.lower(): tuple(map(spelled, value)) if isinstance(value, list) else spelled(value)
        for name, value in given.items()
    }


@dataclass(frozen=True)
class User:
    """An ACL user. One without a password is off, and can do nothing: there is no way in without one."""

    name: str
    passwords: tuple[str, ...] = field(repr=False)
    rules: tuple[str, ...]

    def line(self) -> str:
        """Return what ACL SETUSER takes; of a password, no more than its hash."""
        hashes = [f"#{hashlib.sha256(password.encode()).hexdigest()}" for password in self.passwords]
        return " ".join(["on", *hashes, *self.rules] if hashes else ["off"])


@dataclass(frozen=True)
class Wanted:
    """An instance as it is asked for."""

    port: int
    settings: Settings = field(repr=False)
    service: Settings = field(default_factory=dict)

    def conf(self, instead: Settings | None = None) -> str:
        """Return its redis.conf. Only secrets are quoted: any other value may be several words."""
        lines = [HEADER]
        for name, value in sorted({**self.settings, **(instead or {})}.items()):
            values = value if isinstance(value, tuple) else (value,)
            lines += [f"{name} {quoted(one) if name in SECRETS or not one else one}" for one in values]
        return "\n".join(lines) + "\n"

    def dropin(self) -> str:
        """Return what is added to its unit."""
        lines = [HEADER, "[Service]"]
        for name, value in self.service.items():
            lines += [f"{name}={one}" for one in (value if isinstance(value, tuple) else (value,))]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Desired:
    """What the host is asked to run, and what may be done for it."""

    instances: tuple[Wanted, ...]
    users: tuple[User, ...]
    tls: bool = False
    restart: frozenset[int] = frozenset()
    # Instances that were started before this moment (seconds since the epoch) are to be started again.
    started_after: float = 0.0
    accept_downtime: bool = False
    retire: str = "keep"  # or drained, or any

    @property
    def ports(self) -> tuple[int, ...]:
        return tuple(one.port for one in self.instances)

    def users_file(self) -> str:
        # redis-server takes no comments in this file.
        return "".join(f"user {user.name} {user.line()}\n" for user in self.users)

    @classmethod
    def wanted(cls, params: Mapping[str, Any]) -> Desired:
        """Take the module's options, and refuse what no instance could be."""
        users = _users(params)
        instances = tuple(_instance(one, params) for one in params["instances"])
        ports = [one.port for one in instances]
        if twice := sorted({port for port in ports if ports.count(port) > 1}):
            raise Refusal(f"Port {twice[0]} is listed twice in instances: give each instance its own.")
        return cls(
            instances,
            users,
            bool(params["tls"]),
            frozenset(params["restart"]),
            params["started_after"],
            params["accept_downtime"],
            params["retire"],
        )


def _users(params: Mapping[str, Any]) -> tuple[User, ...]:
    former = params["former_passwords"]
    users = [
        User(one["name"], (one["password"], *former.get(one["name"], ())), tuple(one["rules"]))
        for one in params["users"]
    ]
    names = ["default", *(user.name for user in users)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise Refusal(f"The user {twice[0]} is listed twice, or is Redis's own: give each user its own name.")
    if unknown := sorted(set(former) - set(names)):
        raise Refusal(
            f"former_passwords names {unknown[0]}, which is no user: list it in users, or take it out."
        )
    return (User("default", tuple(former.get("default", ())), EVERYTHING), *users)


def _instance(one: Mapping[str, Any], params: Mapping[str, Any]) -> Wanted:
    port, tls = one["port"], params["tls"]
    given = {**settings_of(params["settings"]), **settings_of(one["settings"] or {})}
    for name in given:
        if name in OWNED:
            raise Refusal(f"The setting {name} is written by the module itself: take it out of settings.")
        if name in UNTOLD:
            raise Refusal(
                f"The setting {name} cannot be read back from a running instance: take it out of settings."
            )
    for name in ("maxmemory", "maxmemory_policy"):
        if one[name]:
            given[name.replace("_", "-")] = one[name]
    if params["replication_user"]:
        given["masteruser"] = params["replication_user"]
        given["masterauth"] = params["replication_password"]
    own: dict[str, Value] = {
        "port": "0" if tls else str(port),
        **({"tls-port": str(port)} if tls else {}),
        "aclfile": USERS_FILE,
        "cluster-enabled": spelled(params["cluster"]),
        "daemonize": "no",
        "dir": data_dir(port),
        "pidfile": f"/run/redis-{port}/redis-server.pid",
        "supervised": "systemd",
    }
    limit = {"MemoryMax": one["memory_max"]} if one["memory_max"] else {}
    service = {
        name: tuple(map(spelled, value)) if isinstance(value, list) else spelled(value)
        for name, value in {**params["service"], **limit}.items()
    }
    return Wanted(port, {**given, **own}, service)


def parse_user(line: str) -> tuple[str, str]:
    """Read a line of ACL LIST, so that two servers that mean the same compare equal.

    Redis 7.0 lists hashes and single commands in an order that each process makes up for itself, and tells
    users that were made at run time from those of a file by a word that changes nothing. The order of
    categories has meaning, and stays.
    """
    _user, name, *words = line.split()
    hashes = sorted(word for word in words if word.startswith("#"))
    rest = [word for word in words if word != "sanitize-payload" and not word.startswith("#")]
    ordered: list[str] = []
    for single, words_alike in groupby(rest, key=lambda word: word[0] in "+-" and not set(word) & set("@()")):
        run = list(words_alike)
        ordered += sorted(run) if single else run
    return name, " ".join(hashes + ordered)


@dataclass(frozen=True)
class Told:
    """What an instance says of itself: CONFIG GET and ACL LIST."""

    settings: Mapping[str, str] = field(repr=False)
    users: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True)
class Seat:
    """An instance's place among the others."""

    role: str  # master or replica
    addr: str = ""
    # Whether clients are served by it: a master of slots, or one outside of a cluster.
    serves: bool = False
    # The addresses of its replicas.
    replicas: tuple[str, ...] = ()


@dataclass(frozen=True)
class Instance:
    """An instance as it was found."""

    port: int
    conf: str | None = field(repr=False)  # None where there is no file
    dropin: str | None
    active: bool
    enabled: bool
    # Seconds since the epoch; 0 for one that does not run.
    started_at: float = 0.0
    # When the program and its unit were last written.
    installed_at: float = 0.0
    # What it says while it runs, and what it would say if it were started with the wanted files.
    now: Told | None = None
    then: Told | None = None
    seat: Seat | None = None

    @property
    def speaks_tls(self) -> bool:
        """Tell from its file, which is what it was started with, whether it is to be spoken to over TLS."""
        return any(line.split()[:1] == ["tls-port"] for line in (self.conf or "").splitlines())

    def settings_to_set(self) -> dict[str, str]:
        """Return what differs and can be set while it runs."""
        return {name: value for name, value in self._differing().items() if name not in FIXED}

    def _differing(self) -> dict[str, str]:
        if self.now is None or self.then is None:
            return {}
        return {
            name: value
            for name, value in self.then.settings.items()
            if name not in OTHERS and name in self.now.settings and self.now.settings[name] != value
        }

    def users_to_set(self) -> tuple[str, ...]:
        if self.now is None or self.then is None:
            return ()
        return tuple(name for name, line in self.then.users.items() if self.now.users.get(name) != line)

    def users_to_delete(self) -> tuple[str, ...]:
        if self.now is None or self.then is None:
            return ()
        return tuple(name for name in self.now.users if name not in self.then.users)

    def outdated(self, started_after: float = 0.0) -> tuple[str, ...]:
        """Say why only a restart brings it to what is wanted."""
        if not self.active:
            return ()
        fixed = sorted(name for name in self._differing() if name in FIXED)
        reasons = [f"{name} can only be set at its start" for name in fixed]
        if self.started_at < self.installed_at:
            reasons.append("its program or unit is younger than it is")
        elif self.started_at < started_after:
            reasons.append("it was asked for")
        return tuple(reasons)


@dataclass(frozen=True)
class Leftover:
    """An instance of this host that is not wanted any more, and runs or would at the next boot."""

    port: int
    # What the rest of its cluster would miss; nothing when it is a stranger to all others.
    member: bool


@dataclass(frozen=True)
class State:
    """All instances of a host."""

    users_file: str | None = field(repr=False)
    instances: tuple[Instance, ...]
    # systemd has not read the newest unit files yet.
    units_stale: bool = False
    leftovers: tuple[Leftover, ...] = ()

    def instance(self, port: int) -> Instance:
        return next(one for one in self.instances if one.port == port)

    def changed(self, port: int, **changes: Any) -> State:
        return replace(
            self,
            instances=tuple(replace(one, **changes) if one.port == port else one for one in self.instances),
        )


def without_secrets(text: str | None) -> str:
    """Return a redis.conf or users file as a diff may show it."""
    if text is None:
        return ""
    lines = []
    for line in text.splitlines(keepends=True):
        name = line.partition(" ")[0]
        if name in SECRETS:
            lines.append(f"{name} (not shown)\n")
        elif name == "user":
            shown = [word if not word.startswith(("#", ">")) else "#(not shown)" for word in line.split()]
            lines.append(" ".join(shown) + "\n")
        else:
            lines.append(line)
    return "".join(lines)


def files(state: State) -> dict[str, str]:
    """Return what --diff shows: the files by their paths."""
    shown = {USERS_FILE: without_secrets(state.users_file)}
    for one in state.instances:
        shown[conf_file(one.port)] = without_secrets(one.conf)
        shown[dropin_file(one.port)] = one.dropin or ""
    return shown


def rows(instances: Iterable[Instance], started_after: float) -> list[dict[str, Any]]:
    """Return what the module tells of every instance."""
    return [
        {
            "port": one.port,
            "addr": one.seat.addr if one.seat else None,
            "role": one.seat.role if one.seat else None,
            "restart": list(one.outdated(started_after)),
        }
        for one in instances
    ]
