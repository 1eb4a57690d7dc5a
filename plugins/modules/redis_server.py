#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_server
short_description: Runs the Redis instances of a host, and restarts them without harm
version_added: 0.1.0
description:
  - Writes settings, users and unit of each instance, starts those that do not run, and brings those
    that do to what is wanted without a restart, as far as Redis can.
  - >-
    Whether an instance has what is wanted is asked of the instance itself: a server is started with the
    wanted files for a moment, apart from everything, and what it says of its settings and users is compared
    with what the instance says. So files that no server would start with are refused before they are
    written, and a setting that is gone from the list goes back to its default.
  - What only a restart can change, a younger program or unit among it, is told in
    RV(instances[].restart) and done only for the ports in O(restart).
  - In a cluster, an instance is restarted only while all others are there and in step, and a master
    only after a replica has taken its shard over. It returns when the instance is in step again. So
    one call after the other, over all hosts, never has two instances away at a time.
notes:
  - Users are changed by C(ACL SETUSER), because with C(ACL LOAD) Redis 7.0 cuts off every client. The
    file is what they are read from at a start.
  - Outside of a cluster, an instance that is to be restarted is restarted. Who fails over before is
    for the caller to say.
  - Debian's unit C(redis-server@) is expected.
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
  instances:
    description: The instances of this host.
    type: list
    elements: dict
    required: true
    suboptions:
      port:
        description: Port for clients.
        type: int
        required: true
      maxmemory:
        description: Memory for its data.
        type: str
      maxmemory_policy:
        description: What is evicted when that is full.
        type: str
      memory_max:
        description: Memory at which the kernel kills the process, C(MemoryMax) of its unit.
        type: str
      settings:
        description: Further settings of this instance, over those in O(settings).
        type: dict
  address:
    description: IP address at which this host's instances are asked, one that they listen at.
    type: str
    default: 127.0.0.1
  settings:
    description:
      - Settings of redis.conf of all instances. A list gives a setting once for each element.
      - Refused are those that the module writes itself, and those that a running instance does
        not tell, which are C(include), C(loadmodule), C(rename-command) and C(user).
    type: dict
    default: {}
  service:
    description: Settings of the section Service of all units, added to those of the package.
    type: dict
    default: {}
  users:
    description:
      - All ACL users. Any other is deleted, and C(default) is switched off.
      - The file holds hashes of the passwords.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Name.
        type: str
        required: true
      password:
        description: Password.
        type: str
        required: true
      rules:
        description: What the user may do, in the words of ACL SETUSER.
        type: list
        elements: str
        required: true
  replication_user:
    description: User that a replica logs in as at its master.
    type: str
  replication_password:
    description: Its password.
    type: str
  former_passwords:
    description:
      - Passwords that let in beside the present ones, as lists by the name of the user, while
        clients are switched.
      - With any for C(default) this user is on and may do everything, as where the server had
        C(requirepass). They are tried, too, where O(login_user) is not known yet.
    type: dict
    default: {}
  cluster:
    description: Whether the instances are nodes of a cluster.
    type: bool
    default: true
  restart:
    description: Ports of the instances that may be restarted, where they need it.
    type: list
    elements: int
    default: []
  started_after:
    description:
      - Moment, in seconds since the epoch, that instances must have been started after. Those
        that were not need a restart.
    type: float
    default: 0
  accept_downtime:
    description: Restart a master that has no replica at all, though nobody serves its keys meanwhile.
    type: bool
    default: false
  retire:
    description:
      - What to do about instances of this host that are not listed in O(instances) and run.
      - V(keep) leaves them. V(drained) stops them for good, and refuses while they are members of a cluster.
        V(any) stops them whatever they hold. Their data and settings stay where they are.
    type: str
    choices: [keep, drained, any]
    default: keep
  timeout:
    description: How long, in seconds, an instance may take to load its data and be in step.
    type: int
    default: 300
"""

EXAMPLES = r"""
- name: Run two instances
  payaid.scaling.redis_server:
    address: 10.0.0.31
    instances:
      - {port: 6379, maxmemory: 1gb}
      - {port: 6380, maxmemory: 2gb, memory_max: 5G}
    settings:
      bind: 10.0.0.31 127.0.0.1
      appendonly: true
    users:
      - {name: operator, password: "{{ operator_password }}", rules: ["~*", "&*", "+@all"]}
      - {name: replication, password: "{{ replication_password }}", rules: [+psync, +replconf, +ping]}
    replication_user: replication
    replication_password: "{{ replication_password }}"
    login_user: operator
    login_password: "{{ operator_password }}"
  register: redis
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, one sentence a step.
  type: list
  elements: str
  returned: success
  sample: ["Set on port 6379 maxmemory to 1073741824"]
instances:
  description: Every instance after the run; in check mode as it would be.
  type: list
  elements: dict
  returned: success
  contains:
    port: {description: Port., type: int}
    addr: {description: Address and port; none for one that did not run., type: str}
    role: {description: "V(master) or V(replica); none for one that did not run.", type: str}
    restart: {description: Why only a restart would bring it to what is wanted., type: list, elements: str}
"""

from dataclasses import replace

from ansible_collections.payaid.scaling.plugins.module_utils._module import refusing, runner
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login, begin_redis
from ansible_collections.payaid.scaling.plugins.module_utils._redis_server.io import Host
from ansible_collections.payaid.scaling.plugins.module_utils._redis_server.model import Desired, files, rows
from ansible_collections.payaid.scaling.plugins.module_utils._redis_server.plan import plan

ARGUMENTS = {
    "instances": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "port": {"type": "int", "required": True},
            "maxmemory": {"type": "str"},
            "maxmemory_policy": {"type": "str"},
            "memory_max": {"type": "str"},
            "settings": {"type": "dict"},
        },
    },
    "address": {"type": "str", "default": "127.0.0.1"},
    "settings": {"type": "dict", "default": {}},
    "service": {"type": "dict", "default": {}},
    "users": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "password": {"type": "str", "required": True, "no_log": True},
            "rules": {"type": "list", "elements": "str", "required": True},
        },
    },
    "replication_user": {"type": "str"},
    "replication_password": {"type": "str", "no_log": True},
    "former_passwords": {"type": "dict", "default": {}, "no_log": True},
    "cluster": {"type": "bool", "default": True},
    "restart": {"type": "list", "elements": "int", "default": []},
    "started_after": {"type": "float", "default": 0},
    "accept_downtime": {"type": "bool", "default": False},
    "retire": {"type": "str", "choices": ["keep", "drained", "any"], "default": "keep"},
    "timeout": {"type": "int", "default": 300},
}


def main() -> None:
    module = begin_redis(ARGUMENTS)
    given = module.params
    login = Login.wanted(given)
    former = given["former_passwords"].get("default", [])
    logins = [login, *(replace(login, user=None, password=password) for password in former)]
    with refusing(module):
        desired = Desired.wanted(given)
        host = Host(
            runner(module),
            desired,
            address=given["address"],
            logins=logins,
            timeout=given["timeout"],
        )
        outcome = converge(
            host.observe, lambda state: plan(state, desired), host, check_mode=module.check_mode
        )
    module.exit_json(
        changed=outcome.changed,
        actions=list(outcome.actions),
        instances=rows(outcome.after.instances, desired.started_after),
        diff=_diff(files(outcome.before), files(outcome.after)),
    )


def _diff(before: dict[str, str], after: dict[str, str]) -> list[dict[str, str]]:
    return [
        {"before_header": path, "after_header": path, "before": before[path], "after": after[path]}
        for path in after
        if before[path] != after[path]
    ]


if __name__ == "__main__":
    main()
