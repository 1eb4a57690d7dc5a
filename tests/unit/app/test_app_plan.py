# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which processes are restarted, in which order: a row a case, and what holds for every case."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._app.model import (
    Desired,
    Process,
    State,
    Template,
)
from ansible_collections.payaid.scaling.plugins.module_utils._app.plan import (
    EnableProcess,
    PointLink,
    ReloadUnits,
    RestartProcess,
    StopProcess,
    plan,
)
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, simulate
from hypothesis import given
from hypothesis import strategies as st

WEB = Template("app@.service", (3000, 3001), ("/",))
WORKER = Template("app-worker@.service", ())
NEW = Desired("2.0", "/opt/app/releases/2.0", (WEB, WORKER))
IDLE = replace(NEW, templates=(replace(WEB, ports=()), WORKER))
ABSENT = "it does not run"
STALE = "its configuration is younger than it is"


def process(port: int, **changes: object) -> Process:
    found = Process(f"app@{port}.service", port, "active", enabled=True, started_at=200.0, release="2.0")
    return replace(found, **changes)  # type: ignore[arg-type]  # rows name fields


def worker(port: int, **changes: object) -> Process:
    return process(port, unit=f"app-worker@{port}.service", **changes)


def resting(port: int, **changes: object) -> Process:
    return replace(Process(f"app@{port}.service", port), **changes)  # type: ignore[arg-type]  # likewise


SERVING = State("app1", NEW.release_dir, 100.0, units_stale=False, processes=(process(3000), process(3001)))
BEFORE = replace(
    SERVING,
    link_target="/opt/app/releases/1.0",
    processes=(process(3000, release="1.0"), process(3001, release="1.0")),
)
NOTHING = State("app1", "", 0.0, units_stale=False, processes=(resting(3000), resting(3001)))
STOPPED = replace(SERVING, processes=(resting(3000), resting(3001)))


def restart(port: int, reason: str) -> RestartProcess:
    wanted = next(one for one in NEW.processes if one.port == port)
    return RestartProcess(wanted, "2.0", reason)


def enable(port: int) -> EnableProcess:
    return EnableProcess(f"app@{port}.service")


def more(state: State, *processes: Process) -> State:
    return replace(state, processes=(*state.processes, *processes))


