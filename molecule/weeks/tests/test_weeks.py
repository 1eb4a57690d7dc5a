# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From one server on, week by week and back, while clients ask all the time. Each test goes on from the one
before.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Rollout

testinfra_hosts = ["localhost"]


def environment(rollout: Rollout, name: str) -> dict[str, str]:
    text = rollout.run(name, "cat /etc/payaid-app/environment")
    return dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', text, re.MULTILINE))


def test_one_server_is_there_and_nothing_besides(rollout: Rollout) -> None:
    assert rollout.ask(f"{rollout.server}/api/health").status == 200
    given = environment(rollout, "app1")
    assert f"{rollout.addresses['pg1']}:5432/app" in given["DATABASE_URL"]
    assert given["DATABASE_URL"] == given["DATABASE_READ_REPLICA_URL"]
    assert (given["REDIS_MODE"], given["REDIS_NODES"]) == (
        "standalone",
        f"{rollout.addresses['redis1']}:6378",
    )
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
        assert not rollout.machines(name).file("/run/payaid-rollout.lock").exists


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
    assert environment(rollout, "app1")["REDIS_MODE"] == "standalone"


def test_a_platform_that_serves_without_a_ledger_is_not_made_one_server(rollout: Rollout) -> None:
    with rollout.without_ledger("app1", "pg1", "redis1"):
        said = rollout.week(0, fails=True)
    assert "app1 serves an app already, and the ledger knows of no week" in said


def test_the_load_balancer_comes(rollout: Rollout) -> None:
    with rollout.traffic(rollout.server):
        said = rollout.week(1)
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
    assert rollout.nodes(rollout.edge) == {"app1", "app2"}


def test_where_it_stands_can_be_read(rollout: Rollout) -> None:
    said = rollout.play("playbooks/rollout_status.yml")
    assert "The platform is in week 2: Read replica, pools." in said
    text = rollout.play("playbooks/rollout_status.yml", rollout_format="json")
    # Among what Ansible says of its own it is the only JSON.
    told = json.loads(text[text.index("{\n") : text.rindex("}") + 1])
    assert told["week"] == 2
    assert [entry["week"] for entry in told["entries"] if entry["outcome"] == "verified"] == [
        0,
        1,
        2,
        1,
        0,
        1,
        2,
    ]
    assert told["silent"] == []
    # Whichever machine is lost, the others know all of it.
    assert rollout.done("pg2") == rollout.done("app1") == rollout.done("lb1")
