# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run that changes nothing costs the node, counted in the idempotence run just before this one."""

from __future__ import annotations

import json
import os
from pathlib import Path

GOAL = 15  # remote executions, all node layers together (docs/performance.md)


def test_a_run_that_changes_nothing_keeps_its_budget():
    folder = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "build/molecule"
    ran = json.loads((folder / f"{os.environ['MOLECULE_SCENARIO_NAME']}.executions.json").read_text())

    assert set(ran["changed"].values()) == {0}, "not the idempotence run"
    over = {host: count for host, count in ran["hosts"].items() if count > GOAL}
    assert over == {}, f"goal {GOAL}; executed: {json.dumps(ran['tasks'], indent=1)}"
    assert ran["hosts"], "nothing was counted"
