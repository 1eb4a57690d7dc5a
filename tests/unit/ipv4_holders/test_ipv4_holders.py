# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is sent and heard on the wire, and who has an address by it."""

from __future__ import annotations

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._arp import ask, holders, reply, request
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal

ME = bytes.fromhex("0200c0000201")
# As one of the lab's machines answered for 10.96.11.254.
ANSWER = bytes.fromhex(
    "0200c000020102000a600b0b08060001080006040002"  # to me from it: ARP, Ethernet, IPv4, reply
    "02000a600b0b0a600bfe0200c000020100000000"
)
PEERS = ("192.0.2.11", "192.0.2.12")


def test_a_question_names_the_address_and_no_sender() -> None:
    # To all from me: ARP, Ethernet, IPv4, request; me, nobody, nobody, the address.
    assert request(ME, "192.0.2.10").hex() == (
        "ffffffffffff0200c000020108060001080006040001" + "0200c0000201" + "00" * 10 + "c000020a"
    )


def test_an_answer_names_the_address_and_who_has_it() -> None:
    assert reply(ANSWER) == ("10.96.11.254", "02:00:0a:60:0b:0b")
    assert reply(ANSWER + b"\x00" * 18) == ("10.96.11.254", "02:00:0a:60:0b:0b"), "padded to 60 bytes"


@pytest.mark.parametrize(
    "frame", [b"", ANSWER[:41], request(ME, "192.0.2.10"), ANSWER[:12] + b"\x08\x00" + ANSWER[14:]]
)
def test_nothing_else_is_an_answer(frame: bytes) -> None:
    assert reply(frame) is None


@pytest.mark.parametrize(
    ("answers", "peers", "foreign"),
    [
        ({}, (), ()),
        ({"192.0.2.11": {"a"}, "192.0.2.12": {"b"}}, (), ()),
        ({"192.0.2.10": {"b"}, "192.0.2.11": {"a"}, "192.0.2.12": {"b"}}, ("192.0.2.12",), ()),
        ({"192.0.2.10": {"c"}, "192.0.2.11": {"a"}}, (), ("c",)),
        ({"192.0.2.10": {"c"}}, (), ("c",)),
        ({"192.0.2.10": {"a", "c", "b"}, "192.0.2.11": {"a"}}, ("192.0.2.11",), ("b", "c")),
        ({"192.0.2.10": {"a", "b"}, "192.0.2.11": {"a"}, "192.0.2.12": {"b"}}, PEERS, ()),
    ],
)
def test_who_has_it(answers: dict[str, set[str]], peers: tuple[str, ...], foreign: tuple[str, ...]) -> None:
    found = holders("192.0.2.10", PEERS, answers)
    assert (found.peers, found.foreign) == (peers, foreign)


def test_an_interface_that_is_not_there_is_refused() -> None:
    with pytest.raises(Refusal, match=r"On nowhere0 nobody can be asked who has 192\.0\.2\.10: "):
        ask("nowhere0", ["192.0.2.10"], 0.1)
