# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod network: what is wrong with its settings, flannel's objects, the file of one node, and who else is there.

Rules of this file: functions from settings to problems, objects and text; no I/O. Names are our own, so that what is
taken away is never somebody else's.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Union

from .cluster.manifests import (
    MANAGED_BY,
    account,
    binding,
    config_map,
    labels_of,
    merged,
    privileged_namespace,
    role,
    with_numbers,
)

NAME = "gpunode-flannel"
PLUGINS = ("flannel", "bridge", "none")
BACKENDS = ("vxlan", "host-gw")
CONFIG_FOLDER = "/etc/cni/net.d"
# The first file by name is the one that a runtime follows.
FLANNEL_FILE, BRIDGE_FILE = "10-gpunode-flannel.conflist", "10-gpunode-bridge.conflist"
OURS = {"flannel": FLANNEL_FILE, "bridge": BRIDGE_FILE}
# Not cni0: with the address of another network on it, as one that was here before leaves it, no pod would start.
BRIDGE = "gpunode0"
# What the bridge's configuration runs, and the runtime itself for every pod.
BRIDGE_PROGRAMS = ("bridge", "host-local", "portmap", "loopback")
ENDINGS = (".conf", ".conflist", ".json")
# Where runtimes look for CNI programs unless they are told otherwise; for docker it is cri-dockerd that looks.
RUNTIMES, PROGRAMS = ("containerd", "crio", "docker"), "/opt/cni/bin"
# Networks of others that no pod of Kubernetes goes through: podman's own, and the loopback alone.
HARMLESS = re.compile(r"\d+-podman(-bridge)?\.conflist|\d+-loopback\.conf(list)?")
# Before it, flannel had no /readyz.
OLDEST_FLANNEL = (0, 28, 9)
Network = Union[ipaddress.IPv4Network, ipaddress.IPv6Network]

DEFAULTS: dict[str, Any] = {
    "plugin": "flannel",
    "pod_cidr": "10.244.0.0/16",
    "mtu": 0,
    "namespace": NAME,
    "flannel_version": "0.28.9",
    "flannel_image": "ghcr.io/flannel-io/flannel",
    "flannel_plugin_version": "1.9.1-flannel3",
    "flannel_plugin_image": "ghcr.io/flannel-io/flannel-cni-plugin",
    "flannel_backend": "vxlan",
    "flannel_interface": "",
    "flannel_health_port": 8081,
    "image_pull_secrets": [],
    "tolerations": [{"operator": "Exists", "effect": "NoSchedule"}],
    "resources": {"requests": {"cpu": "100m", "memory": "50Mi"}, "limits": {"memory": "256Mi"}},
    "bin_dirs": [PROGRAMS],
}


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with what was given put over them. Raises ``ValueError`` naming every key that is unknown."""
    return with_numbers(merged(given, DEFAULTS), DEFAULTS)


def version_of(text: Any) -> tuple[int, int, int] | None:
    """(0, 28, 9) of ``0.28.9`` or ``v0.28.9-flannel1``; None where there is no such number."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)(-[\w.]+)?", str(text))
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


# ---------------------------------------------------------------- what is wrong


def networks(text: Any) -> list[Network]:
    """The pod networks, one or one of each family. Raises ``ValueError`` with what was found and what was expected."""
    found: list[Network] = []
    for part in str(text).split(","):
        try:
            found.append(ipaddress.ip_network(part.strip()))
        except ValueError as error:
            raise ValueError(f"pod_cidr has `{part.strip()}` ({error}); expected such as 10.244.0.0/16") from None
    if len(found) > 2 or len({one.version for one in found}) != len(found):
        raise ValueError(f"pod_cidr is {text}; expected one network, or one of each family with a comma between")
    return found


