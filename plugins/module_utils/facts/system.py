# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The node itself: its boot, its operating system, its memory, its file systems, its units.

One command for all units, one for the kind of virtualisation; everything else is read from files.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import Any

from ..host import Host
from .packaging import manager_of

# Where a node keeps what may fill up. Each mount under these is reported once.
PLACES = (
    "/",
    "/boot",
    "/usr",
    "/var",
    "/var/lib",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/kubelet",
    "/tmp",
    "/opt",
)

# Every unit this project cares for: whether it is there, runs, and starts at boot.
UNITS = (
    "kubelet.service",
    "crio.service",
    "containerd.service",
    "docker.service",
    "docker.socket",
    "cri-docker.service",
    "cri-docker.socket",
    "k3s.service",
    "k3s-agent.service",
    "nvidia-persistenced.service",
    "nvidia-fabricmanager.service",
    "nvidia-cdi-refresh.service",
    "nvidia-cdi-refresh.path",
    "gpunode-cdi-refresh.service",
    "gpunode-cdi-refresh.path",
    "gpunode-self-repair.service",
    "gpunode-self-repair.timer",
    "dcgm.service",
    "nvidia-dcgm.service",
    "systemd-modules-load.service",
    "systemd-sysctl.service",
    "ssh.service",
    "ssh.socket",
    "sshd.service",
    "cron.service",
    "crond.service",
    "cronie.service",
    "chrony.service",
    "chronyd.service",
    "ntpd.service",
    "ntpsec.service",
    "systemd-timesyncd.service",
    "swap.target",
    "zramswap.service",
    "zram-config.service",
    "zramd.service",
    "systemd-swap.service",
    "dphys-swapfile.service",
    "swapspace.service",
    "unattended-upgrades.service",
    "apt-daily-upgrade.timer",
    "dnf-automatic.timer",
    "firewalld.service",
    "ufw.service",
    "apparmor.service",
)

# Family -> the ids of its members, for distributions whose ID_LIKE says less than the truth. A node's own id is asked
# before those it is like: RHEL calls itself like Fedora.
FAMILIES = (
    ("debian", ("debian", "ubuntu", "linuxmint", "pop", "raspbian", "kali")),
    ("redhat", ("rhel", "centos", "rocky", "almalinux", "ol", "amzn", "scientific", "eurolinux", "cloudlinux")),
    ("fedora", ("fedora",)),
    ("arch", ("arch", "archarm", "manjaro", "endeavouros", "cachyos")),
    ("suse", ("suse", "sles", "sled", "opensuse", "opensuse-leap", "opensuse-tumbleweed", "sle-micro")),
)
ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}

EFI_VARIABLES = "/sys/firmware/efi/efivars"
SECURE_BOOT = f"{EFI_VARIABLES}/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"
# shim's own switch: 1 where its validation is disabled, and then the kernel too counts Secure Boot as off
SHIM_VALIDATION_OFF = f"{EFI_VARIABLES}/MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23"


def boot(host: Host) -> dict[str, Any]:
    """This boot: its id, for how long, by which clock, and why it should end."""
    uptime = (host.line("/proc/uptime") or "").split(" ")[0]
    return {
        "id": host.line("/proc/sys/kernel/random/boot_id"),
        "uptime_seconds": float(uptime) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", uptime) else None,
        "time_utc": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "clock_synchronized": clock_synchronized(host),
        "reboot_required": reboot_required(host),
    }


def clock_synchronized(host: Host) -> bool | None:
    """Whether the kernel counts its clock as synchronised, as ``timedatectl`` tells it; None where it cannot be asked.

    adjtimex(2) with no modes only looks. A clock is synchronised while its greatest possible error is below 16 s.
    """
    if host.root != "/" or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    timex = ctypes.create_string_buffer(512)  # struct timex has 208 bytes on 64-bit Linux
    try:
        state = ctypes.CDLL(None, use_errno=True).adjtimex(timex)
    except (AttributeError, OSError):
        return None
    if state < 0:
        return None
    greatest_error_us = ctypes.c_long.from_buffer(timex, 24).value
    return greatest_error_us < 16_000_000


