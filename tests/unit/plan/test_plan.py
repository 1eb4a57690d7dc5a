# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a run goes, with a counter that stands in for a service."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import (
    Outcome,
    Refusal,
    Step,
    converge,
    diff,
    simulate,
)


@dataclass
class Counter:
    """What is changed. A deaf one takes orders and does nothing."""

    value: int
    deaf: bool = False
    observed: int = 0
    applied: list[int] = field(default_factory=list)

    def observe(self) -> int:
        self.observed += 1
        return self.value


@dataclass(frozen=True)
class Add:
    number: int

    def describe(self) -> str:
        return f"Add {self.number}."

    def simulate(self, state: int) -> int:
        return state + self.number

    def apply(self, io: Counter) -> None:
        io.applied.append(self.number)
        if not io.deaf:
            io.value += self.number


@dataclass(frozen=True)
class Break(Add):
    def apply(self, io: Counter) -> None:
        raise Refusal(f"Nothing can be added to {io.value}.", value=io.value)


def up_to(wanted: int) -> list[Step[int, Counter]]:
    return [Add(1)] * wanted


def run(counter: Counter, wanted: int, *, check_mode: bool = False) -> Outcome[int]:
    return converge(counter.observe, lambda state: up_to(wanted - state), counter, check_mode=check_mode)


def test_a_run_does_what_is_planned_and_looks_again() -> None:
    counter = Counter(1)
    assert run(counter, 3) == Outcome(1, 3, ("Add 1.", "Add 1."))
    assert counter == Counter(3, observed=2, applied=[1, 1])


def test_a_check_run_foretells_the_same_and_touches_nothing() -> None:
    counter = Counter(1)
    assert run(counter, 3, check_mode=True) == run(Counter(1), 3)
    assert counter == Counter(1, observed=1)


def test_nothing_to_do_is_no_change() -> None:
    counter = Counter(3)
    outcome = run(counter, 3)
    assert outcome == Outcome(3, 3)
    assert not outcome.changed
    assert counter == Counter(3, observed=1)


@pytest.mark.parametrize("check_mode", [False, True])
def test_something_to_do_is_a_change(check_mode: bool) -> None:  # pytest passes it by name
    assert run(Counter(2), 3, check_mode=check_mode).changed


def test_a_run_that_does_not_reach_what_was_asked_is_refused() -> None:
    with pytest.raises(
        Refusal, match=r"^The run did not reach what was asked; still to do: Add 1\.; Add 1\."
    ) as caught:
        run(Counter(1, deaf=True), 3)
    assert caught.value.details == {"actions": ["Add 1.", "Add 1."], "remaining": ["Add 1.", "Add 1."]}


def test_a_step_that_refuses_ends_the_run() -> None:
    counter = Counter(1)
    with pytest.raises(Refusal) as caught:
        converge(
            counter.observe, lambda state: [*up_to(2 - state), Break(1), Add(1)], counter, check_mode=False
        )
    assert caught.value.message == str(caught.value) == "Nothing can be added to 2."
    assert caught.value.details == {"value": 2}
    assert counter.applied == [1]


def test_success_may_have_to_be_waited_for() -> None:
    counter = Counter(1)

    def wait() -> int:
        return counter.value

    converge(counter.observe, lambda state: up_to(2 - state), counter, check_mode=False, verify=wait)
    assert counter.observed == 1


def test_verification_is_for_changes_alone() -> None:
    def never() -> int:
        raise AssertionError("nothing was changed")

    counter = Counter(2)
    for check_mode in (False, True):
        converge(
            counter.observe, lambda state: up_to(2 - state), counter, check_mode=check_mode, verify=never
        )


def test_steps_are_folded_over_a_state() -> None:
    assert simulate(1, [Add(2), Add(3)]) == 6
    assert simulate(1, ()) == 1


def test_a_diff_is_made_of_copies() -> None:
    before = {"a": 1}
    shown = diff(before, {"a": 2})
    assert shown == {"before": {"a": 1}, "after": {"a": 2}}
    assert shown["before"] is not before
