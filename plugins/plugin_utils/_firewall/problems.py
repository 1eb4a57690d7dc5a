# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a firewall from being switched on, in sentences. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any

from .rules import PROTOCOLS, VRRP, contains, network_of

PORTS = range(1, 65536)
# nft takes a comment of 128 bytes, and has no way to write a quote in it.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._/-]{0,99}")
# Within less, a run over some machines does not come back to the first one.
SHORTEST_TRIAL = 10


def problems(given: Mapping[str, Any], connection: str) -> Iterator[str]:
    """Say what is wrong with the role's variables, given without its name, and with how the controller came.

    That is what SSH keeps in SSH_CONNECTION: its address and port, and those that it came to. It is empty
    where Ansible does not come by SSH.
    """
    for variable in ("rules", "extra_rules"):
        for number, rule in enumerate(given[variable]):
            yield from _rule_problems(f"firewall_{variable}[{number}]", rule)
    if given["ssh_port"] not in PORTS:
        yield f"firewall_ssh_port={given['ssh_port']}: give a port from 1 to 65535."
    if given["try_seconds"] < SHORTEST_TRIAL:
        yield (
            f"firewall_try_seconds={given['try_seconds']}, in which the controller may not come back: set it "
            f"to {SHORTEST_TRIAL} or more."
        )
    if given["conntrack_max"] < 0:
        yield f"firewall_conntrack_max={given['conntrack_max']}: give a number of connections, or 0."
    wrong = list(_source_problems("firewall_ssh_from", given["ssh_from"]))
    yield from wrong or _lockout(given["ssh_from"], given["ssh_port"], connection)


def _rule_problems(where: str, rule: Mapping[str, Any]) -> Iterator[str]:
    if not NAME.fullmatch(str(rule["name"])):
        yield f"{where} with name={rule['name']}: take letters, digits, spaces and ._/- for it."
    proto = rule.get("proto") or PROTOCOLS[0]
    if proto not in PROTOCOLS:
        yield f"{where} with proto={proto}: set it to {', '.join(PROTOCOLS[:-1])} or {PROTOCOLS[-1]}."
    ports = rule.get("ports") or ()
    if proto == VRRP and ports:
        yield f"{where} with proto={VRRP}, which has no ports: leave ports out."
    if proto != VRRP and not ports:
        yield f"{where} with no ports: list some, or leave the rule out."
    for port in ports:
        if port not in PORTS:
            yield f"{where} with the port {port}: give one from 1 to 65535."
    yield from _source_problems(f"{where}.from", rule.get("from") or ())


def _source_problems(where: str, sources: Sequence[Any]) -> Iterator[str]:
    for source in sources:
        try:
            network_of(source)
        except ValueError:
            yield f"{where} with {source}, which is no address and no network: give one such as 192.0.2.0/24."


def _lockout(sources: Sequence[str], port: int, connection: str) -> Iterator[str]:
    if not connection:
        return
    controller, _its_port, _here, came_to = connection.split()
    address = ip_address(controller.partition("%")[0])
    if not contains(sources, address):
        yield (
            f"firewall_ssh_from={', '.join(sources)}, which would lock the controller out, because it comes "
            f"from {address}: add that to it."
        )
    if int(came_to) != port:
        yield (
            f"firewall_ssh_port={port}, which would lock the controller out, because it comes in at port "
            f"{came_to}: set it to that."
        )
