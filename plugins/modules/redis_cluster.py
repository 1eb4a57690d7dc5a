#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_cluster
short_description: Form a Redis Cluster, or prove that it is formed
version_added: 0.1.0
description:
  - Forms a Redis Cluster out of empty nodes, finishes one whose forming was interrupted at any point, and
    changes nothing on a healthy cluster of the wanted shape.
  - Run it once, from one host that reaches every node, not on each node.
  - What is wanted is a shape, not an assignment. Who is master is chosen when the cluster is formed and may
    move by failover afterwards, which is no change.
  - It reports success for a cluster it formed only when every node has C(cluster_state:ok), every replica has
    C(master_link_status:up) and all nodes see the same cluster.
notes:
  - Adding, removing and replacing nodes, moving slots or replicas and repairing open slots are not in this
    version. They are refused with a sentence that names the node and the remedy.
  - Only listed nodes are asked. Other members are known from what the listed ones tell.
  - TLS is not in this version.
requirements:
  - redis-py 4.3.4 or newer on the host that runs the module (C(python3-redis) on Debian)
  - Redis 7.0 or newer
author:
  - The payaid.scaling maintainers (@payaid)
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
  - payaid.scaling.redis
options:
  nodes:
    description:
      - All nodes of the cluster. Their order has no meaning.
      - The number of masters is the number of nodes divided by O(replicas) plus one, rounded down, and at
        least 3.
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
        description:
          - What may fail as one, such as a machine or a rack. A replica is kept out of its master's zone.
          - The O(nodes[].host) when not given.
        type: str
  replicas:
    description: Replicas each master has at least.
    type: int
    default: 1
  anti_affinity:
    description:
      - V(require) refuses to form a cluster in which a replica would share the zone of its master.
      - V(prefer) only avoids it as far as possible.
      - A cluster that is formed is not refused for it; RV(health.affinity_violations) names such replicas.
    type: str
    choices: [require, prefer]
    default: require
  unlisted:
    description:
      - What to do about members that are not in O(nodes).
      - V(fail) refuses; V(ignore) leaves them, and changes nothing in a cluster that has any.
    type: str
    choices: [fail, ignore]
    default: fail
  join_timeout:
    description: Seconds to wait until nodes see each other, and then until all is well.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Form a cluster of three masters and three replicas on three machines
  payaid.scaling.redis_cluster:
    nodes:
      - {host: 10.0.0.31, port: 6379}
      - {host: 10.0.0.31, port: 6380}
      - {host: 10.0.0.32, port: 6379}
      - {host: 10.0.0.32, port: 6380}
      - {host: 10.0.0.33, port: 6379}
      - {host: 10.0.0.33, port: 6380}
    login_password: "{{ redis_password }}"
  run_once: true

- name: Form a cluster across racks, with two replicas to a master
  payaid.scaling.redis_cluster:
    nodes: "{{ redis_nodes }}" # nine or more of {host: ..., zone: ...}
    replicas: 2
  run_once: true
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, one sentence a step.
  type: list
  elements: str
  returned: success
  sample: ["Assign slots 0-5460 to 10.0.0.31:6379", "Make 10.0.0.32:6380 a replica of 10.0.0.31:6379"]
before:
  description: Role, slots, master and number of known nodes of each listed node before the run.
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
    links_down: {description: Replicas whose link to their master is not up., type: list, elements: str}
    unlisted: {description: Members that are not listed., type: list, elements: str}
    replicas_short: {description: Masters with fewer live replicas than wanted., type: list, elements: str}
    affinity_violations: {description: Replicas in the zone of their master., type: list, elements: str}
"""

from functools import partial

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal, converge
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import report, warnings
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.io import (
    REDIS_IMPORT_ERROR,
    Login,
    RedisIO,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import Desired
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.plan import plan

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
    "anti_affinity": {"type": "str", "choices": ["require", "prefer"], "default": "require"},
    "unlisted": {"type": "str", "choices": ["fail", "ignore"], "default": "fail"},
    "join_timeout": {"type": "int", "default": 60},
    "login_user": {"type": "str"},
    "login_password": {"type": "str", "no_log": True},
}


def main() -> None:
    module = AnsibleModule(  # type: ignore[no-untyped-call]  # ansible-core has no types for it
        argument_spec=ARGUMENTS, supports_check_mode=True, required_by={"login_user": "login_password"}
    )
    if REDIS_IMPORT_ERROR:
        message = missing_required_lib("redis")  # type: ignore[no-untyped-call]  # no types in ansible-core
        module.fail_json(msg=message, exception=REDIS_IMPORT_ERROR)
    login = Login(module.params["login_user"], module.params["login_password"])
    try:
        desired = Desired.wanted(module.params)
        with RedisIO(desired, login, module.params["join_timeout"]) as io:
            wanted = partial(plan, desired=desired)
            outcome = converge(io.observe, wanted, io, check_mode=module.check_mode, verify=io.verify)
    except Refusal as refusal:
        module.fail_json(msg=refusal.message, **refusal.details)
    result = report(outcome, desired)
    for sentence in warnings(result["health"]):
        module.warn(sentence)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
