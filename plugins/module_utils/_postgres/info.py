# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is told of one cluster of this host: its role, its positions, who follows it, what is wrong. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    MATCHED_SETTINGS,
    Local,
    Marker,
    Place,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.notes import Progress
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import (
    lsn_to_text,
    standbys_waited_for,
)

Role = Literal["primary", "standby", "stopped_primary", "stopped_standby", "starting", "absent", "broken"]
# Both sides say something every 30 s, if nothing else, by default.
SECONDS_OF_SILENCE = 45


@dataclass(frozen=True)
class Found:
    """One cluster of this host as it was found."""

    place: Place
    local: Local
    installed: bool = True
    marker: Marker | None = None
    progress: Progress = field(default_factory=Progress)
    # A program that the note names is still at work.
    working: bool = False
    answer: Mapping[str, Any] = field(default_factory=dict)


def role(found: Found) -> Role:
    local, marker = found.local, found.marker
    if not found.installed:
        return "absent"
    if marker is not None and (_torn(found, marker) or local.server == "down"):
        return "broken"
    if local.data != "cluster":
        return "absent" if local.data in ("absent", "empty") else "broken"
    if local.server == "starting":
        return "starting"
    if local.server == "up":
        return "standby" if local.in_recovery else "primary"
    return "stopped_primary" if local.was_primary and not local.standby_signal else "stopped_standby"


def _torn(found: Found, marker: Marker) -> bool:
    """Tell whether the data are of no use by themselves, whatever runs on them."""
    if found.local.data != "cluster":
        return True
    return marker.phase == "rewinding" or (marker.phase == "copying" and marker.in_place)


def report(found: Found) -> dict[str, Any]:
    """Return the module's result."""
    local, name, answer = found.local, role(found), found.answer
    standby = name in ("standby", "stopped_standby")
    return {
        "role": name,
        "running": local.server != "down",
        "system_identifier": local.system_identifier,
        "timeline": local.timeline or None,
        # Not where a primary puts its next record, which on a new page is behind the header.
        "lsn": answer.get("lsn") or (lsn_to_text(local.lsn) if local.lsn else None),
        "replayed_lsn": lsn_to_text(local.replayed) if standby and local.replayed else None,
        "control_state": local.control_state or None,
        "upstream": answer.get("upstream"),
        "lag": _lag(found) if name == "standby" else None,
        "replay_paused": _paused(found),
        "limits": dict(_limits(found)),
        "pending_restart": list(answer.get("pending_restart", ())),
        "replicas": [_not_negative(replica) for replica in answer.get("replicas", ())],
        "slots": [_not_negative(slot) for slot in answer.get("slots", ())],
        "synchronous_standby_names": answer.get("synchronous_standby_names"),
        "clone": found.marker
        and {"phase": found.marker.phase, "bytes": found.progress.done, "total": found.progress.total},
        "problems": list(problems(found)),
    }


def _lag(found: Found) -> dict[str, int | float | None]:
    # After a restart the position received is at first the beginning of a segment, before what was replayed.
    behind = found.local.lsn - found.local.replayed
    return {"bytes": behind, "seconds": found.answer["since_replay_s"] if behind else 0}


def _paused(found: Found) -> bool:
    return found.local.replay == "paused"


def _limits(found: Found) -> Iterable[tuple[str, int]]:
    """Return what this server runs with, or, if nobody can ask it, what its WAL was written with."""
    if settings := found.answer.get("settings"):
        return ((name, int(settings[name])) for name in MATCHED_SETTINGS)
    return found.local.control_limits


def _not_negative(row: Mapping[str, Any]) -> dict[str, Any]:
    """A sender may have moved on between the two readings that a difference is made of."""
    return {
        name: max(0, value) if value is not None and name.endswith("_bytes") else value
        for name, value in row.items()
    }


def problems(found: Found) -> Iterator[str]:
    """Say what is wrong, and what helps, in sentences that need no context."""
    name = role(found)
    if not found.installed:
        yield f"PostgreSQL {found.place.version} is not installed: {found.place.bin_dir} is missing"
        return
    if found.marker is not None:
        yield _unfinished(found, found.marker)
    for look in LOOKS.get(name, ()):
        yield from look(found)
    for row in found.answer.get("slots", ()):
        if told := _slot(row, standby=name == "standby"):
            yield told


def _unfinished(found: Found, marker: Marker) -> str:
    path = found.place.data_dir
    work = "rewind" if marker.phase.startswith("rew") else "clone"
    if found.working:
        return f"a {work} of {path} is under way"
    if marker.phase in ("copied", "rewound"):
        return f"a {work} of {path} is complete, and was not yet seen to stream: run postgres_replica again"
    return f"a {work} of {path} broke off: run postgres_replica again"


