# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge and the app are changed and broken while clients ask all the time. Each test leaves everything
mended.
"""

from __future__ import annotations

import ssl
import threading
import time
from typing import TYPE_CHECKING

import pytest
from ansible_collections.payaid.scaling.tests.traffic.mix import READS

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.tests.traffic.account import Report, Request

    from .conftest import Edge, Trial

testinfra_hosts = ["localhost"]
ROLLBACK, SCALE, EDGE = "playbooks/rollback_release.yml", "playbooks/scale_app.yml", "playbooks/edge.yml"
FIRST, SECOND = "faults-1", "faults-2"  # the same build under two names
PATIENCE = 10  # s, nginx_proxy_read_timeout of this scenario
TAKEOVER = 4  # s that the virtual IP may take to move


def unnoticed(report: Report) -> None:
    """No request failed, and every WebSocket that ended was closed in good order."""
    assert report.failures == ()
    assert report.broken == 0
    assert report.sent > 300


def requests(report: Report) -> list[Request]:
    """Return the failures that are no WebSocket's."""
    return [each for each in report.failures if each.over != "websocket"]


def no_read_failed(report: Report) -> None:
    assert [each for each in requests(report) if each.kind in READS] == []


def sent_by(trial: Trial, seconds: float) -> None:
    """Whatever failed was sent until then, counted from when the break was complete."""
    late = [each for each in trial.report.failures if each.sent > trial.struck + seconds]
    assert late == []


# ---------------------------------------------------------------- planned


def test_deployed_ten_times(edge: Edge) -> None:
    with edge.trial("ten releases on two nodes, one after the other", planned=True) as trial:
        for _time in range(5):
            for name in (FIRST, SECOND):
                edge.release(name)
                assert edge.serve("app1", "app2") == {name}
    unnoticed(trial.report)
    assert {FIRST, SECOND} <= set(trial.report.releases)
    # Each process that was restarted sent its WebSockets elsewhere.
    assert trial.report.reconnects >= 10


def test_rolled_back_five_times(edge: Edge) -> None:
    edge.release(FIRST)
    edge.release(SECOND)
    with edge.trial("five times back to the other release", planned=True) as trial:
        for name in (FIRST, SECOND, FIRST, SECOND, FIRST):
            edge.release(name, ROLLBACK, rollback_to=name)
            assert edge.serve("app1", "app2") == {name}
    unnoticed(trial.report)
    assert set(trial.report.releases) == {FIRST, SECOND}


def test_scaled_out_and_in(edge: Edge) -> None:
    (serving,) = edge.serve("app1", "app2")
    with edge.trial("from two app nodes to five, and back", planned=True) as trial:
        edge.release(serving, SCALE, app_nodes_active=5)
        # A process that was just started has more in hand than others for a while, and so gets less.
        edge.soon(lambda: edge.nodes() == {"app1", "app2", "app3", "app4", "app5"}, 60)
        edge.release(serving, SCALE, app_nodes_active=2)
        assert edge.nodes() == {"app1", "app2"}
    unnoticed(trial.report)


@pytest.mark.parametrize(
    ("broken", "how"),
    [("crash", "ends at once"), ("sick", "says that it is not healthy"), ("hang", "never answers")],
)
def test_a_broken_release(edge: Edge, broken: str, how: str) -> None:
    (serving,) = edge.serve("app1", "app2")
    with edge.trial(f"a release that {how}, and is taken back", planned=True) as trial:
        said = edge.release(broken, fails=True, app_node_start_timeout=10)
        assert f"All nodes serve {serving} again." in said
    unnoticed(trial.report)
    assert trial.report.releases == (serving,)
    assert edge.serve("app1", "app2") == {serving}


def test_twenty_reloads(edge: Edge) -> None:
    storm = "for n in $(seq 20); do systemctl reload nginx || exit 1; done"
    with edge.trial(
        "nginx reloaded twenty times, one right after the other, on both balancers", planned=True
    ) as trial:
        other = threading.Thread(target=edge.run, args=("lb1", storm))
        other.start()
        edge.run("lb2", storm)
        other.join()
    unnoticed(trial.report)


def test_new_certificates(edge: Edge) -> None:
    def shown() -> str:
        return ssl.get_server_certificate((edge.address, 443))

    (serving,) = edge.serve("app1", "app2")
    before = shown()
    with edge.trial("a new key and certificate on both balancers", planned=True) as trial:
        for name in ("lb1", "lb2"):
            for ending in ("crt", "key"):
                (edge.authority.parent / f"{name}.{ending}").unlink()
        edge.release(serving, EDGE)
    assert shown() != before
    unnoticed(trial.report)


