# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In which week a platform is by its ledger, and to which one it may go. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.figures import RefusedError
from ansible_collections.payaid.scaling.plugins.plugin_utils._rollout.machines import week_of

Entry = Mapping[str, Any]
Weeks = Sequence[Mapping[str, Any]]

BEGUN, VERIFIED = "begun", "verified"
FORCE = '-e rollout_force="REASON"'


@dataclass(frozen=True)
class Standing:
    """Where the rollout stands."""

    # The week that was verified last; none where none was.
    week: int | None = None
    verified: Entry | None = None
    # What was begun after that, and is not verified.
    pending: Entry | None = None


def standing(entries: Sequence[Entry]) -> Standing:
    """Return where the rollout stands; entries are in the order in which they were written."""
    found = Standing()
    for entry in entries:
        if entry.get("outcome") == VERIFIED:
            found = Standing(int(entry["week"]), entry)
        elif entry.get("outcome") == BEGUN:
            found = Standing(found.week, found.verified, entry)
    return found


def problem(entries: Sequence[Entry], weeks: Weeks, week: Any, *, back: bool = False) -> str:
    """Return why a week may not be begun, or with `back` be left, in one sentence; empty where it may."""
    try:
        number = week_of(week, weeks)
    except RefusedError as refusal:
        return str(refusal)
    if back:
        return _no_way_back(standing(entries), number)
    return _no_way_forward(standing(entries), weeks, number)


def _no_way_forward(now: Standing, weeks: Weeks, week: int) -> str:
    if now.pending is not None and int(now.pending["week"]) != week:
        other = int(now.pending["week"])
        if _goes_back(now):
            return (
                f"{_words(now.pending)}, on the way back to week {other}: end that first by "
                f"playbooks/rollback.yml -e rollout_week={now.week}, or go on all the same with {FORCE}."
            )
        return (
            f"{_words(now.pending)}: end that first by {_playbook(weeks, other)}, or roll it back by "
            f"playbooks/rollback.yml -e rollout_week={other}, or go on all the same with {FORCE}."
        )
    if now.week is None:
        return (
            ""
            if week == 0
            else f"Week {week} needs week {week - 1} verified, and the ledger knows of no week: begin with "
            f"{_playbook(weeks, 0)}, or go on all the same with {FORCE}."
        )
    if week > now.week + 1:
        return (
            f"Week {week} needs week {week - 1} verified, and the platform is in week {now.week}: begin with "
            f"{_playbook(weeks, now.week + 1)}, or go on all the same with {FORCE}."
        )
    if week < now.week and now.pending is None:
        return (
            f"Week {week} lies before week {now.week}, in which the platform is: go back by "
            f"playbooks/rollback.yml -e rollout_week={now.week}, one week at a time."
        )
    return ""


def _no_way_back(now: Standing, week: int) -> str:
    if week == 0:
        return "Week 0 is the first one: there is none to go back to."
    begun = now.pending is not None and int(now.pending["week"]) == week
    if now.week == week or begun:
        return ""
    if now.week is None:
        return f"Week {week} cannot be rolled back: the ledger knows of no week that was verified."
    return (
        f"Week {week} cannot be rolled back: the platform is in week {now.week}"
        + (f", so roll that back first, by -e rollout_week={now.week}." if now.week > week else ".")
        + (f" {_words(now.pending)}." if now.pending is not None else "")
    )


def _goes_back(now: Standing) -> bool:
    return now.week is not None and now.pending is not None and int(now.pending["week"]) < now.week


def _words(entry: Entry) -> str:
    when, who = entry.get("time", "at some time"), entry.get("by", "somebody")
    return f"Week {entry['week']} was begun and not verified ({when}, {who})"


def _playbook(weeks: Weeks, week: int) -> str:
    return f"playbooks/{weeks[week]['playbook']}"
