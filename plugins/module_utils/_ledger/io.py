# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger as a file of one line for each entry, which is only ever added to."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ansible_collections.payaid.scaling.plugins.module_utils._ledger.model import Entry, line, read
from ansible_collections.payaid.scaling.plugins.module_utils._ledger.plan import State


class LedgerFile:
    """The file of one machine."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def observe(self) -> State:
        try:
            text = self._path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return State()
        entries, damaged = read(text)
        return State(tuple(entries), tuple(damaged))

    def append(self, entries: Sequence[Entry]) -> None:
        self._path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        # In one write, so that two that come at once leave two whole lines.
        file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            # Whoever was killed while it wrote has left half a line, which is to stay one by itself.
            text = ("" if self._ends_whole(file) else "\n") + "".join(map(line, entries))
            os.write(file, text.encode())
            os.fsync(file)
        finally:
            os.close(file)
        self._sync_folder()

    @staticmethod
    def _ends_whole(file: int) -> bool:
        size = os.fstat(file).st_size
        return size == 0 or os.pread(file, 1, size - 1) == b"\n"

    def _sync_folder(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
