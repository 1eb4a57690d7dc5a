#!/usr/bin/python
# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: load_test
short_description: Runs a load test that the role load_test has made ready
version_added: 0.1.0
author: The payaid.scaling maintainers (@payaid)
description:
  - Begins a load test on this machine as a unit of systemd, and returns when it has ended. Meanwhile a line
    every O(interval) says how far it is, what is answered and how fast.
  - One load test at a time runs on a machine. A second one is refused.
  - It is ended when nobody looks at it for a minute, so a run of Ansible that is killed leaves no load
    behind.
  - Whether the platform did well is not judged here. See M(payaid.scaling.slo_check) for that.
requirements:
  - what the role C(load_test) installs
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.runs
options:
  run:
    description: The folder of the load test below O(folder), which is its name too.
    type: str
    required: true
  folder:
    description: Where load tests are.
    type: path
    default: /var/lib/payaid-load-test
  tool:
    description: What makes the load.
    type: str
    choices: [artillery, k6]
    default: artillery
  seconds:
    description: How long it takes, in seconds, for those who look at it.
    type: float
    required: true
  interval:
    description: Seconds between two lines about how far it is.
    type: float
    default: 10
  state:
    description:
      - With V(ended) it is begun and waited for. With V(started) it is begun, and with V(stopped) ended
        before its time.
      - With V(read) it is only told how far it is.
    type: str
    choices: [ended, started, stopped, read]
    default: ended
"""

EXAMPLES = r"""
- name: Ask as two hundred users a second would
  payaid.scaling.load_test:
    run: 20260115T090000Z-api
    seconds: 360
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["Begin the load test 20260115T090000Z-api."]
run:
  description: Its name.
  returned: success
  type: str
active:
  description: Whether it goes on.
  returned: success
  type: bool
began:
  description: When it was begun, in seconds since 1970; V(0) where it was not.
  returned: success
  type: float
elapsed:
  description: How long it has gone on, in seconds.
  returned: success
  type: float
progress:
  description: What it has done so far. Failed is what answered 5xx, and errors such as a lost connection.
  returned: success
  type: dict
  contains:
    requests: {description: Requests so far., type: int}
    failed: {description: How many of them failed., type: int}
    limited: {description: How many of them were limited (429)., type: int}
    users: {description: Users who are there now., type: int}
    p95: {description: "Of 100 requests of the last seconds, 95 took no longer; in ms. Of all so far with
      k6.", type: float}
result:
  description: How it has ended, in systemd's word; V(success) too while it goes on.
  returned: success
  type: str
  sample: success
status:
  description: Exit status of the tool.
  returned: success
  type: int
output:
  description: The last lines that the tool has said.
  returned: success
  type: list
  elements: str
"""

import socket

from ansible_collections.payaid.scaling.plugins.module_utils._load_test.io import LoadTests
from ansible_collections.payaid.scaling.plugins.module_utils._load_test.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing, runner
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge

ARGUMENTS = {
    "run": {"type": "str", "required": True},
    "folder": {"type": "path", "default": "/var/lib/payaid-load-test"},
    "tool": {"type": "str", "choices": ["artillery", "k6"], "default": "artillery"},
    "seconds": {"type": "float", "required": True},
    "interval": {"type": "float", "default": 10},
    "state": {"type": "str", "choices": ["ended", "started", "stopped", "read"], "default": "ended"},
}


def main() -> None:
    module = begin(ARGUMENTS)
    given, run = module.params, module.params["run"]
    tests = LoadTests(runner(module), given["folder"], socket.gethostname())
    with refusing(module):
        outcome = converge(
            lambda: tests.observe(run),
            lambda seen: plan(seen, run, given["state"], tests.host),
            tests,
            check_mode=module.check_mode,
        )
        if not module.check_mode:
            (tests.watched if outcome.after.active else tests.left)(run)
    module.exit_json(
        changed=outcome.changed,
        actions=list(outcome.actions),
        run=run,
        active=outcome.after.active,
        began=tests.began(run),
        elapsed=round(tests.elapsed(run) if outcome.after.took is None else outcome.after.took, 1),
        progress=tests.progress(run, given["tool"]).told(),
        result=outcome.after.result,
        status=outcome.after.status,
        output=tests.tail(run),
    )


if __name__ == "__main__":
    main()