def problems(given: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with these settings, each with the value found and the value expected."""
    return list(_problems(settings(given)))


def _problems(what: Mapping[str, Any]) -> Iterator[str]:
    if what["plugin"] not in PLUGINS:
        yield f"plugin is `{what['plugin']}`; expected one of {', '.join(PLUGINS)}"
    if what["plugin"] == "none":
        return
    try:
        pods = networks(what["pod_cidr"])
    except ValueError as error:
        yield str(error)
        pods = []
    yield from _number("mtu", what["mtu"], 576, 65535, "0, which leaves it to the network")
    if what["plugin"] == "bridge":
        for network in pods:
            if network.num_addresses < 16:
                yield f"pod_cidr is {network}, which has {network.num_addresses} addresses; expected at least 16"
        return
    if pods and all(network.version == 6 for network in pods):
        yield f"pod_cidr is {pods[0]}; flannel is deployed with IPv4, or with IPv4 and IPv6: expected an IPv4 network"
    for network in pods:
        if network.version == 4 and network.prefixlen > 28:
            yield f"pod_cidr is {network}, too small for flannel; expected /28 or larger"
    yield from _flannel_problems(what, len(pods) > 1)


def _flannel_problems(what: Mapping[str, Any], both: bool) -> Iterator[str]:
    version = version_of(what["flannel_version"])
    oldest = ".".join(map(str, OLDEST_FLANNEL))
    if version is None:
        yield f"flannel_version is `{what['flannel_version']}`; expected one such as {DEFAULTS['flannel_version']}"
    elif version < OLDEST_FLANNEL:
        found = what["flannel_version"]
        yield f"flannel_version is {found}, which cannot say when it is ready; expected {oldest} or newer"
    if version_of(what["flannel_plugin_version"]) is None:
        expected = DEFAULTS["flannel_plugin_version"]
        yield f"flannel_plugin_version is `{what['flannel_plugin_version']}`; expected one such as {expected}"
    if what["flannel_backend"] not in BACKENDS:
        yield f"flannel_backend is `{what['flannel_backend']}`; expected one of {', '.join(BACKENDS)}"
    elif what["flannel_backend"] == "host-gw" and what["mtu"]:
        yield f"mtu is {what['mtu']}, which host-gw does not take; expected 0 there"
    yield from _number("flannel_health_port", what["flannel_health_port"], 1, 65535, "")
    name = str(what["flannel_interface"])
    if name and not re.fullmatch(r"[A-Za-z0-9_.:-]+", name):
        yield f"flannel_interface is `{name}`; expected a network interface or an address of the nodes"
    for key in ("flannel_image", "flannel_plugin_image"):
        if not re.fullmatch(r"[a-z0-9][a-zA-Z0-9._:-]*(/[a-z0-9][a-z0-9._-]*)+", str(what[key])):
            yield f"{key} is `{what[key]}`; expected an image with its registry and without its tag"
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", str(what["namespace"])):
        yield f"namespace is `{what['namespace']}`; expected lower-case letters, digits and dashes"
    folders = what["bin_dirs"]
    if not isinstance(folders, list) or not folders or not all(str(one).startswith("/") for one in folders):
        yield f"bin_dirs is {folders}; expected absolute paths"


def _number(name: str, value: Any, least: int, most: int, also: str) -> Iterator[str]:
    if also and value == 0 and not isinstance(value, bool):
        return
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        yield f"{name} is `{value}`; expected {least} to {most}{f', or {also}' if also else ''}"


# ---------------------------------------------------------------- who else is there


def foreign(daemonsets: Iterable[Any], given: Mapping[str, Any]) -> list[str]:
    """Pod networks in the cluster other than the one that is asked for, each with its images and who made it."""
    what = settings(given)
    found = []
    for item in daemonsets:
        if not isinstance(item, Mapping) or item.get("component") != "cni":
            continue
        ours = item.get("name") == NAME and item.get("managed_by") == MANAGED_BY
        if ours and what["plugin"] == "flannel" and item.get("namespace") == what["namespace"]:
            continue
        images = ", ".join((item.get("pod") or {}).get("images") or []) or "unknown images"
        whose = "our own flannel" if ours else f"by {item.get('managed_by') or 'somebody'}"
        found.append(f"the DaemonSet {item.get('namespace')}/{item.get('name')} ({images}; {whose})")
    return found


def foreign_files(names: Iterable[Any], plugin: str, folder: str = CONFIG_FOLDER) -> list[str]:
    """CNI configurations in a node's folder that are neither ours for this plugin nor without effect on pods."""
    return sorted(
        f"{folder}/{str(name).rpartition('/')[2]}"
        for name in names
        if str(name).endswith(ENDINGS)
        and str(name).rpartition("/")[2] != OURS.get(plugin)
        and not HARMLESS.fullmatch(str(name).rpartition("/")[2])
    )


def foreign_here(paths: Iterable[Any], plugin: str) -> list[str]:
    """The same of files by their whole paths."""
    split = [str(path).rpartition("/") for path in paths]
    return [one for folder, _slash, name in split for one in foreign_files([name], plugin, folder)]


def foreign_on_nodes(node_facts: Mapping[str, Any], plugin: str) -> list[str]:
    """The same of nodes, by what ``node_info`` saw of the runtimes' folders."""
    found: list[str] = []
    for node, facts in sorted(node_facts.items()):
        runtimes = facts.get("runtimes") if isinstance(facts, Mapping) else None
        seen: set[str] = set()
        for state in runtimes.values() if isinstance(runtimes, Mapping) else []:
            cni = state.get("cni") if isinstance(state, Mapping) else None
            if isinstance(cni, Mapping):
                seen.update(foreign_files(cni.get("configs") or [], plugin, cni.get("conf_dir") or CONFIG_FOLDER))
        found.extend(f"{path} on {node}" for path in sorted(seen))
    return found


def bin_dirs(node_facts: Mapping[str, Any], known: Iterable[Any]) -> list[str]:
    """Where flannel's program has to lie, so that every runtime that was seen finds it; without facts the first."""
    first = [str(one).rstrip("/") or "/" for one in known][:1]
    needed: list[list[str]] = []
    for _node, facts in sorted(node_facts.items()):
        runtimes = facts.get("runtimes") if isinstance(facts, Mapping) else None
        for name, state in sorted(runtimes.items()) if isinstance(runtimes, Mapping) else []:
            if isinstance(state, Mapping) and state.get("installed") and name in RUNTIMES:
                cni = state.get("cni")
                told = cni.get("bin_dirs") if isinstance(cni, Mapping) else None
                needed.append([str(one) for one in told or [PROGRAMS]])
    found = [path for path in first if not needed or any(path in folders for folders in needed)]
    for folders in needed:
        if folders and not set(folders) & set(found):
            found.append(folders[0])
    return found


def astray(nodes: Iterable[Any], given: Mapping[str, Any]) -> list[str]:
    """What the nodes' own ranges and number say against these settings."""
    what = settings(given)
    listed = [node for node in nodes if isinstance(node, Mapping)]
    if what["plugin"] == "bridge" and len(listed) > 1:
        return [
            f"plugin is bridge, which joins the pods of one node, and the cluster has {len(listed)} "
            f"({', '.join(str(node.get('name')) for node in listed[:4])}); expected flannel"
        ]
    pods = networks(what["pod_cidr"])
    found: list[str] = []
    for node in listed:
        ranges = [ipaddress.ip_network(text) for text in node.get("pod_cidrs") or []]
        for network in pods if ranges else []:
            if not any(one.version == network.version for one in ranges):
                found.append(
                    f"pod_cidr has {network}, and {node.get('name')} has {', '.join(map(str, ranges))} alone from the "
                    "controller manager; expected ranges of both families, as kubeadm_pod_subnet"
                )
        for one in ranges:
            if not any(one.version == network.version and _within(one, network) for network in pods):
                found.append(
                    f"pod_cidr is {what['pod_cidr']}, and {node.get('name')} has {one} from the controller manager; "
                    "expected a network that holds it, as kubeadm_pod_subnet"
                )
    return found


def _within(one: Any, network: Any) -> bool:
    return bool(one.subnet_of(network))


# ---------------------------------------------------------------- one node


def conflist(given: Mapping[str, Any]) -> str:
    """The configuration that joins the pods of one node by a bridge. ``problems`` comes first."""
    what = settings(given)
    pods = networks(what["pod_cidr"])
    bridge: dict[str, Any] = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "ranges": [[{"subnet": str(network)}] for network in pods],
            "routes": [{"dst": "::/0" if network.version == 6 else "0.0.0.0/0"} for network in pods],
        },
    }
    if what["mtu"]:
        bridge["mtu"] = what["mtu"]
    made = {
        "cniVersion": "0.4.0",  # the newest that every supported runtime and plugin knows
        "name": "gpunode-bridge",
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }
    return json.dumps(made, indent=2) + "\n"


