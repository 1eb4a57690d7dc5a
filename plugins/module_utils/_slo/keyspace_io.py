# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks Redis servers for INFO: those that are listed, and those of their cluster."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import closing, suppress

from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import REDIS_IMPORT_ERROR, Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.connection import connect, fields
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Peer,
    hostport,
    parse_nodes,
)
from ansible_collections.payaid.scaling.plugins.module_utils._slo.keyspace import Keyspace, of
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import NotMeasured

with suppress(ImportError):  # login.py keeps the reason, and ask() says it
    from redis.exceptions import RedisError

Place = tuple[str, int]


def ask(places: Sequence[Place], login: Login) -> tuple[Keyspace, ...]:
    """Return what all servers say. No master may be silent: a rate without it would be another one."""
    if REDIS_IMPORT_ERROR:
        raise NotMeasured("redis-py is missing on the host that runs the module: install python3-redis")
    found: dict[str, Keyspace] = {}
    silent: dict[Place, str] = {}
    members: dict[str, Peer] = {}
    met: set[str] = set()
    for place in places:
        try:
            told, peers = _look(place, login)
        except (RedisError, OSError) as error:
            silent[place] = str(error)
            continue
        found[told.run_id] = told
        members |= {peer.id: peer for peer in peers}
        met |= {peer.id for peer in peers if "myself" in peer.flags}
    if silent and not members:
        # Nobody else knows whether it is a master.
        raise NotMeasured(_silence(silent))
    for told in _others((peer for peer in members.values() if peer.id not in met), login):
        found[told.run_id] = told
    return tuple(found.values())


def _look(place: Place, login: Login) -> tuple[Keyspace, tuple[Peer, ...]]:
    with closing(connect(*place, login)) as client:
        told = of(hostport(*place), fields(client.execute_command("INFO")))
        peers = parse_nodes(client.execute_command("CLUSTER", "NODES")) if told.clustered else ()
    return told, peers


def _others(peers: Iterable[Peer], login: Login) -> Iterable[Keyspace]:
    """Ask the members of the cluster that are not listed, or were silent under the address that is."""
    for peer in peers:
        place = (peer.hostname if login.tls and peer.hostname else peer.ip, peer.port)
        try:
            yield _look(place, login)[0]
        except (RedisError, OSError) as error:
            if peer.slots:
                raise NotMeasured(_silence({place: str(error)})) from error


def _silence(silent: dict[Place, str]) -> str:
    place, why = next(iter(silent.items()))
    return f"Redis at {hostport(*place)} cannot be asked ({why.rstrip('.')})"
