# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes are restarted, in which order: a row a case, and what holds for every case."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._app.model import Desired, Process, State
from ansible_collections.payaid.scaling.plugins.module_utils._app.plan import (
    EnableProcess,
    PointLink,
    ReloadUnits,
    RestartProcess,
    plan,
)
from ansible_collections.payaid.scaling.plugins.module_utils._plan import simulate
from hypothesis import given
from hypothesis import strategies as st

NEW = Desired("2.0", "/opt/app/releases/2.0", (3000, 3001))
ABSENT = "it does not run"
STALE = "its configuration is younger than it is"


def process(port: int, **changes: object) -> Process:
    return replace(Process(port, active=True, enabled=True, started_at=200.0, release="2.0"), **changes)  # type: ignore[arg-type]  # rows name fields


SERVING = State(NEW.release_dir, 100.0, units_stale=False, processes=(process(3000), process(3001)))
BEFORE = replace(
    SERVING,
    link_target="/opt/app/releases/1.0",
    processes=(process(3000, release="1.0"), process(3001, release="1.0")),
)
NOTHING = State(
    "",
    0.0,
    units_stale=False,
    processes=tuple(Process(p, active=False, enabled=False, started_at=0.0, release="") for p in NEW.ports),
)


def restart(port: int, reason: str) -> RestartProcess:
    return RestartProcess(port, "2.0", reason)


TABLE: dict[str, tuple[State, list[object]]] = {
    "all is as asked": (SERVING, []),
    "the first release": (
        NOTHING,
        [
            PointLink(NEW.release_dir),
            EnableProcess(3000),
            restart(3000, ABSENT),
            EnableProcess(3001),
            restart(3001, ABSENT),
        ],
    ),
    "another release": (
        BEFORE,
        [PointLink(NEW.release_dir), restart(3000, "it serves 1.0"), restart(3001, "it serves 1.0")],
    ),
    "killed after the link": (
        replace(BEFORE, link_target=NEW.release_dir, configured_at=300.0),
        [restart(3000, "it serves 1.0"), restart(3001, "it serves 1.0")],
    ),
    "killed after the first process": (
        SERVING.with_process(process(3001, release="1.0")),
        [restart(3001, "it serves 1.0")],
    ),
    "the same release from another folder": (
        replace(SERVING, link_target="/srv/app/releases/2.0"),
        [PointLink(NEW.release_dir), restart(3000, STALE), restart(3001, STALE)],
    ),
    "a configuration that is younger": (
        replace(SERVING, configured_at=250.0),
        [restart(3000, STALE), restart(3001, STALE)],
    ),
    "a configuration that is younger than one": (
        SERVING.with_process(process(3000, started_at=50.0)),
        [restart(3000, STALE)],
    ),
    "a configuration of the same moment": (replace(SERVING, configured_at=200.0), []),
    "a unit that systemd has not read": (replace(SERVING, units_stale=True), [ReloadUnits()]),
    "a unit and its processes": (
        replace(SERVING, units_stale=True, configured_at=250.0),
        [ReloadUnits(), restart(3000, STALE), restart(3001, STALE)],
    ),
    "one that does not run": (
        SERVING.with_process(process(3001, active=False, started_at=0.0, release="")),
        [restart(3001, ABSENT)],
    ),
    "one that does not answer": (
        SERVING.with_process(process(3000, release="")),
        [restart(3000, "it serves no release it can name")],
    ),
    "one that would be gone after a boot": (
        SERVING.with_process(process(3001, enabled=False)),
        [EnableProcess(3001)],
    ),
}


@pytest.mark.parametrize(("state", "steps"), TABLE.values(), ids=TABLE)
def test_steps(state: State, steps: list[object]) -> None:
    assert list(plan(state, NEW)) == steps


def test_processes_are_restarted_in_the_order_of_the_ports() -> None:
    steps = plan(BEFORE, replace(NEW, ports=(3001, 3000)))
    assert [step.port for step in steps if isinstance(step, RestartProcess)] == [3001, 3000]


def test_every_step_is_a_sentence() -> None:
    steps = plan(replace(NOTHING, units_stale=True), NEW)
    assert [step.describe() for step in steps] == [
        "Point current at /opt/app/releases/2.0.",
        "Let systemd read the changed units.",
        "Start the process on port 3000 at boot.",
        "Restart the process on port 3000 and wait until it serves 2.0: it does not run.",
        "Start the process on port 3001 at boot.",
        "Restart the process on port 3001 and wait until it serves 2.0: it does not run.",
    ]


def test_a_diff_shows_no_clock_times() -> None:
    assert SERVING.summary() == replace(SERVING, configured_at=1.0).summary()
    assert SERVING.summary() == {
        "current": "/opt/app/releases/2.0",
        "processes": [
            {"port": 3000, "active": True, "enabled": True, "release": "2.0"},
            {"port": 3001, "active": True, "enabled": True, "release": "2.0"},
        ],
    }


def processes(port: int) -> st.SearchStrategy[Process]:
    running = st.builds(
        Process,
        st.just(port),
        active=st.just(True),  # a strategy
        enabled=st.booleans(),
        started_at=st.floats(1, 1e9),
        release=st.sampled_from(["1.0", "2.0", ""]),
    )
    resting = st.booleans().map(lambda e: Process(port, active=False, enabled=e, started_at=0.0, release=""))
    return running | resting


@st.composite
def cases(draw: st.DrawFn) -> tuple[State, Desired]:
    ports = draw(st.lists(st.integers(3000, 3008), min_size=1, max_size=5, unique=True))
    state = State(
        link_target=draw(st.sampled_from(["", "/opt/app/releases/1.0", NEW.release_dir])),
        configured_at=draw(st.floats(0, 1e9)),
        units_stale=draw(st.booleans()),
        processes=tuple(draw(processes(port)) for port in ports),
    )
    return state, replace(NEW, ports=tuple(ports))


@given(cases())
def test_a_plan_that_was_cut_short_is_completed_by_the_next(case: tuple[State, Desired]) -> None:
    state, desired = case
    steps = plan(state, desired)
    for done in range(len(steps) + 1):
        assert plan(simulate(state, steps[:done]), desired) == steps[done:]


@given(cases())
def test_afterwards_every_process_serves_what_was_asked(case: tuple[State, Desired]) -> None:
    state, desired = case
    reached = simulate(state, plan(state, desired))
    assert reached.link_target == desired.release_dir
    assert not reached.units_stale
    for one in reached.processes:
        assert one.active
        assert one.enabled
        assert one.release == desired.release
        assert one.started_at >= reached.configured_at


@given(cases())
def test_a_step_touches_at_most_one_process(case: tuple[State, Desired]) -> None:
    state, desired = case
    finished: set[int] = set()
    restarted: list[int] = []
    for step in plan(state, desired):
        following = step.simulate(state)
        touched = [
            new.port for old, new in zip(state.processes, following.processes, strict=True) if old != new
        ]
        assert len(touched) <= 1
        # One is finished before the next is touched.
        assert not finished.intersection(touched)
        if isinstance(step, RestartProcess):
            assert touched in ([], [step.port])
            finished.add(step.port)
            restarted.append(step.port)
        state = following
    assert len(restarted) == len(set(restarted))


@given(cases())
def test_what_serves_already_is_left_alone(case: tuple[State, Desired]) -> None:
    state, desired = case
    if state.link_target != desired.release_dir:
        return
    restarted = {step.port for step in plan(state, desired) if isinstance(step, RestartProcess)}
    serving = {
        p.port
        for p in state.processes
        if p.active and p.release == desired.release and p.started_at >= state.configured_at
    }
    assert not restarted & serving
