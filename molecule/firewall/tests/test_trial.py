# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever is told, and whenever a run dies, the controller comes in again."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Tiers

testinfra_hosts = ["localhost"]
# Of nobody here.
ELSEWHERE: dict[str, Any] = {"firewall_ssh_from": ["192.0.2.1"]}
NEW: dict[str, Any] = {"firewall_extra_rules": [{"name": "new", "ports": [9999]}]}
SECONDS = 20


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            ELSEWHERE,
            "pg1 has firewall_ssh_from=192.0.2.1, which would lock the controller out, because it comes "
            "from ",
        ),
        (
            {"firewall_ssh_port": 2222},
            "pg1 has firewall_ssh_port=2222, which would lock the controller out, because it comes in at "
            "port 22: set it to that.",
        ),
        (
            {"firewall_extra_rules": [{"name": "odd", "ports": [123456]}]},
            "pg1 has firewall_extra_rules[0] with the port 123456: give one from 1 to 65535.",
        ),
    ],
)
def test_what_would_lock_the_controller_out_is_refused(
    tiers: Tiers, variables: dict[str, Any], sentence: str
) -> None:
    assert sentence in " ".join(tiers.play.converge(fails=True, **variables).split())
    assert not tiers.converge()


def test_rules_that_lock_the_controller_out_are_taken_back(tiers: Tiers) -> None:
    with tiers.in_use() as heard:
        said = tiers.play.converge(
            "--skip-tags=firewall_preflight", fails=True, firewall_try_seconds=SECONDS, **ELSEWHERE
        )
    assert "pg1: the new rules were taken back, because the controller did not come back within" in " ".join(
        said.split()
    )
    # It is as it was, for those who use it as for those who may not.
    assert tiers.differences() == []
    assert {answer for answers in heard.values() for answer in answers} == {"asked"}
    assert tiers.converge()
    assert tiers.states() == {"kept"}
    assert not tiers.converge()


def test_a_first_firewall_that_locks_the_controller_out_is_taken_away(tiers: Tiers) -> None:
    tiers.open()
    tiers.play.converge(
        "--skip-tags=firewall_preflight", fails=True, firewall_try_seconds=SECONDS, **ELSEWHERE
    )
    assert tiers.states() == {"none"}
    assert tiers.converge()
    assert tiers.differences() == []


def test_what_a_run_that_was_killed_had_on_trial_is_taken_back_and_the_next_run_ends_it(tiers: Tiers) -> None:
    running = tiers.play.begin(tiers.play.scenario / "converge.yml", firewall_try_seconds=SECONDS, **NEW)
    tiers.soon(lambda: tiers.run("pg1", f"{tiers.program} state").strip() == "tried", 120)
    os.killpg(running.pid, signal.SIGKILL)
    running.communicate()
    assert _reaches_new(tiers)
    tiers.soon(lambda: tiers.states() <= {"other", "kept"}, SECONDS + 20)
    assert tiers.differences() == []
    assert tiers.converge(**NEW)
    assert tiers.states() == {"kept"}
    assert _reaches_new(tiers)
    # No timer of the run that died is left.
    time.sleep(SECONDS)
    assert tiers.states() == {"kept"}
    assert tiers.converge()
    assert tiers.differences() == []


def _reaches_new(tiers: Tiers) -> bool:
    return "9999" in tiers.run("app1", f"python3 /opt/scan.py 9999 {tiers.addresses['pg1']}")


def test_a_machine_boots_with_rules_that_were_kept(tiers: Tiers) -> None:
    before = tiers.run("pg2", "nft --stateless list table inet payaid")
    closed = tiers.run(
        "pg2",
        f"sed -i /ssh/d /etc/nftables.d/payaid.wanted && {tiers.program} try 3600 && "
        "nft --stateless list table inet payaid",
    )
    assert "ssh" not in closed
    tiers.power("stop", "pg2", "--time=60")
    tiers.power("start", "pg2")
    tiers.soon(lambda: _comes_in(tiers, "pg2"), 60)
    assert tiers.run("pg2", "nft --stateless list table inet payaid") == before
    tiers.soon(lambda: tiers.run("pg2", "systemctl is-system-running || true").strip() == "running", 30)
    assert tiers.converge()
    assert tiers.states() == {"kept"}
    assert tiers.differences() == []


def _comes_in(tiers: Tiers, name: str) -> bool:
    try:
        return bool(tiers.machines(name).run("true").rc == 0)
    except RuntimeError:  # SSH itself failed
        return False


def test_what_somebody_changed_by_hand_is_put_right(tiers: Tiers) -> None:
    tiers.run("redis1", "nft add rule inet payaid input tcp dport 9999 accept")
    tiers.run("redis2", "nft delete table inet payaid")
    tiers.run("redis3", "systemctl stop payaid-firewall")
    said = tiers.play.converge("--check")
    would_change = {name for name in tiers.closed if "changed=0" not in _recap(said, name)}
    assert would_change == {"redis1", "redis2", "redis3"}
    assert tiers.converge()
    assert tiers.states() == {"kept"}
    assert not tiers.converge()
    assert tiers.differences() == []


def _recap(said: str, name: str) -> str:
    (line,) = [one for one in said.partition("PLAY RECAP")[2].splitlines() if one.startswith(f"{name} ")]
    return line


def test_other_tables_are_left_alone(tiers: Tiers) -> None:
    own = "add table inet payaid_other; add chain inet payaid_other c; add rule inet payaid_other c accept"
    tiers.run("app1", f"nft '{own}'")
    tiers.converge(**NEW)
    tiers.open()
    assert "accept" in tiers.run("app1", "nft list table inet payaid_other")
    tiers.run("app1", "nft delete table inet payaid_other")
    tiers.converge()


@pytest.mark.parametrize("verb", ["restart", "reload"])
def test_it_is_there_again_when_nftables_has_emptied_the_kernel(tiers: Tiers, verb: str) -> None:
    tiers.run("app1", "systemctl start nftables && systemctl start payaid-firewall")
    tiers.run("app1", "systemctl restart payaid-firewall")
    tiers.run("app1", f"systemctl {verb} nftables")
    tiers.soon(lambda: tiers.run("app1", f"{tiers.program} state").strip() == "kept", 5)
    tiers.run("app1", "systemctl stop nftables")
    tiers.converge()
    assert tiers.differences() == []


def test_a_machine_that_is_new_is_let_in_before_those_that_left_are_shut_out(tiers: Tiers) -> None:
    """As platform.yml runs it: first open for whoever is new, then closed for whoever is gone."""
    addresses = tiers.addresses
    rules = [{"name": "app", "ports": [9999], "from": [addresses["app1"]]}]
    tiers.converge(firewall_extra_rules=rules)
    rules[0]["from"] = [addresses["app2"]]
    assert tiers.converge(firewall_extra_rules=rules, firewall_phase="open")
    for asker in ("app1", "app2"):
        assert "9999" in tiers.run(asker, f"python3 /opt/scan.py 9999 {addresses['pg1']}")
    assert not tiers.converge(firewall_extra_rules=rules, firewall_phase="open")
    assert tiers.converge(firewall_extra_rules=rules)
    assert "9999" not in tiers.run("app1", f"python3 /opt/scan.py 9999 {addresses['pg1']}")
    assert "9999" in tiers.run("app2", f"python3 /opt/scan.py 9999 {addresses['pg1']}")
    tiers.converge()
    assert tiers.differences() == []
