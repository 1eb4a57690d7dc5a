# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host's app processes are like, and what they are to be like."""

from __future__ import annotations

from dataclasses import dataclass, replace

# What systemd calls a unit of which no process is left.
RESTING = frozenset({"inactive", "failed", ""})


@dataclass(frozen=True)
class Process:
    """One app process, as systemd and the process itself describe it."""

    unit: str
    port: int
    # As systemd has it: active, inactive, failed, activating, ...
    state: str = "inactive"
    enabled: bool = False
    # Seconds since the epoch; 0 for a process that does not run.
    started_at: float = 0.0
    # What it says of itself; empty when it does not answer.
    release: str = ""
    # Who else listens on its port, when the process itself does not run.
    port_taken_by: str = ""

    @property
    def active(self) -> bool:
        return self.state == "active"

    @property
    def resting(self) -> bool:
        return self.state in RESTING


@dataclass(frozen=True)
class State:
    """All processes of a host, and what they were started from."""

    host: str
    # The folder that `current` points to; empty when there is no link yet.
    link_target: str
    # When the youngest of the link and the configuration files was written.
    configured_at: float
    # systemd has not read the newest unit file yet.
    units_stale: bool
    # Those that are wanted, and every other one of the same units.
    processes: tuple[Process, ...]

    def with_process(self, process: Process) -> State:
        return replace(
            self, processes=tuple(process if p.unit == process.unit else p for p in self.processes)
        )

    def process(self, unit: str) -> Process:
        return next(p for p in self.processes if p.unit == unit)

    def summary(self) -> dict[str, object]:
        """Return what a person wants to see in a diff: no clock times."""
        return {
            "current": self.link_target,
            "processes": [
                {
                    "unit": p.unit,
                    "port": p.port,
                    "active": p.active,
                    "enabled": p.enabled,
                    "release": p.release,
                }
                for p in self.processes
            ],
        }


@dataclass(frozen=True)
class Wanted:
    """A process that is to run."""

    unit: str
    port: int
    # Paths that it is asked for before anybody else asks it.
    warm_paths: tuple[str, ...] = ()


@dataclass(frozen=True)
class Template:
    """A template unit, and the ports on which processes of it are to run."""

    unit: str
    ports: tuple[int, ...]
    warm_paths: tuple[str, ...] = ()

    def instance(self, port: int | str) -> str:
        return self.unit.replace("@.", f"@{port}.")

    def port_of(self, instance: str) -> int | None:
        """Return the port in the name of an instance of this unit; none where it is no number."""
        before, after = self.unit.split("@", 1)
        text = instance.removeprefix(f"{before}@").removesuffix(after)
        return int(text) if text.isdecimal() and self.instance(text) == instance else None


@dataclass(frozen=True)
class Desired:
    """What the host is asked to serve."""

    release: str
    release_dir: str
    templates: tuple[Template, ...]

    @property
    def processes(self) -> tuple[Wanted, ...]:
        return tuple(
            Wanted(one.instance(port), port, one.warm_paths) for one in self.templates for port in one.ports
        )
