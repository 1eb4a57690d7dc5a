# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module that logs in to Redis takes, and how it begins."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.payaid.scaling.plugins.module_utils._module import begin

REDIS_IMPORT_ERROR: str | None = None
try:
    import_module("redis")
except ImportError:
    REDIS_IMPORT_ERROR = traceback.format_exc()

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


def begin_redis(arguments: Mapping[str, Any]) -> AnsibleModule:
    """Read the arguments, those of the login too, and end here where the client is not installed."""
    module = begin({**arguments, **LOGIN_ARGUMENTS}, **LOGIN_RULES)
    if REDIS_IMPORT_ERROR:
        message = missing_required_lib("redis")  # type: ignore[no-untyped-call]  # no types in ansible-core
        module.fail_json(msg=message, exception=REDIS_IMPORT_ERROR)
    return module
