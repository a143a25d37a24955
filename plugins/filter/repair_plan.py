# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What repair.yml will do, what is left of it afterwards, and what of that a person has to do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.gpunode.ready.plugins.module_utils import repair_plan as core
from ansible_collections.gpunode.ready.plugins.module_utils.findings import Finding, from_dict, worst


def _findings(name: str, given: Any) -> list[Finding]:
    try:
        return [from_dict(dict(item)) for item in given]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(f"{name}: expected findings as node_check returns them: {error}") from None


def _look(found: Sequence[str], states: Any, nodes: Sequence[Mapping[str, Any]]) -> core.Look:
    if isinstance(states, Mapping):
        return core.look_at_node(found, states)
    looks = [core.look_at_node(node.get("found") or (), node.get("states") or {}) for node in nodes]
    return core.look_at_cluster(found, looks)


def repair_plan(
    findings: Any,
    roles: Sequence[str],
    found: Sequence[str],
    states: Any = None,
    nodes: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    look = _look(found, states, nodes)
    plan = core.planned(_findings("repair_plan", findings), roles, look)
    return {**plan.as_dict(), "lines": core.lines(plan, look)}


def repair_left(
    judged: Any,
    before: Any,
    states: Any = None,
    done: Sequence[str] = (),
    nodes: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    now = _findings("repair_left", judged)
    look = _look([finding.id for finding in now], states, nodes)
    findings = core.left(now, _findings("repair_left", before), look, done)
    return {"findings": [finding.as_dict() for finding in findings], "worst": worst(findings)}


def repair_by_hand(findings: Any) -> list[str]:
    return core.by_hand(_findings("repair_by_hand", findings))


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"repair_plan": repair_plan, "repair_left": repair_left, "repair_by_hand": repair_by_hand}
