# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes settings under traffic: what was acknowledged stays, and no shard has two members away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.payaid.scaling.molecule.conftest import Playbooks

    from .conftest import Access, Account

testinfra_hosts = ["redis1"]


def started(access: Access) -> dict[str, str]:
    """Return the name that every instance has given itself at its start."""
    found = {}
    for address, port in access.everybody:
        info: Any = access.instance(address, port).info("server")
        found[f"{address}:{port}"] = info["run_id"]
    return found


def settings(access: Access, name: str) -> set[str]:
    found = set()
    for address, port in access.everybody:
        said: Any = access.instance(address, port).config_get(name)
        found.add(said[name])
    return found


@pytest.fixture(scope="module", autouse=True)
def put_back(playbooks: Playbooks) -> Iterator[None]:
    """Leave the machines as the scenario made them, however the tests end."""
    yield
    playbooks.converge()


def test_what_can_be_set_under_way_restarts_nothing(
    access: Access, playbooks: Playbooks, traffic: Account
) -> None:
    before, shard = started(access), access.shards()
    said = playbooks.converge(
        redis_server_maxmemory="300mb", redis_server_settings={"slowlog-log-slower-than": 5000}
    )
    assert "changed=0" not in said
    traffic.prove(shard)
    assert settings(access, "maxmemory") == {str(300 * 1024 * 1024)}
    assert settings(access, "slowlog-log-slower-than") == {"5000"}
    assert traffic.away == {frozenset()}
    assert started(access) == before


def test_what_needs_a_restart_rolls(access: Access, playbooks: Playbooks, traffic: Account) -> None:
    before, shard = started(access), access.shards()
    changed = {"tcp-backlog": 1024, "io-threads": 2}
    playbooks.converge(redis_server_settings=changed)
    traffic.prove(shard)
    assert settings(access, "tcp-backlog") == {"1024"}
    assert settings(access, "io-threads") == {"2"}
    assert not set(before.values()) & set(started(access).values()), "an instance was not restarted"
    assert {len(away) for away in traffic.away} == {0, 1}, "the watch saw no restart at all"
    # What it has become is what it stays: nothing is restarted again.
    now = started(access)
    assert "changed=0" in playbooks.converge(redis_server_settings=changed)
    assert started(access) == now


def test_a_setting_that_no_server_would_take_changes_nothing(access: Access, playbooks: Playbooks) -> None:
    before = started(access)
    with pytest.raises(AssertionError, match="would not run with the settings"):
        playbooks.converge(redis_server_settings={"maxmemory-polcy": "noeviction"})
    assert started(access) == before
    assert all(access.instance(address, port).ping() for address, port in access.everybody)
