# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packages: whole, held, from repositories that can be verified."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..findings import Evidence, Remedy
from .catalogue import Expect, Facts, Match, check
from .reading import (
    driver_wanted,
    entries,
    gpus,
    is_false,
    listed,
    look_up,
    looked_at,
    mappings,
    names,
    text,
)

# What a package manager is asked to do to make half-installed packages whole, and to find what is wrong.
REPAIR = {
    "apt": ("dpkg --configure -a", "apt-get install --fix-broken"),
    "dnf": ("dnf check", "dnf distro-sync"),
    "yum": ("yum check", "yum-complete-transaction"),
    "zypper": ("zypper verify",),
    "pacman": ("pacman -Dk",),
}
# Packages whose silent upgrade takes a GPU node down.
HELD = (
    "kubelet",
    "kubeadm",
    "kubectl",
    "cri-o",
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)
TOOLKIT = HELD[4:]


@check(
    "apt-broken-package-state",
    layer="packaging",
    severity="fatal",
    meaning="Packages are half-installed or miss what they depend on, so every further installation fails.",
    remedy=Remedy(
        "Let the package manager finish what was interrupted, then run again. Nothing is changed here without you, "
        "because such a state can hide a full disk or a failing script.",
        REPAIR["apt"],
    ),
)
def broken_packages(facts: Facts, expect: Expect) -> Iterator[Match]:
    broken = look_up(facts, "packages.broken")
    said = [_broken_line(item) for item in broken] if isinstance(broken, list) else []
    if not said:
        return
    manager = text(facts, "packages.manager") or "apt"
    yield Match(
        subject=listed([line.split(" ")[0].rstrip(":") for line in said[:5]]),
        cause=f"{len(said)} package(s) are not whole ({listed(said[:5])}{', …' if len(said) > 5 else ''}); "
        "expected every package installed and configured.",
        evidence=tuple(Evidence(_status_source(manager), line) for line in said[:10]),
        remedy=Remedy(broken_packages.remedy.text, REPAIR.get(manager, REPAIR["apt"])),
    )


def _broken_line(item: Any) -> str:
    if isinstance(item, dict):
        name = item.get("name") or item.get("package") or "?"
        return f"{name} ({item.get('state') or item.get('status') or item.get('reason') or 'broken'})"
    return str(item)


def _status_source(manager: str) -> str:
    return {"apt": "/var/lib/dpkg/status", "pacman": "/var/lib/pacman/local"}.get(manager, "rpm -qa")


@check(
    "apt-key-or-repo-failure",
    layer="packaging",
    severity="degraded",
    meaning="A package repository cannot be verified or read: its key is missing, or two files contradict each other.",
    remedy=Remedy(
        "Keep one file per repository, with `Signed-By` naming a key that is there, and remove the other.",
        ("apt-get update",),
    ),
)
def repositories(facts: Facts, expect: Expect) -> Iterator[Match]:
    enabled = [item for item in entries(facts, "repositories") if item.get("enabled") is not False]
    for item in enabled:
        problem = text(item, "problem")
        missing = item.get("signed_by_exists") is False or item.get("key_exists") is False
        if not problem and not missing:
            continue
        key = text(item, "signed_by")
        yield Match(
            subject=text(item, "path"),
            cause=f"{text(item, 'path')}: {problem.rstrip('.')}; expected a key that verifies it."
            if problem
            else f"{text(item, 'path')} wants the key {key}, which does not exist; apt then refuses the repository.",
            evidence=(_repository_evidence(item),),
        )
    for first, second, uri in _contradictions(enabled):
        yield Match(
            subject=uri,
            cause=f"{text(first, 'path')} and {text(second, 'path')} name the same repository {uri} with different "
            f"keys ({_key(first)} and {_key(second)}); apt then stops "
            "with `Conflicting values set for option Signed-By`.",
            evidence=(_repository_evidence(first), _repository_evidence(second)),
            remedy=Remedy(
                "Remove the file that is not managed: usually an older `.list` beside our `.sources`.",
                (f"rm {text(first, 'path')}", "apt-get update"),
            ),
        )


def _key(item: Any) -> str:
    """The key as a path; one that stands in the file itself is not repeated."""
    key = text(item, "signed_by")
    return "an inline key" if "PGP" in key or "\n" in key else key or "none"


def _repository_evidence(item: Any) -> Evidence:
    line = item.get("line")
    return Evidence(
        text(item, "path"),
        f"URIs {' '.join(names(item, 'uris'))} Signed-By {_key(item)}",
        line if isinstance(line, int) else None,
    )


def _contradictions(enabled: list[Any]) -> Iterator[tuple[Any, Any, str]]:
    seen: dict[tuple[str, str], Any] = {}
    for item in sorted(enabled, key=lambda one: text(one, "path")):
        if not text(item, "path").startswith("/etc/apt/"):
            continue
        for uri in names(item, "uris"):
            for suite in names(item, "suites") or [""]:
                other = seen.setdefault((uri.rstrip("/"), suite), item)
                if text(other, "signed_by") != text(item, "signed_by"):
                    yield other, item, uri


