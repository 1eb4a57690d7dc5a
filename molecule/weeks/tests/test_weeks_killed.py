# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each week again, its run killed at moments that nobody has chosen, while clients ask all the time.

It goes on from where test_weeks.py has ended.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Rollout

testinfra_hosts = ["localhost"]
KILLS = int(os.environ.get("WEEKS_KILLS", "5"))
# The moments are others each time; the seed that a failure names makes them the same again.
SEED = os.environ.get("WEEKS_SEED") or str(random.SystemRandom().randrange(10**6))


def test_back_to_the_load_balancer(rollout: Rollout) -> None:
    with rollout.traffic(rollout.edge):
        for week in (5, 4, 3, 2):
            rollout.back(week)
    assert rollout.done()[-1] == "1 verified"


@pytest.mark.parametrize("week", [2, 3, 5])
def test_a_week_that_is_killed_can_be_left(rollout: Rollout, week: int) -> None:
    if rollout.done()[-1] == f"{week - 2} verified":
        rollout.week(week - 1)
    moments = random.Random(f"{SEED} {week} left")  # noqa: S311  # nothing is to be kept secret
    print(f"WEEKS_SEED={SEED}")
    rollout.remember(f"before week {week}")
    with rollout.traffic(rollout.edge):
        # Until it has got so far that there is something to leave.
        while rollout.done()[-1] == f"{week - 1} verified":
            rollout.killed(week, moments)
        rollout.back(week)
        assert rollout.done()[-1] == f"{week - 1} verified"
        rollout.week(week)
    assert rollout.remembers(f"before week {week}")
    assert rollout.done()[-1] == f"{week} verified"


def test_back_to_one_server_again(rollout: Rollout) -> None:
    with rollout.traffic(rollout.edge):
        for week in (5, 4, 3, 2, 1):
            rollout.back(week)
    assert rollout.done()[-1] == "0 verified"


@pytest.mark.parametrize("week", [1, 2, 3, 4, 5])
def test_a_week_that_is_killed_is_ended_by_the_next_run(rollout: Rollout, week: int) -> None:
    moments = random.Random(f"{SEED} {week}")  # noqa: S311  # nothing is to be kept secret
    print(f"WEEKS_SEED={SEED}")
    rollout.remember(f"on to week {week}")
    with rollout.traffic(rollout.edge):
        # One that had ended before its moment came was a run that nobody killed.
        kills = sum(rollout.killed(week, moments) for _time in range(KILLS))
        rollout.week(week)
    assert kills > 0
    assert rollout.remembers(f"on to week {week}")
    assert rollout.done()[-1] == f"{week} verified"
    assert rollout.nodes(rollout.edge) == {"app1", "app2"}
