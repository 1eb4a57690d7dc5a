# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a host from sharing an address, a row a case."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.filter.keepalived import (
    FilterModule,
    keepalived_link,
    keepalived_problems,
)

# As ansible-core gathers them, less what is not looked at.
FACTS: dict[str, Any] = {
    "interfaces": ["lo", "eth0", "br-lan"],
    "default_ipv4": {"address": "192.0.2.11", "interface": "eth0", "netmask": "255.255.255.0"},
    "lo": {"device": "lo", "ipv4": {"address": "127.0.0.1", "netmask": "255.0.0.0"}},
    "eth0": {
        "device": "eth0",
        "ipv4": {"address": "192.0.2.11", "netmask": "255.255.255.0"},
        "ipv4_secondaries": [{"address": "192.0.2.10", "netmask": "255.255.255.255"}],
    },
    "br_lan": {"device": "br-lan", "ipv4": {"address": "10.0.0.9", "netmask": "255.255.255.248"}},
    "eth1": {"device": "eth1", "ipv6": []},
}
LINK = {"name": "eth0", "network": "192.0.2.0/24"}
FINE: dict[str, Any] = {
    "virtual_ip": "192.0.2.10",
    "address": "192.0.2.11",
    "members": ["192.0.2.11", "192.0.2.12"],
    "interface": "",
    "prefix_length": 32,
    "router_id": 51,
    "advert_interval": 1.0,
}


@pytest.mark.parametrize(
    ("address", "interface", "link"),
    [
        ("192.0.2.11", "", LINK),
        ("192.0.2.11", "eth0", LINK),
        ("192.0.2.11", "br-lan", {}),
        ("10.0.0.9", "", {"name": "br-lan", "network": "10.0.0.8/29"}),
        ("192.0.2.99", "", {}),
    ],
)
def test_the_interface_is_found_by_the_address(address: str, interface: str, link: dict[str, str]) -> None:
    assert keepalived_link(FACTS, address, interface) == link


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"router_id": 255},
        {"advert_interval": 0.1},
        {"members": [f"192.0.2.{last}" for last in range(11, 31)]},
    ],
)
def test_what_can_be_shared_has_no_problem(given: dict[str, Any]) -> None:
    assert keepalived_problems(FINE | given, "lb1", LINK) == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (
            {"virtual_ip": ""},
            "no keepalived_virtual_ip: set it to an IPv4 address that is free in the network of its "
            "machines.",
        ),
        (
            {"virtual_ip": "www.example.org"},
            "keepalived_virtual_ip=www.example.org, which is not an IPv4 address: set it to one.",
        ),
        (
            {"virtual_ip": "192.0.2.12"},
            "keepalived_virtual_ip=192.0.2.12, which is the own address of one of keepalived_members: choose "
            "one that no machine has.",
        ),
        (
            {"virtual_ip": "198.51.100.10"},
            "keepalived_virtual_ip=198.51.100.10, which no machine can have in 192.0.2.0/24, the network of "
            "eth0: choose one in it.",
        ),
        (
            {"virtual_ip": "192.0.2.255"},
            "keepalived_virtual_ip=192.0.2.255, which no machine can have in 192.0.2.0/24, the network of "
            "eth0: choose one in it.",
        ),
        (
            {"members": ["192.0.2.11"]},
            "keepalived_members=192.0.2.11: list the addresses of 2 to 20 machines, each once.",
        ),
        (
            {"members": ["192.0.2.11", "192.0.2.11"]},
            "keepalived_members=192.0.2.11, 192.0.2.11: list the addresses of 2 to 20 machines, each once.",
        ),
        (
            {"members": ["192.0.2.12", "192.0.2.13"]},
            "keepalived_address=192.0.2.11, which is not among keepalived_members: add it there.",
        ),
        ({"router_id": 0}, "keepalived_router_id=0: set it to a number from 1 to 255."),
        ({"router_id": 256}, "keepalived_router_id=256: set it to a number from 1 to 255."),
        ({"advert_interval": 0.05}, "keepalived_advert_interval=0.05: set it to 0.1 to 40 seconds."),
        ({"prefix_length": 0}, "keepalived_prefix_length=0: set it to a number from 1 to 32."),
    ],
)
def test_what_cannot_be_shared_is_said_in_a_sentence(given: dict[str, Any], problem: str) -> None:
    assert keepalived_problems(FINE | given, "lb1", LINK) == [f"lb1 has {problem}"]


@pytest.mark.parametrize(
    ("interface", "where"), [("", "on none of its interfaces"), ("eth7", "not on keepalived_interface=eth7")]
)
def test_an_address_that_is_on_no_interface_is_said(interface: str, where: str) -> None:
    assert keepalived_problems(FINE | {"interface": interface}, "lb1", {}) == [
        f"lb1 has keepalived_address=192.0.2.11, which is {where}: set it to what `ip -br address` "
        "shows there."
    ]


def test_every_filter_is_offered() -> None:
    assert all(callable(function) for function in FilterModule().filters().values())
