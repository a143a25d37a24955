# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``cdi`` part of a node's facts."""

from __future__ import annotations

from typing import Any

from ..cdi import inspect
from ..host import Host


def cdi(host: Host) -> dict[str, Any]:
    """The CDI specs in the folders that every runtime reads by default, and what is wrong with them."""
    return inspect(host)
