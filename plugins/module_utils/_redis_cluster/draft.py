# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan in the making: the steps so far, and the state that they lead to."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.layout import Layout
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import (
    Cluster,
    Desired,
    Node,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.slots import Ranges
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.steps import Step


class Draft:
    """What the phases of a plan write to."""

    def __init__(self, cluster: Cluster, desired: Desired) -> None:
        self.state = cluster
        self.desired = desired
        self.steps: list[Step] = []
        self.layout = Layout(
            zones={node.addr: node.listed.zone for node in cluster.listed},
            masters=desired.masters,
            replicas=desired.replicas,
            strict=desired.require_zones,
            favoured=frozenset(node.addr for node in desired.nodes if node.role == "master"),
        )

    def do(self, step: Step) -> None:
        self.steps.append(step)
        self.state = step.simulate(self.state)

    def knowing(self, peer_id: str) -> tuple[str, ...]:
        """Nodes that know another one."""
        return tuple(n.addr for n in self.state.up if peer_id in n.knows and n.me.id != peer_id)

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Sort masters by the slots that they own by now, so that every plan from here takes them alike."""

        def key(name: str) -> tuple[bool, Ranges, tuple[int, int, str, int]]:
            node = self.state.named(name)
            return (not node.me.slots, node.me.slots, node.order)

        return sorted(names, key=key)

    def leaving(self, masters: list[str]) -> list[Node]:
        """Owners that are to give all their slots away."""
        return [node for node in self.state.owners if node.addr not in masters and not self.ignores(node)]

    def ignores(self, node: Node) -> bool:
        return not node.wanted and self.desired.unlisted != "remove"

    def may_lead(self, node: Node) -> bool:
        """Tell whether a node may be made a master."""
        return (
            node.wanted and node.problem is None and not node.listed.drained and node.listed.role != "replica"
        )

    def crowded(self) -> Refusal:
        zones = list(self.layout.zones.values())
        size, zone = max((zones.count(zone), zone) for zone in zones)
        return Refusal(
            f"anti_affinity=require cannot be kept: zone {zone} holds {size} of the {len(zones)} nodes, so "
            f"not each of {self.layout.masters} masters finds replicas={self.layout.replicas} in another "
            "zone; list nodes in more zones, set zone where hosts are apart, or set anti_affinity=prefer.",
            zone=zone,
        )
