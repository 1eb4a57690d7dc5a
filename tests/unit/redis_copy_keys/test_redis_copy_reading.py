# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The journal's file, and how replies, values and names are read."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.cluster import address
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.journal import RECORD, Journal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import (
    ABSENT,
    Base,
    Entry,
    Pending,
    portions,
    shown,
    slot_of,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.values import canonical, readings
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.wire import (
    Failed,
    packed,
    read_reply,
)
from hypothesis import given
from hypothesis import strategies as st

A, B = Entry(b"a" * 20, 5), Entry(b"b" * 20)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal")


def fill(path: str) -> None:
    with Journal(path, read_only=False) as journal:
        journal.belongs("old:6379", ["id1", "id2"])
        journal.intend([(b"begun", A), (b"done", A), (b"again", A), (b"going", A)])
        journal.copied([(b"done", A, B), (b"again", A, B), (b"going", A, B)])
        journal.found([(b"same", B, A)])
        journal.intend([(b"again", B), (b"going", ABSENT)])
        journal.gone([b"going"])
        journal.kept([(b"kept", A, B)])


def test_a_journal_tells_the_next_run_what_it_was_told(path: str) -> None:
    fill(path)
    for read_only in (True, False):
        with Journal(path, read_only=read_only) as journal:
            journal.belongs("old:6379", ["id2", "id3"])
            assert journal.get(b"begun") == Base(intent=A)
            assert journal.get(b"done") == Base(A, B, copied=True)
            assert journal.get(b"same") == Base(B, A)
            assert journal.get(b"again") == Base(A, B, copied=True, intent=B)
            assert journal.get(b"going") is None
            assert journal.get(b"kept") == Base(A, B, kept=True)
            assert journal.get(b"never") is None


def test_it_is_closed_to_others_and_names_no_key(path: str) -> None:
    fill(path)
    assert Path(path).stat().st_mode & 0o077 == 0
    assert b"begun" not in Path(path).read_bytes()


@pytest.mark.parametrize("lost", range(1, RECORD.size))
def test_half_a_record_says_nothing_and_is_no_hindrance(path: str, lost: int) -> None:
    fill(path)
    with Journal(path, read_only=False) as journal:
        journal.copied([(b"torn", A, B)])
    whole = Path(path).read_bytes()
    Path(path).write_bytes(whole[:-lost])
    with Journal(path, read_only=True) as journal:
        assert journal.get(b"torn") is None
    with Journal(path, read_only=False) as journal:
        journal.copied([(b"next", A, B)])
    with Journal(path, read_only=True) as journal:
        assert journal.get(b"next") == Base(A, B, copied=True)
        assert journal.get(b"torn") is None


def test_zeros_that_a_lost_computer_leaves_say_nothing(path: str) -> None:
    fill(path)
    with Path(path).open("ab") as file:
        file.write(bytes(RECORD.size * 3))
    with Journal(path, read_only=True) as journal:
        assert journal.get(bytes(16)) is None
        assert len(journal.known) == 5


def test_a_check_run_leaves_no_trace(path: str) -> None:
    with Journal(path, read_only=True) as journal:
        journal.belongs("old:6379", ["id1"])
        journal.found([(b"same", B, A)])
        journal.sync()
    assert not Path(path).exists()
    fill(path)
    before = Path(path).read_bytes()
    with Journal(path, read_only=True) as journal:
        journal.copied([(b"new", A, B)])
    assert Path(path).read_bytes() == before


def test_a_run_that_is_refused_at_once_leaves_no_empty_journal(path: str) -> None:
    def refused() -> None:
        with Journal(path, read_only=False):
            raise Refusal("not this one")

    with pytest.raises(Refusal, match="not this one"):
        refused()
    assert not Path(path).exists()


def test_a_journal_of_another_copy_is_refused(path: str, tmp_path: Path) -> None:
    fill(path)
    with Journal(path, read_only=True) as journal:
        with pytest.raises(Refusal, match="is of a copy from old:6379, not from new:6379: "):
            journal.belongs("new:6379", ["id1"])
        with pytest.raises(Refusal, match="is of a copy into another cluster"):
            journal.belongs("old:6379", ["id9"])
    other = tmp_path / "other"
    other.write_text('{"some": "file"}\n')
    with pytest.raises(Refusal, match="is not a journal"), Journal(str(other), read_only=False):
        pass
    assert other.read_text() == '{"some": "file"}\n'


@pytest.mark.parametrize("read_only", [True, False])
def test_a_journal_that_is_in_use_or_nowhere_is_refused(path: str, tmp_path: Path, read_only: bool) -> None:
    with Journal(path, read_only=False) as journal:
        journal.belongs("old:6379", ["id1"])
        with pytest.raises(Refusal, match="Another run uses"), Journal(path, read_only=read_only):
            pass
    nowhere = str(tmp_path / "none" / "journal")
    with pytest.raises(Refusal, match="no folder for the journal"), Journal(nowhere, read_only=read_only):
        pass
    with pytest.raises(Refusal, match="cannot be opened"), Journal(str(tmp_path), read_only=False):
        pass


# ------------------------------------------------------------------ replies

REPLIES = {
    b"$3\r\nabc\r\n": b"abc",
    b"$0\r\n\r\n": b"",
    b"$4\r\n\r\n\r\n\r\n": b"\r\n\r\n",
    b"$-1\r\n": None,
    b":-2\r\n": -2,
    b"+OK\r\n": b"OK",
    b"-ERR no\r\n": Failed("ERR no"),
    b"*-1\r\n": None,
    b"*2\r\n:1\r\n*1\r\n$1\r\nx\r\n": [1, [b"x"]],
}


@pytest.mark.parametrize(("raw", "reply"), REPLIES.items())
def test_replies(raw: bytes, reply: Any) -> None:
    assert read_reply(io.BytesIO(raw)) == reply


@pytest.mark.parametrize("raw", [b"", b"$3\r\nab", b":1", b"$3\r\n", b"?\r\n", b"*2\r\n:1\r\n"])
def test_half_a_reply_is_a_lost_connection(raw: bytes) -> None:
    with pytest.raises(EOFError):
        read_reply(io.BytesIO(raw))


@given(st.lists(st.lists(st.binary(max_size=2000), min_size=1), max_size=4))
def test_what_is_packed_is_read_back(commands: list[list[bytes]]) -> None:
    file = io.BytesIO(packed(commands))
    assert [read_reply(file) for _command in commands] == commands
    assert file.read() == b""


@pytest.mark.parametrize(
    ("text", "asked", "leads"),
    [("10.0.0.1:6379", "n1:6380", "10.0.0.1:6379"), (":6381", "10.0.0.2:6380", "10.0.0.2:6381")],
)
def test_where_a_redirection_leads(text: str, asked: str, leads: str) -> None:
    assert address(text, asked) == leads


# ------------------------------------------------------------------ names and sizes


@pytest.mark.parametrize(
    ("key", "slot"),
    [
        (b"123456789", 12739),
        (b"", 0),
        (b"foo", 12182),
        (b"{user1000}.following", slot_of(b"user1000")),
        (b"foo{}{bar}", 8363),
        (b"foo{{bar}}zap", slot_of(b"{bar")),
        (b"foo{bar}{zap}", slot_of(b"bar")),
        (b"a}b{c", slot_of(b"a}b{c")),
    ],
)
def test_slots_are_those_of_the_specification(key: bytes, slot: int) -> None:
    assert slot_of(key) == slot


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (b"session:1", "session:1"),
        ("schlüssel".encode(), "schlüssel"),
        (b"\xff\x00\n", "\\xff\\x00\\x0a"),
        (b"k" * 100, "k" * 80 + "..."),
    ],
)
def test_names_are_shown_as_text(key: bytes, text: str) -> None:
    assert shown(key) == text


