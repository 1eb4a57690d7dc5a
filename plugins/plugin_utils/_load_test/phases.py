# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How several load generators share the users of a load test. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def phases(planned: Sequence[Mapping[str, Any]], share: int, place: int) -> list[dict[str, Any]]:
    """Return what one of several load generators does, in Artillery's words."""
    return list(_phases(planned, share, place))


def _phases(planned: Sequence[Mapping[str, Any]], share: int, place: int) -> Iterator[dict[str, Any]]:
    for number, phase in enumerate(planned, 1):
        told = {"name": str(phase.get("name") or f"Phase {number}")}
        rate = _part(phase["rate"], share, place)
        to = _part(phase["to"], share, place) if phase.get("to") is not None else rate
        if rate == to == 0:
            # A rate of nobody is passed over by Artillery, and the next phase would begin too early.
            yield {**told, "pause": int(phase["seconds"])}
        else:
            ramp = {"rampTo": to} if to != rate else {}
            yield {**told, "duration": int(phase["seconds"]), "arrivalRate": rate, **ramp}


def _part(users: Any, share: int, place: int) -> int:
    """Return the users of one place: Artillery ends at once where it is given a part of one."""
    whole, rest = divmod(int(users), share)
    return whole + (place < rest)
