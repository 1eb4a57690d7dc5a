# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The built reference application's own processes, with a real PostgreSQL and real redis-servers behind them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml

from ..postgres_replica.conftest import PASSWORD, USER, Cluster, free_port, new_primary
from ..postgres_switchover.conftest import Bouncer
from ..redis_cluster.conftest import HOST, Fleet, Server, run_module

ROOT = Path(__file__).resolve().parents[3]
DIST = Path(os.environ.get("PAYAID_APP_DIST", ROOT / "reference_app/dist"))
REDIS_PASSWORD = "of-the-app"  # noqa: S105  # of servers that live for one test
PATIENCE = 30.0  # s
# The app is given the rights that the role gives it, read from the role.
RULES: tuple[str, ...] = tuple(
    yaml.safe_load((ROOT / "roles/redis_server/defaults/main.yml").read_text())["redis_server_app_rules"]
)
APP_USER = ("--user", "app", "on", f">{REDIS_PASSWORD}", *RULES)


def node() -> str:
    found = shutil.which("node", path=os.environ.get("NODE_BIN_DIR") or os.environ["PATH"])
    if found is None:
        pytest.fail("Node.js is missing: `make test-app` brings it.", pytrace=False)
    return found


def wait_for(true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.05)


@dataclass(frozen=True)
class Answer:
    status: int
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


def request(port: int, method: str, path: str, body: object = None, **headers: str) -> Answer:
    connection = HTTPConnection(HOST, port, timeout=15)
    try:
        sent = None if body is None else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, sent, {"Content-Type": "application/json"} | named)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode())
    finally:
        connection.close()


