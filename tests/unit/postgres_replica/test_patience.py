# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long is waited for a standby that fetches WAL."""

from __future__ import annotations

import itertools
import types

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.io import Host

from .states import DESIRED


@pytest.fixture
def host() -> Host:
    """Return a host of which only the waiting is tried."""
    host = object.__new__(Host)
    host.desired = DESIRED
    host.system = types.SimpleNamespace(host="db2")  # type: ignore[assignment]
    host.service = types.SimpleNamespace(log="/nonexistent")
    return host


def answers() -> list[str | None]:
    return [*["it is on its way"] * 6, None]


def test_who_comes_nearer_is_given_more_time(host: Host) -> None:
    left, position = iter(answers()), itertools.count()
    host._until(lambda: next(left), 0.5, lambda: next(position))
    assert list(left) == []


def test_who_stands_still_is_not(host: Host) -> None:
    left = iter(answers())
    with pytest.raises(Refusal, match=r"after 0\.5 s PostgreSQL 17/main does not follow"):
        host._until(lambda: next(left), 0.5, lambda: 1)
