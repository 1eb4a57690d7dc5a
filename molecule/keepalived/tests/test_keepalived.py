# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One of the pair has the address, whatever happens to the other. Each test leaves both able to have it."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Pair

testinfra_hosts = ["localhost"]
Report = Callable[[str], None]
CONFIGURATION = "/etc/keepalived/keepalived.conf"
# What to do to the machine that has the address, and how to mend it.
FAULTS = {
    "nginx hangs": ("systemctl kill --signal=STOP nginx", "systemctl kill --signal=CONT nginx"),
    "nginx stopped": ("systemctl stop nginx", "systemctl start nginx"),
    "keepalived stopped": ("systemctl stop keepalived", "systemctl start keepalived"),
}
POWER = {"machine lost": ("kill", "--signal=KILL"), "machine shut down": ("stop", "--time=60")}
MAIN = "$(systemctl show -P MainPID keepalived)"
KILLS = {
    # The child first: it would hear of the other's end, and give the address away in good order.
    "all of keepalived killed": f"kill -KILL $(pgrep --parent {MAIN}) {MAIN}",
    "keepalived killed": f"kill -KILL {MAIN}",
    "keepalived's child killed": f"kill -KILL $(pgrep --parent {MAIN})",
}

DEAFEN = (
    "nft add table inet deaf && nft 'add chain inet deaf input { type filter hook input priority 0; }' && "
    "nft add rule inet deaf input meta l4proto 112 drop"
)


def bound(pair: Pair) -> float:
    """Return what a move may take: four intervals, three times that where others use the computer as well."""
    return 3 * max(4 * pair.interval, 1)


def _ask_again(connections: list[HTTPConnection]) -> Counter[str]:
    """Ask once more on connections that are kept, and count how it ends."""
    ends: Counter[str] = Counter()
    for one in connections:
        try:
            one.request("GET", "/health")
            ends[str(one.getresponse().status)] += 1
        except (OSError, HTTPException) as error:
            ends[type(error).__name__] += 1
        one.close()
    return ends


def _patiently(pair: Pair) -> str:
    try:
        return str(pair.ask(f"http://{pair.address}/health", timeout=20).status)
    except (OSError, HTTPException) as error:
        return type(error).__name__


def test_the_certificate_is_good_for_it_on_both(pair: Pair) -> None:
    authority = Path.home() / f".local/state/payaid-lab/{os.environ['LAB_NAME']}/web-ca/ca.crt"
    pair.ask.certificate = authority.read_text()
    seen = set()
    for _number in range(2):
        seen.add(holder := pair.settle())
        assert pair.ask(f"https://{pair.address}/page").json()["path"] == "/page"
        pair.run(holder, "systemctl restart keepalived")
    assert seen == {"lb1", "lb2"}


@pytest.mark.parametrize("fault", FAULTS)
def test_it_moves_and_stays_where_it_is(pair: Pair, fault: str, report: Report) -> None:
    holder = pair.settle()
    breaking, mending = FAULTS[fault]
    with pair.asked() as account:
        pair.run(holder, breaking)
        pair.soon(lambda: pair.holders() == [pair.other(holder)], bound(pair))
        pair.run(holder, mending)
        assert pair.settle() == pair.other(holder)
    report(f"{pair.interval} s, {fault}: {account}")
    assert account.gap < bound(pair)


def test_nginx_that_is_killed_is_missed_for_less_than_a_move(pair: Pair, report: Report) -> None:
    # systemd starts it anew within a second, mostly before two looks have failed: then nothing need move.
    holder = pair.settle()
    with pair.asked() as account:
        pair.run(holder, "systemctl kill --signal=KILL nginx")
        pair.settle()
    report(f"{pair.interval} s, nginx killed: {account}")
    assert account.gap < bound(pair)


@pytest.mark.parametrize("fault", POWER)
def test_it_leaves_a_machine_that_is_gone(pair: Pair, fault: str, report: Report) -> None:
    holder = pair.settle()
    connections = pair.connect(20)
    with pair.asked() as account:
        verb, how = POWER[fault]
        pair.power(verb, holder, how)
        time.sleep(bound(pair) / 2)
        lost = _ask_again(connections)
        pair.power("start", holder)
        assert pair.settle() == pair.other(holder)
    report(f"{pair.interval} s, {fault}: {account}; of 20 kept connections: {dict(lost)}")
    assert account.gap < bound(pair)


@pytest.mark.parametrize("kill", KILLS)
def test_a_killed_keepalived_comes_back_and_leaves_no_address_behind(
    pair: Pair, kill: str, report: Report
) -> None:
    holder = pair.settle()
    with pair.asked() as account:
        stale = pair.run(
            holder,
            f"{KILLS[kill]}; began=$(date +%%s%%N); while ip -o address show to %s | grep -q .; do "
            "[ $(( $(date +%%s%%N) - began )) -lt 20000000000 ] || exit 1; done; "
            "echo $(( ($(date +%%s%%N) - began) / 1000000 ))",
            pair.address,
        )
        now = pair.settle()
    report(f"{pair.interval} s, {kill}: {account}; address left for {stale} ms, now {now} (was {holder})")
    assert int(stale) < 1000
    assert account.gap < bound(pair)


