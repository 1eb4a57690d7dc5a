# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock as a file: there, and whole, or not there."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from ansible_collections.payaid.scaling.plugins.module_utils._lock.plan import Holder, State
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal


class LockFile:
    """A file that says who holds the lock."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")

    def observe(self) -> State:
        return State(socket.gethostname(), str(self._path), self._holder())

    def _holder(self) -> Holder | None:
        try:
            return Holder.from_dict(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            # Nothing of ours leaves it like this, so nobody may guess what it means.
            raise Refusal(
                f"{socket.gethostname()}: {self._path} is no lock that run_lock wrote: remove it, if you are "
                "certain that nothing is under way."
            ) from None

    def take(self, holder: Holder) -> None:
        self._write(holder)
        try:
            os.link(self._draft, self._path)
        except FileExistsError:
            found = self._holder()
            raise Refusal(
                f"{socket.gethostname()}: {found.name if found else 'somebody'} was quicker to take "
                f"{self._path}: wait for that {found.what if found else 'run'}."
            ) from None
        finally:
            self._draft.unlink()

    def take_over(self, holder: Holder) -> None:
        self._write(holder)
        self._draft.replace(self._path)

    def leave(self) -> None:
        self._path.unlink()

    def _write(self, holder: Holder) -> None:
        self._draft.write_text(json.dumps(holder.as_dict()) + "\n")
