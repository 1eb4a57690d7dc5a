# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From one server on, week by week and back, while clients ask all the time. Each test goes on from the one
before.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Power

    from .conftest import Rollout

testinfra_hosts = ["localhost"]
LOCK = "/run/payaid-rollout.lock"


def environment(rollout: Rollout, name: str) -> dict[str, str]:
    text = rollout.run(name, "cat /etc/payaid-app/environment")
    return dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, re.MULTILINE))


def test_one_server_is_there_and_nothing_besides(rollout: Rollout) -> None:
    assert rollout.ask(f"{rollout.server}/api/health").status == 200
    given = environment(rollout, "app1")
    assert f"{rollout.addresses['pg1']}:5432/app" in given["DATABASE_URL"]
    assert given["DATABASE_URL"] == given["DATABASE_READ_REPLICA_URL"]
    assert (given["REDIS_MODE"], given["REDIS_NODES"]) == ("cluster", f"{rollout.addresses['redis1']}:6379")
    assert rollout.masters() == {"redis1:6379"}
    assert "inactive" in rollout.run("redis1", "systemctl is-active redis-server@6380 || true")
    for name in ("lb1", "app2", "pg2", "redis2", "redis3"):
        assert not rollout.machines(name).file("/var/lib/payaid/ledger.jsonl").exists
        assert (
            rollout.run(
                name, "dpkg -l nginx postgresql redis-server nodejs 2>/dev/null | grep -c ^ii || true"
            )
            == "0"
        )
    for name in ("app1", "pg1", "redis1"):
        assert rollout.done(name) == ["0 begun", "0 verified"]
        assert not rollout.machines(name).file(LOCK).exists


def test_a_week_is_not_passed_over(rollout: Rollout) -> None:
    said = rollout.week(2, fails=True)
    assert "Week 2 needs week 1 verified, and the platform is in week 0" in said
    assert "Nothing was changed." in said
    assert not rollout.machines("lb1").file("/etc/nginx").exists
    assert rollout.done() == ["0 begun", "0 verified"]


@pytest.mark.parametrize("playbook", ["site", "release", "redis"])
def test_a_run_that_is_not_told_the_week_does_not_end_it(rollout: Rollout, playbook: str) -> None:
    said = " ".join(rollout.play(f"playbooks/{playbook}.yml", fails=True).split())
    assert "app1: the platform is in week 0 of the rollout, and rollout_week is not set" in said
    assert rollout.masters() == {"redis1:6379"}


def test_a_platform_that_serves_without_a_ledger_is_not_made_one_server(rollout: Rollout) -> None:
    with rollout.without_ledger("app1", "pg1", "redis1"):
        said = rollout.week(0, fails=True)
    assert "app1 serves an app already, and the ledger knows of no week" in said


def test_a_week_waits_for_the_end_of_a_run_over_the_whole_platform(rollout: Rollout) -> None:
    lock = rollout.machines("app1").file(LOCK)
    with rollout.play.under_way("playbooks/site.yml", rollout_week=0) as running:
        rollout.soon(lambda: lock.exists, 120)
        refused = rollout.week(1, fails=True)
        # It is the state of the week.
        assert not re.search("changed=[1-9]", running.well())
    assert "app1: a run of site.yml of" in refused
    assert not lock.exists
    assert rollout.done() == ["0 begun", "0 verified"]


def test_the_load_balancer_comes_and_nobody_comes_between(rollout: Rollout) -> None:
    lock = rollout.machines("app1").file(LOCK)
    with rollout.traffic(rollout.server), rollout.begun(1) as running:
        rollout.soon(lambda: lock.exists, 120)
        refused = " ".join(rollout.play("playbooks/release.yml", rollout_week=0, fails=True).split())
        said = running.well()
    assert "app1: a rollout of week 1 of" in refused
    assert "Week 1: Load balancer, two app nodes, on" in said
    assert "a month" in said
    assert rollout.nodes(rollout.edge) == {"app1", "app2"}
    assert rollout.done("lb1")[-2:] == ["1 begun", "1 verified"]


def test_a_week_whose_truth_is_gone_is_no_base_for_the_next(rollout: Rollout) -> None:
    processes = "payaid-app@3000.service payaid-app@3001.service"
    rollout.run("app2", f"systemctl stop {processes}")
    try:
        said = rollout.week(2, fails=True)
    finally:
        rollout.run("app2", f"systemctl start {processes}")
    assert "no answer from app2" in said
    assert rollout.done()[-1] == "1 verified"
    assert not rollout.machines("pg2").file("/etc/postgresql").exists
    rollout.soon(lambda: rollout.nodes(rollout.edge) == {"app1", "app2"}, 60)


