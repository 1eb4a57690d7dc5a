# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lab role computes, a row a case."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.filter.lab import (
    FilterModule,
    lab_containers,
    lab_machines_of,
    lab_networks,
    lab_problems,
    lab_table,
)

IMAGE = "localhost/payaid-lab:13-abc"
# Interface, destination, gateway, flags, reference count, use, metric, mask: as the kernel writes them.
ROUTES = """\
Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT
eth0\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
eth0\t0000A8C0\t00000000\t0001\t0\t0\t100\t00FFFFFF\t0\t0\t0
"""
VPN = ROUTES + "tun0\t004D590A\t00000000\t0001\t0\t0\t50\t00FFFFFF\t0\t0\t0\n"  # 10.89.77.0/24
WIDE_VPN = ROUTES + "tun0\t0000000A\t00000000\t0001\t0\t0\t50\t000000FF\t0\t0\t0\n"  # 10.0.0.0/8
NEIGHBOUR = ROUTES + "tun0\t004E590A\t00000000\t0001\t0\t0\t50\t00FFFFFF\t0\t0\t0\n"  # 10.89.78.0/24
MACHINES = [{"name": "lb1", "address": "10.89.77.11"}, {"name": "app1", "address": "10.89.77.21"}]


def container(
    name: str, label: str | None = "payaid", *, status: str = "running", networks: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "Name": name,
        "ImageName": IMAGE,
        "Config": {"Labels": None if label is None else {"payaid.lab": label}},
        "State": {"Status": status},
        "NetworkSettings": {"Networks": {name: {} for name in networks}},
    }


def network(name: str = "payaid", subnet: str = "10.89.77.0/24", *, ours: bool = True) -> dict[str, Any]:
    return {"name": name, "subnets": [subnet], "ours": ours}


def seen(**changes: Any) -> dict[str, Any]:
    return lab_containers([], "payaid") | changes


def problems(**changes: Any) -> list[str]:
    given: dict[str, Any] = {
        "machines": MACHINES,
        "name": "payaid",
        "subnet": "10.89.77.0/24",
        "image": IMAGE,
        "seen": seen(),
        "networks": [],
        "routes": ROUTES,
        "meminfo": "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n",
        "memory_per_machine_mb": 250,
        "inotify_limit": 128,
        "inotify_used": 30,
        "podman": True,
    } | changes
    return lab_problems(given.pop("machines"), **given)


def at(*addresses: str) -> list[dict[str, str]]:
    return [{"name": f"m{i}", "address": address} for i, address in enumerate(addresses, start=1)]


FINE: dict[str, dict[str, Any]] = {
    "an empty computer": {},
    "a neighbouring route": {"routes": NEIGHBOUR},
    "a neighbouring podman network": {"networks": [network("other", "10.89.78.0/24", ours=False)]},
    "its own network, which has a route by now": {"networks": [network()], "routes": VPN},
    "its own machines": {"seen": seen(machines={"lb1": IMAGE}, running=["lb1"])},
    "a machine whose image has lost its name": {"seen": seen(machines={"lb1": ""}, running=["lb1"])},
    "the machines of a lab whose name begins the same": {"seen": seen(strangers=["payaid-b-lb1"])},
    "too little memory, but all machines run": {
        "seen": seen(machines={"lb1": IMAGE, "app1": IMAGE}, running=["app1", "lb1"]),
        "meminfo": "MemAvailable: 1024 kB\n",
    },
    "the first and the last address": {"machines": at("10.89.77.3", "10.89.77.254")},
    "just enough memory": {"meminfo": f"MemAvailable: {500 * 1024} kB\n"},
    "just enough inotify instances": {"inotify_used": 118},
    "no inotify instance left, but all machines run": {
        "seen": seen(machines={"lb1": IMAGE, "app1": IMAGE}, running=["app1", "lb1"]),
        "inotify_used": 128,
    },
}


@pytest.mark.parametrize("changes", FINE.values(), ids=FINE)
def test_nothing_speaks_against(changes: dict[str, Any]) -> None:
    assert problems(**changes) == []


