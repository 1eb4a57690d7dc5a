# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""nginx on this host: its file of servers, its workers, and its connections to servers that are left."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path

from ansible_collections.payaid.scaling.plugins.module_utils._nginx.model import State, Wanted
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal

NGINX = "/usr/sbin/nginx"
SYSTEMCTL = "/usr/bin/systemctl"
UNIT = "nginx.service"
# By itself an upstream is a configuration that can be tried: a wrong word or a name that nobody knows shows.
ALONE = "pid {0}/pid; error_log stderr; events {{}} http {{ access_log off; include {0}/upstream.conf; }}"
ESTABLISHED = "01"
TICK = 0.02  # s; a process's start is only known to 10 ms
PAUSE = 0.05  # s between two looks


class Nginx:
    """One nginx, and one file of it."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.host = platform.node()
        self.path = Path(wanted.path)
        self._before: bytes | None = None
        asked = wanted.servers is not None or self.path.exists()
        if asked and not os.access(NGINX, os.X_OK):
            raise Refusal(f"{self.host}: {NGINX} is missing: install nginx.")

    # -- observing

    def observe(self) -> State:
        found = self.path.read_text() if self.path.exists() else None
        content = self.wanted.text(found)
        return State(
            host=self.host,
            content=found,
            problem="" if content is None else self._try(content),
            running=self._master() is not None,
            loaded=self._loaded(),
        )

    def _try(self, content: str) -> str:
        """Return what nginx has to say against a file of servers, taken by itself."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "upstream.conf").write_text(content)
            alone = Path(folder, "nginx.conf")
            alone.write_text(ALONE.format(folder))
            return complaint(alone)

    def _master(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            pid = int(Path(self.wanted.pid_file).read_text())
            if Path(f"/proc/{pid}/comm").read_text().strip() == "nginx":
                return pid
        return None

    def _workers(self) -> dict[int, float]:
        """Return the workers that take connections, and when each was started, in seconds since the epoch."""
        found: dict[int, float] = {}
        if (master := self._master()) is None:
            return found
        # Not from the boot time that the kernel tells: that is in whole seconds.
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        with contextlib.suppress(OSError):
            for child in map(int, Path(f"/proc/{master}/task/{master}/children").read_text().split()):
                with contextlib.suppress(OSError):
                    title = Path(f"/proc/{child}/cmdline").read_text()
                    fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                    if title.startswith("nginx: worker process") and "shutting down" not in title:
                        found[child] = booted + int(fields[19]) / os.sysconf("SC_CLK_TCK")
        return found

    def _loaded(self) -> bool:
        if not self.path.exists():
            return True
        written = self.path.stat().st_mtime
        return all(started >= written for started in self._workers().values())

    # -- doing

    def write(self, content: str) -> None:
        self._before = self.path.read_bytes() if self.path.exists() else None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._put(content.encode())

    def _put(self, content: bytes) -> None:
        """Replace the file by rename, so that nginx reads the old one or the new one."""
        new = self.path.with_name(f".{self.path.name}.new")
        with new.open("wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)

    def reload(self) -> None:
        if said := complaint(Path(self.wanted.config)):
            self._take_back()
            raise Refusal(
                f"{self.host}: nginx does not take its configuration as a whole ({said}): correct it, and "
                "run again; its servers are as they were."
            )
        time.sleep(TICK)
        before, master = self._workers(), self._master()
        if master is None:
            raise Refusal(f"{self.host}: nginx has ended meanwhile: see its error log, and run again.")
        self._tell(master)
        deadline = time.monotonic() + self.wanted.reload_timeout
        while not (now := self._workers()) or before.keys() & now.keys():
            if time.monotonic() > deadline:
                raise Refusal(
                    f"{self.host}: nginx has not taken up its configuration within reload_timeout="
                    f"{self.wanted.reload_timeout} s: see its error log, and run again."
                )
            time.sleep(PAUSE)

    def _tell(self, master: int) -> None:
        """Have nginx reload: by its unit, which may tell its clients first, where that is what runs it."""
        if not runs_in(UNIT, master):
            os.kill(master, signal.SIGHUP)
            return
        done = subprocess.run(  # noqa: S603  # constants
            [SYSTEMCTL, "reload", UNIT], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Refusal(
                f"{self.host}: systemctl reload {UNIT} failed ({done.stderr.strip()}): see journalctl -u "
                f"{UNIT}, and run again."
            )

    def _take_back(self) -> None:
        if self._before is None:
            return
        self._put(self._before)
        # The workers have read it, long ago.
        started = min(self._workers().values(), default=time.time())
        os.utime(self.path, (started - 1, started - 1))

    # -- draining

    def open_connections(self) -> dict[str, int]:
        """Count the connections from here to each server that is drained."""
        return {address: connections_to(address) for address in self.wanted.drained}

    def await_drained(self) -> dict[str, int]:
        """Wait until nobody speaks through here to what is drained, as long as drain_timeout allows."""
        deadline = time.monotonic() + self.wanted.drain_timeout
        while any((found := self.open_connections()).values()) and time.monotonic() < deadline:
            time.sleep(PAUSE)
        return found


def runs_in(unit: str, process: int) -> bool:
    """Return whether systemd runs a process as part of that unit."""
    with contextlib.suppress(OSError):
        # A line for each hierarchy of control groups; where there are several, only some know units.
        return any(
            line.endswith(f"/{unit}") for line in Path(f"/proc/{process}/cgroup").read_text().splitlines()
        )
    return False


def complaint(config: Path) -> str:
    """Return what nginx has to say against a configuration, and nothing if it takes it."""
    done = subprocess.run(  # noqa: S603  # a constant and a path
        [NGINX, "-t", "-q", "-c", str(config)], capture_output=True, text=True, check=False
    )
    if not done.returncode:
        return ""
    lines = [line for line in done.stderr.splitlines() if "[emerg]" in line] or done.stderr.splitlines()
    return lines[0].rpartition("[emerg] ")[2] if lines else f"status {done.returncode}"


def connections_to(address: str) -> int:
    """Count this host's established connections to a server, whoever of its processes has them."""
    host, _colon, port = address.rpartition(":")
    remote = {
        f"{kernel_address(family, place[0])}:{int(port):04X}"
        for family, _type, _protocol, _name, place in socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM
        )
    }
    count = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):
            rows = Path(table).read_text().splitlines()[1:]
            fields = (row.split() for row in rows)
            count += sum(row[2] in remote and row[3] == ESTABLISHED for row in fields)
    return count


def kernel_address(family: int, host: str | int) -> str:
    """Write an address as the kernel's tables do: in words of 32 bits, each in the machine's byte order."""
    packed = socket.inet_pton(family, str(host))
    return "".join(f"{word:08X}" for word in struct.unpack(f"={len(packed) // 4}I", packed))
