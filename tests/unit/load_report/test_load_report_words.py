# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of a run: its verdict, its rows, and what is better than before."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.filter.load_test import load_test_page
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_report.words import (
    MINUS,
    NONE,
    amount,
    clock,
    counted,
    day,
    listed,
)

from .runs import bare, bucket, earlier, slo, target, whole

MET = target("p95", "latency_p95", "< 200 ms", 150)
MET_TOO = target("hits", "cache_hit_rate", "> 70 %", 90.909, unit="%")
MISSED = target("errors", "error_rate", "< 0.1 %", 0.1996, unit="%", **{"pass": False})
UNMEASURED = target("queries", "query_time_mean", "< 50 ms", None)


@pytest.mark.parametrize(
    ("found", "css", "word", "sentence"),
    [
        ({}, "fair", "not judged", "No targets were held against this run."),
        (slo(MET), "good", "passed", "p95 is met."),
        (slo(MET, MET_TOO), "good", "passed", "All 2 targets are met."),
        (
            slo(MET, MISSED),
            "poor",
            "missed",
            "1 of 2 targets is missed: errors (0.2 %, wanted < 0.1 %).",
        ),
        (
            slo(MISSED, MISSED, UNMEASURED, problems=("x.json: the file is empty",)),
            "poor",
            "missed",
            "2 of 3 targets are missed: errors (0.2 %, wanted < 0.1 %) and errors (0.2 %, wanted < 0.1 %)"
            "; not measured: queries; 1 source could not be read.",
        ),
        (
            slo(MET, UNMEASURED),
            "fair",
            "not measured",
            "All that was measured is met, but nobody measured queries.",
        ),
        (slo(UNMEASURED), "fair", "not measured", "Nobody measured queries."),
        (
            slo(MET, MET_TOO, problems=("a", "b")),
            "fair",
            "in doubt",
            "All 2 targets are met; 2 sources could not be read.",
        ),
    ],
)
def test_the_verdict(found: dict[str, Any], css: str, word: str, sentence: str) -> None:
    told = load_test_page(bare(slo=found))
    assert told["verdict"] == {"css": css, "word": word, "sentence": sentence}
    assert told["problems"] == found.get("problems", [])


def test_a_row_says_who_measured_and_why_nobody_did() -> None:
    first, *_others, unmeasured, last = load_test_page(whole())["targets"]
    assert first["by"] == "artillery (/var/tmp/gen1.json)"
    assert first["others"] == ["nginx (/var/log/nginx/access.log): 171 ms"]
    assert first["evidence"] == "requests 66,000, limited 25"
    assert unmeasured["by"] == "redis would tell, and none of them is given"
    assert unmeasured["shown"] == NONE
    assert unmeasured["verdict"]["word"] == "not measured"
    assert (last["shown"], last["wanted"]) == ("10,412 users", ">= 10000 users")


@pytest.mark.parametrize(
    ("wanted", "value", "shown"),
    [
        ("< 200 ms", 199.9999, "199.9999 ms"),
        ("< 200 ms", 199.991, "199.99 ms"),
        ("about", 3.14159, "3.14 ms"),
    ],
)
def test_no_value_is_rounded_to_the_other_side_of_its_bound(wanted: str, value: float, shown: str) -> None:
    told = load_test_page(bare(slo=slo(target("p95", "latency_p95", wanted, value))))
    assert told["targets"][0]["shown"] == shown


@pytest.mark.parametrize("name", ["scenario", "title", "tool", "began", "seconds", "target", "slo"])
def test_a_run_without_what_every_run_has_is_refused(name: str) -> None:
    with pytest.raises(AnsibleFilterError, match=f"The run has no {name}: give what the load test wrote"):
        load_test_page(bare(**{name: None}))


@pytest.mark.parametrize(
    ("run", "previous", "wanted"),
    [
        (bare(seconds=-1), {}, "seconds=-1 of the run: give a number of 0 or more."),
        (bare(seconds="long"), {}, "seconds=long of the run: give a number of 0 or more."),
        ([], {}, "The run is no dictionary: give what the load test wrote of it."),
        (bare(), bare(title=None), "The previous run has no title: give what the load test wrote of it."),
        (
            bare(),
            bare(scenario="soak"),
            "The previous run is of soak and this one of api: give two runs of one scenario.",
        ),
    ],
)
def test_what_is_no_run_is_refused(run: Any, previous: Any, wanted: str) -> None:
    with pytest.raises(AnsibleFilterError) as refusal:
        load_test_page(run, previous)
    assert str(refusal.value) == wanted


