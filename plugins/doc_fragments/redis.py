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
  tls:
    description:
      - Whether to connect with TLS. The certificate of each node must be for the host by which it is listed.
      - Nodes send each other keys with TLS when they have C(tls-cluster yes).
    type: bool
    default: false
  ca_certs:
    description: File with the certificates to trust, on the host that runs the module. Those of the system
      when not given.
    type: path
  client_cert:
    description: File with the certificate to show, where nodes ask for one. Requires O(client_key).
    type: path
  client_key:
    description: File with the private key of O(client_cert).
    type: path
"""
