# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module that works on one cluster of its host takes."""

from __future__ import annotations

from typing import Any

# The options that name the cluster, of which Place is made; doc_fragments/postgres_cluster.py describes them.
CLUSTER_ARGUMENTS: dict[str, dict[str, Any]] = {
    "version": {"type": "int", "required": True},
    "cluster": {"type": "str", "default": "main"},
    "data_dir": {"type": "path"},
    "config_dir": {"type": "path"},
}
