# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files, processes and services of this host, as the user that owns the clusters."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
import pwd
import shlex
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Place
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import first_line, last_complaint

OWNER = "postgres"
SECONDS_TO_QUIT = 10
# The child waits for a line before it becomes the command, so that its number is on disk before it does
# anything; when we die first, it reads the end of the file and is gone.
GATE = 'read -r go && exec "$@"'


class System:
    """What a process of the clusters' owner can do here."""

    def __init__(self) -> None:
        self.host = platform.node()
        try:
            owner = pwd.getpwnam(OWNER)
        except KeyError as error:
            raise Refusal(
                f"{self.host}: there is no user {OWNER}: install Debian's postgresql-common."
            ) from error
        self.uid, self.gid = owner.pw_uid, owner.pw_gid
        if os.geteuid() not in (0, self.uid):
            raise Refusal(f"{self.host}: this needs root or {OWNER}: set become to true.")
        # The owner's other groups count: ssl-cert lets the server read Debian's default key.
        self.groups = os.getgrouplist(OWNER, self.gid)
        self.environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}

    # -- processes

    def run(
        self, argv: Sequence[str], *, feed: str = "", timeout: float | None = None, as_root: bool = False
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as the owner, from a folder the owner may enter."""
        drop = os.geteuid() == 0 and not as_root
        try:
            return subprocess.run(  # noqa: S603  # a list of arguments, never a shell line
                argv,
                input=feed,
                capture_output=True,
                text=True,
                timeout=timeout,
                check=False,
                cwd="/",
                env=self.environment,
                user=self.uid if drop else None,
                group=self.gid if drop else None,
                extra_groups=self.groups if drop else None,
            )
        except FileNotFoundError as error:
            raise self.missing(argv[0]) from error

    def start_gated(self, argv: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own; it begins once a line is written to its input."""
        if not Path(argv[0]).exists():
            raise self.missing(argv[0])
        drop = os.geteuid() == 0
        return subprocess.Popen(  # noqa: S603  # the shell line is a constant; the arguments stay a list
            ["/bin/sh", "-c", GATE, "sh", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd="/",
            env=self.environment,
            user=self.uid if drop else None,
            group=self.gid if drop else None,
            extra_groups=self.groups if drop else None,
            start_new_session=True,
        )

    @staticmethod
    def open_gate(process: subprocess.Popen[bytes]) -> None:
        """Let a command that was started gated begin."""
        if process.stdin is None:
            raise ValueError("The command was not started gated.")
        process.stdin.write(b"go\n")
        process.stdin.close()

    def missing(self, program: str) -> Refusal:
        version = next((part for part in program.split("/") if part.isdigit()), "")
        package = f"postgresql-{version}" if version else "postgresql-common"
        if program.endswith("/pgbackrest"):
            package = "pgbackrest"
        return Refusal(f"{self.host}: {program} is missing: install {package}.")

    def owns_process(self, number: str) -> bool:
        """Tell whether the clusters' owner has a process of this number, be it one that has just ended."""
        try:
            return os.stat(f"/proc/{number}").st_uid == self.uid
        except FileNotFoundError:
            return False

    # -- files. The owner could plant a link at any of these names, so nothing is written through one.

    def make_dir(self, path: str, mode: int = 0o755) -> None:
        """Create a directory, and its parents, that belong to the owner."""
        if os.path.isdir(path):
            return
        self.make_dir(os.path.dirname(path))
        os.mkdir(path, mode)
        self._own(path)
        sync_dir(os.path.dirname(path))

    def write(self, path: str, content: str, mode: int) -> None:
        """Replace a file by rename, so that a reader sees the old one or the new one.

        The new one has the same name every time, so that the next run takes what a killed one has left of it.
        """
        folder, name = os.path.split(path)
        self.make_dir(folder)
        temporary = os.path.join(folder, f".{name}.new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as out:
                out.write(content)
                out.flush()
                os.fchmod(out.fileno(), mode)
                if os.geteuid() == 0:
                    os.fchown(out.fileno(), self.uid, self.gid)
                os.fsync(out.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise
        sync_dir(folder)

    def holds(self, path: str, content: str, mode: int) -> bool:
        """Tell whether a file has this content, mode and owner already."""
        try:
            found = os.lstat(path)
            return (
                stat.S_ISREG(found.st_mode)
                and stat.S_IMODE(found.st_mode) == mode
                and found.st_uid == self.uid
                and read(path) == content
            )
        except FileNotFoundError:
            return False

    def _own(self, path: str) -> None:
        if os.geteuid() == 0:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    @contextlib.contextmanager
    def alone(self, path: str) -> Iterator[None]:
        """Hold off a second run: it would take our base backup for an orphan. The lock dies with us."""
        folder = existing_ancestor(path)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise Refusal(
                f"{self.host}: another run is at work in {folder}: wait until it has ended, and run again."
            ) from error
        finally:
            os.close(handle)


def read(path: str) -> str:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def read_or_empty(path: str) -> str:
    try:
        return read(path)
    except FileNotFoundError:
        return ""


def read_from(path: str, offset: int) -> str:
    """Read what was appended to a log since it had this size."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def size_of(path: str) -> int:
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0


def tree_size(path: str) -> int:
    """Sum up a directory that may be shrinking or growing meanwhile."""
    total = 0
    for folder, _folders, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


def remove_tree(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def empty_dir(path: str) -> None:
    """Remove what is in a directory, and leave the directory, which may be a mount point."""
    for name in os.listdir(path):
        inside = os.path.join(path, name)
        if os.path.isdir(inside) and not os.path.islink(inside):
            shutil.rmtree(inside)
        else:
            os.unlink(inside)


def sync_dir(path: str) -> None:
    """Make a rename in a directory outlast a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def existing_ancestor(path: str) -> str:
    folder = os.path.dirname(path)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


# --- Processes that were recorded --------------------------------------------------------------------


@dataclass(frozen=True)
class Process:
    """A process number is used again; with the boot and the start time it names one process for good."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        fields = _stat(pid)
        return cls(pid, int(fields[19])) if fields and fields[0] != "Z" else None

    def lives(self) -> bool:
        return Process.of(self.pid) == self

    def session(self) -> tuple[Process, ...]:
        """Return the members of the session it leads; only while the leader lives is that surely ours."""
        found = []
        for name in os.listdir("/proc"):
            fields = _stat(int(name)) if name.isdigit() else None
            if fields and fields[0] != "Z" and int(fields[3]) == self.pid:
                found.append(Process(int(name), int(fields[19])))
        return tuple(found) if self.lives() else ()


def _stat(pid: int) -> list[str] | None:
    """Return the fields of /proc/PID/stat from the state on; the name before them may hold anything."""
    try:
        return read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def boot_id() -> str:
    return read("/proc/sys/kernel/random/boot_id").strip()


def end(processes: Sequence[Process], patience: float = 5) -> None:
    """End exactly these processes: politely first, then for certain."""
    for number, wait in ((signal.SIGTERM, patience), (signal.SIGKILL, patience)):
        for process in processes:
            if process.lives():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, number)
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline and any(process.lives() for process in processes):
            time.sleep(0.1)


def quit_server(host: str, place: Place, pid: int) -> None:
    """End a server at once, without a checkpoint; it recovers from its WAL at the next start."""
    process = Process.of(pid)
    if process is None:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGQUIT)
    deadline = time.monotonic() + SECONDS_TO_QUIT
    while process.lives():
        if time.monotonic() > deadline:
            raise Refusal(f"{host}: {place.name} does not end: see to process {pid}.")
        time.sleep(0.02)


@contextlib.contextmanager
def ended_on_exit(process: subprocess.Popen[bytes]) -> Iterator[Process]:
    """Take the process and its children along when this run ends, by an error or by a signal."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    leader = Process.of(process.pid)
    try:
        if leader is None:
            raise Refusal(f"{platform.node()}: the base backup could not be started.")
        yield leader
    finally:
        # Until it is waited for, the leader keeps its number, and with it the group's.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for number, handler in before.items():
            signal.signal(number, handler)


# --- Services ----------------------------------------------------------------------------------------


class Service(Protocol):
    """Whatever starts and stops the server of one cluster."""

    @property
    def log(self) -> str:
        """Return where the server writes why it failed."""

    def start(self) -> None:
        """Return when the server was started, or has failed to."""

    def stop(self) -> None:
        """Return when the server has ended in good order, or has failed to."""


@dataclass(frozen=True)
class SystemdUnit:
    """Debian's postgresql@VERSION-CLUSTER.service, which itself waits for as long as it takes."""

    system: System
    place: Place
    timeout: int

    @property
    def log(self) -> str:
        return f"/var/log/postgresql/postgresql-{self.place.version}-{self.place.cluster}.log"

    def start(self) -> None:
        unit, before = self.place.unit, size_of(self.log)
        # A cluster that failed to start a few times is otherwise refused by systemd itself.
        self._systemctl("reset-failed", unit)
        done = self._systemctl("start", unit)
        if done.returncode:
            raise failed(self.system, self.place, "did not start", self.log, before, done.stderr)

    def stop(self) -> None:
        before = size_of(self.log)
        done = self._systemctl("stop", self.place.unit, timeout=self.timeout)
        if done.returncode:
            raise failed(self.system, self.place, "did not stop", self.log, before, done.stderr)

    def _systemctl(self, *words: str, timeout: float | None = None) -> subprocess.CompletedProcess[str]:
        argv = ["/usr/bin/systemctl", *words]
        try:
            return self.system.run(argv, as_root=True, timeout=timeout)
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess(argv, 1, "", f"it is still at it after {timeout:g} s")


@dataclass(frozen=True)
class PgCtl:
    """The server's own starter, for a cluster that no systemd unit knows."""

    system: System
    place: Place
    timeout: int

    @property
    def log(self) -> str:
        return f"{self.place.data_dir}.log"

    def start(self) -> None:
        option = shlex.join(["-c", f"config_file={self.place.config_file}"])
        self._pg_ctl("did not start", "start", "-l", self.log, "-o", option)

    def stop(self) -> None:
        self._pg_ctl("did not stop", "stop", "-m", "fast")

    def _pg_ctl(self, otherwise: str, *words: str) -> None:
        before = size_of(self.log)
        argv = [f"{self.place.bin_dir}/pg_ctl", *words, "-D", self.place.data_dir, "-s", "-w"]
        done = self.system.run([*argv, "-t", str(self.timeout)])
        if done.returncode:
            raise failed(self.system, self.place, otherwise, self.log, before, done.stderr)


def failed(system: System, place: Place, how: str, log: str, offset: int, errors: str) -> Refusal:
    why = last_complaint(read_from(log, offset)) or first_line(errors)
    return Refusal(f"{system.host}: {place.name} {how}: {why} (see {log}).")


def service_for(system: System, place: Place, timeout: int) -> Service:
    """Choose systemd where it runs and knows the cluster."""
    if place.debian_layout and os.path.isdir("/run/systemd/system"):
        return SystemdUnit(system, place, timeout)
    return PgCtl(system, place, timeout)
