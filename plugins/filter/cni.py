# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the cni role asks of its core: problems, objects, the configuration of one node, and who else is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpunode.ready.plugins.module_utils import cni


def _checked(settings: Any) -> dict[str, Any]:
    if not isinstance(settings, Mapping):
        raise AnsibleFilterError(f"cni: the settings are {type(settings).__name__}; expected a dictionary")
    return dict(settings)


def _sound(settings: Any, name: str) -> dict[str, Any]:
    wrong = cni_problems(settings)
    if wrong:
        raise AnsibleFilterError(f"{name}: {'; '.join(wrong)}")
    return _checked(settings)


def cni_problems(settings: Any, nodes: Any = None) -> list[str]:
    """All that is wrong with the settings, by themselves and beside the nodes of the cluster."""
    try:
        given = _checked(settings)
        return cni.problems(given) or cni.astray(nodes if isinstance(nodes, list) else [], given)
    except ValueError as error:
        return [str(error)]


def cni_foreign(daemonsets: Any, settings: Any, node_facts: Any = None, files: Any = None) -> list[str]:
    """Pod networks that somebody else brought: DaemonSets of the cluster, and configurations on nodes."""
    given = _checked(settings)
    plugin = str(given.get("plugin"))
    return [
        *cni.foreign(daemonsets if isinstance(daemonsets, list) else [], given),
        *cni.foreign_on_nodes(_checked(node_facts or {}), plugin),
        *[f"{path} here" for path in cni.foreign_here(files or [], plugin)],
    ]


def cni_objects(settings: Any) -> list[dict[str, Any]]:
    """flannel's Kubernetes objects, in order. Settings with problems are refused."""
    return cni.objects(_sound(settings, "cni_objects"))


def cni_conflist(settings: Any) -> str:
    """The configuration of a node whose pods a bridge joins. Settings with problems are refused."""
    return cni.conflist(_sound(settings, "cni_conflist"))


def cni_lacking(found: Any) -> list[str]:
    """The programs that the bridge needs and that are not among the files found."""
    return cni.lacking(found or [])


def cni_bin_dirs(known: Any, node_facts: Any = None) -> list[str]:
    """Where flannel's program has to lie, so that the runtimes of all nodes find it."""
    return cni.bin_dirs(_checked(node_facts or {}), known or [])


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "cni_problems": cni_problems,
            "cni_foreign": cni_foreign,
            "cni_objects": cni_objects,
            "cni_conflist": cni_conflist,
            "cni_lacking": cni_lacking,
            "cni_bin_dirs": cni_bin_dirs,
        }