def lacking(found: Iterable[str]) -> list[str]:
    """The programs that the configuration names and that none of the folders has."""
    there = {str(path).rpartition("/")[2] for path in found}
    return [name for name in BRIDGE_PROGRAMS if name not in there]


# ---------------------------------------------------------------- flannel's objects


def objects(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects, in the order in which they must be made. ``problems`` comes first: this trusts the settings."""
    what = settings(given)
    return [_namespace(what), _account(what), *_rights(what), _config(what), _daemonset(what)]


def _labels() -> dict[str, str]:
    return labels_of(NAME)


def _metadata(what: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": NAME, "namespace": what["namespace"], "labels": _labels()}


def _namespace(what: Mapping[str, Any]) -> dict[str, Any]:
    """flannel runs in the host's network and mounts its folders: Pod Security's level privileged alone allows that."""
    return privileged_namespace(what["namespace"], _labels())


def _account(what: Mapping[str, Any]) -> dict[str, Any]:
    return account(_metadata(what))


def _rights(what: Mapping[str, Any]) -> list[dict[str, Any]]:
    """flannel follows the nodes and writes the status of its own. It is told which that is, so it reads no pod."""
    metadata = {"name": NAME, "labels": _labels()}
    rules = [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/status"], "verbs": ["patch"]},
    ]
    return [
        role("ClusterRole", metadata, rules),
        binding("ClusterRoleBinding", dict(metadata), ("ClusterRole", NAME), (what["namespace"], NAME)),
    ]


def _data(what: Mapping[str, Any]) -> dict[str, str]:
    """flannel's own configuration, and that of the runtimes, which the flannel plugin completes on each node."""
    backend: dict[str, Any] = {"Type": what["flannel_backend"]}
    if what["mtu"]:
        backend["MTU"] = what["mtu"]
    net: dict[str, Any] = {}
    for network in networks(what["pod_cidr"]):
        if network.version == 4:
            net["Network"] = str(network)
        else:
            net.update(EnableIPv6=True, IPv6Network=str(network))
    net["Backend"] = backend
    chain = {
        "cniVersion": "0.3.1",
        "name": "gpunode-flannel",
        "plugins": [
            {"type": "flannel", "delegate": {"isDefaultGateway": True, "hairpinMode": True}},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    return {"cni-conf.json": json.dumps(chain, indent=2) + "\n", "net-conf.json": json.dumps(net, indent=2) + "\n"}


def _config(what: Mapping[str, Any]) -> dict[str, Any]:
    return config_map(_metadata(what), _data(what))


def _tag(version: Any) -> str:
    return f"v{str(version).lstrip('v')}"


def _daemonset(what: Mapping[str, Any]) -> dict[str, Any]:
    data = _data(what)
    # the configuration is read at start only: a change has to make new pods
    digest = hashlib.sha256("\0".join(f"{key}={text}" for key, text in sorted(data.items())).encode()).hexdigest()
    linux = {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]}
    pod: dict[str, Any] = {
        "hostNetwork": True,
        "priorityClassName": "system-node-critical",
        "serviceAccountName": NAME,
        "automountServiceAccountToken": True,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [linux]}]}
            }
        },
        "tolerations": list(what["tolerations"]),
        "initContainers": [*_install_plugin(what), _install_config(what)],
        "containers": [_flanneld(what)],
        "volumes": [
            {"name": "run", "hostPath": {"path": "/run/flannel", "type": "DirectoryOrCreate"}},
            *(
                {"name": name, "hostPath": {"path": folder, "type": "DirectoryOrCreate"}}
                for name, folder in _numbered("cni-bin", what["bin_dirs"])
            ),
            {"name": "cni-config", "hostPath": {"path": CONFIG_FOLDER, "type": "DirectoryOrCreate"}},
            {"name": "xtables-lock", "hostPath": {"path": "/run/xtables.lock", "type": "FileOrCreate"}},
            {"name": "config", "configMap": {"name": NAME}},
        ],
    }
    if what["image_pull_secrets"]:
        pod["imagePullSecrets"] = [{"name": name} for name in what["image_pull_secrets"]]
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": _metadata(what),
        "spec": {
            "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": _labels(), "annotations": {"gpunode.ready/configuration": digest[:16]}},
                "spec": pod,
            },
        },
    }


