# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is asked of systemd and of the processes: systemd is played, the processes answer on loopback."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread, Timer

import pytest
from ansible_collections.payaid.scaling.plugins.module_utils._app.io import Host
from ansible_collections.payaid.scaling.plugins.module_utils._app.model import (
    Desired,
    Process,
    Template,
    Wanted,
)
from ansible_collections.payaid.scaling.plugins.module_utils._app.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, converge

HEALTHY = (200, b'{"status": "healthy"}')


@dataclass
class App:
    """A process: what it answers, by path. The status 0 stands for an answer that is not HTTP."""

    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    port: int = 0

    def serve(self, release: str) -> None:
        self.answers = {
            "/api/whoami": (200, json.dumps({"release": release}).encode()),
            "/api/health": HEALTHY,
        }


def handler_of(app: App) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = app.answers.get(self.path, (404, b"not here"))
            if status:
                self.send_response(status)
                self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Stay silent."""

    return Handler


@pytest.fixture
def app() -> Iterator[App]:
    app = App()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(app))
    app.port = server.server_port
    app.serve("1.0")
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield app
    server.shutdown()
    thread.join()
    server.server_close()


def port_of(unit: str) -> int:
    return int(unit.removeprefix("app@").removesuffix(".service"))


@dataclass
class Systemd:
    """Plays systemctl and ss: keeps what it was told, and shows units by port, and who listens."""

    units: dict[int, dict[str, str]] = field(default_factory=dict)
    told: list[list[str]] = field(default_factory=list)
    on_restart: Callable[[], None] = lambda: None
    failing: dict[str, str] = field(default_factory=dict)
    listening: str = ""

    def unit(self, port: int, **changes: str) -> None:
        started = f"{(time.monotonic() - 100) * 1e6:.0f}"
        self.units[port] = {
            "Id": f"app@{port}.service",
            "ActiveState": "active",
            "UnitFileState": "enabled",
            "NeedDaemonReload": "no",
            "ExecMainStartTimestampMonotonic": started,
        } | changes

    def __call__(self, argv: Sequence[str]) -> tuple[int, str, str]:
        if argv[0] == "ss":
            return 0, self.listening, ""
        assert argv[0] == "systemctl"
        verb = argv[1]
        if verb in self.failing:
            return 1, "", self.failing[verb]
        if verb == "show":
            # A pattern stands for every unit that systemd has loaded; one that fits none shows nothing.
            ports = [port for unit in argv[3:] for port in (self.units if "*" in unit else [port_of(unit)])]
            blocks = (
                "\n".join(f"{key}={value}" for key, value in self.units[port].items()) for port in ports
            )
            return 0, "\n\n".join(blocks) + "\n", ""
        self.told.append(list(argv[1:]))
        if verb == "restart":
            self.unit(port_of(argv[2]), ExecMainStartTimestampMonotonic=f"{time.monotonic() * 1e6:.0f}")
            self.on_restart()
        return 0, "", ""


@dataclass
class Fleet:
    """A host with a folder for its files."""

    folder: Path
    systemd: Systemd
    timeout: float = 0.0

    @property
    def host(self) -> Host:
        return Host(
            self.systemd,
            link=str(self.folder / "current"),
            config_files=[str(self.folder / "environment"), str(self.folder / "absent")],
            address="127.0.0.1",
            health_path="/api/health",
            timeout=self.timeout,
        )

    def link(self, target: str) -> None:
        (self.folder / "current").symlink_to(target)

    def unpack(self, release: str) -> str:
        folder = self.folder / "releases" / release
        folder.mkdir(parents=True, exist_ok=True)
        return str(folder)

    def desired(self, *ports: int, release: str = "1.0") -> Desired:
        return Desired(release, self.unpack(release), (Template("app@.service", ports),))


def wanted(port: int, *warm_paths: str) -> Wanted:
    return Wanted(f"app@{port}.service", port, warm_paths)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path, Systemd())


def test_a_host_without_anything_is_observed(fleet: Fleet) -> None:
    fleet.systemd.unit(1, ActiveState="inactive", UnitFileState="", ExecMainStartTimestampMonotonic="0")
    state = fleet.host.observe(fleet.desired(1))
    assert state.link_target == ""
    assert state.configured_at == 0.0
    assert not state.units_stale
    assert state.processes == (Process("app@1.service", 1),)


def test_a_serving_host_is_observed(fleet: Fleet, app: App) -> None:
    fleet.link("/opt/app/releases/1.0")
    (fleet.folder / "environment").write_text("RELEASE=1.0\n")
    fleet.systemd.unit(app.port)
    fleet.systemd.unit(1, ActiveState="failed", UnitFileState="disabled", NeedDaemonReload="yes")
    before = time.time()
    state = fleet.host.observe(fleet.desired(app.port, 1))
    serving, dead = state.processes
    assert state.link_target == "/opt/app/releases/1.0"
    assert state.units_stale
    assert state.configured_at == pytest.approx(before, abs=5)
    assert (serving.active, serving.enabled, serving.release) == (True, True, "1.0")
    assert serving.started_at == pytest.approx(before - 100, abs=5)
    assert dead == Process("app@1.service", 1, "failed")


def test_a_file_that_a_package_put_in_place_is_young(fleet: Fleet) -> None:
    built = fleet.folder / "environment"
    built.write_text("")
    os.utime(built, (1e9, 1e9))
    fleet.systemd.unit(1, ActiveState="inactive")
    assert fleet.host.observe(fleet.desired(1)).configured_at == pytest.approx(time.time(), abs=5)


WHOAMI: dict[str, tuple[int, bytes]] = {
    "an error": (500, b'{"release": "1.0"}'),
    "no JSON": (200, b"<html>"),
    "no object": (200, b'["1.0"]'),
    "no release": (200, b"{}"),
    "half an answer": (200, b'{"release": "1.'),
    "another protocol": (0, b"SSH-2.0-OpenSSH\r\n"),
}


@pytest.mark.parametrize("answer", WHOAMI.values(), ids=WHOAMI)
def test_a_process_that_names_no_release_is_observed(
    fleet: Fleet, app: App, answer: tuple[int, bytes]
) -> None:
    app.answers["/api/whoami"] = answer
    fleet.systemd.unit(app.port)
    assert fleet.host.observe(fleet.desired(app.port)).processes[0].release == ""


def test_a_process_that_does_not_listen_is_observed(fleet: Fleet) -> None:
    fleet.systemd.unit(1)
    assert fleet.host.observe(fleet.desired(1)).processes[0].release == ""


def test_processes_are_asked_directly(fleet: Fleet, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    fleet.systemd.unit(app.port)
    assert fleet.host.observe(fleet.desired(app.port)).processes[0].release == "1.0"


def test_the_link_is_replaced(fleet: Fleet) -> None:
    fleet.link(fleet.unpack("1.0"))
    (fleet.folder / "current.new").symlink_to("/left/by/a/killed/run")
    fleet.host.point_link(fleet.unpack("2.0"))
    assert {path.name for path in fleet.folder.iterdir()} == {"current", "releases"}
    assert os.readlink(fleet.folder / "current") == str(fleet.folder / "releases/2.0")


def test_a_release_that_is_not_there_is_refused_and_the_link_left_alone(fleet: Fleet) -> None:
    fleet.link(fleet.unpack("1.0"))
    with pytest.raises(Refusal, match="there is no release in /no/such/release: unpack it first"):
        fleet.host.point_link("/no/such/release")
    assert os.readlink(fleet.folder / "current") == str(fleet.folder / "releases/1.0")


def test_systemd_is_told(fleet: Fleet) -> None:
    fleet.host.reload_units()
    fleet.host.enable("app@3000.service")
    fleet.host.stop("app@3001.service")
    assert fleet.systemd.told == [
        ["daemon-reload"],
        ["enable", "--quiet", "app@3000.service"],
        ["disable", "--quiet", "--now", "app@3001.service"],
    ]


def test_systemd_that_fails_is_a_refusal(fleet: Fleet) -> None:
    fleet.systemd.failing["enable"] = "Failed to enable unit: Unit app@3000.service does not exist.\n"
    with pytest.raises(
        Refusal, match=r"`systemctl enable --quiet app@3000.service` failed: .* does not exist\.$"
    ):
        fleet.host.enable("app@3000.service")


def test_a_restart_waits_until_the_release_is_served(fleet: Fleet, app: App) -> None:
    fleet.timeout = 10

    def come_up() -> None:
        app.answers["/api/health"] = (503, b"starting")
        Timer(0.1, app.serve, ["2.0"]).start()

    fleet.systemd.on_restart = come_up
    fleet.host.restart(wanted(app.port), "2.0")
    assert fleet.systemd.told == [["restart", f"app@{app.port}.service"]]
    assert app.answers["/api/health"] == HEALTHY


def test_a_process_that_keeps_the_old_release_is_a_refusal(fleet: Fleet, app: App) -> None:
    with pytest.raises(Refusal, match=r"did not serve release 2\.0 within 0 s \(it names 1\.0;") as caught:
        fleet.host.restart(wanted(app.port), "2.0")
    assert caught.value.details == {"port": app.port}
    assert f"journalctl -u app@{app.port}.service" in caught.value.message


def test_a_process_that_is_ill_is_a_refusal(fleet: Fleet, app: App) -> None:
    app.answers["/api/health"] = (503, b'{"database": "down"}')
    with pytest.raises(Refusal, match=r'/api/health says 503 \{"database": "down"\}'):
        fleet.host.restart(wanted(app.port), "1.0")


def test_a_process_that_is_gone_is_a_refusal(fleet: Fleet) -> None:
    with pytest.raises(Refusal, match=r"it names none; /api/health says nothing \(.*refused"):
        fleet.host.restart(wanted(1), "1.0")


@pytest.mark.parametrize("status", [200, 307, 404])
def test_a_process_that_is_warm_is_up(fleet: Fleet, app: App, status: int) -> None:
    app.answers["/heavy"] = (status, b"")
    fleet.host.restart(wanted(app.port, "/heavy"), "1.0")


@pytest.mark.parametrize(("status", "said"), [(500, "500 no page"), (0, "nothing")])
def test_a_process_that_cannot_be_warmed_is_a_refusal(fleet: Fleet, app: App, status: int, said: str) -> None:
    app.answers["/heavy"] = (status, b"no page")
    with pytest.raises(Refusal, match=rf"serves release 1\.0, but not /heavy, which says {said}"):
        fleet.host.restart(wanted(app.port, "/heavy"), "1.0")


def test_processes_that_nobody_asked_for_are_seen(fleet: Fleet) -> None:
    fleet.systemd.unit(1)
    fleet.systemd.unit(2)
    assert [one.port for one in fleet.host.observe(fleet.desired(2)).processes] == [2, 1]
    assert [one.port for one in fleet.host.observe(fleet.desired()).processes] == [1, 2]


LISTENING = """\
LISTEN 0      511          0.0.0.0:80        0.0.0.0:*    users:(("nginx",pid=70,fd=6),("nginx",pid=71,fd=6))
LISTEN 0      128             [::]:1            [::]:*    users:(("haproxy",pid=7,fd=3))
LISTEN 0      128          0.0.0.0:2         0.0.0.0:*
LISTEN 0      128        127.0.0.1:3         0.0.0.0:*    users:(("node",pid=9,fd=3))
"""


def test_who_has_the_port_of_a_process_that_does_not_run_is_seen(fleet: Fleet) -> None:
    fleet.systemd.listening = LISTENING
    for port, state in ((1, "inactive"), (2, "failed"), (3, "deactivating"), (4, "inactive")):
        fleet.systemd.unit(port, ActiveState=state)
    found = fleet.host.observe(fleet.desired(1, 2, 3, 4)).processes
    # The third has not ended yet, and listens itself.
    assert [one.port_taken_by for one in found] == ["haproxy (process 7)", "another process", "", ""]


def test_a_release_is_served_and_then_nothing_is_left_to_do(fleet: Fleet, app: App) -> None:
    fleet.link(fleet.unpack("1.0"))
    fleet.systemd.unit(app.port, UnitFileState="disabled", NeedDaemonReload="no")
    fleet.systemd.on_restart = lambda: app.serve("2.0")
    desired = fleet.desired(app.port, release="2.0")
    host = fleet.host
    outcome = converge(
        lambda: host.observe(desired), lambda state: plan(state, desired), host, check_mode=False
    )
    assert len(outcome.actions) == 3
    assert plan(host.observe(desired), desired) == ()
