# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the replica and its primary about each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.payaid.scaling.molecule.conftest import Machines, Patience

testinfra_hosts = ["postgres_replicas"]


def psql(machine: Any, query: str, database: str = "postgres") -> str:
    """Ask as the superuser."""
    said = machine.check_output(
        "cd / && sudo -u postgres psql -XAtq -v ON_ERROR_STOP=1 -d %s -c %s", database, query
    )
    return str(said)


@pytest.fixture
def primary(machines: Machines) -> Callable[..., str]:
    """Ask the primary."""
    return lambda query, database="postgres": psql(machines("pg1"), query, database)


@pytest.fixture
def replica(host: Any) -> Callable[..., str]:
    """Ask the replica."""
    return lambda query, database="postgres": psql(host, query, database)


def test_a_row_written_on_the_primary_arrives(
    primary: Callable[..., str], replica: Callable[..., str], soon: Patience
) -> None:
    primary("DROP TABLE IF EXISTS molecule; CREATE TABLE molecule (word text)", "app")
    primary("INSERT INTO molecule VALUES ('arrived')", "app")
    soon(
        lambda: (
            replica("SELECT to_regclass('molecule')", "app")
            and replica("SELECT word FROM molecule", "app") == "arrived"
        )
    )


def test_the_replica_takes_no_writes(host: Any) -> None:
    said = host.run("cd / && sudo -u postgres psql -Xq -d app -c 'CREATE TABLE forbidden ()'")
    assert said.rc != 0
    assert "read-only transaction" in said.stderr


def test_it_follows_through_a_slot_of_its_own(
    primary: Callable[..., str], replica: Callable[..., str]
) -> None:
    assert primary("SELECT slot_name, active, wal_status FROM pg_replication_slots") == "pg2|t|reserved"
    assert replica("SELECT slot_name, status FROM pg_stat_wal_receiver") == "pg2|streaming"


def test_the_primary_streams_to_it_over_tls(primary: Callable[..., str], host: Any) -> None:
    said = primary(
        "SELECT client_addr, state, usename, ssl FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)"
    )
    assert said == f"{host.ansible.get_variables()['ansible_host']}|streaming|replicator|t"


def test_it_does_not_follow_a_server_whose_certificate_is_of_another_authority(
    primary: Callable[..., str], replica: Callable[..., str], host: Any, soon: Patience
) -> None:
    assert "sslmode=verify-full" in replica("SHOW primary_conninfo")
    receiver = "SELECT status FROM pg_stat_wal_receiver"
    log = "grep -c 'certificate verify failed' /var/log/postgresql/postgresql-*-main.log"
    before = host.run(log).stdout
    primary("ALTER SYSTEM SET ssl_cert_file = '/etc/ssl/certs/ssl-cert-snakeoil.pem'")
    primary("ALTER SYSTEM SET ssl_key_file = '/etc/ssl/private/ssl-cert-snakeoil.key'")
    try:
        primary("SELECT pg_reload_conf()")
        assert replica(receiver) == "streaming", "what is connected stays"
        primary("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
        soon(lambda: host.run(log).stdout != before, 15)
        assert replica(receiver) != "streaming"
    finally:
        primary("ALTER SYSTEM RESET ssl_cert_file")
        primary("ALTER SYSTEM RESET ssl_key_file")
        primary("SELECT pg_reload_conf()")
    soon(lambda: replica(receiver) == "streaming", 15)


def test_both_are_the_same_cluster(primary: Callable[..., str], replica: Callable[..., str]) -> None:
    query = "SELECT system_identifier, current_setting('data_checksums') FROM pg_control_system()"
    assert replica(query) == primary(query)
    assert replica(query).endswith("|on")


def test_the_password_is_in_a_file_of_postgres_alone(host: Any, replica: Callable[..., str]) -> None:
    password = host.ansible.get_variables()["vault_postgres_replication_password"]
    holders = host.check_output("grep -rlF %s /etc /var/lib/postgresql --exclude-dir=base", password).split()
    assert holders
    for holder in holders:
        assert (host.file(holder).mode, host.file(holder).user) == (0o600, "postgres"), holder
    assert password not in replica("SHOW primary_conninfo")
    assert password not in host.check_output("ps -eo args")


def test_no_setting_waits_for_a_restart(replica: Callable[..., str]) -> None:
    assert replica("SELECT name FROM pg_settings WHERE pending_restart") == ""
    assert replica("SHOW max_connections") == "120"


def test_it_streams_again_by_itself_after_a_restart_of_either(
    host: Any, machines: Machines, replica: Callable[..., str], soon: Patience
) -> None:
    def streams() -> bool:
        said = host.run("cd / && sudo -u postgres psql -XAtqc 'SELECT status FROM pg_stat_wal_receiver'")
        return bool(said.stdout.strip() == "streaming")

    for machine in (host, machines("pg1")):
        machine.check_output("systemctl restart postgresql.service")
        soon(streams, 20)
    assert replica("SELECT pg_is_in_recovery()") == "t"


def test_it_starts_with_the_machine(host: Any) -> None:
    (unit,) = host.check_output(
        "systemctl list-units --plain --no-legend 'postgresql@*' | cut -d' ' -f1"
    ).split()
    assert host.service(unit).is_enabled
    assert host.check_output("systemctl is-system-running") == "running"
