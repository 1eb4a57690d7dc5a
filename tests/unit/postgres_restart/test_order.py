# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A rolling restart as the playbook does it: at no moment does a standby run with less than its primary."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ansible_collections.payaid.scaling.plugins.filter.postgres_settings import (
    postgres_bounds,
    postgres_pending,
    postgres_within,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import MATCHED_SETTINGS
from hypothesis import given, settings
from hypothesis import strategies as st

Values = dict[str, int]
NAMES = MATCHED_SETTINGS[:2]
HOSTS, WRITER = ("pg1", "pg2", "pg3"), "pg1"
values = st.fixed_dictionaries({name: st.integers(50, 55) for name in NAMES})
more = st.fixed_dictionaries({name: st.integers(0, 3) for name in NAMES})


@dataclass
class Server:
    """What runs, and what its files say."""

    running: Values
    written: Values

    def restart(self) -> None:
        self.running = dict(self.written)


class Platform:
    """Three servers; nobody but the first takes writes."""

    def __init__(self, primary: Values, above: list[Values]) -> None:
        standbys = [{name: primary[name] + extra[name] for name in NAMES} for extra in above]
        self.servers = {
            host: Server(dict(running), dict(running))
            for host, running in zip(HOSTS, (primary, *standbys), strict=True)
        }

    def infos(self) -> dict[str, Any]:
        return {
            host: {
                "role": "primary" if host == WRITER else "standby",
                "limits": server.running,
                "pending_restart": [name for name in NAMES if server.running[name] != server.written[name]],
            }
            for host, server in self.servers.items()
        }

    def write(self, wanted: Values) -> None:
        """Do what site.yml does: all that is known is of before."""
        infos = self.infos()
        for host, server in self.servers.items():
            held = postgres_within(wanted, **postgres_bounds(infos, WRITER, host))
            server.written = {name: int(held[name]) for name in NAMES}

    def steps(self, wanted: Values) -> Iterator[None]:
        """Do what postgres_rolling_restart.yml does, restarting only those that wait."""
        for part in (HOSTS[1:], (WRITER,), HOSTS[1:]):
            self.write(wanted)
            yield
            for host in part:
                if self.infos()[host]["pending_restart"]:
                    self.servers[host].restart()
                    yield

    def is_safe(self) -> bool:
        primary = self.servers[WRITER].running
        return all(
            server.running[name] >= primary[name] for server in self.servers.values() for name in NAMES
        )


@settings(max_examples=500)
@given(values, st.lists(more, min_size=2, max_size=2), values)
def test_a_rolling_restart_is_safe_at_every_moment_and_ends_in_what_is_wanted(
    primary: Values, above: list[Values], wanted: Values
) -> None:
    platform = Platform(primary, above)
    for _round in platform.steps(wanted):
        assert platform.is_safe()
    assert [server.running for server in platform.servers.values()] == [wanted] * 3
    before = [dict(server.running) for server in platform.servers.values()]
    for _round in platform.steps(wanted):
        assert postgres_pending(platform.infos(), WRITER) == []
    assert [server.running for server in platform.servers.values()] == before


@settings(max_examples=500)
@given(values, st.lists(more, min_size=2, max_size=2), values, values, st.integers(0, 9), st.data())
def test_a_server_that_starts_unplanned_is_safe_at_any_moment_even_when_another_value_is_wanted_meanwhile(
    primary: Values, above: list[Values], wanted: Values, other: Values, broken_off: int, data: st.DataObject
) -> None:
    platform = Platform(primary, above)
    for count, _round in enumerate(platform.steps(wanted)):
        # A machine boots, or PostgreSQL is killed and comes back.
        platform.servers[data.draw(st.sampled_from(HOSTS))].restart()
        assert platform.is_safe()
        if count == broken_off:
            break
    for _round in platform.steps(other):
        assert platform.is_safe()
    assert [server.running for server in platform.servers.values()] == [other] * 3