def compared(before: dict[str, Any], now: dict[str, Any]) -> dict[str, tuple[str, ...]]:
    told = load_test_page(bare(**now), bare(**before))
    return {
        row["what"]: (
            row["verdict"]["word"],
            *(row[name].replace(MINUS, "-") for name in ("difference", "percent")),
        )
        for row in told["comparison"]["rows"]
    }


@pytest.mark.parametrize(
    ("metric", "wanted", "unit", "before", "now", "row"),
    [
        ("latency_p95", "< 200 ms", "ms", 200, 150, ("better", "-50 ms", "-25 %")),
        ("latency_p95", "< 200 ms", "ms", 150, 200, ("worse", "+50 ms", "+33.3 %")),
        ("latency_p95", "< 200 ms", "ms", 150, 150, ("same", "", "")),
        ("latency_p95", "< 200 ms", "ms", 150, 151, ("same", "+1 ms", "+0.67 %")),
        ("latency_p95", "< 200 ms", "ms", 0, 3, ("worse", "+3 ms", "")),
        ("cache_hit_rate", "> 70 %", "%", 70, 91, ("better", "+21 points", "+30 %")),
        ("cache_hit_rate", "> 70 %", "%", 91, 70, ("worse", "-21 points", "-23.1 %")),
        ("cache_hit_rate", "> 0.7 ratio", "ratio", 0.9, 0.7, ("worse", "-0.2 ratio", "-22.2 %")),
        # A tenth of a percent is nothing to a hit rate, and twice the failures to an availability.
        ("cache_hit_rate", "> 70 %", "%", 70.2, 70.1, ("same", "-0.1 points", "-0.14 %")),
        ("availability", ">= 99.9 %", "%", 99.9, 99.8, ("worse", "-0.1 points", "-0.1 %")),
        ("availability", ">= 99.9 %", "%", 100, 99.99, ("worse", "-0.01 points", "-0.01 %")),
        ("concurrent_users", ">= 10000 users", "users", 5000, 10000, ("better", "+5,000 users", "+100 %")),
        # Of a metric of one's own only the target says which way is better.
        ("anything", "<= 5", "", 4, 3, ("better", "-1", "-25 %")),
        ("anything", ">= 5", "", 4, 3, ("worse", "-1", "-25 %")),
    ],
)  # fmt: skip
def test_which_way_is_better(
    metric: str, wanted: str, unit: str, before: float, now: float, row: tuple[str, str, str]
) -> None:
    results = [slo(target("it", metric, wanted, value, unit=unit)) for value in (before, now)]
    assert compared({"slo": results[0]}, {"slo": results[1]}) == {"it": row}
    # A target that is named like its metric is the shortest way to write one.
    named = [slo(target(metric, metric, wanted, value, unit=unit)) for value in (before, now)]
    assert compared({"slo": named[0]}, {"slo": named[1]}) == {metric: row}


def test_what_only_one_run_measured_is_not_compared() -> None:
    p95 = slo(target("p95", "latency_p95", "< 200 ms", 150))
    seconds = slo(target("p95", "latency_p95", "< 0.2 s", 0.15, unit="s"))
    assert compared({"slo": p95}, {}) == {}
    assert compared({}, {"slo": p95}) == {}
    assert compared({"slo": slo(UNMEASURED)}, {"slo": slo(UNMEASURED)}) == {}
    assert compared({"slo": p95}, {"slo": seconds}) == {}
    told = load_test_page(bare(), bare())["comparison"]
    assert told["sum"] == "Nothing was measured in both."


