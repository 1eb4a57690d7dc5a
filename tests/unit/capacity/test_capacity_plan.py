# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many machines a load needs: the blueprint's own figures, refusals, and what holds for all plans."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.filter.capacity import (
    capacity_phases,
    capacity_plan,
    capacity_problems,
)
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.figures import (
    FIGURES,
    PRICES,
    RefusedError,
    figures_of,
    plain,
)
from ansible_collections.payaid.scaling.plugins.plugin_utils._capacity.plan import plan
from hypothesis import given, reject
from hypothesis import strategies as st

from ..collection.tree import ROOT, read

Told = dict[str, Any]
FOUR = ("load_balancers", "app_nodes", "postgres_primary", "postgres_replicas", "redis_nodes")


def nodes(told: Told) -> tuple[int, ...]:
    return tuple(told["nodes"][kind] for kind in FOUR)


def cost(told: Told) -> tuple[int, int]:
    return told["cost"]["low"], told["cost"]["high"]


def prices(told: Told) -> dict[str, tuple[int, int]]:
    return {row["kind"]: (row["low"], row["high"]) for row in told["machines"]}


@pytest.mark.parametrize("users", [1, 100, 500])
def test_the_blueprints_single_server(users: int) -> None:
    told = capacity_plan({"users": users})
    assert (told["phase"], nodes(told), told["machine_count"]) == (1, (0, 1, 1, 0, 1), 2)
    assert prices(told) == {
        "app_nodes": (5000, 10000),
        "postgres_primary": (3000, 5000),
        "redis_nodes": (0, 0),
    }
    assert (cost(told), told["cost"]["text"]) == ((8000, 15000), "₹8K-15K")


def test_the_blueprints_ten_thousand_users() -> None:
    told = capacity_plan({"users": 10000})
    assert (told["phase"], nodes(told), told["machine_count"]) == (3, (1, 3, 1, 2, 3), 10)
    databases = ("postgres_primary", "postgres_replicas")
    paid = prices(told)
    assert tuple(sum(paid[kind][part] for kind in databases) for part in (0, 1)) == (10000, 20000)
    assert paid["app_nodes"] == (15000, 30000)
    assert paid["load_balancers"] == (2000, 5000)
    assert paid["redis_nodes"] == (3000, 5000)
    assert (cost(told), told["cost"]["text"]) == ((30000, 60000), "₹30K-60K")
    assert told["pools"] == {"pooler": True, "size": 50, "reserve": 20}
    assert told["connections"] == {"primary": 210, "replica": 210, "kept": 10, "max": 300}


@pytest.mark.parametrize(
    ("users", "phase", "wanted"),
    [
        (500, 1, (0, 1, 1, 0, 1)),
        (501, 2, (0, 1, 1, 0, 1)),
        (2000, 2, (0, 1, 1, 0, 1)),
        (2001, 3, (1, 2, 1, 2, 3)),
        (5320, 3, (1, 2, 1, 2, 3)),  # 2 processes x 380 a second x 0.7 / 0.1
        (5321, 3, (1, 3, 1, 2, 3)),
        (10000, 3, (1, 3, 1, 2, 3)),
        (10001, 4, (2, 5, 1, 2, 3)),
        (18148, 4, (2, 5, 1, 2, 3)),  # 700 a second x 0.7 / (0.1 x 0.9 x 0.3)
        (18149, 4, (2, 5, 1, 3, 3)),
        (21281, 4, (2, 6, 1, 3, 3)),
    ],
)
def test_how_many_users_take_what(users: int, phase: int, wanted: tuple[int, ...]) -> None:
    told = capacity_plan({"users": users})
    assert (told["phase"], nodes(told)) == (phase, wanted)


@pytest.mark.parametrize(
    ("figures", "part", "wanted"),
    [
        # A slow app has left its first phases before the blueprint's users are there.
        ({"users": 400, "throughput_per_process": 12}, "phase", 4),
        ({"users": 400, "phase": 3}, "phase", 3),
        ({"users": 1000, "think_time": 2}, "requests_per_second", 500),
        ({"users": "1000", "requests_per_user": "0.5"}, "requests_per_second", 500),
        ({"users": 10000, "processes_per_node": 4}, "processes", 8),
        ({"users": 20000}, "pools", {"pooler": True, "size": 42, "reserve": 16}),
        ({"users": 20000, "pool_reserve": 5}, "pools", {"pooler": True, "size": 50, "reserve": 5}),
        ({"users": 20000, "pool_reserve": 10}, "pools", {"pooler": True, "size": 48, "reserve": 10}),
        ({"users": 20000, "pool_size": 45}, "pools", {"pooler": True, "size": 45, "reserve": 13}),
        ({"users": 20000, "max_connections": 360}, "pools", {"pooler": True, "size": 50, "reserve": 20}),
        ({"users": 100}, "pools", {"pooler": False, "size": 10, "reserve": 0}),
        (
            {"users": 100000, "database_machine_size": 3, "query_time": 10},
            "redis",
            {"mode": "cluster", "masters": 5, "replicas": 5, "maxmemory_mb": 1024},
        ),
    ],
)
def test_what_follows_from_figures(figures: Told, part: str, wanted: Any) -> None:
    assert capacity_plan(figures)[part] == wanted


