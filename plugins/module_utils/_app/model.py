# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's app processes are like, and what they are to be like."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Process:
    """One app process, as systemd and the process itself describe it."""

    port: int
    active: bool
    enabled: bool
    # Seconds since the epoch; 0 for a process that does not run.
    started_at: float
    # What it says of itself; empty when it does not answer.
    release: str


@dataclass(frozen=True)
class State:
    """All processes of a host, and what they were started from."""

    # The folder that `current` points to; empty when there is no link yet.
    link_target: str
    # When the youngest of the link and the configuration files was written.
    configured_at: float
    # systemd has not read the newest unit file yet.
    units_stale: bool
    processes: tuple[Process, ...]

    def with_process(self, process: Process) -> State:
        return replace(
            self, processes=tuple(process if p.port == process.port else p for p in self.processes)
        )

    def process(self, port: int) -> Process:
        return next(p for p in self.processes if p.port == port)

    def summary(self) -> dict[str, object]:
        """Return what a person wants to see in a diff: no clock times."""
        return {
            "current": self.link_target,
            "processes": [
                {"port": p.port, "active": p.active, "enabled": p.enabled, "release": p.release}
                for p in self.processes
            ],
        }


@dataclass(frozen=True)
class Desired:
    """What the host is asked to serve."""

    release: str
    release_dir: str
    ports: tuple[int, ...]
