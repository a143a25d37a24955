# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The door to the core of kubeadm's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpunode.ready.plugins.module_utils import kubeadm_config as core
from ansible_collections.gpunode.ready.plugins.module_utils import kubeadm_fitness as fitness


def kubeadm_problems(settings: Any, join: str = "") -> list[str]:
    """All that is wrong with the settings."""
    if not isinstance(settings, Mapping):
        raise AnsibleFilterError(f"kubeadm_problems: the settings are {type(settings).__name__}; expected a dictionary")
    try:
        return core.problems(dict(settings), join)
    except ValueError as error:
        return [str(error)]


def kubeadm_config(settings: Any, join: str = "") -> str:
    """The file. Settings with problems are refused."""
    wrong = kubeadm_problems(settings, join)
    if wrong:
        raise AnsibleFilterError(f"kubeadm_config: {'; '.join(wrong)}")
    return core.text(dict(settings), join)


def kubeadm_unfit(facts: Any, state: Any, choices: Any) -> list[str]:
    """Why kubeadm would fail on a node, or should not be run on it."""
    for name, given in (("facts", facts), ("state", state), ("choices", choices)):
        if not isinstance(given, Mapping):
            raise AnsibleFilterError(f"kubeadm_unfit: {name} is {type(given).__name__}; expected a dictionary")
    return fitness.problems(facts, state, choices)


def cri_socket(facts: Any, runtime: str) -> str:
    return fitness.socket_of(facts, str(runtime))


def runtime_cgroup_driver(facts: Any, runtime: str, chosen: str = "auto") -> str:
    return fitness.driver_of(facts, str(runtime), str(chosen))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "cri_socket": cri_socket,
            "kubeadm_config": kubeadm_config,
            "kubeadm_problems": kubeadm_problems,
            "kubeadm_unfit": kubeadm_unfit,
            "runtime_cgroup_driver": runtime_cgroup_driver,
        }
