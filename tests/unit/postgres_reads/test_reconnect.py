# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""When the pool for reads is opened anew, by what HAProxy shows."""

from __future__ import annotations

import pytest
from ansible_collections.payaid.scaling.roles.haproxy_reads.files.haproxy_reads import (
    Reads,
    must_reconnect,
    reads,
)

BOTH = Reads("1", "replicas", frozenset({"pg2", "pg3"}), 0)
PG2 = Reads("1", "replicas", frozenset({"pg2"}), 0)
PG2_LEAVING_PG3 = Reads("1", "replicas", frozenset({"pg2"}), 4)
PRIMARY = Reads("1", "primary", frozenset({"pg1"}), 0)
NOBODY = Reads("1", "any", frozenset(), 0)
RELOADED = Reads("2", "replicas", frozenset({"pg2", "pg3"}), 0)


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        pytest.param(None, BOTH, True, id="nothing is known of what was"),
        pytest.param(BOTH, BOTH, False, id="the same"),
        pytest.param(BOTH, PG2_LEAVING_PG3, True, id="one lags and still has connections"),
        pytest.param(PG2_LEAVING_PG3, PG2_LEAVING_PG3, False, id="a read takes its time there"),
        pytest.param(BOTH, PG2, False, id="one is down, its connections are closed"),
        pytest.param(PG2, BOTH, True, id="one is back"),
        pytest.param(PG2, PRIMARY, True, id="none is left"),
        pytest.param(PRIMARY, PG2, True, id="one is back after all were gone"),
        pytest.param(BOTH, RELOADED, True, id="another process, that does not know the connections"),
        pytest.param(BOTH, NOBODY, False, id="nowhere to go"),
    ],
)
def test_when_pools_reconnect(before: Reads | None, after: Reads, wanted: bool) -> None:
    assert must_reconnect(before, after) is wanted


def row(backend: str, server: str, status: str, connections: int = 0) -> dict[str, str]:
    return {"pxname": backend, "svname": server, "status": status, "scur": str(connections)}


KNOWN = [row("known", "pg1", "UP"), row("known", "BACKEND", "UP"), row("reads", "FRONTEND", "OPEN", 9)]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (
            [
                row("replicas", "pg1", "MAINT"),
                row("replicas", "pg2", "UP", 3),
                row("replicas", "pg3", "DRAIN (agent)", 2),
                row("replicas", "BACKEND", "UP", 5),
                row("primary", "pg1", "UP", 1),
                row("any", "pg1", "UP"),
            ],
            Reads("7", "replicas", frozenset({"pg2"}), 3),
        ),
        (
            [
                row("replicas", "pg2", "DOWN (agent)"),
                row("primary", "pg1", "UP 1/2", 3),
                row("any", "pg2", "UP"),
            ],
            Reads("7", "primary", frozenset({"pg1"}), 0),
        ),
        (
            [row("replicas", "pg2", "MAINT"), row("primary", "pg1", "DOWN"), row("any", "pg2", "UP", 1)],
            Reads("7", "any", frozenset({"pg2"}), 0),
        ),
        ([row("replicas", "pg2", "MAINT"), row("any", "pg2", "DOWN")], Reads("7", "any", frozenset(), 0)),
    ],
)
def test_where_reads_go(rows: list[dict[str, str]], wanted: Reads) -> None:
    assert reads("7", [*KNOWN, *rows]) == wanted


def test_where_reads_go_is_said_in_words() -> None:
    assert [str(one) for one in (BOTH, NOBODY)] == ["replicas: pg2, pg3", "any: no server"]
