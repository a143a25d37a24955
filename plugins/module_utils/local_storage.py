# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rancher's local-path-provisioner, 0.0.34 to 0.0.37: what is wrong with its settings or in the way, and its objects.

Rules of this file: data first, then functions from settings and a cluster's facts to problems and to Kubernetes
objects; no I/O. ``facts`` are those of ``cluster/facts.py``, with the parts api, nodes and storage.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any

from .cluster.manifests import (
    MANAGED_BY,
    account,
    binding,
    config_map,
    labels_of,
    merged,
    privileged_namespace,
    role,
)
from .node import look_up
from .yaml_text import dumps

OLDEST, NEWEST = (0, 0, 34), (0, 0, 37)
HEALTH = (0, 0, 37)  # brought /health and /ready
NAME = "gpunode-local-storage"
PROVISIONER = "rancher.io/local-path"
DEFAULT = "storageclass.kubernetes.io/is-default-class"
OTHERS = "DEFAULT_PATH_FOR_NON_LISTED_NODES"
HOSTNAME = "kubernetes.io/hostname"
PORT = 8080  # of its health server

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")  # a namespace
DOMAIN = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")  # a StorageClass, a node
FOLDER = re.compile(r"(/[A-Za-z0-9._+@%=-]+)+")  # the helper's mount path and environment take no more
FLEETING = ("/proc", "/sys", "/dev", "/run", "/var/run", "/tmp")  # no disk, or emptied at boot

DEFAULTS: dict[str, Any] = {
    "version": "0.0.37",
    "image": "docker.io/rancher/local-path-provisioner",
    "helper_image": "docker.io/library/busybox:1.37.0",
    "image_pull_secrets": [],
    "namespace": "local-path-storage",
    "class_name": "local-path",
    "default_class": "where_none",
    "demoted_classes": [],
    "reclaim_policy": "Delete",
    "volume_type": "local",
    "folder": "/opt/local-path-provisioner",
    "node_folders": {},
    "other_nodes": "allowed",
    "priority_class": "system-node-critical",
    "node_selector": {"kubernetes.io/os": "linux"},
    "tolerations": [
        {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
    ],
    "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
    "helper_resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
}
CHOICES = {
    "default_class": ("where_none", "always", "never"),
    "reclaim_policy": ("Delete", "Retain"),
    "volume_type": ("local", "hostPath"),
    "other_nodes": ("allowed", "refused"),
}

# A folder that is new or empty is closed to the users of the node, since each volume in it is open to every pod's user.
SETUP = """\
#!/bin/sh
set -eu
folder=$(dirname "$VOL_DIR")
ls -A "$folder" | grep -qvx 'lost+found' || chmod 0700 "$folder"
mkdir -m 0777 -p "$VOL_DIR"
"""
TEARDOWN = """\
#!/bin/sh
set -eu
rm -rf "$VOL_DIR"
"""
# What runtimes give a container, less what mkdir, chmod and rm take: the provisioner refuses a helper that adds any.
DROPPED = (
    "AUDIT_WRITE",
    "CHOWN",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)


# ---------------------------------------------------------------- what is wrong


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with what was given put over them. Raises ``ValueError`` naming every key that is unknown."""
    return merged(given, DEFAULTS)


def version_of(text: Any) -> tuple[int, int, int] | None:
    """(0, 0, 37) of ``0.0.37`` or ``v0.0.37``; None where there is no such number."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", str(text))
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def problems(given: Mapping[str, Any]) -> list[str]:
    """Everything that is wrong with these settings, each with the value found and the value expected."""
    return list(_problems(settings(given)))


