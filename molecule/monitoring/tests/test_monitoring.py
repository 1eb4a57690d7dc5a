# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read, by whom, and what is said when something breaks."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from ansible_collections.payaid.scaling.plugins.module_utils._slo.prometheus import QUERIES
from ansible_collections.payaid.scaling.tests.integration import modules

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Asking, Patience, Playbooks

    from .conftest import Watch

testinfra_hosts = ["localhost"]
HOSTS = ("lb1", "app1", "pg1", "pg2", "redis1", "mon1", "mon2")
MONITORS = ("mon1", "mon2")
REDIS = [f"redis1:{port}" for port in range(6379, 6385)]
READ = {
    "prometheus": list(MONITORS),
    "alertmanager": list(MONITORS),
    "node": list(HOSTS),
    "nginx": ["lb1"],
    "postgres": ["pg1", "pg2"],
    "redis": REDIS,
    "app": ["app1:3000", "app1:3001", "app1:3100"],
    "probe": ["edge_lb1"],
    "certificate": ["lb1:443"],
}
# How the names of what exporters tell begin.
TOLD_BY = "alertmanager|nginx|node|pg|pgbackrest|probe|prometheus|redis"
UNITS = {
    "lb1": ["node", "nginx"],
    "app1": ["node"],
    "pg1": ["node", "postgres"],
    "redis1": ["node", "redis"],
}
PORTS = {"node": 9100, "nginx": 9113, "postgres": 9187, "redis": 9121}


@pytest.mark.parametrize("monitor", MONITORS)
def test_each_reads_everything(watch: Watch, soon: Patience, monitor: str) -> None:
    def states() -> dict[tuple[str, str], str]:
        found = watch.prometheus("targets?state=active", monitor)["activeTargets"]
        return {(one["labels"]["job"], one["labels"]["instance"]): one["health"] for one in found}

    soon(lambda: set(states().values()) == {"up"}, 90)  # certificates are looked at once a minute
    assert set(states()) == {(job, instance) for job, instances in READ.items() for instance in instances}


def test_what_is_told_of_each_service_is_true(watch: Watch) -> None:
    assert watch.values("pg_up") == {"pg1": 1, "pg2": 1}
    assert watch.values("redis_up") == dict.fromkeys(REDIS, 1)
    assert watch.values("nginx_up") == {"lb1": 1}
    assert watch.values("probe_success") == {"edge_lb1": 1}
    assert watch.values("pg_standby_streaming") == {"pg2": 1}
    assert watch.values("pg_standby_lag_seconds")["pg2"] < 30
    assert set(watch.values('pg_replication_slots_pg_wal_lsn_diff{slot_name="pg2"}')) >= {"pg1"}
    assert watch.values("redis_cluster_state") == dict.fromkeys(REDIS, 1)
    assert (
        len(watch.values('redis_connected_slaves == 1 and on (instance) redis_instance_info{role="master"}'))
        == 3
    )
    assert watch.values("pgbackrest_stanza_ok") == {"mon2": 1}
    assert time.time() - watch.values("pgbackrest_last_backup_timestamp_seconds")["mon2"] < 7200
    (days,) = watch.values('(probe_ssl_earliest_cert_expiry{job="certificate"} - time()) / 86400').values()
    assert days > 60


def test_all_that_alerts_ask_for_is_told(watch: Watch) -> None:
    """A name that an exporter's release calls otherwise would make an alert that is silent for ever."""
    groups = yaml.safe_load((modules.ROOT / "roles/monitoring/files/causes.yml").read_text())["groups"]
    asked = " ".join(rule["expr"] for group in groups for rule in group["rules"])
    names = set(re.findall(rf"\b(?:{TOLD_BY})_[a-z0-9_]+", asked))
    assert len(names) > 15
    assert [name for name in sorted(names) if not watch.values(name)] == []


