# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the lines of a run's charts go, and that the table beside them says the same."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.filter.load_test import load_test_page
from ansible_collections.payaid.scaling.plugins.plugin_utils._charts import Axis, path, scale, short
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_report.charts import POINTS, ROWS
from hypothesis import given
from hypothesis import strategies as st

from .runs import bare, bucket, buckets, slo, target

Point = tuple[float, float]
COUNTS = st.integers(0, 10**7)
TIMES = st.none() | st.floats(0, 10**6)
FOUND = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.integers(0, 10**6) | st.floats(0, 10**6),
            "requests": COUNTS,
            "failed": COUNTS,
            "limited": COUNTS,
            "p50": TIMES,
            "p95": TIMES,
            "p99": TIMES,
        }
    ),
    max_size=12,
)


def drawn(found: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """Return the charts of a run with these buckets."""
    told: dict[str, Any] = load_test_page(bare(edge={"step": 5, "buckets": found}, **more))["charts"]
    return told


def chart(told: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in told["charts"] if one["name"] == name)
    return found


def parts(one: dict[str, Any]) -> dict[str, list[list[Point]]]:
    """Return the pieces of each line and area, as points."""
    return {part["css"]: pieces(part["path"]) for part in (*one["areas"], *one["lines"])}


def pieces(written: str) -> list[list[Point]]:
    whole = [
        [(float(x), float(y)) for x, y in (point.split(" ") for point in piece.removesuffix("Z").split("L"))]
        for piece in written.split("M")[1:]
    ]
    assert all(whole)
    return whole


@given(FOUND, st.floats(0, 10**6), st.sampled_from([5, 1, 0.1]), st.floats(0.001, 10**6) | st.none())
def test_whatever_was_measured_is_drawn_inside_the_frame(
    found: list[dict[str, Any]], seconds: float, step: float, bound: float | None
) -> None:
    wanted = slo(target("p95", "latency_p95", f"< {bound:f} ms", 1)) if bound else {}
    told = load_test_page(bare(seconds=seconds, slo=wanted, edge={"step": step, "buckets": found}))["charts"]
    assert bool(told) is bool(found)
    for one in told.get("charts", ()):
        for points in (points for lines in parts(one).values() for points in lines):
            assert all(one["left"] <= x <= one["right"] for x, _y in points)
            assert all(one["top"] <= y <= one["bottom"] for _x, y in points)
        for axis, least, most in (("x", "left", "right"), ("y", "top", "bottom")):
            places = [tick["at"] for tick in one[f"{axis}_ticks"]]
            assert all(one[least] <= place <= one[most] for place in places)
            assert places == sorted(set(places), reverse=axis == "y")
            assert 1 <= len(places) <= 8
            # Fewer letters than the margin has room for.
            assert all(len(tick["label"]) <= 7 for tick in one["y_ticks"])
        assert one["about"]


@given(FOUND)
def test_the_table_counts_what_was_measured(found: list[dict[str, Any]]) -> None:
    told = drawn(found)
    rows = told.get("rows", [])
    assert len(rows) <= ROWS
    failed = sum(int(row["failed"].replace(",", "")) for row in rows)
    assert failed == sum(one["failed"] for one in found)
    assert [row["at"] for row in rows] == sorted((row["at"] for row in rows), key=_seconds)


def _seconds(at: str) -> int:
    minutes, seconds = at.split(":")
    return 60 * int(minutes) + int(seconds)


@given(FOUND, st.randoms())
def test_the_order_of_the_buckets_is_no_matter(found: list[dict[str, Any]], chance: Any) -> None:
    mixed = list(found)
    chance.shuffle(mixed)
    assert drawn(mixed) == drawn(found)


@pytest.mark.parametrize(
    "edge",
    [
        {},
        {"step": 5},
        {"buckets": []},
        {"buckets": None},
        {"step": 5, "buckets": [{}]},
        {"buckets": [bucket(0)]},
        {"step": 0, "buckets": [bucket(0)]},
    ],
)
def test_no_log_is_no_chart(edge: dict[str, Any]) -> None:
    assert load_test_page(bare(edge=edge))["charts"] == {}


def test_six_minutes() -> None:
    wanted = slo(target("p95", "latency_p95", "< 200 ms", 15))
    told = drawn(buckets(), slo=wanted)
    assert [one["name"] for one in told["charts"]] == ["requests", "failures", "times"]
    requests, failures, times = told["charts"]
    assert [tick["label"] for tick in requests["x_ticks"]] == [f"{minute}:00" for minute in range(7)]
    assert [tick["label"] for tick in requests["y_ticks"]] == ["0", "50", "100", "150", "200", "250"]
    assert requests["about"] == (
        "At most 209 a second, at 1:00. Of 67,562 requests 160 failed and 25 were limited."
    )
    assert failures["about"] == ("At most 3.96 % failed, at 3:35; at most 2.5 % were limited, at 5:00.")
    assert "p95 is between 12 and 340 ms, the highest at 3:30." in times["about"]
    assert times["about"].endswith("Wanted is a p95 of < 200 ms.")
    assert [line["label"] for line in times["lines"]] == ["p50", "p95", "p99", "p95 wanted < 200 ms"]
    assert [area["css"] for area in requests["areas"]] == ["failed", "limited", "answered"]
    assert len(told["rows"]) == 36
    assert told["about"] == "A row is 10 s; percentiles are the highest of each 5 s in it."
    assert told["rows"][0] == {
        "at": "0:00",
        "rate": "102",
        "failed": "0",
        "limited": "0",
        "times": ["3", "16", "58"],
    }


def test_areas_lie_on_each_other() -> None:
    areas = parts(chart(drawn([bucket(0, 100, failed=20, limited=30)]), "requests"))
    (failed,), (limited,), (answered,) = (areas[name] for name in ("failed", "limited", "answered"))
    heights = [sorted({y for _x, y in area}, reverse=True) for area in (failed, limited, answered)]
    assert heights[0][1] == heights[1][0]
    assert heights[1][1] == heights[2][0]
    bottom = heights[0][0]
    whole = bottom - heights[2][1]
    assert (bottom - heights[0][1]) / whole == pytest.approx(0.2, abs=0.01)
    assert (bottom - heights[1][1]) / whole == pytest.approx(0.5, abs=0.01)


def test_one_bucket_is_a_dot() -> None:
    told = drawn([bucket(0)], seconds=5)
    ((first, second),) = parts(chart(told, "times"))["p95"]
    assert first == second
    assert [tick["label"] for tick in told["charts"][0]["x_ticks"]] == [f"0:0{second}" for second in range(6)]
    assert len(told["rows"]) == 1
    assert told["about"] == "A row is 5 s."


def test_no_requests_are_no_response_times() -> None:
    told = load_test_page(bare(edge={"step": 5, "buckets": [bucket(at, 0) for at in range(0, 60, 5)]}))
    assert [one["name"] for one in told["charts"]["charts"]] == ["requests", "failures"]
    assert told["charts"]["charts"][1]["about"] == "None failed."
    assert "response times over time" in told["absent"]
    assert {row["rate"] for row in told["charts"]["rows"]} == {"0"}


def test_all_failed() -> None:
    told = drawn([bucket(at, 500, failed=500) for at in range(0, 60, 5)])
    requests = parts(chart(told, "requests"))
    assert {y for _x, y in requests["answered"][0]} == {min(y for _x, y in requests["failed"][0])}
    failures = chart(told, "failures")
    assert failures["about"] == "At most 100 % failed, at 0:00."
    assert {y for _x, y in parts(failures)["failed"][0]} == {failures["top"]}
    # More failures than requests, as when two logs do not end together.
    odd = chart(drawn([bucket(0, 3, failed=5)]), "failures")
    assert odd["about"] == "At most 100 % failed, at 0:00."


def test_a_gap_is_no_line() -> None:
    found = [bucket(at) for at in (0, 5, 10, 30, 35)]
    times = parts(chart(drawn(found, seconds=40), "times"))
    assert [len(piece) for piece in times["p50"]] == [3, 2]
    silent = [bucket(at, 0 if at == 10 else 500) for at in range(0, 25, 5)]
    times = parts(chart(drawn(silent, seconds=25), "times"))
    assert [len(piece) for piece in times["p99"]] == [2, 2]
    assert len(parts(chart(drawn(found), "requests"))["answered"]) == 2


def test_several_buckets_are_one_where_there_are_too_many() -> None:
    found = [bucket(5 * place, 500, p99=place) for place in range(POINTS * 3 + 1)]
    told = drawn(found, seconds=5 * len(found))
    assert len(parts(chart(told, "times"))["p99"][0]) <= POINTS
    # The last one is no shorter a bar for being a piece.
    assert {y for _x, y in parts(chart(told, "requests"))["answered"][0]} == {
        chart(told, "requests")["bottom"],
        min(y for _x, y in parts(chart(told, "requests"))["answered"][0]),
    }
    assert len(told["rows"]) <= ROWS
    assert {row["rate"] for row in told["rows"]} == {"100"}
    assert told["rows"][0]["times"][2] == "12"


@pytest.mark.parametrize(
    ("wanted", "unit", "label"),
    [("< 200 ms", "ms", "p95 wanted < 200 ms"), ("<= 0.2 s", "s", "p95 wanted <= 0.2 s")],
)
def test_the_wanted_p95_is_a_line_across(wanted: str, unit: str, label: str) -> None:
    told = drawn([bucket(0), bucket(5)], slo=slo(target("it", "latency_p95", wanted, 0.1, unit=unit)))
    times = chart(told, "times")
    (line,) = parts(times)["wanted"]
    assert [x for x, _y in line] == [times["left"], times["right"]]
    assert len({y for _x, y in line}) == 1
    assert line[0][1] == next(tick["at"] for tick in times["y_ticks"] if tick["label"] == "200")
    assert times["lines"][-1]["label"] == label


@pytest.mark.parametrize("wanted", ["< 0 ms", "", "about 200 ms", "< 1.2.3 ms"])
def test_a_target_that_is_no_height_is_no_line(wanted: str) -> None:
    found = drawn([bucket(0)], slo=slo(target("it", "latency_p95", wanted, 5)))
    assert "wanted" not in parts(chart(found, "times"))
    other = drawn([bucket(0)], slo=slo(target("it", "latency_p99", "< 200 ms", 5)))
    assert "wanted" not in parts(chart(other, "times"))


@given(st.floats(0, 10**12))
def test_a_scale_ends_in_a_round_number_above_all(most: float) -> None:
    axis, ticks = scale(most)
    assert axis.most >= most
    assert ticks[0] == 0
    assert 2 <= len(ticks) <= 6
    assert all(after - before == pytest.approx(ticks[1]) for before, after in pairwise(ticks))
    assert re.fullmatch("[125]0*", f"{ticks[1] * 10 ** -_power(ticks[1]):g}")


def _power(value: float) -> int:
    return int(f"{value:e}".split("e")[1])


def test_places_and_paths() -> None:
    assert Axis(0, 10, 100, 200)(5) == 150
    assert Axis(1, 100, 0, 10, logarithmic=True)(10) == 5
    assert Axis(1, 100, 0, 10, logarithmic=True)(0) == 0
    assert path([]) == ""
    assert path([(1, 2), (3.5, 4)]) == "M1 2L3.5 4"
    assert path([(1, 2), (3.5, 4)], closed=True) == "M1 2L3.5 4Z"
    assert [short(one) for one in (0.02, 5, 1000, 12500)] == ["0.02", "5", "1K", "12.5K"]
