# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine was busy with, out of looks at it."""

from __future__ import annotations

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._usage.model import (
    Look,
    PoolLook,
    belongs,
    told,
    used_by_units,
)


def pool(transactions: int, waited_us: int, waiting: int = 0, serving: int = 0) -> PoolLook:
    return PoolLook(transactions, waited_us, waiting, serving, 20)


def test_processor_time_is_a_part_of_all_processors() -> None:
    looks = [Look(100, 10, 50, 50), Look(105, 15, 55, 55), Look(110, 16, 60, 60)]
    found = told(looks, cores=2)
    # 6 s of 10 s on two processors; 5 s of the first five.
    assert (found["cpu"], found["cpu_max"], found["machine"], found["seconds"]) == (0.3, 0.5, 0.5, 10)
    assert found["series"] == [
        {"at": 5, "cpu": 0.5, "machine": 0.5},
        {"at": 10, "cpu": 0.1, "machine": 0.5},
    ]


def test_one_look_shows_nothing_and_is_no_error() -> None:
    found = told([Look(100, 10, 50, 50)], cores=2)
    assert (found["cpu"], found["cpu_max"], found["machine"], found["series"]) == (0, 0, 0, [])


def test_a_unit_that_was_restarted_has_used_nothing_less_than_nothing() -> None:
    assert told([Look(100, 10), Look(105, 2)], cores=1)["cpu"] == 0


def test_what_was_used_before_the_end_of_a_unit_is_not_forgotten() -> None:
    found = told([Look(0, 0), Look(5, 4), Look(10, 7), Look(15, 0), Look(20, 0)], cores=1)
    assert (found["cpu"], found["cpu_max"]) == (0.35, 0.8)


def test_how_long_transactions_waited_is_what_came_between() -> None:
    looks = [
        Look(0, pools={"app_rw": pool(1000, 9_000_000), "app_ro": pool(0, 0)}),
        Look(5, pools={"app_rw": pool(1500, 9_500_000, waiting=7, serving=20), "app_ro": pool(0, 0)}),
        Look(10, pools={"app_rw": pool(2000, 10_000_000, serving=3), "app_ro": pool(0, 0)}),
    ]
    quiet, busy = told(looks, cores=1)["pools"]
    assert quiet == {
        "pool": "app_ro",
        "size": 20,
        "transactions": 0,
        "waited_ms": 0,
        "waiting_max": 0,
        "serving_max": 0,
    }
    assert (busy["transactions"], busy["waited_ms"]) == (1000, 1.0)
    assert (busy["waiting_max"], busy["serving_max"]) == (7, 20)


def test_a_pooler_that_was_restarted_counts_from_nothing() -> None:
    looks = [Look(0, pools={"app_rw": pool(1000, 9_000_000)}), Look(5, pools={"app_rw": pool(10, 20_000)})]
    [busy] = told(looks, cores=1)["pools"]
    assert (busy["transactions"], busy["waited_ms"]) == (10, 2.0)


def test_a_pool_that_nobody_had_used_before_is_told_of() -> None:
    [busy] = told([Look(0), Look(5, pools={"app_rw": pool(10, 0)})], cores=1)["pools"]
    assert busy["transactions"] == 0


@pytest.mark.parametrize("looks", [[{"pg2": 0.1}, {"pg2": 2.5}, {"pg2": 0.2}], [{}, {"pg2": 2.5}, {}]])
def test_the_longest_lag_counts(looks: list[dict[str, float]]) -> None:
    found = told([Look(float(at), lags=lags) for at, lags in enumerate(looks)], cores=1)
    assert found["replicas"] == [{"name": "pg2", "lag_max_s": 2.5}]


# What systemd 257 showed in a container, where nobody counts, and on a machine.
SHOWN = r"""
ControlGroup=/machine/system.slice/system-payaid\x2dapp.slice/payaid-app@3001.service
CPUUsageNSec=[not set]
Id=payaid-app@3001.service

ControlGroup=/system.slice/nginx.service
CPUUsageNSec=2500000000
Id=nginx.service

ControlGroup=
CPUUsageNSec=18446744073709551615
Id=payaid-app@3002.service
"""
APP = r"/machine/system.slice/system-payaid\x2dapp.slice/payaid-app@3001.service"


def test_what_is_counted_by_units_and_what_is_not() -> None:
    assert used_by_units(SHOWN) == (2.5, [APP])
    assert used_by_units("") == (0, [])


@pytest.mark.parametrize(
    ("path", "of_it"),
    [(APP, True), (f"{APP}/worker", True), (f"{APP}s", False), (APP[:-1], False), ("/", False)],
)
def test_whose_a_process_is(path: str, *, of_it: bool) -> None:
    assert belongs(f"2:cpuacct:/machine\n1:name=systemd:{path}\n0::{path}\n", [APP]) is of_it