def test_nothing_is_said_of_a_platform_in_good_order(watch: Watch) -> None:
    for monitor in MONITORS:
        alerts = watch.prometheus("alerts", monitor)["alerts"]
        # The disk is the computer's, and so is the time that is left for answers.
        alerts = [
            one for one in alerts if one["labels"]["alertname"] != "DiskFull" and "slo" not in one["labels"]
        ]
        assert alerts == []


def test_the_queries_of_slo_check_are_answered(watch: Watch, ask: Asking) -> None:
    app = f"http://{watch.addresses['app1']}:3000"
    until = time.monotonic() + 50
    while time.monotonic() < until:
        for path in ("/api/contacts", "/api/dashboard/stats"):
            assert ask(app + path).status == 200
        time.sleep(0.2)
    # Whatever it is, it has to be known.
    wanted = {
        name: {"metric": name, "comparison": ">" if name == "availability" else "<", "bound": bound}
        for name in QUERIES
        for bound in [0 if name == "availability" else 100000]
    }
    for monitor in MONITORS:
        asked = {
            "targets": wanted
            | dict.fromkeys(("api_response_time_p95", "database_query_time", "concurrent_users"), False),
            "prometheus": {
                "url": f"http://{watch.addresses[monitor]}:9090",
                "window": "1m",
                "availability_window": "1m",
            },
        }
        said, errors = modules.begin("slo_check", asked).communicate(timeout=60)
        answer = json.loads(said)
        assert (errors, answer.get("failed", False)) == ("", False), answer
        measured = {one["name"]: one["value"] for one in answer["results"]}
        assert set(measured) >= set(QUERIES)
        assert all(value is not None for value in measured.values()), measured
        assert measured["latency_p95"] > 0
        assert measured["query_time_mean"] > 0
        assert measured["cache_hit_rate"] > 0
        assert measured["availability"] == 100


def test_the_app_tells_nobody_else(watch: Watch, ask: Asking) -> None:
    for port in (3000, 3001, 3100):
        assert ask(f"http://{watch.addresses['app1']}:{port}/metrics").status == 403


def test_each_exporter_listens_at_one_address(watch: Watch) -> None:
    for name, exporters in UNITS.items():
        listening = watch.run(name, "ss -Hltn").splitlines()
        for exporter in exporters:
            found = [line.split()[3] for line in listening if f":{PORTS[exporter]} " in line]
            assert found == [f"{watch.addresses[name]}:{PORTS[exporter]}"], (name, exporter)


def test_only_those_who_watch_may_ask_an_exporter(watch: Watch) -> None:
    question = "import urllib.request as u; print(u.urlopen('http://{}:9187/metrics', timeout=3).status)"
    asked = {
        name: watch.machines(name).run("python3 -c %s", question.format(watch.addresses["pg1"]))
        for name in ("lb1", "mon1")
    }
    assert "timed out" in asked["lb1"].stderr
    assert asked["mon1"].stdout.strip() == "200"


def test_the_exporter_of_postgresql_reads_statistics_and_nothing_else(watch: Watch) -> None:
    def monitor(database: str, query: str) -> Any:
        return watch.machines("pg1").run("runuser -u monitor -- psql -XAtd %s -c %s", database, query)

    rights = "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolpassword IS NULL"
    owner = watch.run(
        "pg1", "runuser -u postgres -- psql -XAtc %s", f"{rights} FROM pg_authid WHERE rolname = 'monitor'"
    )
    assert owner == "f|f|f|f|f|t"
    assert monitor("postgres", "SELECT pg_has_role('pg_monitor', 'member')").stdout.strip() == "t"
    assert "no pg_hba.conf entry" in monitor("app", "SELECT 1").stderr


def test_the_exporter_of_redis_reads_figures_and_no_keys(watch: Watch) -> None:
    def redis(user: str, secret: str, words: str) -> str:
        return watch.run(
            "redis1",
            f"REDISCLI_AUTH=%s redis-cli --user {user} -h {watch.addresses['redis1']} -p 6379 {words}",
            watch.secret(secret),
        )

    for words in ("get x", "set x y", "keys '*'", "config get '*'", "client list", "acl list"):
        assert "NOPERM" in redis("monitor", "vault_redis_monitor_password", words), words
    # What it asks is what it may: else strangers would be lost among its refusals.
    redis("operator", "vault_redis_operator_password", "acl log reset")
    time.sleep(35)
    assert redis("operator", "vault_redis_operator_password", "acl log") == ""


