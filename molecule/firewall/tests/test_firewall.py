# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each tier reaches what is declared, and nothing else; nobody notices when that begins or ends."""

from __future__ import annotations

import json
import socket
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Tiers

testinfra_hosts = ["localhost"]


def test_each_tier_reaches_what_is_declared_and_nothing_else(tiers: Tiers) -> None:
    assert tiers.differences() == []


def test_what_nobody_declared_gets_no_answer(tiers: Tiers) -> None:
    for name in tiers.closed:
        said = tiers.run(
            "mon1",
            "python3 -c 'import socket, sys\n"
            "for port in sys.argv[2:]:\n"
            "    try: socket.create_connection((sys.argv[1], int(port)), 0.3)\n"
            "    except OSError as error: print(type(error).__name__)\n"
            f"' {tiers.addresses[name]} {' '.join(map(str, tiers.undeclared))}",
        )
        assert said.split() == ["TimeoutError"] * len(tiers.undeclared)


def test_ipv6_is_closed_as_well(tiers: Tiers) -> None:
    for asker, asked in (("app1", "pg1"), ("mon1", "app1")):
        device, _scope, address = tiers.run(
            asked, "ip -6 -oneline address show dev eth0 scope link | awk '{print $2, $6, $4}'"
        ).split()
        assert device == "eth0"
        there = f"{address.partition('/')[0]}%eth0"
        # Neighbours find each other, and may knock; the rules for IPv4 addresses let no other one in.
        tiers.run(asker, f"ping -6 -c 1 -W 2 {there}")
        said = json.loads(tiers.run(asker, f"python3 /opt/scan.py {','.join(map(str, tiers.ports))} {there}"))
        assert list(said.values()) == [[]]


def test_the_kernel_says_what_is_in_force(tiers: Tiers) -> None:
    for name in tiers.closed:
        listing = json.loads(tiers.run(name, "nft -j list table inet payaid"))["nftables"]
        (chain,) = [one["chain"] for one in listing if "chain" in one]
        assert (chain["hook"], chain["policy"]) == ("input", "drop")
    assert tiers.states() == {"kept"}
    assert tiers.machines("mon1").run("nft list table inet payaid").rc


def test_the_balancers_hear_each_others_signs_of_life_and_nobody_elses(tiers: Tiers) -> None:
    tiers.run("lb1", "systemd-run --quiet --unit=hear --remain-after-exit python3 /opt/vrrp.py hear 4")
    time.sleep(0.5)
    for sender in ("lb2", "app1", "mon1"):
        tiers.run(sender, f"python3 /opt/vrrp.py send {tiers.addresses['lb1']}")
    tiers.soon(lambda: tiers.run("lb1", "journalctl -u hear -o cat | grep '^\\[' || true").strip(), 8)
    said = tiers.run("lb1", "journalctl -u hear -o cat | grep '^\\['; systemctl stop hear")
    assert json.loads(said) == [tiers.addresses["lb2"]]


def test_what_was_connected_before_goes_on_whoever_speaks_first(tiers: Tiers) -> None:
    pairs = [*tiers.used, ("redis1", "redis2", 16379)]
    tiers.open()
    for first in ("server", "client"):
        for asker, asked, port in pairs:
            tiers.run(
                asker,
                f"systemd-run --quiet --unit=hold-{first}-{asked}-{port} "
                f"python3 -u /opt/hold.py {tiers.addresses[asked]} {port}",
            )
    mine = [socket.create_connection((tiers.addresses["lb1"], 443)) for _number in range(2)]
    tiers.soon(lambda: all(_heard(tiers, pairs, "client")), 20)
    with tiers.in_use() as heard:
        tiers.converge()
    # The client speaks, and is answered.
    for asker, asked, port in pairs:
        tiers.run(asker, f"systemctl kill --signal=USR1 hold-client-{asked}-{port}")
    tiers.soon(lambda: set(_heard(tiers, pairs, "client")) == {"asked"}, 20)
    # The server speaks to all of them, of whom half have been silent.
    tiers.everywhere("systemctl kill --signal=USR1 listen", tiers.names)
    tiers.soon(lambda: set(_heard(tiers, pairs, "server")) == {"spoken first"}, 20)
    for one in mine:
        one.settimeout(5)
        assert one.recv(99) == b"spoken first\n"
        one.sendall(b"asked\n")
        assert one.recv(99) == b"asked\n"
        one.close()
    for first in ("server", "client"):
        for asker, asked, port in pairs:
            tiers.run(asker, f"systemctl stop hold-{first}-{asked}-{port}")
    assert tiers.differences() == []
    print(heard)
    assert {answer for answers in heard.values() for answer in answers} == {"asked"}
    assert min(answers["asked"] for answers in heard.values()) > 100


def _heard(tiers: Tiers, pairs: list[tuple[str, str, int]], first: str) -> list[str]:
    return [
        tiers.run(
            asker, f"journalctl -u hold-{first}-{asked}-{port} -o cat | grep -v '^[A-Z]' | tail -n 1 || true"
        ).strip()
        for asker, asked, port in pairs
    ]


def test_the_way_back_opens_all_and_leaves_nothing(tiers: Tiers) -> None:
    with tiers.in_use() as heard:
        tiers.open()
        assert not tiers.open()
        for found in tiers.scan().values():
            assert all(ports == tiers.ports for ports in found.values())
        for name in tiers.closed:
            assert tiers.machines(name).run("nft list table inet payaid").rc
            left = tiers.run(
                name, "ls /etc/nftables.d /usr/local/lib /etc/systemd/system | grep payaid || true"
            )
            assert left == ""
            assert tiers.run(name, "systemctl list-units --all 'payaid-firewall*' --no-legend") == ""
        tiers.converge()
    assert {answer for answers in heard.values() for answer in answers} == {"asked"}
    assert tiers.differences() == []


def test_said_to_be_off_it_is_off_and_a_run_that_is_told_nothing_puts_none_up(tiers: Tiers) -> None:
    tiers.converge(platform_firewall=False)
    assert tiers.states() == {"away"}
    assert not tiers.converge(rollout_week="", platform_firewall="")
    assert tiers.states() == {"away"}
    tiers.converge(rollout_week="", platform_firewall=True)
    # Now that there is one it is kept right.
    tiers.run("pg1", "nft delete table inet payaid")
    tiers.converge(rollout_week="", platform_firewall="")
    assert tiers.differences() == []
