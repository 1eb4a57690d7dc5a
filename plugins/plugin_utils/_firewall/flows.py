# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who of a platform may begin a connection to whom. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .rules import VRRP, Rule, rule_of, together

Groups = Mapping[str, Sequence[str]]
HostVars = Mapping[str, Mapping[str, Any]]
ANYBODY = "anybody"


class UnknownGroupError(Exception):
    """A flow comes from, or leads to, a group that there is not."""


def rules_for(
    flows: Sequence[Mapping[str, Any]], groups: Groups, hostvars: HostVars, host: str
) -> list[Rule]:
    """Return what a host lets in, by the flows that lead to one of its groups."""
    found = []
    for flow in flows:
        if host not in _members(flow["to"], flow, groups):
            continue
        if not flow.get("ports") and flow.get("proto") != VRRP:
            continue
        sources = _sources(flow, groups, hostvars, host)
        # A rule without sources lets everybody in, so that of an empty group must not become one.
        if sources or ANYBODY in flow["from"]:
            found.append(rule_of({**flow, "from": sources}))
    return together(found)


def _sources(flow: Mapping[str, Any], groups: Groups, hostvars: HostVars, host: str) -> list[str]:
    if ANYBODY in flow["from"]:
        return []
    hosts = dict.fromkeys(one for group in flow["from"] for one in _members(group, flow, groups))
    # What a machine asks itself comes over its loopback.
    return [str(hostvars[one]["platform_address"]) for one in hosts if one != host]


def _members(group: str, flow: Mapping[str, Any], groups: Groups) -> Sequence[str]:
    if group not in groups:
        raise UnknownGroupError(
            f"The flow {flow['name']} names the group {group}, which there is not: name one of "
            f"{', '.join(sorted(groups))}, or, in its `from`, {ANYBODY}."
        )
    return groups[group]
