# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test asks, what it counts, and what ends it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Patience

    from .conftest import LoadTests

testinfra_hosts = ["localhost"]
# So few that a computer on which everything runs answers all of them in time.
PHASES = [{"name": "One", "seconds": 10, "rate": 5}, {"name": "Two", "seconds": 20, "rate": 12}]
GENERATORS = ("gen1", "gen2")
COME = 10 * 5 + 20 * 12


def result(record: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in record["slo"]["results"] if one["name"] == name)


def test_clients_and_load_balancers_count_the_same(load_tests: LoadTests) -> None:
    said, record = load_tests("api", load_test_phases=PHASES)
    for name in GENERATORS:
        assert re.search(rf"{name}: \d+ of about 50 s: \d+ requests/s, p95 ", said)
    # Each has its share of them; five users a second do not come out even.
    reports = {path.stem: json.loads(path.read_text()) for path in load_tests.reports.glob("*/*.json")}
    assert {name: one["aggregate"]["counters"]["http.requests"] for name, one in reports.items()} == {
        "gen1": 2 * (10 * 3 + 20 * 6),
        "gen2": 2 * (10 * 2 + 20 * 6),
    }
    assert record["generators"] == list(GENERATORS)
    assert record["totals"] == {"requests": 2 * COME, "failed": 0, "limited": 0}
    assert sum(bucket["requests"] for bucket in record["edge"]["buckets"]) == 2 * COME
    assert record["edge"]["codes"] == {"200": 2 * COME}
    # Two processes on each node, all of which have their share.
    assert (
        sorted(one["name"].split()[0] for one in record["edge"]["upstreams"]) == ["app1"] * 2 + ["app2"] * 2
    )
    assert min(one["requests"] for one in record["edge"]["upstreams"]) > COME / 10
    # Each target is measured by whoever sees it; users who come and go show nothing of those who stay.
    assert {one["name"]: one["source"].split()[0] for one in record["slo"]["results"]} == {
        "api_response_time_p95": "artillery",
        "database_query_time": "postgres",
        "cache_hit_rate": "redis",
        "error_rate": "artillery",
        "availability": "artillery",
    }
    assert record["slo"]["passed"], record["slo"]["table"]
    # A reader who has written nothing asks for what there is, and not for what there is not.
    assert result(record, "cache_hit_rate")["value"] > 80
    evidence = record["evidence"]
    assert [one["host"] for one in evidence["app_nodes"]] == ["app1", "app2"]
    assert [one["host"] for one in evidence["generators"]] == list(GENERATORS)
    assert all(0 < one["cpu"] <= 1 for one in evidence["app_nodes"] + evidence["generators"])
    assert {one["pool"] for one in evidence["pools"]} == {"app_rw", "app_ro"}
    assert sum(one["transactions"] for one in evidence["pools"]) > 0
    page = next(load_tests.reports.glob("*.html")).read_text()
    assert "All 5 targets are met." in page
    # The generators keep nothing of it.
    assert [load_tests.generator("ls /var/lib/payaid-load-test", name) for name in GENERATORS] == ["", ""]


def test_a_target_that_is_missed_is_named(load_tests: LoadTests) -> None:
    targets = {"concurrent_users": 5000}
    said, record = load_tests(
        "users",
        fails=True,
        targets=targets,
        load_test_users=100,
        load_test_think_time=5,
        load_test_ramp=5,
        load_test_hold=15,
    )
    assert record["slo"]["missed"] == ["concurrent_users"], record["slo"]["table"]
    assert result(record, "concurrent_users")["value"] == 100
    assert re.search(
        r"gen1: \d+ of about \d+ s: \d+ requests/s, p95 \d+ ms, 100 users, 0 of \d+ failed", said
    )
    assert "concurrent_users is 100 users (target >= 5000 users, by k6" in said
    assert record["totals"]["failed"] == 0
    # Told without failing, where that is asked for, and compared with the one before.
    _said, record = load_tests(
        "users",
        targets=targets,
        load_test_gate=False,
        load_test_users=100,
        load_test_think_time=5,
        load_test_ramp=5,
        load_test_hold=15,
    )
    assert record["slo"]["missed"] == ["concurrent_users"]
    newest = sorted(load_tests.reports.glob("*.html"))[-1].read_text()
    assert "Beside the run before" in newest


def test_logins_and_writes(load_tests: LoadTests) -> None:
    query = "SELECT count(*) FROM contacts WHERE tenant_id = 'load-test'"
    count = f'cd / && sudo -u postgres psql -XAtq -d app -c "{query}"'
    before = int(load_tests.machines("data1").check_output(count))
    _said, record = load_tests("writes", load_test_phases=[{"seconds": 20, "rate": 2}])
    # What cannot be captured, a login that is forgotten say, would be an error.
    assert record["totals"] == {"requests": 4 * 40, "failed": 0, "limited": 0}
    assert int(load_tests.machines("data1").check_output(count)) - before == 40


