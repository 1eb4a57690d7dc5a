# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Running pgBackRest on this host, which knows its repository by its own settings."""

from __future__ import annotations

import os

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.backups import (
    Repository,
    repository_from_info,
)
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.system import System
from ansible_collections.payaid.scaling.plugins.module_utils._postgres.text import first_line

PROGRAM = "/usr/bin/pgbackrest"


def command(stanza: str, *arguments: str) -> list[str]:
    """Return the words of a command that says nothing but what went wrong."""
    return [PROGRAM, f"--stanza={stanza}", "--log-level-console=off", "--log-level-stderr=error", *arguments]


def run(system: System, stanza: str, *arguments: str) -> str:
    """Run pgBackRest, which must succeed."""
    done = system.run(command(stanza, *arguments))
    if done.returncode:
        said = first_line(done.stderr) or f"it ended with {done.returncode}"
        raise Refusal(f"{system.host}: pgbackrest {arguments[-1]} failed: {said}.")
    return done.stdout


def look(system: System, stanza: str) -> Repository:
    """Ask what the repository holds. That it cannot be asked is an answer: it may not be needed."""
    if not os.path.exists(PROGRAM):
        return Repository(stanza, problem="pgbackrest is not installed on this host")
    done = system.run(command(stanza, "--output=json", "info"))
    if done.returncode:
        return Repository(
            stanza, problem=first_line(done.stderr) or f"pgbackrest info ended with {done.returncode}"
        )
    return repository_from_info(stanza, done.stdout)
