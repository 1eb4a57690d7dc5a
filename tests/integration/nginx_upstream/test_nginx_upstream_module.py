# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module against a real nginx on loopback, with clients that ask all the time."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from .. import modules
from ..postgres_replica.conftest import free_port

CONFIG = """
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/upstreams/*.conf;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://app;
        }}
        location /hasty/ {{
            proxy_read_timeout 200ms;
            proxy_next_upstream off;
            proxy_pass http://app;
        }}
    }}
}}
"""


class App(ThreadingHTTPServer):
    """A server behind nginx that says which one it is, after a while if it is asked to."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server_address[1]}"
        self.requests = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        app = self.server
        assert isinstance(app, App)
        app.requests += 1
        if "/slow" in self.path:
            time.sleep(float(self.path.rpartition("=")[2]))
        body = app.address.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: Any) -> None:
        """Say nothing of each request."""


@dataclass
class Edge:
    """One nginx and two servers behind it."""

    folder: Path
    port: int
    apps: list[App]
    process: subprocess.Popen[bytes] | None = None
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def file(self) -> Path:
        return self.folder / "upstreams/app.conf"

    def run(self, *, check: bool = False, **more: Any) -> Mapping[str, Any]:
        options = {
            "name": "app",
            "path": str(self.file),
            "config": str(self.folder / "nginx.conf"),
            "pid_file": str(self.folder / "nginx.pid"),
            "servers": [{"address": app.address} for app in self.apps],
            "_ansible_check_mode": check,
        } | more
        out, errors = modules.begin("nginx_upstream", options).communicate(timeout=180)
        assert errors == ""
        answer: Mapping[str, Any] = json.loads(out)
        return answer

    def ok(self, **more: Any) -> Mapping[str, Any]:
        answer = self.run(**more)
        assert not answer.get("failed"), answer
        return answer

    def refused(self, **more: Any) -> str:
        answer = self.run(**more)
        assert answer.get("failed"), answer
        return str(answer["msg"])

    def start(self) -> None:
        (self.folder / "nginx.conf").write_text(CONFIG.format(folder=self.folder, port=self.port))
        self.process = subprocess.Popen(  # noqa: S603  # a program of Debian and a file of this test
            ["/usr/sbin/nginx", "-c", str(self.folder / "nginx.conf"), "-g", "daemon off;"]
        )
        deadline = time.monotonic() + 10
        while not self.answers():
            assert time.monotonic() < deadline, (self.folder / "error.log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT if self.process.poll() is None else 0)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def answers(self) -> bool:
        try:
            return bool(self.ask())
        except OSError:
            return False

    def ask(self, path: str = "/") -> str:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read().decode()
            assert answer.status == 200, body
            return body
        finally:
            connection.close()

    @contextmanager
    def traffic(self) -> Iterator[list[str]]:
        """Have clients ask all the time, each on a connection of its own as a browser's first request is."""
        errors: list[str] = []
        over = threading.Event()

        def client() -> None:
            while not over.is_set():
                try:
                    self.seen[self.ask()] += 1
                except (OSError, HTTPException, AssertionError) as error:
                    errors.append(repr(error))
                time.sleep(0.01)

        clients = [threading.Thread(target=client) for _number in range(4)]
        for one in clients:
            one.start()
        try:
            yield errors
        finally:
            over.set()
            for one in clients:
                one.join()


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Edge]:
    tmp_path.chmod(0o755)
    edge = Edge(tmp_path, free_port(), [App(), App()])
    for app in edge.apps:
        threading.Thread(target=app.serve_forever, daemon=True).start()
    try:
        assert edge.ok()["actions"] == [f"Write {edge.file}."]  # nothing runs yet
        edge.start()
        yield edge
    finally:
        edge.stop()
        for app in edge.apps:
            app.shutdown()
            app.server_close()


def test_a_server_is_emptied_and_filled_again_without_an_error(edge: Edge) -> None:
    first, second = (app.address for app in edge.apps)
    assert edge.ok()["changed"] is False
    with edge.traffic() as errors:
        time.sleep(0.5)
        foretold = edge.ok(check=True, drained=[second])
        done = edge.ok(drained=[second])
        assert done["actions"] == foretold["actions"]
        assert done["after"] == foretold["after"]
        assert done["after"]["drained"] == [second]
        assert done["open_connections"] == {second: 0}
        before = edge.apps[1].requests
        time.sleep(0.5)
        assert edge.apps[1].requests == before
        assert edge.ok(drained=[second])["changed"] is False
        assert edge.ok()["after"]["drained"] == []
        edge.seen.clear()
        time.sleep(0.5)
    assert errors == []
    assert set(edge.seen) == {first, second}