def reboot_required(host: Host) -> list[str]:
    """Each reason to reboot, as a sentence; empty where there is none."""
    reasons = []
    if host.exists("/run/reboot-required"):
        names = sorted(set((host.text("/run/reboot-required.pkgs") or "").split()))
        reasons.append(f"/run/reboot-required stands{', for ' + ', '.join(names) if names else ''}")
    release = host.line("/proc/sys/kernel/osrelease")
    folders = [folder for folder in ("/lib/modules", "/usr/lib/modules") if host.is_dir(folder)]
    installed = sorted({name for folder in folders for name in host.list(folder)})
    if release and installed and not any(host.is_dir(f"{folder}/{release}") for folder in folders):
        reasons.append(
            f"the running kernel {release} has no modules left in /lib/modules (there: {', '.join(installed)})"
        )
    return reasons


def operating_system(host: Host) -> dict[str, Any]:
    release = os_release(host.text("/etc/os-release") or host.text("/usr/lib/os-release") or "")
    like = release.get("ID_LIKE", "").split()
    identity = release.get("ID", "")
    return {
        "id": identity or None,
        "family": family(identity, like),
        "id_like": like,
        "name": release.get("PRETTY_NAME") or release.get("NAME"),
        "version": release.get("VERSION_ID"),
        "codename": release.get("VERSION_CODENAME") or release.get("UBUNTU_CODENAME"),
        "kernel": host.line("/proc/sys/kernel/osrelease"),
        "architecture": architecture(host),
        "cmdline": host.line("/proc/cmdline"),
        "secure_boot": secure_boot(host),
        "lockdown": lockdown(host),
        "container": in_container(host),
        "virtualization": virtualization(host),
        "init": init_system(host),
        "hostname": host.line("/proc/sys/kernel/hostname") or host.line("/etc/hostname"),
        "machine_id": host.line("/etc/machine-id") or None,
        "python": platform.python_version(),
        "package_manager": manager_of(host),
    }


def os_release(text: str) -> dict[str, str]:
    """The assignments of an os-release file, unquoted as a shell would."""
    values = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            continue
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1]
        values[name] = re.sub(r"\\([\\\"'$`])", r"\1", value)
    return values


def family(identity: str, like: Sequence[str]) -> str:
    """Which family of distributions: by its own id first, then by those it calls itself like."""
    for name in [identity, *like]:
        for known, members in FAMILIES:
            if name in members:
                return known
    return "other"


def architecture(host: Host) -> str:
    name = host.line("/proc/sys/kernel/arch") or os.uname().machine
    return ARCHITECTURES.get(name, name)


def secure_boot(host: Host) -> str | None:
    """``enabled``, ``disabled``, ``unsupported`` (no UEFI), or None where UEFI's variables cannot be read."""
    if not host.is_dir("/sys/firmware/efi"):
        return "unsupported"
    # four bytes of attributes, then the value
    value = host.text(SECURE_BOOT)
    if value is None:
        return None if not host.list(EFI_VARIABLES) else "unsupported"
    if value[-1:] != "\x01" or (host.text(SHIM_VALIDATION_OFF) or "")[-1:] == "\x01":
        return "disabled"
    return "enabled"


def lockdown(host: Host) -> str | None:
    """The kernel's lockdown: ``none``, ``integrity``, ``confidentiality``; None where it knows no such thing."""
    found = re.search(r"\[([a-z]+)\]", host.text("/sys/kernel/security/lockdown") or "")
    return found.group(1) if found else None


def in_container(host: Host) -> bool:
    if any(host.exists(path) for path in ("/run/.containerenv", "/.dockerenv", "/run/systemd/container")):
        return True
    return any(item.startswith("container=") for item in (host.text("/proc/1/environ") or "").split("\0"))


def virtualization(host: Host) -> str | None:
    """What systemd calls it: ``none``, ``kvm``, ``qemu``, ``vmware`` …; None where systemd is not there to say."""
    answer = host.run("systemd-detect-virt")
    return answer.out.strip() or None if answer.rc in (0, 1) else None


