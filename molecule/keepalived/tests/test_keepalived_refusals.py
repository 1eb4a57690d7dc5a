# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cannot be shared is refused in a sentence, and the pair goes on; the machines are in good order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Pair

testinfra_hosts = ["localhost"]


def refused(pair: Pair, **variables: Any) -> str:
    said = pair.play.converge("--tags=keepalived_preflight", fails=True, **variables)
    return " ".join(said.split())


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"platform_virtual_ip": "192.0.2.1"},
            "lb2 has keepalived_virtual_ip=192.0.2.1, which no machine can have in",
        ),
        ({"platform_virtual_ip": "here"}, "lb1 has keepalived_virtual_ip=here, which is not an IPv4 address"),
        (
            {"keepalived_router_id": 256},
            "lb1 has keepalived_router_id=256: set it to a number from 1 to 255.",
        ),
        ({"keepalived_members": ["192.0.2.1"]}, "list the addresses of 2 to 20 machines, each once."),
        ({"keepalived_interface": "eth7"}, "which is not on keepalived_interface=eth7"),
        ({"keepalived_advert_interval": 0.01}, "set it to 0.1 to 40 seconds."),
    ],
)
def test_what_cannot_be_shared_is_refused(any_pair: Pair, variables: dict[str, Any], sentence: str) -> None:
    assert sentence in refused(any_pair, **variables)


def test_an_address_that_a_machine_has_is_refused(any_pair: Pair) -> None:
    said = refused(any_pair, platform_virtual_ip=any_pair.addresses["lb2"])
    assert "which is the own address of one of keepalived_members" in said
    said = refused(any_pair, platform_virtual_ip=any_pair.addresses["app1"])
    assert "is answered for by 02:00:" in said
    assert "choose an address that is free, or take it from that machine." in said


def test_it_goes_back_to_the_first_where_that_is_asked_for(any_pair: Pair) -> None:
    any_pair.play.converge()
    if any_pair.settle() == "lb1":
        any_pair.run("lb1", "systemctl restart keepalived")
    assert any_pair.settle() == "lb2"
    any_pair.play.converge(keepalived_preempt=True)
    assert any_pair.settle() == "lb1"


def test_the_machines_are_in_good_order(any_pair: Pair) -> None:
    any_pair.play.converge()
    any_pair.settle()
    for name in ("lb1", "lb2"):
        machine = any_pair.machines(name)
        assert machine.service("keepalived").is_enabled
        assert machine.check_output("systemctl is-system-running") == "running"
        # It asks for a few milliseconds of every second.
        machine.check_output("timeout 20 sh -c 'until ps -o user= -C curl | grep keepaliv; do :; done'")
        said = machine.check_output("systemd-analyze security --no-pager keepalived.service | tail -n 1")
        assert float(said.split()[-3]) < 5, said
