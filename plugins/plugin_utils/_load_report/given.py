# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a run, read with care: most of it may be missing, because nobody measured it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

Run = Mapping[str, Any]
REQUIRED = ("scenario", "title", "tool", "began", "seconds", "target", "slo")
# What no page that is well-formed XML can have, however it is written.
IMPOSSIBLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class RefusedError(Exception):
    """Something that is no run. The message is one sentence for a person."""


def run_of(given: Any, which: str) -> Run:
    """Return a run that has what every run has."""
    if not isinstance(given, Mapping):
        raise RefusedError(f"The {which} is no dictionary: give what the load test wrote of it.")
    for name in REQUIRED:
        if given.get(name) is None:
            raise RefusedError(f"The {which} has no {name}: give what the load test wrote of it.")
    seconds = number(given["seconds"])
    if seconds is None or seconds < 0:
        raise RefusedError(f"seconds={given['seconds']} of the {which}: give a number of 0 or more.")
    cleaned: Run = _clean(given)
    return cleaned


def number(value: Any) -> float | None:
    """Return a number that is one, and none for whatever else stands there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        read = float(value)
    except OverflowError:
        return None
    return read if isfinite(read) else None


def part(run: Run, *names: str) -> Run:
    """Return a dictionary within a run, an empty one where there is none."""
    found: Any = run
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def rows(within: Run, name: str) -> list[Run]:
    """Return the dictionaries of a list, none where there is no list."""
    found = within.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list | tuple) else []


def words(within: Run, name: str) -> list[str]:
    """Return the texts of a list."""
    found = within.get(name)
    return [str(one) for one in found] if isinstance(found, list | tuple) else []


def text(value: Any) -> str:
    return "" if value is None else str(value)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return IMPOSSIBLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, Mapping):
        return {_clean(key): _clean(one) for key, one in value.items()}
    return [_clean(one) for one in value] if isinstance(value, list | tuple) else value
