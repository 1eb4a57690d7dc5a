# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Opens connections, and says in one sentence why one cannot be opened."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.connection import (
    failure,
    fields,
    resolve,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import Problem
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.facts import Server
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import Endpoint
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.values import version_of
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.wire import (
    Failed,
    Link,
    Reply,
    Words,
)

# What a connection that is no more may raise, whoever notices it.
BROKEN: tuple[type[Exception], ...] = (OSError, EOFError)
with suppress(ImportError):  # login.py keeps the reason, and begin_redis() says it
    from redis.exceptions import RedisError

    BROKEN = (RedisError, *BROKEN)


def reach(who: str, endpoint: Endpoint, login: Login, options: str) -> Link:
    """Open a connection, or refuse with what a person has to correct."""
    try:
        resolve(endpoint.host, endpoint.port)
    except (OSError, UnicodeError) as error:  # a label that is too long is a UnicodeError
        raise Refusal(
            f"The host name of {who} {endpoint.addr} resolves to nothing: correct it or give the IP address."
        ) from error
    try:
        return Link(endpoint.host, endpoint.port, login)
    except BROKEN as error:
        problem, detail = failure(error)
        if problem is Problem.AUTH:
            raise Refusal(
                f"{who} {endpoint.addr} does not let us in ({detail}): correct {options}."
            ) from error
        if problem is Problem.TLS:
            raise Refusal(
                f"{who} {endpoint.addr} and we do not agree on TLS ({detail}): correct tls, ca_certs, "
                "client_cert and client_key, or the certificate of that host."
            ) from error
        raise Refusal(
            f"{who} {endpoint.addr} cannot be reached ({detail}): start it, or open its port from here."
        ) from error


def told(who: str, replies: Sequence[Reply]) -> list[Any]:
    """Return replies of which none may be an error."""
    for reply in replies:
        if isinstance(reply, Failed):
            raise Refusal(f"{who} did not answer as it should ({reply.text}): check its version and ACL.")
    return list(replies)


def server(addr: str, link: Link, now: float) -> Server:
    """Ask a server what it is. now is our clock, in ms."""
    asked: list[Words] = [(b"TIME",), (b"INFO",)]
    time, info = told(addr, link.ask(asked))
    said = fields(info.decode("utf-8", "replace"))
    databases = {}
    for name, value in said.items():
        if name.startswith("db") and name[2:].isdigit():
            databases[int(name[2:])] = int(value.partition("keys=")[2].partition(",")[0])
    major, minor = said["redis_version"].split(".")[:2]
    return Server(
        addr=addr,
        run_id=said["run_id"],
        version=(int(major), int(minor)),
        cluster=said.get("cluster_enabled") == "1",
        role=said["role"],
        loading=said.get("loading") == "1",
        databases=databases,
        maxmemory=int(said.get("maxmemory", 0)),
        used_memory=int(said["used_memory"]),
        clock=round(int(time[0]) * 1000 + int(time[1]) / 1000 - now),
    )


def payload_version(addr: str, link: Link) -> int | None:
    """Return the version of what a server serialises, read off a key of it; None where it has none."""
    (key,) = told(addr, link.ask([(b"RANDOMKEY",)]))
    payload = told(addr, link.ask([(b"DUMP", key)]))[0] if key is not None else None
    return version_of(payload) if payload else None
