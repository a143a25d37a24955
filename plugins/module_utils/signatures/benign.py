# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines that look alarming and are not."""

from __future__ import annotations

from .catalogue import Benign

BENIGN: tuple[Benign, ...] = (
    Benign(
        pattern=r"module verification failed: signature and/or required key missing",
        literals=("module verification failed",),
        why="An unsigned module taints the kernel, which loads it all the same.",
        source="torvalds/linux:kernel/module/signing.c",
        sample="nvidia: module verification failed: signature and/or required key missing - tainting kernel",
    ),
    Benign(
        pattern=r"failed to load cni during init",
        literals=("failed to load cni during init",),
        why="containerd starts before the pod network has written its configuration.",
        source="containerd/containerd:internal/cri/server/service.go",
        sample='level=error msg="failed to load cni during init, please check CRI plugin status before setting up'
        ' network for pods" error="cni config load'
        ' failed: no network config found in /etc/cni/net.d: cni plugin not initialized: failed to load cni config"',
    ),
    Benign(
        pattern=r"Not collecting DCP metrics|Not collecting GPU metrics|Not collecting (?:NvSwitch|NvLink|CPU|CPU"
        r" Core) metrics",
        literals=("Not collecting ",),
        why="The exporter leaves out what this machine does not have.",
        source="NVIDIA/dcgm-exporter:internal/pkg/devicewatchlistmanager",
        sample='level=info msg="Not collecting DCP metrics: Error getting supported metrics: This request is serviced'
        " by a module of DCGM that is not currently"
        ' loaded"',
    ),
    Benign(
        pattern=r"Skipping library candidate|Could not locate [^\n]{1,120}: pattern [^\n]{1,120} not found|Ignoring"
        r" 32-bit libraries",
        literals=("Skipping library candidate", "Could not locate ", "Ignoring 32-bit"),
        why="nvidia-ctk tries optional files in turn.",
        source="NVIDIA/nvidia-container-toolkit:internal/lookup",
        sample='level=warning msg="Could not locate libnvidia-egl-wayland.so.*.*: pattern'
        ' libnvidia-egl-wayland.so.*.* not found"',
    ),
    Benign(
        pattern=r"Key is stored in legacy trusted\.gpg keyring|apt-key is deprecated",
        literals=("legacy trusted.gpg", "apt-key is deprecated"),
        why="apt still accepts the key.",
        source="Debian/apt:methods/gpgv.cc",
        sample="W: https://nvidia.github.io/libnvidia-container/stable/deb/amd64/InRelease: Key is stored in legacy"
        " trusted.gpg keyring",
    ),
    Benign(
        pattern=r"\[WARNING [\w-]{2,60}\]",
        literals=("[WARNING ",),
        why="kubeadm's preflight goes on after a warning.",
        source="kubernetes/kubernetes:cmd/kubeadm/app/preflight/checks.go",
        sample="[WARNING Swap]: swap is enabled; production deployments should disable swap unless testing the"
        " NodeSwap feature gate of the kubelet",
    ),
    Benign(
        pattern=r"(?:ERRO|WARN)\[\d{4}\][^\n]{0,200}dockershim\.sock",
        literals=("dockershim.sock",),
        why="crictl tries its default endpoints in turn.",
        source="kubernetes-sigs/cri-tools:cmd/crictl/main.go",
        sample="ERRO[0000] unable to determine runtime API version: rpc error: code = Unavailable desc = connection"
        ' error: desc = "transport: Error while dialing'
        ' dial unix /var/run/dockershim.sock: connect: no such file or directory"',
    ),
)
