# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role keepalived finds out before it changes anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

MOST_MEMBERS = 20
ROUTER_IDS = range(1, 256)
# Below, signs of life are late on any machine that works; above, VRRP cannot say it.
SHORTEST_INTERVAL = 0.1
LONGEST_INTERVAL = 40


def keepalived_link(facts: Mapping[str, Any], address: str, interface: str = "") -> dict[str, str]:
    """Return the interface that carries an address, and its network; nothing where none does."""
    for fact in facts.values():
        if not isinstance(fact, Mapping) or not {"device", "ipv4"} <= fact.keys():
            continue
        for one in (fact["ipv4"], *fact.get("ipv4_secondaries", ())):
            if one.get("address") == address and interface in ("", fact["device"]):
                network = IPv4Interface(f"{address}/{one['netmask']}").network
                return {"name": str(fact["device"]), "network": str(network)}
    return {}


def keepalived_problems(given: Mapping[str, Any], host: str, link: Mapping[str, str]) -> list[str]:
    """Return a sentence for each thing that keeps a host from sharing an address; none when it can."""
    return [f"{host} has {problem}" for problem in _problems(given, link)]


def _problems(given: Mapping[str, Any], link: Mapping[str, str]) -> Iterator[str]:
    address, members = given["address"], given["members"]
    if len(set(members)) != len(members) or not 2 <= len(members) <= MOST_MEMBERS:
        yield (
            f"keepalived_members={', '.join(members) or '(none)'}: list the addresses of 2 to {MOST_MEMBERS} "
            "machines, each once."
        )
    if address not in members:
        yield f"keepalived_address={address}, which is not among keepalived_members: add it there."
    if not link:
        named = given["interface"]
        where = f"not on keepalived_interface={named}" if named else "on none of its interfaces"
        yield f"keepalived_address={address}, which is {where}: set it to what `ip -br address` shows there."
    if given["router_id"] not in ROUTER_IDS:
        yield f"keepalived_router_id={given['router_id']}: set it to a number from 1 to 255."
    if not SHORTEST_INTERVAL <= given["advert_interval"] <= LONGEST_INTERVAL:
        yield (
            f"keepalived_advert_interval={given['advert_interval']}: set it to {SHORTEST_INTERVAL} to "
            f"{LONGEST_INTERVAL} seconds."
        )
    if given["prefix_length"] not in range(1, 33):
        yield f"keepalived_prefix_length={given['prefix_length']}: set it to a number from 1 to 32."
    yield from _address_problems(given["virtual_ip"], members, link)


def _address_problems(address: str, members: Sequence[str], link: Mapping[str, str]) -> Iterator[str]:
    if not address:
        yield (
            "no keepalived_virtual_ip: set it to an IPv4 address that is free in the network of its machines."
        )
        return
    try:
        wanted = IPv4Address(address)
    except ValueError:
        yield f"keepalived_virtual_ip={address}, which is not an IPv4 address: set it to one."
        return
    if address in members:
        yield (
            f"keepalived_virtual_ip={address}, which is the own address of one of keepalived_members: choose "
            "one that no machine has."
        )
    if not link:
        return
    network = IPv4Network(link["network"])
    if wanted not in network or wanted in (network.network_address, network.broadcast_address):
        yield (
            f"keepalived_virtual_ip={address}, which no machine can have in {network}, the network of "
            f"{link['name']}: choose one in it."
        )


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"keepalived_link": keepalived_link, "keepalived_problems": keepalived_problems}
