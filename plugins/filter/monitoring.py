# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the monitoring role asks of its core: problems, and the objects with rules and dashboards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpunode.ready.plugins.module_utils.monitoring import objects, settings


def _checked(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise AnsibleFilterError(f"monitoring: the settings are {type(given).__name__}; expected a dictionary")
    return dict(given)


def monitoring_problems(given: Any) -> list[str]:
    """All that is wrong with the settings."""
    return settings.problems(_checked(given))


def monitoring_objects(given: Any, files: Any = None, labels: Any = None) -> list[dict[str, Any]]:
    """The Kubernetes objects, in order. Settings with problems are refused."""
    try:
        chosen = settings.settings(_checked(given))
    except ValueError as error:
        raise AnsibleFilterError(f"monitoring_objects: {error}") from error
    return objects.objects(chosen, _checked(files or {}), _checked(labels or {}))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {"monitoring_problems": monitoring_problems, "monitoring_objects": monitoring_objects}