def test_nobody_sees_a_password(watch: Watch) -> None:
    def seen(what: str) -> str:
        # By a file: as an argument it would be seen there itself.
        watch.run("redis1", f"umask 077; {what} > /root/sought")
        try:
            look = "grep -aslF -f /root/sought /proc/[0-9]*/cmdline /proc/[0-9]*/environ || true"
            return watch.run("redis1", look)
        finally:
            watch.run("redis1", "rm /root/sought")

    passwords = "import json; print(*set(json.load(open('/etc/payaid-exporters/redis.json')).values()))"
    assert seen("echo redis.password-file") != ""
    assert seen(f'python3 -c "{passwords}"') == ""
    assert watch.run("redis1", "stat -c '%a %U' /etc/payaid-exporters/redis.json") == "600 redis_exporter"
    who = watch.run("redis1", "ps -o user= -p $(systemctl show -P MainPID prometheus-redis-exporter)")
    assert who.strip() not in ("root", "prometheus", "redis")
    for monitor in MONITORS:
        assert watch.run(monitor, "stat -c '%a %G' /etc/prometheus/alertmanager.yml") == "640 prometheus"


def test_the_two_tell_a_person_once(watch: Watch, ask: Asking) -> None:
    for monitor in MONITORS:
        status = ask(f"http://{watch.addresses[monitor]}:9093/api/v2/status").json()
        assert len(status["cluster"]["peers"]) == 2
        found = watch.prometheus("alertmanagers", monitor)["activeAlertmanagers"]
        assert len(found) == 2


def test_what_changes_is_taken_up_without_a_restart(watch: Watch, playbooks: Playbooks) -> None:
    def running() -> str:
        units = "prometheus prometheus-alertmanager prometheus-blackbox-exporter"
        return watch.run("mon1", f"systemctl show -P MainPID {units}")

    before, tags = (
        running(),
        "--tags=monitoring_preflight,monitoring_install,monitoring_configure,monitoring_service",
    )
    extra = {"job_name": "extra", "static_configs": [{"targets": ["127.0.0.1:9115"]}]}
    try:
        playbooks.converge(tags, monitoring_scrape_configs=[extra], monitoring_slo_least=20)
        assert "job_name: extra" in watch.prometheus("status/config")["yaml"]
        (rule, *_more) = [
            one
            for group in watch.prometheus("rules")["groups"]
            for one in group["rules"]
            if one["name"] == "RequestsFail"
        ]
        assert ">= 20" in rule["query"]
        # What Prometheus would not take never gets there, and what Alertmanager would not, is not even shown.
        said = playbooks.converge(tags, fails=True, monitoring_scrape_configs=[{"job_nam": "wrong"}])
        assert "job_nam" in said
        assert "job_name: extra" in watch.prometheus("status/config")["yaml"]
        said = playbooks.converge(
            tags, fails=True, monitoring_page_receiver={"webhook_configs": [{"urk": "s3cr3t"}]}
        )
        assert "s3cr3t" not in said
    finally:
        playbooks.converge()
    assert "job_name: extra" not in watch.prometheus("status/config")["yaml"]
    assert running() == before


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        (
            {"monitoring_members": [{"name": "x", "address": "192.0.2.1"}]},
            "monitoring_members has 192.0.2.1, and not",
        ),
        ({"monitoring_rule_files": ["/srv/slo.yml"]}, "monitoring_rule_files (/srv/slo.yml) needs names"),
        ({"exporters_enabled": ["node", "mysql"]}, "exporters_enabled has mysql; there are node, nginx,"),
        (
            {"exporters_enabled": ["backup"]},
            "exporters_enabled has backup, which node tells of: list node, too.",
        ),
        (
            {"exporters_enabled": ["redis"], "exporters_redis_targets": []},
            "needs exporters_redis_targets and exporters_redis_password",
        ),
    ],
)
def test_what_cannot_be_is_refused(playbooks: Playbooks, variables: dict[str, Any], sentence: str) -> None:
    said = playbooks.converge("--tags=exporters_preflight,monitoring_preflight", fails=True, **variables)
    assert sentence in " ".join(said.split())


