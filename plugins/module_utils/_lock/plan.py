# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who holds a lock, and what becomes of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Step as AnyStep


@dataclass(frozen=True)
class Holder:
    """A run that holds the lock, or wants to."""

    name: str
    # When it took the lock, for people.
    since: str
    # What it does meanwhile, for people as well.
    what: str
    # The computer that Ansible runs on, and the process there. Two runs never have all three in common.
    computer: str
    process: int
    started: str

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> Holder:
        return cls(**{name: found[name] for name in cls.__annotations__})

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def is_run(self, other: Holder) -> bool:
        return (self.computer, self.process, self.started) == (other.computer, other.process, other.started)


@dataclass(frozen=True)
class State:
    """All that a decision needs."""

    host: str
    path: str
    holder: Holder | None


@dataclass(frozen=True)
class Wanted:
    """The options of run_lock."""

    run: Holder
    # held, left, or read
    state: str
    # Take it from whoever has it.
    by_force: bool
    # How people say that it is to be taken.
    override: str = ""
    # The run that is known to have ended; it has nothing to lose.
    ended: Holder | None = None


class Actions(Protocol):
    """What the steps need done."""

    def take(self, holder: Holder) -> None:
        """Take a lock that nobody has; fail where somebody else was quicker."""

    def take_over(self, holder: Holder) -> None:
        """Put another holder in place of the one that is there."""

    def leave(self) -> None: ...


Step = AnyStep[State, Actions]


@dataclass(frozen=True)
class Take:
    holder: Holder

    def describe(self) -> str:
        return f"Take the lock for {self.holder.name}."

    def simulate(self, state: State) -> State:
        return replace(state, holder=self.holder)

    def apply(self, io: Actions) -> None:
        io.take(self.holder)


@dataclass(frozen=True)
class TakeOver:
    holder: Holder
    whose: Holder
    reason: str

    def describe(self) -> str:
        return (
            f"Take the lock over for {self.holder.name} from {self.whose.name}, since {self.whose.since}: "
            f"{self.reason}."
        )

    def simulate(self, state: State) -> State:
        return replace(state, holder=self.holder)

    def apply(self, io: Actions) -> None:
        io.take_over(self.holder)


@dataclass(frozen=True)
class Leave:
    def describe(self) -> str:
        return "Leave the lock."

    def simulate(self, state: State) -> State:
        return replace(state, holder=None)

    def apply(self, io: Actions) -> None:
        io.leave()


def plan(state: State, wanted: Wanted) -> tuple[Step, ...]:
    """Return the steps that are left, or refuse. What another run holds is never left for it."""
    found = state.holder
    ours = found is not None and found.is_run(wanted.run)
    if wanted.state == "read":
        return ()
    if wanted.state == "left":
        return (Leave(),) if ours else ()
    if ours:
        return ()
    if found is None:
        return (Take(wanted.run),)
    if found == wanted.ended:
        return (TakeOver(wanted.run, found, "that run has ended"),)
    if wanted.by_force:
        return (TakeOver(wanted.run, found, "it was told to"),)
    computer = found.computer.partition("/")[0]
    raise Refusal(
        f"{state.host}: a {found.what} of {found.name} is under way since {found.since}, for "
        f"{age(found.since, wanted.run.since)} (process {found.process} on {computer}; {state.path}): wait "
        f"for it, or, if you are certain that it runs no more, {_remedy(state, wanted)}.",
        held_by=found.as_dict(),
    )


def _remedy(state: State, wanted: Wanted) -> str:
    if wanted.override:
        return f"take the lock from it by {wanted.override}"
    return f"remove {state.path}"


def age(since: str, now: str) -> str:
    """Say how long ago a moment was, in the largest unit of which it is two."""
    try:
        seconds = (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()
    except (TypeError, ValueError):
        return "who knows how long"
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    # Clocks of two computers differ.
    return f"{max(seconds, 0):.0f} seconds"
