# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every module of this collection says of check mode, diff mode and platform, described once."""

from __future__ import annotations


class ModuleDocFragment:
    # For modules named ``_info`` and others that only look.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in check mode and return what it would in a real run, without changing the node.
    support: full
  diff_mode:
    description: Has nothing to compare, because it changes nothing.
    support: none
  platform:
    description: The systems this module runs on.
    platforms: posix
    support: full
"""

    # For modules that converge a node.
    WRITES = r"""
options: {}
attributes:
  check_mode:
    description: In check mode predicts the change and makes none.
    support: full
  diff_mode:
    description: In diff mode returns the state before and after.
    support: full
  platform:
    description: The systems this module runs on.
    platforms: posix
    support: full
"""
