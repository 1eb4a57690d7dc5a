# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans in words, for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Told = Mapping[str, Any]


def thousands(rupees: int) -> str:
    """Return an amount as the blueprint writes it, such as 5K."""
    return f"{rupees / 1000:,.1f}".removesuffix(".0") + "K" if rupees >= 1000 else str(rupees)


def money(low: int, high: int) -> str:
    """Return a range of rupees."""
    return f"₹{thousands(low)}" if low == high else f"₹{thousands(low)}-{thousands(high)}"


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return rows as lines, the first cell of each to the left and the others to the right."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = []
    for first, *others in rows:
        cells = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]).rstrip())
    return lines


def sentence(words: str) -> str:
    """Return words as the beginning of a sentence."""
    return words[0].upper() + words[1:]


def verdict(told: Told) -> str:
    """Say in one sentence whether a platform is enough for its users."""
    carried = told["capacity"]
    if not told["enough"]:
        return f"Not enough: it carries {carried['users']:,} users."
    if not told["enough_one_lost"]:
        return f"Enough, as long as nothing is lost: then it carries {carried['users_one_lost']:,} users."
    return "Enough, also with an app node or a replica lost."


def text(report: Mapping[str, Any]) -> list[str]:
    """Return the lines that playbooks/plan.yml prints."""
    plan = report["plan"]
    lines = [*_head(plan), "", *_machines(plan), "", *_connections(plan), "", *_lost(plan)]
    lines += ["", f"The blueprint's phases, for {plan['users']:,} users", *_states(report["phases"])]
    if report.get("weeks"):
        lines += ["", f"The weeks of the rollout, for {plan['users']:,} users", *_states(report["weeks"])]
    if report.get("inventory"):
        lines += ["", "The inventory as it is, and this plan"]
        lines += change(report["inventory"], plan, ("inventory", "plan"))
    return [*lines, "", *_given(plan)]


def _head(plan: Told) -> Iterator[str]:
    yield (
        f"{plan['users']:,} users, {plan['requests_per_second']:,} requests a second: {plan['name']}, "
        f"{plan['title'].lower()}, {plan['machine_count']} machines, {plan['cost']['text']} a month."
    )
    yield verdict(plan)
    yield (
        f"{sentence(plan['bottleneck']['label'])} run out first, beyond "
        f"{plan['bottleneck']['users']:,} users: {plan['bottleneck']['remedy']}."
    )


def _machines(plan: Told) -> list[str]:
    rows = [["", "machines", "memory each", "₹ a month"]]
    for row in plan["machines"]:
        memory = f"{row['memory_gb']} GB" if row["own"] else "with the app"
        size = "" if row["size"] == 1 else f" ({row['size']:g} times the size)"
        rows.append([row["label"] + size, str(row["count"]), memory, row["text"]])
    rows.append(["Together", str(plan["machine_count"]), "", plan["cost"]["text"]])
    return columns(rows)


def _connections(plan: Told) -> Iterator[str]:
    used, pools = plan["connections"], plan["pools"]
    each = (
        f"pools of {pools['size']} + {pools['reserve']}" if pools["pooler"] else f"{pools['size']} a process"
    )
    yield (
        f"Connections to the primary: {used['primary']} ({each}) and {used['kept']} kept, of {used['max']} "
        "(max_connections)."
    )


def _lost(plan: Told) -> Iterator[str]:
    yield "When one machine is lost"
    width = max(len(row["label"]) for row in plan["lost"])
    for row in plan["lost"]:
        yield f"{row['label']:<{width}}  {row['effect']}"


def others(told: Told) -> str:
    """Return how many machines a platform has beside those of the blueprint."""
    nodes = told["nodes"]
    return str(nodes["monitoring"] + nodes["backup"]) if nodes["monitoring"] + nodes["backup"] else "-"


def _states(told: Sequence[Told]) -> Iterator[str]:
    head = ["", "LB", "app", "DB", "Redis", "other", "carries", "one lost", "enough", "₹ a month"]
    rows, impossible = [head], []
    for state in told:
        if "impossible" in state:
            impossible.append(f"{state['name']}: {state['impossible']}")
            continue
        nodes, carried = state["nodes"], state["capacity"]
        enough = "yes" if state["enough_one_lost"] else "no spare" if state["enough"] else "no"
        rows.append(
            [
                f"{state['name']}: {state['title']}",
                str(nodes["load_balancers"] or "-"),
                str(nodes["app_nodes"]),
                f"{nodes['postgres_primary']}+{nodes['postgres_replicas']}",
                str(nodes["redis_nodes"]),
                others(state),
                f"{carried['users']:,}",
                f"{carried['users_one_lost']:,}",
                enough,
                state["cost"]["text"],
            ]
        )
    yield from columns(rows)
    yield from impossible


def _given(plan: Told) -> Iterator[str]:
    yield "Assumptions (all of them, with units and sources, are on the page and in the JSON)"
    rows = [[row["name"], str(row["value"]), row["source"]] for row in plan["assumptions"]]
    width, number = (max(len(row[place]) for row in rows) for place in (0, 1))
    for name, value, source in rows:
        yield f"{name:<{width}}  {value:>{number}}  {source}"


CHANGES = (
    ("Load balancers", "nodes", "load_balancers"),
    ("App nodes", "nodes", "app_nodes"),
    ("App processes", "processes", ""),
    ("PostgreSQL replicas", "nodes", "postgres_replicas"),
    ("Redis machines", "nodes", "redis_nodes"),
    ("Machines", "machine_count", ""),
    ("Users carried", "capacity", "users"),
    ("Users with one lost", "capacity", "users_one_lost"),
    ("Requests a second", "capacity", "requests_per_second"),
    ("Connections to the primary", "connections", "primary"),
    ("₹ a month", "cost", "text"),
    ("Limited first by", "bottleneck", "label"),
)


def changes(before: Told, after: Told) -> list[dict[str, str]]:
    """Return what is before and after, in words."""

    def value(told: Told, part: str, name: str) -> str:
        found = told[part][name] if name else told[part]
        return f"{found:,}" if isinstance(found, int) else str(found)

    return [
        {"what": what, "before": value(before, part, name), "after": value(after, part, name)}
        for what, part, name in CHANGES
    ]


def change(before: Told, after: Told, heads: tuple[str, str] = ("before", "after")) -> list[str]:
    """Return a line for each thing, before and after."""
    rows = [[row["what"], row["before"], row["after"]] for row in changes(before, after)]
    return columns([["", *heads], *rows])