def _problems(what: Mapping[str, Any]) -> Iterator[str]:
    version = version_of(what["version"])
    if version is None:
        yield f"version is `{what['version']}`; expected one such as {DEFAULTS['version']}"
    elif not OLDEST <= version <= NEWEST:
        yield f"version is {what['version']}; expected {_spelt(OLDEST)} to {_spelt(NEWEST)}, which are known here"
    for name, values in CHOICES.items():
        if what[name] not in values:
            yield f"{name} is `{what[name]}`; expected one of {', '.join(values)}"
    image = str(what["image"])
    if not image or ":" in image.rpartition("/")[2] or "@" in image:
        yield f"image is `{image}`; expected one without a tag, which is version"
    if not what["helper_image"]:
        yield f"helper_image is empty; expected one such as {DEFAULTS['helper_image']}"
    if not LABEL.fullmatch(str(what["namespace"])):
        yield f"namespace is `{what['namespace']}`; expected lower-case letters, digits and dashes, at most 63"
    if not DOMAIN.fullmatch(str(what["class_name"])):
        yield f"class_name is `{what['class_name']}`; expected lower-case letters, digits, dashes and dots"
    demoted = what["demoted_classes"]
    if not isinstance(demoted, list):
        yield f"demoted_classes is `{demoted}`; expected a list of StorageClasses"
    elif what["class_name"] in demoted:
        yield f"demoted_classes has {what['class_name']}, which is class_name; expected others (or default_class never)"
    yield from _folder_problems("folder", what["folder"])
    yield from _node_problems(what)


