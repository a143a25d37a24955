# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ``kubelet``, ``kubeadm`` and ``kubeconfigs`` parts of a node's facts.

kubelet's flags come from its unit, the unit's drop-ins and the environment files they name, expanded as systemd does:
where a flag and the configuration file disagree, the flag wins silently, so both are told.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from typing import Any

from ..host import Host
from ..machine_yaml import YamlError
from ..machine_yaml import loads as load_yaml
from ..unit_files import command_line

DEFAULT_CONFIG = "/var/lib/kubelet/config.yaml"
INSTANCE_CONFIG = "/var/lib/kubelet/instance-config.yaml"
DEVICE_PLUGIN_SOCKET = "/var/lib/kubelet/device-plugins/kubelet.sock"
MANIFESTS = "/etc/kubernetes/manifests"

# Flag -> the first minor that no longer knows it; kubelet then exits with "unknown flag".
REMOVED_FLAGS: dict[str, int] = {
    "network-plugin": 24,
    "cni-bin-dir": 24,
    "cni-conf-dir": 24,
    "cni-cache-dir": 24,
    "network-plugin-mtu": 24,
    "docker-endpoint": 24,
    "image-pull-progress-deadline": 24,
    "container-runtime": 27,
    "keep-terminated-pod-volumes": 31,
    "iptables-masquerade-bit": 31,
    "iptables-drop-bit": 31,
    "cloud-config": 34,
    "pod-infra-container-image": 35,
    "containerd": 37,
    "containerd-namespace": 37,
    "boot-id-file": 37,
    "machine-id-file": 37,
    "global-housekeeping-interval": 37,
    "event-storage-age-limit": 37,
    "event-storage-event-limit": 37,
    "log-cadvisor-usage": 37,
    "container-hints": 37,
    "enable-load-reader": 37,
    "application-metrics-count-limit": 37,
    "cgroup-driver": 38,
}


# ---------------------------------------------------------------- kubelet's command line


def flags(argv: list[tuple[str, str]]) -> tuple[dict[str, str], dict[str, str]]:
    """(flag -> value, flag -> source) of a command line; the last of a flag given twice wins, as in kubelet."""
    values: dict[str, str] = {}
    sources: dict[str, str] = {}
    at = 1  # the first word is the program
    while at < len(argv):
        word, source = argv[at]
        at += 1
        if not word.startswith("-") or word.strip("-") == "":
            continue
        name, given, value = word.lstrip("-").partition("=")
        if not given:
            following = argv[at][0] if at < len(argv) else "-"
            if following.startswith("-"):
                value = "true"
            else:
                value = following
                at += 1
        values[name] = value
        sources[name] = source
    return values, sources


def unknown_flags(given: Mapping[str, str], sources: Mapping[str, str], minor: int | None) -> list[dict[str, Any]]:
    """The flags for which kubelet exits at once: spelt in camelCase, or gone from this version."""
    found = []
    for flag in given:
        kebab = re.sub(r"(?<=[a-z0-9])([A-Z])", r"-\1", flag).lower()
        plain = flag.replace("_", "-")  # kubelet takes either
        why = suggestion = None
        if kebab != flag.lower() or flag != flag.lower():
            suggestion = f"--{kebab}"
            why = f"kubelet has no flag --{flag}: its flags are written with dashes, in lower case ({suggestion})."
        elif minor is not None and plain in REMOVED_FLAGS and minor >= REMOVED_FLAGS[plain]:
            why = f"kubelet 1.{minor} has no flag --{plain}: it was removed in 1.{REMOVED_FLAGS[plain]}."
        if why:
            found.append({"flag": f"--{flag}", "source": sources.get(flag), "why": why, "suggestion": suggestion})
    return found


# ---------------------------------------------------------------- kubelet


def minor_version(version: str | None) -> int | None:
    found = re.match(r"v?1\.(\d+)", version or "")
    return int(found.group(1)) if found else None


def program_version(host: Host, binary: str, *arguments: str) -> str | None:
    """The version a Kubernetes program tells of itself, without the leading v."""
    done = host.run(binary, *arguments)
    found = re.search(r"v(\d+\.\d+\.\d+\S*)", done.out) if done.ok else None
    return found.group(1) if found else None


def _truth(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}.get(str(value).strip().lower())


