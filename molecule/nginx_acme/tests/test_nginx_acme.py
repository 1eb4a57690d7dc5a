# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates by ACME, and the proof that they were not revoked, as clients of two load balancers see them.

The name of the shop leads to lb1 alone: whatever was signed for lb2 was asked of lb1.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Asking, Machines, Patience, Playbooks

    from .conftest import Authority, Shop

BALANCERS = ("lb1", "lb2")
CHALLENGES = "/.well-known/acme-challenge"
WEBROOT = "/var/www/acme"


@pytest.fixture
def put_back(playbooks: Playbooks) -> Iterator[None]:
    yield
    playbooks.converge()


@pytest.fixture
def cut_off(machines: Machines, addresses: dict[str, str]) -> Iterator[None]:
    """Leave the load balancers no way to the ACME server."""
    for name in BALANCERS:
        machines(name).check_output("ip route add unreachable %s", addresses["acme1"])
    yield
    for name in BALANCERS:
        machines(name).check_output("ip route del unreachable %s", addresses["acme1"])


def sentences(said: str) -> str:
    return " ".join(said.split())


def asked(machine: Any, path: str) -> list[dict[str, Any]]:
    """Return what its log says of a path."""
    lines = map(json.loads, machine.file("/var/log/nginx/access.log").content_string.splitlines())
    return [line for line in lines if line["uri"] == path]


def lineages(machine: Any) -> list[str]:
    return re.findall("Certificate Name: (.+)", machine.check_output("certbot certificates"))


def serials(shop: Shop) -> list[int]:
    return [shop.certificate(name).serial_number for name in BALANCERS]


def test_each_balancer_serves_a_certificate_of_its_own(shop: Shop, machines: Machines) -> None:
    served = [shop.certificate(name) for name in BALANCERS]
    assert served[0].public_key() != served[1].public_key()
    assert {shop.ask(name) for name in BALANCERS} == {200}
    accounts = []
    for name in BALANCERS:
        key = machines(name).check_output("readlink -f /etc/nginx/tls/server.key")
        assert key.startswith("/etc/letsencrypt/archive/")
        assert (machines(name).file(key).mode, machines(name).file(key).user) == (0o600, "root")
        accounts.append(
            machines(name).check_output("find /etc/letsencrypt/accounts -name regr.json | xargs cat")
        )
    assert "acme1:14000" in accounts[0]
    assert accounts[0] != accounts[1]


def test_nginx_reads_its_keys_in_its_sandbox(machines: Machines, shop: Shop, soon: Patience) -> None:
    lb1 = machines("lb1")
    exposure = lb1.check_output("systemd-analyze security --no-pager nginx.service | tail -n 1")
    print(exposure)
    assert float(re.findall(r"[0-9]+[.][0-9]", exposure)[0]) < 3.0

    def main() -> str:
        return str(lb1.check_output("systemctl show -P MainPID nginx"))

    killed = main()
    lb1.check_output("kill -KILL %s", killed)
    # Its workers may answer a little longer.
    took = soon(lambda: main() not in ("0", killed) and shop.ask("lb1") == 200, 10)
    print(f"back after {took:.2f} s")


def test_whichever_balancer_is_asked_finds_the_answer(
    ask: Asking, machines: Machines, addresses: dict[str, str], soon: Patience
) -> None:
    lb1, lb2 = map(machines, BALANCERS)
    lb2.check_output(f"install -d {WEBROOT}{CHALLENGES} && echo answer >{WEBROOT}{CHALLENGES}/of-lb2")
    # Closed for maintenance it still is.
    lb1.check_output("touch /etc/nginx/maintenance")
    try:
        for name in BALANCERS:
            answer = ask(f"http://{addresses[name]}{CHALLENGES}/of-lb2")
            assert (answer.status, answer.body) == (200, b"answer\n"), name
    finally:
        lb1.check_output(f"rm /etc/nginx/maintenance; rm {WEBROOT}{CHALLENGES}/of-lb2 || true")
        lb2.check_output(f"rm {WEBROOT}{CHALLENGES}/of-lb2")
    # What nobody knows is looked for once on each.
    nobody = f"{CHALLENGES}/nobody"
    assert ask(f"http://{addresses['lb1']}{nobody}").status == 404
    soon(lambda: len(asked(lb1, nobody)) == len(asked(lb2, nobody)) == 1)


