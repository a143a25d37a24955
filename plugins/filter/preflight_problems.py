# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from ansible_collections.gpunode.ready.plugins.module_utils import preflight

DOCUMENTATION = r"""
name: preflight_problems
short_description: Why a run cannot succeed on a node
version_added: 0.1.0
author: The gpunode.ready maintainers (@gpunode)
description:
  - Judges a node's facts by what was chosen for it, before anything changes. An unsupported system, no GPU, a driver
    branch or flavour that does not fit the GPUs, a driver that nobody offers, Secure Boot, missing headers, another
    runtime in the way, a full disk, cgroup v1, a wrong clock.
  - What is unknown is no problem, nor what a role mends by itself.
options:
  _input:
    description: What M(gpunode.ready.node_info) returned as C(gpunode).
    type: dict
    required: true
  choices:
    description:
      - The choices as C(gpu), C(runtime), C(runtime_source), C(driver), C(driver_branch), C(driver_version),
        C(driver_flavour), C(driver_source), C(driver_repository_url), C(driver_repository_key_url),
        C(driver_repository_key_fingerprints), C(reboot), C(secure_boot), C(kubernetes), C(kubernetes_version),
        C(crio_version), C(disk_spare_mib), C(unsupported_systems), and C(packages_answer), what the command of
        P(gpunode.ready.preflight_packages_question#filter) answered.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Show whether this node could be driven by branch 595
  ansible.builtin.debug:
    msg: "{{ ansible_facts['gpunode'] | gpunode.ready.preflight_problems({'driver_branch': '595'}) }}"
"""

RETURN = r"""
_value:
  description: The reasons, each with C(id), C(what), C(where) and C(mend).
  type: list
  elements: dict
  sample:
    - id: branch-too-new
      what: "Driver branch 595 no longer drives 0000:3b:00.0 Tesla V100 (volta): the last that does is 580."
      where: driver branch (gpunode_driver_branch)
      mend: Set it to 580.
"""


def preflight_problems(facts: Any, choices: Any) -> list[dict[str, str]]:
    now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    return preflight.problems(facts, {"now": now, **choices})


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {
            "preflight_problems": preflight_problems,
            "preflight_packages_question": preflight.packages_question,
            "preflight_twins": preflight.twins,
            "preflight_report": preflight.report,
        }
