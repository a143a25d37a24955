# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the scheduler and kubelet's admission print of pods that find no place."""

from __future__ import annotations

from ..findings import Remedy
from .catalogue import Failure, Signature

TAINT = Failure(
    id="taint-blocks-scheduling",
    layer="scheduler",
    severity="degraded",
    meaning="A taint keeps the pod off the nodes that have GPUs.",
    remedy=Remedy(
        "Give the pod a toleration for the taint, or take the taint off: on a cluster of one node the control"
        " plane's, elsewhere only where"
        " nothing relies on it.",
        (
            "kubectl describe nodes | grep -n -A2 Taints",
            "kubectl taint nodes <node> node-role.kubernetes.io/control-plane:NoSchedule-",
        ),
    ),
    signatures=(
        Signature(
            pattern=r"had (?:untolerated )?taints? \{?(?P<taint>[^}\n,]{0,100}gpu[^}\n,]{0,60})",
            literals=("had untolerated taint", "had taint"),
            component="kube-scheduler",
            source="kubernetes/kubernetes:pkg/scheduler/framework/plugins/tainttoleration/taint_toleration.go",
            cause="GPU nodes carry the taint {taint}, which the pod does not tolerate.",
            sample="0/1 nodes are available: 1 node(s) had untolerated taint {nvidia.com/gpu: present}. preemption:"
            " 0/1 nodes are available",
        ),
        Signature(
            pattern=r"(?:had untolerated taint|had taints?)(?:\(s\))? (?:\{(?P<taint>[^}\n]{2,140})\}|that the pod)?",
            literals=("had untolerated taint", "had taint"),
            component="kube-scheduler",
            source="kubernetes/kubernetes:pkg/scheduler/framework/plugins/tainttoleration/taint_toleration.go",
            not_with=r"Insufficient \S{0,40}(?:nvidia\.com|gpu)|disk-pressure",
            cause="The nodes carry a taint ({taint}) that the pod does not tolerate.",
            sample="0/1 nodes are available: 1 node(s) had untolerated taint {node-role.kubernetes.io/control-plane:"
            " }.",
        ),
    ),
    consequence_of=("disk-pressure-eviction", "cni-not-initialized"),
    mistaken_for=("insufficient-gpu",),
)

INSUFFICIENT = Failure(
    id="insufficient-gpu",
    layer="scheduler",
    severity="degraded",
    meaning="No node has enough free nvidia.com/gpu.",
    remedy=Remedy(
        "See what the nodes offer and who holds it: 0 allocatable is a matter of the device plugin, everything in use"
        " a matter of capacity or"
        " of sharing.",
        (
            "kubectl get nodes -o custom-columns=NAME:.metadata.name,GPU:.status.allocatable.nvidia\\\\.com/gpu",
            "kubectl describe node <node> | grep -n -A12 'Allocated resources'",
        ),
    ),
    signatures=(
        Signature(
            pattern=r"Insufficient (?P<resource>(?:nvidia\.com|amd\.com|gpu\.intel\.com|[\w.-]{1,40})/(?:gpu|mig-"
            r"|vgpu|i915|xe)\S{0,40}?)(?=[,.\s]|$)"
            r"|OutOf(?P<out>nvidia\.com/\S{2,30})|enough resource: (?P<kubelet>nvidia\.com/\S{2,30}?),|Insufficient"
            r" (?P<alpha>alpha\.kubernetes\.io/nvidia-gpu)",
            literals=("Insufficient ", "OutOf", "enough resource: nvidia"),
            component="kube-scheduler, kubelet",
            source="kubernetes/kubernetes:pkg/scheduler/framework/plugins/noderesources/fit.go",
            cause="No node has enough free {resource}{out}{kubelet}{alpha}.",
            sample="0/6 nodes are available: 3 node(s) didn't match node selector, 6 Insufficient nvidia.com/gpu.",
        ),
    ),
    consequence_of=(
        "plugin-without-nvidia-runtime",
        "plugin-node-label-missing",
        "plugin-config-parse-error",
        "plugin-config-no-resources",
        "invalid-device-list-strategy",
        "invalid-discovery-strategy",
        "device-plugin-registration-refused",
        "plugin-socket-lost-after-kubelet-restart",
        "plugin-device-unhealthy-xid",
        "plugin-library-conflict-glibc",
        "mig-strategy-mixed-misconfig",
        "nvml-driver-not-loaded",
        "gpu-lost-off-bus",
        "taint-blocks-scheduling",
        "runtime-handler-missing",
        "runtimeclass-not-found",
    ),
    mistaken_for=("taint-blocks-scheduling",),
)

FAILURES = (TAINT, INSUFFICIENT)
