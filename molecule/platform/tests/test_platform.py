# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks the whole platform through each of its load balancers, and a few machines about what lies behind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Asking, Machines, Patience

testinfra_hosts = ["load_balancers"]
TENANT = {"X-Tenant-ID": "molecule"}
ENOUGH = 60  # requests, so that each process has its turn


@pytest.fixture
def groups(host: Any) -> dict[str, list[str]]:
    """Return the machines by their groups."""
    return dict(host.ansible.get_variables()["groups"])


@pytest.fixture
def edge(host: Any, ask: Asking) -> str:
    """Return the load balancer's address for HTTPS, trusting the certificate that it was given."""
    ask.certificate = host.file("/etc/nginx/tls/server.crt").content_string
    return f"https://{host.ansible.get_variables()['ansible_host']}"


@pytest.fixture
def processes(groups: dict[str, list[str]], machines: Machines) -> list[str]:
    """Return the addresses of all app processes."""
    variables = [machines(name).ansible.get_variables() for name in groups["app_nodes"]]
    return [
        f"http://{each['ansible_host']}:{port}" for each in variables for port in each["platform_app_ports"]
    ]


def test_every_process_of_every_node_answers(
    ask: Asking, edge: str, groups: dict[str, list[str]], processes: list[str]
) -> None:
    seen = [ask(f"{edge}/api/whoami").json() for _time in range(ENOUGH)]
    assert {answer["node"] for answer in seen} == set(groups["app_nodes"])
    assert len({(answer["node"], answer["process"]) for answer in seen}) == len(processes)
    assert len({answer["release"] for answer in seen}) == 1


def test_the_platform_is_healthy(ask: Asking, edge: str) -> None:
    for _time in range(10):
        answer = ask(f"{edge}/health")
        assert (answer.status, answer.json()["status"]) == (200, "healthy")


def test_a_contact_written_is_read_back_from_every_node(
    ask: Asking, edge: str, processes: list[str], soon: Patience
) -> None:
    new = {"name": "Ada Molecule", "email": "ada@molecule.example"}
    written = ask(f"{edge}/api/contacts", method="POST", body=new, headers=TENANT)
    assert written.status == 201, written.body
    path = f"/api/contacts/{written.json()['id']}"
    # The session that wrote reads it at once, from wherever it is sent.
    mine = TENANT | {"Cookie": written.headers["set-cookie"].partition(";")[0]}
    for _time in range(10):
        assert ask(f"{edge}{path}", headers=mine).status == 200
    for process in processes:
        soon(lambda url=f"{process}{path}": ask(url, headers=TENANT).status == 200)
    listed = ask(f"{edge}/api/contacts", headers=TENANT).json()["contacts"]
    assert written.json()["id"] in [contact["id"] for contact in listed]
    assert ask(f"{edge}{path}", headers={"X-Tenant-ID": "another"}).status == 404


def test_a_login_holds_on_every_node(ask: Asking, edge: str, processes: list[str]) -> None:
    who = {"email": "demo@payaid.lab", "password": "demo"}
    login = ask(f"{edge}/api/login", method="POST", body=who)
    assert login.status == 200, login.body
    cookie = login.headers["set-cookie"]
    assert "httponly" in cookie.lower()
    assert "secure" in cookie.lower()
    for process in processes:
        answer = ask(f"{process}/api/me", headers={"Cookie": cookie.partition(";")[0]})
        assert (answer.status, answer.json()) == (200, {"email": "demo@payaid.lab"}), process
        assert ask(f"{process}/api/me").status == 401
    assert ask(f"{edge}/api/login", method="POST", body=who | {"password": "wrong"}).status == 401


def test_a_job_is_done_once_by_a_worker(ask: Asking, edge: str, soon: Patience) -> None:
    new = {"name": "Job Molecule", "email": "job@molecule.example"}
    contact = ask(f"{edge}/api/contacts", method="POST", body=new, headers=TENANT).json()["id"]
    job = {"kind": "welcome", "contact_id": contact}
    taken = ask(f"{edge}/api/jobs", method="POST", body=job, headers=TENANT)
    assert taken.status == 202, taken.body
    path = f"{edge}/api/jobs/{taken.json()['id']}"
    soon(lambda: ask(path, headers=TENANT).json().get("state") == "completed", 30)
    assert ask(path, headers=TENANT).json()["attempts"] == 1
    messages = ask(f"{edge}/api/contacts/{contact}/messages", headers=TENANT).json()["messages"]
    assert len(messages) == 1


def test_contacts_are_served_from_the_cache(ask: Asking, edge: str) -> None:
    ask(f"{edge}/api/contacts", headers=TENANT)
    assert "cache" in {ask(f"{edge}/api/contacts", headers=TENANT).json()["source"] for _time in range(5)}


def test_pages_are_served(ask: Asking, edge: str) -> None:
    assert ask(f"{edge}/api/dashboard/stats").status == 200
    page = ask(f"{edge}/login")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/html")
    assert ask(f"{edge}/no-such-page").status == 404


def test_writes_reach_the_primary_and_stream_to_every_replica(
    groups: dict[str, list[str]], machines: Machines, soon: Patience
) -> None:
    def psql(name: str, query: str) -> str:
        return str(machines(name).check_output("cd / && sudo -u postgres psql -XAtq -d app -c %s", query))

    (primary,) = groups["postgres_primary"]
    said = psql(primary, "SELECT slot_name FROM pg_replication_slots WHERE active ORDER BY 1").split()
    assert said == sorted(groups["postgres_replicas"])
    newest = psql(primary, "SELECT max(id) FROM contacts")
    assert newest
    for replica in groups["postgres_replicas"]:
        soon(lambda name=replica: psql(name, "SELECT max(id) FROM contacts") == newest)
        assert psql(replica, "SELECT pg_is_in_recovery()") == "t"


def test_the_cluster_is_whole(groups: dict[str, list[str]], machines: Machines) -> None:
    for name in groups["redis_nodes"]:
        machine = machines(name)
        variables = machine.ansible.get_variables()
        said = machine.check_output(
            "REDISCLI_AUTH=%s redis-cli --user app -h %s CLUSTER INFO",
            variables["vault_redis_app_password"],
            variables["ansible_host"],
        )
        assert "cluster_state:ok" in said
        assert "cluster_slots_ok:16384" in said


def test_no_machine_is_degraded(groups: dict[str, list[str]], machines: Machines) -> None:
    for name in groups["lab"]:
        machine = machines(name)
        failed = machine.check_output("systemctl list-units --failed --plain --no-legend")
        assert (name, failed) == (name, "")


def test_a_node_that_dies_costs_no_request(
    ask: Asking, edge: str, groups: dict[str, list[str]], machines: Machines, soon: Patience
) -> None:
    node = machines(groups["app_nodes"][0])
    node.check_output("systemctl kill --signal=KILL 'payaid-app@*'")
    answers = [ask(f"{edge}/api/whoami").status for _time in range(30)]
    assert set(answers) == {200}
    variables = node.ansible.get_variables()
    for port in variables["platform_app_ports"]:
        soon(lambda url=f"http://{variables['ansible_host']}:{port}/api/live": ask(url).status == 200, 15)
