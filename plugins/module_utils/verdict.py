# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a look at a node comes to: its findings, the state of each layer, and whether that is good enough.

The module ``node_check`` says it where the node was looked at just now, its action plugin where it was before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .checks.all import CHECKS
from .checks.catalogue import judge_node
from .checks.states import NODE_LAYERS, layer_states
from .expect import expectations
from .findings import SEVERITIES, worst
from .wording import summary, tell

# The options of ``node_check``, for the module and for its action plugin.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "layers": {"type": "list", "elements": "str", "default": [], "choices": list(NODE_LAYERS)},
    "expect": {"type": "dict", "default": {}},
    "mute": {"type": "list", "elements": "str", "default": []},
    "fail_on": {"type": "str", "choices": ["fatal", "degraded", "never"], "default": "fatal"},
    "look": {"type": "bool", "default": True},
}


@dataclass(frozen=True)
class Verdict:
    """``answer``: what ``node_check`` returns. ``failure``: the message to fail with; None where it is good enough."""

    answer: dict[str, Any]
    failure: str | None


def verdict(
    facts: Mapping[str, Any],
    *,
    layers: Sequence[str] = (),
    expect: Mapping[str, Any] | None = None,
    mute: Sequence[str] = (),
    fail_on: str = "fatal",
) -> Verdict:
    """Judge facts as ``node.collect`` returns them. Raises ``ValueError`` naming every expectation that is unknown."""
    wanted = expectations(dict(expect or {}))
    findings = [found for found in judge_node(CHECKS, facts, wanted, layers) if found.id not in mute]
    gravest = worst(findings)
    failure = None
    if fail_on != "never" and gravest in SEVERITIES[: SEVERITIES.index(fail_on) + 1]:
        failure = tell(findings, f"The node is not as promised: {summary(findings)}. Root causes first:")
    answer = {
        "findings": [finding.as_dict() for finding in findings],
        "states": layer_states(facts, findings, wanted, layers),
        "worst": gravest,
        "expect": wanted,
    }
    return Verdict(answer, failure)
