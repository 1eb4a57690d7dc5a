# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks by ARP who has an address. All who say so are heard, where the kernel keeps only one of them."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal

ETHER_TYPE = 0x0806
BROADCAST = b"\xff" * 6
NOBODY = b"\x00" * 4
REQUEST, REPLY = 1, 2
FRAME = struct.Struct("!6s6sHHHBBH6s4s6s4s")
HEAD = (1, 0x0800, 6, 4)  # IPv4 addresses by Ethernet's
QUESTIONS = 3  # one may be lost


@dataclass(frozen=True)
class Holders:
    """Who has an address: members by their own addresses, and anybody else by the one on the wire."""

    peers: tuple[str, ...]
    foreign: tuple[str, ...]


def request(source: bytes, address: str) -> bytes:
    """Return the question who has an address. It names no sender, so that nobody learns anything from it."""
    wanted = IPv4Address(address).packed
    return FRAME.pack(
        BROADCAST, source, ETHER_TYPE, *HEAD, REQUEST, source, NOBODY, b"\x00" * len(source), wanted
    )


def reply(frame: bytes) -> tuple[str, str] | None:
    """Return the address that somebody says to have, and the one on the wire; nothing for other frames."""
    if len(frame) < FRAME.size:
        return None
    *_ends, kind, link, protocol, link_size, size, what, sender, address, _to, _asked = FRAME.unpack_from(
        frame
    )
    if (kind, link, protocol, link_size, size) != (ETHER_TYPE, *HEAD) or what != REPLY:
        return None
    return str(IPv4Address(address)), sender.hex(":")


def holders(address: str, peers: Iterable[str], answers: Mapping[str, Collection[str]]) -> Holders:
    """Sort out who has an address, by what was answered for it and for the peers' own."""
    having = set(answers.get(address, ()))
    known = {peer: having & set(answers.get(peer, ())) for peer in peers}
    foreign = having.difference(*known.values())
    return Holders(tuple(peer for peer, macs in known.items() if macs), tuple(sorted(foreign)))


def ask(interface: str, addresses: Collection[str], timeout: float) -> dict[str, set[str]]:
    """Ask on an interface for addresses, and return all that answer for each."""
    answers: dict[str, set[str]] = {address: set() for address in addresses}
    try:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHER_TYPE)) as wire:
            wire.bind((interface, ETHER_TYPE))
            source = wire.getsockname()[4]
            for _question in range(QUESTIONS):
                for address in addresses:
                    wire.send(request(source, address))
                _listen(wire, answers, time.monotonic() + timeout / QUESTIONS)
    except OSError as error:
        raise Refusal(
            f"On {interface} nobody can be asked who has {', '.join(addresses)}: {error}."
        ) from error
    return answers


def _listen(wire: socket.socket, answers: Mapping[str, set[str]], until: float) -> None:
    while (left := until - time.monotonic()) > 0:
        wire.settimeout(left)
        with suppress(TimeoutError):
            heard = reply(wire.recv(FRAME.size))
            if heard and heard[0] in answers:
                answers[heard[0]].add(heard[1])
