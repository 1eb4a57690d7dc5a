# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How the postgres modules name the cluster of their host."""

    DOCUMENTATION = r"""
options:
  version:
    description: Major version of PostgreSQL; 15 or later. A standby's is the same as its primary's.
    type: int
    required: true
  cluster:
    description: Debian's name of the cluster.
    type: str
    default: main
  data_dir:
    description: Data directory. V(/var/lib/postgresql/<version>/<cluster>) if not given.
    type: path
  config_dir:
    description: Directory of C(postgresql.conf). V(/etc/postgresql/<version>/<cluster>) if not given.
    type: path
"""