def test_moved_on_purpose_it_cuts_off_who_is_connected(pair: Pair, report: Report) -> None:
    """Honesty about what a move costs: connections live on one machine."""
    holder = pair.settle()
    connections = pair.connect(20)
    pair.run("app1", "systemctl kill --signal=STOP 'echo@*'")
    try:
        with ThreadPoolExecutor(5) as clients:
            waiting = [clients.submit(_patiently, pair) for _number in range(5)]
            time.sleep(1)
            pair.run(holder, "systemctl stop keepalived")
            pair.soon(lambda: pair.holders() == [pair.other(holder)], bound(pair))
            pair.run("app1", "systemctl kill --signal=CONT 'echo@*'")
            ends = Counter(one.result() for one in waiting)
    finally:
        pair.run("app1", "systemctl kill --signal=CONT 'echo@*'")
        pair.run(holder, "systemctl start keepalived")
    lost = _ask_again(connections)
    report(
        f"{pair.interval} s, moved on purpose: of 20 kept connections: {dict(lost)}; "
        f"of 5 requests that waited for their answer: {dict(ends)}"
    )
    assert pair.settle() == pair.other(holder)


def test_changed_under_traffic_it_does_not_move(pair: Pair, report: Report) -> None:
    holder = pair.settle()
    with pair.asked(patience=5) as account:
        pair.play.converge(
            keepalived_advert_interval=pair.interval * 1.5,
            keepalived_settings={"garp_master_refresh": 30},
        )
        pair.play.converge(keepalived_advert_interval=pair.interval)
    report(f"{pair.interval} s, configuration changed: {account}")
    assert not account.failed
    assert pair.holder() == holder
    for name in pair.addresses.keys() - {"app1"}:
        assert f"advert_int {pair.interval}" in pair.machines(name).file(CONFIGURATION).content_string


def test_a_configuration_that_is_wrong_changes_nothing(pair: Pair) -> None:
    holder = pair.settle()
    before = pair.machines(holder).file(CONFIGURATION).content_string
    with pair.asked(patience=5) as account:
        said = pair.play.converge(keepalived_settings={"no_such_word": 1}, fails=True)
        assert "no_such_word" in said
        assert pair.machines(holder).file(CONFIGURATION).content_string == before
        # Nor does one that somebody wrote by hand.
        pair.run(holder, "sed -i s/advert_int/advert_imt/ %s", CONFIGURATION)
        assert pair.machines(holder).run("systemctl reload keepalived").rc
        time.sleep(4 * pair.interval)
        pair.run(holder, "sed -i s/advert_imt/advert_int/ %s && systemctl reload keepalived", CONFIGURATION)
        time.sleep(4 * pair.interval)
    assert not account.failed
    assert pair.holder() == holder


def test_it_does_not_move_for_what_both_lack(pair: Pair) -> None:
    holder = pair.settle()
    pair.run("app1", "systemctl stop 'echo@*'")
    try:
        time.sleep(6 * pair.interval)
        assert pair.ask(f"http://{pair.address}/health").status == 502
        assert pair.holder() == holder
    finally:
        pair.run("app1", "systemctl start echo@3000 echo@3001 echo@3002")
    assert pair.settle() == holder


def test_two_that_do_not_hear_each_other_both_have_it_and_one_does_when_they_do(
    pair: Pair, report: Report
) -> None:
    holder = pair.settle()
    try:
        with pair.asked() as account:
            for name in ("lb1", "lb2"):
                pair.run(name, DEAFEN)
            pair.soon(lambda: pair.holders() == ["lb1", "lb2"], bound(pair))
            for name in ("lb1", "lb2"):
                pair.run(name, "nft delete table inet deaf")
            pair.soon(lambda: pair.holders() == ["lb1"], bound(pair))
            time.sleep(3)  # until the news of it was said twice
    finally:
        for name in ("lb1", "lb2"):
            pair.machines(name).run("nft delete table inet deaf")
    report(f"{pair.interval} s, deaf to each other ({holder} had it): {account}")
    assert pair.settle() == "lb1"
    assert account.gap < bound(pair)


def test_two_have_it_while_one_is_frozen_and_one_does_when_it_goes_on(pair: Pair, report: Report) -> None:
    """The kernel of a machine answers for its addresses, whatever became of keepalived."""
    holder = pair.settle()
    with pair.asked() as account:
        pair.run(holder, "systemctl kill --signal=STOP keepalived")
        try:
            pair.soon(lambda: pair.holders() == ["lb1", "lb2"], bound(pair))
        finally:
            pair.run(holder, "systemctl kill --signal=CONT keepalived")
        pair.soon(lambda: len(pair.holders()) == 1, bound(pair))
        time.sleep(3)
    report(f"{pair.interval} s, keepalived frozen: {account}; now {pair.settle()} (was {holder})")
    assert account.gap < bound(pair)
