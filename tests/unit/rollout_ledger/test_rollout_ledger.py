# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ledger, on real files: it is only added to, survives the loss of a machine, and shows changes."""

from __future__ import annotations

import json
import random
from functools import reduce
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.filter.ledger import ledger_added, ledger_merged
from ansible_collections.payaid.scaling.plugins.module_utils._ledger.io import LedgerFile
from ansible_collections.payaid.scaling.plugins.module_utils._ledger.model import line, whole
from ansible_collections.payaid.scaling.plugins.module_utils._ledger.plan import State, plan
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, converge
from hypothesis import given
from hypothesis import strategies as st

Entries = list[dict[str, Any]]
TOLD = st.fixed_dictionaries(
    {"week": st.integers(0, 5), "outcome": st.sampled_from(["begun", "verified"])},
    optional={
        "reason": st.text(),
        "measured": st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False)),
    },
)


def ledger_of(*told: dict[str, Any]) -> Entries:
    return reduce(ledger_added, told, [])


LEDGERS = st.lists(TOLD, max_size=6).map(lambda told: ledger_of(*told))


def write(path: Path, entries: Entries, *, check_mode: bool = False) -> tuple[bool, State]:
    file = LedgerFile(str(path))
    outcome = converge(file.observe, lambda state: plan(state, entries), file, check_mode=check_mode)
    return outcome.changed, outcome.after


def test_entries_are_numbered_and_name_the_one_before() -> None:
    first, second = ledger_of({"week": 1}, {"week": 2})
    assert (first["number"], first["previous"], first["week"]) == (1, "", 1)
    assert (second["number"], second["previous"], second["week"]) == (2, first["id"], 2)


def test_it_is_written_once_and_added_to(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "ledger.jsonl"
    entries = ledger_of({"week": 1, "reason": "line\nbreak, ü"}, {"week": 2})
    assert write(path, entries[:1], check_mode=True) == (True, State((entries[0],)))
    assert not path.exists()
    assert write(path, entries[:1]) == (True, State((entries[0],)))
    before = path.read_text()
    assert write(path, entries) == (True, State(tuple(entries)))
    assert path.read_text().startswith(before)
    assert write(path, entries) == (False, State(tuple(entries)))
    assert path.stat().st_mode & 0o777 == 0o640


def test_half_a_line_stays_one_by_itself(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    entries = ledger_of({"week": 1}, {"week": 2})
    torn = line(entries[0])[:-9]
    path.write_text(torn)
    assert write(path, entries) == (True, State(tuple(entries), damaged=(1,)))
    assert path.read_text() == torn + "\n" + "".join(map(line, entries))


@pytest.mark.parametrize("change", [{"week": 5}, {"number": 7}, {"previous": "x"}, {"more": 1}, {"id": "x"}])
def test_a_line_that_was_changed_is_reported_and_written_again(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    path = tmp_path / "ledger.jsonl"
    entries = ledger_of({"week": 1}, {"week": 2})
    path.write_text(line({**entries[0], **change}) + line(entries[1]))
    assert LedgerFile(str(path)).observe() == State((entries[1],), damaged=(1,))
    assert write(path, entries)[1] == State((entries[1], entries[0]), damaged=(1,))
    assert ledger_merged([LedgerFile(str(path)).observe().entries]) == entries


@pytest.mark.parametrize("text", ["[]", "1", "null", '{"number": "1"}', "no JSON", "\x00\xff"])
def test_what_is_no_entry_is_reported(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_text(text + "\n\n")
    assert LedgerFile(str(path)).observe() == State((), damaged=(1,))


def test_what_is_no_entry_is_not_written(tmp_path: Path) -> None:
    (entry,) = ledger_of({"week": 1})
    for strange in ({"week": 1}, {**entry, "week": 2}):
        with pytest.raises(Refusal, match="is not as it was written: give entries as the filter"):
            write(tmp_path / "ledger.jsonl", [strange])
        with pytest.raises(AnsibleFilterError, match="is not as it was written: give what the module"):
            ledger_merged([[strange]])
    assert not (tmp_path / "ledger.jsonl").exists()


def test_two_who_did_not_know_of_each_other_are_both_kept() -> None:
    common = ledger_of({"week": 1})
    one = ledger_added(common, {"week": 2, "time": "2026-01-02"})
    other = ledger_added(common, {"week": 2, "time": "2026-01-01"})
    both = ledger_merged([one, other])
    assert [entry["number"] for entry in both] == [1, 2, 2]
    assert [entry.get("time") for entry in both] == [None, "2026-01-01", "2026-01-02"]
    assert ledger_added(both, {"week": 3})[-1]["number"] == 3


@given(LEDGERS, st.randoms(use_true_random=False))
def test_any_machine_may_be_lost(entries: Entries, chance: random.Random) -> None:
    """Each entry is on all machines but one that was away, and one is lost for good."""
    machines: list[Entries] = [[], [], [], []]
    for entry in entries:
        away = chance.randrange(len(machines))
        for number, known in enumerate(machines):
            if number != away:
                known.append(entry)
    del machines[chance.randrange(len(machines))]
    assert ledger_merged(machines) == entries


@given(LEDGERS, st.lists(st.booleans(), min_size=6, max_size=6), st.integers(0, 40))
def test_whatever_a_machine_has_it_gets_the_rest(
    tmp_path_factory: pytest.TempPathFactory, entries: Entries, has: list[bool], lost: int
) -> None:
    path = tmp_path_factory.mktemp("ledger") / "ledger.jsonl"
    before = "".join(line(entry) for entry, there in zip(entries, has, strict=False) if there)
    before = before[: len(before) - lost] if lost < len(before) else before
    path.write_text(before)
    write(path, entries)
    after = path.read_text()
    assert after.startswith(before)
    assert ledger_merged([LedgerFile(str(path)).observe().entries]) == entries
    assert write(path, entries)[0] is False


@given(TOLD)
def test_an_entry_comes_through_json_whole(told: dict[str, Any]) -> None:
    (entry,) = ledger_of(told)
    assert whole(json.loads(json.dumps(entry)))
