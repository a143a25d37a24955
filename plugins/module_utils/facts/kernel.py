# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swap in every place it can come from, and the kernel's modules and sysctls, live and persisted. No command is run."""

from __future__ import annotations

from typing import Any

from .. import fstab
from .. import kernel_settings as settings
from .. import swap as swap_state
from ..host import Host
from ..secrecy import hide

# Asked for whether or not anything persists them.
MODULES = (
    "overlay",
    "br_netfilter",
    "nf_conntrack",
    "ip_vs",
    "ip_tables",
    "nf_tables",
    "zram",
    "nouveau",
    "nvidia",
    "nvidia_uvm",
    "nvidia_modeset",
    "nvidia_drm",
    "nvidia_peermem",
)
SYSCTLS = (
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.ipv4.ip_forward",
    "net.ipv6.conf.all.forwarding",
    "vm.swappiness",
    "vm.overcommit_memory",
    "kernel.panic",
    "kernel.panic_on_oops",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
    "net.core.bpf_jit_harden",
)


def swap(host: Host) -> dict[str, Any]:
    state = swap_state.look(host)
    return {
        "live": [
            {"path": area.path, "type": area.type, "size_bytes": area.size_bytes, "used_bytes": area.used_bytes}
            for area in state.live
        ],
        "fstab": [{"line": entry.line, "text": entry.text} for entry in fstab.swap_entries(state.fstab)],
        "fstab_duplicates": [{"line": entry.line, "text": hide(entry.text)} for entry in fstab.duplicates(state.fstab)],
        "units": [{"name": unit.name, "active": unit.active, "enabled": unit.enabled} for unit in state.units],
        "zram": {
            "installed": bool(state.zram),
            "configured_in": list(state.zram_configured_in),
            "masked": bool(state.zram) and all(source.masked for source in state.zram),
        },
        "cron_failsafe": swap_state.CRON_FILE if state.cron is not None else None,
    }


def kernel(host: Host) -> dict[str, Any]:
    release = settings.release(host)
    return {
        "modules": modules(host),
        "sysctls": sysctls(host),
        "headers": {
            "path": f"/lib/modules/{release}/build",
            "present": host.is_dir(f"/lib/modules/{release}/build"),
        },
        "debugfs": {
            "mounted": settings.debugfs_mounted(host),
            "in_fstab": any(entry.type == "debugfs" for entry in fstab.entries(host.text(fstab.FSTAB) or "")),
        },
        "initramfs": initramfs(host, release) if release else None,
        "releases": sorted(set(host.list("/lib/modules")) | set(host.list("/usr/lib/modules"))),
    }


def initramfs(host: Host, release: str) -> dict[str, Any] | None:
    """The running kernel's initramfs, and the drop-ins of modprobe.d that it cannot know, because they are newer."""
    package = host.line(f"/lib/modules/{release}/pkgbase")  # Arch names images after the kernel's package
    names = (f"initrd.img-{release}", f"initramfs-{release}.img", f"initrd-{release}", f"initramfs-{package}.img")
    path = next((f"/boot/{name}" for name in names if host.exists(f"/boot/{name}")), None)
    made = host.stat(path) if path else None
    if path is None or made is None:
        return None
    changed = {file: host.stat(file) for file in settings.drop_ins(host, settings.MODPROBE_FOLDERS)}
    return {
        "path": path,
        "older_than": sorted(file for file, state in changed.items() if state and state.st_mtime > made.st_mtime),
    }


def modules(host: Host) -> dict[str, Any]:
    """Those asked for, those loaded, and those persisted."""
    builtin, filesystems = settings.builtin_modules(host), settings.known_filesystems(host)
    persisted = settings.persisted_modules(host)
    loaded = [path.split("/")[3] for path in host.glob("/sys/module/*/initstate")]
    return {
        name: {
            **settings.module_state(host, name, builtin, filesystems),
            "persisted_in": persisted.get(name, []),
        }
        for name in sorted({*MODULES, *loaded, *persisted})
    }


def sysctls(host: Host) -> dict[str, Any]:
    """Those asked for, and those that any drop-in sets by name."""
    persisted = settings.persisted_sysctls(host)
    found = {}
    for name in sorted({*SYSCTLS, *persisted.explicit}):
        line = persisted.of(name)
        found[name] = {
            "live": settings.live_sysctl(host, name),
            "persisted": line.value if line else None,
            "persisted_in": line.source if line else None,
        }
    return found
