# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Takes servers away from a client that reads all the time, and gives them back.

Reads that are in flight on a server which dies or freezes fail, and so do those that are given to it before
it is found out. Where a server only lags, or comes back, none may fail. The last test changes the primary
for good.
"""

from __future__ import annotations

import re
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ansible_collections.payaid.scaling.molecule.conftest import Machines, Patience, Power

    from .conftest import Account

testinfra_hosts = ["app1"]
# All of them, so that they run in this order: the last one cannot be undone.
pytestmark = pytest.mark.usefixtures("host")
OUT = 5.0  # s until a server that is down or frozen gets no more reads
BACK = 15.0  # s until it gets some again, counted from when PostgreSQL or the machine is started
MAX_LAG = 3.0  # s, as in converge.yml
AGENT = 5430


def psql(machine: Any, query: str) -> str:
    return str(machine.check_output("cd / && sudo -u postgres psql -XAtqc %s", query))


def agent(host: Any, machines: Machines, name: str, question: str) -> str:
    """Ask an agent from the app node, as HAProxy does."""
    address = machines(name).ansible.get_variables()["ansible_host"]
    said = host.run(
        "timeout 5 bash -c %s", f"exec 3<>/dev/tcp/{address}/{AGENT}; echo {question} >&3; cat <&3"
    )
    return str(said.stdout).strip()


def where(host: Any) -> str:
    """Return where HAProxy says that reads go."""
    program = "/usr/local/lib/payaid_haproxy_reads.py --haproxy=/run/haproxy/stats.sock"
    return str(host.run(f"python3 -I {program}").stdout).strip()


def spread(reads: Account, begun: float) -> float:
    """Return the smaller replica's share of the reads since then."""
    servers = [read["server"] for read in reads.since(begun)]
    assert set(servers) == {"pg2", "pg3"}
    return min(servers.count("pg2"), servers.count("pg3")) / len(servers)


def test_agents_say_what_their_servers_are(host: Any, machines: Machines) -> None:
    assert agent(host, machines, "pg1", "primary") == "ready up #takes writes"
    assert agent(host, machines, "pg1", "replica") == "drain up #takes writes"
    for name in ("pg2", "pg3"):
        assert re.match(r"ready up #streams, lags 0\.\d s$", agent(host, machines, name, "replica"))
        assert agent(host, machines, name, "primary").startswith("drain up #streams")
        assert agent(host, machines, name, "status").startswith("replica: streams")
    assert agent(host, machines, "pg1", "nonsense") == "the questions are replica, primary and status"


def test_nobody_but_the_app_nodes_is_answered(host: Any, machines: Machines) -> None:
    assert agent(machines("pg3"), machines, "pg2", "status") == ""
    assert agent(host, machines, "pg2", "status") != ""


def test_the_agent_may_do_nothing_but_read_statistics(machines: Machines) -> None:
    for name in ("pg1", "pg2"):
        assert (
            psql(
                machines(name),
                "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolconnlimit, "
                "rolpassword IS NULL, "
                "(SELECT string_agg(roleid::regrole::text, ',') FROM pg_auth_members WHERE member = r.oid) "
                "FROM pg_authid r WHERE rolname = 'postgres_agent'",
            )
            == "f|f|f|f|3|t|pg_read_all_stats"
        )
        # Nobody but its own account gets in as it.
        said = machines(name).run(
            "cd / && sudo -u postgres psql -XAtq -U postgres_agent postgres -c 'SELECT 1'"
        )
        assert "Peer authentication failed" in said.stderr


def test_the_agent_asks_over_one_connection_however_many_ask_it(machines: Machines) -> None:
    assert (
        psql(machines("pg2"), "SELECT count(*) FROM pg_stat_activity WHERE usename = 'postgres_agent'") == "1"
    )


def test_checks_leave_no_trace_in_the_logs(machines: Machines) -> None:
    for name in ("pg1", "pg2", "pg3"):
        machine = machines(name)
        before = machine.check_output("cat /var/log/postgresql/*.log | wc -l")
        began = machine.check_output("date +%s")
        time.sleep(5)
        # The server's own work may be logged.
        new = machine.check_output("cat /var/log/postgresql/*.log | tail -n +%s", str(int(before) + 1))
        assert re.findall(r".*(?:FATAL|SSL|client|connection|packet).*", new) == []
        said = machine.check_output("journalctl --quiet --unit=postgres-agent.service --since=@%s", began)
        assert said == ""


def test_reads_are_shared_by_the_replicas_over_tls(reads: Account, machines: Machines) -> None:
    begun = time.time()
    time.sleep(10)
    assert reads.errors() == []
    print(f"the smaller share is {spread(reads, begun):.0%}")
    assert spread(reads, begun) > 0.2
    for name in ("pg2", "pg3"):
        query = "SELECT DISTINCT ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) WHERE usename = 'app'"
        assert psql(machines(name), query) == "t"


