# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks afterwards whether every write that was acknowledged is there, under its name, exactly once."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import aiohttp

from .account import Account
from .load import Settings, Trust, session_of

AT_ONCE = 10
# Gives the rows of a query as lines of `psql -XAtq`.
Psql = Callable[[str], str]


@dataclass(frozen=True)
class Verdict:
    """What is wrong with the acknowledged writes. `duplicated` and `unasked` stay empty where no psql was
    given.
    """

    acknowledged: int
    # By id: what was answered in place of the contact.
    missing: dict[str, str]
    # By name: the ids of its rows, where they are not the one that was acknowledged.
    duplicated: dict[str, tuple[str, ...]]
    # Rows of writes whose clients got no good answer: allowed, they cannot know, but each once at the most.
    unasked: int = 0

    @property
    def good(self) -> bool:
        return not self.missing and not self.duplicated

    def counts(self) -> dict[str, int]:
        return {
            "acknowledged": self.acknowledged,
            "missing": len(self.missing),
            "duplicated": len(self.duplicated),
        }


async def _missing(account: Account, settings: Settings, trust: Trust) -> dict[str, str]:
    found: dict[str, str] = {}
    left = iter(account.acknowledged.items())

    async def ask(session: aiohttp.ClientSession) -> None:
        named: dict[str, Any] = {"server_hostname": settings.server_name} if settings.server_name else {}
        for known, name in left:
            try:
                async with session.get(f"{settings.target}/api/contacts/{known}", **named) as answer:
                    content = await answer.text()
                    said = await answer.json() if answer.status == 200 else {}
            except (aiohttp.ClientError, OSError, ValueError) as error:
                found[known] = repr(error)
                continue
            if said.get("name") != name:
                found[known] = f"{answer.status} {content[:200]}"

    async with session_of(True, settings, trust) as session:
        await asyncio.gather(*(ask(session) for _one in range(AT_ONCE)))
    return found


def rows(psql: Psql, run: str) -> dict[str, list[str]]:
    """Return the ids of all rows that a run has left, by name."""
    literal = run.replace("'", "''")
    found = defaultdict(list)
    query = f"SELECT id, name FROM contacts WHERE starts_with(name, '{literal} ') ORDER BY id"  # noqa: S608
    for line in psql(query).splitlines():
        known, _bar, name = line.partition("|")
        found[name].append(known)
    return found


def duplicated(acknowledged: dict[str, str], there: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """Return what is not there exactly as promised.

    Also what nobody was promised may be there only once.
    """
    promised = {name: known for known, name in acknowledged.items()}
    return {
        name: tuple(ids)
        for name in promised.keys() | there.keys()
        if (ids := there.get(name, [])) != [promised.get(name, *ids[:1])]
    }


def verify(account: Account, settings: Settings, trust: Trust, psql: Psql | None = None) -> Verdict:
    """Ask for every acknowledged write over HTTP and, where there is a psql, count the rows."""
    acknowledged = account.acknowledged
    missing = asyncio.run(_missing(account, settings, trust))
    # An id that was given out twice would hide one of its two writes.
    created = Counter(each.id for each in account.requests if each.id)
    missing |= {known: f"acknowledged {times} times" for known, times in created.items() if times > 1}
    if psql is None:
        return Verdict(len(acknowledged), missing, {})
    there = rows(psql, settings.run)
    unasked = len(there.keys() - set(acknowledged.values()))
    return Verdict(len(acknowledged), missing, duplicated(acknowledged, there), unasked)