def _configuration(host: Host, path: str) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """kubelet's configuration, and what is wrong with it."""
    text = host.text(path)
    if text is None:
        return {}, None
    try:
        data = json.loads(text) if text.lstrip()[:1] == "{" else load_yaml(text)
    except (YamlError, ValueError) as error:
        line = getattr(error, "line", getattr(error, "lineno", None))
        return {}, {"path": path, "line": line, "text": getattr(error, "problem", None) or str(error)}
    if not isinstance(data, dict):
        return {}, {"path": path, "line": 1, "text": "no KubeletConfiguration in it"}
    return data, None


def kubelet(host: Host) -> dict[str, Any]:
    """kubelet as it is configured: version, flags, and the few settings that other layers must agree with."""
    argv = command_line(host, "kubelet.service")
    named = argv[0][0] if argv and os.path.isabs(argv[0][0]) and host.is_executable(argv[0][0]) else None
    binary = named or host.which("kubelet")
    version = program_version(host, binary, "--version") if binary else None
    values, sources = flags(argv)
    config_path = values.get("config") or (DEFAULT_CONFIG if host.exists(DEFAULT_CONFIG) else None)
    config, problem = _configuration(host, config_path) if config_path else ({}, None)
    instance, instance_problem = _configuration(host, INSTANCE_CONFIG)

    def setting(flag: str, key: str, *configs: Mapping[str, Any]) -> Any:
        if flag in values:
            return values[flag]
        return next((item[key] for item in configs if item.get(key) is not None), None)

    fail_swap_on = _truth(setting("fail-swap-on", "failSwapOn", config))
    return {
        "installed": binary is not None,
        "version": version,
        "binary": binary,
        "config_path": config_path,
        "config_problem": problem or instance_problem,
        "flags": values,
        "flag_sources": sources,
        "unknown_flags": unknown_flags(values, sources, minor_version(version)),
        # kubeadm merges the per-node file over the cluster's when it writes, so it is asked first
        "cri_socket": setting("container-runtime-endpoint", "containerRuntimeEndpoint", instance, config) or None,
        "fail_swap_on": True if fail_swap_on is None else fail_swap_on,
        "fail_cgroup_v1": _truth(config.get("failCgroupV1")),
        "cgroup_driver": setting("cgroup-driver", "cgroupDriver", config),
        "device_plugin_socket": {"path": DEVICE_PLUGIN_SOCKET, "present": host.exists(DEVICE_PLUGIN_SOCKET)},
    }


# ---------------------------------------------------------------- kubeadm


def kubeadm(host: Host) -> dict[str, Any]:
    """How far kubeadm has come on this node, and what an earlier cluster has left behind."""
    binary = host.which("kubeadm")
    manifests = [f"{MANIFESTS}/{name}" for name in host.list(MANIFESTS) if name.endswith((".yaml", ".yml", ".json"))]
    initialised = host.exists("/etc/kubernetes/admin.conf")
    joined = host.exists("/etc/kubernetes/kubelet.conf")
    return {
        "installed": binary is not None,
        "version": program_version(host, binary, "version", "-o", "short") if binary else None,
        "initialised": initialised or joined,
        "control_plane": f"{MANIFESTS}/kube-apiserver.yaml" in manifests,
        "joined": joined,
        "joining": host.exists("/etc/kubernetes/bootstrap-kubelet.conf"),
        "manifests": manifests,
        "leftovers": leftovers(host, initialised, joined),
    }


def leftovers(host: Host, initialised: bool, joined: bool) -> list[dict[str, str]]:
    """What an earlier or half-made cluster left, that stops the next `kubeadm init` or `join`, with the reason."""
    found: list[tuple[str, str]] = []
    if not joined and not initialised:
        for name in host.list(MANIFESTS):
            if name.startswith(("kube-", "etcd")):
                found.append((f"{MANIFESTS}/{name}", "a static pod of a control plane that has no admin.conf"))
        if host.list("/var/lib/etcd/member") or host.list("/var/lib/etcd"):
            found.append(("/var/lib/etcd", "an etcd's data, of a cluster that is not configured here"))
        if host.exists("/etc/kubernetes/pki/ca.crt"):
            found.append(("/etc/kubernetes/pki/ca.crt", "the CA of a cluster that this node has not joined"))
        if host.exists("/var/lib/kubelet/kubeadm-flags.env"):
            found.append(
                ("/var/lib/kubelet/kubeadm-flags.env", "kubelet's flags from a cluster this node has not joined")
            )
        found.extend(
            (path, "a CNI configuration, which makes the runtime report its network ready before there is one")
            for path in host.glob("/etc/cni/net.d/*.conf*")
            if re.search(r"calico|cilium|flannel|weave|kube-router|canal", os.path.basename(path))
        )
    elif initialised and not joined:
        found.append(
            ("/etc/kubernetes/admin.conf", "kubeadm init stopped half-way: there is no kubelet.conf beside it")
        )
    if host.exists("/etc/kubernetes/bootstrap-kubelet.conf") and not joined:
        found.append(
            ("/etc/kubernetes/bootstrap-kubelet.conf", "kubeadm join stopped half-way: there is no kubelet.conf")
        )
    return [
        {"path": path, "why": f"{path} is {why}." if why.startswith(("a ", "an ", "the ")) else f"{path}: {why}."}
        for path, why in found
    ]


