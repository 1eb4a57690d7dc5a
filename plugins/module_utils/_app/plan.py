# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps bring a host to a release: one process after the other, so that one always serves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._app.model import (
    Desired,
    Process,
    State,
    Wanted,
)
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, Step


class IO(Protocol):
    """What the steps need from the host."""

    def point_link(self, target: str) -> None: ...

    def reload_units(self) -> None: ...

    def enable(self, unit: str) -> None: ...

    def restart(self, process: Wanted, release: str) -> None:
        """Restart, and return once the process serves the release, is healthy and is warm."""

    def stop(self, unit: str) -> None:
        """Let it finish what is under way, and not start at boot."""


@dataclass(frozen=True)
class PointLink:
    target: str

    def describe(self) -> str:
        return f"Point current at {self.target}."

    def simulate(self, state: State) -> State:
        # Any process that runs was started before this.
        youngest = max((state.configured_at, *(p.started_at for p in state.processes)))
        return replace(state, link_target=self.target, configured_at=youngest + 1)

    def apply(self, io: IO) -> None:
        io.point_link(self.target)


@dataclass(frozen=True)
class ReloadUnits:
    def describe(self) -> str:
        return "Let systemd read the changed units."

    def simulate(self, state: State) -> State:
        return replace(state, units_stale=False)

    def apply(self, io: IO) -> None:
        io.reload_units()


@dataclass(frozen=True)
class EnableProcess:
    unit: str

    def describe(self) -> str:
        return f"Start {self.unit} at boot."

    def simulate(self, state: State) -> State:
        return state.with_process(replace(state.process(self.unit), enabled=True))

    def apply(self, io: IO) -> None:
        io.enable(self.unit)


@dataclass(frozen=True)
class RestartProcess:
    process: Wanted
    release: str
    reason: str

    def describe(self) -> str:
        return f"Restart {self.process.unit} and wait until it serves {self.release}: {self.reason}."

    def simulate(self, state: State) -> State:
        now = state.configured_at + 1
        found = state.process(self.process.unit)
        return state.with_process(replace(found, state="active", started_at=now, release=self.release))

    def apply(self, io: IO) -> None:
        io.restart(self.process, self.release)


@dataclass(frozen=True)
class StopProcess:
    unit: str

    def describe(self) -> str:
        return f"Stop {self.unit}, which is not wanted."

    def simulate(self, state: State) -> State:
        found = state.process(self.unit)
        stopped = replace(found, state="inactive", enabled=False, started_at=0.0, release="")
        freed = (replace(one, port_taken_by="") if one.port == found.port else one for one in state.processes)
        return replace(state, processes=tuple(freed)).with_process(stopped)

    def apply(self, io: IO) -> None:
        io.stop(self.unit)


def plan(state: State, desired: Desired) -> tuple[Step[State, IO], ...]:
    """Return the steps from the state to what is desired; none when it is reached."""
    wanted_units = {wanted.unit for wanted in desired.processes}
    wanted_ports = {wanted.port for wanted in desired.processes}
    leftovers = [
        process
        for process in state.processes
        if process.unit not in wanted_units and (process.enabled or not process.resting)
    ]
    _refuse_a_taken_port(state, desired, {process.port for process in leftovers})
    steps: list[Step[State, IO]] = []
    # A host on which nothing is to run keeps the release that it served last.
    switching = bool(desired.processes) and state.link_target != desired.release_dir
    if switching:
        steps.append(PointLink(desired.release_dir))
    if state.units_stale:
        steps.append(ReloadUnits())
    # First those in whose place another one is to listen, the rest when the others serve.
    steps += [StopProcess(process.unit) for process in leftovers if process.port in wanted_ports]
    for wanted in desired.processes:
        process = state.process(wanted.unit)
        if not process.enabled:
            steps.append(EnableProcess(wanted.unit))
        if reason := _reason_to_restart(process, state, desired, switching=switching):
            steps.append(RestartProcess(wanted, desired.release, reason))
    steps += [StopProcess(process.unit) for process in leftovers if process.port not in wanted_ports]
    return tuple(steps)


def _reason_to_restart(process: Process, state: State, desired: Desired, *, switching: bool) -> str:
    if not process.active:
        return "it does not run"
    if process.release != desired.release:
        return f"it serves {process.release or 'no release it can name'}"
    if switching or process.started_at < state.configured_at:
        return "its configuration is younger than it is"
    return ""


def _refuse_a_taken_port(state: State, desired: Desired, ours: set[int]) -> None:
    for wanted in desired.processes:
        who = state.process(wanted.unit).port_taken_by
        if who and wanted.port not in ours:
            raise Refusal(
                f"{state.host}: port {wanted.port} is taken by {who}, so {wanted.unit} could not listen: "
                "stop that, or give the process another port (app_node_ports, app_node_worker_ports)."
            )
