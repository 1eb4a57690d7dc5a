# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The log of a real nginx that writes it as the role has it written."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from ..modules import ROOT
from ..postgres_replica.conftest import free_port
from ..redis_cluster.conftest import wait_for
from .running import run

TARGETS = {"error_rate": 5, "api_response_time_p95": 200, "availability": 95}
CONFIG = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    log_format {format};
    access_log {folder}/access.log json;
    client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
    uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
    server {{
        listen 127.0.0.1:{port};
        location /api/ok {{ return 200 "\\"quoted\\""; }}
        location /api/limited {{ return 429; }}
        location /api/broken {{ proxy_pass http://127.0.0.1:9; }}
        location / {{ return 500; }}
    }}
}}
"""


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    template = (ROOT / "roles/nginx/templates/nginx.conf.j2").read_text()
    (written,) = re.findall(r"log_format (json escape=json .*?);", template, re.DOTALL)
    port = free_port()
    config = tmp_path / "nginx.conf"
    config.write_text(CONFIG.format(folder=tmp_path, port=port, format=written))
    binary = shutil.which("nginx") or "/usr/sbin/nginx"
    process = subprocess.Popen([binary, "-c", str(config), "-g", "daemon off;"])  # noqa: S603  # our own words
    try:
        wait_for((tmp_path / "nginx.pid").exists, "nginx to start")
        yield f"http://127.0.0.1:{port}", tmp_path / "access.log"
    finally:
        process.terminate()
        process.wait()


def ask(url: str, count: int) -> None:
    for _number in range(count):
        try:
            urlopen(url, timeout=10).close()  # noqa: S310  # our own server
        except HTTPError as error:
            error.close()


def test_what_nginx_wrote(nginx: tuple[str, Path]) -> None:
    url, log = nginx
    log_of = {"paths": [str(log)], "minutes": 5}
    nothing = run(TARGETS, nginx_log=log_of)
    assert f"{log}: no request for /api/ was answered in the last 5 minutes" in nothing["msg"]

    ask(f'{url}/api/ok?a="b"', 48)
    ask(f"{url}/api/limited", 30)
    ask(f"{url}/elsewhere", 10)
    ask(f"{url}/api/broken", 2)
    told = run(TARGETS, nginx_log=log_of)
    assert not told.get("failed"), told
    values = {one["name"]: one["value"] for one in told["results"]}
    assert (values["error_rate"], values["availability"]) == (4, 96)
    assert 0 <= values["api_response_time_p95"] < 200
    codes = {"200": 48, "429": 30, "502": 2}
    assert told["results"][1]["evidence"]["codes"] == codes

    everything = run({"error_rate": 5}, nginx_log=log_of | {"path_prefix": ""})
    assert "error_rate is 20 % (target < 5 %, by nginx (" in everything["msg"]


def test_what_is_older_is_left_alone(nginx: tuple[str, Path]) -> None:
    url, log = nginx
    ask(f"{url}/api/broken", 1)
    # nginx writes after the answer has gone out.
    wait_for(lambda: bool(log.read_text()), "nginx to write")
    # As if that had been an hour ago.
    raw = log.read_text()
    at = datetime.fromisoformat(json.loads(raw)["time"])
    log.write_text(raw.replace(at.isoformat(), (at - timedelta(hours=1)).isoformat()))
    ask(f"{url}/api/ok", 1)
    told = run({"error_rate": 5}, nginx_log={"paths": [str(log)], "minutes": 50})
    assert not told.get("failed"), told
    assert told["results"][0]["evidence"]["requests"] == 1
    both = run({"error_rate": 60}, nginx_log={"paths": [str(log)], "minutes": 70})
    assert both["results"][0]["value"] == 50


def test_a_log_of_another_format(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text('127.0.0.1 - - [21/Aug/2026:09:43:41 +0000] "GET / HTTP/1.1" 200 5 "-" "curl"\n')
    told = run({"error_rate": 5}, nginx_log={"paths": [str(log)]})
    assert f"{log}: a line is no JSON object, so it is not of the role nginx" in told["msg"]
