# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One plain connection to a node: no retries, RESP2, every reply as the server gave it."""

from __future__ import annotations

import socket
import ssl
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import Problem

REDIS_IMPORT_ERROR: str | None = None
try:
    import redis
    from redis.backoff import NoBackoff
    from redis.exceptions import AskError, BusyLoadingError, ResponseError
    from redis.retry import Retry
except ImportError:
    REDIS_IMPORT_ERROR = traceback.format_exc()

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

# The options of every module that logs in; doc_fragments/redis.py describes them.
LOGIN_ARGUMENTS: dict[str, dict[str, Any]] = {
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
    "tls": {"type": "bool", "default": False},
    "ca_certs": {"type": "path"},
    "client_cert": {"type": "path"},
    "client_key": {"type": "path"},
}
# What AnsibleModule checks of them.
LOGIN_RULES: dict[str, Any] = {
    "required_by": {"login_user": "login_password"},
    "required_together": [("client_cert", "client_key")],
}


@dataclass(frozen=True)
class Login:
    """How to get in, the same on every node."""

    user: str | None = None
    password: str | None = None
    tls: bool = False
    ca_certs: str | None = None
    client_cert: str | None = None
    client_key: str | None = None

    @classmethod
    def wanted(cls, params: Mapping[str, Any]) -> Login:
        """Take the options of a module."""
        return cls(
            params["login_user"],
            params["login_password"],
            params["tls"],
            params["ca_certs"],
            params["client_cert"],
            params["client_key"],
        )

    @property
    def migrate(self) -> tuple[str, ...]:
        """How a node that moves keys logs in to the one that gets them."""
        if self.password is None:
            return ()
        return ("AUTH2", self.user, self.password) if self.user else ("AUTH", self.password)


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