def test_what_limits_first() -> None:
    def first(**figures: Any) -> tuple[str, int]:
        found = capacity_plan(figures)["bottleneck"]
        return found["name"], found["users"]

    assert first(users=10000) == ("app", 10640)
    assert first(users=18000) == ("replicas", 18148)
    assert first(users=48000) == ("primary", 49000)
    assert first(users=10000, worker_connections=15000) == ("clients", 10500)
    # Pools of 6, four nodes left, 50 ms a query, 0.7 free, 0.01 writes a second of each user.
    assert first(
        users=10000, throughput_per_process=2000, cache_hit_rate=0.95, pool_size=6, spare_nodes=2
    ) == (
        "app_rw",
        33600,
    )


def test_memory_is_told_for_each_machine() -> None:
    told = {row["kind"]: row["memory_gb"] for row in capacity_plan({"users": 10000})["machines"]}
    # 2 x 512 + 512 MB; 300 connections x 16 MB; 2 x 2 x 1 GB + 512 MB; 10,000 x 32 KB + 512 MB.
    assert told == {
        "app_nodes": 2,
        "postgres_primary": 8,
        "postgres_replicas": 8,
        "redis_nodes": 8,
        "load_balancers": 1,
    }
    alone = {row["kind"]: row["memory_gb"] for row in capacity_plan({"users": 100})["machines"]}
    assert alone["app_nodes"] == 4  # with the 2 GB of its Redis
    assert alone["redis_nodes"] == 0


def test_what_comes_of_a_loss() -> None:
    def carried(**figures: Any) -> dict[str, bool]:
        return {row["kind"]: row["carried"] for row in capacity_plan(figures)["lost"]}

    assert carried(users=10000) == {
        "load_balancers": False,
        "app_nodes": True,
        "postgres_primary": False,
        "postgres_replicas": True,
        "redis_nodes": True,
    }
    assert carried(users=20000)["load_balancers"]
    assert carried(users=100) == {"app_nodes": False, "postgres_primary": False, "redis_nodes": True}
    # Without its cache the one database would have to answer 200 a second, and can 150.
    assert not carried(users=500, think_time=2.5, queries_per_database=150)["redis_nodes"]


def test_phases_beside_each_other_say_whether_they_are_enough() -> None:
    told = capacity_phases({"users": 15000})
    assert [one["phase"] for one in told] == [1, 2, 3, 4]
    assert [one["enough"] for one in told] == [False, False, True, True]
    assert [one["enough_one_lost"] for one in told] == [False, False, False, True]
    assert [one["blueprint_users"] for one in told] == [[100, 500], [500, 2000], [2000, 10000], [10000, None]]
    assert [cost(one) for one in told] == [(8000, 15000), (16000, 30000), (30000, 60000), (42000, 85000)]


def test_a_phase_that_cannot_be_says_why() -> None:
    first, *_others, last = capacity_phases({"users": 300, "processes_per_node": 40})
    assert first["impossible"].startswith(
        "connections_per_process=10 makes 410 connections with 40 app processes"
    )
    assert "impossible" not in last


def test_a_pool_that_is_too_small_is_mended_by_another_node() -> None:
    # Of two nodes half of the connections are lost with one of them, of three a third.
    tight = {"throughput_per_process": 68, "processes_per_node": 16, "headroom": 0.8, "think_time": 25}
    tight |= {"reads_share": 0, "cache_hit_rate": 0, "query_time": 46, "max_connections": 175}
    told = plan(figures_of(tight | {"queries_per_database": 2001, "users": 5435}))
    assert told["nodes"]["app_nodes"] == 3
    assert told["enough_one_lost"]


