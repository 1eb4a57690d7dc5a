# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who did how much in a run, as tables; their bars are the charts of these figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .given import Run, number, part, rows, text
from .words import NONE, amount, counted, measured, percent

# The share of its cores from which on a machine counts as busy, in percent.
BUSY = 90


@dataclass(frozen=True)
class Row:
    """A name and cells; with a bar where the figures are shares."""

    name: str
    cells: Sequence[str]
    filled: float | None = None
    css: str = ""
    code: bool = False

    def told(self) -> dict[str, Any]:
        filled = None if self.filled is None else round(min(max(self.filled, 0), 100), 1)
        told = {"name": self.name, "cells": list(self.cells), "css": self.css, "code": self.code}
        return told | {"bar": filled}


@dataclass(frozen=True)
class Table:
    """Rows under heads; the first head is that of the names."""

    name: str
    title: str
    heads: Sequence[str]
    rows: Sequence[Row]
    about: str = ""

    def told(self) -> dict[str, Any]:
        head, *others = self.heads
        return {
            "name": self.name,
            "title": self.title,
            "head": head,
            "heads": others,
            "rows": [row.told() for row in self.rows],
            "about": self.about,
        }


def _percent(value: float | None) -> str:
    return measured(value, "%")


def _counted_shares(found: Sequence[tuple[str, float | None]], css: str = "") -> list[Row]:
    whole = sum(count for _name, count in found if count)
    shares = [(name, count, percent(count or 0, whole)) for name, count in found]
    return [Row(name, (amount(count), _percent(share)), share or 0, css) for name, count, share in shares]


def upstreams(run: Run) -> Table:
    """Say which node had which share of the requests."""
    found = rows(part(run, "edge"), "upstreams")
    shares = _counted_shares([(text(one.get("name")), number(one.get("requests"))) for one in found])
    return Table(
        "upstreams",
        "Requests of each node",
        ("Node", "Requests", "Share", "Failed", "p95"),
        [
            Row(
                share.name,
                (*share.cells, amount(number(one.get("failed"))), measured(number(one.get("p95")), "ms")),
                share.filled,
            )
            for share, one in zip(shares, found, strict=True)
        ],
    )


def errors(run: Run) -> Table:
    found = [(text(one.get("kind")), number(one.get("count"))) for one in rows(part(run, "edge"), "errors")]
    found.sort(key=lambda one: -(one[1] or 0))
    return Table("errors", "Errors by kind", ("Error", "Count", "Share"), _counted_shares(found, "poor"))


def codes(run: Run) -> Table:
    found = [(text(code), number(count)) for code, count in sorted(part(run, "edge", "codes").items())]
    return Table("codes", "Answers by status", ("Status", "Count", "Share"), _counted_shares(found))


def _processors(run: Run, kind: str, title: str) -> Table:
    def row(one: Run) -> Row:
        used = number(one.get("cpu"))
        share = None if used is None else 100 * used
        busy = share is not None and share >= BUSY
        cells = (amount(number(one.get("cores"))), _percent(share))
        return Row(text(one.get("host")), cells, share or 0, "poor" if busy else "")

    found = [row(one) for one in rows(part(run, "evidence"), kind)]
    about = f"Red is {BUSY} % or more." if any(one.css for one in found) else ""
    return Table(kind, title, ("Machine", "Cores", "CPU used"), found, about)


def app_nodes(run: Run) -> Table:
    return _processors(run, "app_nodes", "CPU that the app used")


def generators(run: Run) -> Table:
    table = _processors(run, "generators", "CPU of the load generators")
    said = "A generator that is busy measures its own waiting."
    return Table(
        table.name, table.title, table.heads, table.rows, f"{table.about} {said}" if table.about else ""
    )