def test_who_is_being_answered_is_waited_for(edge: Edge) -> None:
    first, second = (app.address for app in edge.apps)
    edge.ok(drained=[second])
    answers: list[str] = []
    asking = threading.Thread(target=lambda: answers.append(edge.ask("/slow=2")))
    asking.start()
    deadline = time.monotonic() + 5
    while edge.apps[0].requests < 2:  # one was asked at the start
        assert time.monotonic() < deadline
        time.sleep(0.01)
    early = edge.ok(drained=[first], drain_timeout=0)
    assert early["open_connections"] == {first: 1}
    assert answers == []
    late = edge.ok(drained=[first])
    assert (late["changed"], late["open_connections"]) == (False, {first: 0})
    asking.join(5)
    assert answers == [first]
    assert edge.ask() == second


def test_a_wrong_server_leaves_all_as_it_was(edge: Edge) -> None:
    before = edge.file.read_text()
    sentence = edge.refused(servers=[{"address": "no.such.host.invalid:3000"}])
    assert "host not found in upstream" in sentence
    assert "nothing was changed" in sentence
    assert edge.file.read_text() == before


def test_a_configuration_that_is_broken_elsewhere_leaves_the_servers_as_they_were(edge: Edge) -> None:
    before, (_first, second) = edge.file.read_text(), (app.address for app in edge.apps)
    broken = edge.file.with_name("broken.conf")
    broken.write_text("upstream app { server 127.0.0.1:1; }\n")
    sentence = edge.refused(drained=[second])
    assert 'duplicate upstream "app"' in sentence
    assert "its servers are as they were" in sentence
    assert edge.file.read_text() == before
    broken.unlink()
    assert edge.ok()["changed"] is False
    assert edge.ok(drained=[second])["changed"] is True


def test_a_run_that_was_killed_before_the_reload_is_finished(edge: Edge) -> None:
    (_first, second) = (app.address for app in edge.apps)
    text = edge.file.read_text()
    lines = [line.replace(";", " down;") if second in line else line for line in text.splitlines(True)]
    edge.file.write_text("".join(lines))
    done = edge.ok(drained=[second])
    assert done["actions"] == ["Reload nginx, and wait until its new workers have taken over."]
    assert {edge.ask() for _number in range(10)} == {edge.apps[0].address}
    assert edge.ok(drained=[second])["changed"] is False


def test_only_who_is_drained_may_be_said(edge: Edge) -> None:
    first, second = (app.address for app in edge.apps)
    edge.ok(servers=[{"address": first, "weight": 2}, {"address": second, "max_fails": 0}])
    before = edge.file.read_text()
    assert edge.ok(servers=None, drained=[first])["after"]["drained"] == [first]
    assert edge.ask() == second
    assert edge.ok(servers=None)["changed"] is True
    assert edge.file.read_text() == before
    nowhere = edge.ok(servers=None, drained=[first], path=str(edge.folder / "none.conf"))
    assert (nowhere["changed"], nowhere["after"]["servers"]) == (False, [])


def test_servers_that_all_seem_dead_are_still_tried(edge: Edge) -> None:
    """Slow together, because of what is behind them; else nobody would be asked for a while."""
    edge.ok()
    for _time in range(2 * 3 * 2):
        with pytest.raises(AssertionError, match="504"):
            edge.ask("/hasty/slow=0.6")
    assert {edge.ask() for _time in range(10)} == {app.address for app in edge.apps}


@pytest.mark.parametrize("limit", [3, 1])
def test_more_than_a_server_may_have_in_hand_is_refused_at_once(edge: Edge, limit: int) -> None:
    edge.ok(servers=[{"address": app.address, "max_conns": limit} for app in edge.apps])
    answers: Counter[str] = Counter()

    def client() -> None:
        try:
            answers[edge.ask("/slow=1")] += 1
        except AssertionError as error:
            answers["502" if "502 Bad Gateway" in str(error) else str(error)] += 1

    clients = [threading.Thread(target=client) for _number in range(4 * limit)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    assert answers == {edge.apps[0].address: limit, edge.apps[1].address: limit, "502": 2 * limit}
    assert edge.ask() in {app.address for app in edge.apps}


def test_the_last_resort_of_a_server_that_is_drained_is_drained(edge: Edge) -> None:
    edge.ok()
    first = edge.apps[0].address
    for more in ({}, {"servers": None}):
        edge.ok(drained=[first], **more)
        assert first not in {edge.ask() for _time in range(10)}
        lines = [line for line in edge.file.read_text().splitlines() if f"server {first} " in line]
        assert len(lines) == 2
        assert all(line.endswith(" down;") for line in lines)
        edge.ok(**more)
    assert "down" not in edge.file.read_text()
