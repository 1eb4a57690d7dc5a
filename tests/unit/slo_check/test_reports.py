# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of load generators, good and bad.

fixtures/artillery.json was written by Artillery 2.0.34 (`artillery run --output`, which is
packages/artillery/lib/cmds/run.ts there), without what its plugin adds. A server on loopback answered every
twentieth request 500 and every tenth 429. Ten users came a second; a tenth of them met a closed port, the
others stayed for two seconds.

fixtures/k6_summary_export.json and k6_handle_summary.json were written by k6 1.1.0 in one run against the
same server, with five users. k6_machine_readable.json tells of the same run in the shape that k6 has since
1.5 (internal/lib/summary/machinereadable/types_gen.go there).
"""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._slo import artillery, files, k6
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import NotMeasured, Reading
from hypothesis import given
from hypothesis import strategies as st

FIXTURES = Path(__file__).parent / "fixtures"
ARTILLERY = json.loads((FIXTURES / "artillery.json").read_text())
K6 = {
    shape: json.loads((FIXTURES / f"k6_{shape}.json").read_text())
    for shape in ("summary_export", "handle_summary", "machine_readable")
}


def values(reading: Reading) -> dict[str, float]:
    return {metric: value.value for metric, value in reading.values.items()}


def changed(report: Any, change: Callable[[Any], None]) -> Any:
    anew = copy.deepcopy(report)
    change(anew)
    return anew


def test_a_report_of_artillery() -> None:
    reading = artillery.read({"a.json": ARTILLERY})
    counters = ARTILLERY["aggregate"]["counters"]
    assert (counters["http.requests"], counters["http.codes.429"]) == (230, 22)
    # 11 answers of 500 and 10 refused connections, of 208 requests that were not limited.
    assert values(reading)["error_rate"] == pytest.approx(100 * 21 / 208)
    assert values(reading)["availability"] == pytest.approx(100 * 187 / 208)
    assert values(reading)["latency_p95"] == ARTILLERY["aggregate"]["summaries"]["http.response_time"]["p95"]
    # Ten a second who stay for two seconds, but for those who met the closed port.
    assert 15 <= values(reading)["concurrent_users"] <= 20
    assert reading.values["error_rate"].evidence == {
        "requests": 230,
        "limited": 22,
        "codes": {"200": 187, "429": 22, "500": 11},
        "errors": {"ECONNREFUSED": 10},
    }


def test_limited_requests_do_not_make_answers_look_quicker() -> None:
    summaries = ARTILLERY["aggregate"]["summaries"]
    assert summaries["http.response_time.2xx"]["mean"] > summaries["http.response_time"]["mean"]
    assert (
        values(artillery.read({"a": ARTILLERY}))["latency_mean"]
        == summaries["http.response_time.2xx"]["mean"]
    )


def test_several_reports_are_one_test() -> None:
    def slower(report: Any) -> None:
        report["aggregate"]["summaries"]["http.response_time"]["p95"] = 900
        report["aggregate"]["counters"] |= {"http.codes.502": 100, "http.requests": 500}

    reading = artillery.read({"a.json": ARTILLERY, "b.json": changed(ARTILLERY, slower)})
    assert reading.where == "a.json, b.json"
    assert values(reading)["latency_p95"] == 900
    assert values(reading)["error_rate"] == pytest.approx(100 * (21 + 121) / (730 - 44))
    alone = values(artillery.read({"a.json": ARTILLERY}))
    assert values(reading)["concurrent_users"] == 2 * alone["concurrent_users"]


@given(st.lists(st.lists(st.floats(0, 5000), min_size=1, max_size=40), min_size=1, max_size=4))
def test_the_percentile_of_several_reports_is_never_below_that_of_all_requests(
    times: list[list[float]],
) -> None:
    def p95(of: list[float]) -> float:
        return sorted(of)[math.ceil(len(of) * 0.95) - 1]

    def report(of: list[float]) -> Any:
        one = {"p95": p95(of), "mean": sum(of) / len(of), "count": len(of)}
        counters = {"http.requests": len(of), "http.codes.200": len(of)}
        return {"aggregate": {"counters": counters, "summaries": {"http.response_time": one}}}

    told = values(artillery.read({str(place): report(of) for place, of in enumerate(times)}))
    everything = [time for of in times for time in of]
    assert told["latency_p95"] >= p95(everything)
    assert told["latency_mean"] == pytest.approx(sum(everything) / len(everything))


def arrivals(periods: dict[int, list[int]]) -> Any:
    """A report of users who came, completed and failed in periods, the last one first."""
    fields = ("vusers.created", "vusers.completed", "vusers.failed")
    slices = [
        {"period": str(period * 10_000), "counters": dict(zip(fields, counts, strict=True))}
        for period, counts in sorted(periods.items(), reverse=True)
    ]
    sums = dict(zip(fields, map(sum, zip(*periods.values(), strict=True)), strict=True))
    counters = sums | {"http.requests": 1}
    return {"aggregate": {"counters": counters, "summaries": {}}, "intermediate": slices}


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 60)), min_size=1, max_size=60))
def test_users_at_a_time_are_never_more_than_there_were(stays: list[tuple[int, int]]) -> None:
    """Each user comes at a second and stays for some; slices never tell more than the truth."""
    slices: dict[int, list[int]] = {}
    for begin, length in stays:
        slices.setdefault(begin // 10, [0, 0, 0])[0] += 1
        slices.setdefault((begin + length) // 10, [0, 0, 0])[1 + length % 2] += 1
    told = values(artillery.read({"a": arrivals(slices)}))["concurrent_users"]
    truth = max(sum(b <= now <= b + s for b, s in stays) for now in range(120))
    assert told <= truth
    ends = [sum(b < end <= b + s for b, s in stays) for end in range(10, 130, 10)]
    assert told == max(ends)


def test_users_whose_end_was_lost_are_not_counted_as_staying() -> None:
    def lose(report: Any) -> None:
        report["intermediate"][1]["counters"]["vusers.completed"] -= 5

    reading = artillery.read({"a.json": changed(ARTILLERY, lose)})
    assert "concurrent_users" not in reading.values
    assert "intermediate does not add up" in reading.missing["concurrent_users"]


def test_without_any_answer_errors_are_told_and_no_times() -> None:
    reading = artillery.read(
        {
            "a.json": {
                "aggregate": {"counters": {"http.requests": 10, "errors.ECONNREFUSED": 10}, "summaries": {}}
            }
        }
    )
    assert values(reading) == {"error_rate": 100, "availability": 0}
    assert (
        reading.missing["latency_p95"]
        == "a.json: aggregate.summaries[http.response_time] has no p95, or no count"
    )
    assert reading.missing["concurrent_users"].startswith("a.json: intermediate is missing")


def test_where_every_request_was_limited_nothing_is_known_of_errors() -> None:
    report = {"aggregate": {"counters": {"http.requests": 9, "http.codes.429": 9}, "summaries": {}}}
    assert artillery.read({"a.json": report}).missing["error_rate"] == "a.json: every request was limited"


def test_how_quickly_everything_failed_is_no_response_time() -> None:
    def broken(report: Any) -> None:
        counters = report["aggregate"]["counters"]
        counters |= {"http.codes.200": 0, "http.codes.500": counters["http.requests"]}

    reading = artillery.read({"a.json": changed(ARTILLERY, broken)})
    assert reading.missing["latency_p95"] == "a.json: every request failed, so there is no response time"
    assert not [metric for metric in reading.values if metric.startswith("latency_")]
    refused = changed(K6["summary_export"], put("metrics", "http_req_failed", {"passes": 182, "fails": 0}))
    assert set(k6.read("k.json", refused).values) == {"error_rate", "availability", "concurrent_users"}


def put(*path: Any) -> Callable[[Any], None]:
    """Put the last at the place that the others lead to."""
    *way, last, value = path

    def change(report: Any) -> None:
        for step in way:
            report = report[step]
        report[last] = value

    return change


COUNTERS, SUMMARIES = ("aggregate", "counters"), ("aggregate", "summaries")
BAD_ARTILLERY: list[tuple[Any, str]] = [
    ([], "a.json: aggregate is missing, so this is no report of artillery run --output"),
    ("text", "aggregate is missing"),
    (None, "aggregate is missing"),
    ({}, "aggregate is missing"),
    (K6["summary_export"], "aggregate is missing"),
    ({"aggregate": {"requestsCompleted": 3}}, "requestsCompleted is of Artillery 1"),
    ({"aggregate": {}}, "aggregate.counters is missing"),
    ({"aggregate": {"counters": []}}, "aggregate.counters is no object"),
    ({"aggregate": {"counters": {}}}, "aggregate.counters has no http.requests, so nothing was asked"),
    (changed(ARTILLERY, put(*COUNTERS, "http.requests", 0)), "no http.requests, so nothing was asked"),
    (
        changed(ARTILLERY, put(*COUNTERS, "http.requests", "many")),
        "aggregate.counters[http.requests] is no number",
    ),
    (
        changed(ARTILLERY, put(*COUNTERS, "http.requests", -3)),
        "aggregate.counters[http.requests] is no number of 0",
    ),
    (
        changed(ARTILLERY, put(*COUNTERS, "http.requests", True)),
        "aggregate.counters[http.requests] is no number",
    ),
    (changed(ARTILLERY, put(*COUNTERS, "errors.X", math.nan)), "aggregate.counters[errors.X] is no number"),
    (changed(ARTILLERY, put(*COUNTERS, "errors.X", 10**400)), "aggregate.counters[errors.X] is no number"),
    (changed(ARTILLERY, put(*SUMMARIES, None)), "aggregate.summaries is missing"),
    (
        changed(ARTILLERY, put(*SUMMARIES, "http.response_time", 3)),
        "summaries[http.response_time] is no object",
    ),
    (
        changed(ARTILLERY, put(*SUMMARIES, "http.response_time", "p95", None)),
        "[http.response_time].p95 is no number",
    ),
]


@pytest.mark.parametrize(("report", "sentence"), BAD_ARTILLERY)
def test_a_report_of_artillery_that_is_none(report: Any, sentence: str) -> None:
    with pytest.raises(NotMeasured) as why:
        artillery.read({"a.json": report})
    assert str(why.value).startswith("a.json: ")
    assert sentence in str(why.value)


BAD_SLICES: list[tuple[Any, str]] = [
    (put("intermediate", None), "intermediate is missing"),
    (put("intermediate", {}), "intermediate is missing"),
    (put("intermediate", 0, 7), "intermediate[0] is no object"),
    (put("intermediate", 0, "period", "soon"), "intermediate[0].period is no number"),
    (put("intermediate", 0, "period", "9" * 5000), "intermediate[0].period is no number"),
    (put("intermediate", 0, "counters", None), "intermediate[0].counters is missing"),
]


@pytest.mark.parametrize(("change", "sentence"), BAD_SLICES)
def test_bad_slices_cost_the_users_and_nothing_else(change: Callable[[Any], None], sentence: str) -> None:
    reading = artillery.read({"a.json": changed(ARTILLERY, change)})
    assert sentence in reading.missing["concurrent_users"]
    assert {"latency_p95", "error_rate", "availability"} <= set(reading.values)


@pytest.mark.parametrize("shape", K6)
def test_a_summary_of_k6_in_every_shape(shape: str) -> None:
    reading = k6.read("k.json", K6[shape])
    told = values(reading)
    # 9 answers of 500 and 18 of 429, of 182; without a response callback, k6 takes both as failed.
    assert told["error_rate"] == pytest.approx(100 * 27 / 182)
    assert told["availability"] == pytest.approx(100 * 155 / 182)
    assert told["concurrent_users"] == 5
    # The higher one is that of what was answered as expected.
    assert told["latency_p95"] == 40.6737046
    assert told["latency_max"] == 42.879316
    if shape == "machine_readable":
        assert reading.missing["latency_p99"].endswith("has no p(99), which summaryTrendStats has to name")
    else:
        assert told["latency_p99"] == 42.21837124


FLAT = K6["summary_export"]
M = "metrics"
BAD_K6: list[tuple[Any, str]] = [
    ([], "metrics is missing, so this is no summary of k6"),
    ({}, "metrics is missing, so this is no summary of k6"),
    (ARTILLERY, "metrics is missing, so this is no summary of k6"),
    ({"results": {"metrics": []}}, "metrics has no http_req_failed, so nothing was asked over HTTP"),
    ({M: {}}, "metrics has no http_req_failed"),
    (changed(FLAT, put(M, "http_req_failed", {"passes": 0, "fails": 0, "value": 0})), "counts no request"),
    (changed(FLAT, put(M, "http_req_failed", {"value": 0})), "http_req_failed.passes is no number"),
    (changed(FLAT, put(M, "http_req_failed", "fails", "0")), "http_req_failed.fails is no number"),
    (changed(FLAT, put(M, "http_req_failed", 1)), "http_req_failed is no object"),
    (changed(FLAT, put(M, "http_req_duration", "p(95)", None)), "http_req_duration.p(95) is no number"),
    (changed(FLAT, put(M, "vus", {"value": 3})), "vus.max is no number"),
]


@pytest.mark.parametrize(("summary", "sentence"), BAD_K6)
def test_a_summary_of_k6_that_is_none(summary: Any, sentence: str) -> None:
    with pytest.raises(NotMeasured) as why:
        k6.read("k.json", summary)
    assert str(why.value).startswith("k.json: ")
    assert sentence in str(why.value)


def test_what_the_summary_of_k6_lacks_is_missing_alone() -> None:
    def without(summary: Any) -> None:
        del summary["metrics"]["vus"], summary["metrics"]["http_req_duration"]

    reading = k6.read("k.json", changed(FLAT, without))
    assert set(reading.values) == {"error_rate", "availability"}
    assert reading.missing["concurrent_users"] == "k.json: metrics has no vus"


BAD_FILES: list[tuple[bytes, str]] = [
    (b"", "the file is empty, so the run that was to write it has not ended"),
    (b" \n", "the file is empty"),
    ((FIXTURES / "artillery.json").read_bytes()[:5000], "the file is no whole JSON document"),
    (b'{"type":"Metric"}\n{"type":"Point"}\n', "the file is no whole JSON document (Extra data: line 2"),
    (b"<html>", "the file is no whole JSON document"),
    (b'"\xff"', "the file is no JSON document"),
    (b"[" * 200_000, "the file is no JSON document"),
]


@pytest.mark.parametrize(("content", "sentence"), BAD_FILES)
def test_a_file_that_is_no_report(tmp_path: Path, content: bytes, sentence: str) -> None:
    file = tmp_path / "report.json"
    file.write_bytes(content)
    with pytest.raises(NotMeasured) as why:
        files.report(str(file))
    assert str(why.value).startswith(f"{file}: {sentence}")


def test_a_file_that_is_not_there_or_too_large(tmp_path: Path) -> None:
    with pytest.raises(NotMeasured, match=r"cannot be read \(No such file or directory\)"):
        files.report(str(tmp_path / "missing.json"))
    with pytest.raises(NotMeasured, match=r"cannot be read \(Is a directory\)"):
        files.report(str(tmp_path))
    with pytest.raises(NotMeasured, match="cannot be read"):
        files.report("/tmp/\0")  # noqa: S108  # that is no file
    large = tmp_path / "large.json"
    with large.open("wb") as file:
        file.truncate(files.MOST + 1)
    with pytest.raises(NotMeasured, match="more than 256 MiB, so it is no report"):
        files.report(str(large))
