#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_cluster
short_description: Form, grow, shrink, reshard and repair a Redis Cluster
version_added: 0.1.0
description:
  - Brings a Redis Cluster to the shape that is listed, from whatever it finds; forms one out of empty
    nodes, adds and removes nodes, moves slots with their keys while clients go on, closes open slots,
    replaces wiped nodes.
  - Whatever an earlier run, or C(redis-cli), left half done is finished. A cluster of the wanted shape is
    not changed.
  - Run it once, from one host that reaches every node, not on each node.
  - What is wanted is a shape, not an assignment. Who is master is chosen when nodes join and may move by
    failover afterwards, which is no change.
  - It reports success only when every node has C(cluster_state:ok), every replica has
    C(master_link_status:up) and all nodes see the same cluster.
notes:
  - The user that logs in needs the commands C(cluster), C(info), C(dbsize) and C(ping); to move keys also
    C(migrate), C(restore-asking), C(asking), C(select), C(dump) and C(unlink) on all keys; to give new
    masters their functions C(function). Without C(config) it cannot foresee a missing C(masterauth) or a
    wrong C(cluster-announce-ip).
  - With TLS, nodes need C(tls-cluster yes), or they tell each other's plain ports.
  - While slots move, C(MIGRATE) blocks a source for the time that one batch of keys takes. Make
    O(migrate_batch) smaller where keys are large.
  - Where redis-py finds hiredis (C(python3-hiredis) on Debian), names of keys are read and written in C, and
    a move of many small keys takes about a quarter less time.
  - A master that gives its last slot away, or is replaced, becomes a replica, as Redis does it itself.
requirements:
  - redis-py 4.3.4 or newer on the host that runs the module (C(python3-redis) on Debian)
  - Redis 7.0 or newer
author:
  - The payaid.scaling maintainers (@payaid)
seealso:
  - module: payaid.scaling.redis_cluster_info
  - module: payaid.scaling.redis_cluster_failover
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
      - A single node with O(replicas=0) is a cluster too. It serves every slot, and survives nothing; what it
        is for is to grow later, with its keys and under its clients, and to be gone back to.
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
      weight:
        description:
          - Share of the slots that this node gets when it is a master, relative to the others, from 0 to
            100. V(1) when not given.
          - A node of weight V(0) owns no slots. One that has some gives its place to a replica, or, where
            it has none, its slots to other masters.
          - After a failover the weight of the new master counts; with O(rebalance=always) give the members
            of a shard the same.
        type: float
      role:
        description:
          - V(master) and V(replica) decide when the cluster is formed and when the node joins; who is what
            after a failover is left alone.
        type: str
        choices: [auto, master, replica]
        default: auto
  replicas:
    description: Replicas each master has at least.
    type: int
    default: 1
  anti_affinity:
    description:
      - Whether a master and its replica in one zone are refused (V(require)) or only avoided (V(prefer)).
      - With V(require), a replica beside its master is moved to another one if that leaves none worse off,
        and is warned of if it cannot be.
    type: str
    choices: [require, prefer]
    default: require
  unlisted:
    description:
      - What to do with a member of the cluster that is not listed. V(ignore) leaves it alone, with what it
        owns.
      - V(remove) moves its slots to others, resets it (C(CLUSTER RESET HARD)) and makes the others forget it.
    type: str
    choices: [fail, ignore, remove]
    default: fail
  rebalance:
    description:
      - Which masters are given slots of others. V(empty_masters) fills masters that own none, and goes on
        filling those that are being given some when the run begins.
      - V(always) levels all masters by weight, unless each is within O(threshold) of its share. V(never)
        moves only what leaving nodes own.
    type: str
    choices: [never, empty_masters, always]
    default: empty_masters
  threshold:
    description: Per cent off its share at which a master is left alone by O(rebalance=always), from 0 to 100.
    type: float
    default: 2.0
  open_slots:
    description:
      - What to do with slots that somebody opened for a move and nobody moves any more. V(repair) finishes
        the move, or brings the keys back to the owner of the slot.
      - Keys that both sides hold with different values are refused, and named.
    type: str
    choices: [fail, repair]
    default: repair
  replace_wiped:
    description: Whether a listed node that lost its data, and with it its id, is taken in as a new one and
      its old id forgotten.
    type: bool
    default: false
  forget_failed:
    description: Whether members that are not listed and do not answer are forgotten. One that comes back
      after that is no member.
    type: bool
    default: false
  accept_data_loss:
    description: Whether slots whose master is lost, and which no replica has, are given to other masters,
      without the keys.
    type: bool
    default: false
  assume_started:
    description:
      - In check mode, take listed nodes that cannot be reached, and that no member knows, for new and empty
        ones, as they are when tasks before this one have started them. Each is named in a warning.
      - Has no effect otherwise.
    type: bool
    default: false
  join_timeout:
    description: Seconds to wait until nodes see each other, until replicas are in step, and for a failover
      that is under way.
    type: int
    default: 60
  migrate_timeout_ms:
    description: Milliseconds that the source of a move waits for the target to answer.
    type: int
    default: 60000
  migrate_batch:
    description: Keys that are sent at a time, from 1 to 10000.
    type: int
    default: 100
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

