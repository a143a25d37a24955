# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packages this project cares for, and the repositories that serve them. Files before commands: dpkg is not run."""

from __future__ import annotations

import re
import time
from typing import Any

from ..host import Host
from ..openpgp import WEAK_HASHES, OpenPgpError, read_keys
from ..packages import (
    MANAGED,
    RPM_FORMAT,
    RPM_KEY,
    Package,
    Source,
    parse_deb822,
    parse_dpkg_status,
    parse_ignored,
    parse_pacman,
    parse_pacman_repositories,
    parse_rpm,
    parse_sources_list,
    parse_versionlock,
    parse_versionlock_toml,
    parse_yum_repo,
    with_holds,
)
from ..secrecy import hide

DPKG_STATUS = "/var/lib/dpkg/status"

# Names of packages that a layer of a GPU node depends on, on any distribution.
CARED_FOR = (
    "nvidia*",
    "libnvidia*",
    "libcuda*",
    "cuda-drivers*",
    "cuda-keyring",
    "kmod-nvidia*",
    "akmod-nvidia*",
    "xorg-x11-drv-nvidia*",
    "linux-modules-nvidia*",
    "firmware-nvidia*",
    "libnvsdm",
    "nvlsm",
    "dkms",
    "linux-image*",
    "linux-headers*",
    "kernel",
    "kernel-core",
    "kernel-devel*",
    "kernel-headers",
    "linux",
    "linux-lts",
    "cri-o*",
    "cri-tools",
    "crun",
    "runc",
    "conmon*",
    "containerd*",
    "container-selinux",
    "docker*",
    "moby-engine",
    "kubelet",
    "kubeadm",
    "kubectl",
    "kubernetes-cni",
    "containernetworking-plugins",
    "k3s*",
    "zram-generator*",
    "systemd-zram-generator",
    "zram-tools",
)
_CARED_FOR = re.compile(
    "|".join(f"(?:{re.escape(pattern).replace(chr(92) + '*', '.*')})" for pattern in CARED_FOR) + r"(?::[\w-]+)?"
)

# What a repository that serves them says in its address, its name or the name of its file.
SERVES = re.compile(
    r"nvidia|cuda|cri-?o\b|pkgs\.k8s\.io|kubernetes|docker|containerd|libcontainers|k3s|rancher|rpmfusion-nonfree",
    re.IGNORECASE,
)


def manager_of(host: Host) -> str | None:
    """The package manager of a node. dpkg's and rpm's databases tell apart what has the programs of several."""
    if host.exists(DPKG_STATUS) and (host.which("apt-get") or host.root != "/"):
        return "apt"
    for program in ("dnf", "yum", "zypper", "pacman"):
        if host.which(program):
            return program
    return None


def installed_packages(host: Host, manager: str | None) -> dict[str, Package]:
    """Every package on the node, with what is held. Raises ``OSError`` where they cannot be read."""
    if manager == "apt":
        # dpkg was killed where files lie in updates/: they are newer than the status they were to be merged into.
        journal = [host.text(path) or "" for path in host.glob("/var/lib/dpkg/updates/[0-9]*")]
        return parse_dpkg_status(host.read(DPKG_STATUS), *journal)
    if manager in ("dnf", "yum", "zypper"):
        answer = host.run("rpm", "-qa", "--qf", RPM_FORMAT, timeout_seconds=60)
        if not answer.ok:
            raise OSError(f"rpm -qa: {answer.err.strip() or f'exit status {answer.rc}'}")
        found = {key: package for key, package in parse_rpm(answer.out).items() if package.name != RPM_KEY}
        return with_holds(found, held_patterns(host))
    if manager == "pacman":
        answer = host.run("pacman", "-Q", timeout_seconds=60)
        if not answer.ok:
            raise OSError(f"pacman -Q: {answer.err.strip() or f'exit status {answer.rc}'}")
        return with_holds(parse_pacman(answer.out), held_patterns(host))
    return {}


def held_patterns(host: Host) -> set[str]:
    """What rpm and pacman systems hold: by versionlock, by an exclude, by IgnorePkg."""
    patterns = parse_versionlock(host.text("/etc/dnf/plugins/versionlock.list") or "")
    patterns |= parse_versionlock_toml(host.text("/etc/dnf/versionlock.toml") or "")
    for path in ("/etc/dnf/dnf.conf", "/etc/yum.conf", *host.glob("/etc/yum.repos.d/*.repo")):
        for source in parse_yum_repo(host.text(path) or ""):
            patterns.update(source.excluded if source.enabled else ())
    for path in ("/etc/pacman.conf", *host.glob("/etc/pacman.d/gpunode/*.conf")):
        patterns |= parse_ignored(host.text(path) or "")
    return patterns


