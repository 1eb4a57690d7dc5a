# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who takes writes by what the servers say, and whom a failover may promote."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.payaid.scaling.plugins.filter.postgres import (
    postgres_failover,
    postgres_most_advanced,
    postgres_topology,
)
from hypothesis import given
from hypothesis import strategies as st

Info = dict[str, Any]
ROLES = ("primary", "standby", "stopped_primary", "stopped_standby", "starting", "absent", "broken")


def info(role: str, timeline: int = 1, lsn: str = "0/3000000") -> Info:
    return {"role": role, "timeline": timeline, "lsn": lsn} if role != "absent" else {"role": "absent"}


ABSENT, PRIMARY, STANDBY = info("absent"), info("primary"), info("standby")
STOPPED = info("stopped_primary")


@pytest.mark.parametrize(
    ("infos", "writer"),
    [
        ((ABSENT, ABSENT, ABSENT), "pg1"),
        ((PRIMARY, STANDBY, ABSENT), "pg1"),
        ((STANDBY, info("primary", 2), STANDBY), "pg2"),
        ((STOPPED, info("primary", 2), STANDBY), "pg2"),
        ((PRIMARY, info("primary", 2), STANDBY), "pg2"),
        ((STOPPED, STANDBY, STANDBY), "pg1"),
        ((STANDBY, STOPPED, ABSENT), "pg2"),
        ((STOPPED, ABSENT, ABSENT), "pg1"),
        ((info("broken"), info("primary", 2), STANDBY), "pg2"),
    ],
)
def test_the_writer_is_who_says_so(infos: tuple[Info, Info, Info], writer: str) -> None:
    told = postgres_topology(dict(zip(("pg1", "pg2", "pg3"), infos, strict=True)), "pg1")
    assert (told["writer"], told["problem"]) == (writer, "")
    assert sorted([writer, *told["followers"]]) == ["pg1", "pg2", "pg3"]


@pytest.mark.parametrize(
    ("infos", "wanted"),
    [
        ((PRIMARY, PRIMARY, STANDBY), "pg1 and pg2 take writes on one timeline (split brain)"),
        (
            (PRIMARY, info("standby", 2), STANDBY),
            "pg1 takes writes, but another server is on a later timeline",
        ),
        ((STANDBY, STANDBY, STANDBY), "No database server takes writes (pg1 is standby"),
        ((STOPPED, info("standby", 2), STANDBY), "No database server takes writes"),
        ((STOPPED, STOPPED, STANDBY), "No database server takes writes"),
        ((info("starting"), STANDBY, STANDBY), "pg1 is starting"),
    ],
)
def test_nobody_is_guessed_to_be_the_writer(infos: tuple[Info, Info, Info], wanted: str) -> None:
    told = postgres_topology(dict(zip(("pg1", "pg2", "pg3"), infos, strict=True)), "pg1")
    assert told["writer"] == ""
    assert wanted in told["problem"]


def test_most_of_the_wal_is_first_a_matter_of_timelines() -> None:
    infos = {
        "pg1": info("standby", 1, "1/0"),
        "pg2": info("standby", 2, "0/FFFFFFF0"),
        "pg3": info("standby", 2, "1/10"),
        "pg4": info("stopped_standby", 3, "2/0"),
    }
    assert postgres_most_advanced(infos, list(infos)) == "pg3"
    assert postgres_most_advanced(infos, ["pg1", "pg2"]) == "pg2"
    assert postgres_most_advanced(infos, ["pg4"]) == ""


def test_of_those_that_have_the_same_the_one_that_has_replayed_it_is_chosen() -> None:
    late = {**STANDBY, "replayed_lsn": "0/1000000"}
    ready = {**STANDBY, "replayed_lsn": "0/3000000"}
    assert postgres_most_advanced({"pg1": late, "pg2": ready}, ["pg1", "pg2"]) == "pg2"
    # But never at the price of WAL.
    more = {**late, "lsn": "0/3000001"}
    assert postgres_most_advanced({"pg1": more, "pg2": ready}, ["pg1", "pg2"]) == "pg1"
    assert failover((late, ready), chosen="pg1")["problem"] == ""


def failover(infos: tuple[Info, ...], **given_: Any) -> dict[str, Any]:
    options: dict[str, Any] = {"silent": [], "fenced": [], "given_up": "", "chosen": "", **given_}
    return postgres_failover({f"pg{n}": i for n, i in enumerate(infos, start=1)}, **options)


def test_a_primary_that_is_off_is_replaced_by_who_has_most() -> None:
    told = failover(({}, STANDBY, info("standby", 1, "0/4000000")), silent=["pg1"], fenced=["pg1"])
    assert told == {"fence": [], "writer": "pg3", "followers": ["pg2"], "problem": ""}