def test_websockets(load_tests: LoadTests) -> None:
    said, record = load_tests("websocket", load_test_phases=[{"seconds": 5, "rate": 2}], load_test_gate=False)
    assert "0 of 0 failed" in said
    assert record["totals"]["failed"] == 0
    assert record["edge"]["codes"] == {"101": 10}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"load_test_target": "https://example.com"}, "is of none of the machines that the inventory lists"),
        ({"load_test_scenario": "apis"}, "load_test_scenario=apis is none of api, quick, users,"),
        ({"load_test_phases": [{"seconds": 0, "rate": 1}]}, "Phase 1 of load_test_phases has seconds=0"),
    ],
)
def test_what_is_refused_before_anybody_is_asked(
    load_tests: LoadTests, asked: dict[str, Any], said: str
) -> None:
    scenario = asked.pop("load_test_scenario", "api")
    told, record = load_tests(scenario, fails=True, **asked)
    assert said in told
    assert "Nothing was asked." in told
    assert record == {}
    assert load_tests.generator("ls /var/lib/payaid-load-test") == ""


def test_a_check_run_asks_nobody(load_tests: LoadTests) -> None:
    answered = "sudo sh -c 'wc -l < /var/log/nginx/access.log'"
    before = str(load_tests.machines("lb1").check_output(answered))
    _said, record = load_tests("api", "--check", load_test_phases=PHASES)
    assert record == {}
    assert str(load_tests.machines("lb1").check_output(answered)) == before
    assert load_tests.generator("ls /var/lib/payaid-load-test") == ""


def test_a_second_one_is_refused_and_a_run_that_is_killed_ends_its_load(
    load_tests: LoadTests, soon: Patience
) -> None:
    with load_tests.begun():
        soon(load_tests.going_on, 120)
        [unit] = load_tests.going_on()
        said, _record = load_tests("quick", fails=True)
        assert f"is still running there: wait for its end, or end it by `systemctl stop {unit[:-8]}`" in said
        assert load_tests.going_on() == [unit]
        # Its worker goes on by itself, and looks once more.
        load_tests.kill(workers=False)
        soon(lambda: not load_tests.going_on(), 20)


def test_a_load_that_nobody_looks_at_ends(load_tests: LoadTests, soon: Patience) -> None:
    with load_tests.begun():
        soon(load_tests.going_on, 120)
        load_tests.kill()
        assert load_tests.going_on()
        assert soon(lambda: not load_tests.going_on(), 90) > 20


def test_passwords_are_in_no_command_line(load_tests: LoadTests, soon: Patience) -> None:
    with load_tests.begun(load_test_environment={"WORD": "canary-7c1f"}):
        soon(load_tests.going_on, 120)
        commands = load_tests.generator('cat /proc/[0-9]*/cmdline | tr "\\000" " "')
        assert "k6 run" in commands
        assert "canary-7c1f" not in commands
        # It is handed over all the same.
        assert "canary-7c1f" in load_tests.generator("cat /proc/$(pgrep -x k6)/environ")
    soon(lambda: not load_tests.going_on(), 90)


def test_a_setting_is_tried_and_kept_and_every_run_reads_it(load_tests: LoadTests, soon: Patience) -> None:
    def sizes() -> set[int]:
        read = "sudo grep -oP '^app_rw = .* pool_size=\\K[0-9]+' /etc/pgbouncer/pgbouncer.ini"
        return {int(load_tests.machines(name).check_output(read)) for name in ("app1", "app2")}

    tuned = load_tests.reports / "group_vars" / "tuned.yml"
    told: dict[str, Any] = {"platform_tuned_file": str(tuned)}
    lock = load_tests.machines("app1").file("/run/payaid-rollout.lock")
    normal = sizes()
    tuned.parent.mkdir()
    tuned.write_text("platform_pool_size: 1\n")
    load_tests.play("playbooks/site.yml", **told)
    try:
        assert sizes() == {1}
        # What a report takes is none of the app's.
        given = (
            load_tests.given("writes", {"database_query_time": False})
            | {"load_test_phases": [{"seconds": 20, "rate": 4}]}
            | told
        )
        with (
            load_tests.reports_made(),
            load_tests.play.under_way("playbooks/optimize.yml", **given) as running,
        ):
            soon(lambda: lock.exists, 300)
            refused = " ".join(load_tests.play("playbooks/site.yml", fails=True, **told).split())
            said = running.well()
        assert "app1: a run of optimize.yml of" in refused
        assert "Transactions waited for a connection to the database: app_rw at app1" in said
        assert "platform_pool_size=2 is kept: p95" in said
        assert f"{tuned} has what is kept" in said
        assert not lock.exists
        kept = yaml.safe_load(tuned.read_text())["platform_pool_size"]
        assert sizes() == {kept} != {1}
        assert any(
            "Settings that were tried" in page.read_text() for page in load_tests.reports.glob("*.html")
        )
        assert not re.search("changed=[1-9]", load_tests.play("playbooks/site.yml", **told))
    finally:
        load_tests.play("playbooks/site.yml")
    assert sizes() == normal
