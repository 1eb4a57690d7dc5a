# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which role a cluster has, what is told of it, and what is said to be wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.doc_fragments.postgres_cluster import ModuleDocFragment
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import text
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.cluster import CLUSTER_ARGUMENTS
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.info import (
    Found,
    problems,
    report,
    role,
    size_text,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    MATCHED_SETTINGS,
    Local,
    Marker,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.notes import Progress
from ansible_collections.payaid.scaling.plugins.modules import postgres_replication_info

from ..postgres_replica.states import (
    ABSENT,
    COPIED,
    COPYING,
    DESIRED,
    EMPTY,
    EX_PRIMARY,
    PARTIAL,
    PRIMARY_HERE,
    REWINDING,
    REWOUND,
    STARTING,
    STOPPED,
    STREAMING,
)

FIXTURES = Path(__file__).parent / "fixtures"
DATA = DESIRED.data_dir


def captured(name: str, **more: Any) -> dict[str, Any]:
    """Return what a server answered, but for what differs."""
    answer: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_text())
    return answer | more


def found(local: Local, marker: Marker | None = None, **more: Any) -> Found:
    if local.server == "up":
        more.setdefault("answer", captured("standby" if local.in_recovery else "primary"))
    return Found(DESIRED, local, marker=marker, **more)


def primary(**more: Any) -> Found:
    return found(PRIMARY_HERE, answer=captured("primary", **more))


def standby(local: Local = STREAMING, **more: Any) -> Found:
    return found(local, answer=captured("standby", **more))


def replica(**more: Any) -> dict[str, Any]:
    (row,) = captured("primary")["replicas"]
    return {**row, "application_name": "db2", **more}


def slot(**more: Any) -> dict[str, Any]:
    (row,) = captured("primary")["slots"]
    return {**row, "name": "db3", "active": False, **more}


def upstream(**more: Any) -> dict[str, Any]:
    return {**captured("standby")["upstream"], "host": "10.0.0.1", **more}


def settings(**more: str) -> dict[str, str]:
    return {**captured("standby")["settings"], **more}