def _spelt(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _folder_problems(where: str, folder: Any) -> Iterator[str]:
    if not isinstance(folder, str) or not FOLDER.fullmatch(folder) or posixpath.normpath(folder) != folder:
        yield (
            f"{where} is `{folder}`; expected the absolute path of a folder, of letters, digits and . _ + @ % = -, "
            "without a slash at its end"
        )
    elif any(folder == name or folder.startswith(f"{name}/") for name in FLEETING):
        yield f"{where} is {folder}, which is no disk or does not outlive a boot; expected a folder that does"


def _node_problems(what: Mapping[str, Any]) -> Iterator[str]:
    nodes = what["node_folders"]
    if not isinstance(nodes, Mapping):
        yield f"node_folders is {type(nodes).__name__}; expected a dictionary of folders by node"
        return
    for name, folders in nodes.items():
        if not DOMAIN.fullmatch(str(name)):
            yield f"node_folders has the node `{name}`; expected the name of one"
        if not isinstance(folders, list) or not folders:
            yield (
                f"node_folders.{name} is `{folders}`; expected a list of at least one folder. To keep a node out, name "
                "the others, and set other_nodes: refused"
            )
            continue
        for folder in folders:
            yield from _folder_problems(f"node_folders.{name}", folder)
        if len({str(folder) for folder in folders}) < len(folders):
            yield f"node_folders.{name} has a folder twice; expected each once"
    if what["other_nodes"] == "refused" and not nodes:
        yield "other_nodes is refused, and node_folders names no node: none would have storage; expected at least one"


# ---------------------------------------------------------------- what is in the way


def obstacles(given: Mapping[str, Any], facts: Mapping[str, Any], state: str = "managed") -> list[str]:
    """Why these settings cannot be reached in this cluster, all of it. Empty where the API told nothing."""
    if look_up(facts, "api.problem"):
        return []  # the look itself has failed, and says why
    storage = facts.get("storage")
    if not isinstance(storage, Mapping) or "unavailable" in storage:
        reason = storage.get("unavailable") if isinstance(storage, Mapping) else "nobody looked"
        return [f"the StorageClasses of the cluster could not be read: {reason}"]
    what = settings(given)
    if state == "absent":
        return list(_left_behind(what, storage))
    found = list(_default_obstacles(what, storage))
    if state == "managed":
        found += [
            f"{name} is there already, and two provisioners of the name {PROVISIONER} serve the same claims; set "
            "`local_storage_state: adopted` to leave storage to it, or take it away first"
            for name in foreign(what, storage)
        ]
        found += list(_class_obstacles(what, storage))
        found += list(_node_obstacles(what, facts))
    return found


def foreign(given: Mapping[str, Any], storage: Mapping[str, Any]) -> list[str]:
    """What somebody else has deployed for the same claims: provisioners, and StorageClasses of theirs."""
    what = settings(given)
    ours = (what["namespace"], NAME)
    found = [
        f"Deployment {item.get('namespace')}/{item.get('name')} (by {item.get('managed_by') or 'somebody'})"
        for item in _entries(storage, "provisioners")
        if item.get("provisioner") == PROVISIONER and (item.get("namespace"), item.get("name")) != ours
    ]
    for item in _entries(storage, "classes"):
        same = item.get("provisioner") == PROVISIONER or item.get("name") == what["class_name"]
        if same and not _is_ours(item):
            found.append(f"StorageClass {item.get('name')} (by {item.get('managed_by') or 'somebody'})")
    return found


def defaults(storage: Mapping[str, Any]) -> list[str]:
    """The StorageClasses that are the default now: none, one, or by mistake several."""
    return [str(item.get("name")) for item in _entries(storage, "classes") if item.get("default") is True]


def is_default(given: Mapping[str, Any], storage: Mapping[str, Any]) -> bool:
    """Whether the class should be the default: by choice, or where no other is that keeps it."""
    what = settings(given)
    if what["default_class"] == "where_none":
        return not set(defaults(storage)) - {what["class_name"], *what["demoted_classes"]}
    return bool(what["default_class"] == "always")


def _default_obstacles(what: Mapping[str, Any], storage: Mapping[str, Any]) -> Iterator[str]:
    there = {item.get("name") for item in _entries(storage, "classes")}
    for name in what["demoted_classes"]:
        if name not in there:
            told = ", ".join(sorted(str(other) for other in there)) or "none"
            yield f"demoted_classes has {name}, and there is no such StorageClass (there: {told}); expected one of them"
    if what["default_class"] == "always":
        for name in defaults(storage):
            if name != what["class_name"] and name not in what["demoted_classes"]:
                yield (
                    f"StorageClass {name} is the default, and default_class is always: two would be; expected {name} "
                    "in demoted_classes, or default_class where_none"
                )


def _class_obstacles(what: Mapping[str, Any], storage: Mapping[str, Any]) -> Iterator[str]:
    for item in _entries(storage, "classes"):
        if item.get("name") == what["class_name"] and _is_ours(item) and item.get("reclaim") != what["reclaim_policy"]:
            yield (
                f"StorageClass {what['class_name']} has reclaimPolicy {item.get('reclaim')}, reclaim_policy is "
                f"{what['reclaim_policy']}, and the API lets nobody change it; expected another class_name, or that "
                "class deleted first (its volumes keep theirs)"
            )


def _node_obstacles(what: Mapping[str, Any], facts: Mapping[str, Any]) -> Iterator[str]:
    nodes = facts.get("nodes")
    if not isinstance(nodes, list) or not isinstance(what["node_folders"], Mapping):
        return
    there = [str(item.get("name")) for item in nodes if isinstance(item, Mapping)]
    for name in what["node_folders"]:
        if name not in there:
            told = ", ".join(sorted(there)[:8]) or "none"
            yield f"node_folders has {name}, and the cluster has no such node (there: {told}); expected one of them"


def _left_behind(what: Mapping[str, Any], storage: Mapping[str, Any]) -> Iterator[str]:
    if what["class_name"] not in {item.get("name") for item in _entries(storage, "classes") if _is_ours(item)}:
        return
    volumes = look_up(storage, "volumes")
    count = volumes.get(what["class_name"]) if isinstance(volumes, Mapping) else None
    if count:
        yield (
            f"{count} {'volume' if count == 1 else 'volumes'} of StorageClass {what['class_name']} would be left, and "
            "nobody to delete what lies in them; expected none: delete the claims (and retained volumes) first"
        )


def _is_ours(item: Mapping[str, Any]) -> bool:
    """By its labels: of a class that was only adopted, or applied by hand, we own some fields as well."""
    labels = item.get("labels")
    return isinstance(labels, Mapping) and all(labels.get(name) == value for name, value in _labels().items())


def _entries(facts: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    value = facts.get(name)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


# ---------------------------------------------------------------- objects


def objects(given: Mapping[str, Any], facts: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The objects, in the order in which they must be made. ``problems`` and ``obstacles`` come first."""
    what = settings(given)
    return [
        _namespace(what),
        _account(what),
        *_rights(what),
        _configuration(what),
        _deployment(what),
        _class(what, facts or {}),
    ]


def removable(given: Mapping[str, Any], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What goes when the provisioner goes: all but the namespace, and the StorageClass only where it is ours."""
    what = settings(given)
    storage = facts.get("storage")
    classes = _entries(storage, "classes") if isinstance(storage, Mapping) else []
    ours = {item.get("name") for item in classes if _is_ours(item)}
    return [
        item
        for item in objects(what, facts)
        if item["kind"] != "Namespace" and (item["kind"] != "StorageClass" or item["metadata"]["name"] in ours)
    ]


def adopted(given: Mapping[str, Any], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a class that somebody else keeps nothing but whether it is the default, and that only where none is."""
    what = settings(given)
    annotations = {DEFAULT: "true"} if is_default(what, facts.get("storage") or {}) else {}
    return [_bare_class(what["class_name"], annotations)]


def demotions(given: Mapping[str, Any], facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The classes that are named to be the default no more, and are it now: nothing but that annotation."""
    what = settings(given)
    storage = facts.get("storage")
    classes = _entries(storage, "classes") if isinstance(storage, Mapping) else []
    return [
        _bare_class(str(item["name"]), dict.fromkeys(item.get("default_by") or [DEFAULT], "false"))
        for item in classes
        if item.get("name") in what["demoted_classes"] and item.get("default") is True
    ]


def _bare_class(name: str, annotations: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": dict(annotations)},
    }


def _labels() -> dict[str, str]:
    return labels_of(NAME)


def _metadata(what: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": NAME, "namespace": what["namespace"], "labels": _labels()}


def _namespace(what: Mapping[str, Any]) -> dict[str, Any]:
    """The helper pods mount a folder of the node, which Pod Security allows at the level privileged alone."""
    return privileged_namespace(what["namespace"], {"app.kubernetes.io/managed-by": MANAGED_BY})


def _account(what: Mapping[str, Any]) -> dict[str, Any]:
    """Its token is mounted in the provisioner alone: helper pods run under the same account, without it."""
    return account(_metadata(what))


# what the provisioner asks of the API, by its sources; /ready lists what it watches, and pods and ConfigMaps
IN_CLUSTER = (
    ("", "nodes", ("get",)),
    ("", "persistentvolumeclaims", ("list", "watch", "update")),
    ("", "persistentvolumes", ("list", "watch", "create", "patch", "delete")),
    ("storage.k8s.io", "storageclasses", ("list", "watch")),
    ("", "events", ("create", "patch")),
)
IN_NAMESPACE = (
    ("", "pods", ("get", "list", "create", "delete")),
    ("", "pods/log", ("get",)),
    ("", "configmaps", ("list",)),
)


def _rights(what: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for kind, rights in (("ClusterRole", IN_CLUSTER), ("Role", IN_NAMESPACE)):
        metadata = _metadata(what) if kind == "Role" else {"name": NAME, "labels": _labels()}
        rules = [{"apiGroups": [api], "resources": [resource], "verbs": list(verbs)} for api, resource, verbs in rights]
        yield role(kind, metadata, rules)
        yield binding(f"{kind}Binding", dict(metadata), (kind, NAME), (what["namespace"], NAME))


def configuration(given: Mapping[str, Any]) -> dict[str, str]:
    """The provisioner's files by name: where volumes lie, and what makes and removes them."""
    what = settings(given)
    nodes = [{"node": str(name), "paths": list(paths)} for name, paths in sorted(what["node_folders"].items())]
    if what["other_nodes"] == "allowed":
        nodes.insert(0, {"node": OTHERS, "paths": [what["folder"]]})
    return {
        "config.json": json.dumps({"nodePathMap": nodes}, indent=2) + "\n",
        "setup": SETUP,
        "teardown": TEARDOWN,
        "helperPod.yaml": dumps(_helper(what)),
    }


def _helper(what: Mapping[str, Any]) -> dict[str, Any]:
    """The pod that makes or removes a volume's folder, on its node: as root, with nothing else that root may do."""
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        # it runs where the claim's pod was put, whatever that pod tolerates
        "tolerations": [{"operator": "Exists"}],
        "containers": [
            {
                "name": "helper-pod",  # whose log the provisioner reads
                "image": what["helper_image"],
                "imagePullPolicy": "IfNotPresent",
                "resources": what["helper_resources"],
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": list(DROPPED)},
                },
            }
        ],
    }
    if what["priority_class"]:
        spec["priorityClassName"] = what["priority_class"]
    if what["image_pull_secrets"]:
        spec["imagePullSecrets"] = [{"name": name} for name in what["image_pull_secrets"]]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "helper-pod"}, "spec": spec}


def _configuration(what: Mapping[str, Any]) -> dict[str, Any]:
    return config_map(_metadata(what), configuration(what))


def image_of(what: Mapping[str, Any]) -> str:
    return f"{what['image']}:v{str(what['version']).lstrip('v')}"


def _deployment(what: Mapping[str, Any]) -> dict[str, Any]:
    digest = hashlib.sha256(json.dumps(configuration(what), sort_keys=True).encode()).hexdigest()
    pod: dict[str, Any] = {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": True,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 65534,
            "runAsGroup": 65534,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(what)],
        "volumes": [{"name": "config", "configMap": {"name": NAME}}],
        "tolerations": list(what["tolerations"]),
    }
    if what["priority_class"]:
        pod["priorityClassName"] = what["priority_class"]
    if what["node_selector"]:
        pod["nodeSelector"] = dict(what["node_selector"])
    if what["image_pull_secrets"]:
        pod["imagePullSecrets"] = [{"name": name} for name in what["image_pull_secrets"]]
    # what waits for the new pods waits for the new configuration too
    metadata = {"labels": _labels(), "annotations": {"gpunode.ready/configuration": digest[:16]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(what),
        "spec": {
            "replicas": 1,  # it elects no leader: two would serve the same claims
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
            "template": {"metadata": metadata, "spec": pod},
        },
    }


def _container(what: Mapping[str, Any]) -> dict[str, Any]:
    flags = {
        "config": "/etc/config/config.json",
        "helper-pod-file": "/etc/config/helperPod.yaml",
        "configmap-name": NAME,
        "service-account-name": NAME,
        "provisioner-name": PROVISIONER,
    }
    namespace = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    made: dict[str, Any] = {
        "name": "local-path-provisioner",
        "image": image_of(what),
        "imagePullPolicy": "IfNotPresent",
        "command": ["local-path-provisioner", "start"],
        "args": [word for name, value in flags.items() for word in (f"--{name}", value)],
        "env": [{"name": "POD_NAMESPACE", "valueFrom": namespace}],
        "resources": dict(what["resources"]),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "config", "mountPath": "/etc/config", "readOnly": True}],
    }
    if (version_of(what["version"]) or NEWEST) >= HEALTH:
        made["env"].append({"name": "HEALTH_PORT", "value": str(PORT)})
        made["ports"] = [{"name": "health", "containerPort": PORT, "protocol": "TCP"}]
        made["livenessProbe"] = {"httpGet": {"path": "/health", "port": "health"}, "initialDelaySeconds": 10}
        made["readinessProbe"] = {"httpGet": {"path": "/ready", "port": "health"}, "periodSeconds": 5}
    return made


def _class(what: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    storage = facts.get("storage")
    annotations = {"defaultVolumeType": what["volume_type"]}
    if is_default(what, storage if isinstance(storage, Mapping) else {}):
        annotations[DEFAULT] = "true"
    made: dict[str, Any] = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": what["class_name"], "labels": _labels(), "annotations": annotations},
        "provisioner": PROVISIONER,
        "reclaimPolicy": what["reclaim_policy"],
        "volumeBindingMode": "WaitForFirstConsumer",  # with Immediate no node is chosen, and it refuses
    }
    if what["other_nodes"] == "refused":
        # without it the scheduler takes a node that the provisioner then refuses, and the claim waits there for ever
        values = sorted(_hostnames(what["node_folders"], facts))
        made["allowedTopologies"] = [{"matchLabelExpressions": [{"key": HOSTNAME, "values": values}]}]
    return made


def _hostnames(names: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """The hostname labels of nodes, which the scheduler compares; the name itself where the label is not known."""
    nodes = facts.get("nodes")
    labels = {
        item.get("name"): item.get("labels") or {}
        for item in (nodes if isinstance(nodes, list) else [])
        if isinstance(item, Mapping)
    }
    return [str(labels.get(name, {}).get(HOSTNAME) or name) for name in names]
