# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process of its own, with TLS, as the tests of the lab use it."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from ansible_collections.payaid.scaling.tests.traffic.__main__ import main, trust_of
from ansible_collections.payaid.scaling.tests.traffic.account import Account
from ansible_collections.payaid.scaling.tests.traffic.process import Traffic

from .conftest import Server, serving
from .test_traffic_requests import run


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "server.crt", folder / "server.key"
    subprocess.run(  # noqa: S603  # our own words
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-out", str(files[0]), "-keyout", str(files[1])),
        ],
        check=True,
        capture_output=True,
    )
    return files


@pytest.fixture
def secure(certificate: tuple[Path, Path]) -> Iterator[Server]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    with serving(context) as one:
        yield one


def fingerprint(certificate: Path) -> str:
    said = subprocess.run(  # noqa: S603  # our own words
        ["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256"],  # noqa: S607
        check=True,
        capture_output=True,
        text=True,
    )
    return said.stdout.strip().partition("=")[2]


def test_a_fingerprint_is_enough_and_another_is_not(
    secure: Server, folder: Path, certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    right = fingerprint(certificate[0])
    report = run(secure, folder, 0.3, scheme="https", trust=trust_of(None, right), sockets=1).report()
    assert report.failed() == {}
    assert report.figures["message"]["websocket"].ok >= 1
    wrong = ("00" if right[:2] != "00" else "11") + right[2:]
    with pytest.raises(Exception, match="no login"):
        run(secure, tmp_path / "other", 0.3, scheme="https", trust=trust_of(None, wrong))


def test_a_certificate_that_nobody_vouches_for_is_not_taken(secure: Server, folder: Path) -> None:
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        run(secure, folder, 0.3, scheme="https")


def test_a_whole_run(secure: Server, folder: Path, certificate: tuple[Path, Path]) -> None:
    with Traffic(
        f"https://127.0.0.1:{secure.port}", folder, "--mix=create=1,page=1,me=1", ca=certificate[0]
    ) as traffic:
        time.sleep(0.2)
        quiet = traffic.report(0)
        assert quiet.failed() == {}
        fault = traffic.mark("pages fail")
        secure.trouble = lambda request: web.Response(status=503) if request.path == "/" else None
        time.sleep(0.2)
        bad = traffic.report(fault)
        mended = traffic.mark("mended")
        secure.trouble = lambda _request: None
        time.sleep(0.2)
        good = traffic.report(mended + 0.05)
        account = traffic.stop()
    assert set(bad.failed()) == {"page (kept): status 503", "page (new): status 503"}
    assert good.failed() == {}
    assert good.sent > 3
    assert [event["what"] for event in account.all("mark")] == ["pages fail", "mended"]
    # The last line says it all again, for whoever has the file alone.
    summary = json.loads(account.path.read_text().splitlines()[-1])
    assert summary["event"] == "summary"
    assert summary["failed"] == account.report().failed()
    assert summary["sent"] == account.report().sent == len(account.requests)
    assert account.acknowledged == secure.contacts != {}
    assert traffic.verify().good
    # What the server forgot, changed or has twice, is found.
    first, second, *_others = secure.contacts
    del secure.contacts[first]
    secure.contacts[second] = "somebody else"
    assert traffic.verify().missing.keys() == {first, second}

    def twice(_query: str) -> str:
        return "\n".join(
            f"{known}|{name}"
            for known, name in [*account.acknowledged.items(), ("999", account.acknowledged[second])]
        )

    assert traffic.verify(twice).duplicated == {account.acknowledged[second]: (second, "999")}


def test_it_waits_for_what_is_under_way(server: Server, folder: Path) -> None:
    with Traffic(f"http://127.0.0.1:{server.port}", folder, "--mix=slow=1", "--sockets=0") as traffic:
        time.sleep(0.2)
        account = traffic.stop()
    assert account.report().failed() == {}
    slowest = max(each.ended for each in account.requests)
    assert slowest - max(each.sent for each in account.requests) == pytest.approx(0.3, abs=0.15)
    assert account.complete >= slowest


def test_a_test_that_fails_leaves_no_process(server: Server, folder: Path) -> None:
    traffic = Traffic(f"http://127.0.0.1:{server.port}", folder, "--sockets=0", "--mix=page=1")
    with pytest.raises(ZeroDivisionError), traffic:
        raise ZeroDivisionError
    assert traffic._process is not None
    assert traffic._process.poll() == 0


def test_without_a_login_it_does_not_begin(server: Server, folder: Path) -> None:
    server.trouble = lambda _request: web.Response(status=401, text="who?")
    traffic = Traffic(f"http://127.0.0.1:{server.port}", folder)
    with pytest.raises(RuntimeError, match=r"no login at .*: 401 who\?"), traffic:
        pass


def test_the_command_line(
    server: Server, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.mkdir()
    words = ["--target", f"http://127.0.0.1:{server.port}/", "--account", str(folder / "a")]
    assert main([*words, "--rate=50", "--duration=0.3", "--sockets=0", "--mix=create=1"]) == 0
    account = Account.of(folder / "a")
    assert len(account.acknowledged) == len(account.requests) > 10
    # A psql that prints what the query would.
    table = "\n".join(f"{known}|{name}" for known, name in account.acknowledged.items())
    monkeypatch.setitem(os.environ, "TABLE", table)
    psql = f"{sys.executable} -c 'import os; print(os.environ[\"TABLE\"])'"
    assert main(["verify", *words, f"--psql={psql}"]) == 0
    said: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert said["acknowledged"] == len(account.acknowledged)
    server.contacts.clear()
    assert main(["verify", *words]) == 1
