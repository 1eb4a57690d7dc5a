# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """One text for each attribute that the modules declare."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would be changed, without changing anything.
  diff_mode:
    description: Returns what was, or would be, changed when in diff mode.
  idempotent:
    description: Run again with the same options on an unchanged system, it changes nothing.
  platform:
    description: Operating systems the module works on.
    platforms: posix
"""

    CONVERGES = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: A check run prints the same plan that a real run carries out.
  diff_mode:
    support: full
  idempotent:
    support: full
  platform:
    support: full
"""

    READS = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: It only reads.
  diff_mode:
    support: N/A
    details: It only reads.
  idempotent:
    support: full
  platform:
    support: full
"""

    RUNS = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: Nothing is begun.
  diff_mode:
    support: none
  idempotent:
    support: full
    details: What was begun is not begun again; what goes on is waited for.
  platform:
    support: full
"""