def test_a_server_that_stops_is_told_of_and_one_that_is_back_no_more(watch: Watch, soon: Patience) -> None:
    broken = "redis1:6384"
    watch.run("redis1", "systemctl stop redis-server@6384")
    try:
        soon(lambda: watch.alerts("mon1", "ServiceDown").get(broken) == "pending", 60)
        for monitor in MONITORS:
            soon(lambda name=monitor: watch.alerts(name, "ServiceDown").get(broken) == "firing", 200)
        for monitor in MONITORS:
            soon(lambda name=monitor: len(watch.told(name, "ServiceDown")) == 1, 60)
        (alert,) = watch.told("mon2", "ServiceDown")
        assert "The redis that runs on redis1:6384 does not answer" in alert["annotations"]["summary"]
        assert [one["name"] for one in alert["receivers"]] == ["ticket"]
    finally:
        watch.run("redis1", "systemctl start redis-server@6384")
    for monitor in MONITORS:
        soon(lambda name=monitor: watch.alerts(name, "ServiceDown") == {}, 60)
        soon(lambda name=monitor: watch.told(name, "ServiceDown") == [], 60)


def test_wal_that_finds_no_repository_is_counted(watch: Watch, soon: Patience) -> None:
    switch = "SELECT pg_switch_wal() FROM pg_create_restore_point('away')"

    def counted(what: str) -> float:
        return watch.values(f"pg_stat_archiver_{what}_count")["pg1"]

    failed = counted("failed")
    watch.run("mon2", "systemctl stop pgbackrest")
    try:
        watch.run("pg1", "cd / && sudo -u postgres psql -XAtqc %s", switch)
        soon(lambda: counted("failed") > failed, 200)
        archived = counted("archived")
    finally:
        watch.run("mon2", "systemctl start pgbackrest")
    soon(lambda: counted("archived") > archived, 180)  # PostgreSQL rests for a minute after three attempts


def test_an_edge_that_does_not_answer_wakes_somebody(watch: Watch, soon: Patience) -> None:
    watch.run("lb1", "systemctl stop nginx")
    try:
        soon(lambda: watch.values("probe_success") == {"edge_lb1": 0}, 60)
        soon(lambda: watch.alerts("mon1", "PlatformDoesNotAnswer").get("") == "firing", 150)
        soon(lambda: watch.told("mon1", "PlatformDoesNotAnswer"), 60)
        receivers = {
            one["name"] for alert in watch.told("mon1", "PlatformDoesNotAnswer") for one in alert["receivers"]
        }
        assert receivers == {"page"}
    finally:
        watch.run("lb1", "systemctl start nginx")
    soon(lambda: watch.values("probe_success") == {"edge_lb1": 1}, 60)


def test_the_machines_are_in_good_order(watch: Watch) -> None:
    for name in HOSTS:
        assert watch.run(name, "systemctl is-system-running") == "running", name
    for name, exporters in UNITS.items():
        for exporter in exporters:
            assert exposure(watch, name, f"prometheus-{exporter}-exporter") < 4, exporter
    for unit in ("prometheus", "prometheus-alertmanager", "prometheus-blackbox-exporter"):
        assert exposure(watch, "mon1", unit) < 4, unit


def exposure(watch: Watch, name: str, unit: str) -> float:
    """Return what systemd thinks of a unit's sandbox, from 0 to 10."""
    said = watch.run(name, "systemd-analyze security --no-pager %s.service | tail -n 1", unit)
    return float(said.split()[-3])