def test_nothing_else_is_asked_of_the_others(
    ask: Asking, machines: Machines, addresses: dict[str, str], shop: Shop, soon: Patience
) -> None:
    for path in ("/.well-known/acme", "/.well-known/security.txt", "/"):
        answer = ask(f"http://{addresses['lb1']}{path}?only-lb1", headers={"Host": shop.name})
        assert (answer.status, answer.headers["location"]) == (308, f"https://{shop.name}{path}?only-lb1")
    # By HTTPS it is the app's, like any other path.
    assert shop.ask("lb1", f"{CHALLENGES}/by-https") == 200
    soon(lambda: asked(machines("lb1"), f"{CHALLENGES}/by-https"))
    log = machines("lb2").file("/var/log/nginx/access.log").content_string
    assert "only-lb1" not in log
    assert "by-https" not in log


def test_certificates_are_renewed_while_clients_ask(
    machines: Machines, shop: Shop, playbooks: Playbooks, soon: Patience
) -> None:
    before = serials(shop)
    masters = [machines(name).check_output("systemctl show -P MainPID nginx") for name in BALANCERS]
    with shop.asked_all_the_time() as seen:
        for name in BALANCERS:
            machine = machines(name)
            # Due from now on; and then what the timer does.
            due = "sed -i 's/^#* *renew_before_expiry = .*/renew_before_expiry = 9999 days/'"
            machine.check_output(f"{due} /etc/letsencrypt/renewal/acme-*.conf")
            machine.check_output("systemctl start certbot.service")
            not_due = "sed -i 's/^renew_before_expiry = .*/# renew_before_expiry = 30 days/'"
            machine.check_output(f"{not_due} /etc/letsencrypt/renewal/acme-*.conf")
        soon(lambda: not set(serials(shop)) & set(before))
    print(f"requests while both were renewed: {dict(seen)}")
    assert seen == Counter({"200": seen.total()})
    assert seen.total() > 200
    assert [machines(name).check_output("systemctl show -P MainPID nginx") for name in BALANCERS] == masters
    assert all(machines(name).service("certbot.timer").is_running for name in BALANCERS)
    assert not re.search("changed=[1-9]", playbooks.converge())


def test_what_nginx_does_not_take_is_not_taken_up_by_a_renewal(machines: Machines, shop: Shop) -> None:
    lb1, before = machines("lb1"), serials(shop)
    lb1.check_output("cp -a /etc/nginx/nginx.conf /root/ && echo nonsense >>/etc/nginx/nginx.conf")
    try:
        assert lb1.run("/etc/letsencrypt/renewal-hooks/deploy/nginx").rc != 0
    finally:
        lb1.check_output("mv /root/nginx.conf /etc/nginx/")
    assert serials(shop) == before


@pytest.mark.usefixtures("put_back", "cut_off")
def test_without_the_acme_server_all_goes_on(machines: Machines, shop: Shop, playbooks: Playbooks) -> None:
    before = serials(shop)
    assert not re.search("changed=[1-9]", playbooks.converge())
    # Another name, that is another certificate.
    names = [shop.name, f"www.{shop.name}"]
    said = playbooks.converge("--check", nginx_acme_names=names)
    assert re.search(r"Have the authority sign a certificate\] \*+\nchanged: ", said)
    said = sentences(playbooks.converge(fails=True, nginx_acme_names=names))
    for name in BALANCERS:
        assert f"{name}: nginx_acme_directory=https://acme1:14000/dir gave no certificate for" in said
    assert serials(shop) == before
    for name in BALANCERS:
        machines(name).check_output("systemctl restart nginx")
    assert serials(shop) == before
    assert {shop.ask(name) for name in BALANCERS} == {200}


