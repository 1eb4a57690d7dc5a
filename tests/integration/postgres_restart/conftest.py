# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A primary, its standby and the poolers before it, of which one server is restarted."""

from __future__ import annotations

from ..postgres_switchover.conftest import pair

__all__ = ["pair"]
