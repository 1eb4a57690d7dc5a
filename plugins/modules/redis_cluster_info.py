#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_cluster_info
short_description: Read how well a Redis Cluster is
version_added: 0.1.0
description:
  - Asks the given nodes, and all that they know, and returns members and health as data. It changes nothing
    and does not fail because a cluster is ill, but only when no node answers.
requirements:
  - redis-py 4.3.4 or newer on the host that runs the module (C(python3-redis) on Debian)
  - Redis 7.0 or newer
author:
  - The payaid.scaling maintainers (@payaid)
seealso:
  - module: payaid.scaling.redis_cluster
  - module: payaid.scaling.redis_cluster_failover
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.reads
  - payaid.scaling.redis
options:
  nodes:
    description: One or more nodes of the cluster.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: IP address, or a host name. Names are resolved on the host that runs the module.
        type: str
        required: true
      port:
        description: Port for clients.
        type: int
        default: 6379
      zone:
        description: What may fail as one, such as a machine or a rack. The O(nodes[].host) when not given.
        type: str
  replicas:
    description: Live replicas that a master should have; those with fewer are reported in
      RV(health.replicas_short).
    type: int
    default: 1
"""

EXAMPLES = r"""
- name: Go on only with a cluster that is well
  payaid.scaling.redis_cluster_info:
    nodes:
      - {host: 10.0.0.31}
      - {host: 10.0.0.32}
    login_password: "{{ redis_password }}"
  register: redis
  failed_when: redis.health.state != 'ok'
"""

RETURN = r"""
nodes:
  description: Every node, listed or known to a listed one, after the run; in check mode as it would be.
  type: list
  elements: dict
  returned: success
  contains:
    id: {description: Node id., type: str}
    addr: {description: Address as listed., type: str}
    zone: {description: Zone; none for a node that is not listed., type: str}
    role: {description: "V(master), V(replica), or V(unknown) for a node that nobody knows.", type: str}
    master_id: {description: Node id of a replica's master., type: str}
    slots: {description: Ranges of slots., type: str, sample: 0-5460}
    flags: {description: Flags from CLUSTER NODES., type: list, elements: str}
    link: {description: V(connected) when all others are connected to it over the bus., type: str}
    master_link_status: {description: V(up) when a replica is in step with its master., type: str}
    keys: {description: Keys that it holds., type: int}
    problem:
      description: >-
        Why it does not answer; V(unreachable), V(auth_fail), V(tls_fail), V(loading), V(not_cluster_mode),
          V(unresolved)
        or V(other).
      type: str
health:
  description: How well the cluster is after the run. Faults that need no change are warned of.
  type: dict
  returned: success
  contains:
    state:
      description: >-
        V(ok); V(degraded) when all slots are served but a fault is listed below; V(failed) when not all are
        served; V(absent) when there is no cluster yet.
      type: str
    coverage: {description: Slots that have an owner, type: int, sample: 16384}
    views_agree: {description: Whether all nodes see the same slots and roles., type: bool}
    open_slots: {description: "Slots on the move, as CLUSTER NODES shows them.", type: list, elements: str}
    down: {description: Nodes that do not answer or are failing., type: list, elements: str}
    ghosts: {description: Ids of members whose address nobody knows any more., type: list, elements: str}
    links_down: {description: Replicas whose link to their master is not up., type: list, elements: str}
    unlisted: {description: Members that are not listed., type: list, elements: str}
    replicas_short: {description: Masters with fewer live replicas than wanted., type: list, elements: str}
    affinity_violations: {description: Replicas in the zone of their master., type: list, elements: str}
"""

from ansible_collections.payaid.scaling.plugins.module_utils._module import refusing
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login, begin_redis
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import health
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.io import RedisIO
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import Listed
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.refusals import refuse_silence
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.report import rows

ARGUMENTS = {
    "nodes": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 6379},
            "zone": {"type": "str"},
        },
    },
    "replicas": {"type": "int", "default": 1},
}


def main() -> None:
    module = begin_redis(ARGUMENTS)
    seeds = [Listed(n["host"], n["port"], n["zone"] or n["host"]) for n in module.params["nodes"]]
    with refusing(module):
        with RedisIO(seeds, Login.wanted(module.params), timeout=0) as io:
            cluster = io.look()
        refuse_silence(cluster)
    told = health(cluster, module.params["replicas"])
    module.exit_json(changed=False, nodes=rows(cluster), health=told)


if __name__ == "__main__":
    main()
