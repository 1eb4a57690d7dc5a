# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the pools as the app does, and PgBouncer's own console."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ansible_collections.payaid.scaling.molecule.conftest import Machines, Patience, Playbooks

testinfra_hosts = ["app_nodes"]
AUTHORITY = "/etc/pgbouncer/tls/ca.crt"
CONSOLE = "host=/run/postgresql port=6432 user=pgbouncer dbname=pgbouncer"
# Debian's own, which nobody is to trust.
SNAKEOIL = "/etc/ssl/certs/ssl-cert-snakeoil.pem"
SNAKEOIL_KEY = "/etc/ssl/private/ssl-cert-snakeoil.key"


@pytest.fixture
def variables(host: Any) -> dict[str, Any]:
    """Return the machine's variables."""
    return dict(host.ansible.get_variables())


@pytest.fixture
def pool(host: Any, variables: dict[str, Any]) -> Callable[..., Any]:
    """Ask through a pool; the result may be a refusal."""

    def ask(name: str, query: str, user: str = "app", password: str = "") -> Any:
        return host.run(
            "PGPASSWORD=%s psql -XAtq -v ON_ERROR_STOP=1 -d %s -c %s",
            password or variables["vault_postgres_app_password"],
            f"host=127.0.0.1 port=6432 dbname={name} user={user}",
            query,
        )

    return ask


@pytest.fixture
def console(host: Any) -> Callable[[str], list[dict[str, str]]]:
    """Ask PgBouncer about itself, as its own account over the socket."""

    def show(what: str) -> list[dict[str, str]]:
        said = host.check_output("cd / && sudo -u postgres psql -X --csv -c %s %s", f"SHOW {what}", CONSOLE)
        return list(csv.DictReader(said.splitlines()))

    return show


def log_of(host: Any) -> str:
    """Return what PgBouncer said last."""
    return str(host.check_output("tail -n 60 /var/log/postgresql/pgbouncer.log"))


@pytest.mark.parametrize(("name", "machine", "standby"), [("app_rw", "pg1", "f"), ("app_ro", "pg2", "t")])
def test_a_pool_leads_to_its_server(
    pool: Callable[..., Any], machines: Machines, name: str, machine: str, standby: str
) -> None:
    said = pool(
        name, "SELECT host(inet_server_addr()), pg_is_in_recovery(), current_user, current_database()"
    )
    address = machines(machine).ansible.get_variables()["ansible_host"]
    assert said.stdout.strip() == f"{address}|{standby}|app|app", said.stderr


def test_a_row_written_through_one_pool_is_read_through_the_other(
    pool: Callable[..., Any], soon: Patience
) -> None:
    written = pool(
        "app_rw",
        "DROP TABLE IF EXISTS molecule; CREATE TABLE molecule (word text); INSERT INTO molecule VALUES ('x')",
    )
    assert written.rc == 0, written.stderr
    soon(lambda: pool("app_ro", "SELECT word FROM molecule").stdout.strip() == "x")
    refused = pool("app_ro", "INSERT INTO molecule VALUES ('y')")
    assert "read-only transaction" in refused.stderr


@pytest.mark.parametrize(
    ("user", "known"),
    [
        ("app", False),
        ("nobody", False),
        # The lookup knows nothing of those who could do more than the app, whatever they say.
        ("postgres", False),
        ("replicator", True),
    ],
)
def test_anybody_else_is_refused(
    pool: Callable[..., Any], variables: dict[str, Any], user: str, known: bool
) -> None:
    said = pool(
        "app_rw", "SELECT 1", user, variables["vault_postgres_replication_password"] if known else "x"
    )
    assert said.rc != 0
    assert "authentication failed" in said.stderr or "no such user" in said.stderr, said.stderr


def test_a_database_that_is_no_pool_is_refused(pool: Callable[..., Any]) -> None:
    said = pool("postgres", "SELECT 1")
    assert said.rc != 0
    # Newer versions do not say which of the two it was.
    assert "no such database" in said.stderr or "authentication failed" in said.stderr, said.stderr
    assert pool("app_rw", "SELECT 1").rc == 0, "the login itself is right"


def test_it_pools_transactions(
    pool: Callable[..., Any], console: Callable[[str], list[dict[str, str]]]
) -> None:
    servers = {pool("app_rw", "SELECT pg_backend_pid()").stdout for _time in range(5)}
    pools = {(row["database"], row["user"]): row for row in console("POOLS")}
    assert pools["app_rw", "app"]["pool_mode"] == "transaction"
    assert pools["app_rw", "app"]["cl_waiting"] == "0"
    # Five clients one after the other share what is open already.
    assert len(servers) <= int(pools["app_rw", "app"]["sv_idle"]) + int(pools["app_rw", "app"]["sv_used"])