def test_a_replica_whose_postmaster_is_killed_is_back_by_itself(reads: Account, machines: Machines) -> None:
    begun = time.time()
    machines("pg2").check_output("kill -9 $(head -1 /var/lib/postgresql/*/main/postmaster.pid)")
    # It may be back sooner than a read could fail.
    reads.avoid("nobody", since=begun, within=OUT)
    reads.use("pg2", since=begun + OUT, within=BACK)


def test_a_replica_whose_machine_is_stopped(reads: Account, power: Power) -> None:
    begun = time.time()
    power("kill", "pg2", "--signal=KILL")
    try:
        reads.avoid("pg2", since=begun, within=OUT)
    finally:
        back = time.time()
        power("start", "pg2")
    reads.use("pg2", since=back, within=BACK + 15)
    assert reads.errors(back) == []


@pytest.mark.parametrize("who", ["--uid postgres", "--oldest --exact postgres"], ids=["all", "postmaster"])
def test_a_replica_whose_processes_are_stopped(reads: Account, machines: Machines, who: str) -> None:
    """A postmaster alone still has backends that answer; but whoever connects anew is not served."""
    pg2 = machines("pg2")
    begun = time.time()
    pg2.check_output(f"pkill -STOP {who}")
    try:
        reads.avoid("pg2", since=begun, within=OUT)
    finally:
        pg2.check_output(f"pkill -CONT {who}")
    back = time.time()
    reads.use("pg2", since=back, within=BACK)
    assert reads.errors(back) == []


def test_a_replica_whose_machine_freezes(reads: Account, power: Power) -> None:
    begun = time.time()
    power("pause", "pg2")
    try:
        reads.avoid("pg2", since=begun, within=OUT)
    finally:
        power("unpause", "pg2")
    back = time.time()
    reads.use("pg2", since=back, within=BACK)
    assert reads.errors(back) == []


def test_a_replica_that_lags_is_left_and_taken_up_again_without_an_error(
    reads: Account, host: Any, machines: Machines
) -> None:
    pg2 = machines("pg2")
    psql(pg2, "SELECT pg_wal_replay_pause()")
    begun = time.time()
    try:
        reads.avoid("pg2", since=begun, within=MAX_LAG + OUT)
        assert re.match(
            r"drain up #streams, lags \d+\.\d s, replay is paused$", agent(host, machines, "pg2", "replica")
        )
    finally:
        psql(pg2, "SELECT pg_wal_replay_resume()")
    back = time.time()
    reads.use("pg2", since=back, within=BACK)
    assert reads.errors() == []
    oldest = max(read["age"] for read in reads.since(0))
    print(f"the oldest data that was read was {oldest:.1f} s old")
    assert oldest < MAX_LAG + OUT


def test_a_paused_replay_with_nothing_to_replay_is_no_lag(host: Any, machines: Machines) -> None:
    pg2 = machines("pg2")
    psql(machines("pg1"), "CHECKPOINT")
    time.sleep(1)
    psql(pg2, "SELECT pg_wal_replay_pause()")
    try:
        # A primary that writes nothing still logs its snapshots, every 15 s at most.
        assert agent(host, machines, "pg2", "replica").startswith("ready up")
    finally:
        psql(pg2, "SELECT pg_wal_replay_resume()")


@pytest.fixture
def replicas_gone(reads: Account, machines: Machines) -> Iterator[float]:
    """Stop both replicas for a while."""
    machines("pg2").check_output("systemctl stop 'postgresql@*'")
    begun = time.time()
    machines("pg3").check_output("systemctl stop 'postgresql@*'")
    try:
        reads.avoid("pg2", "pg3", since=begun, within=OUT)
        yield begun
    finally:
        for name in ("pg2", "pg3"):
            machines(name).check_output("systemctl start postgresql")


def test_the_primary_serves_while_there_is_no_replica(
    reads: Account, replicas_gone: float, host: Any
) -> None:
    assert where(host) == "primary: pg1"
    assert {read["server"] for read in reads.since(replicas_gone + OUT)} == {"pg1"}


def test_reads_leave_the_primary_when_replicas_are_back(reads: Account) -> None:
    # Whatever is left of the test before: the pool must not have kept its connections to the primary.
    begun = time.time()
    reads.avoid("pg1", since=begun, within=BACK)


