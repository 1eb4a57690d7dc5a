#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_copy_keys
short_description: Carry the keys of a standalone Redis over into a Redis Cluster
version_added: 0.1.0
description:
  - Copies all keys of a standalone Redis, of every type and with their expiry, into a Redis Cluster, while
    the app goes on writing, and compares every key on both sides before and after.
  - Nothing is ever written to the source.
  - Run it once, from one host that reaches the source and every node of the cluster. All passes of one copy
    run on the same host, where its O(journal) is.
notes:
  - "The procedure: (1) run with O(stage=copy) while the app uses the source, as often as wanted; each run
    copies what is missing and replaces what the app has changed at the source since. (2) Switch the app over
    to the cluster, and make sure that nothing writes to the source any more. (3) Run with O(stage=finish)
    once, which carries over what changed between the last copy and the switch, and reports success only when
    every key of the source is accounted for. Keep the source until then."
  - "What is done about a key follows from three things: what the source holds, what the cluster holds, and
    what both held when they were last seen to be the same, which the O(journal) remembers. Changed only at
    the source: the source's value replaces the cluster's. Changed only in the cluster: the app has written it
    there, and it stays. Changed on both sides: a conflict, which O(on_conflict) decides. Deleted only in the
    cluster: with O(stage=finish) the app has deleted it, and it stays so; with O(stage=copy) the cluster has
    lost it, and it is copied again. Deleted only at the source: see O(delete). A change is one of the value
    or of the expiry."
  - Counters that have been increased on both sides are conflicts like any other. They are not added up,
    because nobody but the app knows what a number means.
  - Between the switch and the end of O(stage=finish), the app finds keys in the cluster as the last copy left
    them. Run O(stage=copy) once more right before the switch, and the last pass right after it, to keep that
    time short. A key that the source got only after the last copy, and that the app tries to delete in the
    cluster before the last pass, is not there yet to be deleted, and comes with the last pass.
  - A key is written by a script that does so only while the cluster still holds what was seen there, so that
    what the app writes in that very moment is not lost. Such keys are judged again.
  - A write counts as done when a replica of its master has confirmed it. What a failover loses is copied
    again.
  - A run that was killed at any moment is completed by the next one with the same options and the same
    O(journal).
  - Of the O(batch_keys) keys at most that were being written when a last pass was killed, one that the app
    writes in the cluster before the next run is a conflict, and one that it deletes there comes back, because
    nobody can tell whether the app did so before the write or after it.
  - It reads with C(SCAN), C(TYPE), C(MEMORY USAGE), C(PEXPIRETIME) (C(PTTL) before Redis 7.0) and C(DUMP),
    and where two servers serialise a value differently, with what reads its type whole. In the cluster it
    needs C(SCAN), C(EVALSHA), C(SCRIPT LOAD), C(RESTORE), C(UNLINK), C(WAIT) and the same reading commands.
  - For each key the host needs some 700 bytes of memory while it runs. The journal takes 130 bytes of disk
    for each
    key, and as much again whenever the key is copied again.
  - The least recently used keys of the source are not known as such in the cluster, where all keys are new.
seealso:
  - module: payaid.scaling.redis_cluster
requirements:
  - redis-py 4.3.4 or newer on the host that runs the module (C(python3-redis) on Debian)
  - Redis 7.0 or newer in the cluster; any version from 4.0 at the source, but none that serialises keys in a
    form that the cluster cannot read
author:
  - The payaid.scaling maintainers (@payaid)
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
  - payaid.scaling.redis
