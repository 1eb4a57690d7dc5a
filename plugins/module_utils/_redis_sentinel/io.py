# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks all servers and sentinels, and tells those of this host. Knows nothing of plans."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._module import Run
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Impossible, Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.connection import (
    connect,
    fields,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import hostport
from ansible_collections.payaid.scaling.plugins.module_utils._redis_sentinel.model import (
    Desired,
    Known,
    Listed,
    Own,
    Sentinel,
    Server,
    State,
    Watch,
    in_motion,
    read_conf,
    shortcomings,
)

with suppress(ImportError):  # login.py keeps the reason, and begin_redis() says it
    from redis.exceptions import RedisError


PAUSE = 0.1  # s between two looks
HOLD_MS = 10000  # for how long writes are held back at most while another server takes over
PARALLEL = 16


class Replication:
    """The servers and sentinels of one run."""

    def __init__(
        self, run: Run, desired: Desired, login: Login, *, unit: str, files: Sequence[str], timeout: float
    ) -> None:
        self._run = run
        self._desired = desired
        self._login = login
        self._unit = unit
        # The first one is what the sentinel writes itself; all others make it old.
        self._conf, *self._files = files
        self._timeout = timeout

    # ------------------------------------------------------------ observe

    def observe(self) -> State:
        """Look; while sentinels are at it, look again, as long as the timeout allows."""
        end = time.monotonic() + self._timeout
        while in_motion(state := self.look()) and time.monotonic() < end:
            time.sleep(PAUSE)
        return state

    def verify(self) -> State:
        """Wait until this host's replicas are in step and its sentinel sees the others."""
        self._until(lambda: self._missing_here(self.look()), "The run changed what it should")
        return self.observe()

    def look(self) -> State:
        """Look once at everybody, side by side, so that one that does not answer delays no other."""
        with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
            servers = pool.map(self._server, self._desired.servers)
            sentinels = pool.map(self._sentinel, self._desired.sentinels)
            return State(tuple(servers), tuple(sentinels), self._own() if self._desired.mine else None)

    def _server(self, listed: Listed) -> Server:
        try:
            with connect(listed.host, listed.port, self._login) as client:
                said = fields(client.execute_command("INFO", "replication"))
                mode = fields(client.execute_command("INFO", "server"))["redis_mode"]
                keys = client.execute_command("DBSIZE")
        except (RedisError, OSError) as error:
            return Server(listed.addr, problem=str(error) or type(error).__name__)
        if mode != "standalone":
            return Server(listed.addr, problem=f"it runs as {mode}, and has to be restarted as standalone")
        follows = hostport(said["master_host"], int(said["master_port"])) if "master_host" in said else ""
        slaves = (value for name, value in said.items() if name.startswith("slave") and "ip=" in value)
        replicas = [dict(part.split("=", 1) for part in value.split(",")) for value in slaves]
        return Server(
            listed.addr,
            role="replica" if follows else "master",
            follows=follows,
            in_step=said.get("master_link_status") == "up",
            replicas=tuple(sorted(hostport(one["ip"], int(one["port"])) for one in replicas)),
            keys=int(keys),
            offset=int(said.get("slave_repl_offset" if follows else "master_repl_offset", "0")),
        )

    def _sentinel(self, listed: Listed) -> Sentinel:
        name = self._desired.name
        try:
            with connect(listed.host, listed.port, self._login) as client:
                masters = [pairs(one) for one in client.execute_command("SENTINEL", "MASTERS")]
                mine = next((one for one in masters if one["name"] == name), None)
                if mine is None:
                    return Sentinel(listed.addr)
                replicas, sentinels = (
                    tuple(map(known, client.execute_command("SENTINEL", kind, name)))
                    for kind in ("REPLICAS", "SENTINELS")
                )
                tilt = fields(client.execute_command("INFO", "sentinel"))["sentinel_tilt"] != "0"
                usable = _accepted(client, "SENTINEL", "CKQUORUM", name)
        except (RedisError, OSError) as error:
            return Sentinel(listed.addr, problem=str(error) or type(error).__name__)
        master = hostport(mine["ip"], int(mine["port"]))
        return Sentinel(
            listed.addr,
            watch=Watch(master, tuple(mine["flags"].split(",")), replicas, sentinels, usable),
            tilt=tilt,
        )

    def _own(self) -> Own:
        wanted = "ActiveState,UnitFileState,NeedDaemonReload,ExecMainStartTimestampMonotonic"
        output = self._systemctl("show", f"--property={wanted}", self._unit)
        shown = dict(line.split("=", 1) for line in output.strip().splitlines())
        active = shown["ActiveState"] == "active"
        # systemd's monotonic microseconds, carried over to the clock that files are dated by.
        age = time.monotonic() - int(shown["ExecMainStartTimestampMonotonic"]) / 1e6
        path = Path(self._conf)
        return Own(
            conf=read_conf(path.read_text() if path.exists() else "", self._desired.name),
            active=active,
            enabled=shown["UnitFileState"] == "enabled",
            unit_stale=shown["NeedDaemonReload"] == "yes",
            started_at=time.time() - age if active else 0.0,
            installed_at=max(map(_written_at, self._files), default=0.0),
        )

    # -------------------------------------------------------------- apply

    def reload_units(self) -> None:
        self._systemctl("daemon-reload")

    def enable(self) -> None:
        self._systemctl("enable", "--quiet", self._unit)

    def start(self) -> None:
        self._systemctl("start", self._unit)
        self._until(lambda: self._my_sentinel().problem, f"The sentinel {self._mine.addr} is not ready")

    def restart(self) -> None:
        self._until(self._sentinels_away, f"Not restarting the sentinel {self._mine.addr}")
        before = self._my_sentinel().watch
        self._systemctl("restart", self._unit)
        # It learns of the others from their greetings, two seconds apart, on the servers.
        self._until(lambda: self._lacking(before), f"The sentinel {self._mine.addr} was restarted")

    def follow(self, addr: str, master: str) -> None:
        (follower,) = (one for one in self._desired.servers if one.addr == addr)
        (followed,) = (one for one in self._desired.servers if one.addr == master)
        self._command(follower, "REPLICAOF", followed.host, str(followed.port))
        self._until(lambda: self._out_of_step(follower, followed), f"{addr} was made a replica")

    def tell(self, *words: str) -> None:
        self._command(self._mine, "SENTINEL", *words)

    def reset(self, gone: tuple[str, ...]) -> None:
        before = self._my_sentinel().watch
        if before is None:
            raise Impossible("before")
        self.tell("RESET", self._desired.name)
        stay = Watch(
            before.master,
            replicas=tuple(one for one in before.replicas if one.addr not in gone),
            sentinels=tuple(one for one in before.sentinels if one.addr not in gone),
        )
        self._until(
            lambda: self._lacking(stay), f"The sentinel {self._mine.addr} was let forget {', '.join(gone)}"
        )

    def hand_over(self, master: str) -> None:
        """Promote a replica without losing what was acknowledged.

        SENTINEL FAILOVER by itself promotes first and demotes the old master seconds later, and what that one
        accepts meanwhile is lost. So its writes are held back from before the promotion until it follows.
        """
        (old,) = (one for one in self._desired.servers if one.addr == master)
        self._until(lambda: self._unwell(self.look()), f"Not handing over from {master}")
        self._command(old, "CLIENT", "PAUSE", str(HOLD_MS), "WRITE")
        try:
            self._until(lambda: self._behind(old), f"Not handing over from {master}", HOLD_MS / 2000)
            # From here on anew: the pause must not end before the sentinels do.
            self._command(old, "CLIENT", "PAUSE", str(HOLD_MS), "WRITE")
            self._command(self._mine_or_first(), "SENTINEL", "FAILOVER", self._desired.name)
            self._until(lambda: self._same_master(master), f"Not handed over from {master}", HOLD_MS / 1250)
            (now,) = (one for one in self._desired.servers if one.addr == self._named_master())
            self._command(old, "REPLICAOF", now.host, str(now.port))
        finally:
            self._command(old, "CLIENT", "UNPAUSE")
        # They hold on to a replica otherwise; the sentinels do the same to a master that they demote.
        self._command(old, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self._until(lambda: self._unwell(self.observe()), f"Handed over from {master}")

    # ------------------------------------------------------------ helpers

    @property
    def _mine(self) -> Listed:
        mine = self._desired.mine
        if mine is None:
            raise Impossible("mine")
        return mine

    def _mine_or_first(self) -> Listed:
        return self._desired.mine or self._desired.sentinels[0]

    def _my_sentinel(self) -> Sentinel:
        return self._sentinel(self._mine)

    def _lacking(self, wanted: Watch | None) -> str:
        """Say whom this host's sentinel does not see, of those that it saw before."""
        now = self._my_sentinel()
        if now.problem or wanted is None or now.watch is None:
            return now.problem
        return lacking(now.watch, wanted)

    def _missing_here(self, state: State) -> str:
        """Say what is not yet as the steps of this host made it."""
        for server in state.servers:
            if self._desired.local(server.addr) and not (server.is_master or server.in_step):
                return f"{server.addr} is not in step ({server.problem or 'its link is not up'})"
        mine = self._desired.mine
        if mine is None:
            return ""
        watch = next((one.watch for one in state.watching if one.addr == mine.addr), None)
        if watch is None:
            return f"the sentinel {mine.addr} watches nothing"
        if flags := {"s_down", "o_down", "disconnected"} & set(watch.flags):
            return f"the sentinel {mine.addr} sees its master as {','.join(sorted(flags))}"
        others = tuple(Known(one.addr) for one in state.watching if one.addr != mine.addr)
        following = [one for one in state.servers if one.follows == watch.master and one.in_step]
        replicas = tuple(Known(one.addr) for one in following)
        return lacking(watch, Watch(watch.master, replicas=replicas, sentinels=others))

    def _unwell(self, state: State) -> str:
        return "; ".join(shortcomings(state, self._desired))

    def _sentinels_away(self) -> str:
        away = [one for one in self.look().sentinels if one.problem and one.addr != self._mine.addr]
        return f"{away[0].addr} does not answer ({away[0].problem})" if away else ""

    def _out_of_step(self, follower: Listed, followed: Listed) -> str:
        now = self._server(follower)
        if now.problem:
            return f"it does not answer ({now.problem})"
        up = now.follows == followed.addr and now.in_step
        return "" if up else f"its link to {followed.addr} is not up"

    def _behind(self, master: Listed) -> str:
        """Say that no replica has all that the master has; with its writes held back, that is final."""
        servers = {one.addr: self._server(one) for one in self._desired.servers}
        mine = servers[master.addr].offset
        level = [one for one in servers.values() if one.follows == master.addr and one.offset >= mine]
        return "" if level else f"no replica has all {mine} bytes of what it has written"

    def _named_master(self) -> str:
        with connect(self._mine_or_first().host, self._mine_or_first().port, self._login) as client:
            host, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._desired.name)
        return hostport(host, int(port))

    def _same_master(self, master: str) -> str:
        return f"the sentinels still take {master} for it" if self._named_master() == master else ""

    def _until(self, missing: Callable[[], str], what: str, timeout: float | None = None) -> None:
        """Wait until nothing is missing any more, or refuse, naming what is."""
        patience = self._timeout if timeout is None else timeout
        end = time.monotonic() + patience
        while said := missing():
            if time.monotonic() > end:
                raise Refusal(f"{what}: {patience:.0f} s passed, and {said}.", missing=said)
            time.sleep(PAUSE)

    def _command(self, node: Listed, *words: str) -> None:
        try:
            with connect(node.host, node.port, self._login) as client:
                client.execute_command(*words)
        except (RedisError, OSError) as error:
            verb = " ".join(words[:3] if words[:2] == ("SENTINEL", "CONFIG") else words[:2])
            raise Refusal(f"{node.addr} did not carry out {verb}: {error}.", node=node.addr) from error

    def _systemctl(self, *arguments: str) -> str:
        status, output, errors = self._run(["systemctl", *arguments])
        if status:
            said = errors.strip().rstrip(".") or f"exit status {status}"
            raise Refusal(f"`systemctl {' '.join(arguments)}` failed: {said}.", rc=status)
        return output


def _written_at(path: str) -> float:
    return os.stat(path).st_ctime if os.path.exists(path) else 0.0


def _accepted(client: Any, *words: str) -> bool:
    try:
        client.execute_command(*words)
    except RedisError as error:
        if not str(error).startswith("NOQUORUM"):
            raise
        return False
    return True


def pairs(flat: Sequence[str]) -> dict[str, str]:
    """Read a reply of names and values."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def known(flat: Sequence[str]) -> Known:
    said = pairs(flat)
    addr = hostport(said["ip"], int(said["port"]))
    return Known(addr, tuple(said["flags"].split(",")), said.get("role-reported", ""))


def lacking(now: Watch, wanted: Watch) -> str:
    """Say whom a sentinel does not see that it should."""
    here = {one.addr for one in (*now.replicas, *now.sentinels) if not one.away}
    missing = sorted({one.addr for one in (*wanted.replicas, *wanted.sentinels)} - here)
    return f"it does not see {', '.join(missing)}" if missing else ""
