# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How the redis modules log in."""

    DOCUMENTATION = r"""
options:
  login_user:
    description: ACL user to log in as, on every node. The default user when only O(login_password) is given.
    type: str
  login_password:
    description: Password to log in with, the same on every node.
    type: str
"""