@check(
    "kernel-headers-missing",
    layer="packaging",
    severity="fatal",
    meaning="There are no headers for the running kernel, so DKMS cannot build the NVIDIA module.",
    remedy=Remedy(
        "Install the headers of exactly the running kernel. If the repository no longer has them, upgrade the kernel, "
        "reboot, and run again.",
        ('apt-get install "linux-headers-$(uname -r)"', 'dnf install "kernel-devel-$(uname -r)"'),
        role="nvidia_driver",
        tag="nvidia_driver_packages",
    ),
)
def headers(facts: Facts, expect: Expect) -> Iterator[Match]:
    if not driver_wanted(expect) or expect.get("driver") != "managed" or not gpus(facts):
        return
    if not is_false(facts, "kernel.headers.present"):
        return
    by_dkms = bool(entries(facts, "driver.dkms")) or any(
        "dkms" in name for name in mappings(facts, "packages.installed")
    )
    has_module = bool(look_up(facts, "driver.installed_module")) or bool(look_up(facts, "driver.loaded"))
    if not looked_at(facts, "driver") or (has_module and not by_dkms):
        return  # a prebuilt module needs no headers
    path = text(facts, "kernel.headers.path") or "/lib/modules/<release>/build"
    yield Match(
        subject=f"kernel {text(facts, 'os.kernel') or 'in use'}",
        cause=f"{path} does not exist, so there are no headers for the running kernel "
        f"{text(facts, 'os.kernel')}; "
        + (
            "the module that is installed keeps working, but the next driver cannot be built."
            if has_module
            else "the NVIDIA module cannot be built."
        ),
        evidence=(Evidence(path, "no such folder"),),
        severity="degraded" if has_module else "fatal",
    )


@check(
    "toolkit-package-versions-differ",
    layer="packaging",
    severity="degraded",
    meaning="The packages of the NVIDIA container toolkit are not of one version, which upstream does not support.",
    remedy=Remedy(
        "Install all four at one version, and hold them together.",
        (f"apt-get install {' '.join(f'{name}=<version>' for name in TOOLKIT)}",),
        role="nvidia_container_toolkit",
        tag="nvidia_container_toolkit_packages",
    ),
)
def toolkit_versions(facts: Facts, expect: Expect) -> Iterator[Match]:
    installed = mappings(facts, "packages.installed")
    versions = {name: text(installed[name], "version") for name in TOOLKIT if name in installed}
    if len(set(versions.values()) - {""}) < 2:
        return
    told = [f"{name} {version}" for name, version in versions.items()]
    yield Match(
        subject="nvidia-container-toolkit",
        cause=f"The toolkit's packages are of different versions ({listed(told)}); expected one version for all.",
        evidence=tuple(Evidence(text(facts, "packages.manager") or "packages", line) for line in told),
    )


@check(
    "package-not-held",
    layer="packaging",
    severity="notice",
    meaning="A package whose silent upgrade takes the node down is not held at its version.",
    remedy=Remedy("Hold them, or accept that an unattended upgrade may change them.", ("apt-mark hold <package>",)),
)
def holds(facts: Facts, expect: Expect) -> Iterator[Match]:
    loose = [
        f"{name} {text(item, 'version')}".strip()
        for name, item in sorted(mappings(facts, "packages.installed").items())
        if item.get("held") is False and item.get("state") in (None, "installed") and _wants_hold(name, expect)
    ]
    if not loose:
        return
    only = [item.split(" ")[0] for item in loose]
    hold = {
        "apt": f"apt-mark hold {' '.join(only)}",
        "dnf": f"dnf versionlock add {' '.join(only)}",
        "yum": f"yum versionlock add {' '.join(only)}",
        "zypper": f"zypper addlock {' '.join(only)}",
        "pacman": f"IgnorePkg = {' '.join(only)}  # in /etc/pacman.conf",
    }.get(text(facts, "packages.manager"), f"apt-mark hold {' '.join(only)}")
    yield Match(
        subject=listed(only),
        cause=f"{listed(loose)} {'is' if len(loose) == 1 else 'are'} not held: an unattended upgrade may change "
        "them, and then kubelet, runtime or driver no longer fit together.",
        evidence=tuple(Evidence("packages", item) for item in loose),
        remedy=Remedy(holds.remedy.text, (hold,)),
    )


def _wants_hold(name: str, expect: Expect) -> bool:
    if name in HELD:
        return True
    driver = name.startswith(("nvidia-driver", "nvidia-dkms", "nvidia-kernel", "nvidia-open", "nvidia-headless"))
    return driver and expect.get("driver") == "managed"