REFUSALS: list[tuple[Any, str]] = [
    ({"users": 0}, "users=0: give a whole number of 1 or more (users)."),
    ({"users": -5}, "users=-5: give a whole number of 1 or more (users)."),
    ({"users": "many"}, "users=many: give a whole number of 1 or more (users)."),
    ({"users": 10.5}, "users=10.5: give a whole number of 1 or more (users)."),
    ({"users": True}, "users=True: give a whole number of 1 or more (users)."),
    ({"users": None}, "users=None: give a whole number of 1 or more (users)."),
    ({"users": "1/0"}, "users=1/0: give a whole number of 1 or more (users)."),
    ({"phase": 5}, "phase=5: give a whole number of 0 or more, and at most 4 (1 to 4, or 0)."),
    ({"throughput_per_process": 0}, "throughput_per_process=0: give a number above 0 (requests/s)."),
    ({"headroom": 1}, "headroom=1: give a number of 0 or more, and less than 1 (share, 0 to 1)."),
    ({"cache_hit_rate": 70}, "cache_hit_rate=70: give a number of 0 or more, and at most 1 (share, 0 to 1)."),
    ({"user": 5}, "user is no figure: did you mean users?"),
    ({"zzz": 5}, "zzz is no figure: give some of users, phase, "),
    ([], "The figures are no dictionary: give them by name, such as {users: 10000}."),
    (
        {"think_time": 5, "requests_per_user": 1},
        "requests_per_user and think_time are both given: leave one out, each is 1 divided by the other.",
    ),
    ({"prices": {"app_nodes": {"low": 5}}}, "prices.app_nodes has no high: give low and high, ₹ a month."),
    ({"prices": {"app_nodes": None}}, "prices.app_nodes has no low: give low and high, ₹ a month."),
    ({"prices": {"apps": {"low": 5, "high": 6}}}, "prices.apps is no kind of machine: give some of "),
    ({"prices": 5}, "prices is no dictionary: give low and high for each kind of machine."),
    (
        {"prices": {"app_nodes": {"low": 6, "high": 5}}},
        "prices.app_nodes.low=6 is above prices.app_nodes.high=5: exchange them.",
    ),
    (
        {"prices": {"app_nodes": {"low": -1, "high": 5}}},
        "prices.app_nodes.low=-1: give a number of 0 or more (₹ a month).",
    ),
    (
        {"prices": {"app_nodes": {"low": 1, "high": 5, "each": 2}}},
        "prices.app_nodes.each means nothing: give low, high, and machines where it is not 1.",
    ),
    (
        {"users": 50000, "phase": 3},
        "phase=3 has at most 3 app_nodes, and users=50000 take 11 with 1 to spare: give phase=4, or leave "
        "phase out.",
    ),
    (
        {"users": 6000, "phase": 1},
        "phase=1 has at most 1 app_nodes, and users=6000 take 2: give phase=2, or ",
    ),
    (
        {"users": 60000},
        "users=60000 are more than one primary takes writes of, which more machines do not change: give "
        "database_machine_size=1.3, or queries_per_database as you have measured it.",
    ),
    (
        {"pool_size": 80, "pool_reserve": 40},
        "pool_size=80 and pool_reserve=40 make 370 connections with 3 app nodes and 10 kept, and "
        "max_connections=300: raise max_connections to 370, or lower pool_size to 56.",
    ),
    (
        {"pool_size": 80, "pool_reserve": 99},
        "pool_size=80 and pool_reserve=99 make 547 connections with 3 app nodes and 10 kept, and "
        "max_connections=300: raise max_connections to 547, or lower pool_size and pool_reserve.",
    ),
    ({"max_connections": 12}, "max_connections=12 leaves none for the pools of 3 app nodes: raise it, or "),
    (
        {"pool_size": 3},
        "pool_size=3 is too small for users=10000, which hold 10 connections of a pool at once: give "
        "pool_size=10 with pool_reserve=0 and max_connections=40 or more, or query_time as you have measured "
        "it.",
    ),
    (
        {"worker_connections": 1024},
        "worker_connections=1024 is too few for users=10000, with two connections for each and 2 workers: "
        "raise it to 14336.",
    ),
]


@pytest.mark.parametrize(("figures", "wanted"), REFUSALS)
def test_what_cannot_be_planned_is_refused_in_one_sentence(figures: Any, wanted: str) -> None:
    with pytest.raises(AnsibleFilterError) as refusal:
        capacity_plan(figures)
    [told] = capacity_problems(figures)
    # What ends in a list is only given up to there.
    same = str.startswith if wanted.endswith(" ") else str.__eq__
    assert same(told, wanted)
    assert same(str(refusal.value), wanted)


