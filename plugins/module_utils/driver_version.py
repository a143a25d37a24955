# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The version of the NVIDIA kernel module that is loaded, of the files by which it tells it."""

from __future__ import annotations

import re

from .host import Host


def loaded_version(host: Host) -> str | None:
    """The version of the loaded kernel module; None where none is loaded."""
    return host.line("/sys/module/nvidia/version") or version_of(host.text("/proc/driver/nvidia/version") or "")


def version_of(text: str) -> str | None:
    """The driver version in the text of /proc/driver/nvidia/version."""
    found = re.search(r"^NVRM version:.*?\s(\d+\.\d+(?:\.\d+)?)(?:\s|$)", text, re.MULTILINE)
    return found.group(1) if found else None
