#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: redis_sentinel
short_description: Make a host's Redis servers follow one master, and its sentinel watch it
version_added: 0.1.0
description:
  - Does one host's part of a set-up of one master, replicas and sentinels. Run it on each host, one after
    the other, with the same lists.
  - Who is master is asked of the machines. What the sentinels say counts; where none of them knows yet,
    it is the server that others follow, the only one that holds data, or the first in O(servers). So a
    failover is no change, and no run undoes one.
  - Sentinel writes its own file, at every failover too. So the file is never written here; what differs in
    it is changed by SENTINEL MONITOR, SET, REMOVE and CONFIG SET. It is read, because nothing else tells
    which passwords a sentinel uses.
  - It refuses where data could be lost or clients led astray, and changes nothing then. That is where two
    masters have replicas or data, where sentinels do not agree or no majority of them answers, and where
    they watch a server that is not listed, or another master besides.
notes:
  - Replication is asynchronous. A failover loses the writes that the old master acknowledged and had sent to
    no replica yet. C(min-replicas-to-write) bounds that; it does not end it.
  - The role of a server is not in its redis.conf. One that was restarted comes up as a master until its
    sentinels, after about ten seconds, or this module make it follow again. With C(min-replicas-to-write 1)
    it takes no writes meanwhile.
  - The sentinel's own start is described by O(unit), which is there already.
requirements:
  - redis-py 4.3.4 or newer on the host that runs the module (C(python3-redis) on Debian)
  - Redis 7.0 or newer
author:
  - The payaid.scaling maintainers (@payaid)
seealso:
  - module: payaid.scaling.redis_server
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
  - payaid.scaling.redis
options:
  name:
    description: Name that clients ask the sentinels for.
    type: str
    default: mymaster
  address:
    description: IP address of this host, which tells which of the lists' entries are its own.
    type: str
    required: true
  servers:
    description: All servers, by IP addresses. Their order counts only while there is no data.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: IP address.
        type: str
        required: true
      port:
        description: Port.
        type: int
        default: 6379
  sentinels:
    description: All sentinels, three or more, each on a host of its own.
    type: list
    elements: dict
    required: true
    suboptions:
      host:
        description: IP address.
        type: str
        required: true
      port:
        description: Port.
        type: int
        default: 26379
  quorum:
    description:
      - How many sentinels must find the master away before one of them may act. To act, it then needs the
        votes of a majority of all, whatever this is.
    type: int
    default: 2
  down_after_ms:
    description: Milliseconds of silence after which a server counts as away.
    type: int
    default: 5000
  failover_timeout_ms:
    description:
      - Milliseconds that a failover may take; twice as many pass before another one of the same master.
    type: int
    default: 60000
  parallel_syncs:
    description: How many replicas at a time are led to a new master.
    type: int
    default: 1
  sentinel_user:
    description: User that sentinels log in as, at the servers and at each other.
    type: str
    default: sentinel
  sentinel_password:
    description: Its password.
    type: str
    required: true
  unit:
    description: The sentinel's systemd unit.
    type: str
    default: payaid-sentinel.service
  config_file:
    description: The file that the sentinel keeps its own settings in.
    type: path
    default: /var/lib/redis-sentinel/sentinel.conf
  start_files:
    description:
      - Files that the sentinel reads at its start. One that is younger than the process has it restarted,
        when no other sentinel is away.
    type: list
    elements: path
    default: []
  step_down:
    description:
      - Whether a master on this host hands over to a replica, so that the host can be restarted. Writes are
        held back for the second or two that it takes, and none is lost.
      - With it, the module is not idempotent in the sense that a host is asked again after it became master.
    type: bool
    default: false
  timeout:
    description: Seconds to wait for the sentinels to agree, and for replicas to be in step.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Make one master, two replicas and three sentinels out of three hosts
  payaid.scaling.redis_sentinel:
    address: "{{ ansible_host }}"
    servers: &hosts
      - host: 10.0.0.31
      - host: 10.0.0.32
      - host: 10.0.0.33
    sentinels: *hosts
    sentinel_password: "{{ sentinel_password }}"
    login_user: operator
    login_password: "{{ operator_password }}"
  throttle: 1