- name: Add and remove nodes as the list says, and level the slots
  payaid.scaling.redis_cluster:
    nodes: "{{ redis_nodes }}"
    unlisted: remove
    rebalance: always
    login_user: operator
    login_password: "{{ redis_operator_password }}"
    tls: true
    ca_certs: /etc/redis/tls/ca.crt
  run_once: true

- name: Take a machine in again that was built anew after its disk was lost
  payaid.scaling.redis_cluster:
    nodes: "{{ redis_nodes }}"
    replace_wiped: true
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
slots_moved:
  description: Slots that were moved with their keys; 0 in check mode.
  type: int
  returned: success
keys_moved:
  description: Keys that were moved; 0 in check mode.
  type: int
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
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.health import warnings
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.io import RedisIO
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.model import Desired
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.moving import Migration
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._redis_cluster.report import report

ARGUMENTS = {
    "nodes": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "host": {"type": "str", "required": True},
            "port": {"type": "int", "default": 6379},
            "zone": {"type": "str"},
            "weight": {"type": "float"},
            "role": {"type": "str", "choices": ["auto", "master", "replica"], "default": "auto"},
        },
    },
    "replicas": {"type": "int", "default": 1},
    "anti_affinity": {"type": "str", "choices": ["require", "prefer"], "default": "require"},
    "unlisted": {"type": "str", "choices": ["fail", "ignore", "remove"], "default": "fail"},
    "rebalance": {
        "type": "str",
        "choices": ["never", "empty_masters", "always"],
        "default": "empty_masters",
    },
    "threshold": {"type": "float", "default": 2.0},
    "open_slots": {"type": "str", "choices": ["fail", "repair"], "default": "repair"},
    "replace_wiped": {"type": "bool", "default": False},
    "forget_failed": {"type": "bool", "default": False},
    "accept_data_loss": {"type": "bool", "default": False},
    "assume_started": {"type": "bool", "default": False},
    "join_timeout": {"type": "int", "default": 60},
    "migrate_timeout_ms": {"type": "int", "default": 60000},
    "migrate_batch": {"type": "int", "default": 100},
}


def main() -> None:
    module = begin_redis(ARGUMENTS)
    with refusing(module):
        login = Login.wanted(module.params)
        desired = Desired.wanted(module.params)
        migration = Migration.wanted(module.params, login.migrate)
        with RedisIO(
            desired.nodes,
            login,
            module.params["join_timeout"],
            migration,
            assume_started=module.params["assume_started"] and module.check_mode,
        ) as io:
            wanted = partial(plan, desired=desired)
            outcome = converge(io.observe, wanted, io, check_mode=module.check_mode, verify=io.verify)
    result = report(outcome, desired.replicas)
    for node in outcome.before.nodes:
        if not node.started:
            module.warn(
                f"Node {node.addr} does not answer, and is taken for a new one that is yet to be started."
            )
    for sentence in warnings(result["health"]):
        module.warn(sentence)
    module.exit_json(slots_moved=io.moved.slots, keys_moved=io.moved.keys, **result)


if __name__ == "__main__":
    main()
