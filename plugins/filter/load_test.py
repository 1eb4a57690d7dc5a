# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a load test has found, for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_report.given import RefusedError
from ansible_collections.payaid.scaling.plugins.plugin_utils._load_report.page import page

Run = Mapping[str, Any]
NOTHING: Run = MappingProxyType({})


def load_test_page(run: Run, previous: Run = NOTHING) -> dict[str, Any]:
    """Return what the page of a run shows."""
    try:
        return page(run, previous)
    except RefusedError as refusal:
        raise AnsibleFilterError(str(refusal)) from refusal


class FilterModule:
    """Offers the function above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"load_test_page": load_test_page}
