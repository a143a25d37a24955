# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is easily said and easily counted: no shell, no error ignored, no rule of sanity set aside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.stage("process")

ROOT = Path(__file__).resolve().parents[2]
TASKS = sorted(
    path for folder in ("roles", "playbooks") for path in (ROOT / folder).rglob("*.yml") if "/meta/" not in str(path)
)


@pytest.mark.case(0, "counted in roles and playbooks")
@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("tasks with shell", r"^\s*(- )?(ansible\.(builtin|legacy)\.)?shell:"),
        ("tasks with ignore_errors", r"^\s*ignore_errors:"),
    ],
)
def test_there_is_none(figure, name, pattern):
    found = [path.name for path in TASKS if re.search(pattern, path.read_text(), re.MULTILINE)]

    figure(name, len(found))
    assert TASKS
    assert found == []


@pytest.mark.case(0, "lines of ansible-test's ignore files")
def test_no_rule_of_sanity_is_set_aside(figure):
    lines = [line for path in ROOT.glob("tests/sanity/ignore*.txt") for line in path.read_text().splitlines()]

    figure("sanity rules ignored", len(lines))
    assert lines == []
