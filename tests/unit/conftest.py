# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties have no deadline, for no test fails because the machine is busy, and the same examples every time, so
that a commit that passed passes again. ``pytest tests/unit --hypothesis-profile=explore`` looks for new ones.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("gpunode", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("gpunode")
