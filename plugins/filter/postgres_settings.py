# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a PostgreSQL server's settings should be, by its memory and by what the servers beside it run with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import MATCHED_SETTINGS

Info = Mapping[str, Any]
# PostgreSQL's own, the same in 15 to 17.
DEFAULTS = dict(zip(MATCHED_SETTINGS, (100, 8, 10, 0, 64), strict=True))


def postgres_memory_settings(memory_mb: int, max_connections: int) -> dict[str, str]:
    """Return the settings that follow from the memory of a machine that runs PostgreSQL and little else.

    The page of each setting in PostgreSQL's documentation gives a quarter of the memory for shared_buffers,
    and for effective_cache_size what shared_buffers and the kernel's cache have together, of which three
    quarters is what is left after connections and the system. It gives no figures for the other two: each
    connection may take work_mem several times, so all of them together get a quarter once; up to three
    autovacuum workers may take maintenance_work_mem each, and before PostgreSQL 17 a vacuum used no more
    than 1 GB of it.
    """
    sizes = {
        "shared_buffers": _within(memory_mb // 4, 128, 16384),
        "effective_cache_size": _within(memory_mb * 3 // 4, 128, memory_mb),
        "work_mem": _within(memory_mb // 4 // max_connections, 4, 64),
        "maintenance_work_mem": _within(memory_mb // 16, 64, 1024),
    }
    return {name: f"{_rounded(size)}MB" for name, size in sizes.items()}


def _within(size: int, low: int, high: int) -> int:
    return max(low, min(size, high))


def _rounded(size: int) -> int:
    """Round down to four binary digits: a kernel that takes a little more must change nothing."""
    step = 1 << max(size.bit_length() - 4, 0)
    return size // step * step


def postgres_bounds(infos: Mapping[str, Info | None], writer: str, host: str) -> dict[str, dict[str, int]]:
    """Return what a host's files may say of the settings that no standby may have less of than its primary.

    A server takes what its files say whenever it starts, planned or not. So a standby's are held at what
    the primary runs with, and the primary's at what the standbys run with, until these have been restarted.
    """
    own, primary = _limits(infos.get(host)), _limits(infos.get(writer))
    if host != writer:
        return {"at_least": primary, "at_most": {}}
    standbys = [
        _limits(info)
        for name, info in infos.items()
        if name != writer and info and info.get("role") == "standby"
    ]
    # Never below what the primary has itself: a standby that is too small already must not make it smaller.
    at_most = {
        name: max(value, min(standby.get(name, value) for standby in standbys))
        for name, value in own.items()
        if standbys
    }
    return {"at_least": {}, "at_most": at_most}


def postgres_within(
    settings: Mapping[str, Any], at_least: Mapping[str, int], at_most: Mapping[str, int]
) -> dict[str, Any]:
    """Return the settings, with those five held within what they may be now."""
    held = dict(settings)
    for name in MATCHED_SETTINGS:
        wanted = str(settings.get(name, DEFAULTS[name])).strip()
        if wanted.isdecimal():  # what is no number is refused by the server's own check
            allowed = max(min(int(wanted), at_most.get(name, int(wanted))), at_least.get(name, 0))
            if allowed != int(wanted):
                held[name] = allowed
    return held


def postgres_pending(infos: Mapping[str, Info | None], writer: str) -> list[str]:
    """Return which servers wait for a restart, and for which settings, in the order in which they get it."""
    waiting = {
        host: info["pending_restart"] for host, info in infos.items() if info and info.get("pending_restart")
    }
    ordered = sorted(waiting, key=lambda host: host == writer)
    return [f"{host} ({', '.join(waiting[host])})" for host in ordered]


def _limits(info: Info | None) -> dict[str, int]:
    return dict((info or {}).get("limits") or {})


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "postgres_bounds": postgres_bounds,
            "postgres_memory_settings": postgres_memory_settings,
            "postgres_pending": postgres_pending,
            "postgres_within": postgres_within,
        }
