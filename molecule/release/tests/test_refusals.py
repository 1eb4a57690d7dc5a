# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What keeps a release from going out is said before anything is touched; and one deployment at a time."""

from __future__ import annotations

import hashlib
import os
import signal
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Patience

    from .conftest import Fleet

testinfra_hosts = ["localhost"]
LOCK = "/run/payaid-app.lock"


@pytest.fixture
def releases(request: pytest.FixtureRequest) -> Path:
    """Return where the archives are: in the lab's folder, as the inventory of the tests is."""
    return Path(request.config.getoption("--ansible-inventory")).expanduser().parent / "releases"


@pytest.fixture
def shop(releases: Path) -> Iterator[str]:
    """Offer the archives over HTTP."""

    class Silent(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Silent, directory=str(releases)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_second_deployment_is_refused_and_told_whose_the_first_is(fleet: Fleet, soon: Patience) -> None:
    fleet.deploy("1")
    first = fleet.begin("2", app_node_lock_holder="alice")
    soon(lambda: fleet.machines("app1").file(LOCK).exists, 120)
    said = fleet.deploy("3", fails=True)
    assert "a deployment of alice is under way since" in said
    assert f"(process {first.pid} on " in said
    told = first.communicate()[0]
    assert first.returncode == 0, told[-4000:]
    assert fleet.all_serve("2")
    assert not any(fleet.machines(node).file(LOCK).exists for node in ("app1", "app2", "app3"))


def test_the_lock_of_another_computer_is_broken_knowingly(fleet: Fleet, soon: Patience) -> None:
    first = fleet.begin("1", app_node_lock_holder="alice")
    soon(lambda: fleet.machines("app3").file(LOCK).exists, 120)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate()
    # As if it had been started elsewhere, where nobody here can see whether it still runs.
    for node in ("app1", "app2", "app3"):
        fleet.machines(node).check_output('sed -i \'s/"computer": "/&awx-/\' %s', LOCK)
    assert "a deployment of alice is under way" in fleet.deploy("1", fails=True)
    fleet.deploy("1", app_node_break_lock=True)
    assert fleet.all_serve("1")


def test_what_is_no_release_is_refused(fleet: Fleet, releases: Path) -> None:
    refused = partial(fleet.deploy, "2", fails=True)
    assert "has no .next/static: pack a Next.js build" in refused(
        app_node_artifact_requires=["server.js", ".next/static"]
    )
    assert "/absent.tar.gz does not exist" in refused(app_node_artifact="/absent.tar.gz")
    assert "does not have the checksum" in refused(app_node_artifact_sha256="0" * 64)
    assert "is no tar archive" in refused(app_node_artifact=str(releases / "1/server.js"))
    assert "app1 has a release 2 that was unpacked from another artifact" in refused(
        app_node_artifact=str(releases / "hang.tar.gz")
    )
    assert "was built with assetPrefix='', and app_node_cdn_url=https://cdn.example.org" in refused(
        app_node_cdn_url="https://cdn.example.org"
    )
    assert "list one port for each process" in refused(app_node_worker_ports=[3000])
    assert fleet.all_serve("1")


def test_a_port_that_somebody_else_has_is_refused_before_a_node_is_touched(
    fleet: Fleet, soon: Patience
) -> None:
    third = fleet.machines("app3")
    third.check_output("systemd-run --unit=squatter python3 -m http.server 3002")
    try:
        soon(lambda: third.socket("tcp://0.0.0.0:3002").is_listening)
        said = fleet.deploy("2", fails=True, app_node_ports=[3000, 3001, 3002])
        assert "app3: port 3002 is taken by python3 (process " in said
        assert fleet.all_serve("1")
        assert "payaid-app@3002.service" not in fleet.units("app1")
    finally:
        third.check_output("systemctl stop squatter")


def test_a_release_is_fetched_by_the_controller(
    fleet: Fleet, releases: Path, shop: str, tmp_path: Path
) -> None:
    checksum = hashlib.sha256((releases / "2.tar.gz").read_bytes()).hexdigest()
    where: dict[str, Any] = {
        "app_node_artifact": f"{shop}/2.tar.gz",
        "app_node_artifact_cache": str(tmp_path),
    }
    said = fleet.deploy("2", fails=True, **where)
    assert "is an address, and app_node_artifact_sha256 is empty" in said
    said = fleet.deploy("2", fails=True, **where, app_node_artifact_sha256="0" * 64)
    assert "did not match" in said
    assert fleet.all_serve("1")
    fleet.deploy("2", **where, app_node_artifact_sha256=checksum)
    assert fleet.all_serve("2")


def test_the_oldest_releases_are_removed_but_never_what_serves(fleet: Fleet) -> None:
    fleet.deploy("1")
    fleet.deploy("3", app_node_keep_releases=2)
    assert fleet.kept("app1") == fleet.kept("app3") == {"1", "3"}
    # Older than the other one by now, and kept because it serves.
    fleet.play("playbooks/rollback_release.yml", rollback_to="1", app_node_keep_releases=1)
    assert fleet.kept("app2") == {"1", "3"}
    fleet.deploy("2", app_node_keep_releases=2)
    assert fleet.kept("app2") == {"1", "2"}


def test_a_migration_that_takes_something_away_is_refused_unless_it_is_allowed(fleet: Fleet) -> None:
    fleet.deploy("1")
    said = fleet.deploy("takes", fails=True)
    assert (
        "app1: the release takes has migrations that take something away: contract: DROP TABLE orders" in said
    )
    assert fleet.all_serve("1")
    fleet.deploy("takes", app_node_migrate_destructive=True)
    assert fleet.all_serve("takes")
    fleet.deploy("1")
