# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How the postgres modules protect their connections to other hosts."""

    DOCUMENTATION = r"""
options:
  sslmode:
    description: How connections to other hosts are protected, as in libpq.
    type: str
    choices: [prefer, require, verify-ca, verify-full]
    default: prefer
  sslrootcert:
    description: >-
      File on this host with the authority of the others' certificates, for O(sslmode=verify-ca) and
      V(verify-full).
    type: path
"""
