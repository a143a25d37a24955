# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is held against follows from what was chosen for it, and from nothing that was not."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpunode.ready.plugins.module_utils.expect import EXPECT
from rendering import MISSING, Case, render

ROOT = Path(__file__).resolve().parents[2]
NODE = {"os": {"id": "debian", "family": "debian", "version": "12", "kernel": "6.1.0-40-amd64"}}
PLAYBOOK = yaml.safe_load((ROOT / "playbooks/vars/expect.yml").read_text())
VERIFY = yaml.safe_load((ROOT / "roles/nvidia_driver/tasks/verify.yml").read_text())[0]


def expression(template: str) -> str:
    return template.strip().removeprefix("{{").removesuffix("}}").strip()


BRANCH = expression(VERIFY["gpunode.ready.node_check"]["expect"]["driver_branch"])
SITE_BRANCH = expression(PLAYBOOK["gpunode_expect"]["driver_branch"])
HOST = {
    name: expression(PLAYBOOK["gpunode_expect"][name])
    for name in ("swap", "kernel_modules", "sysctls", "debugfs", "services")
}

ROLE_CASES = {
    "managed": ({}, "580"),
    "an exact version": ({"nvidia_driver_version": "595.71.05"}, "595"),
    "any branch": ({"nvidia_driver_branch": ""}, ""),
    "preinstalled": ({"nvidia_driver_state": "preinstalled"}, ""),
}
SITE_CASES = {
    "site-wide": ({}, "580"),
    "site-wide any": ({"gpunode_driver_branch": ""}, ""),
    "the role's own": ({"nvidia_driver_branch": "595"}, "595"),
    "the role's own any": ({"nvidia_driver_branch": ""}, ""),
    "not ours": ({"__gpunode_managed": False}, None),
}


@lru_cache
def rendered() -> dict:
    if MISSING:
        pytest.skip(MISSING)
    cases = {name: Case("nvidia_driver", NODE, (BRANCH,), options) for name, (options, _) in ROLE_CASES.items()}
    for name, (options, _expected) in SITE_CASES.items():
        cases["site", name] = Case("gpunode", NODE, (SITE_BRANCH,), {"__gpunode_managed": True, **options})
    # once where the role's defaults are set, as in a play that runs it, and once where they are not, as in verify.yml
    cases["host_prep"] = Case("host_prep", NODE, tuple(HOST.values()))
    cases["verify"] = Case("gpunode", NODE, tuple(HOST.values()))
    return render(cases)


@pytest.mark.parametrize("case", ROLE_CASES)
def test_the_role_holds_only_what_it_manages_against_a_branch(case):
    assert rendered()[case][BRANCH] == ROLE_CASES[case][1]


@pytest.mark.parametrize("case", SITE_CASES)
def test_any_branch_is_a_choice_and_not_the_lack_of_one(case):
    assert rendered()["site", case][SITE_BRANCH] == SITE_CASES[case][1]


@pytest.mark.parametrize("name", HOST)
def test_verify_expects_the_defaults_of_host_prep(name):
    expected = rendered()["host_prep"][HOST[name]]

    assert rendered()["verify"][HOST[name]] == expected


@pytest.mark.parametrize("name", HOST)
def test_a_check_on_its_own_expects_the_same(name):
    expected = rendered()["host_prep"][HOST[name]]
    own = EXPECT[name]

    assert (list(own) if isinstance(own, tuple) else own) == expected
