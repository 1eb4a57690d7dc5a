# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the rollout stands, out of what all machines answer. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._ledger.model import ID, NUMBER, merged
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.words import columns
from ansible_collections.payaid.scaling.plugins.plugin_utils._rollout.gate import standing

Answers = Mapping[str, Mapping[str, Any]]
Weeks = Sequence[Mapping[str, Any]]
HEAD = ["entry", "time (UTC)", "by", "commit", "week", "outcome", "forced because"]


def status(ledgers: Answers, locks: Answers, weeks: Weeks) -> dict[str, Any]:
    """Return what is known together, and what single machines lack of it."""
    answered = {host: answer for host, answer in ledgers.items() if "entries" in answer}
    entries = merged(answer["entries"] for answer in answered.values())
    now = standing(entries)
    lacking = {
        host: len({entry[ID] for entry in entries} - {entry[ID] for entry in answer["entries"]})
        for host, answer in answered.items()
    }
    holders = {
        host: {**answer["held_by"], "ended": answer.get("ended")}
        for host, answer in locks.items()
        if answer.get("held_by")
    }
    return {
        "week": now.week,
        "title": "" if now.week is None else str(weeks[now.week]["title"]),
        "pending": now.pending,
        "entries": entries,
        "silent": [host for host in ledgers if host not in answered],
        "lacking": {host: count for host, count in lacking.items() if count},
        "damaged": {host: answer["damaged"] for host, answer in answered.items() if answer.get("damaged")},
        "locks": holders,
    }


def table(told: Mapping[str, Any]) -> list[str]:
    """Return the same for people, a line each."""
    if told["week"] is None:
        lines = ["No week has been verified."]
    else:
        lines = [f"The platform is in week {told['week']}: {told['title']}."]
    if pending := told["pending"]:
        lines.append(
            f"Week {pending['week']} was begun on {pending.get('time', '?')} by {pending.get('by', '?')}, "
            "and is not verified: run it again, or roll it back."
        )
    for host, holder in told["locks"].items():
        ended = {True: ", which has ended", False: ", which runs", None: ""}[holder["ended"]]
        lines.append(
            f"{host} is locked since {holder['since']} by a {holder['what']} of {holder['name']} (process "
            f"{holder['process']} on {str(holder['computer']).partition('/')[0]}{ended})."
        )
    lines += [f"{host} did not answer." for host in told["silent"]]
    lines += [
        f"{host} lacks {count} of the entries: the next run adds them."
        for host, count in told["lacking"].items()
    ]
    lines += [
        f"{host} has lines in its ledger that are not as they were written: {', '.join(map(str, numbers))}."
        for host, numbers in told["damaged"].items()
    ]
    if told["entries"]:
        lines += ["", *columns([HEAD, *map(_row, told["entries"])])]
    return lines


def _row(entry: Mapping[str, Any]) -> list[str]:
    names = ("time", "by", "commit", "week", "outcome", "force")
    return [str(entry[NUMBER]), *(str(entry.get(name, "")) for name in names)]
