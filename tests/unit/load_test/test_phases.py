# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How load generators share users."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.filter.load_test import load_test_phases
from hypothesis import given
from hypothesis import strategies as st

RATES = st.integers(0, 300)
PLANS = st.lists(
    st.fixed_dictionaries({"seconds": st.integers(1, 900), "rate": RATES}, optional={"to": RATES}), min_size=1
)


def test_one_does_all_of_it() -> None:
    assert load_test_phases(
        [{"name": "Warm up", "seconds": 60, "rate": 100}, {"seconds": 300, "rate": 200}]
    ) == [
        {"name": "Warm up", "duration": 60, "arrivalRate": 100},
        {"name": "Phase 2", "duration": 300, "arrivalRate": 200},
    ]


def test_what_does_not_come_out_even_is_the_first_ones() -> None:
    plan = [{"seconds": 10, "rate": 5}, {"seconds": 20, "rate": 0, "to": 2}, {"seconds": 5, "rate": 0}]
    assert [load_test_phases(plan, 3, place) for place in range(3)] == [
        [
            {"name": "Phase 1", "duration": 10, "arrivalRate": 2},
            {"name": "Phase 2", "duration": 20, "arrivalRate": 0, "rampTo": 1},
            {"name": "Phase 3", "pause": 5},
        ],
        [
            {"name": "Phase 1", "duration": 10, "arrivalRate": 2},
            {"name": "Phase 2", "duration": 20, "arrivalRate": 0, "rampTo": 1},
            {"name": "Phase 3", "pause": 5},
        ],
        [
            {"name": "Phase 1", "duration": 10, "arrivalRate": 1},
            {"name": "Phase 2", "pause": 20},
            {"name": "Phase 3", "pause": 5},
        ],
    ]


@given(PLANS, st.integers(1, 40))
def test_together_they_are_all_who_were_planned(plan: list[dict[str, Any]], share: int) -> None:
    shares = [load_test_phases(plan, share, place) for place in range(share)]
    for planned, *own in zip(plan, *shares, strict=True):
        assert {one.get("duration", one.get("pause")) for one in own} == {planned["seconds"]}
        begins = [one.get("arrivalRate", 0) for one in own]
        ends = [one.get("rampTo", one.get("arrivalRate", 0)) for one in own]
        assert sum(begins) == planned["rate"]
        assert sum(ends) == planned.get("to", planned["rate"])
        assert max(begins) - min(begins) <= 1
        assert all(isinstance(rate, int) for rate in begins + ends)


def test_a_place_that_there_is_not() -> None:
    with pytest.raises(AnsibleFilterError, match="place 2 is none of 2 load generators"):
        load_test_phases([{"seconds": 1, "rate": 1}], 2, 2)