TABLE: dict[str, tuple[State, list[object]]] = {
    "all is as asked": (SERVING, []),
    "the first release": (
        NOTHING,
        [
            PointLink(NEW.release_dir),
            enable(3000),
            restart(3000, ABSENT),
            enable(3001),
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
        SERVING.with_process(resting(3001, enabled=True)),
        [restart(3001, ABSENT)],
    ),
    "one that does not answer": (
        SERVING.with_process(process(3000, release="")),
        [restart(3000, "it serves no release it can name")],
    ),
    "one that would be gone after a boot": (
        SERVING.with_process(process(3001, enabled=False)),
        [enable(3001)],
    ),
    "one that is not wanted any more": (
        more(SERVING, process(3002)),
        [StopProcess("app@3002.service")],
    ),
    "one that is not wanted and would be there after a boot": (
        more(SERVING, resting(3002, enabled=True)),
        [StopProcess("app@3002.service")],
    ),
    "one that is not wanted and tries to start": (
        more(SERVING, resting(3002, state="activating")),
        [StopProcess("app@3002.service")],
    ),
    "one that was stopped before": (more(SERVING, resting(3002, state="failed")), []),
    "a worker in the place of a process": (
        more(
            SERVING.with_process(resting(3001, enabled=True, port_taken_by="node (process 7)")), worker(3001)
        ),
        [StopProcess("app-worker@3001.service"), restart(3001, ABSENT)],
    ),
}


@pytest.mark.parametrize(("state", "steps"), TABLE.values(), ids=TABLE)
def test_steps(state: State, steps: list[object]) -> None:
    assert list(plan(state, NEW)) == steps


@pytest.mark.parametrize(
    ("state", "steps"),
    [
        (SERVING, [StopProcess("app@3000.service"), StopProcess("app@3001.service")]),
        (BEFORE, [StopProcess("app@3000.service"), StopProcess("app@3001.service")]),
        (STOPPED, []),
        (NOTHING, []),
    ],
)
def test_a_host_on_which_nothing_is_to_run_keeps_what_it_served_last(
    state: State, steps: list[object]
) -> None:
    assert list(plan(state, IDLE)) == steps
    assert simulate(state, plan(state, IDLE)).link_target == state.link_target


def test_a_port_that_somebody_else_has_is_refused() -> None:
    state = SERVING.with_process(resting(3001, port_taken_by="nginx (process 7)"))
    with pytest.raises(Refusal, match=r"^app1: port 3001 is taken by nginx \(process 7\), so app@3001"):
        plan(state, NEW)


def test_processes_are_restarted_in_the_order_of_units_and_ports() -> None:
    desired = replace(NEW, templates=(replace(WEB, ports=(3001, 3000)), replace(WORKER, ports=(3100,))))
    state = more(BEFORE, worker(3100, release="1.0"))
    steps = plan(state, desired)
    assert [step.process.port for step in steps if isinstance(step, RestartProcess)] == [3001, 3000, 3100]


def test_every_step_is_a_sentence() -> None:
    steps = plan(replace(NOTHING, units_stale=True), NEW)
    assert [step.describe() for step in steps] == [
        "Point current at /opt/app/releases/2.0.",
        "Let systemd read the changed units.",
        "Start app@3000.service at boot.",
        "Restart app@3000.service and wait until it serves 2.0: it does not run.",
        "Start app@3001.service at boot.",
        "Restart app@3001.service and wait until it serves 2.0: it does not run.",
    ]


def test_a_diff_shows_no_clock_times() -> None:
    assert SERVING.summary() == replace(SERVING, configured_at=1.0).summary()
    assert SERVING.summary() == {
        "current": "/opt/app/releases/2.0",
        "processes": [
            {"unit": "app@3000.service", "port": 3000, "active": True, "enabled": True, "release": "2.0"},
            {"unit": "app@3001.service", "port": 3001, "active": True, "enabled": True, "release": "2.0"},
        ],
    }


def processes(port: int) -> st.SearchStrategy[Process]:
    running = st.builds(
        process,
        st.just(port),
        enabled=st.booleans(),
        started_at=st.floats(1, 1e9),
        release=st.sampled_from(["1.0", "2.0", ""]),
    )
    at_rest = st.builds(
        resting,
        st.just(port),
        state=st.sampled_from(["inactive", "failed", "activating"]),
        enabled=st.booleans(),
    )
    return running | at_rest


@st.composite
def cases(draw: st.DrawFn) -> tuple[State, Desired]:
    """Draw a host, and which of its processes are wanted there: all, some or none."""
    ports = draw(st.lists(st.integers(3000, 3008), min_size=1, max_size=5, unique=True))
    wanted = draw(st.lists(st.sampled_from(ports), max_size=5, unique=True))
    state = State(
        host="app1",
        link_target=draw(st.sampled_from(["", "/opt/app/releases/1.0", NEW.release_dir])),
        configured_at=draw(st.floats(0, 1e9)),
        units_stale=draw(st.booleans()),
        processes=tuple(draw(processes(port)) for port in ports),
    )
    return state, replace(NEW, templates=(replace(WEB, ports=tuple(wanted)),))


@given(cases())
def test_a_plan_that_was_cut_short_is_completed_by_the_next(case: tuple[State, Desired]) -> None:
    state, desired = case
    steps = plan(state, desired)
    for done in range(len(steps) + 1):
        assert plan(simulate(state, steps[:done]), desired) == steps[done:]


@given(cases())
def test_afterwards_what_was_asked_is_served_and_nothing_else(case: tuple[State, Desired]) -> None:
    state, desired = case
    reached = simulate(state, plan(state, desired))
    wanted = {one.unit for one in desired.processes}
    assert reached.link_target == (desired.release_dir if wanted else state.link_target)
    assert not reached.units_stale
    for one in reached.processes:
        assert one.active == one.enabled == (one.unit in wanted)
        if one.active:
            assert one.release == desired.release
            assert one.started_at >= reached.configured_at
        else:
            assert one.resting


@given(cases())
def test_a_step_touches_at_most_one_process(case: tuple[State, Desired]) -> None:
    state, desired = case
    finished: set[str] = set()
    restarted: list[str] = []
    for step in plan(state, desired):
        following = step.simulate(state)
        touched = [
            new.unit for old, new in zip(state.processes, following.processes, strict=True) if old != new
        ]
        assert len(touched) <= 1
        # One is finished before the next is touched.
        assert not finished.intersection(touched)
        if isinstance(step, RestartProcess):
            assert touched in ([], [step.process.unit])
            finished.add(step.process.unit)
            restarted.append(step.process.unit)
        state = following
    assert len(restarted) == len(set(restarted))


@given(cases())
def test_what_serves_already_is_left_alone(case: tuple[State, Desired]) -> None:
    state, desired = case
    if state.link_target != desired.release_dir:
        return
    restarted = {step.process.unit for step in plan(state, desired) if isinstance(step, RestartProcess)}
    serving = {
        p.unit
        for p in state.processes
        if p.active and p.release == desired.release and p.started_at >= state.configured_at
    }
    assert not restarted & serving
