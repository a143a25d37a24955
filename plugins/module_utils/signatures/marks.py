# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Context that tells one failure from another: who speaks, and what came after."""

from __future__ import annotations

from .catalogue import Mark

MARKS: tuple[Mark, ...] = (
    Mark(
        "device-plugin",
        r"nvidia-device-plugin|k8s-device-plugin|Retr(?:ei|ie)ving plugins|Starting FS watcher|factory\.go:\d|No valid"
        r" resources detected, creating a null CDI handler|Starting to serve .{0,60}device-plugins|Loading NVML",
        (
            "device-plugin",
            "ing plugins",
            "Starting FS watcher",
            "factory.go:",
            "null CDI handler",
            "Loading NVML",
        ),
    ),
    Mark(
        "feature-discovery",
        r"gpu-feature-discovery|Running gpu-feature|NVML not detected",
        ("gpu-feature", "NVML not detected"),
    ),
    Mark(
        "dcgm-exporter",
        r"dcgm-exporter|dcgm_exporter|nv-hostengine|DCGM (?:initialization|successfully)|Starting dcgm",
        ("dcgm-exporter", "dcgm_exporter", "nv-hostengine", "DCGM initialization", "DCGM successfully"),
    ),
    Mark("kubelet", r"\bkubelet\b|[Kk]ubelet:", ("kubelet", "Kubelet"), common=True),
    Mark("k3s", r"\bk3s\b|\brke2\b|/var/lib/rancher", ("k3s", "rke2", "rancher"), common=True),
    Mark(
        "tegra",
        r"-tegra\b|\btegra\b|\bJetson\b|NVIDIA Orin|nv_tegra_release",
        ("tegra", "Jetson", "NVIDIA Orin"),
    ),
    Mark(
        "no-nvidia-gpu",
        r"no NVIDIA GPUs? (?:found|present|detected)|lspci \| grep -i nvidia\s{0,4}\n\s{0,4}\$|NVIDIA GPU not found",
        ("no NVIDIA GPU", "lspci | grep -i nvidia", "NVIDIA GPU not found"),
    ),
    Mark(
        "driver-asked",
        r"NVIDIA-SMI has failed|nvidia-smi|couldn.t communicate with the NVIDIA driver|modprobe.{0,20}nvidia",
        ("NVIDIA-SMI", "nvidia-smi", "NVIDIA driver", "modprobe"),
    ),
    Mark(
        "smi-failed",
        r"NVIDIA-SMI has failed|couldn.{0,3}t communicate with the NVIDIA driver",
        ("NVIDIA-SMI has failed", "communicate with the NVIDIA driver"),
    ),
    Mark(
        "plugin-registered",
        r"Registered device plugin (?:for|with)|Got registration request from device plugin",
        ("Registered device plugin", "registration request from device plugin"),
    ),
    Mark(
        "runtime-answered",
        r"no runtime for [\"'][^\"']{1,80}[\"'] is configured|failed to find runtime handler|cni plugin not initialized"
        r"|failed to setup network for sandbox|unknown service runtime\.v1|Started container runtime"
        r"|Container runtime initialized|Created container |RuntimeHandler .{1,60} not supported|containerd"
        r" successfully"
        r" booted",
        (
            "no runtime for",
            "failed to find runtime handler",
            "cni plugin not initialized",
            "failed to setup network for sandbox",
            "unknown service runtime.v1",
            "Container runtime initialized",
            "Created container",
            "RuntimeHandler",
            "successfully booted",
        ),
    ),
    Mark(
        "node-registered",
        r"Successfully registered node|control plane has initialized successfully|NodeReady|status is now: NodeReady",
        ("Successfully registered node", "has initialized successfully", "NodeReady"),
    ),
    Mark(
        "cli-failed",
        r"nvidia-container-cli[\w.]{0,10}: (?:initialization|ldcache|detection|mount|device) error|load library"
        r" failed|failed to change root",
        ("nvidia-container-cli", "load library failed", "failed to change root"),
    ),
    Mark(
        "local-image",
        r"[Pp]ulling image [\"'](?:localhost/)?[\w-]{1,60}(?:/[\w-]{1,60})?(?::(?:local|dev|latest))?[\"']|minikube"
        r" image build|docker build|Image:\s{1,20}[\w-]{1,60}(?::(?:local|dev|latest))?$"
        r"|--image=[\w-]{1,60}(?::[\w.-]{1,40})?(?:\s|$)",
        ("ulling image", "minikube image build", "docker build", "Image:", "--image="),
    ),
    Mark(
        "claims-listed",
        r"kubectl (?:-n \S{1,63} |--namespace[= ]\S{1,63} )?get (?:pvc|persistentvolumeclaims?)"
        r"|^NAME\s{1,80}STATUS\s{1,20}VOLUME\s{1,80}CAPACITY",
        ("get pvc", "get persistentvolumeclaim", "CAPACITY"),
    ),
)