def test_a_run_beside_the_one_before_it() -> None:
    told = load_test_page(whole(), earlier())["comparison"]
    assert told["sum"] == "3 better, 2 worse and 5 the same."
    assert told["about"] == (
        "The run before began 2026-11-21 01:02:03 UTC, commit 0a1b2c3. Less than 1 % is called the same. "
        "Its load (60 s at 100 users/s) and week (3) were different."
    )
    rows = {row["what"]: row for row in told["rows"]}
    assert rows["₹ a month"]["before"] == "₹20K-40K"
    assert rows["₹ a month"]["difference"] == "+₹15K"
    assert rows["₹ a month"]["verdict"] == {"css": "poor", "word": "worse"}
    assert rows["Requests a second"]["verdict"]["word"] == "better"
    # The targets on errors and hits say it already; nobody had one on the statements before.
    assert "Failed requests" not in rows
    assert "Hit rate of Redis" not in rows
    assert "Mean time of statements" in rows


def test_without_a_run_before_there_is_nothing_to_compare() -> None:
    assert load_test_page(whole())["comparison"] == {}


def tables(run: dict[str, Any]) -> dict[str, dict[str, Any]]:
    told = load_test_page(run)
    return {table["name"]: table for table in (*told["edge"], *told["machines"])}


def test_the_tables_say_what_was_measured() -> None:
    told = tables(whole())
    assert list(told) == [
        "upstreams",
        "errors",
        "codes",
        "app_nodes",
        "generators",
        "pools",
        "replicas",
        "redis",
        "database",
    ]
    rows = {name: [[row["name"], *row["cells"]] for row in table["rows"]] for name, table in told.items()}
    assert rows["upstreams"][1] == ["app2 (192.0.2.22:3000)", "21,900", "33.18 %", "157", "14 ms"]
    assert [row[1:] for row in rows["errors"]] == [["120", "75 %"], ["40", "25 %"]]
    assert rows["codes"][1] == ["429", "25", "0.04 %"]
    assert rows["pools"][1] == ["app_ro on app1", "1.25 ms", "3", "50"]
    assert rows["replicas"] == [["pg2", "0.2 s"]]
    assert rows["redis"] == [["Found", "1,000", "90.9 %"], ["Not found", "100", "9.1 %"]]
    assert rows["database"][0] == ["All statements", "0.9 ms", "10,000"]
    assert told["redis"]["about"] == "Of 3 masters."
    assert [row["code"] for row in told["database"]["rows"]] == [False, True, True]


def test_bars_are_shares_and_red_where_a_machine_is_busy() -> None:
    told = tables(whole())
    assert [row["bar"] for row in told["upstreams"]["rows"]] == [33.5, 33.2, 33.3]
    assert [(row["bar"], row["css"]) for row in told["app_nodes"]["rows"]] == [
        (62, ""),
        (94, "poor"),
        (60, ""),
    ]
    assert told["app_nodes"]["about"] == "Red is 90 % or more."
    assert told["generators"]["about"] == ""
    busy = tables(bare(evidence={"generators": [{"host": "gen1", "cores": 2, "cpu": 1.02}]}))["generators"]
    assert busy["rows"][0]["bar"] == 100
    assert busy["rows"][0]["cells"] == ["2", "102 %"]
    assert busy["about"] == "Red is 90 % or more. A generator that is busy measures its own waiting."


def test_nothing_in_the_tables_is_made_up() -> None:
    told = tables(
        bare(
            edge={
                "upstreams": [{"name": "app1", "requests": 0}, {"name": "app2"}],
                "errors": [{"kind": "reset", "count": 1}, {"kind": "timeout", "count": 2}, "no dictionary"],
                "codes": {},
            },
            evidence={
                "app_nodes": [{"host": "app1"}],
                "redis": {"hits": 3, "misses": 1},
                "database": {"worst": [{"query": "SELECT 1"}]},
            },
        )
    )
    assert [row["cells"] for row in told["upstreams"]["rows"]] == [["0", NONE, NONE, NONE], [NONE] * 4]
    assert [row["name"] for row in told["errors"]["rows"]] == ["timeout", "reset"]
    assert told["app_nodes"]["rows"][0]["cells"] == [NONE, NONE]
    assert told["redis"]["rows"][0]["cells"] == ["3", "75 %"]
    assert [row["name"] for row in told["database"]["rows"]] == ["SELECT 1"]
    assert set(told) == {"upstreams", "errors", "app_nodes", "redis", "database"}
    # Nobody asked Redis for anything.
    assert "redis" not in tables(bare(evidence={"redis": {"hits": 0, "misses": 0}}))