def test_what_a_refusal_says_to_do_helps() -> None:
    assert capacity_problems({"users": 60000, "database_machine_size": 1.3}) == []
    assert capacity_problems({"pool_size": 80, "pool_reserve": 40, "max_connections": 370}) == []
    assert capacity_problems({"pool_size": 56, "pool_reserve": 40}) == []
    assert capacity_problems({"pool_size": 10, "pool_reserve": 0, "max_connections": 40}) == []
    assert capacity_problems({"worker_connections": 14336}) == []
    assert capacity_problems({"users": 50000, "phase": 4, "database_machine_size": 1.1}) == []


@st.composite
def figures(draw: st.DrawFn, /, **fixed: Any) -> Told:
    share = st.integers(0, 100).map(lambda hundredths: hundredths / 100)
    told = {
        "throughput_per_process": draw(st.integers(20, 3000)),
        "processes_per_node": draw(st.integers(1, 16)),
        "headroom": draw(st.integers(0, 80)) / 100,
        "spare_nodes": draw(st.integers(0, 2)),
        "think_time": draw(st.integers(4, 60)),
        "reads_share": draw(share),
        "cache_hit_rate": draw(share),
        "queries_per_database": draw(st.integers(700, 20000)),
        "query_time": draw(st.integers(1, 50)),
        "max_connections": draw(st.integers(60, 1000)),
        "cache_per_user": draw(st.integers(1, 2000)),
        "redis_instances": draw(st.integers(1, 4)),
    }
    return told | fixed


USERS = st.integers(1, 40000)
AMOUNT = st.integers(0, 50000)
PRICED = st.dictionaries(
    st.sampled_from(sorted(PRICES)),
    st.tuples(AMOUNT, AMOUNT, st.integers(1, 3)).map(
        lambda drawn: {"low": min(drawn[:2]), "high": max(drawn[:2]), "machines": drawn[2]}
    ),
)


def possible(chosen: Told) -> Told:
    """Return the plan of figures for which there is one; others are no example."""
    try:
        return plan(figures_of(chosen))
    except RefusedError:
        return reject()


@given(figures(), USERS, USERS)
def test_more_users_never_need_less(chosen: Told, one: int, other: int) -> None:
    few, many = sorted((one, other))
    more = possible(chosen | {"users": many})
    # What can be planned for many can be for few.
    less = plan(figures_of(chosen | {"users": few}))
    assert all(before <= after for before, after in zip(nodes(less), nodes(more), strict=True))
    assert all(before <= after for before, after in zip(cost(less), cost(more), strict=True))
    assert less["phase"] <= more["phase"]


@given(figures(phase=4), PRICED, USERS, USERS)
def test_more_users_never_cost_less_whatever_the_prices(
    chosen: Told, priced: Told, one: int, other: int
) -> None:
    few, many = sorted((one, other))
    more = possible(chosen | {"users": many, "prices": priced})
    less = plan(figures_of(chosen | {"users": few, "prices": priced}))
    assert all(before <= after for before, after in zip(cost(less), cost(more), strict=True))


@given(figures(), USERS)
def test_who_is_left_carries_the_load(chosen: Told, users: int) -> None:
    told = possible(chosen | {"users": users})
    load = Fraction(users, chosen["think_time"])
    free = 1 - Fraction(str(chosen["headroom"]))
    size = 2 if told["phase"] == 2 else 1
    processes = chosen["processes_per_node"] * size
    spare = chosen["spare_nodes"] if told["phase"] > 2 else 0
    left = told["nodes"]["app_nodes"] - spare
    assert left * processes * chosen["throughput_per_process"] * free >= load
    reads = load * Fraction(str(chosen["reads_share"])) * (1 - Fraction(str(chosen["cache_hit_rate"])))
    writes = load * (1 - Fraction(str(chosen["reads_share"])))
    server = chosen["queries_per_database"] * size * free
    if told["phase"] > 2:
        assert (told["nodes"]["postgres_replicas"] - spare) * server >= reads
        assert writes <= server
    else:
        assert reads + writes <= server
    assert told["enough"]
    if spare:
        assert told["enough_one_lost"]
        assert told["capacity"]["users_one_lost"] >= users
        assert told["bottleneck"]["users"] >= users


@given(figures(phase=4), USERS)
def test_nothing_is_bought_for_nothing(chosen: Told, users: int) -> None:
    told = possible(chosen | {"users": users})
    load = Fraction(users, chosen["think_time"])
    free = 1 - Fraction(str(chosen["headroom"]))
    fewer = told["nodes"]["app_nodes"] - chosen["spare_nodes"] - 1
    carried = fewer * chosen["processes_per_node"] * chosen["throughput_per_process"] * free
    assert (
        carried < load
        or told["nodes"]["app_nodes"] == 5  # the least of the blueprint's fourth phase
        or pools_carry(told["nodes"]["app_nodes"] - 1, chosen) < load
    )


