# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers and workers over every way of connecting to Redis that the platform has."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis as redis_py

from ..postgres_replica.conftest import Cluster
from ..redis_cluster.conftest import HOST, Fleet, Server, free_port, run_module
from ..redis_cluster.test_redis_cluster_access import issue
from .conftest import APP_USER, App, as_cluster, running, wait_for

ALONE = ("--cluster-enabled", "no", *APP_USER)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Fleet]:
    """Servers for one test."""
    fleet = Fleet(tmp_path, ports=set(range(21000, 21300)))
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def begin(release: Path, tmp_path: Path, database: Cluster) -> Iterator[Callable[..., App]]:
    with ExitStack() as stack:
        yield lambda redis: stack.enter_context(running(release, tmp_path, database, redis))


def does_jobs(app: App) -> None:
    """Have a server and a worker do some, told of them by Redis and not by the sweep."""
    server, worker = app.up("server"), app.up("worker")
    app.contact = app.make_contact(server)
    jobs = [app.post(server) for _number in range(10)]
    app.finished(5)
    assert app.effects() == dict.fromkeys(jobs, 1)
    answer = worker.ask("/metrics")
    assert answer is not None
    assert "app_jobs_redispatched_total 0\n" in answer.text
    assert worker.end() == 0


def certified(folder: Path) -> tuple[dict[str, str], tuple[str, ...], dict[str, object]]:
    """Return the paths of certificates, the server's options for them, and a client's."""
    paths = issue(folder, HOST)
    options = {
        "tls-cert-file": paths["server"],
        "tls-key-file": paths["key"],
        "tls-ca-cert-file": paths["ca"],
        "tls-auth-clients": "no",
    }
    words = tuple(word for name, value in options.items() for word in (f"--{name}", value))
    client = {"ssl": True, "ssl_ca_certs": paths["ca"], "ssl_check_hostname": False}
    return paths, words, client


def test_standalone(own: Fleet, begin: Callable[..., App]) -> None:
    (server,) = own.start(1, *ALONE)
    does_jobs(begin({"REDIS_MODE": "standalone", "REDIS_NODES": server.addr}))


def test_standalone_with_tls(own: Fleet, begin: Callable[..., App], tmp_path: Path) -> None:
    paths, words, client = certified(tmp_path)
    (server,) = own.start(1, *ALONE, *words, secure=client)
    tls = {"REDIS_TLS": "1", "REDIS_TLS_CA": paths["ca"]}
    does_jobs(begin({"REDIS_MODE": "standalone", "REDIS_NODES": server.addr, **tls}))


def test_cluster_with_tls(own: Fleet, begin: Callable[..., App], tmp_path: Path) -> None:
    paths, words, client = certified(tmp_path)
    servers = own.start(
        3, *APP_USER, *words, "--tls-cluster", "yes", "--tls-replication", "yes", secure=client
    )
    made = run_module(servers, zones="abc", replicas=0, tls=True, ca_certs=paths["ca"])
    assert not made.get("failed"), made
    does_jobs(begin(as_cluster(servers) | {"REDIS_TLS": "1", "REDIS_TLS_CA": paths["ca"]}))


@contextmanager
def sentinel(folder: Path, master: Server) -> Iterator[int]:
    """Run one sentinel, which alone may decide, and return its port."""
    port = free_port(set(range(21000, 21400)))
    config = folder / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind {HOST}\ndir {folder}\nlogfile {folder}/sentinel.log\n"
        f"sentinel monitor mymaster {HOST} {master.port} 1\n"
        "sentinel down-after-milliseconds mymaster 500\nsentinel failover-timeout mymaster 3000\n"
    )
    process = subprocess.Popen(["/usr/bin/env", "redis-server", str(config), "--sentinel"])  # noqa: S603  # our own words
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def test_sentinel_and_a_failover(own: Fleet, begin: Callable[..., App], tmp_path: Path) -> None:
    (master,) = own.start(1, *ALONE)
    (replica,) = own.start(1, *ALONE, "--replicaof", HOST, str(master.port))
    wait_for(lambda: replica.do("ROLE")[3] == "connected", "the replica to follow")
    with sentinel(tmp_path, master) as port, redis_py.Redis(port=port, decode_responses=True) as asked:
        wait_for(
            lambda: len(asked.execute_command("SENTINEL", "REPLICAS", "mymaster")) == 1,
            "the sentinel to know the replica",
        )
        redis = {
            "REDIS_MODE": "sentinel",
            "REDIS_NODES": f"{HOST}:{port}",
            "REDIS_SENTINEL_NAME": "mymaster",
        }
        app = begin(redis)
        does_jobs(app)
        worker = app.up("worker")
        master.stop()
        jobs = [app.post(app.programs[0]) for _number in range(10)]
        app.finished(60)
        assert {app.effects()[job] for job in jobs} == {1}
        assert replica.do("ROLE")[0] == "master"
        wait_for(worker.healthy, "the worker to be healthy again")
