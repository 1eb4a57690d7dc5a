# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for all tests that start servers."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """End on SIGTERM as on Ctrl-C, so that the servers are ended too when somebody else ends the run."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
