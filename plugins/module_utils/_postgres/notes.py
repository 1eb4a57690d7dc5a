# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The note beside a data directory that a clone or a rewind is under way, and the programs that it names."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres import system as host_system
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.model import Marker, Place
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import Process, System
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import last_error

LOOK = 0.2  # s between two looks at a program that works
COUNT = 2.0  # s between two counts of what it has written


@dataclass(frozen=True)
class Progress:
    """How far a copy has come, in bytes."""

    done: int = 0
    total: int = 0


class Notes:
    """One note. Whoever finds it knows what was begun, how far it got, and which processes belong to it."""

    def __init__(self, place: Place, system: System) -> None:
        self.place = place
        self.system = system

    def marker(self) -> Marker | None:
        return self.read()[0]

    def progress(self) -> Progress:
        return Progress(**self.read()[1].get("progress", {}))

    def read(self) -> tuple[Marker | None, dict[str, Any]]:
        content = host_system.read_or_empty(self.place.marker)
        if not content:
            return None, {}
        try:
            note: dict[str, Any] = json.loads(content)
            known = {field.name for field in fields(Marker)}
            return Marker(**{key: value for key, value in note.items() if key in known}), note
        except (ValueError, TypeError) as error:
            raise Refusal(
                f"{self.system.host}: {self.place.marker} cannot be read: if no clone is under way, remove "
                f"it and {self.place.data_dir}.new, and run again."
            ) from error

    def write(
        self, marker: Marker, processes: Sequence[Process] = (), progress: Progress | None = None
    ) -> None:
        note = {
            **asdict(marker),
            "boot": host_system.boot_id(),
            "processes": [[process.pid, process.started] for process in processes],
            "progress": asdict(progress or Progress()),
        }
        self.system.write(self.place.marker, json.dumps(note) + "\n", 0o600)

    def remove(self) -> None:
        os.unlink(self.place.marker)
        host_system.sync_dir(os.path.dirname(self.place.marker))

    def orphans(self) -> tuple[Process, ...]:
        """Return the programs of a run that has died before them."""
        _marker, note = self.read()
        if note.get("boot") != host_system.boot_id():
            return ()
        recorded = [Process(pid, started) for pid, started in note["processes"]]
        living = {process for process in recorded if process.lives()}
        # The first one leads the session; while it lives, a child it made since belongs to us too.
        if recorded and recorded[0] in living:
            living.update(recorded[0].session())
        return tuple(sorted(living, key=lambda process: process.pid))

    def run(
        self, argv: Sequence[str], marker: Marker, count: Callable[[], Progress] = Progress
    ) -> tuple[int, str]:
        """Run a program that is known by the note as long as it lives; return its status and its error."""
        with tempfile.TemporaryFile() as errors:
            process = self.system.start_gated(argv, errors)
            with host_system.ended_on_exit(process) as leader:
                self.write(marker, (leader,), count())
                self.system.open_gate(process)
                recorded: tuple[Process, ...] = (leader,)
                counted = time.monotonic()
                while process.poll() is None:
                    members = (leader, *(member for member in leader.session() if member != leader))
                    if members != recorded or time.monotonic() - counted >= COUNT:
                        recorded, counted = members, time.monotonic()
                        self.write(marker, recorded, count())
                    time.sleep(LOOK)
            errors.seek(0)
            said = errors.read().decode(errors="replace")
        return process.returncode, last_error(said) or "it was ended"
