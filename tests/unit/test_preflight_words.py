# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role preflight says of a node that could not be looked at at all."""

from __future__ import annotations

import pytest
from rendering import MISSING, Case, render

NOWHERE = {"os": {"id": "", "family": ""}}
LOOKS = {
    "msg": {"msg": "MODULE FAILURE"},
    "stderr": {"msg": "MODULE FAILURE", "module_stderr": "Traceback\nOSError: No space left on device\n"},
    "nothing": {},
}


@pytest.fixture(scope="module")
def words():
    if MISSING:
        pytest.skip(MISSING)
    cases = {
        name: Case(
            "preflight", NOWHERE, ("__preflight_failed",), {"__preflight_look": look, "inventory_hostname": "gpu-1"}
        )
        for name, look in LOOKS.items()
    }
    return {name: answer["__preflight_failed"] for name, answer in render(cases).items()}


@pytest.mark.parametrize(
    ("look", "said"),
    [
        ("msg", "gpu-1 could not be looked at: MODULE FAILURE"),
        ("stderr", "gpu-1 could not be looked at: MODULE FAILURE It said: Traceback\nOSError: No space left on device"),
        ("nothing", "gpu-1 could not be looked at: no reason given"),
    ],
)
def test_it_says_all_that_the_failed_look_has_said(words, look, said):
    assert words[look] == said