UP_ON_TORN_DATA = replace(STREAMING, receiver=None)
LIMIT = (("max_connections", 100),)
IN_PLACE = replace(COPYING, in_place=True)
ROLES: dict[str, tuple[Found, str]] = {
    "no software": (found(ABSENT, installed=False), "absent"),
    "no data": (found(ABSENT), "absent"),
    "an empty folder": (found(EMPTY), "absent"),
    "files of others": (found(Local(data="unknown")), "broken"),
    "half a base backup": (found(PARTIAL), "broken"),
    "primary": (found(PRIMARY_HERE), "primary"),
    "primary, about to become a standby": (found(replace(PRIMARY_HERE, standby_signal=True)), "primary"),
    "standby": (found(STREAMING), "standby"),
    "recovering to a point in time": (found(replace(STREAMING, standby_signal=False)), "standby"),
    "starting": (found(STARTING), "starting"),
    "primary starting": (found(replace(STARTING, standby_signal=False)), "starting"),
    "stopped standby": (found(STOPPED), "stopped_standby"),
    "killed standby": (found(replace(STOPPED, control_state="in archive recovery")), "stopped_standby"),
    "stopped standby without signal": (found(replace(STOPPED, standby_signal=False)), "stopped_standby"),
    "base backup that never ran": (found(replace(EX_PRIMARY, backup_label=True)), "stopped_standby"),
    "stopped primary": (found(EX_PRIMARY), "stopped_primary"),
    "killed primary": (found(replace(EX_PRIMARY, control_state="in production")), "stopped_primary"),
    "stopped primary that is to follow": (found(replace(EX_PRIMARY, standby_signal=True)), "stopped_standby"),
    "clone, nothing there yet": (found(ABSENT, COPYING), "broken"),
    "clone beside old data": (found(EX_PRIMARY, COPYING), "broken"),
    "clone beside a running standby": (found(STREAMING, COPYING), "standby"),
    "clone complete, not started": (found(STOPPED, COPIED), "broken"),
    "clone complete, starting": (found(STARTING, COPIED), "starting"),
    "clone complete, running": (found(STREAMING, COPIED), "standby"),
    "clone in place": (found(STOPPED, IN_PLACE), "broken"),
    "rewind": (found(STOPPED, REWINDING), "broken"),
    "rewind, and somebody started it": (found(UP_ON_TORN_DATA, REWINDING), "broken"),
    "rewind complete, running": (found(STREAMING, REWOUND), "standby"),
}
WELL: dict[str, Found] = {
    "primary": primary(),
    "standby": standby(),
    "follows an archive": standby(upstream=None, settings=settings(primary_conninfo="", restore_command="x")),
    "base backup of it": primary(replicas=[replica(state="backup", sync_state="async", sent_lag_bytes=None)]),
    "synchronous": primary(synchronous_standby_names="db2", replicas=[replica(sync_state="sync")]),
    "nobody waits": primary(synchronous_standby_names="db9", synchronous_commit="local"),
    "slot in use": primary(slots=[slot(active=True, retained_bytes=5000)]),
    "slot that keeps no WAL": primary(slots=[slot(wal_status=None, retained_bytes=None)]),
    "slot that waits on a standby": standby(slots=[slot(retained_bytes=5000)]),
    "settings above the primary's": standby(
        replace(STREAMING, control_limits=LIMIT), settings=settings(max_connections="200")
    ),
}
ILL: dict[str, tuple[Found, str]] = {
    "no software": (
        found(ABSENT, installed=False),
        "PostgreSQL 17 is not installed: /usr/lib/postgresql/17/bin is missing",
    ),
    "no data": (found(ABSENT), f"there is no {DATA}"),
    "empty": (found(EMPTY), f"nothing is in {DATA}"),
    "unknown": (found(Local(data="unknown")), f"{DATA} holds files that are no PostgreSQL data"),
    "partial": (
        found(PARTIAL),
        f"{DATA} holds a base backup that stopped half-way: run postgres_replica to clone it again",
    ),
    "clone": (found(ABSENT, COPYING, working=True), f"a clone of {DATA} is under way"),
    "clone broke off": (found(PARTIAL, IN_PLACE), f"a clone of {DATA} broke off: run postgres_replica again"),
    "clone ended": (
        found(STREAMING, COPIED),
        f"a clone of {DATA} is complete, and was not yet seen to stream: run postgres_replica again",
    ),
    "rewind": (found(STOPPED, REWINDING, working=True), f"a rewind of {DATA} is under way"),
    "rewind broke off": (
        found(STOPPED, REWINDING),
        f"a rewind of {DATA} broke off: run postgres_replica again",
    ),
    "starting": (
        found(STARTING),
        "PostgreSQL 17/main runs and takes no questions: it is starting or stopping, full, or hangs",
    ),
    "stopped": (found(STOPPED), "PostgreSQL 17/main is stopped"),
    "killed": (
        found(replace(EX_PRIMARY, control_state="in production")),
        "PostgreSQL 17/main is stopped, and was not shut down in good order: it recovers when it is started",
    ),
    "no signal": (
        standby(replace(STREAMING, standby_signal=False)),
        f"standby.signal is missing in {DATA}: this becomes a primary when its recovery ends, or at its next "
        "start",
    ),
    "a signal": (
        found(replace(PRIMARY_HERE, standby_signal=True)),
        f"standby.signal is in {DATA}: at its next start this primary becomes a standby",
    ),
    "receives nothing": (
        standby(upstream=None),
        "it receives nothing from its primary: the server's log says why",
    ),
    "follows nobody": (
        standby(upstream=None, settings=settings(primary_conninfo="")),
        "primary_conninfo is empty, so it follows no primary",
    ),
    "waits": (
        standby(upstream=upstream(status="waiting")),
        "it does not stream from 10.0.0.1 (status waiting)",
    ),
    "silence": (
        standby(upstream=upstream(last_message_age_s=51.2)),
        "10.0.0.1 has sent nothing for 51 s",
    ),
    "paused": (
        standby(replace(STREAMING, replay="paused")),
        "replay is paused: pg_wal_replay_resume() lets it go on",
    ),
    "paused by a setting": (
        standby(
            replace(STREAMING, replay="paused", control_limits=LIMIT), settings=settings(max_connections="90")
        ),
        "max_connections is 90 here and 100 on the primary: raise it here, and restart, or replay stands "
        "still",
    ),
    "replica": (
        primary(replicas=[replica(state="catchup")]),
        "replica db2 at 127.0.0.1 is not in step (state catchup)",
    ),
    "replica over a socket": (
        primary(replicas=[replica(state="startup", address=None)]),
        "replica db2 is not in step (state startup)",
    ),
    "no synchronous standby": (
        primary(synchronous_standby_names="db2", replicas=[]),
        "commits wait: synchronous_standby_names is db2, which needs 1, and 0 of them stream",
    ),
    "inactive": (
        primary(slots=[slot(retained_bytes=3 << 30)]),
        "slot db3 on this primary is inactive and holds back 3 GiB",
    ),
    "extended": (
        primary(slots=[slot(active=True, wal_status="extended", retained_bytes=3 << 30)]),
        "slot db3 on this primary holds back 3 GiB, more than max_wal_size",
    ),
    "inactive and extended": (
        standby(slots=[slot(wal_status="extended", retained_bytes=3 << 30)]),
        "slot db3 on this standby is inactive and holds back 3 GiB, more than max_wal_size",
    ),
    "unreserved": (
        primary(slots=[slot(wal_status="unreserved", retained_bytes=3 << 30)]),
        "slot db3 on this primary is 3 GiB behind, and loses its WAL at the next checkpoint",
    ),
    "lost": (
        primary(slots=[slot(wal_status="lost", retained_bytes=None)]),
        "slot db3 on this primary has lost its WAL: unless an archive has it, whatever used the slot has to "
        "be cloned again",
    ),
}


