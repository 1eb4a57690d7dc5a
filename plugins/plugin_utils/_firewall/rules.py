# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a firewall lets in: one rule for each thing that may be reached, and from where. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Any

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
TCP, UDP, VRRP = "tcp", "udp", "vrrp"
PROTOCOLS = (TCP, UDP, VRRP)


@dataclass(frozen=True, order=True)
class Rule:
    """What may be reached. With no sources, anybody may."""

    name: str
    proto: str
    ports: tuple[int, ...] = ()
    sources: tuple[str, ...] = ()

    def as_given(self) -> dict[str, Any]:
        """Return the rule as the role takes it."""
        return {
            "name": self.name,
            "proto": self.proto,
            "ports": list(self.ports),
            "from": list(self.sources),
        }


def rule_of(given: Mapping[str, Any]) -> Rule:
    """Return a rule that was given, in the one form in which two that mean the same are the same."""
    return Rule(
        name=str(given["name"]),
        proto=str(given.get("proto") or TCP),
        ports=tuple(sorted({int(port) for port in given.get("ports") or ()})),
        sources=written(network_of(source) for source in given.get("from") or ()),
    )


def network_of(source: Any) -> Network:
    """Return an address, or a network, as a network."""
    return ip_network(str(source), strict=False)


def written(networks: Iterable[Network]) -> tuple[str, ...]:
    """Return networks as nft takes them: none within another one, and an address without its length."""
    given = set(networks)
    widest = [one for one in given if not any(one != other and _within(one, other) for other in given)]
    return tuple(
        str(one.network_address) if one.prefixlen == one.max_prefixlen else str(one)
        for one in sorted(widest, key=lambda one: (one.version, int(one.network_address)))
    )


def _within(one: Network, other: Network) -> bool:
    return one.version == other.version and one.network_address in other and one.prefixlen >= other.prefixlen


def together(*lists: Iterable[Rule]) -> list[Rule]:
    """Return rules that let in whoever one of the lists does, in an order that depends on nothing else."""
    found: dict[tuple[str, str, tuple[int, ...]], Rule] = {}
    for rule in (rule for rules in lists for rule in rules):
        key = (rule.name, rule.proto, rule.ports)
        known = found.get(key, rule)
        anybody = not known.sources or not rule.sources
        both = written(network_of(source) for source in (*known.sources, *rule.sources))
        found[key] = Rule(*key, sources=() if anybody else both)
    return sorted(found.values())


def contains(sources: Sequence[str], address: Address) -> bool:
    """Return whether an address is let in; with no sources, anybody is."""
    return not sources or any(address in network_of(source) for source in sources)