def _installer(name: str, image: str, command: list[str], folder: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            # archives of plugins leave folders to another user than root, where root then may not write
            "capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [folder],
    }


def _numbered(name: str, items: Iterable[str]) -> list[tuple[str, str]]:
    """Each with a name of its own: the plain one, then those with a number."""
    return [(f"{name}-{number}" if number > 1 else name, item) for number, item in enumerate(items, 1)]


def _install_plugin(what: Mapping[str, Any]) -> list[dict[str, Any]]:
    image = f"{what['flannel_plugin_image']}:{_tag(what['flannel_plugin_version'])}"
    command = ["cp", "-f", "/flannel", "/opt/cni/bin/flannel"]
    names = [name for name, _folder in _numbered("install-plugin", what["bin_dirs"])]
    volumes = [name for name, _folder in _numbered("cni-bin", what["bin_dirs"])]
    return [
        _installer(name, image, command, {"name": volume, "mountPath": "/opt/cni/bin"})
        for name, volume in zip(names, volumes)
    ]


def _install_config(what: Mapping[str, Any]) -> dict[str, Any]:
    image = f"{what['flannel_image']}:{_tag(what['flannel_version'])}"
    command = ["/opt/bin/install-conf", "/etc/kube-flannel/cni-conf.json", f"{CONFIG_FOLDER}/{FLANNEL_FILE}"]
    made = _installer("install-config", image, command, {"name": "cni-config", "mountPath": CONFIG_FOLDER})
    made["volumeMounts"].append({"name": "config", "mountPath": "/etc/kube-flannel", "readOnly": True})
    return made


