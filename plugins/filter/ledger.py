# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all machines together know of what was done to the platform."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.module_utils._ledger.model import added, merged, whole

Ledger = Sequence[Mapping[str, Any]]


def ledger_merged(ledgers: Sequence[Ledger]) -> list[dict[str, Any]]:
    """Return what any of the machines knows, once, in the order in which it happened."""
    for ledger in ledgers:
        _check(ledger)
    return merged(ledgers)


def ledger_added(entries: Ledger, told: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the ledger with one more entry at its end."""
    _check(entries)
    return added(entries, told)


def _check(ledger: Ledger) -> None:
    for entry in ledger:
        if not whole(entry):
            raise AnsibleFilterError(
                f"Entry {dict(entry).get('number', '?')} is not as it was written: give what the module "
                "payaid.scaling.rollout_ledger returns as entries."
            )


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"ledger_added": ledger_added, "ledger_merged": ledger_merged}
