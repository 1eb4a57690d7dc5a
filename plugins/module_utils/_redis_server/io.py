# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks and tells the instances, their files and systemd."""

from __future__ import annotations

import grp
import os
import pwd
import re
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from glob import glob
from pathlib import Path
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._module import Run
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.connection import (
    DENIED,
    connect,
    fields,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Peer,
    hostport,
    parse_nodes,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_server.model import (
    USERS_FILE,
    Desired,
    Instance,
    Leftover,
    Seat,
    State,
    Told,
    Wanted,
    conf_file,
    data_dir,
    dropin_file,
    parse_user,
    unit,
)

with suppress(ImportError):  # login.py keeps the reason, and begin_redis() says it
    import redis
    from redis.exceptions import RedisError


PROGRAM = "/usr/bin/redis-server"
ACCOUNT = "redis"
UNIT_FILES = ("/usr/lib/systemd/system/redis-server@.service", "/lib/systemd/system/redis-server@.service")
CONF_FILE = re.compile(r".*/redis-(\d+)\.conf$")
PAUSE = 0.1  # s between two looks
TRIAL_PATIENCE = 10.0  # s for a server without data to start
OTHERS_PATIENCE = (
    60.0  # s for others that are away: a failover of theirs takes less, and a repair takes a person
)
FAILOVER_PATIENCE = 10.0  # s; the election itself is a matter of milliseconds
FAILOVER_TRIES = 3
# What CONFIG GET says where redis.conf says nothing.
ABSENT = {"tls-port": "0", "unixsocketperm": "0"}
# What a trial start must not share with the instance itself. It never listens on the network.
TRIAL = {
    "port": "0",
    "tls-port": "0",
    "cluster-enabled": "no",
    "daemonize": "no",
    "supervised": "no",
    "logfile": "",
}


class Host:
    """The Redis instances of this host."""

    def __init__(
        self, run: Run, desired: Desired, *, address: str, logins: Sequence[Login], timeout: float
    ) -> None:
        self._run = run
        self._desired = desired
        self._address = address
        # The first one that is let in is used: a server that is taken over does not know its new users yet.
        self._logins = logins
        self._timeout = timeout
        self._name = socket.gethostname()

    # ------------------------------------------------------------ observe

    def observe(self) -> State:
        units = self._show_units(self._desired.ports)
        return State(
            users_file=_read(USERS_FILE),
            instances=tuple(
                self._instance(wanted, unit_state)
                for wanted, unit_state in zip(self._desired.instances, units, strict=True)
            ),
            units_stale=any(each["NeedDaemonReload"] == "yes" for each in units),
            leftovers=tuple(self._leftovers()) if self._desired.retire != "keep" else (),
        )

    def _leftovers(self) -> Iterator[Leftover]:
        ports = [int(found[1]) for path in glob(conf_file("*")) if (found := CONF_FILE.match(path))]
        others = sorted(set(ports) - set(self._desired.ports))
        for port, state in zip(others, self._show_units(others), strict=True):
            if state["ActiveState"] == "active":
                yield Leftover(port, len(self._peers(port)) > 1)
            elif state["UnitFileState"] == "enabled":
                yield Leftover(port, member=False)

    def _instance(self, wanted: Wanted, unit_state: dict[str, str]) -> Instance:
        active = unit_state["ActiveState"] == "active"
        dropin = dropin_file(wanted.port)
        written = [os.stat(path).st_ctime for path in (PROGRAM, *UNIT_FILES, dropin) if os.path.exists(path)]
        # systemd's monotonic microseconds, carried over to the clock that files are dated by.
        age = time.monotonic() - int(unit_state["ExecMainStartTimestampMonotonic"]) / 1e6
        found = Instance(
            wanted.port,
            conf=_read(conf_file(wanted.port)),
            dropin=_read(dropin),
            active=active,
            enabled=unit_state["UnitFileState"] == "enabled",
            started_at=time.time() - age if active else 0.0,
            installed_at=max(written, default=0.0),
            then=self.trial(wanted),
        )
        if not active or found.speaks_tls != self._desired.tls:
            return found
        with self._client(wanted.port) as client:
            return replace(found, now=_told(client), seat=self._seat(wanted.port, client))

    def trial(self, wanted: Wanted) -> Told:
        """Start a server with the wanted files, aside and for a moment, and ask it what it makes of them.

        What a server says of its settings and users is spelled in another way than they are given, and files
        that it cannot start with are refused here, before they are anywhere that an instance would read them.
        """
        with tempfile.TemporaryDirectory(prefix="redis-trial-") as folder:
            account = pwd.getpwnam(ACCOUNT)
            os.chown(folder, account.pw_uid, account.pw_gid)
            path = Path(folder)
            instead = TRIAL | {
                "dir": folder,
                "aclfile": str(path / "users.acl"),
                "pidfile": str(path / "pid"),
                "unixsocket": str(path / "socket"),
                "unixsocketperm": "700",
            }
            (path / "users.acl").write_text(self._desired.users_file())
            (path / "redis.conf").write_text(wanted.conf(instead))
            for name in ("redis.conf", "users.acl"):
                (path / name).chmod(0o600)
                os.chown(path / name, account.pw_uid, account.pw_gid)
            with (path / "log").open("wb") as log:
                process = subprocess.Popen(  # noqa: S603  # our own words
                    [PROGRAM, str(path / "redis.conf")],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=folder,
                    env={"PATH": os.environ.get("PATH", os.defpath)},
                    user=ACCOUNT,
                    group=ACCOUNT,
                    extra_groups=[],
                )
            try:
                told = self._told_by_trial(process, path, wanted)
            finally:
                process.kill()
                process.wait()
        # Where the trial was another one, the instance's own words are taken as they are.
        own = {name: str(wanted.settings.get(name, ABSENT.get(name, ""))) for name in instead}
        settings = {**told.settings, **own}
        if own["cluster-enabled"] == "yes":
            del settings["databases"]  # there is one, whatever its file says, and 7.0 still says 16
        return replace(told, settings=settings)

    def _told_by_trial(self, process: subprocess.Popen[bytes], path: Path, wanted: Wanted) -> Told:
        operator = self._logins[0]
        client = redis.Redis(
            unix_socket_path=str(path / "socket"),
            username=operator.user,
            password=operator.password,
            decode_responses=True,
            **_protocol(),
        )
        client.response_callbacks.clear()
        end = time.monotonic() + TRIAL_PATIENCE
        with client:
            while True:
                try:
                    return _told(client)
                except (RedisError, OSError) as error:
                    denied = any(word in str(error) for word in DENIED)
                    if process.poll() is None and not denied and time.monotonic() < end:
                        time.sleep(0.01)
                        continue
                    said = str(error) if denied else _last_words(path / "log")
                    raise Refusal(
                        f"{self._name}: redis-server would not run with the settings and users of the "
                        f"instance on port {wanted.port}: {said}. Nothing was changed.",
                        port=wanted.port,
                    ) from error

    def _seat(self, port: int, client: Any) -> Seat:
        replication = fields(client.execute_command("INFO", "replication"))
        role = "master" if replication["role"] == "master" else "replica"
        if fields(client.execute_command("INFO", "cluster")).get("cluster_enabled") != "1":
            return Seat(role, hostport(self._address, port), serves=role == "master")
        peers = parse_nodes(client.execute_command("CLUSTER", "NODES"))
        me = next(peer for peer in peers if "myself" in peer.flags)
        replicas = tuple(peer.addr for peer in peers if peer.master_id == me.id)
        return Seat(role, hostport(self._address, port), bool(me.slots), replicas)

    # -------------------------------------------------------------- apply

    def write_users(self, text: str) -> None:
        _write(USERS_FILE, text, ACCOUNT, 0o640)

    def write_conf(self, port: int, text: str) -> None:
        Path(data_dir(port)).mkdir(mode=0o750, exist_ok=True)
        os.chown(data_dir(port), pwd.getpwnam(ACCOUNT).pw_uid, grp.getgrnam(ACCOUNT).gr_gid)
        _write(conf_file(port), text, ACCOUNT, 0o640)

    def write_dropin(self, port: int, text: str) -> None:
        Path(dropin_file(port)).parent.mkdir(mode=0o755, exist_ok=True)
        _write(dropin_file(port), text, "root", 0o644)

    def reload_units(self) -> None:
        self._systemctl("daemon-reload")

    def enable(self, port: int) -> None:
        self._systemctl("enable", "--quiet", unit(port))

    def start(self, port: int) -> None:
        self._systemctl("start", unit(port))
        self._until(lambda: self._not_answering(port), f"the instance on port {port} is not ready")

    def command(self, port: int, *words: str) -> None:
        try:
            with self._client(port) as client:
                client.execute_command(*words)
        except RedisError as error:
            verb = " ".join(words[:2])
            raise Refusal(
                f"{self._name}: the instance on port {port} did not carry out {verb}: {error}.", port=port
            ) from error

    def fail_over(self, port: int) -> None:
        """Ask a replica that is in step to take over, and wait until this instance follows it."""
        self._until(
            lambda: self._others_unwell(port),
            f"not failing over the instance on port {port}",
            OTHERS_PATIENCE,
        )
        for _try in range(FAILOVER_TRIES):
            successor = self._successor(port)
            if successor is None:  # somebody else has done it
                return
            with connect(successor.ip, successor.port, self._logins[0]) as client:
                client.execute_command("CLUSTER", "FAILOVER")
            end = time.monotonic() + FAILOVER_PATIENCE
            while time.monotonic() < end:
                if not self._serves(port):
                    return
                time.sleep(PAUSE)
        raise Refusal(
            f"{self._name}: the replicas of the instance on port {port} did not take over in "
            f"{FAILOVER_TRIES * FAILOVER_PATIENCE:.0f} s. It was not restarted: look with "
            f"`journalctl -u {unit(port)}`.",
            port=port,
        )

    def retire(self, port: int) -> None:
        self._systemctl("disable", "--quiet", "--now", unit(port))

    def restart(self, port: int) -> None:
        # Never while anybody else is away, and never on what was seen before another step.
        self._until(
            lambda: self._others_unwell(port), f"not restarting the instance on port {port}", OTHERS_PATIENCE
        )
        if self._serves(port) and self._successor(port) is not None:
            self.fail_over(port)
        self._systemctl("restart", unit(port))
        self._until(
            lambda: self._not_answering(port) or self._out_of_step(port) or self._others_unwell(port),
            f"the instance on port {port} was restarted",
        )

    def _until(self, missing: Callable[[], str], what: str, patience: float | None = None) -> None:
        """Wait until nothing is missing any more, or refuse, naming what is."""
        patience = self._timeout if patience is None else patience
        end = time.monotonic() + patience
        while said := missing():
            if time.monotonic() > end:
                raise Refusal(f"{self._name}: {what}: {patience:.0f} s passed, and {said}.")
            time.sleep(PAUSE)

    def _not_answering(self, port: int) -> str:
        try:
            with self._client(port) as client:
                loading = fields(client.execute_command("INFO", "persistence")).get("loading")
        except (RedisError, OSError) as error:
            return f"it does not answer ({error})"
        return "it is loading its data" if loading == "1" else ""

    def _peers(self, port: int) -> tuple[Peer, ...]:
        """Return its cluster as it sees it; nothing outside of one."""
        with self._client(port) as client:
            if fields(client.execute_command("INFO", "cluster")).get("cluster_enabled") != "1":
                return ()
            return parse_nodes(client.execute_command("CLUSTER", "NODES"))

    def _serves(self, port: int) -> bool:
        return any("myself" in peer.flags and bool(peer.slots) for peer in self._peers(port))

    def _successor(self, port: int) -> Peer | None:
        """Return a replica that is in step with this instance; nothing when it has none at all."""
        peers = self._peers(port)
        me = next(peer for peer in peers if "myself" in peer.flags)
        replicas = [peer for peer in peers if peer.master_id == me.id]
        if not replicas:
            return None
        found: list[Peer] = []

        def missing() -> str:
            for peer in replicas:
                with suppress(RedisError, OSError), connect(peer.ip, peer.port, self._logins[0]) as client:
                    replication = fields(client.execute_command("INFO", "replication"))
                    if replication.get("master_link_status") == "up":
                        found.append(peer)
                        return ""
            return f"none of its replicas ({', '.join(peer.addr for peer in replicas)}) is in step"

        self._until(missing, f"not failing over the instance on port {port}")
        return found[0]

    def _others_unwell(self, port: int) -> str:
        """Say who else is away, or that slots are not served."""
        try:
            with self._client(port) as client:
                if fields(client.execute_command("INFO", "cluster")).get("cluster_enabled") != "1":
                    return ""
                peers = parse_nodes(client.execute_command("CLUSTER", "NODES"))
                state = fields(client.execute_command("CLUSTER", "INFO")).get("cluster_state")
        except (RedisError, OSError) as error:
            return f"it does not answer ({error})"
        others = [peer for peer in peers if "myself" not in peer.flags]
        if not others:
            return ""
        if away := [peer.addr for peer in others if peer.failing or not peer.connected]:
            return f"{', '.join(away)} is away: bring it back first"
        if state != "ok":
            return f"it reports cluster_state:{state}"
        for peer in others:
            try:
                with connect(peer.ip, peer.port, self._logins[0]) as client:
                    replication = fields(client.execute_command("INFO", "replication"))
                    seen = parse_nodes(client.execute_command("CLUSTER", "NODES"))
            except (RedisError, OSError) as error:
                return f"{peer.addr} does not answer ({error}): bring it back first"
            if replication.get("master_link_status", "up") != "up":
                return f"{peer.addr} is not in step with its master"
            if unseen := [each.addr for each in seen if each.failing or not each.connected]:
                return f"{peer.addr} does not see {', '.join(unseen)}"
        return ""

    def _out_of_step(self, port: int) -> str:
        try:
            with self._client(port) as client:
                replication = fields(client.execute_command("INFO", "replication"))
        except (RedisError, OSError) as error:
            return f"it does not answer ({error})"
        if replication.get("master_link_status", "up") != "up":
            return "it is not in step with its master"
        return ""

    # ------------------------------------------------------------ helpers

    def _client(self, port: int) -> Any:
        """Return a client that was let in."""
        for login in self._logins:
            client = connect(self._address, port, login)
            try:
                client.execute_command("PING")
            except RedisError as error:
                client.close()
                if any(word in str(error) for word in DENIED) and login != self._logins[-1]:
                    continue
                raise
            return client
        raise AssertionError("a login at least is given")

    def _systemctl(self, *arguments: str) -> str:
        status, output, errors = self._run(["systemctl", *arguments])
        if status:
            said = errors.strip().rstrip(".") or f"exit status {status}"
            raise Refusal(f"{self._name}: `systemctl {' '.join(arguments)}` failed: {said}.", rc=status)
        return output

    def _show_units(self, ports: Sequence[int]) -> list[dict[str, str]]:
        if not ports:
            return []
        wanted = "ActiveState,UnitFileState,NeedDaemonReload,ExecMainStartTimestampMonotonic"
        output = self._systemctl("show", f"--property={wanted}", *map(unit, ports))
        return [
            dict(line.split("=", 1) for line in block.splitlines()) for block in output.strip().split("\n\n")
        ]


def _protocol() -> dict[str, Any]:
    return {"protocol": 2} if int(redis.__version__.split(".")[0]) >= 5 else {}


def _told(client: Any) -> Told:
    reply = client.execute_command("CONFIG", "GET", "*")
    settings = dict(zip(reply[::2], reply[1::2], strict=True))
    return Told(settings, dict(map(parse_user, client.execute_command("ACL", "LIST"))))


def _last_words(log: Path) -> str:
    """Return why a server ended. The line that it quotes may hold a password."""
    lines = [
        line.strip()
        for line in log.read_text(errors="replace").splitlines()
        if line.strip() and not line.startswith((">>>", "***"))
    ]
    return "; ".join(lines[-2:]).rstrip(".") or "it says nothing"


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except FileNotFoundError:
        return None


def _write(path: str, text: str, owner: str, mode: int) -> None:
    """Replace a file in one step, so that a server that starts right now reads one or the other."""
    account = pwd.getpwnam(owner)
    handle, fresh = tempfile.mkstemp(prefix=".payaid-", dir=os.path.dirname(path))
    try:
        with os.fdopen(handle, "w") as file:
            os.fchown(handle, account.pw_uid, account.pw_gid)
            os.fchmod(handle, mode)
            file.write(text)
            file.flush()
            os.fsync(handle)
        os.replace(fresh, path)
    except BaseException:
        os.unlink(fresh)
        raise
