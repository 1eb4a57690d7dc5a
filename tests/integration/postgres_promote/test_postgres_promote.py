# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module on a real standby."""

from __future__ import annotations

import signal

from ..postgres_replica.conftest import new_primary, new_standby

NAME = "postgres_promote"
CHECKPOINT = "SELECT timeline_id FROM pg_control_checkpoint()"


def test_a_standby_is_promoted_once_and_its_timeline_is_in_its_checkpoint() -> None:
    with new_primary() as primary, new_standby(primary) as standby:
        standby.ok()
        foretold = standby.run_module(NAME, check=True)
        assert standby.sql("SELECT pg_is_in_recovery()") == "t"
        primary.stop()
        done = standby.run_module(NAME)
        assert done["actions"] == foretold["actions"]
        assert (done["before"]["role"], done["after"]["role"], done["after"]["timeline"]) == (
            "standby",
            "primary",
            2,
        )
        assert standby.sql("SELECT pg_is_in_recovery()") == "f"
        assert standby.sql(CHECKPOINT) == "2"
        assert standby.run_module(NAME)["changed"] is False
        standby.stop()
        refused = standby.run_module(NAME)
        assert refused["failed"]
        assert "only a standby that runs can be promoted" in refused["msg"]
        standby.stop(signal.SIGQUIT)
