# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""postgres_replica on a primary whose certificate is verified, by the module and by the standby itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .authority import Authority
from .conftest import Cluster, Standby, new_primary, new_standby, temporary_base

SENDERS = "SELECT bool_and(ssl) FROM pg_stat_replication JOIN pg_stat_ssl USING (pid)"


def show(primary: Cluster, certificate: tuple[str, str]) -> None:
    """Have a running primary show another certificate, by a reload."""
    for setting, path in zip(("ssl_cert_file", "ssl_key_file"), certificate, strict=True):
        primary.sql(f"ALTER SYSTEM SET {setting} = :'path'", path=path)
    primary.sql("SELECT pg_reload_conf()")
    primary.wait_for("SELECT setting FROM pg_settings WHERE name = 'ssl_cert_file'", certificate[0])


@pytest.fixture
def authorities() -> Iterator[tuple[Authority, Authority]]:
    """Return the one of the primary and another one, where the user postgres can read their certificates."""
    with temporary_base() as base:
        base.chmod(0o755)
        yield Authority(base / "ours"), Authority(base / "others")


@pytest.fixture
def ours(authorities: tuple[Authority, Authority]) -> Authority:
    return authorities[0]


@pytest.fixture
def verified(ours: Authority) -> Iterator[Standby]:
    """Return what is yet to become a standby of a primary with a certificate for 127.0.0.1."""
    certificate, key = ours.issue("127.0.0.1")
    settings = ("ssl = on", f"ssl_cert_file = '{certificate}'", f"ssl_key_file = '{key}'")
    with new_primary(*settings) as primary, new_standby(primary) as standby:
        yield standby


def trust(authority: Authority, **more: Any) -> dict[str, Any]:
    return {"sslmode": "verify-full", "sslrootcert": authority.certificate} | more


def test_a_standby_verifies_its_primary(ours: Authority, verified: Standby) -> None:
    assert verified.ok(**trust(ours))["action"] == "clone"
    assert f"sslmode=verify-full sslrootcert={ours.certificate}" in verified.sql("SHOW primary_conninfo")
    assert verified.primary.sql(SENDERS) == "t"
    assert verified.ok(**trust(ours))["changed"] is False


def test_a_running_standby_begins_to_verify_without_a_restart(ours: Authority, verified: Standby) -> None:
    verified.ok(sslmode="require")
    before = verified.pid()
    answer = verified.ok(**trust(ours))
    assert answer["action"] == "configure"
    assert verified.pid() == before
    assert "sslmode=verify-full" in verified.sql("SELECT conninfo FROM pg_stat_wal_receiver")


def test_a_certificate_of_another_authority_is_one_clear_sentence(
    authorities: tuple[Authority, Authority], verified: Standby
) -> None:
    others = authorities[1]
    sentence = verified.refused(**trust(others))
    primary = f"127.0.0.1:{verified.primary.port}"
    assert sentence.endswith(
        f"the certificate of the primary {primary} is not of the authority in sslrootcert="
        f"{others.certificate}, or has run out: correct sslrootcert, or give that server another certificate."
    )
    assert not verified.data.exists()


def test_a_certificate_for_another_address_is_one_clear_sentence(ours: Authority, verified: Standby) -> None:
    show(verified.primary, ours.issue("192.0.2.1"))
    sentence = verified.refused(**trust(ours))
    assert 'is for "192.0.2.1": have it issued for 127.0.0.1 as well, or set sslmode=verify-ca.' in sentence
    assert not verified.data.exists()
    assert verified.ok(**trust(ours, sslmode="verify-ca"))["action"] == "clone"


def test_a_run_without_the_authority_is_refused_and_foretold(ours: Authority, verified: Standby) -> None:
    missing = f"{ours.certificate}.missing"
    sentence = verified.refused(**trust(ours, sslrootcert=missing))
    assert f"sslrootcert={missing} cannot be read" in sentence
    # Whoever brings it does so in a run that checks nothing.
    foretold = verified.run(check=True, **trust(ours, sslrootcert=missing))
    assert foretold["action"] == "clone", foretold


def test_a_certificate_that_turns_out_to_be_another_ones_stops_the_standby_from_connecting(
    authorities: tuple[Authority, Authority], verified: Standby
) -> None:
    ours, others = authorities
    verified.ok(**trust(ours))
    show(verified.primary, others.issue("127.0.0.1"))
    assert verified.streams(), "what is connected stays"
    verified.primary.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_replication")
    verified.wait_for("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'", "0")
    assert "is not of the authority" in verified.refused(**trust(ours))
    # A renewed certificate of ours is taken up by a reload.
    show(verified.primary, ours.issue("127.0.0.1"))
    verified.wait_for("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'", "1")
