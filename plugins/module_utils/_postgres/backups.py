# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the repository of pgBackRest holds of one cluster, as `pgbackrest info` says it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

# What `pgbackrest info` says of a stanza that it could look at: all is well, there is none, it has no backup,
# its files are missing, its repositories differ.
READABLE = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Backup:
    """One backup in the repository."""

    label: str
    stop: float
    size: int
    # Where it ends: a copy that is restored is of use only where WAL has come so far.
    timeline: int = 0
    stop_lsn: str = ""

    @property
    def stopped(self) -> str:
        return datetime.fromtimestamp(self.stop).astimezone().isoformat(" ", "seconds")


@dataclass(frozen=True)
class Repository:
    """The backups and the WAL of a stanza."""

    stanza: str
    # Why it could not be read; all else is unknown then.
    problem: str = ""
    # 0 where there is no such stanza.
    version: int = 0
    system_identifier: str = ""
    backups: tuple[Backup, ...] = ()
    # Names of the first and the last file of WAL.
    oldest_wal: str = ""
    newest_wal: str = ""


def repository_from_info(stanza: str, said: str) -> Repository:
    """Parse what `pgbackrest --output=json info` prints of one stanza."""
    try:
        (found,) = json.loads(said)
        if found["status"]["code"] not in READABLE:
            return Repository(stanza, problem=_complaint(found))
        if not found["db"]:
            return Repository(stanza)
        # The last one; what is older was left behind by an upgrade of PostgreSQL.
        now = found["db"][-1]
        wal: dict[str, Any] = next(
            (one for one in found["archive"] if one["database"]["id"] == now["id"]), {}
        )
        return Repository(
            stanza,
            version=int(now["version"]),
            system_identifier=str(now["system-id"]),
            backups=tuple(_backup(one) for one in found["backup"] if one["database"]["id"] == now["id"]),
            oldest_wal=wal.get("min") or "",
            newest_wal=wal.get("max") or "",
        )
    except (ValueError, KeyError, TypeError) as error:
        return Repository(stanza, problem=f"pgbackrest info printed something unknown: {error}")


def _backup(one: dict[str, Any]) -> Backup:
    return Backup(
        label=one["label"],
        stop=float(one["timestamp"]["stop"]),
        size=int(one["info"]["size"]),
        timeline=int(one["archive"]["stop"][:8], 16) if one["archive"]["stop"] else 0,
        stop_lsn=one["lsn"]["stop"] or "",
    )


def _complaint(found: dict[str, Any]) -> str:
    """Return why a stanza cannot be read, which is told of its repositories."""
    told = [found["status"], *(one["status"] for one in found["repo"])]
    first_lines = [str(status["message"]).strip().partition("\n")[0] for status in told if status["code"]]
    return first_lines[-1]
