# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes docs/edge-faults.md out of what the scenario edge_faults has measured. Run by `make faults`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .account import Report

PAGE = Path(__file__).parents[2] / "docs" / "edge-faults.md"
HEAD = """# What clients see when the edge and the app are changed, and when they break

Made by `make faults` on {date}: Debian {debian}, nginx {nginx}, keepalived {keepalived}, Node.js {node}, all
machines on one computer with {cores} cores. {rate:g} requests a second arrive at the virtual IP, whatever
became of those before them: pages, cached and single reads, writes, a login made once, answers that take 5 s,
half of them over kept and half over new connections, none of them ever asked twice; and {sockets} WebSockets
with a message a second. Every write that was acknowledged was asked for afterwards, and was there once.

- **failed** counts requests by kind and connection, with the reason. A WebSocket's message that had to be
  sent again because it crossed an orderly close is none.
- **recovery** is the time from the beginning to the end of the last failure.
- **longest wait** is that of a request or a message, from when it was due; a slow answer takes 5 s.
- **silence** is the longest time without a good answer to anybody.
- **WebSockets**: how many connected again, after how long at the most, and how many had been cut, not closed.
"""
TITLES = {
    True: "\n## Planned\n\nNothing may fail here.\n\n",
    False: (
        "\n## Broken on purpose\n\nHere only what the broken part had in hand may fail, or was sent to it "
        "before it was known to be broken.\n\n"
    ),
}
COLUMNS = (
    "| | requests | failed | recovery | longest wait | silence | WebSockets |\n"
    "|---|---|---|---|---|---|---|\n"
)


def failures(counts: Mapping[str, int]) -> str:
    """Return what failed as the cell of a table."""
    return ", ".join(f"{count} x {what}" for what, count in sorted(counts.items())) or "0"


def sockets(reconnects: int, gap: float, broken: int) -> str:
    """Return what became of WebSockets as the cell of a table."""
    if not reconnects and not broken:
        return "-"
    cut = f", {broken} cut" if broken else ""
    return f"{reconnects} again, {gap:.2f} s at most{cut}"


@dataclass(frozen=True)
class Row:
    """What one change or fault came to."""

    what: str
    planned: bool
    seconds: float
    sent: int
    failed: dict[str, int]
    recovery: float
    longest: float
    silence: float
    reconnects: int
    gap: float
    broken: int
    # How late the generator itself was at the worst.
    late: float

    @classmethod
    def of(cls, what: str, planned: bool, report: Report) -> Row:
        return cls(
            what=what,
            planned=planned,
            seconds=round(report.until - report.since, 1),
            sent=report.sent,
            failed=report.failed(),
            recovery=round(report.recovery, 2),
            longest=round(report.longest, 2),
            silence=round(report.silence, 2),
            reconnects=report.reconnects,
            gap=round(report.gap, 2),
            broken=report.broken,
            late=round(report.late, 3),
        )

    def __str__(self) -> str:
        """Return it as a line of its table."""
        cells = (
            self.what,
            f"{self.sent} in {self.seconds:.0f} s",
            failures(self.failed),
            f"{self.recovery:.1f} s" if self.failed else "-",
            f"{self.longest:.2f} s",
            f"{self.silence:.2f} s",
            sockets(self.reconnects, self.gap, self.broken),
        )
        return f"| {' | '.join(cells)} |"


@dataclass
class Measured:
    """All rows, and where they were measured."""

    about: dict[str, str | float] = field(default_factory=dict)
    rows: list[Row] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Measured:
        if not path.exists():
            return cls()
        found = json.loads(path.read_text())
        return cls(found["about"], [Row(**row) for row in found["rows"]])

    def keep(self, row: Row) -> None:
        """Put a row in the place of the one that an earlier run has left, or at the end."""
        places = [number for number, each in enumerate(self.rows) if each.what == row.what]
        self.rows[slice(places[0], places[0] + 1) if places else slice(len(self.rows), None)] = [row]

    def write(self, path: Path) -> None:
        text = {"about": self.about, "rows": [asdict(row) for row in self.rows]}
        path.write_text(json.dumps(text, indent=2) + "\n")


def render(about: Mapping[str, str | float], rows: Sequence[Row]) -> str:
    parts = [HEAD.format(**about)]
    for planned, title in TITLES.items():
        if lines := [f"{row}\n" for row in rows if row.planned == planned]:
            parts += [title, COLUMNS, *lines]
    if rows:
        late = max(row.late for row in rows)
        parts.append(f"\nThe generator itself sent no request later than {late:.2f} s after it was due.\n")
    return "".join(parts)


def main(words: Sequence[str]) -> None:
    measured = Measured.read(Path(words[0]))
    PAGE.write_text(render(measured.about, measured.rows))


if __name__ == "__main__":
    main(sys.argv[1:])
