#!/usr/bin/env python3
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The test nodes: one for each scenario, named as it is. A scenario sees its own; the default one sees all."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

SCENARIOS = Path(__file__).resolve().parents[1]
CHECKOUT = SCENARIOS.parent
sys.path.insert(0, str(CHECKOUT / "tests" / "lab"))

from cache import digest  # noqa: E402
from node import Node  # noqa: E402


def main() -> None:
    scenarios = sorted(path.parent.name for path in SCENARIOS.glob("*/molecule.yml"))
    running = os.environ.get("MOLECULE_SCENARIO_NAME", "default")
    mine = [name for name in scenarios if name != "default" and running in (name, "default")]
    checkout = digest(str(CHECKOUT))[:4]  # two checkouts may test at the same time
    hosts = {}
    for name in mine:
        node = Node(f"molecule-{name}-{checkout}")
        hosts[name] = {**node.inventory(), "lab_node": node.name}
    print(json.dumps({"gpu_nodes": {"hosts": mine}, "_meta": {"hostvars": hosts}}, indent=2))


if __name__ == "__main__":
    main()