def test_the_replica_comes(rollout: Rollout) -> None:
    with rollout.traffic(rollout.edge):
        rollout.week(2)
    given = environment(rollout, "app2")
    assert "@127.0.0.1:6432/app_rw" in given["DATABASE_URL"]
    assert "@127.0.0.1:6432/app_ro" in given["DATABASE_READ_REPLICA_URL"]
    assert rollout.psql("select count(*) from pg_stat_replication where state = 'streaming'") == "1"
    measured = rollout.ledger("pg2")[-1]["measured"]
    assert (measured["writer"], measured["followers"]) == ("pg1", ["pg2"])


def test_redis_becomes_a_cluster_with_what_it_holds(rollout: Rollout) -> None:
    rollout.remember("before")
    with rollout.traffic(rollout.edge):
        rollout.week(3)
    assert rollout.remembers("before")
    assert len(rollout.masters()) == 3
    assert environment(rollout, "app2")["REDIS_NODES"].count(":") == 6
    assert rollout.done("redis3")[-1] == rollout.done("app1")[-1] == "3 verified"


def test_a_replica_that_is_away_is_no_base_for_the_next(rollout: Rollout) -> None:
    replica = next(name for name, role in rollout.roles().items() if role == "slave")
    machine, port = replica.split(":")
    rollout.run(machine, f"systemctl stop redis-server@{port}")
    try:
        said = " ".join(rollout.play("playbooks/rollback.yml", rollout_week=2, fails=True).split())
        assert "the platform is in week 3" in said
        said = rollout.verify(3, fails=True)
        refused = rollout.week(4, fails=True)
    finally:
        rollout.run(machine, f"systemctl start redis-server@{port}")
    assert f"{rollout.addresses[machine]}:{port}" in said
    assert f"{rollout.addresses[machine]}:{port}" in refused
    assert rollout.done()[-1] == "3 verified"
    rollout.soon(lambda: sorted(rollout.roles().values()).count("slave") == 3, 60)


def test_what_would_not_fit_into_a_single_redis_stays_in_the_cluster(rollout: Rollout) -> None:
    with rollout.redis("redis1:6379") as client:
        before = client.config_get("maxmemory*")
        client.config_set("maxmemory-policy", "noeviction")  # it is to keep what it has
        client.config_set("maxmemory", 500_000)
        try:
            said = rollout.back(3, fails=True)
        finally:
            client.config_set("maxmemory", before["maxmemory"])
            client.config_set("maxmemory-policy", before["maxmemory-policy"])
    assert "and the single Redis may have 488.28 KB: raise its maxmemory" in said
    assert rollout.done()[-1] == "3 verified"
    assert len(rollout.masters()) == 3


def test_a_target_that_is_missed_is_no_week(rollout: Rollout) -> None:
    said = rollout.week(4, slo_targets={**rollout.targets, "api_response_time_p95": 0.01}, fails=True)
    assert "Performance targets are missed: api_response_time_p95 is" in said
    assert rollout.done()[-1] == "4 begun"
    status = rollout.play("playbooks/rollout_status.yml")
    assert "week 4" in status.lower()


def test_the_platform_is_measured(rollout: Rollout) -> None:
    with rollout.traffic(rollout.edge):
        rollout.week(4)
    assert rollout.done()[-1] == "4 verified"
    measured = rollout.ledger("pg2")[-1]["measured"]["targets"]
    assert set(measured) == {"api", "users"}
    assert measured["users"]["concurrent_users"] == 40
    assert measured["api"]["error_rate"] == measured["users"]["error_rate"] == 0
    # Nobody is sent to HTTPS yet.
    assert rollout.ask(f"http://{rollout.addresses['lb1']}/api/live").status == 200
    assert len(list(rollout.reports.glob("*.html"))) >= 2


def test_the_platform_in_its_full_size(rollout: Rollout) -> None:
    with rollout.traffic(rollout.edge):
        rollout.week(5)
    assert rollout.done("lb2")[-1] == rollout.done("lb1")[-1] == "5 verified"
    assert rollout.nodes(rollout.shared) == {"app1", "app2"}
    answer = rollout.ask(f"http://{rollout.addresses['lb1']}/api/live")
    assert (answer.status, answer.headers["location"]) == (
        308,
        f"https://{rollout.addresses['lb1']}/api/live",
    )
    assert "strict-transport-security" in rollout.ask(f"{rollout.edge}/api/live").headers


