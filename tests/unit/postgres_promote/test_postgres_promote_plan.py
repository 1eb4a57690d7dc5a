# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When a standby is promoted, and when not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Local, Place
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.promote import State, plan, view

PLACE = Place(17, "main", "/var/lib/postgresql/17/main", "/etc/postgresql/17/main")
STANDBY = Local(data="cluster", server="up", in_recovery=True, timeline=3, lsn=0x5000000)
PRIMARY = replace(STANDBY, in_recovery=False)


@pytest.mark.parametrize(
    ("local", "checkpointed", "wanted"),
    [
        (STANDBY, True, ["Promote", "Checkpoint"]),
        (STANDBY, False, ["Promote", "Checkpoint"]),
        (PRIMARY, False, ["Checkpoint"]),
        (PRIMARY, True, []),
    ],
)
def test_steps(local: Local, checkpointed: bool, wanted: list[str]) -> None:
    found = State("db2", PLACE, local, checkpointed)
    steps = plan(found)
    assert [type(step).__name__ for step in steps] == wanted
    for done in range(len(steps) + 1):
        assert plan(simulate(found, steps[:done])) == steps[done:]
    assert view(simulate(found, steps))["role"] == "primary"


@pytest.mark.parametrize(
    ("local", "wanted"),
    [
        (replace(STANDBY, server="down"), "is down: only a standby that runs can be promoted"),
        (replace(STANDBY, server="starting"), "is starting: only a standby that runs can be promoted"),
        (Local(data="absent"), "has no data in /var/lib/postgresql/17/main"),
    ],
)
def test_refusals(local: Local, wanted: str) -> None:
    with pytest.raises(Refusal, match=wanted):
        plan(State("db2", PLACE, local, checkpointed=True))