@dataclass
class Program:
    """One process of the release: `server` or `worker`."""

    release: Path
    role: str
    environment: Mapping[str, str]
    log: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self, **more: str) -> None:
        # As the lab starts them: only the server is drained by the script that is loaded before it.
        words = ["--require", "./drain.cjs", "server.js"] if self.role == "server" else ["worker.js"]
        own = {"PORT": str(self.port), "HOSTNAME": HOST, "NODE_ENV": "production"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603  # our own words
                [node(), *words],
                cwd=self.release,
                env={**self.environment, **own, **more},
                stdout=log,
                stderr=log,
            )

    def ask(self, path: str, **headers: str) -> Answer | None:
        try:
            return request(self.port, "GET", path, **headers)
        except (OSError, HTTPException):
            return None

    def health(self) -> dict[str, Any]:
        answer = self.ask("/api/health")
        return {} if answer is None else dict(answer.json, code=answer.status)

    def healthy(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"it ended: {self.log.read_text()}"
        return self.health().get("code") == 200

    def up(self, **more: str) -> None:
        """Start it and wait as a deployment does: until it is healthy and names its release."""
        self.start(**more)
        wait_for(self.healthy, f"{self.role} {self.port} to be healthy; {self.log.read_text()}")
        answer = self.ask("/api/whoami")
        assert answer is not None
        assert answer.json["release"] == {**self.environment, **more}["RELEASE"]
        assert answer.json["process"] == str(self.port)

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, seconds: float = PATIENCE) -> int:
        """Send the signal, and return the exit code."""
        assert self.process is not None
        self.send(number)
        code = self.process.wait(seconds)
        self.process = None
        return code

    def destroy(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class App:
    """Servers and workers of one release on one database, with whatever Redis they are given."""

    release: Path
    folder: Path
    database: Cluster
    redis: Mapping[str, str]
    pooler: Bouncer | None = None
    programs: list[Program] = field(default_factory=list)
    contact: int = 0

    @property
    def environment(self) -> dict[str, str]:
        login = f"{USER}:{quote(PASSWORD, safe='')}"
        direct = f"postgresql://{login}@{HOST}:{self.database.port}/postgres"
        pooled = f"postgresql://{login}@{HOST}:{self.pooler.port}/app_rw" if self.pooler else direct
        return {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": pooled,
            "DATABASE_DIRECT_URL": direct,
            "REDIS_USERNAME": "app",
            "REDIS_PASSWORD": REDIS_PASSWORD,
            "JWT_SECRET": "a secret of sufficient length",
            "RELEASE": "one",
            "REFERENCE_TEST_ROUTES": "1",
            **self.redis,
        }

    def add(self, role: str) -> Program:
        log = self.folder / f"{role}-{len(self.programs)}.log"
        program = Program(self.release, role, self.environment, log)
        self.programs.append(program)
        return program

    def up(self, role: str, **more: str) -> Program:
        program = self.add(role)
        program.up(**more)
        return program

    def migrate(self) -> dict[str, Any]:
        done = subprocess.run(  # noqa: S603  # our own words
            [node(), "migrate.mjs"],
            cwd=self.release,
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return dict(json.loads(done.stdout))

    def make_contact(self, server: Program) -> int:
        made = request(server.port, "POST", "/api/contacts", {"name": "Ada", "email": "ada@example.org"}).json
        return int(made["id"])

    def post(self, server: Program, duration_ms: int = 0, **more: Any) -> int:
        """Send a job in, and return its number once it is acknowledged."""
        body = {"kind": "welcome", "contact_id": self.contact, "duration_ms": duration_ms} | more
        answer = request(server.port, "POST", "/api/jobs", body)
        assert answer.status == 202, answer
        return int(answer.json["id"])

    def job(self, server: Program, number: int) -> dict[str, Any]:
        return dict(request(server.port, "GET", f"/api/jobs/{number}").json)

    def rows(self, statement: str) -> list[list[str]]:
        answer = self.database.sql(statement)
        return [line.split("|") for line in answer.splitlines()]

    def unfinished(self) -> int:
        return int(self.rows("SELECT count(*) FROM jobs WHERE state IN ('waiting', 'active')")[0][0])

    def finished(self, seconds: float = PATIENCE) -> None:
        wait_for(lambda: self.unfinished() == 0, "all jobs to be finished", seconds)

    def effects(self) -> dict[int, int]:
        """Count the messages of each job."""
        counted = self.rows("SELECT job_id, count(*) FROM messages GROUP BY job_id")
        return {int(job): int(count) for job, count in counted}

    def attempts(self) -> dict[int, int]:
        return {int(job): int(count) for job, count in self.rows("SELECT id, attempts FROM jobs")}

    def held_by(self, worker: Program) -> set[int]:
        """Return the jobs that the process on this port has taken and not finished."""
        held = f"SELECT id FROM jobs WHERE state = 'active' AND split_part(worker, ':', 2) = '{worker.port}'"
        return {int(row[0]) for row in self.rows(held)}

    def busy(self, worker: Program) -> None:
        wait_for(lambda: self.held_by(worker) != set(), "the worker to have jobs")

    def logs(self) -> str:
        return "\n".join(f"{program.log.name}:\n{program.log.read_text()}" for program in self.programs)


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact, unpacked."""
    latest = DIST / "latest.json"
    if not latest.exists():
        pytest.fail(
            "The reference application is not built: run `make app`, or all of it by `make test-app`."
        )
    folder = tmp_path_factory.mktemp("release")
    with tarfile.open(DIST / json.loads(latest.read_text())["file"]) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture(scope="session")
def database() -> Iterator[Cluster]:
    with new_primary() as cluster:
        cluster.sql("GRANT ALL ON SCHEMA public TO :user", user=USER)
        yield cluster


@pytest.fixture
def pooler(database: Cluster) -> Iterator[Bouncer]:
    """Pool connections a transaction at a time, as the platform does."""
    bouncer = Bouncer(Path(tempfile.mkdtemp(prefix="pgb-")) / "pgbouncer")
    # Not in the test's own folder, which the user postgres may not enter.
    bouncer.folder.parent.chmod(0o755)
    try:
        bouncer.start(database.port)
        yield bouncer
    finally:
        bouncer.stop()
        shutil.rmtree(bouncer.folder.parent)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    fleet = Fleet(tmp_path_factory.mktemp("redis"), ports=set(range(21000, 21200)))
    try:
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture(scope="session")
def cluster(fleet: Fleet) -> list[Server]:
    """Three masters with a replica each, and the app's user as the role makes it."""
    servers = fleet.start(6, *APP_USER, "--cluster-require-full-coverage", "no")
    made = run_module(servers)
    assert not made.get("failed"), made
    return servers


def as_cluster(servers: list[Server]) -> dict[str, str]:
    return {"REDIS_MODE": "cluster", "REDIS_NODES": ",".join(server.addr for server in servers)}


@contextmanager
def running(release: Path, folder: Path, database: Cluster, redis: Mapping[str, str]) -> Iterator[App]:
    """Give an app with its tables empty, and end its processes."""
    app = App(release, folder, database, redis)
    app.migrate()
    database.sql("TRUNCATE jobs, job_results, messages, contacts, idempotency_keys")
    try:
        yield app
    except BaseException:
        print(app.logs())
        raise
    finally:
        for program in app.programs:
            program.destroy()


@pytest.fixture
def app(release: Path, tmp_path: Path, database: Cluster, cluster: list[Server]) -> Iterator[App]:
    for server in cluster:
        if server.process is None:
            server.start()
    wait_for(lambda: all(server.info()["cluster_state"] == "ok" for server in cluster), "the cluster")
    with running(release, tmp_path, database, as_cluster(cluster)) as app:
        yield app