def test_back_from_the_full_size(rollout: Rollout) -> None:
    # Clients are still led to the address that the load balancers share.
    with rollout.traffic(rollout.shared):
        rollout.back(5)
    assert rollout.done()[-1] == "4 verified"
    assert rollout.nodes(rollout.shared) == {"app1", "app2"}
    assert "strict-transport-security" not in rollout.ask(f"{rollout.edge}/api/live").headers
    assert rollout.ask(f"http://{rollout.addresses['lb1']}/api/live").status == 200


def test_back_from_the_load_tests(rollout: Rollout) -> None:
    with rollout.traffic(rollout.edge):
        rollout.back(4)
    assert rollout.done()[-1] == "3 verified"


def test_back_to_a_single_redis_with_what_the_cluster_holds(rollout: Rollout) -> None:
    rollout.remember("in the cluster")
    # The one that stays is not to be the one that it happens to be.
    if "redis1:6379" in rollout.masters():
        rollout.hand_over("redis1:6379")
    with rollout.traffic(rollout.edge):
        rollout.back(3)
    assert rollout.remembers("before")
    assert rollout.remembers("in the cluster")
    assert rollout.masters() == {"redis1:6379"}
    assert environment(rollout, "app1")["REDIS_NODES"] == f"{rollout.addresses['redis1']}:6379"
    assert rollout.done()[-2:] == ["2 begun", "2 verified"]


def test_a_single_redis_is_back_after_a_crash(rollout: Rollout) -> None:
    rollout.run("redis1", "systemctl kill --signal=KILL redis-server@6379")
    took = rollout.soon(lambda: rollout.masters() == {"redis1:6379"}, 30)
    print(f"a single Redis was killed and served again after {took:.1f} s")
    assert rollout.remembers("before")
    rollout.soon(lambda: rollout.ask(f"{rollout.edge}/api/health").status == 200, 30)


def test_back_to_the_primary_alone(rollout: Rollout) -> None:
    with rollout.traffic(rollout.edge):
        rollout.back(2)
    given = environment(rollout, "app1")
    assert given["DATABASE_URL"] == given["DATABASE_READ_REPLICA_URL"]
    assert rollout.done()[-2:] == ["1 begun", "1 verified"]
    assert rollout.nodes(rollout.edge) == {"app1", "app2"}


def test_back_to_one_server(rollout: Rollout) -> None:
    with rollout.traffic(rollout.edge):
        rollout.back(1)
    assert rollout.nodes(rollout.edge) == {"app1"}
    assert rollout.ask(f"{rollout.server}/api/health").status == 200
    assert rollout.done()[-2:] == ["0 begun", "0 verified"]


def test_and_forward_again(rollout: Rollout) -> None:
    with rollout.traffic(rollout.edge):
        rollout.week(1)
        rollout.week(2)
        rollout.week(3)
        rollout.week(4)
        rollout.week(5)
    assert rollout.nodes(rollout.edge) == {"app1", "app2"}
    assert rollout.remembers("before")
    assert len(rollout.masters()) == 3


def test_where_it_stands_can_be_read(rollout: Rollout) -> None:
    said = rollout.play("playbooks/rollout_status.yml")
    assert "The platform is in week 5: Production, full size." in said
    told = rollout.status()
    assert told["week"] == 5
    verified = [entry["week"] for entry in told["entries"] if entry["outcome"] == "verified"]
    assert verified == [0, 1, 2, 3, 4, 5, 4, 3, 2, 1, 0, 1, 2, 3, 4, 5]
    assert told["silent"] == []
    rollout.keep(told["entries"])


def test_the_ledger_outlives_any_machine(rollout: Rollout, power: Power) -> None:
    whole = rollout.status()["entries"]
    for name in ("lb2", "app2", "pg2", "redis2"):
        power("kill", name, "--signal=KILL")
        try:
            left = rollout.status()
        finally:
            power("start", name)
        assert (left["silent"], left["entries"]) == ([name], whole)
        rollout.soon(lambda: rollout.status()["silent"] == [], 120)
    # What was killed is there again by itself.
    rollout.soon(lambda: sorted(rollout.roles().values()).count("slave") == 3, 60)
    rollout.soon(lambda: rollout.nodes(rollout.shared) == {"app1", "app2"}, 60)
    rollout.verify(5)