def pools(run: Run) -> Table:
    """Say for how long transactions waited for a connection."""
    return Table(
        "pools",
        "Waiting for a database connection",
        ("Pool", "Mean wait", "Most waiting", "Size"),
        [
            Row(
                " on ".join(text(one[name]) for name in ("pool", "host") if one.get(name)),
                (
                    measured(number(one.get("waited_ms")), "ms"),
                    *(amount(number(one.get(name))) for name in ("waiting_max", "size")),
                ),
            )
            for one in rows(part(run, "evidence"), "pools")
        ],
    )


def replicas(run: Run) -> Table:
    return Table(
        "replicas",
        "Lag of the replicas",
        ("Replica", "At most"),
        [
            Row(text(one.get("host")), [measured(number(one.get("lag_max_s")), "s")])
            for one in rows(part(run, "evidence"), "replicas")
        ],
    )


def hit_rate(run: Run) -> float | None:
    """Return the share of keys that Redis was asked for and had, in percent."""
    redis = part(run, "evidence", "redis")
    told = number(redis.get("rate"))
    if told is not None:
        return 100 * told
    hits, misses = number(redis.get("hits")), number(redis.get("misses"))
    return None if hits is None or misses is None else percent(hits, hits + misses)


def redis(run: Run) -> Table:
    found, rate = part(run, "evidence", "redis"), hit_rate(run)
    masters = number(found.get("masters"))
    shares = [("Found", "hits", rate), ("Not found", "misses", None if rate is None else 100 - rate)]
    return Table(
        "redis",
        "Redis hit rate",
        ("Keys asked for", "Count", "Share"),
        [
            Row(
                name,
                (amount(number(found.get(field))), _percent(share)),
                share or 0,
                "" if name == "Found" else "rest",
            )
            for name, field, share in shares
        ]
        if rate is not None
        else [],
        f"Of {counted(round(masters), 'master')}." if masters else "",
    )


def database(run: Run) -> Table:
    found = part(run, "evidence", "database")
    whole = _statement("All statements", found)
    worst = [_statement(text(one.get("query")), one, code=True) for one in rows(found, "worst")]
    known = [whole] if set(whole.cells) != {NONE} else []
    heads = ("Statement, the slowest first", "Mean", "Calls")
    return Table("database", "Database", heads, [*known, *worst])


def _statement(name: str, one: Run, *, code: bool = False) -> Row:
    cells = measured(number(one.get("mean_ms")), "ms"), amount(number(one.get("calls")))
    return Row(name, cells, code=code)


Maker = Callable[[Run], Table]
# Beside each what is said where it is not known.
AT_THE_EDGE: tuple[tuple[Maker, str], ...] = (
    (upstreams, "requests of each node"),
    (errors, "errors by kind"),
    (codes, "answers by status"),
)
ON_MACHINES: tuple[tuple[Maker, str], ...] = (
    (app_nodes, "CPU of the app nodes"),
    (generators, "CPU of the load generators"),
    (pools, "waiting for a database connection"),
    (replicas, "lag of the replicas"),
    (redis, "hit rate of Redis"),
    (database, "time of the statements"),
)


def tables(run: Run, makers: Sequence[tuple[Maker, str]]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the tables that have rows, and what is said of the others."""
    made = [(maker(run), otherwise) for maker, otherwise in makers]
    return (
        [table.told() for table, _otherwise in made if table.rows],
        [otherwise for table, otherwise in made if not table.rows],
    )


def tried(run: Run) -> list[dict[str, Any]]:
    return [_tried(one) for one in rows(run, "tried")]


def _tried(one: Run) -> dict[str, Any]:
    def both(name: str) -> Iterator[str]:
        for when in ("before", "after"):
            yield amount(number(part(one, when).get(name)))

    return {
        "variable": text(one.get("variable")),
        "change": " to ".join(NONE if one.get(name) is None else str(one[name]) for name in ("from", "to")),
        "p95": f"{' to '.join(both('p95'))} ms",
        "rate": " to ".join(both("rate")),
        "verdict": {"css": "good", "word": "kept"}
        if one.get("kept")
        else {"css": "fair", "word": "taken back"},
    }