def init_system(host: Host) -> str | None:
    if host.is_dir("/run/systemd/system"):
        return "systemd"
    return host.line("/proc/1/comm")


def memory(host: Host) -> dict[str, Any]:
    return memory_sizes(host.read("/proc/meminfo"))


def memory_sizes(text: str) -> dict[str, Any]:
    """Total and available bytes from the text of /proc/meminfo; null what is not told."""
    told = {name: int(kib) * 1024 for name, kib in re.findall(r"^(\w+):\s+([0-9]+) kB$", text, re.MULTILINE)}
    return {"total_bytes": told.get("MemTotal"), "available_bytes": told.get("MemAvailable")}


def filesystems(host: Host) -> list[dict[str, Any]]:
    mounts = mount_table(host.read("/proc/self/mountinfo"))
    found: dict[str, dict[str, Any]] = {}
    for place in PLACES:
        real = os.path.realpath(place) if host.root == "/" else place
        mount = holding(mounts, real)
        if mount is None or mount["mount"] in found:
            continue
        figures = host.statvfs(mount["mount"])
        found[mount["mount"]] = {
            **mount,
            "total_bytes": figures.f_blocks * figures.f_frsize if figures else None,
            "free_bytes": figures.f_bavail * figures.f_frsize if figures else None,
            "free_inodes": figures.f_favail if figures else None,
        }
    return list(found.values())


def mount_table(text: str) -> list[dict[str, Any]]:
    """Each mount of /proc/self/mountinfo, in the order of mounting: mount, device, type, options."""
    mounts = []
    for line in text.splitlines():
        before, dash, after = line.partition(" - ")
        left, right = before.split(" "), after.split(" ")
        if not dash or len(left) < 6 or len(right) < 3:
            continue
        options = dict.fromkeys(left[5].split(",") + right[2].split(","))
        # what the mount point itself says of read-only wins over the file system's own options
        if "ro" in options:
            options.pop("rw", None)
        mounts.append(
            {"mount": unescape(left[4]), "device": unescape(right[1]), "type": right[0], "options": list(options)}
        )
    return mounts


def holding(mounts: Iterable[dict[str, Any]], path: str) -> dict[str, Any] | None:
    """The mount that holds ``path``: the deepest one, and of several on one point the last."""
    best = None
    for mount in mounts:
        point = mount["mount"].rstrip("/")
        if (path == point or path.startswith(f"{point}/")) and (
            best is None or len(point) >= len(best["mount"].rstrip("/"))
        ):
            best = mount
    return best


def unescape(text: str) -> str:
    """A name as /proc and fstab write it, with ``\\040`` for a space and so on, made plain."""
    return re.sub(r"\\([0-3][0-7]{2})", lambda found: chr(int(found.group(1), 8)), text)


def unit_name(name: str) -> str:
    """A unit as systemd itself names it: what has no suffix is a service."""
    return name if "." in name else f"{name}.service"


def units(host: Host, more: Sequence[str] = ()) -> dict[str, Any]:
    """The state of every unit of ``UNITS`` and of ``more``."""
    names = list(dict.fromkeys([*UNITS, *map(unit_name, more)]))
    answer = host.run("systemctl", "show", "--property=LoadState,ActiveState,SubState,UnitFileState", "--", *names)
    if not answer.ok and not answer.out.strip():
        return {"unavailable": answer.err.strip() or f"systemctl show: exit status {answer.rc}"}
    return unit_states(names, answer.out)


def unit_states(names: Sequence[str], text: str) -> dict[str, Any]:
    """What ``systemctl show`` said of each unit, in the order asked: one block each, parted by empty lines."""
    blocks = text.strip("\n").split("\n\n")
    if len(blocks) != len(names):
        return {"unavailable": f"systemctl show told {len(blocks)} units of the {len(names)} asked for"}
    states = {}
    for name, block in zip(names, blocks):
        told = dict(line.partition("=")[::2] for line in block.splitlines())
        states[name] = {
            "load": told.get("LoadState") or None,
            "active": told.get("ActiveState") or None,
            "sub": told.get("SubState") or None,
            "enabled": told.get("UnitFileState") or None,
        }
    return states
