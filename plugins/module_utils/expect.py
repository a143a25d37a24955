# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is expected to be: the defaults of ``node_check``'s ``expect``, and so of every check.

A key is worth having only if a check reads it. Roles' defaults say the same: tests/unit/test_expectations.py compares.
"""

from __future__ import annotations

from typing import Any

EXPECT: dict[str, Any] = {
    "gpu": True,  # whether the node should have NVIDIA GPUs at all
    "gpu_count": None,  # how many; None: as many as the PCI bus shows
    "swap": "disabled",  # disabled | untouched
    "kernel_modules": ["overlay", "br_netfilter"],
    "sysctls": {
        "net.bridge.bridge-nf-call-iptables": "1",
        "net.bridge.bridge-nf-call-ip6tables": "1",
        "net.ipv4.ip_forward": "1",
    },
    "debugfs": False,  # whether /sys/kernel/debug stands in fstab
    "services": [],  # units that must be enabled and active
    "driver": "managed",  # managed | preinstalled | none
    "driver_branch": None,  # "580"; None: any
    "driver_flavour": "auto",  # auto (by the GPUs' architecture) | open | proprietary
    "persistence": True,  # whether nvidia-persistenced keeps the GPUs initialised
    "runtime": None,  # crio | containerd | docker | k3s; None: whichever is there
    "handler": "nvidia",  # the runtime handler that injects GPUs; None: none is expected
    "runtime_links": False,  # whether /usr/bin has runc and crun wherever the runtime keeps them
    "cgroup_driver": "auto",  # auto | systemd | cgroupfs
    "cdi": True,  # whether a CDI spec is expected
    "kubernetes": None,  # kubeadm | k3s | none; None: whichever is there
}


def expectations(given: dict[str, Any] | None) -> dict[str, Any]:
    """The defaults with what was given put over them. Raises ``ValueError`` for what cannot be one."""
    given = {key: value for key, value in (given or {}).items() if value is not None}
    unknown = sorted(set(given) - set(EXPECT))
    if unknown:
        raise ValueError(f"unknown expectations: {', '.join(unknown)} (known: {', '.join(EXPECT)})")
    if not isinstance(given.get("services", []), (list, tuple)):
        raise ValueError(f"services: expected a list of systemd units, got {given['services']!r}")
    return {**EXPECT, **given}