@given(st.lists(st.integers(0, 50), max_size=40), st.integers(1, 7), st.integers(1, 100))
def test_portions_are_bounded_whole_and_in_order(sizes: list[int], most: int, most_bytes: int) -> None:
    keys = [Pending(b"%d" % number, "string", size) for number, size in enumerate(sizes)]
    parts = list(portions(keys, most, most_bytes))
    assert [pending for part in parts for pending in part] == keys
    for part in parts:
        assert 0 < len(part) <= most
        assert len(part) == 1 or sum(pending.size for pending in part) <= most_bytes


# ------------------------------------------------------------------ values


@pytest.mark.parametrize(
    ("kind", "one", "other", "equal"),
    [
        ("string", [b"a"], [b"a"], True),
        ("string", [b"a"], [b"b"], False),
        ("list", [[b"a", b"b"]], [[b"b", b"a"]], False),
        ("set", [[b"a", b"b"]], [[b"b", b"a"]], True),
        ("set", [[b"a", b"b"]], [[b"b"]], False),
        ("hash", [[b"a", b"1", b"b", b"2"]], [[b"b", b"2", b"a", b"1"]], True),
        ("hash", [[b"a", b"1", b"b", b"2"]], [[b"b", b"1", b"a", b"2"]], False),
        ("zset", [[b"a", b"1", b"b", b"2"]], [[b"a", b"1", b"b", b"3"]], False),
    ],
)
def test_values_are_compared_by_what_they_mean(kind: str, one: Any, other: Any, equal: bool) -> None:
    assert len(readings(kind, b"k")) == len(one)
    assert (canonical(kind, one) == canonical(kind, other)) is equal


def stream(seen: int, pending: int, last: bytes = b"2-0") -> list[Any]:
    row = [[b"1-0", 5, 1]] * pending
    consumer = [b"name", b"c1", b"seen-time", seen, b"pel-count", pending, b"pending", row]
    full_row = [[b"1-0", b"c1", 5, 1]] * pending
    group = [b"name", b"g", b"last-delivered-id", b"1-0", b"pending", full_row, b"consumers", [consumer]]
    entries = [[b"1-0", [b"f", b"v"]]]
    return [entries, [b"length", 1, b"radix-tree-keys", seen, b"last-generated-id", last, b"groups", [group]]]


def test_a_stream_is_its_entries_and_what_its_groups_have_yet_to_confirm() -> None:
    assert canonical("stream", stream(1, 1)) == canonical("stream", stream(2, 1))
    assert canonical("stream", stream(1, 1)) != canonical("stream", stream(1, 0))
    assert canonical("stream", stream(1, 1)) != canonical("stream", stream(1, 1, b"3-0"))


def test_what_only_a_module_can_read_is_not_read() -> None:
    assert readings("vectorset", b"k") == ()
