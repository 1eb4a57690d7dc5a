# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the load balancer is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ansible_collections.payaid.scaling.molecule.conftest import Asking


@pytest.fixture
def address(host: Any) -> str:
    """Return the load balancer's address."""
    return str(host.ansible.get_variables()["ansible_host"])


@pytest.fixture
def edge(host: Any, ask: Asking, address: str) -> str:
    """Return the load balancer's address for HTTPS, trusting the certificate that it was given."""
    ask.certificate = host.file("/etc/nginx/tls/server.crt").content_string
    return f"https://{address}"
