# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a load test is begun or ended. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, Step

# What systemd calls a unit that does something, or is about to.
BUSY = ("active", "activating", "deactivating", "reloading")


@dataclass(frozen=True)
class Runs:
    """What systemd knows of the load tests of this machine."""

    # Of the run that is asked for: inactive where it was never begun, or has ended well.
    state: str
    # Why it has ended, in systemd's words; `success` too where it was never begun.
    result: str = "success"
    status: int = 0
    # The run has left its mark, so it was begun.
    begun: bool = False
    # How long it took, in seconds, once it has ended.
    took: float | None = None
    # Other runs that go on.
    others: tuple[str, ...] = ()
    # Folders of runs that were refused or killed; who ends well has his taken away.
    left: tuple[str, ...] = ()

    @property
    def active(self) -> bool:
        return self.state in BUSY


class Units(Protocol):
    """What carries the steps out."""

    def sweep(self, runs: Sequence[str]) -> None:
        """Take away the folders of runs."""

    def start(self, run: str) -> None:
        """Begin a run."""

    def stop(self, run: str) -> None:
        """End a run, and return when it has ended."""


@dataclass(frozen=True)
class Sweep:
    runs: tuple[str, ...]

    def describe(self) -> str:
        return f"Take away what is left of {', '.join(self.runs)}."

    def simulate(self, state: Runs) -> Runs:
        return replace(state, left=())

    def apply(self, io: Units) -> None:
        io.sweep(self.runs)


@dataclass(frozen=True)
class Start:
    run: str

    def describe(self) -> str:
        return f"Begin the load test {self.run}."

    def simulate(self, state: Runs) -> Runs:
        return replace(state, state="active", begun=True)

    def apply(self, io: Units) -> None:
        io.start(self.run)


@dataclass(frozen=True)
class Stop:
    run: str

    def describe(self) -> str:
        return f"End the load test {self.run}."

    def simulate(self, state: Runs) -> Runs:
        return replace(state, state="inactive")

    def apply(self, io: Units) -> None:
        io.stop(self.run)


def plan(seen: Runs, run: str, wanted: str, host: str) -> tuple[Step[Runs, Units], ...]:
    """Return what is to be done. Two load tests at once would measure each other."""
    if wanted == "stopped":
        return (Stop(run),) if seen.active else ()
    if wanted == "read" or seen.begun:
        return ()
    if seen.others:
        raise Refusal(
            f"{host}: the load test {seen.others[0]} is still running there: wait for its end, or end it by "
            f"`systemctl stop payaid-load-test@{seen.others[0]}`. Nothing was begun."
        )
    return (Sweep(seen.left), Start(run)) if seen.left else (Start(run),)