@pytest.mark.usefixtures("put_back")
def test_with_other_names_another_certificate_takes_over(
    machines: Machines, shop: Shop, playbooks: Playbooks
) -> None:
    before = {name: lineages(machines(name)) for name in BALANCERS}
    with shop.asked_all_the_time() as seen:
        playbooks.converge(nginx_acme_names=[shop.name, f"www.{shop.name}"])
    assert seen == Counter({"200": seen.total()})
    for name in BALANCERS:
        assert "www." in str(shop.certificate(name).extensions)
        (left,) = lineages(machines(name))  # the one before would fail to be renewed, some day
        assert left not in before[name]
        assert f"{before[name][0]}.crt" not in machines(name).file("/etc/nginx/tls").listdir()
    # A name that leads nowhere: the authority's own words.
    said = sentences(playbooks.converge(fails=True, nginx_acme_names=["nowhere.payaid.test"]))
    assert re.search(
        r"lb1: nginx_acme_directory=\S+ gave no certificate for nowhere.payaid.test \(.*nowhere", said
    )
    assert {shop.ask(name) for name in BALANCERS} == {200}
    said = sentences(playbooks.converge(fails=True, nginx_acme_names=["*.payaid.test"]))
    assert "bring a certificate with nginx_tls=files" in said


@pytest.mark.usefixtures("put_back", "cut_off")
def test_a_new_balancer_serves_before_it_has_a_certificate(machines: Machines, playbooks: Playbooks) -> None:
    lb2 = machines("lb2")
    lb2.check_output("systemctl stop nginx")
    lb2.check_output("rm -r /etc/nginx/nginx.conf /etc/nginx/tls /etc/letsencrypt")
    lb2.check_output(
        "apt-get install -qq -y -o Dpkg::Options::=--force-confmiss --reinstall nginx-common certbot"
    )
    said = sentences(playbooks.converge(fails=True))
    assert "lb2: nginx_acme_directory=" in said
    lb2.check_output("systemctl restart nginx")
    served = "openssl s_client -connect 127.0.0.1:443 </dev/null | openssl x509 -noout -subject"
    assert "CN = lb2" in lb2.check_output(served).replace("CN=", "CN = ")


@pytest.mark.usefixtures("put_back")
def test_the_proof_that_it_was_not_revoked_goes_with_the_certificate(
    authority: Authority,
    machines: Machines,
    addresses: dict[str, str],
    shop: Shop,
    playbooks: Playbooks,
    soon: Patience,
) -> None:
    lb1 = machines("lb1")
    asking = f"openssl s_client -connect 127.0.0.1:443 -servername {shop.name} -status </dev/null"
    # The ACME server's certificates name nobody to ask, and nginx would complain of each.
    assert "OCSP response: no response sent" in lb1.check_output(asking)
    assert "ssl_stapling" not in lb1.file("/etc/nginx/nginx.conf").content_string
    given = {
        "nginx_tls": "files",
        "nginx_tls_ca": str(authority.folder / "ca.crt"),
        "nginx_tls_certificate": str(authority.folder / "server.crt"),
        "nginx_tls_certificate_key": str(authority.folder / "server.key"),
    }
    for resolvers in ([], [addresses["lb1"].rsplit(".", 1)[0] + ".1"]):
        playbooks.converge(**given, nginx_resolvers=resolvers)
        # nginx asks when somebody has asked it.
        soon(lambda: "OCSP Response Status: successful" in lb1.check_output(asking), 10)
        assert "Cert Status: good" in lb1.check_output(asking)
        assert shop.certificate("lb1", (authority.folder / "ca.crt").read_text()).serial_number == 0xACE
    assert "OCSP" not in lb1.file("/var/log/nginx/error.log").content_string
    assert "stapling" not in lb1.check_output("nginx -t 2>&1")
    # Nobody renews what is not served.
    assert lineages(lb1) == []
    assert not lb1.file("/etc/systemd/system/certbot.service.d/nginx.conf").exists
    assert re.search("changed=0", playbooks.converge("--check", **given, nginx_resolvers=resolvers))
