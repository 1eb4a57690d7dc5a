# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The access log of the role nginx, and files read from their end.

The lines are those of `log_format json` in roles/nginx/templates/nginx.conf.j2, which a test looks at.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._slo.access_log import (
    DISORDER,
    Tally,
    parse,
    reading,
)
from ansible_collections.payaid.scaling.plugins.module_utils._slo.files import lines_from_end
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import NotMeasured, Reading
from ansible_collections.payaid.scaling.plugins.module_utils._slo.percentile import mean, percentile
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[3]
NOW = 1_800_000_000.0
ENTRY: dict[str, Any] = {
    "time": "",
    "client": "10.0.0.9",
    "method": "GET",
    "host": "app.example",
    "uri": "/api/contacts",
    "status": 200,
    "bytes": 512,
    "request_time": 0.012,
    "upstream": "10.0.0.21:3000",
    "upstream_status": "200",
    "upstream_time": "0.011",
    "cache": "",
    "request_id": "0f5c",
}


def line(seconds_ago: float = 1, **fields: Any) -> bytes:
    """Return a line as nginx writes it: times in whole seconds, and with milliseconds of the request."""
    at = datetime.fromtimestamp(NOW - seconds_ago, UTC).isoformat(timespec="seconds")
    return json.dumps(ENTRY | {"time": at} | fields, separators=(",", ":")).encode()


def counted(*lines: bytes, minutes: float = 5, prefix: str = "/api/") -> Reading:
    tally = Tally(NOW - minutes * 60, prefix)
    tally.add("access.log", reversed(lines))
    return reading(["access.log"], tally, minutes)


def test_the_fields_are_those_that_the_role_has_nginx_write() -> None:
    template = (ROOT / "roles/nginx/templates/nginx.conf.j2").read_text()
    (written,) = re.findall(r"log_format json escape=json (.*?);", template, re.DOTALL)
    assert re.findall(r'"(\w+)":', written) == list(ENTRY)
    # What is not a text stands without quotation marks.
    assert {"status", "request_time"} <= set(re.findall(r'"(\w+)":\$', written))


@given(st.lists(st.integers(0, 60_000), min_size=1), st.sampled_from([1, 50, 90, 95, 99, 100]))
def test_a_percentile_of_counts_is_that_of_the_sorted_list(times: list[int], percent: int) -> None:
    assert percentile(Counter(times), percent) == sorted(times)[math.ceil(len(times) * percent / 100) - 1]
    assert mean(Counter(times)) == pytest.approx(sum(times) / len(times))


@given(st.lists(st.integers(0, 60_000), min_size=1, max_size=50))
def test_the_percentile_of_a_log_is_that_of_its_times(times: list[int]) -> None:
    told = counted(*(line(request_time=ms / 1000) for ms in times)).values
    assert told["latency_p95"].value == sorted(times)[math.ceil(len(times) * 0.95) - 1]
    assert told["latency_max"].value == max(times)


def test_nothing_has_no_percentile() -> None:
    with pytest.raises(ValueError, match="nothing was counted"):
        percentile({}, 95)


def test_errors_are_5xx_and_what_was_limited_is_counted_apart() -> None:
    lines = [line()] * 95 + [line(status=502), line(status=503), line(status=404), line(status=499), line()]
    limited = [line(status=429, request_time=0.0)] * 900
    told = counted(*lines, *limited).values
    assert told["error_rate"].value == 2.0
    assert told["availability"].value == 98.0
    assert told["latency_p50"].value == 12
    assert told["error_rate"].evidence == {
        "requests": 100,
        "limited": 900,
        "clients_left": 1,
        "codes": {"200": 96, "404": 1, "429": 900, "499": 1, "502": 1, "503": 1},
        "seconds": 0,
    }


def test_how_long_a_websocket_was_open_is_no_response_time() -> None:
    told = counted(line(), line(uri="/api/socket", status=101, request_time=3600.0)).values
    assert told["latency_max"].value == 12


def test_how_quickly_everything_failed_is_no_response_time() -> None:
    told = counted(line(status=502, request_time=0.0), line(status=503, request_time=0.0))
    assert set(told.values) == {"error_rate", "availability"}
    assert told.missing["latency_p95"] == "access.log: every request failed, so there is no response time"


def test_only_the_paths_that_are_asked_for_count() -> None:
    lines = [
        line(request_time=0.3),
        line(uri="/_next/static/app.js", request_time=0.0),
        line(uri="/", status=500),
    ]
    assert counted(*lines).values["error_rate"].value == 0
    assert counted(*lines).values["latency_p50"].value == 300
    everything = counted(*lines, prefix="")
    assert everything.values["error_rate"].value == pytest.approx(100 / 3)


