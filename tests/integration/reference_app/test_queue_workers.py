# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs of the reference application: none is lost and none has its effect twice, whatever is restarted or killed."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from itertools import cycle

import pytest
import redis as redis_py

from ..postgres_switchover.conftest import Bouncer
from ..redis_cluster.conftest import HOST, Server
from .conftest import REDIS_PASSWORD, App, Program, node, request, wait_for

JOBS = 300
LONG_MS = 3000
SHORT_MS = 50
QUEUE = "{payaid}:jobs"


@dataclass
class Clients:
    """Sends jobs in, one after the other and steadily, to all servers in turn."""

    app: App
    servers: list[Program]
    acknowledged: list[int] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    slowest: float = 0

    def send(self) -> None:
        servers = cycle(self.servers)
        try:
            for number in range(JOBS):
                began = time.monotonic()
                self.acknowledged.append(
                    self.app.post(next(servers), LONG_MS if number % 8 == 0 else SHORT_MS)
                )
                self.slowest = max(self.slowest, time.monotonic() - began)
                time.sleep(0.1)
        except BaseException as failure:
            self.failures.append(failure)
            raise


def queue_master(cluster: list[Server]) -> Server:
    """Return the master that has the queue."""
    answering = next(server for server in cluster if server.process)
    slot = int(answering.do("CLUSTER", "KEYSLOT", f"{QUEUE}:wait"))
    port = next(
        row.port for row in answering.rows() if any(first <= slot <= last for first, last in row.slots)
    )
    return next(server for server in cluster if server.port == port)


def kill_at_work(app: App, worker: Program) -> set[int]:
    """Kill the worker while it has jobs, and return them."""
    while True:
        app.busy(worker)
        worker.send(signal.SIGSTOP)
        # What it had sent to the database before is over by then, so that what it still holds is cut.
        time.sleep(0.2)
        if held := app.held_by(worker):
            worker.end(signal.SIGKILL)
            return held
        worker.send(signal.SIGCONT)


def test_no_job_is_lost_or_done_twice_across_restarts_and_failures(
    app: App, cluster: list[Server], pooler: Bouncer
) -> None:
    app.pooler = pooler
    servers = [app.up("server"), app.up("server")]
    workers = [app.up("worker"), app.up("worker")]
    app.contact = app.make_contact(servers[0])
    clients = Clients(app, servers)
    sending = threading.Thread(target=clients.send)
    sending.start()
    stops: list[float] = []

    def restart(worker: Program, release: str) -> None:
        """Do what a deployment does to one process."""
        began = time.monotonic()
        assert worker.end() == 0, worker.log.read_text()
        stops.append(time.monotonic() - began)
        assert app.held_by(worker) == set(), "it ended with jobs in its hands"
        worker.up(RELEASE=release)

    try:
        for number in range(5):
            worker = workers[number % 2]
            app.busy(worker)
            restart(worker, f"release-{number}")

        queue_master(cluster).stop()
        # A deployment does not wait for Redis's failover, and a stop must not need it.
        assert workers[1].end() == 0, workers[1].log.read_text()
        workers[1].up(RELEASE="release-5")

        victim = workers[0]
        interrupted = kill_at_work(app, victim)
        killed = time.time()
        victim.up(RELEASE="release-6")
    finally:
        sending.join()
    assert clients.failures == []
    app.finished(60)

    assert len(clients.acknowledged) == len(set(clients.acknowledged)) == JOBS
    assert app.effects() == dict.fromkeys(clients.acknowledged, 1)
    assert app.rows("SELECT state, count(*) FROM jobs GROUP BY state") == [["completed", str(JOBS)]]
    assert interrupted, "nothing was interrupted, so nothing was shown"
    assert app.attempts() == {job: 2 if job in interrupted else 1 for job in clients.acknowledged}
    again = "SELECT max(extract(epoch FROM finished_at)) FROM jobs WHERE attempts = 2"
    recovered = float(app.rows(again)[0][0]) - killed
    by_release = dict(app.rows("SELECT release, count(*) FROM job_results GROUP BY release ORDER BY release"))
    print(
        f"stops {[round(stop, 2) for stop in stops]} s, interrupted {len(interrupted)}, done {recovered:.1f} s later, "
        f"slowest answer {clients.slowest:.2f} s, by release {by_release}"
    )
    assert max(stops) < LONG_MS / 1000 + 2
    assert recovered < 35
    last = app.job(servers[0], clients.acknowledged[-1])
    assert (last["state"], last["attempts"], last["error"]) == ("completed", 1, None)
    assert set(last["done_by"]) == {"node", "process", "release"}
    inbox = request(servers[0].port, "GET", f"/api/contacts/{app.contact}/messages").json
    assert inbox["count"] == JOBS


