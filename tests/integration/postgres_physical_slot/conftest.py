# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clusters of the tests of postgres_replica."""

from __future__ import annotations

from ..postgres_replica.conftest import primary, standby, streaming

__all__ = ["primary", "standby", "streaming"]
