# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures that a capacity plan is computed from: what each is, its default, and where that comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

BLUEPRINT = "blueprint"
MEASURED = "measured, docs/capacity.md"
OURS = "an assumption: put in your own"
GIVEN = "given"
REPLACED = "the other way to say it is given"


class RefusedError(Exception):
    """A plan that cannot be made, in one sentence that says what to change."""


class TooSmallError(RefusedError):
    """A phase that cannot carry the load. The next one may."""


class PoolTooSmallError(RefusedError):
    """App nodes whose pools cannot carry the load. Of more nodes the loss of one takes a smaller share."""


@dataclass(frozen=True)
class Figure:
    """One number: its default, what it may be, and where the default comes from."""

    default: str | None
    unit: str
    what: str
    source: str
    least: int = 0
    most: int | None = None
    # Whether `least` and `most` may be reached themselves.
    open_below: bool = False
    open_above: bool = False
    whole: bool = False

    def allows(self, value: Fraction) -> bool:
        below = value <= self.least if self.open_below else value < self.least
        above = self.most is not None and (value >= self.most if self.open_above else value > self.most)
        return not (below or above or (self.whole and value.denominator != 1))

    @property
    def remedy(self) -> str:
        kind = "a whole number" if self.whole else "a number"
        low = f"above {self.least}" if self.open_below else f"of {self.least} or more"
        if self.most is None:
            return f"{kind} {low}"
        reach = "less than" if self.open_above else "at most"
        return f"{kind} {low}, and {reach} {self.most}"


def _count(default: str, unit: str, what: str, source: str, least: int = 1) -> Figure:
    return Figure(default, unit, what, source, least=least, whole=True)


def _positive(default: str | None, unit: str, what: str, source: str) -> Figure:
    return Figure(default, unit, what, source, open_below=True)


def _share(default: str, what: str, source: str, *, whole_excluded: bool = False) -> Figure:
    return Figure(default, "share, 0 to 1", what, source, most=1, open_above=whole_excluded)


FIGURES: Mapping[str, Figure] = {
    "users": _count("10000", "users", "Users at the same time.", f"{BLUEPRINT}, Performance Targets"),
    "phase": Figure(
        "0",
        "1 to 4, or 0",
        "The phase of the blueprint to plan in; 0 is the first one that is enough.",
        f"{BLUEPRINT}, Scaling Strategy",
        most=4,
        whole=True,
    ),
    "think_time": _positive("10", "s", "Time between two requests of one user.", OURS),
    "requests_per_user": _positive(
        None, "requests/s", "Requests of one user; instead of think_time.", "1 / think_time"
    ),
    "throughput_per_process": _positive(
        "380",
        "requests/s",
        "What one app process answers on one core. The default is the least that was seen with Node.js 20, "
        "each answer read from the database.",
        MEASURED,
    ),
    "processes_per_node": _count(
        "2", "processes", "App processes of a node, one for each of its cores.", "inventories/prod"
    ),
    "headroom": _share(
        "0.3",
        "What must stay free, also with machines lost: near its limit everything waits for everything.",
        OURS,
        whole_excluded=True,
    ),
    "spare_nodes": _count(
        "1",
        "machines",
        "How many machines of each kind may be lost with the load still carried (N+1).",
        "docs/capacity.md, N+1",
        least=0,
    ),
    "reads_share": _share("0.9", "Requests that read; the others write.", OURS),
    "cache_hit_rate": _share(
        "0.7", "Reads that the cache answers.", f"{BLUEPRINT}, Performance Targets (> 70 %)"
    ),
    "queries_per_request": _positive(
        "1", "transactions", "Transactions of a write, or of a read that the cache does not answer.", OURS
    ),
    "query_time": _positive(
        "50",
        "ms",
        "How long a transaction holds its connection.",
        f"{BLUEPRINT}, Performance Targets (< 50 ms)",
    ),
    "queries_per_database": _positive(
        "700",
        "transactions/s",
        "What one database server answers. The default is what was seen beside the app on the same two "
        "cores, so less than it can do.",
        MEASURED,
    ),
    "pool_size": _count(
        "50",
        "connections",
        "Connections of each pool of an app node. Not given, it is made smaller where it does not fit.",
        f"{BLUEPRINT}, Connection Pooling (pool_size)",
    ),
    "pool_reserve": _count(
        "20",
        "connections",
        "How many more under pressure. Not given, it is made smaller where it does not fit.",
        f"{BLUEPRINT}, Connection Pooling (max_overflow)",
        least=0,
    ),
    "connections_per_process": _count(
        "10",
        "connections",
        "Connections of an app process where there is no PgBouncer yet.",
        "reference_app (DATABASE_POOL_SIZE)",
    ),
    "max_connections": _count(
        "300", "connections", "What one PostgreSQL server takes.", "role postgres_server"
    ),
    "connections_kept": _count(
        "10",
        "connections",
        "Those of max_connections that are kept for administration and migrations.",
        "playbooks/preflight.yml",
        least=0,
    ),
    "load_balancer_workers": _count(
        "2", "processes", "Workers of nginx, one for each core of a load balancer.", "role nginx"
    ),
    "worker_connections": _count(
        "16384",
        "connections",
        "Connections of one worker of nginx, half of them to the app. Not given, it is raised where users "
        "need more.",
        "role nginx (nginx_worker_connections)",
        least=2,
    ),
    "redis_maxmemory": _count("1024", "MB", "Cache of one Redis instance.", "inventories/prod"),
    "redis_instances": _count("2", "instances", "Redis instances of a machine.", "inventories/prod"),
    "redis_replicas": _count(
        "1",
        "instances",
        "Replicas of each Redis master.",
        f"{BLUEPRINT}, Redis Cluster (--cluster-replicas 1)",
        least=0,
    ),
    "cache_per_user": _positive("50", "KB", "What the cache keeps for one user.", OURS),
    "memory_per_process": _positive(
        "512",
        "MB",
        "Memory of one app process: 300 to 480 MB were seen under load, and the blueprint's example for "
        "Kubernetes asks for 512.",
        f"{MEASURED}; {BLUEPRINT}, Application Servers",
    ),
    "memory_for_system": _positive(
        "512", "MB", "Memory of a machine's system, with PgBouncer and HAProxy where they run.", OURS
    ),
    "memory_per_client": _positive(
        "32", "KB", "Memory of one client's connections in nginx, with TLS.", OURS
    ),
    "app_machine_size": _positive(
        "1",
        "times",
        "How big the app's machines are: that many times the processes, at that many times the price.",
        OURS,
    ),
    "database_machine_size": _positive(
        "1",
        "times",
        "How big the databases' machines are: that many times the queries, memory and price.",
        OURS,
    ),
}


