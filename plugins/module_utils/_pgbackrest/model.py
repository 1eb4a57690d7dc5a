# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wanted of a restore, and what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.backups import Backup

Until = Literal["latest", "time", "name"]
Part = Literal["all", "copy", "set_aside"]
OldData = Literal["keep", "remove"]
# The copy is complete; it is in its place, or about to be renamed to it; the server takes writes.
Phase = Literal["copied", "restored", "done"]


@dataclass(frozen=True)
class Desired:
    """The options of the module."""

    name: str
    version: int
    cluster: str
    port: int
    stanza: str
    part: Part
    until: Until
    target: str | None
    timeline: str | None
    backup: str | None
    old_data: OldData
    min_free_pct: int
    timeout: int

    @classmethod
    def from_params(cls, params: Mapping[str, Any]) -> Desired:
        return cls(**{field.name: params[field.name] for field in fields(cls)})

    @property
    def data_dir(self) -> str:
        return f"/var/lib/postgresql/{self.version}/{self.cluster}"

    @property
    def aside(self) -> str:
        return f"{self.data_dir}.before-{self.name}"

    @property
    def staging(self) -> str:
        return f"{self.data_dir}.restoring"

    @property
    def record(self) -> str:
        return f"{self.data_dir}.restore.json"

    @property
    def unit(self) -> str:
        return f"postgresql@{self.version}-{self.cluster}.service"

    @property
    def log(self) -> str:
        return f"/var/log/postgresql/postgresql-{self.version}-{self.cluster}.log"

    @property
    def bin_dir(self) -> str:
        return f"/usr/lib/postgresql/{self.version}/bin"

    @property
    def request(self) -> tuple[str, ...]:
        """Return what tells one restore from another, whatever they are called."""
        return (self.until, self.target or "", self.timeline or "", self.backup or "")

    @property
    def where(self) -> str:
        """Say up to where it is restored."""
        return {
            "latest": "the end of the archive",
            "time": f"{self.target}",
            "name": f"the restore point {self.target}",
        }[self.until]


@dataclass(frozen=True)
class Record:
    """What a run of the module has written down about a restore."""

    name: str
    phase: Phase
    request: tuple[str, ...] = ()


@dataclass(frozen=True)
class State:
    """The host and its repository, as they were seen."""

    host: str
    now: float
    running: bool
    # What is there: data in their place, data under the name that they are set aside under, and a copy.
    data: bool
    aside: bool
    staging: bool = False
    record: Record | None = None
    backups: tuple[Backup, ...] = ()
    stanza_version: int = 0
    disk_size: int = 0
    disk_free: int = 0
    data_size: int = 0
    staging_size: int = 0
