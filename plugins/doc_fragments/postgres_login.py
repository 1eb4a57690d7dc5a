# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How the postgres modules log in to a server of another host."""

    DOCUMENTATION = r"""
options:
  replication_user:
    description: Role to log in to the other server as, one with the attribute C(REPLICATION).
    type: str
    required: true
  replication_password:
    description:
      - Password of O(replication_user). Without it, the server has to let the role in by other means.
    type: str
"""
