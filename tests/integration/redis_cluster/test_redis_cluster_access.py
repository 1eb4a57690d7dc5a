# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules through TLS, and as a user that may do what their documentation says and nothing else."""

from __future__ import annotations

import datetime
import ipaddress
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .conftest import HOST, Fleet, Module, Server, arguments, wait_for

PASSWORD = "correct-horse-battery"  # noqa: S105  # of servers that live as long as one test
KEYS = 500
RIGHTS = (
    "+cluster +info +dbsize +ping +migrate +restore-asking +asking +select +dump +unlink +function "
    "+psync +replconf"
)
RUN = """
import json, sys
from importlib import import_module
from ansible.module_utils.testing import patch_module_args
main = import_module(f"ansible_collections.payaid.scaling.plugins.modules.{sys.argv[1]}").main
with patch_module_args(json.loads(sys.argv[2])):
    main()
"""


def other(name: str, **arguments: Any) -> dict[str, Any]:
    """Run one of the other modules as Ansible does."""
    words = [sys.executable, "-c", RUN, name, json.dumps(arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603  # our own words
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


def issue(folder: Path, address: str) -> dict[str, str]:
    """Make an authority, and a certificate of it for one address; return their paths."""
    now = datetime.datetime.now(datetime.UTC)
    paths: dict[str, str] = {}
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "server")}
    for name in ("ca", "server"):
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"payaid test {name}")])
        issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "payaid test ca")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(keys[name].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(names, critical=False)
            .sign(keys["ca"], hashes.SHA256())
        )
        path = folder / f"{name}.crt"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        paths[name] = str(path)
    key = folder / "server.key"
    key.write_bytes(
        keys["server"].private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return paths | {"key": str(key)}


Secure = Callable[..., tuple[list[Server], dict[str, Any]]]


@pytest.fixture
def secure(fleet: Fleet, tmp_path: Path) -> Secure:
    """Start servers that speak TLS alone, to clients, to each other and to those that show a certificate."""

    def start(count: int, address: str = HOST) -> tuple[list[Server], dict[str, Any]]:
        paths = issue(tmp_path, address)
        options = {
            "tls-cluster": "yes",
            "tls-replication": "yes",
            "tls-cert-file": paths["server"],
            "tls-key-file": paths["key"],
            "tls-ca-cert-file": paths["ca"],
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        # The certificates are for one address alone, and the tests themselves do not look at the name.
        login = {"ssl": True, "ssl_ca_certs": paths["ca"], "ssl_check_hostname": False}
        client = {"ssl_certfile": paths["server"], "ssl_keyfile": paths["key"]}
        servers = fleet.start(count, *words, secure=login | client)
        shown = {"client_cert": paths["server"], "client_key": paths["key"]}
        return servers, {"tls": True, "ca_certs": paths["ca"], **shown}

    return start


def write(server: Server) -> None:
    with server.cluster() as client:
        for number in range(KEYS):
            client.set(f"key:{number}", number)


def assert_read(server: Server) -> None:
    with server.cluster() as client:
        assert [client.get(f"key:{number}") for number in range(KEYS)] == [str(n) for n in range(KEYS)]


def test_tls_from_create_to_failover(secure: Secure, module: Module) -> None:
    servers, login = secure(8)
    assert module(servers[:6], **login)["health"]["state"] == "ok"
    write(servers[0])
    grown = module(servers, zones="aabbccdd", **login)
    assert (grown["health"]["state"], grown["slots_moved"]) == ("ok", 4096), grown
    assert grown["keys_moved"] > 0
    assert_read(servers[0])
    # One of them is asked first, and the others are found; but then nobody knows which zones they are in.
    told = other("redis_cluster_info", nodes=arguments(servers[:1])["nodes"], **login)
    assert (told["health"]["coverage"], told["health"]["down"]) == (16384, [])
    told = other("redis_cluster_info", nodes=arguments(servers)["nodes"], **login)
    assert told["health"]["state"] == "ok"
    assert len(told["nodes"]) == len(servers)
    replica = next(row for row in told["nodes"] if row["role"] == "replica")
    port = int(replica["addr"].rpartition(":")[2])
    turned = other("redis_cluster_failover", host=HOST, port=port, **login)
    assert turned["changed"], turned
    wait_for(lambda: servers_role(servers, port) == "master", "the roles to have changed")
    assert not other("redis_cluster_failover", host=HOST, port=port, **login)["changed"]
    shrunk = module(servers[:6], unlisted="remove", **login)
    assert shrunk["health"]["state"] == "ok", shrunk
    assert_read(servers[0])


def servers_role(servers: list[Server], port: int) -> str:
    return str(next(server for server in servers if server.port == port).do("ROLE")[0])


def test_a_certificate_for_another_name_is_refused(secure: Secure, module: Module) -> None:
    servers, login = secure(3, address="192.0.2.9")
    result = module(servers, replicas=0, **login)
    assert f"TLS with node {servers[0].addr}, " in result["msg"]
    assert "certificate is not valid for '127.0.0.1'" in result["msg"]
    assert "the certificate of the node is for the host that is listed" in result["msg"]


def test_an_authority_that_is_not_trusted_is_refused(secure: Secure, module: Module, tmp_path: Path) -> None:
    servers, login = secure(3)
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    result = module(servers, replicas=0, **login | {"ca_certs": issue(stranger, HOST)["ca"]})
    assert result["msg"].startswith("TLS with node ")
    assert "check ca_certs" in result["msg"]


def test_plain_words_to_a_server_that_speaks_tls_are_refused(secure: Secure, module: Module) -> None:
    servers, _login = secure(3)
    result = module(servers, replicas=0)
    assert f"Node {servers[0].addr}" in result["msg"]
    assert all(server.info()["cluster_known_nodes"] == "1" for server in servers)


def test_a_user_with_the_rights_that_are_documented(fleet: Fleet, module: Module) -> None:
    servers = fleet.start(8, "--masteruser", "ops", "--masterauth", PASSWORD)
    for server in servers:
        server.do("ACL", "SETUSER", "ops", "on", f">{PASSWORD}", "~*", "&*", "-@all", *RIGHTS.split())
    login = {"login_user": "ops", "login_password": PASSWORD}
    assert module(servers[:6], **login)["health"]["state"] == "ok"
    write(servers[0])
    servers[0].do("FUNCTION", "LOAD", "#!lua name=lib\nredis.register_function('f', function() return 1 end)")
    grown = module(servers, zones="aabbccdd", **login)
    assert grown.get("slots_moved") == 4096, grown
    assert_read(servers[0])
    assert PASSWORD not in json.dumps(grown)
    new = [server for server in servers[6:] if server.do("ROLE")[0] == "master"]
    assert [str(server.do("FUNCTION", "LIST")).count("lib") > 0 for server in new] == [True]
    assert module(servers[:6], unlisted="remove", **login)["health"]["state"] == "ok"
    assert_read(servers[0])
