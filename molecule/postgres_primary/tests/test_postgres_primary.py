# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the primary, as its superuser over the socket and as the app over the network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.payaid.scaling.molecule.conftest import Patience

testinfra_hosts = ["postgres_primary"]


@pytest.fixture
def variables(host: Any) -> dict[str, Any]:
    """Return the machine's variables."""
    return dict(host.ansible.get_variables())


@pytest.fixture
def admin(host: Any) -> Callable[..., str]:
    """Ask as the superuser."""

    def ask(query: str, database: str = "postgres") -> str:
        said = host.check_output(
            "cd / && sudo -u postgres psql -XAtq -v ON_ERROR_STOP=1 -d %s -c %s", database, query
        )
        return str(said)

    return ask


@pytest.fixture
def login(host: Any, variables: dict[str, Any]) -> Callable[..., Any]:
    """Ask over the network, as anybody."""

    def ask(user: str, password: str, query: str, database: str = "app", sslmode: str = "require") -> Any:
        target = f"host={variables['ansible_host']} dbname={database} user={user} sslmode={sslmode}"
        return host.run("PGPASSWORD=%s psql -XAtq -v ON_ERROR_STOP=1 -d %s -c %s", password, target, query)

    return ask


def test_it_takes_writes(login: Callable[..., Any], variables: dict[str, Any]) -> None:
    query = """
        DROP TABLE IF EXISTS molecule; CREATE TABLE molecule (word text);
        INSERT INTO molecule VALUES ('written') RETURNING word
    """
    for database in ("app", "reports"):
        said = login("app", variables["vault_postgres_app_password"], query, database)
        assert (said.rc, said.stdout.strip()) == (0, "written"), said.stderr


def test_statements_are_counted_in_every_database(admin: Callable[..., str]) -> None:
    for database in ("app", "reports"):
        assert int(admin("SELECT count(*) FROM pg_stat_statements", database)) > 0


def test_memory_is_what_the_inventory_says_the_machine_has(admin: Callable[..., str]) -> None:
    names = ("shared_buffers", "effective_cache_size", "work_mem", "maintenance_work_mem")
    assert [admin(f"SHOW {name}") for name in names] == ["256MB", "768MB", "4MB", "64MB"]


def test_a_wrong_password_is_refused(login: Callable[..., Any]) -> None:
    said = login("app", "wrong", "SELECT 1")
    assert said.rc != 0
    assert "password authentication failed" in said.stderr


def test_nobody_connects_without_tls(login: Callable[..., Any], variables: dict[str, Any]) -> None:
    said = login("app", variables["vault_postgres_app_password"], "SELECT 1", sslmode="disable")
    assert said.rc != 0
    assert "no encryption" in said.stderr


def test_the_replicator_reads_no_data_of_the_app(
    login: Callable[..., Any], variables: dict[str, Any]
) -> None:
    said = login("replicator", variables["vault_postgres_replication_password"], "SELECT 1")
    assert said.rc != 0
    assert "no pg_hba.conf entry" in said.stderr


def test_only_postgres_connects_on_the_machine_itself(host: Any) -> None:
    said = host.run("sudo -u debian psql -XAt -U postgres -d postgres -c 'SELECT 1'")
    assert said.rc != 0
    assert "Peer authentication failed" in said.stderr


def test_settings_are_in_force(host: Any) -> None:
    # psql would name the application itself.
    said = host.check_output(
        "cd / && sudo -u postgres psql -XAtq -d 'dbname=postgres application_name=' -c %s",
        "SELECT name, reset_val, unit FROM pg_settings",
    )
    seen = {name: value + unit for name, value, unit in (line.split("|") for line in said.splitlines())}
    wanted = {
        "data_checksums": "on",
        "max_connections": "120",
        "log_min_duration_statement": "250ms",
        "application_name": "it's a test",
        "password_encryption": "scram-sha-256",
        "wal_log_hints": "on",
        "ssl": "on",
    }
    assert {name: seen[name] for name in wanted} == wanted


def test_no_setting_waits_for_a_restart_or_is_wrong(admin: Callable[..., str]) -> None:
    assert admin("SELECT name FROM pg_settings WHERE pending_restart") == ""
    assert admin("SELECT sourcefile, error FROM pg_file_settings WHERE error IS NOT NULL") == ""
    assert admin("SELECT line_number, error FROM pg_hba_file_rules WHERE error IS NOT NULL") == ""


def test_every_password_is_kept_as_a_verifier(admin: Callable[..., str]) -> None:
    said = admin("SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%' ORDER BY 1")
    assert said.split() == ["app", "pooler", "replicator"]
    assert admin("SELECT rolname FROM pg_authid WHERE rolreplication AND NOT rolsuper") == "replicator"


@pytest.mark.parametrize("database", ["app", "reports"])
@pytest.mark.parametrize(("role", "found"), [("app", True), ("replicator", False), ("postgres", False)])
def test_the_pooler_looks_up_the_app_and_nobody_above_it(
    login: Callable[..., Any], variables: dict[str, Any], database: str, role: str, found: bool
) -> None:
    said = login(
        "pooler",
        variables["vault_postgres_pooler_password"],
        f"SELECT * FROM pooler.lookup('{role}')",  # noqa: S608 - the roles are those above
        database,
    )
    assert said.rc == 0, said.stderr
    assert said.stdout.startswith("app|SCRAM-SHA-256$") if found else said.stdout == ""


def test_the_lookup_gives_no_password_that_has_run_out(
    admin: Callable[..., str], login: Callable[..., Any], variables: dict[str, Any]
) -> None:
    admin("CREATE ROLE gone LOGIN PASSWORD 'x' VALID UNTIL '2020-01-01'")
    try:
        said = login(
            "pooler", variables["vault_postgres_pooler_password"], "SELECT * FROM pooler.lookup('gone')"
        )
    finally:
        admin("DROP ROLE gone")
    assert said.stdout.strip() == "gone|"


def test_the_app_may_not_look_up(login: Callable[..., Any], variables: dict[str, Any]) -> None:
    said = login("app", variables["vault_postgres_app_password"], "SELECT * FROM pooler.lookup('app')")
    assert said.rc != 0
    assert "permission denied" in said.stderr


def test_files_are_closed_to_others(host: Any) -> None:
    data = host.check_output("cd / && sudo -u postgres psql -XAtq -c 'SHOW data_directory'")
    hba = host.check_output("cd / && sudo -u postgres psql -XAtq -c 'SHOW hba_file'")
    assert host.file(data).mode == 0o700
    assert host.file(hba).mode == 0o640


def test_it_starts_with_the_machine(host: Any, admin: Callable[..., str], soon: Patience) -> None:
    (unit,) = host.check_output(
        "systemctl list-units --plain --no-legend 'postgresql@*' | cut -d' ' -f1"
    ).split()
    assert host.service(unit).is_enabled
    began = admin("SELECT pg_postmaster_start_time()")
    host.check_output("systemctl restart postgresql.service")
    soon(lambda: host.service(unit).is_running, 10)
    assert admin("SELECT pg_postmaster_start_time()") != began
    assert host.check_output("systemctl is-system-running") == "running"
