#!/usr/bin/env python3
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo's node, as `make demo` boots it: a QEMU guest with a simulated GPU. Keep it up with GPUNODE_DEMO_KEEP=1."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "lab"))

from demo import HOST, demo_node

if __name__ == "__main__":
    hosts = {HOST: demo_node().inventory()}
    print(json.dumps({"gpu_nodes": {"hosts": [HOST]}, "_meta": {"hostvars": hosts}}, indent=2))
