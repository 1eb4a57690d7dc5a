# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which steps bring a host to a release: one process after the other, so that one always serves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._app.model import Desired, State
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Step


class IO(Protocol):
    """What the steps need from the host."""

    def point_link(self, target: str) -> None: ...

    def reload_units(self) -> None: ...

    def enable(self, port: int) -> None: ...

    def restart(self, port: int, release: str) -> None:
        """Restart, and return once the process serves the release and is healthy."""


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
    port: int

    def describe(self) -> str:
        return f"Start the process on port {self.port} at boot."

    def simulate(self, state: State) -> State:
        return state.with_process(replace(state.process(self.port), enabled=True))

    def apply(self, io: IO) -> None:
        io.enable(self.port)


@dataclass(frozen=True)
class RestartProcess:
    port: int
    release: str
    reason: str

    def describe(self) -> str:
        return (
            f"Restart the process on port {self.port} and wait until it serves {self.release}: {self.reason}."
        )

    def simulate(self, state: State) -> State:
        now = state.configured_at + 1
        return state.with_process(
            replace(state.process(self.port), active=True, started_at=now, release=self.release)
        )

    def apply(self, io: IO) -> None:
        io.restart(self.port, self.release)


def plan(state: State, desired: Desired) -> tuple[Step[State, IO], ...]:
    """Return the steps from the state to what is desired; none when it is reached."""
    steps: list[Step[State, IO]] = []
    switching = state.link_target != desired.release_dir
    if switching:
        steps.append(PointLink(desired.release_dir))
    if state.units_stale:
        steps.append(ReloadUnits())
    for port in desired.ports:
        process = state.process(port)
        if not process.enabled:
            steps.append(EnableProcess(port))
        if not process.active:
            steps.append(RestartProcess(port, desired.release, "it does not run"))
        elif process.release != desired.release:
            steps.append(
                RestartProcess(
                    port, desired.release, f"it serves {process.release or 'no release it can name'}"
                )
            )
        elif switching or process.started_at < state.configured_at:
            steps.append(RestartProcess(port, desired.release, "its configuration is younger than it is"))
    return tuple(steps)
