# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules that work on one cluster of their host take, and those that ask a server elsewhere."""

from __future__ import annotations

from typing import Any

# The options that name the cluster, of which Place is made; doc_fragments/postgres_cluster.py describes them.
CLUSTER_ARGUMENTS: dict[str, dict[str, Any]] = {
    "version": {"type": "int", "required": True},
    "cluster": {"type": "str", "default": "main"},
    "data_dir": {"type": "path"},
    "config_dir": {"type": "path"},
}

# How connections to other hosts are protected; doc_fragments/postgres_tls.py describes them.
TLS_ARGUMENTS: dict[str, dict[str, Any]] = {
    "sslmode": {
        "type": "str",
        "choices": ["prefer", "require", "verify-ca", "verify-full"],
        "default": "prefer",
    },
    "sslrootcert": {"type": "path"},
}

# How to log in to a server of another host; doc_fragments/postgres_login.py describes them.
LOGIN_ARGUMENTS: dict[str, dict[str, Any]] = {
    "replication_user": {"type": "str", "required": True},
    "replication_password": {"type": "str", "no_log": True},
    **TLS_ARGUMENTS,
}