def _flanneld(what: Mapping[str, Any]) -> dict[str, Any]:
    port = what["flannel_health_port"]
    arguments = ["--kube-subnet-mgr", "--ip-masq", "--healthz-ip=127.0.0.1", f"--healthz-port={port}"]
    if what["flannel_interface"]:
        arguments.append(f"--iface={what['flannel_interface']}")

    def probe(path: str, delay: int, period: int) -> dict[str, Any]:
        # in the host's network, where kubelet reaches it and no other machine does
        get = {"host": "127.0.0.1", "path": path, "port": port}
        return {"httpGet": get, "initialDelaySeconds": delay, "periodSeconds": period}

    return {
        "name": "flannel",
        "image": f"{what['flannel_image']}:{_tag(what['flannel_version'])}",
        "imagePullPolicy": "IfNotPresent",
        "command": ["/opt/bin/flanneld"],
        "args": arguments,
        "env": [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "spec.nodeName"}}}],
        "resources": dict(what["resources"]),
        "livenessProbe": probe("/healthz", 10, 30),
        "readinessProbe": probe("/readyz", 5, 10),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            # its root stays writable: its iptables chooses between legacy and nft by links in /usr/sbin, at first use
            "capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]},
        },
        "volumeMounts": [
            {"name": "run", "mountPath": "/run/flannel"},
            {"name": "config", "mountPath": "/etc/kube-flannel", "readOnly": True},
            {"name": "xtables-lock", "mountPath": "/run/xtables.lock"},
        ],
    }