def test_without_redis_jobs_are_accepted_and_done_later(app: App, cluster: list[Server]) -> None:
    server, worker = app.up("server"), app.up("worker")
    app.contact = app.make_contact(server)
    for member in cluster:
        member.stop()
    wait_for(lambda: worker.health().get("code") == 503, "the worker to say that Redis is away")
    checks = worker.health()["checks"]
    assert (checks["database"], checks["redis"]) == (True, False)
    jobs = [app.post(server) for _number in range(20)]
    assert app.job(server, jobs[0])["state"] == "waiting"
    late = app.add("worker")
    late.start(HEALTH_REQUIRED="database")
    wait_for(late.healthy, "a worker to start without it, where Redis is not required")
    assert not late.health()["checks"]["consuming"]
    assert late.end() == 0, "it must stop without Redis all the same"
    late.start()
    for member in cluster:
        member.start()
    app.finished(60)
    assert app.effects() == dict.fromkeys(jobs, 1)
    assert set(app.attempts().values()) == {1}
    wait_for(lambda: worker.healthy() and late.healthy(), "the workers to be healthy")


def test_what_redis_forgets_is_dispatched_again(app: App, cluster: list[Server]) -> None:
    server = app.up("server")
    app.contact = app.make_contact(server)
    master = queue_master(cluster)
    # As eviction may leave it: the list has gone, and of each job its own key is still there.
    torn = [app.post(server) for _number in range(10)]
    assert master.do("LLEN", f"{QUEUE}:wait") == len(torn)
    master.do("DEL", f"{QUEUE}:wait")
    assert master.do("EXISTS", f"{QUEUE}:job-{torn[0]}") == 1
    # As a failover may leave it: nothing of it was ever there.
    gone = [app.post(server) for _number in range(10)]
    master.do("DEL", f"{QUEUE}:wait", *(f"{QUEUE}:job-{job}" for job in gone))
    # The other half of an eviction: the list is there, and what it names has gone.
    named = [app.post(server) for _number in range(10)]
    master.do("DEL", *(f"{QUEUE}:job-{job}" for job in named))
    worker = app.up("worker")
    app.finished()
    assert app.effects() == dict.fromkeys([*torn, *gone, *named], 1)
    assert set(app.attempts().values()) == {1}
    text = request(worker.port, "GET", "/metrics").text
    assert f"app_jobs_redispatched_total {len(torn) + len(gone)}\n" in text


@pytest.mark.parametrize(("count", "concurrency"), [(1, "10"), (2, "1")], ids=["itself", "another"])
def test_a_job_that_redis_hands_out_again_is_not_begun_again(
    app: App, cluster: list[Server], count: int, concurrency: str
) -> None:
    server = app.up("server")
    app.contact = app.make_contact(server)
    workers = [app.up("worker", JOB_CONCURRENCY=concurrency) for _number in range(count)]
    job = app.post(server, 4000)
    wait_for(lambda: any(app.held_by(worker) for worker in workers), "a worker to have the job")
    master = queue_master(cluster)
    # As BullMQ does with one whose lock has gone, and a failover may take the lock of a job that is being done.
    master.do("DEL", f"{QUEUE}:job-{job}:lock")
    master.do("LREM", f"{QUEUE}:active", 0, f"job-{job}")
    master.do("RPUSH", f"{QUEUE}:wait", f"job-{job}")
    master.do("ZADD", f"{QUEUE}:marker", 0, "0")

    def skipped() -> bool:
        pages = [request(worker.port, "GET", "/metrics").text for worker in workers]
        return any("app_jobs_skipped_total 1\n" in page for page in pages)

    wait_for(skipped, "it to be handed out again", 3)
    assert [worker.end() for worker in workers] == [0] * count
    assert (app.effects(), app.attempts()) == ({job: 1}, {job: 1})


def test_what_a_worker_does_not_finish_in_its_lease_another_does(app: App) -> None:
    server, sleeper = app.up("server"), app.up("worker")
    app.contact = app.make_contact(server)
    slept = app.post(server, 1500)
    wait_for(lambda: app.held_by(sleeper) == {slept}, "the worker to have the job")
    sleeper.send(signal.SIGSTOP)
    try:
        other = app.up("worker")
        stranded = app.post(server, 1500)
        wait_for(lambda: app.held_by(other) == {stranded}, "the worker to have the job")
        app.database.stop(signal.SIGQUIT)
        wait_for(lambda: other.health().get("code") == 503, "the worker to say that the database is away")
        # Long enough for it to fail both at the effect and at putting the job down.
        time.sleep(2)
        app.database.start()
        app.finished(60)
        assert app.attempts() == {slept: 2, stranded: 2}
    finally:
        sleeper.send(signal.SIGCONT)
    ended = "app_job_duration_seconds_count{"
    wait_for(lambda: ended in request(sleeper.port, "GET", "/metrics").text, "the sleeper to end its work")
    assert app.effects() == {slept: 1, stranded: 1}
    assert 'outcome="repeated"} 1\n' in request(sleeper.port, "GET", "/metrics").text
    wait_for(other.healthy, "the worker to be healthy again")