def test_a_primary_whose_server_is_down_is_fenced() -> None:
    assert failover((STOPPED, STANDBY, STANDBY)) == {
        "fence": ["pg1"],
        "writer": "pg2",
        "followers": ["pg3"],
        "problem": "",
    }


def test_a_primary_that_answers_can_be_given_up() -> None:
    told = failover((PRIMARY, STANDBY, STANDBY), given_up="pg1")
    assert (told["fence"], told["writer"]) == (["pg1"], "pg2")


@pytest.mark.parametrize(
    ("infos", "options", "wanted"),
    [
        (({}, STANDBY), {"silent": ["pg1"]}, "say so with failover_fenced=pg1"),
        ((PRIMARY, STANDBY), {"fenced": ["pg1"]}, "failover_fenced names pg1, which answers"),
        ((PRIMARY, STANDBY), {}, "pg1 is primary: while it works, switchover.yml is the way"),
        ((info("starting"), STANDBY), {}, "pg1 is starting"),
        ((STOPPED, STANDBY), {"chosen": "pg9"}, "pg9 is no database server of this inventory"),
        ((STOPPED, STANDBY), {"chosen": "pg1"}, "pg1 is no standby that runs"),
        ((STOPPED, info("stopped_standby")), {}, "No standby runs"),
        (
            (STOPPED, STANDBY, info("standby", 1, "0/4000000")),
            {"chosen": "pg2"},
            "pg3 has WAL that pg2 has not: promote pg3",
        ),
    ],
)
def test_a_failover_is_refused(infos: tuple[Info, ...], options: dict[str, Any], wanted: str) -> None:
    told = failover(infos, **options)
    assert wanted in told["problem"]
    assert (told["fence"], told["writer"]) == ([], "")


GIVE_UP = "or give that promise up by postgres_server_synchronous_standbys=0."


@pytest.mark.parametrize(
    ("infos", "synchronous", "wanted"),
    [
        (({}, STANDBY), 1, "is pg2: commits would wait"),
        (
            ({}, STANDBY, {}),
            1,
            "commits would wait for replicas that are not there, and what a replica that is",
        ),
        (({}, STANDBY, info("stopped_standby")), 1, "is pg2: commits would wait"),
        (
            ({}, STANDBY, STANDBY, {}),
            1,
            "is pg2 and pg3: what a replica that is missing has confirmed could",
        ),
        (({}, STANDBY, STANDBY, {}, {}), 2, "is pg2 and pg3: commits would wait"),
    ],
)
def test_a_failover_that_breaks_a_promise_is_refused(
    infos: tuple[Info, ...], synchronous: int, wanted: str
) -> None:
    silent = [f"pg{n}" for n, found in enumerate(infos, start=1) if not found]
    told = failover(infos, silent=silent, fenced=silent, synchronous=synchronous)
    assert wanted in told["problem"]
    assert told["problem"].endswith(GIVE_UP)
    assert failover(infos, silent=silent, fenced=silent)["writer"] == "pg2"


@pytest.mark.parametrize(
    ("infos", "synchronous"),
    [
        (({}, STANDBY, STANDBY), 1),
        (({}, STANDBY, STANDBY, STANDBY), 2),
        (({}, STANDBY, STANDBY, STANDBY, {}), 2),
    ],
)
def test_a_failover_keeps_the_promise_that_commits_wait(infos: tuple[Info, ...], synchronous: int) -> None:
    silent = [f"pg{n}" for n, found in enumerate(infos, start=1) if not found]
    assert failover(infos, silent=silent, fenced=silent, synchronous=synchronous)["problem"] == ""


infos_ = st.builds(info, st.sampled_from(ROLES), st.integers(1, 3), st.sampled_from(("0/1", "0/2", "1/0")))


@given(st.lists(infos_, min_size=1, max_size=4), st.data())
def test_a_failover_never_leaves_a_server_that_may_take_writes(
    infos: list[Info], data: st.DataObject
) -> None:
    hosts = [f"pg{n}" for n in range(1, len(infos) + 1)]
    silent = data.draw(st.lists(st.sampled_from(hosts), unique=True))
    fenced = data.draw(st.lists(st.sampled_from(hosts), unique=True))
    given_up = data.draw(st.sampled_from(["", *hosts]))
    told = failover(tuple(infos), silent=silent, fenced=fenced, given_up=given_up)
    if told["problem"]:
        return
    dangerous = {
        host
        for host, found in zip(hosts, infos, strict=True)
        if host in silent or found["role"] in ("primary", "starting", "stopped_primary")
    }
    assert dangerous <= {*told["fence"], *fenced}
    assert told["writer"] not in dangerous | {given_up}