@dataclass(frozen=True)
class Price:
    """What machines of one kind cost a month, in rupees."""

    low: Fraction
    high: Fraction
    source: str
    # How many machines that is for.
    machines: int = 1


def _price(low: int, high: int, source: str, machines: int = 1) -> Price:
    return Price(Fraction(low), Fraction(high), source, machines)


COSTS = f"{BLUEPRINT}, Cost Estimation"
PRICES: Mapping[str, Price] = {
    "load_balancers": _price(2000, 5000, COSTS),
    "app_nodes": _price(5000, 10000, COSTS),
    "postgres_primary": _price(3000, 5000, f"{COSTS} (single server)"),
    # With the primary above, 1 + 2 make the blueprint's 10,000 to 20,000.
    "postgres_replicas": _price(3500, 7500, f"{COSTS} (1 + 2 less the primary)"),
    "redis_nodes": _price(3000, 5000, f"{COSTS} (a cluster)", machines=3),
    "monitoring": _price(2000, 5000, f"{OURS} (as a load balancer)"),
    "load_generators": _price(5000, 10000, f"{OURS} (as an app server)"),
    "backup": _price(2000, 5000, f"{OURS} (as a load balancer)"),
}
LABELS: Mapping[str, str] = {
    "load_balancers": "Load balancers",
    "app_nodes": "App nodes",
    "postgres_primary": "PostgreSQL primary",
    "postgres_replicas": "PostgreSQL replicas",
    "redis_nodes": "Redis machines",
    "monitoring": "Monitoring",
    "load_generators": "Load generators",
    "backup": "Backups",
}


@dataclass(frozen=True)
class Figures:
    """All figures, as given or by default."""

    values: Mapping[str, Fraction]
    prices: Mapping[str, Price] = field(default_factory=lambda: PRICES)
    given: frozenset[str] = frozenset()

    def __getitem__(self, name: str) -> Fraction:
        return self.values[name]

    def whole(self, name: str) -> int:
        return int(self.values[name])

    def but(self, *, given: bool = False, **values: Fraction | int) -> Figures:
        """Return them with some replaced, which count as given or as what they were before."""
        named = self.given | values.keys() if given else self.given
        changed = {name: Fraction(value) for name, value in values.items()}
        return Figures({**self.values, **changed}, self.prices, frozenset(named))

    @property
    def requests(self) -> Fraction:
        """Requests a second of all users."""
        return self["users"] * self["requests_per_user"]

    @property
    def reads_share(self) -> Fraction:
        """Transactions that read, for each request."""
        return self["reads_share"] * (1 - self["cache_hit_rate"]) * self["queries_per_request"]

    @property
    def writes_share(self) -> Fraction:
        """Transactions that write, for each request."""
        return (1 - self["reads_share"]) * self["queries_per_request"]