def test_only_the_last_minutes_count_though_lines_are_a_little_out_of_order() -> None:
    old, new = line(301, status=500), line(299)
    assert counted(old, new).values["error_rate"].value == 0
    assert counted(new, old).values["error_rate"].value == 0
    assert counted(line(302, status=500), new, minutes=6).values["error_rate"].value == 50
    # What is older than any disorder ends the reading: what stands before it is not even looked at.
    assert counted(b"no line at all", line(301 + DISORDER), new).values["error_rate"].value == 0
    with pytest.raises(NotMeasured):
        counted(b"no line at all", line(299 + DISORDER), new)


def test_several_logs_are_counted_as_one() -> None:
    tally = Tally(NOW - 60, "/api/")
    tally.add("a", [line(request_time=0.1)] * 90)
    tally.add("b", [line(request_time=0.9)] * 10)
    told = reading(["a", "b"], tally, 1)
    assert (told.where, told.values["latency_p90"].value, told.values["latency_p95"].value) == (
        "a, b",
        100,
        900,
    )


NOTHING: list[list[bytes]] = [
    [],
    [line(400)],
    [line(uri="/favicon.ico")],
    [line(status=429)],
    [line(status=101)],
]


@pytest.mark.parametrize("lines", NOTHING)
def test_a_log_without_requests_measures_nothing(lines: list[bytes]) -> None:
    sentence = "^access.log: no request for /api/ was answered in the last 5 minutes$"
    with pytest.raises(NotMeasured, match=sentence):
        counted(*lines)


COMBINED = b'10.0.0.9 - - [21/Aug/2026:09:43:41 +0000] "GET / HTTP/1.1" 200 5 "-" "curl"'
BAD: list[tuple[bytes, str]] = [
    (COMBINED, "access.log: a line is no JSON object, so it is not of the role nginx: '10.0.0.9 - - ["),
    (b"\0\0\0", "a line is no JSON object"),
    (b"\xff\xfe", "a line is no JSON object"),
    (b"[" * 100_000, "a line is no JSON object"),
    (b"[]", "a line is no JSON object"),
    (line()[:80], "a line is no JSON object"),
    (line(time="yesterday"), "time of a line of access.log: "),
    (line(time=None), "time of a line"),
    (line(status=None), "status of a line of access.log: "),
    (line(status="200"), "status of a line"),
    (line(request_time="-"), "request_time of a line of access.log: "),
    (
        json.dumps({k: v for k, v in json.loads(line()).items() if k != "request_time"}).encode(),
        "request_time of",
    ),
]


@pytest.mark.parametrize(("raw", "sentence"), BAD)
def test_a_line_that_is_not_of_the_role(raw: bytes, sentence: str) -> None:
    with pytest.raises(NotMeasured) as why:
        parse("access.log", raw)
    assert sentence in str(why.value)


LINES = st.lists(st.binary(max_size=12).map(lambda raw: raw.replace(b"\n", b"")), max_size=30)


@given(LINES, st.binary(max_size=9).map(lambda raw: raw.replace(b"\n", b"")), st.integers(1, 40))
def test_lines_from_the_end_are_the_lines_whatever_the_blocks(
    lines: list[bytes], rest: bytes, block: int
) -> None:
    file = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"slo-lines-{id(lines)}"  # noqa: S108  # hypothesis and tmp_path do not go together
    file.write_bytes(b"".join(one + b"\n" for one in lines) + rest)
    try:
        assert list(lines_from_end(str(file), block)) == [one for one in reversed(lines) if one]
    finally:
        file.unlink()


def test_the_end_of_a_log_of_gigabytes_is_read_and_no_more(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with log.open("wb") as file:
        # A hole: whoever read it would read for long, and find what is no line.
        file.truncate(8 << 30)
        file.seek(0, 2)
        file.write(b"\n" + line(900) + b"\n" + (line() + b"\n") * 5000)
    began = time.monotonic()
    tally = Tally(NOW - 300, "/api/")
    tally.add(str(log), lines_from_end(str(log)))
    assert tally.times == {12: 5000}
    assert time.monotonic() - began < 20


def test_what_is_no_log_of_lines(tmp_path: Path) -> None:
    file = tmp_path / "core"
    file.write_bytes(b"x" * 5000)
    with pytest.raises(NotMeasured, match="a line has more than 1000 bytes, so it is no log of nginx"):
        list(lines_from_end(str(file), 64, longest=1000))
    with pytest.raises(NotMeasured, match="cannot be read \\(No such file or directory\\)"):
        list(lines_from_end(str(tmp_path / "missing")))
