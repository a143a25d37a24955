# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of checks of a cluster, as ``all.py`` is of a node. An id that both have means the same thing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any

from ..findings import Finding
from . import cluster_api, cluster_gpu, cluster_network, cluster_pods, cluster_storage
from .catalogue import Check, Expect, Facts, judge_node

MODULES: tuple[ModuleType, ...] = (cluster_api, cluster_network, cluster_gpu, cluster_pods, cluster_storage)

CLUSTER_CHECKS: tuple[Check, ...] = tuple(
    value for module in MODULES for value in vars(module).values() if isinstance(value, Check)
)

CLUSTER_LAYERS = ("runtime", "kubelet", "kubeadm", "plugin", "scheduler", "workload", "storage", "monitoring")


def judge_cluster(
    facts: Facts,
    expect: Expect,
    hosts: Mapping[str, Any] | None = None,
    mute: Iterable[str] = (),
    layers: Iterable[str] = (),
) -> list[Finding]:
    """All that is wrong with a cluster, root cause first. ``hosts`` are nodes' own facts by name, joined in."""
    muted = set(mute)
    found = judge_node(CLUSTER_CHECKS, {**facts, "hosts": dict(hosts or {})}, expect, layers)
    return [finding for finding in found if finding.id not in muted]