def figures_of(given: Mapping[str, Any]) -> Figures:
    """Return the figures, what is not given by default; refuse what is none."""
    if not isinstance(given, Mapping):
        raise RefusedError("The figures are no dictionary: give them by name, such as {users: 10000}.")
    for name in given:
        if name not in FIGURES and name != "prices":
            raise RefusedError(f"{name} is no figure: {_meant(str(name))}")
    if "think_time" in given and "requests_per_user" in given:
        raise RefusedError(
            "requests_per_user and think_time are both given: leave one out, each is 1 divided by the other."
        )
    values = {
        name: _number(name, given.get(name, figure.default), figure)
        for name, figure in FIGURES.items()
        if name in given or figure.default is not None
    }
    values.setdefault("requests_per_user", 1 / values["think_time"])
    values["think_time"] = 1 / values["requests_per_user"]
    return Figures(values, _prices(given.get("prices", {})), frozenset(set(given) - {"prices"}))


def _meant(name: str) -> str:
    close = get_close_matches(name, [*FIGURES, "prices"], 1)
    return f"did you mean {close[0]}?" if close else f"give some of {', '.join([*FIGURES, 'prices'])}."


def _number(name: str, value: Any, figure: Figure) -> Fraction:
    try:
        # What comes by `-e` is text.
        number = None if isinstance(value, bool) else Fraction(str(value).strip())
    except (ValueError, ZeroDivisionError):
        number = None
    if number is None or not figure.allows(number):
        raise RefusedError(f"{name}={value}: give {figure.remedy} ({figure.unit}).")
    return number


def _prices(given: Any) -> Mapping[str, Price]:
    if not isinstance(given, Mapping):
        raise RefusedError("prices is no dictionary: give low and high for each kind of machine.")
    prices = dict(PRICES)
    for kind, price in given.items():
        name = f"prices.{kind}"
        if kind not in PRICES:
            raise RefusedError(f"{name} is no kind of machine: give some of {', '.join(PRICES)}.")
        for part in ("low", "high"):
            if not isinstance(price, Mapping) or price.get(part) is None:
                raise RefusedError(f"{name} has no {part}: give low and high, ₹ a month.")
        for part in price:
            if part not in ("low", "high", "machines"):
                raise RefusedError(
                    f"{name}.{part} means nothing: give low, high, and machines where it is not 1."
                )
        low, high = (_number(f"{name}.{part}", price[part], MONEY) for part in ("low", "high"))
        machines = _number(f"{name}.machines", price.get("machines", 1), MACHINES)
        if low > high:
            raise RefusedError(
                f"{name}.low={price['low']} is above {name}.high={price['high']}: exchange them."
            )
        prices[str(kind)] = Price(low, high, GIVEN, int(machines))
    return prices


MONEY = Figure(None, "₹ a month", "", "")
MACHINES = Figure(None, "machines", "", "", least=1, whole=True)


def plain(number: Fraction | int) -> int | float:
    """Return a number as JSON has it."""
    exact = Fraction(number)
    return int(exact) if exact.denominator == 1 else round(float(exact), 4)


def assumptions(figures: Figures) -> list[dict[str, Any]]:
    """Return every figure that a plan was computed from, with its source."""
    other = {"think_time": "requests_per_user", "requests_per_user": "think_time"}
    told: list[dict[str, Any]] = []
    for name, figure in FIGURES.items():
        source = GIVEN if name in figures.given else figure.source
        if other.get(name) in figures.given:
            source = REPLACED
        value = plain(figures[name])
        told.append(
            {"name": name, "value": value, "unit": figure.unit, "what": figure.what, "source": source}
        )
    for kind, price in figures.prices.items():
        machines = "a machine" if price.machines == 1 else f"{price.machines} machines"
        told.append(
            {
                "name": f"prices.{kind}",
                "value": f"{plain(price.low)} to {plain(price.high)}",
                "unit": "₹ a month",
                "what": f"{LABELS[kind]}, for {machines}.",
                "source": price.source,
            }
        )
    return told
