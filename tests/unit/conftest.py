# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No test fails because the machine is busy: properties have no deadline."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("gpunode", deadline=None)
settings.load_profile("gpunode")
