# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a server would not start, by what its programs print and its files say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    MATCHED_SETTINGS,
    Local,
    Place,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres_restart import faults

PLACE = Place(17, "main", "/var/lib/postgresql/17/main", "/etc/postgresql/17/main")
PRIMARY = Local(data="cluster", server="up")
STANDBY = replace(
    PRIMARY, in_recovery=True, control_limits=(("max_connections", 300), ("max_wal_senders", 10))
)
SETTINGS = dict.fromkeys(MATCHED_SETTINGS, "300") | {
    "shared_buffers": "16384",
    "shared_preload_libraries": "",
}
MEMORY = 1 << 30


@pytest.mark.parametrize(
    ("local", "more", "wanted"),
    [
        (PRIMARY, {}, ""),
        (STANDBY, {}, ""),
        (PRIMARY, {"max_connections": "100"}, ""),
        (STANDBY, {"max_connections": "100"}, "max_connections is 100 in its files and 300 on its primary"),
        (PRIMARY, {"shared_buffers": "131071"}, ""),
        (PRIMARY, {"shared_buffers": "131072"}, "shared_buffers is 1024 MiB and the machine has 1024 MiB"),
        (PRIMARY, {"shared_preload_libraries": 'here, $libdir/here,"here"'}, ""),
        (PRIMARY, {"shared_preload_libraries": "here,gone"}, "there is no library gone"),
        (PRIMARY, {"shared_preload_libraries": "/opt/gone.so"}, "there is no library /opt/gone.so"),
    ],
)
def test_what_the_server_could_not_start_with(
    local: Local, more: dict[str, str], wanted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here.so").touch()
    monkeypatch.setattr(faults, "_libraries", lambda _place: str(tmp_path))
    said = " ".join(faults.of_settings(PLACE, local, SETTINGS | more, MEMORY))
    assert said.startswith(wanted)
    assert bool(said) == bool(wanted)


def test_the_reason_is_told_without_its_time_and_process() -> None:
    # As PostgreSQL 15 printed it, but for the date.
    said = (
        '19:59:07.194 GMT [22698] LOG:  skipping missing configuration file "/auto.conf"\n'
        '19:59:07.235 GMT [22699] LOG:  unrecognized configuration parameter "foo" in file "/x"\n'
        '19:59:07.235 GMT [22699] FATAL:  configuration file "/x" contains errors\n'
    )
    assert faults.complaint(said) == 'unrecognized configuration parameter "foo" in file "/x"'
