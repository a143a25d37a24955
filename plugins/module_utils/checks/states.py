# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of each layer of a node, in one word, from its facts and its findings.

``ready`` nothing above a notice; ``degraded`` works, but not as promised; ``failed`` does not work; ``unknown`` could
not be looked at; ``unused`` is not expected on this node.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..findings import Finding, worst

# The layers of a node, from cause to consequence, each with the parts of the facts that its checks read.
# ``tests/unit/module_utils/test_checks.py`` compares it with what they really read.
PARTS: dict[str, tuple[str, ...]] = {
    "packaging": ("os", "packages", "repositories", "kernel", "gpus", "driver"),
    "host": ("boot", "filesystems", "swap", "kernel", "units"),
    "driver": ("os", "kernel", "units", "gpus", "driver", "nvml"),
    "nvml": ("gpus", "driver", "nvml"),
    "toolkit": ("runtimes", "toolkit"),
    "runtime": ("units", "packages", "runtimes", "kubelet", "kubeadm"),
    "cdi": ("units", "gpus", "nvml", "runtimes", "cdi"),
    "kubelet": ("swap", "units", "cgroups", "runtimes", "kubelet", "kubeadm"),
    "kubeadm": ("kubelet", "kubeadm", "kubeconfigs"),
}
NODE_LAYERS = tuple(PARTS)
STATES = ("ready", "degraded", "failed", "unknown", "unused")

# Without these parts nothing can be said of the layer.
ESSENTIAL: dict[str, tuple[str, ...]] = {
    "packaging": ("packages",),
    "host": ("swap", "kernel"),
    "driver": ("driver",),
    "nvml": ("nvml",),
    "toolkit": ("toolkit",),
    "runtime": ("runtimes",),
    "cdi": ("cdi",),
    "kubelet": ("kubelet",),
    "kubeadm": ("kubeadm",),
}


def parts_for(layers: Iterable[str]) -> list[str]:
    """The parts of the facts that these layers' checks read; empty (which means all) where no layer is named."""
    wanted = set(layers)
    return sorted({part for layer in wanted for part in PARTS.get(layer, ())})


def unavailable_reason(facts: Mapping[str, Any], part: str) -> str | None:
    """Why a part of the facts could not be looked at; None where it could."""
    if part not in facts:
        return "not looked at"
    value = facts[part]
    if value is None:
        return "not looked at"
    if isinstance(value, Mapping) and "unavailable" in value:
        return str(value["unavailable"])
    return None


def is_used(layer: str, facts: Mapping[str, Any], expect: Mapping[str, Any]) -> bool:
    """Whether the layer is expected, or there, on this node."""
    gpu = bool(expect.get("gpu", True))
    if layer in ("driver", "nvml"):
        return gpu and expect.get("driver") != "none"
    if layer == "toolkit":
        return gpu and (bool(expect.get("handler")) or bool(expect.get("cdi")))
    if layer == "cdi":
        return gpu and bool(expect.get("cdi"))
    if layer == "runtime":
        return expect.get("runtime") is not None or _any_installed(facts.get("runtimes")) or gpu
    if layer == "kubelet":
        kubernetes = expect.get("kubernetes")
        if kubernetes is None:
            return _installed(facts.get("kubelet")) or unavailable_reason(facts, "kubelet") is not None
        return kubernetes == "kubeadm"
    if layer == "kubeadm":
        kubernetes = expect.get("kubernetes")
        if kubernetes is None:
            return _installed(facts.get("kubeadm")) or unavailable_reason(facts, "kubeadm") is not None
        return kubernetes == "kubeadm"
    return True


def _installed(part: Any) -> bool:
    return isinstance(part, Mapping) and bool(part.get("installed"))


def _any_installed(part: Any) -> bool:
    return isinstance(part, Mapping) and any(_installed(item) for item in part.values())


def layer_states(
    facts: Mapping[str, Any],
    findings: Sequence[Finding],
    expect: Mapping[str, Any],
    layers: Iterable[str] = NODE_LAYERS,
) -> dict[str, str]:
    """The state of each layer, in causal order."""
    wanted = set(layers) or set(NODE_LAYERS)
    states = {}
    for layer in NODE_LAYERS:
        if layer not in wanted:
            continue
        gravest = worst(finding for finding in findings if finding.layer == layer)
        if gravest == "fatal":
            states[layer] = "failed"
        elif gravest == "degraded":
            states[layer] = "degraded"
        elif not is_used(layer, facts, expect):
            states[layer] = "unused"
        elif any(unavailable_reason(facts, part) for part in ESSENTIAL[layer]):
            states[layer] = "unknown"
        else:
            states[layer] = "ready"
    return states
