# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All that is kept of a load test: what its page shows, and what the next one is compared with. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .edge import together
from .evidence import evidence, totals
from .findings import findings
from .verdict import worst

HostVars = Mapping[str, Mapping[str, Any]]


def record(
    told: Mapping[str, Any],
    machines: Mapping[str, Sequence[str]],
    hostvars: HostVars,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """Put together what was said at the begin, by the clients, and by each machine.

    told has what is known without the machines, with the clients' own verdict as slo. Each machine has left
    what it knows in its variables: platform_slo_postgres, platform_slo_redis, platform_usage and
    platform_answered.
    """
    hosts = list(dict.fromkeys(host for kind in machines.values() for host in kind))
    slo = worst(_checks(told, machines, hostvars))
    known = {**told, "slo": slo}
    known["totals"] = totals(told["slo"], [hostvars[host]["load_test_result"] for host in told["generators"]])
    known["edge"] = together(
        [hostvars[host].get("platform_answered") or {} for host in machines.get("load_balancers") or ()],
        {str(hostvars[host].get("platform_address")): host for host in hosts},
    )
    usage = {host: hostvars[host].get("platform_usage") or {} for host in hosts}
    known["evidence"] = evidence(machines, {host: used for host, used in usage.items() if "cpu" in used}, slo)
    known["findings"] = findings(known, settings)
    return known


def _checks(
    told: Mapping[str, Any], machines: Mapping[str, Sequence[str]], hostvars: HostVars
) -> list[dict[str, Any]]:
    """Return the verdicts of those who saw a part. What nobody could be asked for, the clients' own says."""
    asked = {"databases": "platform_slo_postgres", "redis_nodes": "platform_slo_redis"}
    others = [
        (host, hostvars[host].get(name) or {})
        for kind, name in asked.items()
        for host in machines.get(kind) or ()
    ]
    return [
        {"host": ", ".join(told["generators"]), "slo": told["slo"]},
        *({"host": host, "slo": slo} for host, slo in others if "results" in slo),
    ]
