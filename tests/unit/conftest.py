# Copyright (c) 2026, The payaid.scaling maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds for the properties of all plans."""

from __future__ import annotations

from hypothesis import settings

# On a computer that others use too, a slow example says nothing about the plan.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")