def test_a_stop_that_takes_too_long_gives_the_job_back(app: App) -> None:
    server, worker = app.up("server"), app.up("worker", DRAIN_TIMEOUT_MS="1000")
    app.contact = app.make_contact(server)
    job = app.post(server, 5000)
    wait_for(lambda: app.held_by(worker) == {job}, "the worker to have the job")
    worker.send(signal.SIGTERM)
    wait_for(lambda: worker.health().get("draining") is True, "the worker to say that it drains")
    assert worker.health()["code"] == 503
    assert worker.process is not None
    assert worker.process.wait(10) == 1
    assert "1 jobs are given back" in worker.log.read_text()
    assert app.rows("SELECT state FROM jobs") == [["waiting"]]
    app.up("worker")
    app.finished(60)
    assert (app.effects(), app.attempts()) == ({job: 1}, {job: 2})


def test_a_job_that_cannot_succeed_fails_once_and_one_that_may_is_tried_again(app: App) -> None:
    server = app.up("server")
    app.contact = app.make_contact(server)
    hopeless = app.post(server)
    app.database.sql("DELETE FROM contacts")
    app.contact = app.make_contact(server)
    broken = app.post(server)
    app.database.sql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not now'; END $$;"
        "CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse()"
    )
    try:
        app.up("worker")
        wait_for(lambda: app.job(server, hopeless)["state"] == "failed", "the job to fail")
        wait_for(lambda: app.job(server, broken)["attempts"] >= 2, "the job to be tried again")
        assert app.job(server, broken)["error"] == "The worker could not finish it."
        assert app.effects() == {}
    finally:
        app.database.sql("DROP FUNCTION refuse CASCADE")
    app.finished()
    failed = app.job(server, hopeless)
    assert (failed["attempts"], failed["error"]) == (1, "The contact does not exist any more.")
    assert failed["result"] is None
    assert app.job(server, broken)["state"] == "completed"
    assert app.effects() == {broken: 1}


def test_a_request_that_is_repeated_with_its_key_makes_one_job(app: App) -> None:
    server, _worker = app.up("server"), app.up("worker")
    app.contact = app.make_contact(server)
    body = {"kind": "welcome", "contact_id": app.contact}
    first, second = (
        request(server.port, "POST", "/api/jobs", body, Idempotency_Key="a") for _try in range(2)
    )
    assert (first.status, second.status, second.json) == (202, 202, first.json)
    other = request(server.port, "POST", "/api/jobs", body | {"duration_ms": 1}, Idempotency_Key="a")
    assert other.status == 422
    app.finished()
    assert app.effects() == {first.json["id"]: 1}
    assert request(server.port, "GET", f"/api/jobs/{first.json['id']}", X_Tenant_ID="other").status == 404
    nobody = request(server.port, "POST", "/api/jobs", body | {"contact_id": 987654321})
    assert nobody.status == 400


def test_the_worker_answers_as_any_process_of_the_app(app: App) -> None:
    worker = app.up("worker")
    assert worker.health().keys() == {"status", "checks", "timestamp", "code"}
    assert worker.health()["checks"] == {"database": True, "redis": True, "ollama": True, "consuming": True}
    who = request(worker.port, "GET", "/api/whoami").json
    assert (who.keys(), who["role"]) == ({"node", "process", "release", "role"}, "worker")
    assert "app_jobs_waiting 0\n" in request(worker.port, "GET", "/metrics").text
    assert request(worker.port, "GET", "/metrics", X_Forwarded_For="127.0.0.1").status == 403
    assert request(worker.port, "GET", "/api/contacts").status == 404
    assert request(worker.port, "POST", "/api/health").status == 404


def test_exit_codes(app: App) -> None:
    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        own = app.environment | {"PORT": str(app.add("worker").port), "HOSTNAME": HOST} | environment
        return subprocess.run(  # noqa: S603  # our own words
            [node(), *words],
            cwd=app.release,
            env=own,
            capture_output=True,
            text=True,
            timeout=15,
            check=False,
        )

    for environment in ({"DATABASE_URL": ""}, {"DRAIN_TIMEOUT_MS": "soon"}, {"JOB_CONCURRENCY": "0"}):
        done = run("worker.js", **environment)
        assert done.returncode == 78, done
        assert done.stderr.startswith(next(iter(environment))), done
        assert len(done.stderr.splitlines()) == 1, done
    done = run("--require", "./drain.cjs", "worker.js")
    assert (done.returncode, "without drain.cjs" in done.stderr) == (78, True), done
    taken = app.up("worker")
    done = run("worker.js", PORT=str(taken.port))
    assert (done.returncode, "cannot listen" in done.stderr) == (1, True), done


def test_the_rights_that_the_role_gives_the_app_are_enough_and_not_all(
    app: App, cluster: list[Server]
) -> None:
    """That they are enough all the other tests show, since their processes have no others."""
    server, _worker = app.up("server"), app.up("worker")
    app.contact = app.make_contact(server)
    app.post(server)
    app.finished()
    master = queue_master(cluster)
    assert not [line for line in master.do("ACL", "LOG") if line["username"] == "app"]
    login = redis_py.Redis(port=master.port, username="app", password=REDIS_PASSWORD)
    with login, pytest.raises(redis_py.exceptions.NoPermissionError):
        login.flushall()
