# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the device_plugin role asks of its core: problems, objects, labels, and what nodes should then offer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpunode.ready.plugins.module_utils import device_plugin


def _checked(settings: Any) -> dict[str, Any]:
    if not isinstance(settings, Mapping):
        raise AnsibleFilterError(f"device_plugin: the settings are {type(settings).__name__}; expected a dictionary")
    return dict(settings)


def device_plugin_problems(settings: Any) -> list[str]:
    """All that is wrong with the settings."""
    try:
        return device_plugin.problems(_checked(settings))
    except ValueError as error:
        return [str(error)]


def device_plugin_objects(settings: Any, runtime_class_only: bool = False) -> list[dict[str, Any]]:
    """The Kubernetes objects, in order. Settings with problems are refused."""
    wrong = device_plugin_problems(settings)
    if wrong:
        raise AnsibleFilterError(f"device_plugin_objects: {'; '.join(wrong)}")
    make = device_plugin.runtime_class if runtime_class_only else device_plugin.objects
    return make(_checked(settings))


def device_plugin_labels(node_facts: Any, settings: Any = None, configs: Any = None) -> list[dict[str, Any]]:
    """Nodes with the labels that NVML's facts call for."""
    what = device_plugin.settings(_checked(settings or {}))
    chosen = configs or {}
    labels = {}
    for name, facts in _checked(node_facts or {}).items():
        key = chosen.get(name) or what["default_config"] or next(iter(what["configs"]), "")
        own = device_plugin.node_labels(facts if isinstance(facts, Mapping) else {}, what["configs"].get(key))
        if own and chosen.get(name):
            own[device_plugin.CONFIG_LABEL] = str(chosen[name])
        labels[str(name)] = own
    return device_plugin.node_objects(labels)


def device_plugin_devices(node_facts: Any, settings: Any, configs: Any = None) -> dict[str, dict[str, int]]:
    """node → resource → how many it should offer, for the nodes whose GPUs NVML has counted."""
    counts = {}
    for name, facts in _checked(node_facts or {}).items():
        nvml = facts.get("nvml") if isinstance(facts, Mapping) else None
        count = nvml.get("device_count") if isinstance(nvml, Mapping) else None
        if isinstance(count, int) and count > 0:
            counts[str(name)] = count
    return device_plugin.expected_devices(_checked(settings), counts, configs or {})


def device_plugin_foreign(daemonsets: Any, namespace: str) -> list[str]:
    """Device plugins that somebody else has deployed."""
    return device_plugin.foreign(daemonsets or [], namespace)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "device_plugin_problems": device_plugin_problems,
            "device_plugin_objects": device_plugin_objects,
            "device_plugin_labels": device_plugin_labels,
            "device_plugin_devices": device_plugin_devices,
            "device_plugin_foreign": device_plugin_foreign,
        }