def test_the_tiles_are_what_the_clients_counted() -> None:
    tiles = {tile["label"]: (tile["value"], tile["more"]) for tile in load_test_page(whole())["tiles"]}
    assert tiles == {
        "Requests": ("66,000", ""),
        "Requests a second": ("183", ""),
        "Failed": ("160", "0.24 %"),
        "Limited (429)": ("25", ""),
        "Latency p95": ("183.1 ms", ""),
        "Users in all": ("42,000", ""),
        "₹ a month": ("₹30K-60K", ""),
    }
    assert load_test_page(bare())["tiles"] == []
    none = load_test_page(bare(seconds=0, totals={"requests": 0, "failed": 0}))["tiles"]
    assert [(tile["label"], tile["value"], tile["more"]) for tile in none] == [
        ("Requests", "0", ""),
        ("Failed", "0", ""),
    ]


def test_tried_settings() -> None:
    kept, back = load_test_page(whole())["tried"]
    assert kept == {
        "variable": "nginx_keepalive",
        "change": "32 to 64",
        "p95": "180 to 150 ms",
        "rate": "800 to 860",
        "verdict": {"css": "good", "word": "kept"},
    }
    assert back["verdict"]["word"] == "taken back"


def test_what_nobody_measured_is_named() -> None:
    assert load_test_page(whole())["absent"] == []
    assert load_test_page(bare())["absent"] == [
        "what the clients counted",
        "what limits the platform",
        "requests and response times over time",
        "what the platform costs",
        "requests of each node",
        "errors by kind",
        "answers by status",
        "CPU of the app nodes",
        "CPU of the load generators",
        "waiting for a database connection",
        "lag of the replicas",
        "hit rate of Redis",
        "time of the statements",
    ]


@pytest.mark.parametrize(
    ("buckets", "missing"),
    [([bucket(0)], False), ([bucket(0), bucket(5, failed=1)], True), ([], True)],
)
def test_no_errors_are_missing_where_none_were(buckets: list[dict[str, Any]], *, missing: bool) -> None:
    told = load_test_page(bare(edge={"step": 5, "buckets": buckets, "errors": []}))
    assert ("errors by kind" in told["absent"]) is missing


def test_to_find_no_limit_is_not_to_look_for_none() -> None:
    assert load_test_page(bare(findings=[]))["findings"] == []
    assert "what limits the platform" not in load_test_page(bare(findings=[]))["absent"]
    assert load_test_page(bare())["findings"] is None


def test_week_0_is_a_week() -> None:
    facts = load_test_page(bare(week=0))["facts"]
    assert {"label": "week", "value": "0"} in facts
    assert "week" not in {fact["label"] for fact in load_test_page(bare())["facts"]}


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, NONE),
        (0, "0"),
        (1234567.4, "1,234,567"),
        (100, "100"),
        (99.999, "100"),
        (12.345, "12.35"),
        (12.5, "12.5"),
        (0.004, "0.004"),
        (0.00012, "0.00012"),
        (1e-9, "0"),
        (-1e-9, "0"),
        (-3, f"{MINUS}3"),
    ],
)
def test_amounts(value: float | None, shown: str) -> None:
    assert amount(value) == shown


def test_times_and_enumerations() -> None:
    assert [clock(one) for one in (0, 59.9, 60, 3601)] == ["0:00", "0:59", "1:00", "60:01"]
    assert day("2026-11-28T01:02:03Z") == "2026-11-28 01:02:03 UTC"
    assert day("2026-11-28T01:02:03+05:30") == "2026-11-27 19:32:03 UTC"
    assert day("2026-11-28T01:02:03") == "2026-11-28 01:02:03"
    assert day("yesterday") == "yesterday"
    assert day("0001-01-01T00:00:00+05:30") == "0001-01-01T00:00:00+05:30"
    assert [listed(list("abc")[:count]) for count in range(4)] == ["", "a", "a and b", "a, b and c"]
    assert [counted(count, "source") for count in (1, 2)] == ["1 source", "2 sources"]
