# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An entry of the ledger, and the line that it is in a file. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

Entry = Mapping[str, Any]
# What every entry has; all else is up to whoever writes it.
NUMBER, PREVIOUS, ID = "number", "previous", "id"


def sealed(number: int, previous: str, told: Entry) -> dict[str, Any]:
    """Return an entry with the name that only this one can have."""
    entry = {**told, NUMBER: number, PREVIOUS: previous}
    return {**entry, ID: _name(entry)}


def whole(entry: Any) -> bool:
    """Return whether an entry is as it was written."""
    if not isinstance(entry, Mapping):
        return False
    rest = {name: value for name, value in entry.items() if name != ID}
    return isinstance(entry.get(NUMBER), int) and entry.get(ID) == _name(rest)


def _name(entry: Entry) -> str:
    return hashlib.sha256(_text(entry).encode()).hexdigest()[:16]


def _text(entry: Entry) -> str:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"))


def line(entry: Entry) -> str:
    return _text(entry) + "\n"


def read(text: str) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the entries of a file, and the numbers of lines that are none or not as they were written."""
    entries, damaged = [], []
    for number, one in enumerate(text.splitlines(), start=1):
        try:
            entry = json.loads(one)
        except ValueError:
            entry = None
        if whole(entry):
            entries.append(entry)
        elif one.strip():
            damaged.append(number)
    return entries, damaged


def merged(ledgers: Iterable[Iterable[Entry]]) -> list[dict[str, Any]]:
    """Return what any of the machines knows, once, in the order in which it happened."""
    known = {str(entry[ID]): dict(entry) for ledger in ledgers for entry in ledger}
    return sorted(known.values(), key=lambda entry: (entry[NUMBER], str(entry.get("time", "")), entry[ID]))


def added(entries: Iterable[Entry], told: Entry) -> list[dict[str, Any]]:
    """Return the ledger with one more entry at its end."""
    before = merged([entries])
    number, name = (before[-1][NUMBER], before[-1][ID]) if before else (0, "")
    return [*before, sealed(number + 1, name, told)]