SPEAKS_AGAINST: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no podman": (
        {"podman": False},
        ["podman is not installed on this computer: install it, or set lab_install_host_packages=true."],
    ),
    "no machines": ({"machines": []}, ["lab_machines is empty: name at least one machine."]),
    "no subnet": (
        {"subnet": "lab"},
        ["lab_subnet=lab is not an IPv4 network: Expected 4 octets in 'lab'."],
    ),
    "an address for a subnet": (
        {"subnet": "10.89.77.1/24"},
        ["lab_subnet=10.89.77.1/24 is not an IPv4 network: 10.89.77.1/24 has host bits set."],
    ),
    "a small subnet": ({"subnet": "10.89.77.0/25"}, ["lab_subnet=10.89.77.0/25 must be a /24."]),
    "the computer's own address": (
        {"machines": at("10.89.77.1")},
        ["m1: address 10.89.77.1 must lie in 10.89.77.0/24, from .3 to .254."],
    ),
    "the cache's address": (
        {"machines": at("10.89.77.2")},
        ["m1: address 10.89.77.2 must lie in 10.89.77.0/24, from .3 to .254."],
    ),
    "an address of another subnet": (
        {"machines": at("10.89.78.11")},
        ["m1: address 10.89.78.11 must lie in 10.89.77.0/24, from .3 to .254."],
    ),
    "a name for an address": (
        {"machines": at("lb1.example.org")},
        ["m1: address lb1.example.org must lie in 10.89.77.0/24, from .3 to .254."],
    ),
    "an IPv6 address": (
        {"machines": at("fd00::11")},
        ["m1: address fd00::11 must lie in 10.89.77.0/24, from .3 to .254."],
    ),
    "an address twice": (
        {"machines": at("10.89.77.11", "10.89.77.11")},
        ["m2 and m1 share the address 10.89.77.11."],
    ),
    "a stranger in the way": (
        {"seen": seen(strangers=["payaid-lb1"])},
        ["The container payaid-lb1 exists and is not this lab's: choose another lab_name (LAB_NAME)."],
    ),
    "a stranger's network": (
        {"networks": [network(ours=False)]},
        ["The network payaid exists and is not this lab's: choose another lab_name (LAB_NAME)."],
    ),
    "machines of another image": (
        {"seen": seen(machines={"lb1": "localhost/payaid-lab:12-abc"}, running=["lb1"])},
        [
            "The lab payaid runs machines of another image (localhost/payaid-lab:12-abc, wanted "
            f"{IMAGE}): take it away first with `make lab-down`."
        ],
    ),
    "its own network with another subnet": (
        {"networks": [network(subnet="10.89.79.0/24")]},
        [
            "The network payaid has the subnet 10.89.79.0/24, wanted 10.89.77.0/24: "
            "`make lab-down` first, or keep LAB_SUBNET."
        ],
    ),
    "a podman network in the way": (
        {"networks": [network("other", "10.89.0.0/16", ours=False)]},
        ["lab_subnet=10.89.77.0/24 is taken by the podman network other: set LAB_SUBNET."],
    ),
    "a route in the way": (
        {"routes": VPN},
        ["lab_subnet=10.89.77.0/24 is taken by the route 10.89.77.0/24 on tun0: set LAB_SUBNET."],
    ),
    "a wide route in the way": (
        {"routes": WIDE_VPN},
        ["lab_subnet=10.89.77.0/24 is taken by the route 10.0.0.0/8 on tun0: set LAB_SUBNET."],
    ),
    "too little memory": (
        {"meminfo": f"MemAvailable: {499 * 1024} kB\n"},
        [
            "2 machines need 500 MiB of free memory and this computer has 499 MiB: "
            "close something, or use LAB_SIZE=small."
        ],
    ),
    "too little memory for the one that is missing": (
        {"seen": seen(machines={"lb1": IMAGE}, running=["lb1"]), "meminfo": "MemAvailable: 1024 kB\n"},
        [
            "1 machines need 250 MiB of free memory and this computer has 1 MiB: "
            "close something, or use LAB_SIZE=small."
        ],
    ),
    "too few inotify instances": (
        {"inotify_used": 119},
        [
            "2 machines need 10 inotify instances and root has 9 of 128 left: allow more by "
            "`sudo sysctl fs.inotify.max_user_instances=256`, or use LAB_SIZE=small."
        ],
    ),
    "too few inotify instances for many machines": (
        {"machines": at(*(f"10.89.77.{n}" for n in range(11, 44))), "meminfo": "MemAvailable: 9000000 kB\n"},
        [
            "33 machines need 165 inotify instances and root has 98 of 128 left: allow more by "
            "`sudo sysctl fs.inotify.max_user_instances=256`, or use LAB_SIZE=small."
        ],
    ),
    "no inotify instance for the one that is missing, and more in use than is allowed by now": (
        {"seen": seen(machines={"lb1": IMAGE}, running=["lb1"]), "inotify_used": 600, "inotify_limit": 512},
        [
            "1 machines need 5 inotify instances and root has 0 of 512 left: allow more by "
            "`sudo sysctl fs.inotify.max_user_instances=1024`, or use LAB_SIZE=small."
        ],
    ),
    "several things at once": (
        {"machines": at("10.89.77.2"), "networks": [network(ours=False)], "meminfo": "MemAvailable: 0 kB\n"},
        [
            "m1: address 10.89.77.2 must lie in 10.89.77.0/24, from .3 to .254.",
            "The network payaid exists and is not this lab's: choose another lab_name (LAB_NAME).",
            "1 machines need 250 MiB of free memory and this computer has 0 MiB: "
            "close something, or use LAB_SIZE=small.",
        ],
    ),
}