options:
  source:
    description: The standalone instance. Only database 0 may have keys, because a cluster has no other.
    type: dict
    required: true
    suboptions:
      host:
        description: IP address, or a host name.
        type: str
        required: true
      port:
        description: Port for clients.
        type: int
        default: 6379
      login_user:
        description: ACL user to log in as. The default user when only O(source.login_password) is given.
        type: str
      login_password:
        description: Password to log in with.
        type: str
      tls:
        description: Whether to connect with TLS. The certificate must be for the O(source.host).
        type: bool
        default: false
      ca_certs:
        description: File with the certificates to trust, on the host that runs the module. Those of the
          system when not given.
        type: path
      client_cert:
        description: File with the certificate to show, where one is asked for. Requires
          O(source.client_key).
        type: path
      client_key:
        description: File with the private key of O(source.client_cert).
        type: path
  nodes:
    description: Nodes of the cluster. The first that answers is asked for all the others.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: IP address, or a host name.
        type: str
        required: true
      port:
        description: Port for clients.
        type: int
        default: 6379
  stage:
    description:
      - V(copy) while the app uses the source. What it changes during the run is counted in RV(behind).
      - V(finish) once the app uses the cluster. It fails when the source still changes.
    type: str
    choices: [copy, finish]
    default: copy
  on_conflict:
    description:
      - Who wins where a key has changed on both sides, or is on both sides from the beginning with different
        content.
      - V(fail) refuses before anything is changed and names some of the keys.
      - V(source) overwrites what the cluster holds; what the app has written there to such a key is lost.
      - V(target) leaves what the cluster holds; what the app wrote to such a key at the source after the last
        copy is lost. For caches and sessions this is mostly right in the last pass.
    type: str
    choices: [fail, source, target]
    default: fail
  delete:
    description:
      - Whether to delete keys in the cluster that the source has no more.
      - Only keys that O(journal) proves to be copied by this module, and that the cluster holds unchanged,
        are deleted. Without it they stay, and RV(after.deleted_at_source) counts them; a session that was
        ended at the source between the last copy and the switch would be valid again.
    type: bool
    default: false
  deleted_limit:
    description:
      - How many deletions are believed. Where more keys that were copied are gone from one side, the run
        refuses, because that side has more likely lost its data. For keys gone from the source, this counts
        only with O(delete=true).
    type: int
    default: 1000
  journal:
    description:
      - File on the host that runs the module, made by the first pass, in which it remembers what it has
        copied. Its folder must exist, and outlast a restart of the host. Delete the file when all is done.
      - It holds digests only, no names and no values.
    type: path
    required: true
  expiry_tolerance_ms:
    description:
      - How far two expiries may be apart, in milliseconds, and still be the same. Clocks that are further
        apart are refused.
    type: int
    default: 1000
  batch_keys:
    description: How many keys are asked for at once.
    type: int
    default: 500
  batch_bytes:
    description:
      - How many bytes of values, by C(MEMORY USAGE), are asked for at once. A key that is larger goes alone.
    type: int
    default: 8388608
  max_rate:
    description:
      - How many keys a second are read from the source at most, so that it stays quick for its clients. V(0)
        for as many as possible.
    type: int
    default: 0
  timeout:
    description: Seconds to wait for a part of the cluster that does not answer, such as during a failover.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Copy while the app uses the single Redis
  payaid.scaling.redis_copy_keys:
    source: {host: 10.0.0.30, login_password: "{{ old_redis_password }}"}
    nodes: [{host: 10.0.0.31}, {host: 10.0.0.32}, {host: 10.0.0.33}]
    login_password: "{{ redis_password }}"
    journal: /var/lib/redis-carry-over/journal
    max_rate: 20000
  run_once: true

- name: The last pass, once the app uses the cluster
  payaid.scaling.redis_copy_keys:
    source: {host: 10.0.0.30, login_password: "{{ old_redis_password }}"}
    nodes: [{host: 10.0.0.31}, {host: 10.0.0.32}, {host: 10.0.0.33}]
    login_password: "{{ redis_password }}"
    journal: /var/lib/redis-carry-over/journal
    stage: finish
    on_conflict: target
    delete: true
  run_once: true
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, one sentence for each kind of keys.
  type: list
  elements: str
  returned: success
  sample: ["Copy 100000 keys that the cluster does not have (9000 hash, 91000 string)"]
