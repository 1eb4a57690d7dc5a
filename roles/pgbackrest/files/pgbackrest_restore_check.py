# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Restores the last backup to a scratch folder, starts a server on it that nobody can reach, and reads it.

Says in JSON what was read, and fails with one sentence otherwise. The scratch folder is removed in any case;
what a killed run has left of it is removed by the next one.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

CONFIG = "/etc/pgbackrest-check.conf"
MARK = "scratch-of-pgbackrest-restore-check"
# A server refuses to replay WAL with less of these than the server had that wrote it.
LIMITS = re.compile(
    r"^(max_connections|max_worker_processes|max_wal_senders|max_prepared_xacts|max_locks_per_xact)"
    r" setting: +(\d+)$",
    re.MULTILINE,
)
RENAMED = {
    "max_prepared_xacts": "max_prepared_transactions",
    "max_locks_per_xact": "max_locks_per_transaction",
}


class Failure(Exception):  # noqa: N818  # it reads as what it is
    """The backup did not prove that it restores."""


def run(argv: Sequence[str]) -> str:
    """Run a command and return its output."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")  # noqa: S603
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise Failure(f"{Path(argv[0]).name} failed: {' / '.join(said[-5:]) or done.returncode}")
    return done.stdout


class Check:
    """One restore to the scratch folder, and the server that reads it."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.wanted = wanted
        self.bin = wanted["bin_dir"]
        self.scratch = Path(wanted["path"])
        self.data = self.scratch / "data"
        self.backrest = ["/usr/bin/pgbackrest", f"--config={CONFIG}", f"--stanza={wanted['stanza']}"]

    def last_backup(self) -> dict[str, Any]:
        """Return the newest backup, if it is new enough."""
        (stanza,) = json.loads(run([*self.backrest, "--output=json", "info"]))
        if not stanza["backup"]:
            raise Failure(f"there is no backup of {self.wanted['stanza']}: {stanza['status']['message']}")
        last: dict[str, Any] = stanza["backup"][-1]
        hours = (time.time() - last["timestamp"]["stop"]) / 3600
        if hours > self.wanted["max_age_hours"]:
            raise Failure(
                f"the last backup, {last['label']}, is {hours:.0f} hours old: see why no newer one was taken "
                "(journalctl -u 'pgbackrest-backup@*')"
            )
        return last

    def prepare(self, size: int) -> None:
        """Make the scratch folder anew."""
        self.remove()
        free = shutil.disk_usage(self.scratch.parent).free
        if free < size * 1.1:
            raise Failure(
                f"{self.scratch.parent} has {free >> 20} MB free and the backup needs {size >> 20}: set "
                "pgbackrest_check_path to a larger disk"
            )
        self.scratch.mkdir(mode=0o700)
        (self.scratch / MARK).touch()
        for folder in ("data", "lock", "socket"):
            (self.scratch / folder).mkdir(mode=0o700)

    def remove(self) -> None:
        """Take away what this program, and nobody else, has made."""
        if not self.scratch.exists():
            return
        if not (self.scratch / MARK).exists():
            raise Failure(
                f"{self.scratch} is not of this check: set pgbackrest_check_path to a folder that is free"
            )
        if (self.data / "postmaster.pid").exists():
            # No result is wanted: what a killed run has left may be a server, or only its file.
            self.control("stop", "-m", "immediate")
        shutil.rmtree(self.scratch)

    def control(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [f"{self.bin}/pg_ctl", "-D", str(self.data), "-s", "-w", *arguments]
        return subprocess.run(argv, capture_output=True, text=True, check=False, cwd="/")  # noqa: S603

    def restore(self, label: str) -> None:
        """Restore that backup; with the WAL of the archive, of which the copy must write none itself."""
        run([*self.backrest, f"--set={label}", "--archive-mode=off", "restore"])

    def start(self) -> None:
        """Start a server on the copy, for its own account and over a socket alone."""
        found = run([f"{self.bin}/pg_controldata", str(self.data)])
        settings = {RENAMED.get(name, name): value for name, value in LIMITS.findall(found)}
        settings |= {
            "listen_addresses": "",
            "unix_socket_directories": str(self.scratch / "socket"),
            "hba_file": str(self.scratch / "pg_hba.conf"),
            "shared_preload_libraries": "",
            "ssl": "off",
            "fsync": "off",
        }
        (self.scratch / "pg_hba.conf").write_text("local all all peer\n")
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        # Debian keeps the server's own files elsewhere, so the copy has none.
        (self.scratch / "postgresql.conf").write_text("".join(lines))
        (self.scratch / "pg_ident.conf").touch()
        options = f"-c config_file={self.scratch}/postgresql.conf -c ident_file={self.scratch}/pg_ident.conf"
        log = self.scratch / "server.log"
        limit = str(self.wanted["timeout"])
        if self.control("start", "-t", limit, "-l", str(log), "-o", options).returncode:
            said = [
                line
                for line in log.read_text(errors="replace").splitlines()
                if "FATAL" in line or "PANIC" in line
            ]
            raise Failure(f"no server starts on the restored backup: {(said or ['it says nothing'])[-1]}")
        deadline = time.monotonic() + self.wanted["timeout"]
        while self.ask("postgres", "SELECT pg_is_in_recovery()") != [["f"]]:
            if time.monotonic() > deadline:
                raise Failure(
                    f"the WAL of the archive was not replayed within {limit} s (pgbackrest_check_timeout)"
                )
            time.sleep(0.5)

    def ask(self, database: str, query: str) -> list[list[str]]:
        """Ask the server on the copy."""
        argv = [f"{self.bin}/psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", "-F", "\t"]
        said = run([*argv, "-h", str(self.scratch / "socket"), "-d", database, "-c", query])
        return [line.split("\t") for line in said.splitlines()]

    def read(self) -> dict[str, Any]:
        """Read the catalogue of every database, what was asked for, and every page."""
        databases = {}
        for (name,) in self.ask("postgres", "SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1"):
            ((tables, size),) = self.ask(
                name,
                "SELECT count(*), coalesce(sum(pg_table_size(oid)), 0) FROM pg_class WHERE relkind = 'r'",
            )
            databases[name] = {"tables": int(tables), "table_bytes": int(size)}
        answers = []
        for asked in self.wanted["queries"]:
            rows = self.ask(asked["database"], asked["query"])
            if not rows:
                raise Failure(f"in the restored {asked['database']} there is no row for: {asked['query']}")
            answers.append({**asked, "rows": rows})
        if self.wanted["amcheck"]:
            socket = str(self.scratch / "socket")
            run([f"{self.bin}/pg_amcheck", "-w", "-h", socket, "--all", "--install-missing"])
        return {"databases": databases, "queries": answers, "amcheck": self.wanted["amcheck"]}

    def __call__(self) -> dict[str, Any]:
        began = time.monotonic()
        last = self.last_backup()
        try:
            self.prepare(last["info"]["size"])
            self.restore(last["label"])
            restored = time.monotonic()
            self.start()
            started = time.monotonic()
            found = self.read()
        finally:
            self.remove()
        return {
            "backup": last["label"],
            "backup_age_seconds": round(time.time() - last["timestamp"]["stop"]),
            "bytes": last["info"]["size"],
            **found,
            "seconds": {
                "restore": round(restored - began, 1),
                "replay": round(started - restored, 1),
                "read": round(time.monotonic() - started, 1),
            },
        }


def leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
    # A row may hold what only the owner of the data may read.
    os.umask(0o077)
    check = Check(json.loads(Path(sys.argv[1]).read_text()))
    try:
        print(json.dumps(check()))
    except Failure as failure:
        sys.exit(f"{platform.node()}: {failure}.")


if __name__ == "__main__":
    main()
