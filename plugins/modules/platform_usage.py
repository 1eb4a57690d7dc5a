#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: platform_usage
short_description: See what a machine is busy with for a while
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Looks at this machine every few seconds, and returns how much processor time units of systemd used
    meanwhile, how long clients waited for PgBouncer, and how far replicas were behind.
  - With C(async) it looks while something else goes on, such as a load test.
requirements:
  - python3-psycopg 3.1 or later on the host, for O(pooler_port) and O(postgres_port)
notes:
  - Needs root (O(ignore:become)) for O(pooler_port) and O(postgres_port).
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.reads
options:
  seconds:
    description: For how long to look.
    type: float
    required: true
  interval:
    description: Seconds between two looks.
    type: float
    default: 5
  units:
    description: The units whose processor time is counted, as patterns such as V(nginx.service).
    type: list
    elements: str
    default: []
  pooler_port:
    description: >-
      Port of the PgBouncer of this machine, whose console is asked over its socket. V(0) where there is none.
    type: int
    default: 0
  postgres_port:
    description: >-
      Port of the PostgreSQL of this machine, which is asked over its socket how far its replicas are. V(0)
      where there is none.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: See what the app and its pools do for a minute
  payaid.scaling.platform_usage:
    seconds: 60
    units: [payaid-app@*.service]
    pooler_port: 6432
  register: usage
"""

RETURN = r"""
cores:
  description: Processors of this machine.
  returned: success
  type: int
seconds:
  description: For how long was looked.
  returned: success
  type: float
cpu:
  description: Which part of all processors the units used, from 0 to 1.
  returned: success
  type: float
cpu_max:
  description: The most of it between two looks.
  returned: success
  type: float
machine:
  description: >-
    For which part of the time the processors were busy, with whatever. In a container those of its host.
  returned: success
  type: float
series:
  description: The same between each look and the next, with the seconds since the first one as C(at).
  returned: success
  type: list
  elements: dict
pools:
  description: What clients of PgBouncer met with.
  returned: success
  type: list
  elements: dict
  contains:
    pool: {description: Its name., type: str, sample: app_rw}
    size: {description: How many connections to the server it may have., type: int}
    transactions: {description: How many there were., type: int}
    waited_ms: {description: "How long each waited for a connection, in ms, on average.", type: float}
    waiting_max: {description: How many waited at the same time at most., type: int}
    serving_max: {description: How many connections were in use at the same time at most., type: int}
replicas:
  description: How far those were behind who follow this server.
  returned: success
  type: list
  elements: dict
  contains:
    name: {description: What the replica calls itself., type: str}
    lag_max_s: {description: "The longest time until a commit was seen there, in s.", type: float}
"""

import socket
import time

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing, runner
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._usage.io import Machine
from ansible_collections.payaid.scaling.plugins.module_utils._usage.model import told

ARGUMENTS = {
    "seconds": {"type": "float", "required": True},
    "interval": {"type": "float", "default": 5},
    "units": {"type": "list", "elements": "str", "default": []},
    "pooler_port": {"type": "int", "default": 0},
    "postgres_port": {"type": "int", "default": 0},
}


def main() -> None:
    module = begin(ARGUMENTS)
    given, host = module.params, socket.gethostname()
    with refusing(module):
        if given["seconds"] <= 0 or given["interval"] <= 0:
            raise Refusal(
                f"{host}: seconds={given['seconds']:g} and interval={given['interval']:g} are to be above 0."
            )
        machine = Machine(runner(module), host, given["units"], given["pooler_port"], given["postgres_port"])
        end = time.monotonic() + given["seconds"]
        looks = [machine.look()]
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(given["interval"], left))
            looks.append(machine.look())
    module.exit_json(changed=False, **told(looks, machine.cores))


if __name__ == "__main__":
    main()