# ---------------------------------------------------------------- kubeconfigs


def homes(text: str) -> list[tuple[str, int, int, str]]:
    """(user, uid, gid, home) of the people in /etc/passwd, root first: no system accounts, no home twice."""
    found: dict[str, tuple[str, int, int, str]] = {}
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) < 7 or not fields[2].isdigit() or not fields[3].isdigit():
            continue
        uid, home = int(fields[2]), os.path.normpath(fields[5] or "/")
        if (uid == 0 or 1000 <= uid < 60000) and os.path.isabs(home) and home != "/":
            found.setdefault(home, (fields[0], uid, int(fields[3]), home))
    return list(found.values())


def server_of(text: str) -> tuple[str | None, str | None]:
    """(address of the API server in use, what is wrong) of a kubeconfig. Takes any text; tells nothing else of it."""
    try:
        data = json.loads(text) if text.lstrip()[:1] == "{" else load_yaml(text)
    except (YamlError, ValueError) as error:
        line = getattr(error, "line", getattr(error, "lineno", None))
        return None, f"not YAML (line {line})" if line else "not YAML"
    if not isinstance(data, dict):
        return None, "no kubeconfig in it"

    def named(items: Any, name: Any, key: str) -> Mapping[str, Any]:
        entries = [item for item in items if isinstance(item, Mapping)] if isinstance(items, list) else []
        chosen = next((item for item in entries if item.get("name") == name), entries[0] if entries else {})
        inner = chosen.get(key)
        return inner if isinstance(inner, Mapping) else {}

    context = named(data.get("contexts"), data.get("current-context"), "context")
    server = named(data.get("clusters"), context.get("cluster"), "cluster").get("server")
    return (server, None) if isinstance(server, str) and server else (None, "no server in it")


def _name_of(number: int, names: Mapping[int, str]) -> str:
    return names.get(number) or str(number)


def _kubeconfig(host: Host, path: str, user: str | None, uid: int, gid: int, owners: Mapping[str, Mapping[int, str]]):
    status = host.stat(path)
    if status is None or not stat.S_ISREG(status.st_mode):
        return None
    mode = stat.S_IMODE(status.st_mode)
    text = host.text(path)
    server, problem = (None, "cannot be read") if text is None else server_of(text)
    if uid == 0:
        readable = True
    elif status.st_uid == uid:
        readable = bool(mode & 0o400)
    else:
        readable = bool(mode & (0o040 if status.st_gid == gid else 0o004))
    return {
        "path": path,
        "user": user,
        "owner": _name_of(status.st_uid, owners["users"]),
        "group": _name_of(status.st_gid, owners["groups"]),
        "mode": f"{mode:04o}",
        "server": server,
        "readable_by_owner": readable,
        "readable_by_others": bool(mode & 0o044),
        "problem": problem,
    }


def _numbered(text: str) -> dict[int, str]:
    """Number -> name of /etc/passwd or /etc/group; the first of a number wins."""
    found: dict[int, str] = {}
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) > 2 and fields[2].isdigit():
            found.setdefault(int(fields[2]), fields[0])
    return found


def kubeconfigs(host: Host) -> list[dict[str, Any]]:
    """Every kubeconfig where people and programs look for one: whose it is, who can read it, never what is in it."""
    passwd = host.text("/etc/passwd") or ""
    owners = {"users": _numbered(passwd), "groups": _numbered(host.text("/etc/group") or "")}
    candidates: list[tuple[str, str | None, int, int]] = []
    for path in [*host.glob("/etc/kubernetes/*.conf"), "/etc/rancher/k3s/k3s.yaml", "/etc/rancher/rke2/rke2.yaml"]:
        candidates.append((path, None, 0, 0))
    for user, uid, gid, home in homes(passwd) or [("root", 0, 0, "/root")]:
        candidates.append((f"{home}/.kube/config", user, uid, gid))
    found = (_kubeconfig(host, path, user, uid, gid, owners) for path, user, uid, gid in candidates)
    return [item for item in found if item is not None]