# ---------------------------------------------------------------- broken


def test_a_process_is_killed(edge: Edge) -> None:
    with edge.trial("one app process killed (SIGKILL)", planned=False) as trial:
        edge.signal("app2", 3000, "SIGKILL")
        trial.strike()
        time.sleep(5)
    no_read_failed(trial.report)
    # What it had in hand, and nothing later.
    sent_by(trial, 0)
    assert trial.report.silence < 1


def test_a_process_that_stands_still(edge: Edge) -> None:
    with edge.trial("one app process stands still for 20 s (SIGSTOP)", planned=False) as trial:
        edge.signal("app2", 3000, "SIGSTOP")
        try:
            trial.strike()
            time.sleep(20)
        finally:
            edge.signal("app2", 3000, "SIGCONT")
        time.sleep(PATIENCE)
    # Reads are given to another process once the balancer has lost its patience; who writes is told so.
    no_read_failed(trial.report)
    sent_by(trial, 2 * PATIENCE)
    assert len(requests(trial.report)) < 20
    assert trial.report.silence < 1


def test_a_node_without_its_database(edge: Edge) -> None:
    """Its processes live and answer 503; nginx has no health checks of its own that could know better."""
    with edge.trial(
        "one node's PgBouncer stopped for 10 s: its processes answer 503", planned=False
    ) as trial:
        edge.run("app2", "systemctl stop pgbouncer")
        try:
            trial.strike()
            time.sleep(10)
        finally:
            edge.run("app2", "systemctl start pgbouncer")
        mended = trial.traffic.mark("mended")
        time.sleep(5)
    assert {each.cause for each in trial.report.failures} <= {"status 503"}
    assert {each.kind for each in trial.report.failures} <= {"contacts", "contact", "create"}
    assert [each for each in trial.report.failures if each.sent > mended + 2] == []
    assert trial.report.silence < 1


def test_a_slow_process(edge: Edge) -> None:
    """It stands still for 450 ms of every 500: whatever it is asked takes half a second more."""
    jerks = (
        "process=$(systemctl show -P MainPID payaid-app@3000.service); for n in $(seq 40); do "
        "kill -STOP $process; sleep 0.45; kill -CONT $process; sleep 0.05; done"
    )
    with edge.trial("one app process slow by half a second for 20 s", planned=False) as trial:
        trial.strike()
        edge.run("app2", jerks)
    assert trial.report.failed() == {}
    # Whoever has more in hand gets less: most never meet it.
    assert all(each.p50 < 0.2 for each in trial.report.figures["contacts"].values())


def test_a_node_is_lost(edge: Edge) -> None:
    with edge.trial("an app node loses its power", planned=False) as trial:
        try:
            edge.power("kill", "app2", "--signal=KILL")
            trial.strike()
            time.sleep(3 * PATIENCE)
        finally:
            edge.power("start", "app2")
        edge.soon(lambda: edge.serve("app2"), 60)
    no_read_failed(trial.report)
    # A machine without power refuses nothing: what is sent to it on a kept connection waits for the
    # balancer's patience.
    sent_by(trial, PATIENCE)
    assert trial.report.recovery < 3 * PATIENCE
    assert trial.report.silence < 1


def test_keepalived_is_killed(edge: Edge) -> None:
    holder = edge.holder()
    with edge.trial("keepalived killed where the virtual IP is (SIGKILL)", planned=False) as trial:
        edge.run(holder, "systemctl kill --signal=KILL keepalived")
        trial.strike()
        time.sleep(10)
        edge.run(holder, "systemctl start keepalived")
        edge.soon(lambda: len(edge.holders()) == 1, 20)
    sent_by(trial, TAKEOVER)
    assert trial.report.silence < TAKEOVER


def test_a_balancer_is_lost(edge: Edge) -> None:
    holder = edge.holder()
    with edge.trial("the balancer with the virtual IP loses its power", planned=False) as trial:
        try:
            edge.power("kill", holder, "--signal=KILL")
            trial.strike()
            time.sleep(15)
        finally:
            edge.power("start", holder)
        edge.soon(edge.well, 60)
    # What it had in hand, and what was sent to it until the other one had the address.
    sent_by(trial, TAKEOVER)
    assert trial.report.silence < TAKEOVER
