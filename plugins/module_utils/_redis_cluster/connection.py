# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One plain connection to a node: no retries, RESP2, every reply as the server gave it."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import Problem

with suppress(ImportError):  # login.py keeps the reason, and begin_redis() says it
    import redis
    from redis.backoff import NoBackoff
    from redis.exceptions import AskError, BusyLoadingError, ResponseError
    from redis.retry import Retry

SOCKET_TIMEOUT = 5.0  # s
# What a server says when it does not let us in, whatever class the client gives it.
DENIED = (
    "WRONGPASS",
    "NOPERM",
    "AUTH ",
    "invalid password",
    "invalid username",
    "Authentication required",
)


def resolve(host: str, port: int) -> str:
    """Return the IP address of a host, IPv4 before IPv6; MEET takes nothing else."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def connect(host: str, port: int, login: Login, timeout: float = SOCKET_TIMEOUT) -> Any:
    """Return a client that does what it is told, once, whatever its version's defaults are.

    Bytes that are no text come and go unharmed, as surrogates: names of keys may be anything.
    """
    options: dict[str, Any] = {}
    if int(redis.__version__.split(".")[0]) >= 5:  # the first that knows RESP3
        options["protocol"] = 2
    if login.tls:
        options |= {
            "ssl": True,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_ca_certs": login.ca_certs,
            "ssl_certfile": login.client_cert,
            "ssl_keyfile": login.client_key,
        }
    client = redis.Redis(
        host=host,
        port=port,
        username=login.user,
        password=login.password,
        socket_timeout=timeout,
        socket_connect_timeout=SOCKET_TIMEOUT,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
        encoding_errors="surrogateescape",
        **options,
    )
    client.response_callbacks.clear()  # every reply as the server gave it, in every version
    return client


def unread(word: Any) -> Any:
    """Return the bytes that a word was read from."""
    return word.encode("utf-8", "surrogateescape") if isinstance(word, str) else word


def asked_elsewhere(reply: Any) -> bool:
    """Tell whether a node that gives a slot away says that it does not have a key (any more)."""
    return isinstance(reply, AskError)


def fields(reply: str) -> dict[str, str]:
    """Read the "name:value" lines of CLUSTER INFO and INFO."""
    pairs = [line.partition(":") for line in reply.splitlines() if ":" in line]
    return {name: value.strip() for name, _colon, value in pairs}


def tls_failure(error: BaseException) -> str:
    """Return what TLS says of an error, however deep it is wrapped; nothing if it is of another kind."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return seen.verify_message
        if isinstance(seen, ssl.SSLError):
            return seen.reason or str(seen)
        seen = seen.__cause__ or seen.__context__
    said = str(error)
    return said if "SSL" in said or "certificate" in said else ""


def failure(error: Exception) -> tuple[Problem, str]:
    """Sort an error into what a person has to do about it."""
    said = str(error)
    if any(word in said for word in DENIED):
        return Problem.AUTH, said
    if isinstance(error, BusyLoadingError):
        return Problem.LOADING, said
    if "cluster support disabled" in said:
        return Problem.PLAIN, said
    if isinstance(error, ResponseError):
        return Problem.OTHER, said
    if because := tls_failure(error):
        return Problem.TLS, because
    return Problem.UNREACHABLE, said
