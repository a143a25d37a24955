# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a run cannot succeed on a node, from the node's facts and what was chosen for it, before anything changes.

Rules of this file: pure, and slow to refuse. What is unknown is no reason, except where nothing can be known at all;
what a role will mend by itself is none either. Every reason says what was found, what was expected and how to mend it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any

from .checks.reading import (
    branch_of,
    entries,
    is_false,
    looked_at,
    mapping,
    mappings,
    minor_of,
    names,
    number,
    size,
    text,
)
from .node import look_up
from .nvidia_repository import FOLDERS, nvidia_repository

Facts = Mapping[str, Any]
Choices = Mapping[str, Any]

# Distribution -> the releases each role was written for; an empty tuple: it has no releases, or any will do.
RELEASES: dict[str, tuple[str, ...]] = {
    "debian": ("12", "13"),
    "ubuntu": ("22.04", "24.04", "26.04"),
    "rhel": ("8", "9", "10"),
    "almalinux": ("8", "9", "10"),
    "rocky": ("8", "9", "10"),
    "centos": ("8", "9", "10"),
    "ol": ("8", "9", "10"),
    "fedora": (),
    "arch": (),
}
ARCHITECTURES = ("x86_64", "aarch64")
OLDEST_PYTHON = (3, 9)
CLOCK_TOLERANCE_SECONDS = 900
CGROUP_V1_REFUSED_FROM = (1, 35)
MIB = 1024 * 1024

# What an installation still to come takes, in MiB: folder -> how much. Estimates, on the generous side.
DISK_NEEDS: dict[str, dict[str, int]] = {
    "driver": {"/usr": 2500, "/var": 700, "/boot": 150},
    "runtime": {"/usr": 400, "/var": 300},
    "toolkit": {"/usr": 60, "/var": 20},
}
RUNTIME_PACKAGES = {
    "crio": ("cri-o",),
    "containerd": ("containerd", "containerd.io"),
    "docker": ("docker.io", "docker-ce", "moby-engine", "docker"),
}
DRIVER_PACKAGE = re.compile(
    r"^(nvidia-(driver|open|headless|kernel|dkms|utils)|cuda-drivers|libnvidia-compute|kmod-nvidia)"
)


def reason(name: str, what: str, where: str, mend: str) -> dict[str, str]:
    return {"id": name, "what": what, "where": where, "mend": mend}


def truth(value: Any, default: bool = False) -> bool:
    """A choice that people write as true, yes or on. What is none of these is judged elsewhere."""
    if isinstance(value, bool):
        return value
    return {
        "true": True,
        "yes": True,
        "on": True,
        "1": True,
        "false": False,
        "no": False,
        "off": False,
        "0": False,
    }.get(str(value).strip().lower(), default)


def _chosen(choices: Choices, name: str, default: str = "") -> str:
    value = choices.get(name)
    return default if value is None else str(value).strip()


def _gpus(facts: Facts) -> list[Mapping[str, Any]]:
    return entries(facts, "gpus.devices")


def _named(devices: Iterable[Mapping[str, Any]]) -> str:
    """``0000:3b:00.0 Tesla V100 (volta)``, each."""
    told = []
    for item in devices:
        parts = [text(item, "address"), text(item, "name") or f"10de:{text(item, 'device_id')}"]
        family = text(item, "architecture")
        told.append(" ".join(part for part in parts if part) + (f" ({family})" if family else ""))
    return ", ".join(told)


# ---------------------------------------------------------------- the reasons


