#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_cluster_failover
short_description: Make a replica of a Redis Cluster the master of its shard
version_added: 0.1.0
description:
  - Promotes one replica, and returns when all nodes see it as master and its former master, where it is
    alive, follows it in step. C(CLUSTER FAILOVER) itself answers before anything has happened.
  - Does nothing when the node is the master of its shard already.
requirements:
  - redis-py 4.3.4 or newer on the host that runs the module (C(python3-redis) on Debian)
  - Redis 7.0 or newer
author:
  - The payaid.scaling maintainers (@payaid)
seealso:
  - module: payaid.scaling.redis_cluster
  - module: payaid.scaling.redis_cluster_info
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
  - payaid.scaling.redis
options:
  host:
    description: The replica that is to be master, as an IP address or a host name.
    type: str
    required: true
  port:
    description: Its port for clients.
    type: int
    default: 6379
  mode:
    description:
      - V(graceful) hands over without losing a write; it needs the master alive and the replica in step.
      - V(force) does not ask the master, so what it has not sent yet is lost; a majority of masters must
        agree.
      - V(takeover) asks nobody. Only where the majority of masters is lost, because two nodes may believe
        to own the same slots for a while.
    type: str
    choices: [graceful, force, takeover]
    default: graceful
  timeout:
    description: Seconds to wait until the roles have changed.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Hand a shard over before its master is restarted
  payaid.scaling.redis_cluster_failover:
    host: 10.0.0.32
    port: 6380
    login_password: "{{ redis_password }}"
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done.
  type: list
  elements: str
  returned: success
  sample: ["Make 10.0.0.32:6380 master in place of 10.0.0.31:6379"]
before:
  description: Role, slots, master and number of known nodes of each node before the run.
  type: dict
  returned: success
after:
  description: The same after the run, or in check mode as it would be.
  type: dict
  returned: success
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

from functools import partial

from ansible_collections.payaid.scaling.plugins.module_utils._module import refusing
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login, begin_redis
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.failover import plan
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.io import RedisIO
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import Listed
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.report import report

ARGUMENTS = {
    "host": {"type": "str", "required": True},
    "port": {"type": "int", "default": 6379},
    "mode": {"type": "str", "choices": ["graceful", "force", "takeover"], "default": "graceful"},
    "timeout": {"type": "int", "default": 60},
}


def main() -> None:
    module = begin_redis(ARGUMENTS)
    node = Listed(module.params["host"], module.params["port"], module.params["host"])
    login, timeout = Login.wanted(module.params), module.params["timeout"]
    with refusing(module), RedisIO([node], login, timeout, option="timeout") as io:
        wanted = partial(plan, addr=node.addr, mode=module.params["mode"])
        outcome = converge(io.look, wanted, io, check_mode=module.check_mode)
    module.exit_json(**report(outcome, replicas=0))


if __name__ == "__main__":
    main()