@pytest.mark.parametrize(("changes", "said"), SPEAKS_AGAINST.values(), ids=SPEAKS_AGAINST)
def test_what_speaks_against_is_said(changes: dict[str, Any], said: list[str]) -> None:
    assert problems(**changes) == said


def test_containers_are_sorted() -> None:
    sorted_out = lab_containers(
        [
            container("payaid-pg1"),
            container("payaid-app1", status="exited"),
            container("payaid-mine", label=None),
            container("payaid-b-lb1", label="payaid-b"),
            container("elsewhere", label="payaid"),
            container("unrelated", label=None),
            container("payaid-lab-cache", label="cache", networks=("payaid-b", "payaid")),
        ],
        "payaid",
    )
    assert sorted_out == {
        "machines": {"pg1": IMAGE, "app1": IMAGE},
        "containers": ["payaid-app1", "payaid-pg1"],
        "running": ["pg1"],
        "stopped": ["app1"],
        "strangers": ["payaid-b-lb1", "payaid-mine"],
        "cache": {"exists": True, "running": True, "networks": ["payaid", "payaid-b"]},
    }


@pytest.mark.parametrize(
    ("found", "cache"),
    [
        pytest.param([], {"exists": False, "running": False, "networks": []}, id="none"),
        pytest.param(
            [container("payaid-lab-cache", "cache", status="exited", networks=("payaid",))],
            {"exists": True, "running": False, "networks": ["payaid"]},
            id="stopped",
        ),
        pytest.param(
            [container("payaid-lab-cache", None)],
            {"exists": False, "running": False, "networks": []},
            id="a stranger of its name",
        ),
    ],
)
def test_the_cache_is_known_by_name_and_label(found: list[dict[str, Any]], cache: dict[str, Any]) -> None:
    assert lab_containers(found, "payaid")["cache"] == cache


def test_a_stranger_with_the_caches_name_is_a_stranger() -> None:
    assert lab_containers([container("payaid-lab-cache", None)], "payaid")["strangers"] == [
        "payaid-lab-cache"
    ]


def test_networks_are_reduced_to_ipv4_and_ownership() -> None:
    told = lab_networks(
        [
            {
                "name": "payaid",
                "subnets": [{"subnet": "10.89.77.0/24"}, {"subnet": "fd00::/64"}],
                "labels": {"payaid.lab": "payaid"},
            },
            {"name": "podman", "subnets": [{"subnet": "10.88.0.0/16"}], "labels": None},
            {"name": "macvlan"},
        ]
    )
    assert told == [
        {"name": "payaid", "subnets": ["10.89.77.0/24"], "ours": True},
        {"name": "podman", "subnets": ["10.88.0.0/16"], "ours": False},
        {"name": "macvlan", "subnets": [], "ours": False},
    ]


def test_inventory_hosts_become_machines() -> None:
    hostvars = {"lb1": {"ansible_host": "10.89.77.11"}, "pg1": {"ansible_host": "10.89.77.31"}}
    assert lab_machines_of(["pg1", "lb1"], hostvars) == [
        {"name": "pg1", "address": "10.89.77.31"},
        {"name": "lb1", "address": "10.89.77.11"},
    ]


def test_the_table_gives_the_state_of_each_machine() -> None:
    lines = lab_table(
        [*MACHINES, {"name": "pg1", "address": "10.89.77.31"}],
        name="payaid",
        seen=seen(running=["lb1"], stopped=["app1"]),
    )
    assert [line.split() for line in lines] == [
        ["payaid-lb1", "10.89.77.11", "running"],
        ["payaid-app1", "10.89.77.21", "stopped"],
        ["payaid-pg1", "10.89.77.31", "missing"],
    ]


def test_every_filter_is_offered() -> None:
    assert all(callable(function) for function in FilterModule().filters().values())
