# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.checks.reading import comes_at_boot
from ansible_collections.gpunode.ready.plugins.module_utils.unit_set import plan
from ansible_collections.gpunode.ready.plugins.module_utils.unit_states import STARTS_AT_BOOT

ROOT = Path(__file__).resolve().parents[3]
STATES = (*STARTS_AT_BOOT, "disabled", "enabled-runtime", "linked", "linked-runtime", "masked", "transient", "bad")


@pytest.mark.parametrize("state", STATES)
def test_a_unit_is_enabled_exactly_where_the_checks_say_that_it_does_not_come_at_boot(state):
    todo = plan({}, [], {"a.service": {"LoadState": "loaded", "UnitFileState": state}}, ["a.service"], [], [])

    assert comes_at_boot({"enabled": state}) is (todo.enable == ())


def test_the_role_asks_the_same():
    text = (ROOT / "roles/host_prep/tasks/services.yml").read_text()

    (listed,) = re.findall(r"'value\.enabled', 'in', \[(.*?)\]", text)
    assert tuple(re.findall(r"[\w-]+", listed)) == STARTS_AT_BOOT
