# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made of the words of a server that does not start, and what a run may leave behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_server.io import Host, _last_words
from ansible_collections.payaid.scaling.plugins.module_utils._redis_server.model import Desired

from .test_redis_server_plan import params

BAD_LINE = """
*** FATAL CONFIG FILE ERROR (Redis 7.0.15) ***
Reading the configuration file, at line 3
>>> 'masterauth "secret-replication'
Unbalanced quotes in configuration line
"""


def test_the_reason_is_told_and_the_line_is_not(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(BAD_LINE)
    said = _last_words(log)
    assert said == "Reading the configuration file, at line 3; Unbalanced quotes in configuration line"
    log.write_text("")
    assert _last_words(log) == "it says nothing"


def host(status: int = 0, output: str = "", errors: str = "") -> Host:
    return Host(
        lambda _argv: (status, output, errors),
        Desired.wanted(params()),
        address="127.0.0.1",
        logins=[Login("operator", "x")],
        timeout=0,
    )


def test_what_systemd_refuses_is_told_in_its_words() -> None:
    with pytest.raises(Refusal) as refusal:
        host(1, errors="Unit is masked.\n").enable(6379)
    said = "`systemctl enable --quiet redis-server@6379.service` failed: Unit is masked."
    assert refusal.value.message.endswith(said)


def test_an_instance_that_does_not_come_up_is_named() -> None:
    with pytest.raises(Refusal) as refusal:
        host().start(6379)
    assert (
        "the instance on port 6379 is not ready: 0 s passed, and it does not answer ("
        in refusal.value.message
    )
