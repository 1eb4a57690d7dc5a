# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The firewall of a machine: what it lets in, and what keeps it from being switched on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.payaid.scaling.plugins.plugin_utils._firewall.flows import (
    Groups,
    HostVars,
    UnknownGroupError,
    rules_for,
)
from ansible_collections.payaid.scaling.plugins.plugin_utils._firewall.nft import lines
from ansible_collections.payaid.scaling.plugins.plugin_utils._firewall.problems import problems
from ansible_collections.payaid.scaling.plugins.plugin_utils._firewall.rules import rule_of, together

Rules = Sequence[Mapping[str, Any]]


def firewall_flows(flows: Rules, groups: Groups, hostvars: HostVars, host: str) -> list[dict[str, Any]]:
    """Return the rules of a host by the flows of the platform."""
    try:
        return [rule.as_given() for rule in rules_for(flows, groups, hostvars, host)]
    except UnknownGroupError as error:
        raise AnsibleFilterError(str(error)) from error


def firewall_together(rules: Rules, others: Rules) -> list[dict[str, Any]]:
    """Return rules that let in whoever one of two lists does."""
    return [rule.as_given() for rule in together(map(rule_of, rules), map(rule_of, others))]


def firewall_lines(rules: Rules) -> list[str]:
    """Return rules as lines of nft."""
    return list(lines([rule_of(rule) for rule in rules]))


def firewall_problems(given: Mapping[str, Any], host: str, connection: str = "") -> list[str]:
    """Return a sentence for each thing that keeps a host from having its firewall."""
    return [f"{host} has {problem}" for problem in problems(given, connection)]


class FilterModule:
    """Offers the functions above to templates."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "firewall_flows": firewall_flows,
            "firewall_lines": firewall_lines,
            "firewall_problems": firewall_problems,
            "firewall_together": firewall_together,
        }
