# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Releases go out, fail and go back while clients ask all the time. Each test leaves all nodes serving."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Patience

    from .conftest import Fleet

testinfra_hosts = ["localhost"]
ROLLBACK = "playbooks/rollback_release.yml"


def test_a_release_goes_out_and_nobody_notices(fleet: Fleet) -> None:
    assert fleet.all_serve("1")
    with fleet.traffic() as account:
        fleet.deploy("2")
    assert account.errors == []
    assert account.releases == {"1", "2"}
    assert account.answers > 200
    assert fleet.all_serve("2")
    assert fleet.drained() == set()
    assert "changed=1" not in fleet.deploy("2")


def test_two_nodes_at_once(fleet: Fleet) -> None:
    with fleet.traffic() as account:
        fleet.deploy("3", app_node_batch="67%")
    assert account.errors == []
    assert fleet.all_serve("3")


@pytest.mark.parametrize("release", ["crash", "sick", "hang"])
def test_a_release_that_does_not_come_up_is_taken_back_everywhere(fleet: Fleet, release: str) -> None:
    with fleet.traffic() as account:
        said = fleet.deploy(release, fails=True)
    assert f"Release {release} was given up: app1: the process on port 3000 did not serve" in said
    assert "All nodes serve 3 again." in said
    assert account.errors == []
    assert account.releases == {"3"}
    assert fleet.all_serve("3")
    assert fleet.drained() == set()


def test_a_release_that_fails_on_the_second_node_is_taken_back_on_the_first(fleet: Fleet) -> None:
    """What keeps it from starting there is that node's own trouble, and no other node's."""
    second = fleet.machines("app2")
    folder = "/run/systemd/system/payaid-app@3001.service.d"
    second.check_output(
        "mkdir %s && printf '[Service]\\nExecStartPre=/bin/false\\n' >%s/broken.conf",
        folder,
        folder,
    )
    second.check_output("systemctl daemon-reload")
    try:
        with fleet.traffic() as account:
            said = fleet.deploy("2", fails=True)
        given_up = "Release 2 was given up: app2: `systemctl restart payaid-app@3001.service` failed"
        assert given_up in said
        assert account.errors == []
        assert fleet.serve("app1") == fleet.serve("app3") == {"3"}
        assert "Without requests, because what they serve is not known: app2" in said
        assert fleet.drained() == fleet.endpoints("app2")
    finally:
        second.check_output("rm -r %s && systemctl daemon-reload", folder)
    with fleet.traffic() as account:
        fleet.deploy("2")
    assert account.errors == []
    assert fleet.all_serve("2")
    assert fleet.drained() == set()


def test_a_run_that_is_killed_is_finished_by_the_next(fleet: Fleet) -> None:
    with fleet.traffic() as account:
        run = fleet.begin("3")
        deadline = time.monotonic() + 120
        while "3" not in account.releases:
            assert time.monotonic() < deadline
            assert run.poll() is None
            time.sleep(0.1)
        os.killpg(run.pid, signal.SIGKILL)
        run.communicate()
        fleet.deploy("3")
    assert account.errors == []
    assert fleet.all_serve("3")
    assert fleet.drained() == set()


def test_a_node_that_a_killed_run_has_left_out_is_taken_in(fleet: Fleet) -> None:
    """Also where nothing else is to be done; but not one that somebody keeps out."""
    (release,) = fleet.serve("app1")
    third = fleet.endpoints("app3")
    fleet.leave_out(third)
    assert fleet.drained() == third
    fleet.deploy(release, nginx_upstream_drained=sorted(third))
    assert fleet.drained() == third
    fleet.deploy(release)
    assert fleet.drained() == set()


def test_back_to_a_release_that_is_kept(fleet: Fleet) -> None:
    said = " ".join(fleet.play(ROLLBACK, fails=True, rollback_to="9").split())
    assert "app1 has the releases 1, 2, 3" in said
    assert "say which one" in said
    # What was given up is no place to go back to.
    assert "crash" not in said
    with fleet.traffic() as account:
        fleet.play(ROLLBACK, rollback_to="1")
    assert account.errors == []
    assert account.releases == {"1", "3"}
    assert fleet.all_serve("1")


def test_a_balancer_that_cannot_be_told_stops_a_release_before_it_begins(
    fleet: Fleet, soon: Patience
) -> None:
    fleet.power("kill", "lb2", "--signal=KILL")
    try:
        said = fleet.deploy("2", fails=True)
        assert "lb2 cannot be reached and may still send requests" in said
        assert fleet.all_serve("1")
    finally:
        fleet.power("start", "lb2")
    soon(lambda: fleet.ask(f"http://{fleet.addresses['lb2']}/health").status == 200, 60)


def test_a_node_that_is_lost_on_the_way_sends_the_others_back(fleet: Fleet, soon: Patience) -> None:
    run = fleet.begin("2")
    soon(lambda: fleet.serve("app1") == {"2"}, 120)
    fleet.power("kill", "app3", "--signal=KILL")
    try:
        said = " ".join(run.communicate()[0].split())
        assert run.returncode != 0
        assert "Release 2 was given up" in said
        assert fleet.serve("app1") == fleet.serve("app2") == {"1"}
    finally:
        fleet.power("start", "app3")
    soon(lambda: fleet.serve("app3") == {"1"}, 60)
    fleet.deploy("1")
    assert fleet.all_serve("1")
    assert fleet.drained() == set()
