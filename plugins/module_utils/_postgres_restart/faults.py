# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a server would not start with what its files say now. Pure, but for the looking up of library files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import (
    MATCHED_SETTINGS,
    Local,
    Place,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import first_line

BLOCK = 8192  # bytes; the unit that shared_buffers is told in
# What is asked of the files; the first one is enough for the server to refuse what it cannot read.
ASKED = (*MATCHED_SETTINGS, "shared_buffers", "shared_preload_libraries")


def complaint(said: str) -> str:
    """Return the reason that postgres gives for not reading its files."""
    lines = [
        re.sub(r"^.*?\b(LOG|ERROR|FATAL|PANIC):\s*", "", line)
        for line in said.splitlines()
        if "skipping missing configuration file" not in line
    ]
    return first_line("\n".join(lines))


def of_settings(place: Place, local: Local, settings: Mapping[str, str], memory: int) -> Iterator[str]:
    """Say what the server could read and not start with; memory is the machine's, in bytes."""
    if local.in_recovery:
        for name, needed in local.control_limits:
            if int(settings[name]) < needed:
                yield f"{name} is {settings[name]} in its files and {needed} on its primary"
    buffers = int(settings["shared_buffers"]) * BLOCK
    if buffers >= memory:
        yield f"shared_buffers is {buffers >> 20} MiB and the machine has {memory >> 20} MiB of memory"
    for name in re.findall(r'[^\s,"]+', settings["shared_preload_libraries"]):
        if not _library_exists(place, name):
            yield f"there is no library {name}, which shared_preload_libraries names"


def _library_exists(place: Place, name: str) -> bool:
    path = name.replace("$libdir", _libraries(place)) if "/" in name else f"{_libraries(place)}/{name}"
    return os.path.exists(path) or os.path.exists(f"{path}.so")


def _libraries(place: Place) -> str:
    return f"/usr/lib/postgresql/{place.version}/lib"
