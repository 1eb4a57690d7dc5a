# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which entries a machine lacks. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from ansible_collections.payaid.scaling.plugins.module_utils._ledger.model import ID, NUMBER, Entry, whole
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Step as AnyStep


@dataclass(frozen=True)
class State:
    """What a machine's file has."""

    entries: tuple[dict[str, Any], ...] = ()
    # Lines that are no entries, or are not as they were written.
    damaged: tuple[int, ...] = ()


class Actions(Protocol):
    """What the steps need done."""

    def append(self, entries: Sequence[Entry]) -> None:
        """Add entries to the end of the file, and return when they are on the disk."""


Step = AnyStep[State, Actions]


@dataclass(frozen=True)
class Append:
    entries: tuple[dict[str, Any], ...]

    def describe(self) -> str:
        numbers = ", ".join(str(entry[NUMBER]) for entry in self.entries)
        return f"Write down entry {numbers}." if len(self.entries) == 1 else f"Write down entries {numbers}."

    def simulate(self, state: State) -> State:
        return replace(state, entries=state.entries + self.entries)

    def apply(self, io: Actions) -> None:
        io.append(self.entries)


def plan(state: State, wanted: Sequence[Entry]) -> tuple[Step, ...]:
    """Return the steps that are left. Nothing that is written is ever changed or removed."""
    if strange := next((entry for entry in wanted if not whole(entry)), None):
        raise Refusal(
            f"Entry {strange.get(NUMBER, '?')} is not as it was written: give entries as the filter "
            "payaid.scaling.ledger_added returns them."
        )
    known = {entry[ID] for entry in state.entries}
    lacking = tuple(dict(entry) for entry in wanted if entry[ID] not in known)
    return (Append(lacking),) if lacking else ()