before:
  description:
    - Counts from before the run. All but RV(before.target_keys) and RV(before.deleted_at_source) are of the
      source's keys, and the rest of those make up RV(before.source_keys).
  type: dict
  returned: success
  contains: &counts
    source_keys: {description: Keys that the source holds., type: int}
    target_keys: {description: "Keys that the cluster's masters hold, the app's own among them.", type: int}
    equal: {description: Keys that both sides hold with the same value and expiry., type: int}
    missing: {description: Keys that the cluster has never had., type: int}
    unfinished: {description: Keys that a run had begun to copy or that the cluster has lost., type: int}
    outdated: {description: Keys that changed at the source after they were copied., type: int}
    conflicts: {description: Keys that differ and of which both sides may be right., type: int}
    changed_in_cluster: {description: Keys that the app has since changed in the cluster., type: int}
    deleted_in_cluster: {description: Keys that the app has since deleted in the cluster., type: int}
    deleted_at_source: {description: Keys that were copied and that only the cluster still holds., type: int}
after:
  description: The same counts after the run, of all keys compared once more; in check mode as they would be.
  type: dict
  returned: success
  contains: *counts
types:
  description: The number of the source's keys of each type before the run.
  type: dict
  returned: success
  sample: {hash: 9000, string: 91000}
copied:
  description: Keys written that the cluster did not have. None in check mode, as with the next three.
  type: int
  returned: success
replaced:
  description: Keys written over what the cluster had.
  type: int
  returned: success
deleted:
  description: Keys deleted in the cluster.
  type: int
  returned: success
gone_meanwhile:
  description: >-
    Keys that expired or were deleted at the source after they were seen and before they were
    copied.
  type: int
  returned: success
overtaken:
  description: How often a key was left alone because the app wrote it in the cluster that moment.
  type: int
  returned: success
behind:
  description: Keys that the app changed at the source during a run with O(stage=copy), left to the next one.
  type: int
  returned: success
conflict_sample:
  description: Names of some keys that were in conflict before the run.
  type: list
  elements: str
  returned: success
complete:
  description:
    - Whether every key of the source is in the cluster with the same value and expiry, or was changed or
      deleted there by the app, or was left to the cluster by O(on_conflict=target).
  type: bool
  returned: success
"""

from functools import partial

from ansible_collections.payaid.scaling.plugins.module_utils._module import refusing
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import (
    LOGIN_ARGUMENTS,
    LOGIN_RULES,
    Login,
    begin_redis,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.io import CopyIO
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.journal import Journal
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.model import Desired
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.report import report, warnings
from ansible_collections.payaid.scaling.plugins.module_utils._redis_copy.settle import settle

ENDPOINT = {"host": {"type": "str", "required": True}, "port": {"type": "int", "default": 6379}}
ARGUMENTS = {
    "source": {
        "type": "dict",
        "required": True,
        "options": {**ENDPOINT, **LOGIN_ARGUMENTS},
        **LOGIN_RULES,
    },
    "nodes": {"type": "list", "elements": "dict", "required": True, "options": ENDPOINT},
    "stage": {"type": "str", "choices": ["copy", "finish"], "default": "copy"},
    "on_conflict": {"type": "str", "choices": ["fail", "source", "target"], "default": "fail"},
    "delete": {"type": "bool", "default": False},
    "deleted_limit": {"type": "int", "default": 1000},
    "journal": {"type": "path", "required": True},
    "expiry_tolerance_ms": {"type": "int", "default": 1000},
    "batch_keys": {"type": "int", "default": 500, "no_log": False},  # a number of keys, no key
    "batch_bytes": {"type": "int", "default": 8388608},
    "max_rate": {"type": "int", "default": 0},
    "timeout": {"type": "int", "default": 60},
}


def main() -> None:
    module = begin_redis(ARGUMENTS)
    given, check = module.params, module.check_mode
    logins = [Login.wanted(side) for side in (given["source"], given)]
    with refusing(module):
        desired = Desired.wanted(given)
        journal = Journal(given["journal"], read_only=check)
        with CopyIO(desired, journal, *logins, check_mode=check) as io:
            verify = partial(settle, io.observe, io, desired)
            wanted = partial(plan, desired=desired)
            outcome = converge(io.observe, wanted, io, check_mode=check, verify=verify)
    result = report(outcome, io.tally, desired)
    for sentence in warnings(result, desired):
        module.warn(sentence)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
