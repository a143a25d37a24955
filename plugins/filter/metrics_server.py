# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the metrics_server role asks of its core: problems, objects, and who else answers its API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpunode.ready.plugins.module_utils import metrics_server


def _checked(settings: Any) -> dict[str, Any]:
    if not isinstance(settings, Mapping):
        raise AnsibleFilterError(f"metrics_server: the settings are {type(settings).__name__}; expected a dictionary")
    return dict(settings)


def metrics_server_problems(settings: Any, cluster_version: Any = "") -> list[str]:
    """All that is wrong with the settings, for a cluster of this version."""
    try:
        return metrics_server.problems(_checked(settings), cluster_version)
    except ValueError as error:
        return [str(error)]


def metrics_server_objects(settings: Any, cluster_version: Any = "") -> list[dict[str, Any]]:
    """The Kubernetes objects, in order. Settings with problems are refused."""
    wrong = metrics_server_problems(settings, cluster_version)
    if wrong:
        raise AnsibleFilterError(f"metrics_server_objects: {'; '.join(wrong)}")
    return metrics_server.objects(_checked(settings), cluster_version)


def metrics_server_leftovers(apiservices: Any, cluster_version: Any = "") -> list[dict[str, Any]]:
    """All objects that could be ours; the APIService only where it is."""
    others = metrics_server.foreign(apiservices if isinstance(apiservices, list) else [])
    made = metrics_server.all_objects(cluster_version)
    return [item for item in made if item["kind"] != "APIService" or not others]


def metrics_server_foreign(apiservices: Any) -> list[str]:
    """Who else answers the metrics API."""
    return metrics_server.foreign(apiservices if isinstance(apiservices, list) else [])


def metrics_server_untried(settings: Any, cluster_version: Any) -> str:
    """A sentence where the cluster is older than what any version is meant for."""
    return metrics_server.untried(_checked(settings), cluster_version)


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "metrics_server_problems": metrics_server_problems,
            "metrics_server_objects": metrics_server_objects,
            "metrics_server_leftovers": metrics_server_leftovers,
            "metrics_server_foreign": metrics_server_foreign,
            "metrics_server_untried": metrics_server_untried,
        }
