# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes come and go while clients ask all the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Fleet

testinfra_hosts = ["localhost"]


def test_a_node_leaves_and_comes_back_and_nobody_notices(fleet: Fleet) -> None:
    fleet.scale("1")
    with fleet.traffic() as account:
        fleet.scale("1", app_nodes_active=2)
    assert account.errors == []
    assert fleet.upstream() == dict.fromkeys(fleet.endpoints("app1", "app2"), True)
    assert {state for unit, state in fleet.units("app3").items()} <= {"inactive"}
    assert fleet.machines("app3").run("systemctl is-enabled payaid-app@3000").stdout.strip() == "disabled"
    assert "changed=1" not in fleet.scale("1", app_nodes_active=2)
    with fleet.traffic() as account:
        fleet.scale("1", app_nodes_active=3)
    assert account.errors == []
    assert fleet.all_serve("1")
    assert fleet.upstream() == dict.fromkeys(fleet.endpoints("app1", "app2", "app3"), True)


def test_a_node_that_comes_back_has_the_release_of_the_others(fleet: Fleet) -> None:
    fleet.scale("1", app_nodes_active=2)
    with fleet.traffic() as account:
        fleet.scale("2", app_nodes_active=2)
        assert fleet.all_serve("2", ("app1", "app2"))
        fleet.scale("2")
    assert account.errors == []
    assert fleet.all_serve("2")


def test_a_node_that_does_not_start_is_stopped_again_and_the_others_serve_on(fleet: Fleet) -> None:
    fleet.scale("2", app_nodes_active=2)
    third = fleet.machines("app3")
    folder = "/run/systemd/system/payaid-app@3001.service.d"
    third.check_output(
        "mkdir %s && printf '[Service]\\nExecStartPre=/bin/false\\n' >%s/broken.conf", folder, folder
    )
    third.check_output("systemctl daemon-reload")
    try:
        with fleet.traffic() as account:
            said = fleet.scale("2", fails=True, app_nodes_active=3)
        assert "Release 2 was given up: app3: `systemctl restart payaid-app@3001.service` failed" in said
        assert "All nodes serve 2 again. Stopped again: app3." in said
        assert account.errors == []
        assert fleet.upstream() == dict.fromkeys(fleet.endpoints("app1", "app2"), True)
        assert {state for unit, state in fleet.units("app3").items()} <= {"inactive", "failed"}
    finally:
        third.check_output("rm -r %s && systemctl daemon-reload", folder)
    with fleet.traffic() as account:
        fleet.scale("2")
    assert account.errors == []
    assert fleet.all_serve("2")
    assert fleet.drained() == set()


def test_a_process_that_is_not_wanted_any_more_is_stopped(fleet: Fleet) -> None:
    with fleet.traffic() as account:
        fleet.scale("2", app_node_worker_ports=[])
    assert account.errors == []
    assert fleet.units("app1")["payaid-app@3000.service"] == "active"
    assert fleet.units("app1").get("payaid-app-worker@3100.service", "inactive") == "inactive"
    fleet.scale("2")
    assert fleet.all_serve("2")