def python_too_old(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    version = text(facts, "os.python")
    found = minor_of(version)
    if found and found < OLDEST_PYTHON:
        yield reason(
            "python-too-old",
            f"Python is {version}; expected 3.9 or newer.",
            "the interpreter Ansible found on the node",
            "Install a newer Python and name it in `ansible_python_interpreter`, such as /usr/bin/python3.9.",
        )


def system_unsupported(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    if not looked_at(facts, "os"):
        why = text(facts, "os.unavailable") or "no facts"
        yield reason(
            "node-unknown", f"The node's system could not be looked at: {why}.", "node_info", "Mend that first."
        )
        return
    name, version = text(facts, "os.id"), text(facts, "os.version")
    full = text(facts, "os.name") or f"{name} {version}".strip() or "unknown"
    allowed = _chosen(choices, "unsupported_systems") == "allowed"
    kin = next((item for item in [name, *names(facts, "os.id_like")] if item in RELEASES), None)
    if kin is None:
        if not allowed:
            yield reason(
                "system-unsupported",
                f"The system is {full}; expected one of {', '.join(sorted(RELEASES))}, or their kin.",
                "/etc/os-release",
                "Use a supported system; to try this one at your own risk, set preflight_unsupported_systems to"
                " allowed.",
            )
    elif kin == name and RELEASES[kin] and not allowed:
        release = version if name == "ubuntu" else version.split(".")[0]
        if release not in RELEASES[kin]:
            yield reason(
                "release-unsupported",
                f"The system is {full}; expected release {', '.join(RELEASES[kin])} of {kin}.",
                "/etc/os-release",
                "Upgrade the system; to try this release at your own risk, set preflight_unsupported_systems to"
                " allowed.",
            )
    machine = text(facts, "os.architecture")
    if machine and machine not in ARCHITECTURES:
        yield reason(
            "architecture-unsupported",
            f"The processor is {machine}; expected {' or '.join(ARCHITECTURES)}.",
            "uname -m",
            "NVIDIA's driver and toolkit exist for no other: leave this node out of gpu_nodes.",
        )


def container_not_node(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    if look_up(facts, "os.container") is True and _chosen(choices, "driver", "managed") == "managed":
        yield reason(
            "container-not-node",
            f"This is a container ({text(facts, 'os.virtualization') or 'of some kind'}), without a kernel of its own:"
            " no driver can be installed in it.",
            "systemd-detect-virt",
            "Run this on the host, or set gpunode_driver to preinstalled where the host brings the driver.",
        )


def gpu_missing(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    if truth(choices.get("gpu"), True) and looked_at(facts, "gpus") and not _gpus(facts):
        yield reason(
            "gpu-missing",
            "No NVIDIA GPU is on the PCI bus (vendor 10de, class 0300 or 0302); at least one is expected.",
            "/sys/bus/pci/devices",
            "Check seating, power, BIOS (Above 4G Decoding) or the VM's passthrough. For a node without GPUs, set"
            " gpunode_gpu to false.",
        )


def driver_unfit(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    """Branch and flavour against the GPUs, where the driver is ours to install; where not, that there is one."""
    devices = _gpus(facts)
    if not devices or not truth(choices.get("gpu"), True):
        return
    how = _chosen(choices, "driver", "managed")
    if how == "preinstalled":
        if (
            looked_at(facts, "driver")
            and not mapping(facts, "driver.loaded")
            and not mapping(facts, "driver.installed_module")
        ):
            yield reason(
                "driver-not-preinstalled",
                "gpunode_driver is preinstalled, but no NVIDIA driver is installed or loaded.",
                "/sys/module/nvidia, /lib/modules",
                "Install the driver, or set gpunode_driver to managed to have it installed.",
            )
        return
    if how != "managed":
        return
    conflict = look_up(facts, "gpus.flavour.conflict") is True
    needs = text(facts, "gpus.flavour.value")
    why = text(facts, "gpus.flavour.why")
    if conflict:
        yield reason(
            "gpus-conflict",
            f"No one driver serves all GPUs of this node: {why or _named(devices)}",
            "/sys/bus/pci/devices",
            "Take out one kind, or give it to virtual machines (vfio-pci), so that one driver fits the rest.",
        )
    wanted = _chosen(choices, "driver_flavour", "auto")
    required = look_up(facts, "gpus.flavour.required") is True
    if not conflict and required and needs and wanted in ("open", "proprietary") and wanted != needs:
        yield reason(
            "flavour-unfit",
            f"The {wanted} kernel modules are chosen, but {_named(devices)} needs the {needs} ones."
            + (f" {why}" if why else ""),
            "driver flavour (nvidia_driver_flavour)",
            f"Set it to auto, or to {needs}.",
        )
    branch = branch_of(_chosen(choices, "driver_version")) or branch_of(_chosen(choices, "driver_branch"))
    oldest, newest = number(facts, "gpus.oldest_branch"), number(facts, "gpus.newest_branch")
    if conflict or branch is None:
        return
    if oldest is not None and branch < oldest:
        yield reason(
            "branch-too-old",
            f"Driver branch {branch} does not know {_named(devices)}: the first that does is {oldest:g}.",
            "driver branch (gpunode_driver_branch)",
            f"Set it to {oldest:g} or newer; 580 is the long-term branch."
            if oldest <= 580
            else f"Set it to {oldest:g}.",
        )
    if newest is not None and branch > newest:
        yield reason(
            "branch-too-new",
            f"Driver branch {branch} no longer drives {_named(devices)}: the last that does is {newest:g}.",
            "driver branch (gpunode_driver_branch)",
            f"Set it to {newest:g}.",
        )
    if wanted == "proprietary" and branch >= 620:
        yield reason(
            "flavour-gone",
            f"Driver branch {branch} has no proprietary kernel modules: they ended with 615.",
            "driver flavour (nvidia_driver_flavour)",
            "Set it to open, or choose a branch up to 615.",
        )


def secure_boot(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    if text(facts, "os.secure_boot") != "enabled" or not _installs_driver(facts, choices):
        return
    signs = text(facts, "os.id") == "ubuntu" and _chosen(choices, "driver_source") == "distribution"
    if (
        signs
        or _chosen(choices, "secure_boot", "refuse") == "prepared"
        or look_up(facts, "driver.installed_module.signed") is True
    ):
        return
    state = (
        "is not signed"
        if mapping(facts, "driver.installed_module")
        else "would be built here, signed by no key it trusts"
    )
    yield reason(
        "secure-boot-unsigned",
        f"Secure Boot is enabled, and the NVIDIA kernel module {state}: the kernel will refuse to load it.",
        "/sys/firmware/efi/efivars/SecureBoot-*",
        "On Ubuntu, take the modules that Canonical signs: nvidia_driver_source: distribution. Or enrol DKMS's key"
        " (dkms generate_mok; mokutil --import /var/lib/dkms/mok.pub; reboot and confirm on the console) and set"
        " nvidia_driver_secure_boot to enrolled. Or turn Secure Boot off in the firmware.",
    )


def nouveau_in_the_way(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    """The nvidia_driver role turns nouveau off; only a reboot gets rid of it."""
    if look_up(facts, "driver.nouveau.loaded") is not True or not _gpus(facts):
        return
    how = _chosen(choices, "driver", "managed")
    if how == "preinstalled" or (how == "managed" and _chosen(choices, "reboot", "allowed") == "refused"):
        blocked = "reboots are refused (gpunode_reboot)" if how == "managed" else "the driver is not ours to change"
        yield reason(
            "nouveau-loaded",
            f"The nouveau module holds the GPUs, so the NVIDIA driver cannot, and {blocked}.",
            "/sys/module/nouveau",
            "Write `blacklist nouveau` and `options nouveau modeset=0` to /etc/modprobe.d/nouveau.conf, renew the"
            " initramfs (update-initramfs -u, or dracut -f), and reboot. Or set gpunode_reboot to allowed.",
        )


def _installs_driver(facts: Facts, choices: Choices) -> bool:
    """Whether this run has to bring a kernel module that is not loaded yet."""
    if not _gpus(facts) or not truth(choices.get("gpu"), True) or _chosen(choices, "driver", "managed") != "managed":
        return False
    loaded = branch_of(text(facts, "driver.loaded.version"))
    wanted = branch_of(_chosen(choices, "driver_version")) or branch_of(_chosen(choices, "driver_branch"))
    return loaded is None or (wanted is not None and loaded != wanted)


def _builds_module(facts: Facts, choices: Choices) -> bool:
    """Whether the module is built on the node, by DKMS: Ubuntu signs its own, RPM Fusion's akmods see to themselves."""
    own = _chosen(choices, "driver_source", "nvidia") == "distribution"
    return not own or (text(facts, "os.family") == "debian" and text(facts, "os.id") != "ubuntu")


def headers_needed(facts: Facts, choices: Choices) -> str | None:
    """The package with the running kernel's headers, where they are missing and a driver is to be built."""
    if not _installs_driver(facts, choices) or not _builds_module(facts, choices):
        return None
    release, family = text(facts, "os.kernel"), text(facts, "os.family")
    if not is_false(facts, "kernel.headers.present") or not re.fullmatch(r"[\w.+~-]+", release):
        return None
    return {
        "debian": f"linux-headers-{release}",
        "redhat": f"kernel-devel-{release}",
        "fedora": f"kernel-devel-{release}",
    }.get(family)


def dkms_needed(facts: Facts, choices: Choices) -> str | None:
    """Red Hat and its kin have no DKMS of their own: it comes from EPEL."""
    if text(facts, "os.family") != "redhat" or not _installs_driver(facts, choices):
        return None
    there = "dkms" in mappings(facts, "packages.installed") or not looked_at(facts, "packages")
    return "dkms" if _builds_module(facts, choices) and not there else None


def driver_needed(facts: Facts, choices: Choices) -> str | None:
    """The driver's own package, where the distribution has one branch only, or has it in a part that may be off."""
    if not _installs_driver(facts, choices):
        return None
    if text(facts, "os.family") == "arch":
        return "nvidia-open-dkms"
    if _chosen(choices, "driver_source") != "distribution" or text(facts, "os.id") != "debian":
        return None
    flavour = _chosen(choices, "driver_flavour", "auto")
    if flavour == "auto":
        flavour = text(facts, "gpus.flavour.value") or "open"
    return "nvidia-kernel-dkms" if flavour == "proprietary" else "nvidia-open-kernel-dkms"


def packages_question(facts: Facts, choices: Choices) -> list[str]:
    """The command that asks the package manager for them; empty where there is nothing to ask. It only reads."""
    asked = [needed(facts, choices) for needed in (headers_needed, dkms_needed, driver_needed)]
    packages, manager = [name for name in asked if name], text(facts, "os.package_manager")
    if packages and manager == "apt":
        return ["apt-cache", "policy", *packages, "base-files"]
    if packages and manager in ("dnf", "yum"):
        return [manager, "--quiet", "--cacheonly", "list", *packages]
    if packages and manager == "pacman":
        return ["pacman", "-Si", *packages]
    return []


def offered(package: str, answer: Any) -> str | None:
    """The version of a package that a repository offers; empty where none does, None where that is not known."""
    if not isinstance(answer, Mapping):
        return None
    rc, out = answer.get("rc"), str(answer.get("stdout") or "")
    if "Candidate:" in out:
        blocks = {block.split(":")[0].strip(): block for block in re.split(r"\n(?=\S)", out.strip()) if block}
        candidate = re.search(r"Candidate:\s*(\S+)", blocks.get(package, ""))
        if candidate and candidate.group(1) != "(none)":
            return candidate.group(1)
        lists_there = re.search(r"^\s+\d+ (?!/var/lib/dpkg)\S+", blocks.get("base-files", ""), re.MULTILINE)
        return "" if lists_there else None
    if re.search(r"^Repository\s*:", out, re.MULTILINE):
        stanzas = re.findall(r"^Name\s*:\s*(\S+)\nVersion\s*:\s*(\S+)", out, re.MULTILINE)
        return dict(stanzas).get(package)
    if rc == 0:
        for name, version in re.findall(r"^(\S+)\.\w+\s+(\S+)\s+\S+\s*$", out, re.MULTILINE):
            if package == name or package.startswith(f"{name}-{version.split(':')[-1]}"):
                return version
        return "" if re.search(r"^(?:Available|Installed) [Pp]ackages", out, re.MULTILINE) else None
    return "" if rc == 1 and "No matching" in f"{out}{answer.get('stderr') or ''}" else None


def headers_unavailable(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    package = headers_needed(facts, choices)
    if not package or offered(package, choices.get("packages_answer")) != "":
        return
    kernel = text(facts, "os.kernel")
    newer = [item for item in names(facts, "kernel.releases") if item != kernel]
    there = f" Installed besides: {', '.join(newer)}." if newer else ""
    yield reason(
        "headers-unavailable",
        f"The driver must be built for the running kernel {kernel}, but its headers ({package}) are neither installed"
        f" nor offered by any repository.{there}",
        text(facts, "kernel.headers.path") or f"/lib/modules/{kernel}/build",
        "Refresh the package lists (apt-get update, dnf makecache). If they are gone from the archive, install the"
        " current kernel with its headers and reboot into it, then run again.",
    )


def dkms_unavailable(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    package = dkms_needed(facts, choices)
    if not package or offered(package, choices.get("packages_answer")) != "":
        return
    major = text(facts, "os.version").split(".")[0]
    epel = {
        "rhel": f"dnf install https://dl.fedoraproject.org/pub/epel/epel-release-latest-{major}.noarch.rpm",
        "ol": f"dnf install oracle-epel-release-el{major}",
    }.get(text(facts, "os.id"), "dnf install epel-release")
    builder = {
        "rhel": f"subscription-manager repos --enable codeready-builder-for-rhel-{major}-$(arch)-rpms",
        "ol": f"dnf config-manager --set-enabled ol{major}_codeready_builder",
    }.get(text(facts, "os.id"), f"dnf config-manager --set-enabled {'powertools' if major == '8' else 'crb'}")
    yield reason(
        "dkms-unavailable",
        "NVIDIA's packages build the kernel modules with dkms, which is neither installed nor offered by any repository"
        " of this node: on Red Hat and its kin it comes from EPEL.",
        "/etc/yum.repos.d",
        f"Enable EPEL and what it builds on: {epel}; {builder}; dnf makecache. Or name mirrors of both there.",
    )


def driver_not_offered(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    """Where the distribution decides what there is: whether it is there, and of the branch that was asked for."""
    package = driver_needed(facts, choices)
    version = offered(package, choices.get("packages_answer")) if package else None
    if version == "":
        yield reason(
            "driver-unavailable",
            f"The distribution's own driver is chosen, but apt knows no {package}: it lies in contrib, non-free and"
            " non-free-firmware.",
            "/etc/apt/sources.list, /etc/apt/sources.list.d",
            "Add these components beside main and run apt-get update; or set nvidia_driver_source to nvidia.",
        )
    wanted = branch_of(_chosen(choices, "driver_version")) or branch_of(_chosen(choices, "driver_branch"))
    found = branch_of(version.split(":")[-1]) if version else None
    if found is not None and wanted is not None and found != wanted:
        yield reason(
            "branch-unavailable",
            f"Driver branch {wanted:g} is chosen, but the distribution has only {package} {version}.",
            "driver branch (gpunode_driver_branch)",
            f'Set it to "{found:g}", or to "" for whichever there is.'
            + ("" if text(facts, "os.family") == "arch" else " Or set nvidia_driver_source to nvidia."),
        )


def repository_unknown(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    """Which of NVIDIA's repositories is for this system, and which key signs it, unless the site says so itself."""
    managed = _chosen(choices, "driver", "managed") == "managed" and truth(choices.get("gpu"), True)
    from_nvidia = _chosen(choices, "driver_source", "nvidia") == "nvidia" and text(facts, "os.family") != "arch"
    if not managed or not from_nvidia or not _gpus(facts) or not looked_at(facts, "os"):
        return
    known = nvidia_repository(look_up(facts, "os"))
    url, key_url = _chosen(choices, "driver_repository_url"), _chosen(choices, "driver_repository_key_url")
    system = text(facts, "os.name") or text(facts, "os.id") or "this system"
    if not known["folder"] and not (url and key_url):
        if any(system_unsupported(facts, choices)):
            return  # said already
        yield reason(
            "driver-repository-unknown",
            f"Which of NVIDIA's repositories is for {system}, and which key signs it, is not known here; known are"
            f" {', '.join(FOLDERS)}.",
            "nvidia_driver_repository_url, nvidia_driver_repository_key_url",
            "Set both, with nvidia_driver_repository_key_fingerprints; or set nvidia_driver_source to distribution.",
        )
    elif not known["fingerprints"] and not key_url and not choices.get("driver_repository_key_fingerprints"):
        yield reason(
            "driver-key-unpublished",
            f"NVIDIA signs {known['folder']} with the key {known['key']}, whose fingerprint it has not published: a"
            " wrong key could not be told from it.",
            "nvidia_driver_repository_key_fingerprints",
            f"Look at the key yourself ({known['folder']}/{known['key']}.pub; gpg --show-keys) and name its"
            " fingerprint there; or, to trust whoever answers at an address, name that address in"
            " nvidia_driver_repository_key_url.",
        )


def other_runtime(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    """Docker's packages and the distribution's exclude each other: neither is taken away unasked."""
    runtime, family = _chosen(choices, "runtime"), text(facts, "os.family")
    if runtime not in ("containerd", "docker") or _chosen(choices, "kubernetes", "none") == "k3s":
        return
    if family not in ("debian", "redhat", "fedora"):
        return
    upstream = family == "redhat" or _chosen(choices, "runtime_source", "upstream") == "upstream"
    theirs = ("containerd", "docker.io", "moby-engine") if upstream else ("containerd.io", "docker-ce")
    if upstream and family == "debian":
        theirs = (*theirs, "runc")
    installed = mappings(facts, "packages.installed")
    found = [name for name in theirs if name in installed]
    if not found:
        return
    remove = "apt-get remove" if family == "debian" else "dnf remove"
    keep = "" if family == "redhat" else f"Set {runtime}_source to {'distribution' if upstream else 'upstream'} to keep"
    keep = f"{keep} what is there. Or drain" if keep else "Drain"
    ours = "Docker's containerd.io" if upstream else "The distribution's containerd"
    told = [" ".join((name, text(installed[name], "version"))).strip() for name in found]
    yield reason(
        "other-runtime-installed",
        f"Installed: {', '.join(told)}. {ours},"
        f" which {runtime} is to come with, cannot be installed beside {'it' if len(found) == 1 else 'them'}.",
        "the packages of the node",
        f"{keep} the node and take it away yourself: {remove} {' '.join(found)}. Images and containers stay in"
        " /var/lib/containerd and /var/lib/docker.",
    )


def disk_too_small(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    systems = {
        text(item, "mount"): item for item in entries(facts, "filesystems") if number(item, "free_bytes") is not None
    }
    if not systems:
        return
    spare = number(choices, "disk_spare_mib")
    spare = 512 if spare is None else int(spare)
    needs: dict[str, int] = {}
    for folder in ("/usr", "/var"):
        needs.setdefault(_mount_of(folder, systems), spare)
    for what in _to_install(facts, choices):
        for folder, mib in DISK_NEEDS[what].items():
            mount = _mount_of(folder, systems)
            needs[mount] = needs.get(mount, 0) + mib
    for mount, mib in needs.items():
        free = number(systems.get(mount, {}), "free_bytes")
        if free is not None and free < mib * MIB:
            total = number(systems[mount], "total_bytes") or 0
            yield reason(
                "disk-too-small",
                f"{size(free)} are free on {mount} ({text(systems[mount], 'device')}, {size(total)} in all);"
                f" expected {size(mib * MIB)}, for {', '.join(_to_install(facts, choices)) or 'what runs here'}.",
                mount,
                "Free space or enlarge the filesystem: apt-get clean, journalctl --vacuum-size=200M, old kernels;"
                " du -xh / | sort -h | tail shows what is large.",
            )


def _mount_of(folder: str, mounts: Iterable[str]) -> str:
    """The mount that holds ``folder``: the longest that is a prefix of it."""
    holding = [mount for mount in mounts if mount == "/" or folder == mount or folder.startswith(f"{mount}/")]
    return max(holding, key=len, default="/")


def _to_install(facts: Facts, choices: Choices) -> list[str]:
    """What this run still has to bring: driver, runtime, toolkit."""
    if not looked_at(facts, "packages"):
        return []
    installed = mappings(facts, "packages.installed")
    found = []
    if _installs_driver(facts, choices) and not any(DRIVER_PACKAGE.match(name) for name in installed):
        found.append("driver")
    runtime = _chosen(choices, "runtime")
    if runtime in RUNTIME_PACKAGES and not any(name in installed for name in RUNTIME_PACKAGES[runtime]):
        found.append("runtime")
    if truth(choices.get("gpu"), True) and not any(name.startswith("nvidia-container-toolkit") for name in installed):
        found.append("toolkit")
    return found


def cgroup_v1(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    version = minor_of(_chosen(choices, "kubernetes_version"))
    hierarchy = re.search(r"\d", text(facts, "cgroups.hierarchy"))
    if (
        _chosen(choices, "kubernetes", "none") in ("", "none")
        or not version
        or not hierarchy
        or hierarchy.group() != "1"
    ):
        return
    if version >= CGROUP_V1_REFUSED_FROM and not is_false(facts, "kubelet.fail_cgroup_v1"):
        yield reason(
            "cgroup-v1",
            f"The node runs cgroup v1, and kubelet {version[0]}.{version[1]} refuses it (from 1.35 on); expected v2.",
            "/sys/fs/cgroup",
            "Boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line (GRUB_CMDLINE_LINUX in"
            " /etc/default/grub, update-grub, reboot), or choose Kubernetes 1.34.",
        )


def minors_apart(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    if _chosen(choices, "runtime") != "crio" or _chosen(choices, "kubernetes", "none") == "k3s":
        return
    kubernetes, crio = minor_of(_chosen(choices, "kubernetes_version")), minor_of(_chosen(choices, "crio_version"))
    if kubernetes and crio and kubernetes != crio:
        wanted = f"{kubernetes[0]}.{kubernetes[1]}"
        yield reason(
            "crio-kubernetes-apart",
            f"CRI-O is {crio[0]}.{crio[1]} and Kubernetes {wanted}: they are built and tested as pairs of one minor"
            f" (Kubernetes {wanted} goes with CRI-O {wanted}).",
            "crio_version, gpunode_kubernetes_version",
            f"Set CRI-O to {wanted}, or Kubernetes to {crio[0]}.{crio[1]}.",
        )


def clock_off(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    node, controller = _moment(text(facts, "boot.time_utc")), _moment(_chosen(choices, "now"))
    if node is None or controller is None:
        return
    apart = abs((node - controller).total_seconds())
    if apart > CLOCK_TOLERANCE_SECONDS:
        ahead = "ahead of" if node > controller else "behind"
        span = f"{apart / 86400:.1f} days" if apart > 2 * 86400 else f"{apart / 3600:.1f} hours"
        yield reason(
            "clock-off",
            f"The node's clock says {node:%Y-%m-%d %H:%M} UTC, {span} {ahead} the controller's"
            f" {controller:%Y-%m-%d %H:%M}: certificates and signatures will look expired or not yet valid.",
            "date -u",
            "Set the right one of the two: timedatectl set-ntp true, then chronyc makestep; look at timedatectl.",
        )


def _moment(stamp: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(stamp.strip().replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=timezone.utc)


def hostname_unfit(facts: Facts, choices: Choices) -> Iterator[dict[str, str]]:
    name = text(facts, "os.hostname")
    if not name or _chosen(choices, "kubernetes", "none") in ("", "none"):
        return
    fit = re.fullmatch(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", name.lower()) and len(name) <= 63
    if not fit or name.startswith("localhost"):
        yield reason(
            "hostname-unfit",
            f"The host name is {name!r}; a node needs one of its own, of letters, digits, '-' and '.' only, up to 63"
            " characters.",
            "/etc/hostname",
            "Rename it before it joins a cluster: hostnamectl set-hostname <name>.",
        )


REASONS = (
    python_too_old,
    system_unsupported,
    container_not_node,
    clock_off,
    disk_too_small,
    gpu_missing,
    driver_unfit,
    repository_unknown,
    driver_not_offered,
    secure_boot,
    headers_unavailable,
    dkms_unavailable,
    nouveau_in_the_way,
    other_runtime,
    cgroup_v1,
    minors_apart,
    hostname_unfit,
)


def problems(facts: Facts, choices: Choices) -> list[dict[str, str]]:
    """Every reason why the run cannot succeed on this node; empty where there is none."""
    return [item for judge in REASONS for item in judge(facts, choices)]


# ---------------------------------------------------------------- several nodes


def twins(machines: Mapping[str, Any]) -> dict[str, list[dict[str, str]]]:
    """Inventory name -> what it has in common with another: the same machine, or the same node name.

    ``machines``: inventory name -> ``machine_id``, ``boot_id``, ``hostname``. Clones may share a machine id, never a
    boot id, so the boot decides.
    """
    boots: dict[tuple[str, str], list[str]] = {}
    hostnames: dict[str, list[str]] = {}
    for name in sorted(machines):
        machine = machines[name]
        boot, identity, hostname = (text(machine, key) for key in ("boot_id", "machine_id", "hostname"))
        if boot:
            boots.setdefault((identity, boot), []).append(name)
        if hostname and not hostname.startswith("localhost"):
            hostnames.setdefault(hostname.lower(), []).append(name)
    found: dict[str, list[dict[str, str]]] = {}
    same = {name: mates for mates in boots.values() if len(mates) > 1 for name in mates}
    for name, mates in same.items():
        also = ", ".join(mate for mate in mates if mate != name)
        found.setdefault(name, []).append(
            reason(
                "one-machine-twice",
                f"{name} and {also} are one machine: the same boot id {text(machines[name], 'boot_id')}.",
                "the inventory",
                "Keep one of the names. Two runs on one machine would undo each other's work.",
            )
        )
    for value, mates in hostnames.items():
        for name in mates:
            others = [mate for mate in mates if mate != name and mate not in same.get(name, ())]
            if others:
                found.setdefault(name, []).append(
                    reason(
                        "node-name-twice",
                        f"{name} and {', '.join(others)} are two machines with one host name, {value}: in a cluster"
                        " they would take turns being one node.",
                        "/etc/hostname",
                        "Rename one: hostnamectl set-hostname <name>.",
                    )
                )
    return found


# ---------------------------------------------------------------- in words


def report(found: Iterable[Mapping[str, Any]], node: str) -> str:
    """All reasons, as the refusal prints them."""
    items = list(found)
    count = "One reason" if len(items) == 1 else f"{len(items)} reasons"
    lines = [f"{count} why this run cannot succeed on {node}. Nothing was changed."]
    for index, item in enumerate(items, 1):
        lines += [f"{index}. {item.get('what')}", f"   where: {item.get('where')}", f"   mend: {item.get('mend')}"]
    return "\n".join(lines)
