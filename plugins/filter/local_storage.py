# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the local_storage role asks of its core: problems, and the objects of each of its states."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpunode.ready.plugins.module_utils import local_storage as core

MADE = {
    "managed": core.objects,
    "adopted": core.adopted,
    "demoted": core.demotions,
    "absent": core.removable,
}


def _checked(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise AnsibleFilterError(f"local_storage: {what} are {type(value).__name__}; expected a dictionary")
    return dict(value)


def local_storage_problems(settings: Any, facts: Any = None, state: str = "managed") -> list[str]:
    """All that is wrong with the settings, and what in the cluster is in their way."""
    given = _checked(settings, "the settings")
    try:
        wrong = core.problems(given)
        return wrong + ([] if facts is None else core.obstacles(given, _checked(facts, "the facts"), state))
    except ValueError as error:
        return [str(error)]


def local_storage_objects(settings: Any, facts: Any = None, state: str = "managed") -> list[dict[str, Any]]:
    """The Kubernetes objects of a state, in order. Settings with problems are refused."""
    if state not in MADE:
        raise AnsibleFilterError(f"local_storage_objects: the state is {state}; expected one of {', '.join(MADE)}")
    wrong = local_storage_problems(settings)
    if wrong:
        raise AnsibleFilterError(f"local_storage_objects: {'; '.join(wrong)}")
    return MADE[state](_checked(settings, "the settings"), _checked(facts or {}, "the facts"))


class FilterModule:
    def filters(self) -> dict[str, Any]:
        return {
            "local_storage_problems": local_storage_problems,
            "local_storage_objects": local_storage_objects,
        }
