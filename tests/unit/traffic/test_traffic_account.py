# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The figures, by hand."""

from __future__ import annotations

import errno
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from ansible_collections.payaid.scaling.tests.traffic.account import Account, Writer, share
from ansible_collections.payaid.scaling.tests.traffic.causes import cause_of
from ansible_collections.payaid.scaling.tests.traffic.mix import KINDS, WEIGHTS, weights_of
from ansible_collections.payaid.scaling.tests.traffic.verify import duplicated, rows


def account_of(folder: Path, *requests: dict[str, Any], complete: float = 100) -> Account:
    folder.mkdir()
    writer = Writer(folder / "account.jsonl")
    writer.add("started", at=0, run="t1")
    for each in requests:
        writer.add("request", **({"kind": "page", "over": "kept", "sent": each["due"]} | each))
    writer.add("complete", until=complete)
    writer.close()
    return Account.of(folder / "account.jsonl")


def test_a_window_holds_what_was_under_way_in_it(folder: Path) -> None:
    account = account_of(
        folder,
        {"due": 1, "ended": 2},
        {"due": 4, "ended": 6, "cause": "reset"},
        {"due": 7, "ended": 8},
        {"due": 11, "ended": 12, "cause": "reset"},
    )
    report = account.report(5, 10)
    assert (report.sent, len(report.failures), report.recovery) == (2, 1, 1)
    assert account.report(6.5, 10).failures == ()
    assert account.report().recovery == 12


@pytest.mark.parametrize(
    ("answers", "seconds"),
    [
        ([(10, 10.1), (11, 11.1), (12, 12.1)], 7.9),  # until the end
        ([(13, 13.1), (19.9, 20)], 6.9),
        ([(9, 15), (18, 18.5)], 8.5),  # sent before the beginning, so it says nothing about what comes after
        ([], 10),
    ],
)
def test_silence(folder: Path, answers: list[tuple[float, float]], seconds: float) -> None:
    account = account_of(folder, *({"due": due, "ended": ended} for due, ended in answers))
    assert account.report(10, 20).silence == pytest.approx(seconds)


def test_failures_and_slow_requests_do_not_break_a_silence(folder: Path) -> None:
    account = account_of(
        folder,
        {"due": 12, "ended": 12.5, "cause": "status 502"},
        {"due": 11, "ended": 16, "kind": "slow"},
        {"due": 13, "ended": 14, "over": "websocket", "kind": "message"},
    )
    assert account.report(10, 20).silence == 10


def test_the_wait_counts_from_when_it_was_due(folder: Path) -> None:
    account = account_of(folder, {"due": 1, "sent": 3, "ended": 3.5})
    report = account.report()
    assert (report.longest, report.late) == (2.5, 2)


def test_shares() -> None:
    hundred = [float(number) for number in range(1, 101)]
    assert [share(hundred, part) for part in (0.5, 0.95, 0.99, 1)] == [50, 95, 99, 100]
    assert share([], 0.5) == 0
    assert share([7.0], 0.5) == share([7.0], 0.99) == 7


def test_a_line_that_is_not_yet_whole_is_left_for_later(folder: Path) -> None:
    account = account_of(folder, {"due": 1, "ended": 2})
    with account.path.open("a") as file:
        file.write('{"event": "mark", "at"')
        file.flush()
        account.refresh()
        assert account.all("mark") == []
        file.write(': 3, "what": "x"}\n')
    account.refresh()
    assert account.all("mark") == [{"event": "mark", "at": 3, "what": "x"}]


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (TimeoutError(), "timeout"),
        (ConnectionRefusedError(errno.ECONNREFUSED, "no"), "refused"),
        (ConnectionResetError(errno.ECONNRESET, "no"), "reset"),
        (aiohttp.ServerDisconnectedError(), "reset"),
        (BrokenPipeError(errno.EPIPE, "no"), "reset"),
        (OSError(errno.EHOSTUNREACH, "no"), "unreachable"),
        (OSError(errno.ETIMEDOUT, "no"), "timeout"),
        (ssl.SSLError("no"), "tls"),
        (aiohttp.ClientPayloadError(), "cut"),
        (ValueError(), "other"),
    ],
)
def test_causes(error: Exception, cause: str) -> None:
    assert cause_of(error) == cause


def test_weights() -> None:
    assert weights_of("page=1, create=2.5") == {"page": 1, "create": 2.5}
    assert WEIGHTS.keys() == KINDS.keys()
    for text in ("page", "pages=1", "page=-1", "page=0", ""):
        with pytest.raises(ValueError, match=r"page|weights|NAME"):
            weights_of(text)


@pytest.mark.parametrize(
    ("there", "wrong"),
    [
        ({"a": ["1"], "b": ["2"]}, {}),
        ({"a": ["1"], "b": ["2"], "not promised": ["3"]}, {}),
        ({"a": ["1"], "b": ["2"], "not promised": ["3", "4"]}, {"not promised": ("3", "4")}),
        ({"a": ["1", "3"], "b": ["2"]}, {"a": ("1", "3")}),
        ({"a": ["1"], "b": ["7"]}, {"b": ("7",)}),
        ({"a": ["1"]}, {"b": ()}),
    ],
)
def test_duplicates(there: dict[str, list[str]], wrong: dict[str, tuple[str, ...]]) -> None:
    assert duplicated({"1": "a", "2": "b"}, there) == wrong


def test_rows_of_psql() -> None:
    asked: list[str] = []

    def psql(query: str) -> str:
        asked.append(query)
        return "1|t1 1\n2|t1 2\n3|t1 2\n"

    assert rows(psql, "t'1") == {"t1 1": ["1"], "t1 2": ["2", "3"]}
    assert "'t''1 '" in asked[0]