def _of_no_data(found: Found) -> Iterator[str]:
    missing = "there is no" if found.local.data == "absent" else "nothing is in"
    yield f"{missing} {found.place.data_dir}"


def _of_no_use(found: Found) -> Iterator[str]:
    path = found.place.data_dir
    if found.local.data == "unknown":
        yield f"{path} holds files that are no PostgreSQL data"
    elif found.local.data == "partial" and found.marker is None:
        yield f"{path} holds a base backup that stopped half-way: run postgres_replica to clone it again"


def _of_a_start(found: Found) -> Iterator[str]:
    yield f"{found.place.name} runs and takes no questions: it is starting or stopping, full, or hangs"


def _of_a_stop(found: Found) -> Iterator[str]:
    orderly = found.local.control_state in ("shut down", "shut down in recovery")
    how = "" if orderly else ", and was not shut down in good order: it recovers when it is started"
    yield f"{found.place.name} is stopped{how}"


def _of_a_missing_signal(found: Found) -> Iterator[str]:
    if not found.local.standby_signal:
        yield (
            f"standby.signal is missing in {found.place.data_dir}: this becomes a primary when its recovery "
            "ends, or at its next start"
        )


def _of_a_signal(found: Found) -> Iterator[str]:
    if found.local.standby_signal:
        yield (
            f"standby.signal is in {found.place.data_dir}: at its next start this primary becomes a standby"
        )


def _of_receiving(found: Found) -> Iterator[str]:
    upstream, settings = found.answer["upstream"], found.answer["settings"]
    if upstream is None:
        if settings["primary_conninfo"]:
            yield "it receives nothing from its primary: the server's log says why"
        elif not settings["restore_command"]:
            yield "primary_conninfo is empty, so it follows no primary"
        return
    if upstream["status"] != "streaming":
        yield f"it does not stream from {upstream['host']} (status {upstream['status']})"
    elif (upstream["last_message_age_s"] or 0) > SECONDS_OF_SILENCE:
        yield f"{upstream['host']} has sent nothing for {upstream['last_message_age_s']:.0f} s"


def _of_replay(found: Found) -> Iterator[str]:
    short = [
        f"{name} is {found.answer['settings'][name]} here and {needed} on the primary"
        for name, needed in found.local.control_limits
        if int(found.answer["settings"][name]) < needed
    ]
    yield from (f"{told}: raise it here, and restart, or replay stands still" for told in short)
    if _paused(found) and not short:
        yield "replay is paused: pg_wal_replay_resume() lets it go on"


def _of_replicas(found: Found) -> Iterator[str]:
    for replica in found.answer["replicas"]:
        name, address, state = replica["application_name"], replica["address"], replica["state"]
        if state in ("startup", "catchup", "stopping"):
            where = f" at {address}" if address else ""
            yield f"replica {name}{where} is not in step (state {state})"


def _of_synchrony(found: Found) -> Iterator[str]:
    names = found.answer["synchronous_standby_names"]
    needed = 0 if found.answer["synchronous_commit"] in ("off", "local") else standbys_waited_for(names)
    there = sum(replica["sync_state"] in ("sync", "quorum") for replica in found.answer["replicas"])
    if there < needed:
        yield (
            f"commits wait: synchronous_standby_names is {names}, which needs {needed}, and {there} of them "
            "stream"
        )


def _slot(row: Mapping[str, Any], *, standby: bool) -> str | None:
    name = f"slot {row['name']} on this {'standby' if standby else 'primary'}"
    if row["wal_status"] == "lost":
        remedy = "unless an archive has it, whatever used the slot has to be cloned again"
        return f"{name} has lost its WAL: {remedy}"
    held = size_text(row["retained_bytes"] or 0)
    if row["wal_status"] == "unreserved":
        return f"{name} is {held} behind, and loses its WAL at the next checkpoint"
    if row["wal_status"] == "extended":
        idle = "" if row["active"] else "is inactive and "
        return f"{name} {idle}holds back {held}, more than max_wal_size"
    # On a standby slots wait for the day when it is the primary.
    if row["active"] or row["retained_bytes"] is None or standby:
        return None
    return f"{name} is inactive and holds back {held}"


Look = Callable[[Found], Iterator[str]]
LOOKS: Mapping[Role, tuple[Look, ...]] = {
    "absent": (_of_no_data,),
    "broken": (_of_no_use,),
    "starting": (_of_a_start,),
    "stopped_primary": (_of_a_stop,),
    "stopped_standby": (_of_a_stop, _of_a_missing_signal),
    "standby": (_of_receiving, _of_replay, _of_a_missing_signal, _of_replicas),
    "primary": (_of_a_signal, _of_replicas, _of_synchrony),
}


def size_text(size: float) -> str:
    """Write a size for people."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if size >= 10 or size == int(size) else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
