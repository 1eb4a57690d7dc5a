# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How every lifecycle module of this collection runs: observe, plan, apply, observe again.

The plan is a pure function of what was observed, so a check run prints the very steps a real run takes, and a
run that was killed is resumed by planning again from whatever it left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Generic, Protocol, TypeVar

S = TypeVar("S")
IO = TypeVar("IO")
S_invariant = TypeVar("S_invariant")
IO_contra = TypeVar("IO_contra", contravariant=True)


class Refusal(Exception):  # noqa: N818  # it reads as what it is: the module refuses
    """The state cannot, or must not, be changed as asked. The message names the node and the remedy."""

    def __init__(self, message: str, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class Impossible(Exception):  # noqa: N818  # it reads as what it is
    """A step meets a state that no plan leads to, which is an error of this collection and nobody else's."""

    def __init__(self, missing: str) -> None:
        super().__init__(
            f"A step needs {missing}, which is not there: report this as a bug of payaid.scaling."
        )


class Step(Protocol[S_invariant, IO_contra]):
    """One thing to do, small enough to be the last thing done before a run is killed."""

    def describe(self) -> str:
        """Say what the step does, in one sentence, without secrets."""

    def simulate(self, state: S_invariant) -> S_invariant:
        """Return the state as it is after the step."""

    def apply(self, io: IO_contra) -> None:
        """Do it, and return only when it has taken effect."""


@dataclass(frozen=True)
class Outcome(Generic[S]):
    """What a run found, did and left."""

    before: S
    after: S
    actions: tuple[str, ...] = field(default=())

    @property
    def changed(self) -> bool:
        return bool(self.actions)


def simulate(state: S, steps: Sequence[Step[S, IO]]) -> S:
    """Fold the steps over a state without touching anything."""
    return reduce(lambda current, step: step.simulate(current), steps, state)


def converge(
    observe: Callable[[], S],
    plan: Callable[[S], Sequence[Step[S, IO]]],
    io: IO,
    *,
    check_mode: bool,
    verify: Callable[[], S] | None = None,
) -> Outcome[S]:
    """Run one plan, or only foretell it, and prove afterwards that nothing is left to do.

    verify stands in for observe after a change, where success has to be waited for.
    """
    before = observe()
    steps = tuple(plan(before))
    actions = tuple(step.describe() for step in steps)
    if check_mode or not steps:
        return Outcome(before, simulate(before, steps), actions)
    for step in steps:
        step.apply(io)
    after = (verify or observe)()
    if left := [step.describe() for step in plan(after)]:
        raise Refusal(
            f"The run did not reach what was asked; still to do: {'; '.join(left)}. Run it again, "
            "and if this repeats, something else is changing the same service.",
            actions=list(actions),
            remaining=left,
        )
    return Outcome(before, after, actions)


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """Return what Ansible's --diff shows."""
    return {"before": dict(before), "after": dict(after)}
