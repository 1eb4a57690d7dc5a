#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: nginx_log_info
short_description: Count what a load balancer has answered, over time
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Reads access logs as the role C(nginx) of this collection has them written, and counts answers in steps of
    time, by the app process that gave them, and errors by their kind.
  - Times are returned by how often each came, so that those of several load balancers can be put together.
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.reads
options:
  paths:
    description: The files. One that was rotated away meanwhile has to be listed too.
    type: list
    elements: path
    default: [/var/log/nginx/access.log]
  since:
    description: From when on to count, in seconds since 1970.
    type: float
    required: true
  before:
    description: Until when to count, in seconds since 1970. Until now when not given.
    type: float
  step:
    description: Seconds that are counted together.
    type: int
    default: 5
  path_prefix:
    description: What the path of a request has to begin with to be counted. Empty for all requests.
    type: str
    default: /api/
seealso:
  - module: payaid.scaling.slo_check
"""

EXAMPLES = r"""
- name: See what was answered in the last five minutes
  payaid.scaling.nginx_log_info:
    since: "{{ now().timestamp() - 300 }}"
  register: answered
"""

RETURN = r"""
step:
  description: Seconds that were counted together.
  returned: success
  type: int
buckets:
  description: What was answered in each step in which anything was.
  returned: success
  type: list
  elements: dict
  contains:
    at: {description: "Begin of the step, in seconds after O(since).", type: int}
    codes: {description: How often each status came., type: dict, sample: {"200": 999, "502": 1}}
    times:
      description: >-
        How often each time came, in ms, with two digits where it is longer than 100 ms. Without limited
        requests (429) and WebSockets.
      type: dict
      sample: {"3": 700, "12": 300}
upstreams:
  description: What each app process has answered.
  returned: success
  type: list
  elements: dict
  contains:
    address: {description: Address and port of the process., type: str, sample: "192.0.2.21:3000"}
    codes: {description: How often each status came., type: dict}
    times: {description: How often each time came., type: dict}
errors:
  description: Answers of 5xx, by status and by who gave them.
  returned: success
  type: list
  elements: dict
  contains:
    status: {description: The status., type: int, sample: 502}
    address: {description: Address and port of the process; empty where it was nginx., type: str}
    count: {description: How often it came., type: int}
"""

import time

from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal
from ansible_collections.payaid.scaling.plugins.module_utils._slo.files import lines_from_end
from ansible_collections.payaid.scaling.plugins.module_utils._slo.model import NotMeasured
from ansible_collections.payaid.scaling.plugins.module_utils._slo.series import Series

ARGUMENTS = {
    "paths": {"type": "list", "elements": "path", "default": ["/var/log/nginx/access.log"]},
    "since": {"type": "float", "required": True},
    "before": {"type": "float"},
    "step": {"type": "int", "default": 5},
    "path_prefix": {"type": "str", "default": "/api/"},
}


def main() -> None:
    module = begin(ARGUMENTS)
    given = module.params
    before = time.time() if given["before"] is None else given["before"]
    with refusing(module):
        if given["step"] < 1 or given["since"] >= before:
            raise Refusal(
                f"since={given['since']:g}, before={before:g} and step={given['step']} leave no time to "
                "count in: give a moment that has passed, a later one, and a second or more."
            )
        series = Series(given["since"], before, given["step"], given["path_prefix"])
        for path in given["paths"]:
            try:
                series.add(path, lines_from_end(path))
            except NotMeasured as why:
                raise Refusal(f"{why}.") from why
    module.exit_json(changed=False, **series.told())


if __name__ == "__main__":
    main()
