# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Prometheus is asked, and its answers, from a server on loopback that may be none."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import (
    METRICS,
    NotMeasured,
    Unreachable,
)
from ansible_collections.payaid.scaling.plugins.module_utils._slo.prometheus import (
    QUERIES,
    questions,
    read,
    single,
)
from ansible_collections.payaid.scaling.plugins.module_utils._slo.prometheus_io import Client
from ansible_collections.payaid.scaling.plugins.module_utils._slo.targets import wanted


def vector(*values: str) -> dict[str, Any]:
    """An answer of /api/v1/query as its documentation has it."""
    series = [{"metric": {"instance": str(n)}, "value": [1435781451.781, v]} for n, v in enumerate(values)]
    return {"status": "success", "data": {"resultType": "vector", "result": series}}


def test_one_number() -> None:
    assert single(vector("183.5")) == 183.5
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1435781451.781, "7"]}}
    assert single(scalar) == 7


NO_NUMBER: list[tuple[Any, str]] = [
    (vector(), "yields 0 series where one is wanted"),
    (vector("1", "2"), "yields 2 series where one is wanted"),
    (vector("NaN"), "yields nan, as it does when there was nothing to measure"),
    (vector("+Inf"), "yields inf"),
    (vector("soon"), "has no sample"),
    (
        {"status": "error", "errorType": "bad_data", "error": "parse error"},
        "the query is refused: parse error",
    ),
    ({"status": "success"}, "neither a vector nor a scalar"),
    ({"status": "success", "data": {"resultType": "matrix", "result": []}}, "neither a vector nor a scalar"),
    ({"status": "success", "data": {"resultType": "vector", "result": [3]}}, "has no sample"),
    ({"status": "success", "data": {"resultType": "scalar", "result": []}}, "has no sample"),
    ([], "neither a vector nor a scalar"),
]


@pytest.mark.parametrize(("answer", "sentence"), NO_NUMBER)
def test_no_number(answer: Any, sentence: str) -> None:
    with pytest.raises(NotMeasured, match=sentence):
        single(answer)


def test_there_is_a_query_for_every_metric_that_prometheus_can_tell() -> None:
    able = {metric for metric, told in METRICS.items() if "prometheus" in told.sources}
    assert able == set(QUERIES)


def test_only_what_a_target_wants_is_asked() -> None:
    given = dict.fromkeys(("availability", "cache_hit_rate", "error_rate", "database_query_time"), False)
    asked = questions(
        wanted(given | {"lag": {"query": "lag[WINDOW]", "comparison": "<", "bound": 1}}), "2m", "7d"
    )
    assert set(asked) == {"latency_p95", "query of lag"}
    assert "[2m]" in asked["latency_p95"]
    assert asked["query of lag"] == "lag[2m]"
    assert questions(wanted({}), "2m", "7d")["availability"] == "100 * min(avg_over_time(probe_success[7d]))"


@pytest.mark.parametrize("window", ["", "5", "m", "5m]) or vector(0", "5 m"])
def test_a_window_is_a_duration(window: str) -> None:
    with pytest.raises(NotMeasured, match=r"is no duration"):
        questions(wanted({}), window, "30d")
    with pytest.raises(NotMeasured, match=r"is no duration"):
        questions(wanted({}), "5m", window)


class Server:
    """Answers every query alike."""

    def __init__(self) -> None:
        self.status, self.body = 200, json.dumps(vector("1")).encode()
        self.headers: dict[str, str] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    def handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.seen.append((self.path, dict(self.headers.items())))
                self.send_response(server.status)
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(server.body)

            def log_message(self, *_args: Any) -> None:
                pass

        return Handler


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    listening = ThreadingHTTPServer(("127.0.0.1", 0), server.handler())
    thread = Thread(target=listening.serve_forever, args=(0.02,))
    thread.start()
    server.url = f"http://127.0.0.1:{listening.server_port}"
    try:
        yield server
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as one:
        yield one


def client(url: str, user: str | None = None, password: str | None = None) -> Client:
    return Client(url, user, password, None, 5)


def test_a_query_reaches_prometheus_as_it_is(server: Server) -> None:
    server.body = json.dumps(vector("42")).encode()
    reading = read("there", {"error_rate": 'a{b=~"5.."} + 1 & 2'}, client(f"{server.url}/").ask)
    assert reading.values["error_rate"].value == 42
    address = urlsplit(server.seen[0][0])
    assert (address.path, parse_qs(address.query)) == ("/api/v1/query", {"query": ['a{b=~"5.."} + 1 & 2']})


def test_a_query_that_is_refused_costs_its_own_metric(server: Server) -> None:
    server.status, server.body = 400, b'{"status":"error","errorType":"bad_data","error":"unclosed"}'
    reading = read("there", {"error_rate": "a{"}, client(server.url).ask)
    assert reading.values == {}
    assert reading.missing["error_rate"] == "there: the query is refused: unclosed (a{)"


def test_the_password_goes_to_the_given_address_only(server: Server) -> None:
    client(server.url, "me", "s3cret").ask("up")
    assert server.seen[0][1]["Authorization"] == f"Basic {base64.b64encode(b'me:s3cret').decode()}"
    with serving() as other:
        server.status, server.body = 302, b""
        server.headers = {"Location": f"{other.url}/api/v1/query?query=up"}
        with pytest.raises(Unreachable, match=r"answers 302, and not as Prometheus does"):
            client(server.url, "me", "s3cret").ask("up")
        assert other.seen == []


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b"[" * 100_000, b"\xff"])
def test_what_is_no_prometheus(server: Server, body: bytes) -> None:
    server.body = body
    with pytest.raises(Unreachable, match=r"answers 200, and not as Prometheus does"):
        read("there", {"error_rate": "up"}, client(server.url).ask)


def test_nobody_there() -> None:
    with serving() as gone:
        url = gone.url
    with pytest.raises(Unreachable, match=r"cannot be asked \(.*refused"):
        read("there", {"error_rate": "up", "availability": "up"}, client(url).ask)


@pytest.mark.parametrize("url", ["", "prometheus:9090", "file:///etc/passwd", "http://"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(NotMeasured, match=r"is no http or https address"):
        client(url)


def test_certificates_that_are_none() -> None:
    with pytest.raises(NotMeasured, match=r"/missing.pem cannot be read as certificates"):
        Client("https://127.0.0.1", None, None, "/missing.pem", 5)
