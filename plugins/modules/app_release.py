#!/usr/bin/python

# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: app_release
short_description: Serves a release from the app processes of a host
version_added: 0.1.0
description:
  - Points the link C(current) at an unpacked release and restarts the host's app processes one after the
    other, each only when the one before it serves the release and is healthy.
  - A process is restarted when it does not run, when it names another release at C(/api/whoami), or when a
    configuration file is younger than it is; so a run that was killed is completed by the next one.
  - When a process does not become healthy, the module fails there and leaves the remaining processes alone.
  - A process of the same units whose port is not wanted (any more) is stopped, and not started at boot.
  - A wanted process that does not run, and whose port somebody else listens on, is refused before anything
    is changed.
requirements:
  - C(ss) of iproute2
author:
  - The payaid.scaling maintainers (@payaid)
extends_documentation_fragment:
  - payaid.scaling.attributes
  - payaid.scaling.attributes.converges
options:
  release:
    description: Name of the release, as the app gives it at C(/api/whoami).
    type: str
    required: true
  release_dir:
    description: Folder that the release was unpacked into.
    type: path
    required: true
  link:
    description: The link that the units start the app from.
    type: path
    required: true
  units:
    description: The template units of the processes, in the order in which they are seen to.
    type: list
    elements: dict
    required: true
    suboptions:
      unit:
        description:
          - Name of the template, such as V(payaid-app@.service), with the port after the C(@).
        type: str
        required: true
      ports:
        description: Ports of the processes, in the order in which they are restarted. Empty for none.
        type: list
        elements: int
        required: true
      warm_paths:
        description:
          - Paths that a process that is healthy is asked for once, so that the first visitor does not wait
            for what is loaded only then.
          - An answer of 500 or more counts as a process that did not come up.
        type: list
        elements: str
        default: []
  config_files:
    description: Files that a process reads when it starts.
    type: list
    elements: path
    default: []
  address:
    description: Address that the processes are asked at.
    type: str
    default: 127.0.0.1
  health_path:
    description: Path that answers 200 when a process can serve.
    type: str
    default: /api/health
  timeout:
    description: How long a process may take to become healthy, in seconds.
    type: int
    default: 60
"""

EXAMPLES = r"""
- name: Serve the release
  payaid.scaling.app_release:
    release: 1.4.2
    release_dir: /opt/payaid-app/releases/1.4.2
    link: /opt/payaid-app/current
    units:
      - unit: payaid-app@.service
        ports: [3000, 3001]
        warm_paths: [/]
    config_files:
      - /etc/payaid-app/environment
      - /etc/systemd/system/payaid-app@.service

- name: Serve nothing from this host
  payaid.scaling.app_release:
    release: 1.4.2
    release_dir: /opt/payaid-app/releases/1.4.2
    link: /opt/payaid-app/current
    units:
      - unit: payaid-app@.service
        ports: []
"""

RETURN = r"""
actions:
  description: What was done, or would be done in check mode, a sentence each.
  returned: success
  type: list
  elements: str
  sample: ["Point current at /opt/payaid-app/releases/1.4.2."]
before:
  description: What was found.
  returned: success
  type: dict
  contains: &state
    current: {description: Folder that O(link) points to; empty where there is none., type: str}
    processes:
      description: The processes.
      type: list
      elements: dict
      contains:
        unit: {description: Name of its unit., type: str}
        port: {description: Port., type: int}
        active: {description: Whether it runs., type: bool}
        enabled: {description: Whether it is started at boot., type: bool}
        release: {description: What it says that it serves., type: str}
after:
  description: What is there now, or in check mode would be.
  returned: success
  type: dict
  contains: *state
"""

import typing as t

from ansible_collections.payaid.scaling.plugins.module_utils._app.io import Host
from ansible_collections.payaid.scaling.plugins.module_utils._app.model import Desired, Template
from ansible_collections.payaid.scaling.plugins.module_utils._app.plan import plan
from ansible_collections.payaid.scaling.plugins.module_utils._module import begin, refusing, runner
from ansible_collections.payaid.scaling.plugins.module_utils._plan import converge, diff

TEMPLATE = {
    "unit": {"type": "str", "required": True},
    "ports": {"type": "list", "elements": "int", "required": True},
    "warm_paths": {"type": "list", "elements": "str", "default": []},
}
ARGUMENTS = {
    "release": {"type": "str", "required": True},
    "release_dir": {"type": "path", "required": True},
    "link": {"type": "path", "required": True},
    "units": {"type": "list", "elements": "dict", "required": True, "options": TEMPLATE},
    "config_files": {"type": "list", "elements": "path", "default": []},
    "address": {"type": "str", "default": "127.0.0.1"},
    "health_path": {"type": "str", "default": "/api/health"},
    "timeout": {"type": "int", "default": 60},
}
HOST_OPTIONS = ("link", "config_files", "address", "health_path", "timeout")


def main() -> None:
    module = begin(ARGUMENTS)
    given: dict[str, t.Any] = module.params
    templates = (
        Template(one["unit"], tuple(one["ports"]), tuple(one["warm_paths"])) for one in given["units"]
    )
    desired = Desired(given["release"], given["release_dir"], tuple(templates))
    host = Host(runner(module), **{name: given[name] for name in HOST_OPTIONS})
    with refusing(module):
        outcome = converge(
            lambda: host.observe(desired),
            lambda state: plan(state, desired),
            host,
            check_mode=module.check_mode,
        )
    before, after = outcome.before.summary(), outcome.after.summary()
    module.exit_json(
        changed=outcome.changed,
        actions=list(outcome.actions),
        before=before,
        after=after,
        diff=diff(before, after),
    )


if __name__ == "__main__":
    main()
