# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster is expected to be: the defaults of ``cluster_info``'s ``expect``, and so of every check of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CLUSTER_EXPECT: dict[str, Any] = {
    "plugin": True,  # whether a device plugin (or DRA driver) should serve the GPUs
    "gpu_nodes": None,  # names of the nodes that should have GPUs; None: those that look like it
    "resource": "nvidia.com/gpu",  # what the plugin advertises
    # how many a node should offer, or node → how many, or node → resource → how many; None: what NVML sees × replicas
    "devices": None,
    "replicas": 1,  # how often each GPU is advertised, where it is shared
    "api_services": [],  # APIs that a Service in the cluster should answer, such as v1beta1.metrics.k8s.io
    "runtime_class": "nvidia",  # the RuntimeClass of GPU pods; None: the runtime's default injects GPUs
    "storage": False,  # whether claims should find a default StorageClass, or the name of the one that they ask for
}


def cluster_expectations(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The defaults with what was given put over them. Raises ``ValueError`` naming every key that is unknown."""
    given = dict(given or {})
    unknown = sorted(set(given) - set(CLUSTER_EXPECT))
    if unknown:
        raise ValueError(f"unknown expectations: {', '.join(unknown)} (known: {', '.join(CLUSTER_EXPECT)})")
    return {**CLUSTER_EXPECT, **given}