@pytest.mark.parametrize(("cluster", "expected"), ROLES.values(), ids=ROLES)
def test_a_cluster_has_this_role(cluster: Found, expected: str) -> None:
    told = report(cluster)
    assert told["role"] == role(cluster) == expected
    assert told["running"] == (cluster.local.server != "down")
    # It is well only as what it should be.
    assert bool(told["problems"]) or expected in ("primary", "standby")


@pytest.mark.parametrize("cluster", WELL.values(), ids=WELL)
def test_nothing_is_wrong(cluster: Found) -> None:
    assert list(problems(cluster)) == []


@pytest.mark.parametrize(("cluster", "sentence"), ILL.values(), ids=ILL)
def test_this_is_wrong(cluster: Found, sentence: str) -> None:
    assert list(problems(cluster)) == [sentence]


def test_a_standby_that_is_behind() -> None:
    answer = captured("standby_paused")
    local = replace(
        STREAMING,
        lsn=text.lsn_from_text(answer["receive_lsn"]),
        replayed=text.lsn_from_text(answer["replay_lsn"]),
        replay=answer["replay"],
    )
    told = report(found(local, answer=answer))
    assert told["lsn"] == answer["receive_lsn"]
    assert told["replayed_lsn"] == answer["replay_lsn"]
    assert told["replay_paused"] is True
    assert told["lag"] == {"bytes": local.lsn - local.replayed, "seconds": answer["since_replay_s"]}
    assert told["lag"]["bytes"] > 1_000_000
    (row,) = report(found(PRIMARY_HERE, answer=captured("primary_of_a_paused")))["replicas"]
    assert row["replay_lag_bytes"] == told["lag"]["bytes"]


def test_the_limits_are_what_a_server_runs_with_or_what_its_wal_was_written_with() -> None:
    told = report(standby(settings=settings(max_connections="200")))["limits"]
    assert told["max_connections"] == 200
    assert set(told) == set(MATCHED_SETTINGS)
    assert report(found(replace(EX_PRIMARY, control_limits=LIMIT)))["limits"] == {"max_connections": 100}
    assert report(found(ABSENT))["limits"] == {}


def test_what_waits_for_a_restart_is_told() -> None:
    assert report(primary(pending_restart=["max_connections"]))["pending_restart"] == ["max_connections"]
    assert report(found(STOPPED))["pending_restart"] == []


def test_the_connection_string_is_not_told() -> None:
    assert "passfile" in str(captured("standby"))
    assert "passfile" not in str(report(standby()))


def test_a_sender_that_moved_on_is_not_ahead() -> None:
    told = report(primary(replicas=[replica(sent_lag_bytes=-8, write_lag_bytes=None)]))
    assert (told["replicas"][0]["sent_lag_bytes"], told["replicas"][0]["write_lag_bytes"]) == (0, None)


def test_a_clone_tells_how_far_it_is() -> None:
    told = report(found(ABSENT, COPYING, progress=Progress(10, 30)))
    assert told["clone"] == {"phase": "copying", "bytes": 10, "total": 30}


@pytest.mark.parametrize(
    ("names", "count"),
    [("", 0), ("db2", 1), ("db2, db3", 1), ("*", 1), ("FIRST 2 (a, b)", 2), ("any 3(a,b)", 3), ("2 (a)", 2)],
)  # fmt: skip
def test_standbys_that_a_commit_waits_for(names: str, count: int) -> None:
    assert text.standbys_waited_for(names) == count


@pytest.mark.parametrize(
    ("size", "written"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 30, "3 GiB"), (9 << 40, "9.0 TiB")],
)  # fmt: skip
def test_sizes(size: int, written: str) -> None:
    assert size_text(size) == written


def test_pg_controldata_tells_the_settings_of_the_primary() -> None:
    folder = Path(__file__).parents[1] / "postgres_replica/fixtures"
    control = text.control_from_text((folder / "controldata_running_standby.txt").read_text())
    assert dict(control.limits) == {
        "max_connections": 100,
        "max_worker_processes": 8,
        "max_wal_senders": 8,
        "max_prepared_transactions": 0,
        "max_locks_per_transaction": 64,
    }


def test_the_module_is_documented_as_it_is() -> None:
    facts = ("type", "required", "default", "choices", "elements")
    documented = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    told, spec = (
        {name: {key: one[key] for key in facts if key in one} for name, one in options.items()}
        for options in (documented, CLUSTER_ARGUMENTS)
    )
    assert told == spec
    assert postgres_replication_info.ARGUMENTS == CLUSTER_ARGUMENTS
    assert "options" not in yaml.safe_load(postgres_replication_info.DOCUMENTATION)


def test_what_is_told_is_documented() -> None:
    documented = yaml.safe_load(postgres_replication_info.RETURN)
    assert set(report(primary())) == set(documented)
    rows = {
        "upstream": report(standby())["upstream"],
        "lag": report(standby())["lag"],
        "replicas": report(primary())["replicas"][0],
        "slots": report(primary())["slots"][0],
        "clone": report(found(ABSENT, COPYING))["clone"],
    }
    assert {name: set(row) for name, row in rows.items()} == {
        name: set(documented[name]["contains"]) for name in rows
    }