- name: Let another host's server be master before this one is restarted
  payaid.scaling.redis_sentinel:
    address: "{{ ansible_host }}"
    servers: "{{ redis_servers }}"
    sentinels: "{{ redis_sentinels }}"
    sentinel_password: "{{ sentinel_password }}"
    step_down: true
    login_user: operator
    login_password: "{{ operator_password }}"
"""

RETURN = r"""
actions:
  description: What was done, or in check mode would be done, one sentence a step.
  type: list
  elements: str
  returned: success
  sample: ["Make 10.0.0.32:6379 a replica of 10.0.0.31:6379"]
master:
  description: Address of the master after the run; none where a check run found none yet.
  type: str
  returned: success
nodes:
  description: Every server after the run; in check mode as it would be.
  type: list
  elements: dict
  returned: success
  contains:
    addr: {description: Address and port., type: str}
    role: {description: "V(master) or V(replica); none for one that does not answer.", type: str}
    follows: {description: The master of a replica., type: str}
    in_step: {description: Whether a replica's link to its master is up., type: bool}
    keys: {description: Keys that it holds., type: int}
    problem: {description: Why it does not answer., type: str}
sentinels:
  description: Every sentinel after the run; in check mode as it would be.
  type: list
  elements: dict
  returned: success
  contains:
    addr: {description: Address and port., type: str}
    master: {description: Whom it takes for the master., type: str}
    usable: {description: Whether it sees enough others to fail over., type: bool}
    problem: {description: Why it does not answer., type: str}
shortcomings:
  description:
    - What keeps all hosts together from being whole, one master, all others in step, all sentinels of one
      mind and in sight of each other. Empty once the module has run on all of them.
  type: list
  elements: str
  returned: success
"""

from ansible_collections.payaid.scaling.plugins.module_utils._module import refusing, runner
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge, diff
from ansible_collections.payaid.scaling.plugins.module_utils._redis.login import Login, begin_redis
from ansible_collections.payaid.scaling.plugins.module_utils._redis_sentinel.io import Replication
from ansible_collections.payaid.scaling.plugins.module_utils._redis_sentinel.model import (
    SENTINEL_PORT,
    Desired,
    rows,
    shortcomings,
    view,
)
from ansible_collections.payaid.scaling.plugins.module_utils._redis_sentinel.plan import plan


def _hosts(port: int) -> dict[str, object]:
    return {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"host": {"type": "str", "required": True}, "port": {"type": "int", "default": port}},
    }


ARGUMENTS = {
    "name": {"type": "str", "default": "mymaster"},
    "address": {"type": "str", "required": True},
    "servers": _hosts(6379),
    "sentinels": _hosts(SENTINEL_PORT),
    "quorum": {"type": "int", "default": 2},
    "down_after_ms": {"type": "int", "default": 5000},
    "failover_timeout_ms": {"type": "int", "default": 60000},
    "parallel_syncs": {"type": "int", "default": 1},
    "sentinel_user": {"type": "str", "default": "sentinel"},
    "sentinel_password": {"type": "str", "required": True, "no_log": True},
    "unit": {"type": "str", "default": "payaid-sentinel.service"},
    "config_file": {"type": "path", "default": "/var/lib/redis-sentinel/sentinel.conf"},
    "start_files": {"type": "list", "elements": "path", "default": []},
    "step_down": {"type": "bool", "default": False},
    "timeout": {"type": "int", "default": 60},
}


def main() -> None:
    module = begin_redis(ARGUMENTS)
    given = module.params
    with refusing(module):
        desired = Desired.wanted(given)
        io = Replication(
            runner(module),
            desired,
            Login.wanted(given),
            unit=given["unit"],
            files=(given["config_file"], *given["start_files"]),
            timeout=given["timeout"],
        )
        outcome = converge(
            io.observe, lambda s: plan(s, desired), io, check_mode=module.check_mode, verify=io.verify
        )
    after = outcome.after
    module.exit_json(
        changed=outcome.changed,
        actions=list(outcome.actions),
        master=next((one.addr for one in after.servers if one.is_master), None),
        shortcomings=shortcomings(after, desired),
        diff=diff(view(outcome.before, desired), view(after, desired)),
        **rows(after),
    )


if __name__ == "__main__":
    main()