def packages(host: Host) -> dict[str, Any]:
    """What is installed of the packages this project cares for, and every package of the node that is not whole."""
    manager = manager_of(host)
    if manager is None:
        return {"unavailable": "no package manager known to this project (apt, dnf, yum, pacman)"}
    found = installed_packages(host, manager)
    return {
        "manager": manager,
        "broken": [
            {
                "name": name,
                "state": f"{package.state}, to be installed again" if package.damaged else package.state,
                "version": package.version,
            }
            for name, package in sorted(found.items())
            if package.broken
        ],
        "interrupted": bool(host.glob("/var/lib/dpkg/updates/[0-9]*")) if manager == "apt" else False,
        "installed": {
            name: {"version": package.version, "state": package.state, "held": package.held}
            for name, package in sorted(found.items())
            if package.present and cared_for(name) and name in (package.name, f"{package.name}:{package.architecture}")
        },
    }


def cared_for(name: str) -> bool:
    return bool(_CARED_FOR.fullmatch(name))


def apt_files(host: Host) -> dict[str, list[Source]]:
    """Every file that says to apt where packages come from."""
    found = {}
    for path in ("/etc/apt/sources.list", *host.glob("/etc/apt/sources.list.d/*.list")):
        found[path] = parse_sources_list(host.text(path) or "")
    for path in host.glob("/etc/apt/sources.list.d/*.sources"):
        found[path] = parse_deb822(host.text(path) or "")
    return found


def repositories(host: Host) -> list[dict[str, Any]]:
    """The repositories that serve these packages, and what is wrong with their keys."""
    files = apt_files(host)
    for path in host.glob("/etc/yum.repos.d/*.repo"):
        files[path] = parse_yum_repo(host.text(path) or "")
    found = []
    for path, sources in files.items():
        ours = (host.text(path) or "").startswith(MANAGED) if sources else False
        for source in sources:
            if not ours and not SERVES.search(" ".join((path, source.name, *source.uris))):
                continue
            found.append(_repository(host, path, source))
    pacman = host.text("/etc/pacman.conf")
    for source in parse_pacman_repositories(pacman) if pacman else []:
        if SERVES.search(" ".join((source.name, *source.uris))):
            found.append(_repository(host, "/etc/pacman.conf", source))
    return found


def _repository(host: Host, path: str, source: Source) -> dict[str, Any]:
    key_path = next(iter(key_paths(source.signed_by)), None)
    problem, fingerprints, expires = judged_key(host, key_path) if key_path else (None, [], None)
    return {
        "path": path,
        "name": source.name or None,
        "uris": [hide(uri) for uri in source.uris],
        "suites": list(source.suites),
        "signed_by": source.signed_by or None,
        "signed_by_exists": host.exists(key_path) if key_path else None,
        "key_fingerprints": fingerprints,
        "key_expires": expires,
        "problem": problem,
        "enabled": source.enabled,
    }


def key_paths(signed_by: str) -> list[str]:
    """The key files that a repository names, in the order given; those whose names dnf completes are left out."""
    named = [word[len("file://") :] if word.startswith("file://") else word for word in re.split(r"[\s,]+", signed_by)]
    return [path for path in named if path.startswith("/") and "$" not in path]


def judged_key(host: Host, path: str) -> tuple[str | None, list[str], str | None]:
    """What is wrong with a key file, whose keys are in it, and the first expiry; no file is no problem of the key."""
    try:
        with open(host.path(path), "rb") as file:
            keys = read_keys(file.read(1 << 20))
    except OSError:
        return None, [], None
    except OpenPgpError as error:
        return f"the key {path} cannot be read: {error}", [], None
    now = time.time()
    expiries = [key.expires for key in keys if key.expires is not None]
    problem = None
    if all(key.expired(now) or key.revoked for key in keys):
        last = max(expiries, default=0)
        problem = f"the key {path} expired on {day(last)}" if last else f"the key {path} is revoked"
    elif all(key.weak for key in keys) and refuses_sha1(host):
        problem = (
            f"the key {path} is certified with {' and '.join(sorted(set(keys[0].hashes) & set(WEAK_HASHES)))} only, "
            f"which this node's apt (sqv) has refused since 2026-02-01"
        )
    return problem, [key.fingerprint for key in keys], day(min(expiries)) if expiries else None


def refuses_sha1(host: Host) -> bool:
    """Whether apt checks signatures with sqv under its own policy, which has refused SHA-1 since 2026-02-01."""
    override = "/etc/crypto-policies/back-ends/apt-sequoia.config"
    return (
        host.exists("/usr/bin/sqv")
        and host.exists("/usr/share/apt/default-sequoia.config")
        and not host.exists(override)
    )


def day(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))
