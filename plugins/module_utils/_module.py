# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How every module of this collection begins, and how it ends when it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.payaid.scaling.plugins.module_utils._plan import Refusal

# Runs a command and returns its exit status, output and errors.
Run = Callable[[Sequence[str]], tuple[int, str, str]]


def begin(arguments: Mapping[str, Any], **rules: Any) -> AnsibleModule:
    """Read the arguments. Every module of this collection can tell what it would do."""
    return AnsibleModule(  # type: ignore[no-untyped-call]  # ansible-core has no types for it
        argument_spec=dict(arguments), supports_check_mode=True, **rules
    )


@contextmanager
def refusing(module: AnsibleModule) -> Iterator[None]:
    """End the module with the sentence of a refusal, instead of with a traceback."""
    try:
        yield
    except Refusal as refusal:
        module.fail_json(msg=refusal.message, **refusal.details)


def runner(module: AnsibleModule) -> Run:
    """Return what runs a command on the host."""
    return lambda argv: module.run_command(list(argv))  # type: ignore[no-untyped-call]  # no types either
