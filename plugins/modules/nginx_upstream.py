#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_upstream
short_description: Keeps the servers behind nginx, and empties one of them without cutting anybody off
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Runs on a load balancer. Writes one C(upstream) of nginx into a file of its own, and has nginx take it up.
  - A server that is drained gets no new requests, and those under way are answered. The module waits for
    that, so that whoever comes next may stop the server.
  - The servers are tried with C(nginx -t) before anything is changed, and the configuration as a whole before
    nginx is told. Where that fails the file is put back, and nginx serves on as before.
  - A run that was killed between the file and the reload is finished by the next one.
requirements:
  - nginx 1.15.3 or newer, for O(keepalive_timeout)
notes:
  - Needs root (O(ignore:become)).
  - C(nginx.conf) has to include the file, inside C(http). The role P(payaid.scaling.nginx#role) does so.
  - A reload closes idle connections of clients. A client of HTTP/1.1 that sends a request in that very
    moment has to send it again.
  - Where nginx is C(nginx.service) of systemd it is reloaded as that unit says. The unit of the role
    P(payaid.scaling.nginx#role) has clients give up their connections first.
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
options:
  name:
    description: Name of the upstream, as C(proxy_pass http://NAME) has it.
    type: str
    required: true
  path:
    description:
      - File to write.
      - The default is C(/etc/nginx/upstreams/NAME.conf).
    type: path
  servers:
    description:
      - The servers, in the order of the file.
      - Where it is left out they are those in the file, as they are, and only O(drained) is seen to. What is
        not in the file, or a machine that has none, needs no draining, because nobody is sent there.
    type: list
    elements: dict
    suboptions:
      address:
        description: Host and port, such as V(192.0.2.21:3000) or V([2001:db8::21]:3000).
        type: str
        required: true
      weight:
        description: Share of the requests, beside those of the others.
        type: int
        default: 1
      max_fails:
        description:
          - Failures within O(servers[].fail_timeout) after which it is left alone.
          - V(0) never leaves it alone.
        type: int
        default: 3
      fail_timeout:
        description: Seconds in which failures are counted, and for which the server is left alone afterwards.
        type: int
        default: 30
      max_conns:
        description:
          - Requests that it may have in hand at the same time, from all workers together. A WebSocket is one
            for as long as it lasts. What all servers together may not take is answered with 502 at once.
          - A server that gets more than it can answer gets slower by it, until all wait for answers that come
            too late. A limit keeps it at what it can do.
          - V(0) is no limit. A reload begins to count anew.
        type: int
        default: 0
      backup:
        description: Whether it only serves while none of the others can.
        type: bool
        default: false
  method:
    description: How a server is chosen.
    type: str
    choices: [least_conn, round_robin, ip_hash]
    default: least_conn
  keepalive:
    description: Idle connections to the servers that each worker keeps. V(0) keeps none.
    type: int
    default: 32
  keepalive_timeout:
    description: Seconds after which an idle connection is closed. Has to be less than the servers' own.
    type: int
    default: 60
  last_resort:
    description:
      - Whether nginx goes on to try the servers when it holds all of them for dead, as after a few seconds in
        which what is behind them was slow. Otherwise it answers 502 to everybody for
        O(servers[].fail_timeout).
      - Each of O(servers) stands in the file a second time for that, as a backup. So this does nothing where
        one of them is a backup of its own, or with O(method=ip_hash).
    type: bool
    default: true
  drained:
    description: Addresses of O(servers) that get no new requests.
    type: list
    elements: str
    default: []
  drain_timeout:
    description:
      - Seconds to wait at the most until nobody speaks to O(drained) through this balancer.
      - That somebody still does is no failure. RV(open_connections) tells it.
    type: int
    default: 30
  reload_timeout:
    description: Seconds that nginx may take to start its new workers.
    type: int
    default: 10
  config:
    description: Main file of the configuration.
    type: path
    default: /etc/nginx/nginx.conf
  pid_file:
    description: File with the number of nginx's master process.
    type: path
    default: /run/nginx.pid
"""

EXAMPLES = r"""
- name: Spread requests over two nodes
  payaid.scaling.nginx_upstream:
    name: app
    servers:
      - {address: "192.0.2.21:3000"}
      - {address: "192.0.2.22:3000"}

- name: Empty one of them before it is replaced
  payaid.scaling.nginx_upstream:
    name: app
    drained: ["192.0.2.21:3000"]
    drain_timeout: 60
"""

RETURN = r"""
actions:
  description: The steps, one sentence each.
  type: list
  elements: str
  returned: success
  sample: ["Write /etc/nginx/upstreams/app.conf."]
before:
  description: What was found.
  type: dict
  returned: success
  contains: &state
    servers: {description: Addresses in the file., type: list, elements: str}
    drained: {description: Those of them that get no new requests., type: list, elements: str}
    running: {description: Whether nginx runs., type: bool}
    loaded: {description: Whether it has read the file since that was written., type: bool}
after:
  description: What is there now, or in check mode would be.
  type: dict
  returned: success
  contains: *state
open_connections:
  description: >-
    Connections from this host to each drained server when the wait was over. None unless O(drain_timeout) was
    too short, or in check mode.
  type: dict
  returned: success
  sample: {"192.0.2.21:3000": 0}
"""

from typing import Any

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._nginx.io import Nginx
from ansible_collections.payaid.scaling.plugins.module_utils._nginx.model import Wanted
from ansible_collections.payaid.scaling.plugins.module_utils._nginx.plan import plan, report
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge

SERVER: dict[str, dict[str, Any]] = {
    "address": {"type": "str", "required": True},
    "weight": {"type": "int", "default": 1},
    "max_fails": {"type": "int", "default": 3},
    "fail_timeout": {"type": "int", "default": 30},
    "max_conns": {"type": "int", "default": 0},
    "backup": {"type": "bool", "default": False},
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "name": {"type": "str", "required": True},
    "path": {"type": "path"},
    "servers": {"type": "list", "elements": "dict", "options": SERVER},
    "method": {"type": "str", "choices": ["least_conn", "round_robin", "ip_hash"], "default": "least_conn"},
    "keepalive": {"type": "int", "default": 32},
    "keepalive_timeout": {"type": "int", "default": 60},
    "last_resort": {"type": "bool", "default": True},
    "drained": {"type": "list", "elements": "str", "default": []},
    "drain_timeout": {"type": "int", "default": 30},
    "reload_timeout": {"type": "int", "default": 10},
    "config": {"type": "path", "default": "/etc/nginx/nginx.conf"},
    "pid_file": {"type": "path", "default": "/run/nginx.pid"},
}


def main() -> None:
    module = begin(ARGUMENTS)
    wanted = Wanted.from_params(module.params)
    with refusing(module):
        nginx = Nginx(wanted)
        outcome = converge(
            nginx.observe, lambda state: plan(state, wanted), nginx, check_mode=module.check_mode
        )
        left = nginx.open_connections() if module.check_mode else nginx.await_drained()
    module.exit_json(**report(outcome, wanted, left))


if __name__ == "__main__":
    main()