def test_replicas_serve_what_they_have_while_there_is_no_primary(
    reads: Account, host: Any, machines: Machines, soon: Patience
) -> None:
    """Without a primary none keeps up; but then there is nothing newer to read either."""
    begun = time.time()
    machines("pg1").check_output("systemctl stop 'postgresql@*'")
    try:
        soon(lambda: where(host).startswith("any: "), MAX_LAG + OUT)
        assert "does not stream" in agent(host, machines, "pg2", "status")
        time.sleep(5)
        assert {read["server"] for read in reads.since(begun)} == {"pg2", "pg3"}
    finally:
        machines("pg1").check_output("systemctl start postgresql")
    soon(lambda: where(host) == "replicas: pg2, pg3", 20)
    time.sleep(2)
    assert reads.errors() == []


@pytest.mark.parametrize("which", ["master", "worker"])
def test_haproxy_that_is_killed_is_back_by_itself(
    reads: Account, host: Any, soon: Patience, which: str
) -> None:
    chosen = "$(systemctl show -P MainPID haproxy)"
    begun = time.time()
    host.check_output(f"kill -9 {chosen if which == 'master' else f'$(pgrep --newest --parent {chosen})'}")
    reads.avoid("nobody", since=begun, within=OUT)
    answered = sorted(read["at"] + read["took"] for read in reads.since(0) if not read["error"])
    gap = max(later - earlier for earlier, later in pairwise(answered))
    print(f"the longest gap between two answers is {gap:.1f} s")
    assert gap < OUT
    # What is in flight is lost; but nobody is turned away while there is no HAProxy.
    assert all("server conn crashed" in read["error"] for read in reads.errors())
    soon(lambda: where(host) == "replicas: pg2, pg3", 10)


def test_a_reload_costs_nothing(reads: Account, host: Any, soon: Patience) -> None:
    begun = time.time()
    host.check_output("systemctl reload haproxy")
    soon(lambda: where(host) == "replicas: pg2, pg3", 10)
    time.sleep(5)
    assert reads.errors() == []
    assert spread(reads, begun + 5) > 0.2
    # The process before is gone when the pool has left it.
    soon(lambda: host.check_output("pgrep -c haproxy") == "2", 15)


def test_what_reconnects_pools_is_back_by_itself(reads: Account, host: Any, soon: Patience) -> None:
    unit = "haproxy-reads-reconnect"
    host.check_output(f"kill -9 $(systemctl show -P MainPID {unit})")
    soon(lambda: host.check_output(f"systemctl is-active {unit} || true") == "active", 5)
    time.sleep(3)
    assert reads.errors() == []


def test_an_agent_that_is_killed_is_back_before_anybody_misses_it(reads: Account, machines: Machines) -> None:
    begun = time.time()
    machines("pg2").check_output("systemctl kill --signal=KILL postgres-agent.service")
    time.sleep(10)
    assert reads.errors() == []
    assert spread(reads, begun) > 0.1


def test_a_replica_without_an_agent_is_not_used(reads: Account, machines: Machines) -> None:
    """Nobody knows how far it lags."""
    pg2 = machines("pg2")
    begun = time.time()
    pg2.check_output("systemctl stop postgres-agent.socket postgres-agent.service")
    try:
        reads.avoid("pg2", since=begun, within=OUT)
    finally:
        pg2.check_output("systemctl start postgres-agent.socket")
    back = time.time()
    reads.use("pg2", since=back, within=BACK)
    assert reads.errors(back) == []


def test_without_any_agent_every_server_that_answers_is_used(
    reads: Account, host: Any, machines: Machines, soon: Patience
) -> None:
    try:
        for name in ("pg1", "pg2", "pg3"):
            machines(name).check_output("systemctl stop postgres-agent.socket postgres-agent.service")
        soon(lambda: where(host) == "any: pg1, pg2, pg3", 10)
        begun = time.time()
        time.sleep(5)
        assert reads.errors(begun + 1) == []
    finally:
        for name in ("pg1", "pg2", "pg3"):
            machines(name).check_output("systemctl start postgres-agent.socket")
    soon(lambda: where(host) == "replicas: pg2, pg3", 10)


def test_no_machine_is_degraded(machines: Machines) -> None:
    for name in ("app1", "pg1", "pg2", "pg3"):
        assert machines(name).check_output("systemctl list-units --failed --plain --no-legend") == "", name


def test_a_new_primary_is_known_without_a_new_configuration(
    reads: Account, host: Any, machines: Machines, soon: Patience
) -> None:
    """The old primary is gone for good; the replica that follows nobody yet goes out of use."""
    machines("pg1").check_output("systemctl stop 'postgresql@*'")
    assert psql(machines("pg3"), "SELECT pg_promote()") == "t"
    promoted = time.time()
    soon(lambda: where(host) == "primary: pg3", MAX_LAG + OUT)
    reads.avoid("pg2", since=promoted, within=MAX_LAG + OUT)
    assert agent(host, machines, "pg3", "primary") == "ready up #takes writes"
    assert reads.errors(promoted + OUT) == []
