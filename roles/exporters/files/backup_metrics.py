# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes what pgBackRest knows of the newest backups, as node_exporter's textfile collector takes it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any

INFO = ("/usr/bin/pgbackrest", "--output=json", "--log-level-console=off", "--log-level-file=off", "info")
KINDS = {
    "pgbackrest_looked_timestamp_seconds": "When pgBackRest was last asked.",
    "pgbackrest_stanza_ok": "Whether pgBackRest finds nothing wrong with the stanza.",
    "pgbackrest_last_backup_timestamp_seconds": "When the newest good backup was complete.",
}


def metrics(stanzas: Iterable[Mapping[str, Any]], now: float) -> str:
    """Return what `pgbackrest info` says in the words of Prometheus."""
    samples: dict[str, list[str]] = {name: [] for name in KINDS}
    samples["pgbackrest_looked_timestamp_seconds"].append(f" {now:.0f}")
    for stanza in stanzas:
        label = f"{{stanza={json.dumps(stanza['name'])}}}"
        samples["pgbackrest_stanza_ok"].append(f"{label} {int(stanza['status']['code'] == 0)}")
        # One with pages whose checksums are wrong is none to rely on.
        good = [one["timestamp"]["stop"] for one in stanza.get("backup", ()) if not one.get("error")]
        if good:
            samples["pgbackrest_last_backup_timestamp_seconds"].append(f"{label} {max(good)}")
    if not samples["pgbackrest_stanza_ok"]:
        # Nothing is said of a repository that is not there, and an alert that has no series is silent.
        samples["pgbackrest_stanza_ok"].append(" 0")
    lines = []
    for name, of_name in samples.items():
        lines += [f"# HELP {name} {KINDS[name]}", f"# TYPE {name} gauge", *(name + one for one in of_name)]
    return "\n".join(lines) + "\n"


def main() -> None:
    file = sys.argv[1]
    done = subprocess.run(INFO, stdout=subprocess.PIPE, check=True, timeout=100)  # noqa: S603  # our own words
    # Whoever reads meanwhile reads the old one.
    with open(f"{file}.new", "w", encoding="utf-8") as new:
        new.write(metrics(json.loads(done.stdout), time.time()))
    os.replace(f"{file}.new", file)


if __name__ == "__main__":
    main()