def pools_carry(nodes: int, chosen: Told) -> Fraction:
    """Return the load that the pools of a phase with replicas carry, with as many nodes lost as may be."""
    reads = Fraction(str(chosen["reads_share"])) * (1 - Fraction(str(chosen["cache_hit_rate"])))
    share = max(reads, 1 - Fraction(str(chosen["reads_share"])))
    size, reserve, room = 50, 20, (chosen["max_connections"] - 10) // nodes
    if size + reserve > room:
        size = room - room * reserve // (size + reserve)
    left = max(nodes - chosen["spare_nodes"], 1)
    free = 1 - Fraction(str(chosen["headroom"]))
    return Fraction(size * left * 1000, chosen["query_time"]) * free / share


@given(figures(), USERS)
def test_connections_never_exceed_what_the_database_takes(chosen: Told, users: int) -> None:
    told = possible(chosen | {"users": users})
    pools, used = told["pools"], told["connections"]
    each = pools["size"] + pools["reserve"]
    count = told["nodes"]["app_nodes"] if pools["pooler"] else told["processes"]
    # With replicas, one pool of each node leads to the primary. Without PgBouncer processes connect.
    if pools["pooler"]:
        assert told["nodes"]["postgres_replicas"] or used["primary"] == 2 * count * each
    if told["nodes"]["postgres_replicas"] or not pools["pooler"]:
        assert used["primary"] == count * each
    assert used["primary"] + used["kept"] <= chosen["max_connections"]
    assert used["replica"] + used["kept"] <= chosen["max_connections"]


@given(figures(), PRICED, USERS)
def test_low_is_never_above_high_and_the_whole_is_its_parts(chosen: Told, priced: Told, users: int) -> None:
    told = possible(chosen | {"users": users, "prices": priced})
    assert all(row["low"] <= row["high"] for row in told["machines"])
    assert told["cost"]["low"] <= told["cost"]["high"]
    for part in ("low", "high"):
        assert told["cost"][part] == sum(row[part] for row in told["machines"])


@given(figures(), USERS)
def test_plans_are_plain_data(chosen: Told, users: int) -> None:
    told = possible(chosen | {"users": users})
    assert json.loads(json.dumps(told)) == told


def test_every_assumption_is_told_with_its_source() -> None:
    told = {row["name"]: row for row in capacity_plan({"users": 7000, "think_time": 5})["assumptions"]}
    assert set(told) == {*FIGURES, *(f"prices.{kind}" for kind in PRICES)}
    assert all(row["what"] and row["unit"] and row["source"] for row in told.values())
    assert (told["users"]["value"], told["users"]["source"]) == (7000, "given")
    assert told["headroom"]["source"] == FIGURES["headroom"].source
    assert (told["requests_per_user"]["value"], told["think_time"]["source"]) == (0.2, "given")
    own = capacity_plan({"users": 400, "requests_per_user": 1, "prices": {"backup": {"low": 1, "high": 2}}})[
        "assumptions"
    ]
    told = {row["name"]: row for row in own}
    assert told["think_time"]["source"] == "the other way to say it is given"
    assert (told["prices.backup"]["value"], told["prices.backup"]["source"]) == ("1 to 2", "given")


def test_the_documentation_has_every_figure_as_it_is() -> None:
    options = read("plugins/filter/capacity_plan.yml")["DOCUMENTATION"]["options"]["_input"]["suboptions"]
    documented = options.pop("prices")["suboptions"]
    assert set(options) == set(FIGURES)
    for name, figure in FIGURES.items():
        said = options[name]["description"].strip()
        assert said == f"{figure.what} Unit: {figure.unit}. Source: {figure.source}.", name
        assert options[name]["type"] == ("int" if figure.whole else "float"), name
        default = None if figure.default is None else plain(Fraction(figure.default))
        assert options[name].get("default") == default, name
    for kind, price in PRICES.items():
        told = {"low": plain(price.low), "high": plain(price.high)}
        assert documented[kind]["default"] == told | (
            {"machines": price.machines} if price.machines > 1 else {}
        )


def test_the_guide_has_every_figure_as_it_is() -> None:
    text = (ROOT / "docs/capacity.md").read_text()
    table = text.partition("## Figures")[2]
    rows = dict(re.findall(r"^\| `([a-z_]+)` \| ([^|]*?) \|", table, re.MULTILINE))
    wanted = {name: figure.default or "1 / `think_time`" for name, figure in FIGURES.items()}
    assert rows == wanted