def test_sizes_are_in_force(console: Callable[[str], list[dict[str, str]]]) -> None:
    databases = {row["name"]: row for row in console("DATABASES")}
    assert set(databases) == {"app_rw", "app_ro", "pgbouncer"}
    for name in ("app_rw", "app_ro"):
        reserve = databases[name].get("reserve_pool_size") or databases[name]["reserve_pool"]
        sizes = (databases[name]["pool_size"], reserve, databases[name]["max_connections"])
        assert sizes == ("20", "5", "25"), name


def test_settings_are_in_force(
    console: Callable[[str], list[dict[str, str]]], variables: dict[str, Any]
) -> None:
    settings = {row["key"]: row["value"] for row in console("CONFIG")}
    assert settings["server_tls_sslmode"] == "verify-full"
    assert settings["auth_type"] == "hba"
    assert settings["server_connect_timeout"] == "2"
    if variables["lab_debian"] == "13":
        assert settings["max_prepared_statements"] == "200"


def test_the_servers_see_tls_and_nobody_but_app_and_pooler(
    pool: Callable[..., Any], machines: Machines, variables: dict[str, Any]
) -> None:
    assert pool("app_rw", "SELECT 1").rc == 0
    said = machines("pg1").check_output(
        "cd / && sudo -u postgres psql -XAtqc %s",
        "SELECT DISTINCT host(client_addr), usename, ssl FROM pg_stat_activity JOIN pg_stat_ssl USING (pid) "
        "WHERE client_addr IS NOT NULL AND usename <> 'replicator' ORDER BY 2",
    )
    address = variables["ansible_host"]
    assert said.split() == [f"{address}|app|t", f"{address}|pooler|t"]


def test_a_client_that_asks_for_tls_can_verify_whom_it_speaks_to(
    host: Any, console: Callable[[str], list[dict[str, str]]], variables: dict[str, Any]
) -> None:
    def ask(name: str, authority: str, query: str = "SELECT 1", more: str = "") -> Any:
        where = f"host={name} hostaddr=127.0.0.1 port=6432 dbname=app_rw user=app sslmode=verify-full"
        return host.run(
            f"PGPASSWORD=%s psql -XAtqc %s -d %s {more}",
            variables["vault_postgres_app_password"],
            query,
            f"{where} sslrootcert={authority}",
        )

    assert ask("127.0.0.1", AUTHORITY).rc == 0
    assert "certificate verify failed" in ask("127.0.0.1", SNAKEOIL).stderr
    assert "does not match host name" in ask("pooler.example", AUTHORITY).stderr
    ask("127.0.0.1", AUTHORITY, "SELECT pg_sleep(4)", "</dev/null >/dev/null 2>&1 &")
    host.check_output("sleep 1")
    assert [row["tls"][:4] for row in console("CLIENTS") if row["user"] == "app"] == ["TLSv"]
    assert {row["tls"][:4] for row in console("SERVERS") if row["user"] == "app"} == {"TLSv"}


def test_a_server_with_a_certificate_of_another_authority_gets_no_query(
    host: Any, pool: Callable[..., Any], machines: Machines, soon: Patience
) -> None:
    def show(*settings: str) -> None:
        for setting in (*settings, "SELECT pg_reload_conf()"):
            machines("pg1").check_output("cd / && sudo -u postgres psql -XAtqc %s", setting)

    assert pool("app_rw", "SELECT 1").rc == 0
    show(
        f"ALTER SYSTEM SET ssl_cert_file = '{SNAKEOIL}'",
        f"ALTER SYSTEM SET ssl_key_file = '{SNAKEOIL_KEY}'",
    )
    try:
        # Those that are open would serve on.
        host.check_output("cd / && sudo -u postgres psql -XAtqc RECONNECT %s", CONSOLE)
        soon(lambda: pool("app_rw", "SELECT 1").rc != 0)
        assert "certificate verif" in log_of(host)
    finally:
        show("ALTER SYSTEM RESET ssl_cert_file", "ALTER SYSTEM RESET ssl_key_file")
    soon(lambda: pool("app_rw", "SELECT 1").rc == 0, 10)


def test_a_server_that_is_reached_by_another_name_gets_no_query(
    host: Any, pool: Callable[..., Any], machines: Machines, soon: Patience
) -> None:
    settings = "/etc/pgbouncer/pgbouncer.ini"
    address = machines("pg1").ansible.get_variables()["ansible_host"]
    host.check_output("cp -p %s /root/pgbouncer.ini", settings)
    host.check_output("echo %s elsewhere.example >>/etc/hosts", address)
    try:
        host.check_output("sed -i 's/^app_rw = host=[^ ]*/app_rw = host=elsewhere.example/' %s", settings)
        host.check_output("systemctl reload pgbouncer")
        soon(lambda: pool("app_rw", "SELECT 1").rc != 0)
        assert "name `elsewhere.example' not present in server certificate" in log_of(host)
    finally:
        host.check_output("cp -p /root/pgbouncer.ini %s && systemctl reload pgbouncer", settings)
    soon(lambda: pool("app_rw", "SELECT 1").rc == 0, 10)


