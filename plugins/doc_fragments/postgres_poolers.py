# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How the postgres modules hold clients back in their poolers."""

    DOCUMENTATION = r"""
options:
  poolers:
    description: >-
      Every PgBouncer whose clients write here. Without any, clients see errors until they reconnect.
    type: list
    elements: dict
    default: []
    suboptions:
      host:
        description: Name or address.
        type: str
        required: true
      port:
        description: Port.
        type: int
        default: 6432
  pooler_databases:
    description: The databases of the poolers that lead to the primary.
    type: list
    elements: str
    default: [app_rw]
  pooler_user:
    description: One of their C(admin_users).
    type: str
    default: pgbouncer
  pooler_password:
    description: Its password.
    type: str
  max_transaction_age:
    description: "Refuse while a transaction has run for more seconds than this: a pause waits for it."
    type: int
    default: 5
  pause_timeout:
    description: Seconds in which all poolers must have held their clients back; otherwise all is as before.
    type: int
    default: 5
"""
