# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings by the memory of a machine, and within what the servers beside it run with."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.filter.postgres_settings import (
    postgres_bounds,
    postgres_memory_settings,
    postgres_pending,
    postgres_within,
)
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("memory", "connections", "wanted"),
    [
        (512, 300, ("128MB", "384MB", "4MB", "64MB")),
        (1024, 300, ("256MB", "768MB", "4MB", "64MB")),
        (7950, 300, ("1920MB", "5632MB", "6MB", "480MB")),
        (8192, 300, ("2048MB", "6144MB", "6MB", "512MB")),
        (32768, 300, ("8192MB", "24576MB", "26MB", "1024MB")),
        (262144, 300, ("16384MB", "196608MB", "64MB", "1024MB")),
        (8192, 100, ("2048MB", "6144MB", "20MB", "512MB")),
    ],
)
def test_what_follows_from_memory(memory: int, connections: int, wanted: tuple[str, ...]) -> None:
    assert tuple(postgres_memory_settings(memory, connections).values()) == wanted


@given(st.integers(512, 1 << 20), st.integers(20, 5000))
def test_nothing_is_more_than_the_memory_and_more_memory_never_gives_less(
    memory: int, connections: int
) -> None:
    def sizes(of: int) -> dict[str, int]:
        return {
            name: int(size.removesuffix("MB"))
            for name, size in postgres_memory_settings(of, connections).items()
        }

    told, greater = sizes(memory), sizes(memory + memory // 10)
    assert told["shared_buffers"] <= max(memory // 4, 128)
    assert told["effective_cache_size"] <= memory
    assert told["work_mem"] * connections <= max(memory // 4, 4 * connections)
    assert all(told[name] <= greater[name] for name in told)


def server(role: str, pending: tuple[str, ...] = (), **limits: int) -> dict[str, Any]:
    return {"role": role, "limits": limits, "pending_restart": list(pending)}


PG1 = server("primary", max_connections=300, max_worker_processes=8)
PG2 = server("standby", max_connections=400, max_worker_processes=8)
PG3 = server("standby", max_connections=350, max_worker_processes=8)
SMALL = server("standby", max_connections=100, max_worker_processes=8)
BOTH = {"max_connections": 300, "max_worker_processes": 8}


@pytest.mark.parametrize(
    ("infos", "host", "wanted"),
    [
        ((PG1, PG2, PG3), "pg2", (BOTH, {})),
        ((PG1, PG2, PG3), "pg1", ({}, {"max_connections": 350, "max_worker_processes": 8})),
        ((PG1, PG2, SMALL), "pg1", ({}, BOTH)),  # never below what it runs with itself
        ((PG1, server("stopped_standby", max_connections=100), {}), "pg1", ({}, {})),
        ((PG1, {"role": "absent", "limits": {}}, None), "pg2", (BOTH, {})),
        (({"role": "absent", "limits": {}}, {"role": "absent", "limits": {}}, None), "pg1", ({}, {})),
        (({"role": "absent", "limits": {}}, {"role": "absent", "limits": {}}, None), "pg2", ({}, {})),
        ((server("stopped_primary", max_connections=300), PG2, PG3), "pg2", ({"max_connections": 300}, {})),
    ],
)
def test_the_bounds_are_what_others_run_with(
    infos: tuple[Any, ...], host: str, wanted: tuple[Any, Any]
) -> None:
    told = postgres_bounds(dict(zip(("pg1", "pg2", "pg3"), infos, strict=True)), "pg1", host)
    assert (told["at_least"], told["at_most"]) == wanted


def test_nothing_bounds_a_server_where_nobody_was_asked() -> None:
    assert postgres_bounds({}, "", "pg1") == {"at_least": {}, "at_most": {}}


@pytest.mark.parametrize(
    ("settings", "at_least", "at_most", "wanted"),
    [
        ({"max_connections": 300}, {}, {}, {"max_connections": 300}),
        ({"max_connections": 300}, {"max_connections": 300}, {}, {"max_connections": 300}),
        ({"max_connections": "200"}, {"max_connections": 300}, {}, {"max_connections": 300}),
        ({"max_connections": 400}, {"max_connections": 300}, {}, {"max_connections": 400}),
        ({"max_connections": 400}, {}, {"max_connections": 300}, {"max_connections": 300}),
        (
            {"max_connections": 400},
            {"max_connections": 350},
            {"max_connections": 300},
            {"max_connections": 350},
        ),
        # One that nobody sets is PostgreSQL's default, and written only where that is too little.
        ({}, {"max_worker_processes": 8}, {}, {}),
        ({}, {"max_worker_processes": 16}, {}, {"max_worker_processes": 16}),
        ({}, {}, {"max_locks_per_transaction": 32}, {"max_locks_per_transaction": 32}),
        # Not these five, and not what is no number.
        ({"work_mem": "4MB"}, {"work_mem": 5}, {}, {"work_mem": "4MB"}),
        ({"max_connections": "many"}, {"max_connections": 300}, {}, {"max_connections": "many"}),
    ],
)
def test_five_settings_are_held_within_bounds(
    settings: dict[str, Any], at_least: dict[str, int], at_most: dict[str, int], wanted: dict[str, Any]
) -> None:
    assert postgres_within(settings, at_least, at_most) == wanted


def test_who_waits_is_told_with_the_writer_last() -> None:
    infos = {
        "pg1": server("primary", ("max_connections", "shared_buffers")),
        "pg2": server("standby", ("shared_buffers",)),
        "pg3": server("standby"),
        "pg4": None,
        "pg5": {"role": "absent"},
    }
    assert postgres_pending(infos, "pg1") == ["pg2 (shared_buffers)", "pg1 (max_connections, shared_buffers)"]