def test_another_certificate_is_shown_after_a_reload(host: Any, soon: Patience) -> None:
    def shown() -> str:
        return str(
            host.run(
                "openssl s_client -starttls postgres -connect 127.0.0.1:6432 </dev/null 2>/dev/null"
                " | openssl x509 -noout -fingerprint"
            ).stdout
        )

    def process() -> str:
        return str(host.check_output("systemctl show --value --property=MainPID pgbouncer"))

    folder, before, running = "/etc/pgbouncer/tls", shown(), process()
    assert before
    host.check_output("cp -a %s /root/tls", folder)
    try:
        host.check_output(
            "cp %s %s/server.crt && cp %s %s/server.key", SNAKEOIL, folder, SNAKEOIL_KEY, folder
        )
        assert shown() == before
        host.check_output("systemctl reload pgbouncer")
        soon(lambda: shown() not in ("", before), 5)
    finally:
        host.check_output("cp -a /root/tls/. %s && rm -r /root/tls && systemctl reload pgbouncer", folder)
    soon(lambda: shown() == before, 5)
    assert process() == running


def given(role: str, key: str = "{{ inventory_hostname }}") -> dict[str, Any]:
    """Name the files that the authority made as if somebody had brought them."""
    folder = f"{{{{ {role}_tls_ca_dir }}}}"
    return {
        f"{role}_tls_source": "files",
        f"{role}_tls_ca": f"{folder}/ca.crt",
        f"{role}_tls_certificate": f"{folder}/{{{{ inventory_hostname }}}}.crt",
        f"{role}_tls_certificate_key": f"{folder}/{key}.key",
    }


def test_files_that_are_brought_take_the_place_of_those_that_were_made(playbooks: Playbooks) -> None:
    for said in (
        playbooks("playbooks/postgres.yml", **given("postgres_server")),
        playbooks.converge(**given("pgbouncer")),
    ):
        assert "changed=0" in said
        assert not re.search("changed=[1-9]", said)


def test_a_key_of_another_certificate_is_refused(playbooks: Playbooks) -> None:
    for said in (
        playbooks("playbooks/postgres.yml", fails=True, **given("postgres_server", "app1")),
        playbooks.converge(fails=True, **given("pgbouncer", "pg1")),
    ):
        assert "is not that of the certificate" in " ".join(said.split())
        assert not re.search("changed=[1-9]", said)


def test_from_other_machines_only_the_console_is_reached_and_only_by_who_hands_over(
    machines: Machines, variables: dict[str, Any]
) -> None:
    def ask(machine: str, database: str, user: str, password: str, sslmode: str) -> Any:
        return machines(machine).run(
            "PGPASSWORD=%s psql -XAtq -d %s -c %s",
            variables[f"vault_postgres_{password}_password"],
            f"host={variables['ansible_host']} port=6432 dbname={database} user={user} sslmode={sslmode}",
            "SHOW VERSION" if database == "pgbouncer" else "SELECT 1",
        )

    said = ask("pg1", "pgbouncer", "switcher", "switchover", "require")
    assert "PgBouncer" in said.stdout + said.stderr, said.stderr
    verified = "verify-full sslrootcert=/etc/postgresql-tls/ca.crt"
    assert ask("pg1", "pgbouncer", "switcher", "switchover", verified).rc == 0
    assert ask("pg1", "pgbouncer", "switcher", "switchover", "disable").rc != 0
    assert ask("app1", "pgbouncer", "switcher", "switchover", "require").rc != 0
    assert ask("pg1", "pgbouncer", "pooler", "pooler", "require").rc != 0
    assert ask("pg1", "app_rw", "app", "app", "require").rc != 0


def test_secrets_are_for_postgres_alone(host: Any, variables: dict[str, Any]) -> None:
    accounts = host.file("/etc/pgbouncer/userlist.txt")
    assert (accounts.mode, accounts.user) == (0o600, "postgres")
    held = host.run("grep -rlF %s /etc/pgbouncer", variables["vault_postgres_pooler_password"])
    assert held.stdout.split() == ["/etc/pgbouncer/userlist.txt"]
    # The app's own password is looked up on the server and never stored.
    assert host.run("grep -rlF %s /etc", variables["vault_postgres_app_password"]).stdout == ""


def test_it_starts_with_the_machine(host: Any) -> None:
    assert host.service("pgbouncer").is_running
    assert host.service("pgbouncer").is_enabled
    assert host.check_output("systemctl is-system-running") == "running"


def test_reads_go_to_the_primary_while_the_replica_is_away(
    pool: Callable[..., Any], machines: Machines, soon: Patience
) -> None:
    query = "SELECT pg_is_in_recovery()"
    machines("pg2").check_output("systemctl stop postgresql.service")
    try:
        assert pool("app_rw", "SELECT 1").rc == 0, "writes must not suffer"
        soon(lambda: pool("app_ro", query).stdout.strip() == "f", 5)
    finally:
        machines("pg2").check_output("systemctl start postgresql.service")
    soon(lambda: pool("app_ro", query).stdout.strip() == "t", 15)
