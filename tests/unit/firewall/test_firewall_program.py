# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the program that loads the rules does, and in which order, with others in place of nft and systemd."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[3] / "roles/firewall/files/payaid_firewall.sh"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Make a folder that the program takes for the machine; what it calls is in the file calls."""
    for name in ("nft", "systemd-run", "systemctl"):
        fake = tmp_path / name
        fake.write_text(f'#!/bin/sh\necho {name} "$1" >>{tmp_path}/calls\n')
        fake.chmod(0o755)
    (tmp_path / "nf_conntrack_max").write_text("65536\n")
    program = PROGRAM.read_text()
    for there, here in (
        ("/run/", f"{tmp_path}/"),
        ("/etc/nftables.d/", f"{tmp_path}/"),
        ("/proc/sys/net/netfilter/", f"{tmp_path}/"),
        ("PATH=", f"PATH={tmp_path}:"),
    ):
        assert there in program
        program = program.replace(there, here)
    (tmp_path / "program").write_text(program)
    return tmp_path


def run(machine: Path, *words: str) -> list[str]:
    done = subprocess.run(  # noqa: S603  # our own words
        ["/bin/sh", str(machine / "program"), *words], check=True, capture_output=True, text=True
    )
    assert (done.stdout, done.stderr) == ("", "")
    return (machine / "calls").read_text().splitlines()


def test_rules_on_trial_are_taken_back_by_a_timer_that_is_there_before_them(machine: Path) -> None:
    calls = run(machine, "try", "60")
    assert calls[:2] == ["systemd-run --quiet", "nft --file"]
    assert (machine / "nf_conntrack_max").read_text() == "65536\n"


@pytest.mark.parametrize(("wanted", "there"), [("262144", "262144\n"), ("1024", "65536\n")])
def test_connections_have_room_from_the_first_rules_on(machine: Path, wanted: str, there: str) -> None:
    run(machine, "try", "60", wanted)
    assert (machine / "nf_conntrack_max").read_text() == there


def test_the_role_gives_them_room_as_it_tries_the_rules() -> None:
    trial = (PROGRAM.parents[1] / "tasks/trial.yml").read_text()
    assert 'try, "{{ firewall_try_seconds }}", "{{ firewall_conntrack_max }}"]' in trial
