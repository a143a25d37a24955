# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where container runtimes keep their configuration, and what containerd calls its parts."""

from __future__ import annotations

CRIO_ROOT = "/etc/crio/crio.conf"
CRIO_DROP_INS = "/etc/crio/crio.conf.d"
CONTAINERD_ROOT = "/etc/containerd/config.toml"
CONTAINERD_DROP_INS = "/etc/containerd/conf.d"
DAEMON_JSON = "/etc/docker/daemon.json"

CRI = "io.containerd.grpc.v1.cri"
CRI_RUNTIME = "io.containerd.cri.v1.runtime"
CRI_IMAGES = "io.containerd.cri.v1.images"
RUNC_TYPE = "io.containerd.runc.v2"
