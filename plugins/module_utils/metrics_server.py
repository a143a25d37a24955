# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""metrics-server: the version that goes with a cluster, what is wrong with its settings, and its objects.

Rules of this file: functions from settings to problems and to Kubernetes objects; no I/O. Names are our own, so that
what is taken away is never somebody else's; the APIService alone has the name of its API.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .cluster.manifests import MANAGED_BY, RBAC, account, binding, config_map, labels_of, merged, role, with_numbers
from .x509 import CertificateError, certificates

NAME = "gpunode-metrics-server"
NAMESPACE = "kube-system"
API = "v1beta1.metrics.k8s.io"
KUBELETS = ("cluster", "authority", "unverified")
ADDRESS_TYPES = ("InternalIP", "ExternalIP", "Hostname", "InternalDNS", "ExternalDNS")
LEAST_RESOLUTION, REQUEST_SECONDS = 12, 10  # nine tenths of the resolution must hold one request to a kubelet
# minor of metrics-server → (its newest release, the oldest Kubernetes that it is for)
RELEASES: dict[tuple[int, int], tuple[str, tuple[int, int]]] = {
    (0, 9): ("0.9.0", (1, 34)),
    (0, 8): ("0.8.1", (1, 31)),
    (0, 7): ("0.7.2", (1, 27)),
}

DEFAULTS: dict[str, Any] = {
    "version": "",
    "image": "registry.k8s.io/metrics-server/metrics-server",
    "image_pull_secrets": [],
    "replicas": 1,
    "resolution_seconds": 15,
    "kubelet_certificates": "cluster",
    "kubelet_authority": "",
    "address_types": ["InternalIP", "ExternalIP", "Hostname"],
    "tls_secret": "",
    "tls_authority": "",
    "host_network": False,
    "port": 10250,
    "node_selector": {"kubernetes.io/os": "linux"},
    "tolerations": [],
    "resources": {"requests": {"cpu": "100m", "memory": "200Mi"}},
}


def settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults with what was given put over them. Raises ``ValueError`` naming every key that is unknown."""
    return with_numbers(merged(given, DEFAULTS), DEFAULTS)


# ---------------------------------------------------------------- versions


def minor_of(text: Any) -> tuple[int, int] | None:
    """(0, 9) of ``0.9.0`` or ``v0.9.0``; None where there is no such number."""
    found = re.match(r"v?(\d+)\.(\d+)(\.|$)", str(text))
    return (int(found[1]), int(found[2])) if found else None


def spelt(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def version_for(given: Mapping[str, Any], cluster_version: Any = "") -> str:
    """The version asked for; else the newest that is for this Kubernetes, and the oldest known for one older still."""
    if given.get("version"):
        return str(given["version"]).lstrip("v")
    cluster = minor_of(cluster_version)
    fitting = [release for release, since in RELEASES.values() if cluster is None or cluster >= since]
    return fitting[0] if fitting else next(reversed(list(RELEASES.values())))[0]


def untried(given: Mapping[str, Any], cluster_version: Any) -> str:
    """A sentence where upstream names no version for a Kubernetes so old; empty otherwise."""
    cluster = minor_of(cluster_version)
    oldest = min(since for _release, since in RELEASES.values())
    if given.get("version") or cluster is None or cluster >= oldest:
        return ""
    return (
        f"Kubernetes is {cluster_version}, older than {spelt(oldest)}, for which metrics-server "
        f"{version_for(given, cluster_version)} is meant: it may not work."
    )


# ---------------------------------------------------------------- what is wrong


def problems(given: Mapping[str, Any], cluster_version: Any = "") -> list[str]:
    """Everything that is wrong with these settings, each with the value found and the value expected."""
    return list(_problems(settings(given), cluster_version))


def _problems(what: Mapping[str, Any], cluster_version: Any) -> Iterator[str]:
    yield from _version_problems(what, cluster_version)
    if not re.fullmatch(r"[a-z0-9][a-zA-Z0-9._:-]*(/[a-z0-9][a-z0-9._-]*)+", str(what["image"])):
        yield f"image is `{what['image']}`; expected an image with its registry and without its tag"
    for name, least, most in (
        ("replicas", 1, 9),
        ("port", 1024, 65535),
        ("resolution_seconds", LEAST_RESOLUTION, 3600),
    ):
        value = what[name]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            yield f"{name} is `{value}`; expected {least} to {most}"
    if what["host_network"] and what["port"] == DEFAULTS["port"]:
        yield f"port is {what['port']} in the network of the node, where kubelet has it; expected another, such as 4443"
    unknown = [kind for kind in what["address_types"] if kind not in ADDRESS_TYPES]
    if unknown or not what["address_types"]:
        found = ", ".join(map(str, unknown)) or "empty"
        yield f"address_types has {found}; expected some of {', '.join(ADDRESS_TYPES)}"
    yield from _trust_problems(what)


def _version_problems(what: Mapping[str, Any], cluster_version: Any) -> Iterator[str]:
    version, cluster = minor_of(what["version"]), minor_of(cluster_version)
    if not what["version"]:
        return
    if not re.fullmatch(r"v?\d+\.\d+\.\d+", str(what["version"])):
        such = max(version for version, _kubernetes in RELEASES.values())
        yield f"version is `{what['version']}`; expected one such as {such}"
    elif version is None or version not in RELEASES:
        known = ", ".join(spelt(minor) for minor in RELEASES)
        yield f"version is {what['version']}; expected one of {known}, which are known here"
    elif cluster is not None and cluster < RELEASES[version][1]:
        since = spelt(RELEASES[version][1])
        yield f"version is {what['version']}, for Kubernetes {since} and newer; this one is {cluster_version}"


def _trust_problems(what: Mapping[str, Any]) -> Iterator[str]:
    kubelets = what["kubelet_certificates"]
    if kubelets not in KUBELETS:
        yield f"kubelet_certificates is `{kubelets}`; expected one of {', '.join(KUBELETS)}"
    if kubelets == "authority" and not what["kubelet_authority"]:
        yield "kubelet_authority is empty with kubelet_certificates authority; expected its certificates as PEM"
    if kubelets != "authority" and what["kubelet_authority"]:
        yield f"kubelet_authority is given with kubelet_certificates {kubelets}; expected authority there"
    for name in ("kubelet_authority", "tls_authority"):
        if what[name]:
            try:
                certificates(str(what[name]))
            except CertificateError as error:
                yield f"{name} cannot be read: {error}; expected certificates as PEM"
    if bool(what["tls_secret"]) != bool(what["tls_authority"]):
        lacking = "tls_authority" if what["tls_secret"] else "tls_secret"
        yield f"{lacking} is empty; expected tls_secret and tls_authority together, or neither"


def foreign(apiservices: Iterable[Any]) -> list[str]:
    """Who else answers the metrics API, each with its Service and who made it."""
    ours = (f"{NAMESPACE}/{NAME}", MANAGED_BY)
    return [
        f"the APIService {API}, answered by {item.get('service')} (by {item.get('managed_by') or 'somebody'})"
        for item in apiservices
        if isinstance(item, Mapping)
        and item.get("name") == API
        and (item.get("service"), item.get("managed_by")) != ours
    ]


# ---------------------------------------------------------------- objects


def objects(given: Mapping[str, Any], cluster_version: Any = "") -> list[dict[str, Any]]:
    """The objects, in the order in which they must be made. ``problems`` comes first: this trusts the settings."""
    what = settings(given)
    made = [_account(), *_rights()]
    if what["kubelet_authority"]:
        made.append(_authority(what))
    if what["replicas"] > 1:
        made.append(_disruptions(cluster_version))
    return [*made, _deployment(what, cluster_version), _service(), _api(what)]


def all_objects(cluster_version: Any = "") -> list[dict[str, Any]]:
    """Whatever any settings could have made."""
    return objects({"kubelet_authority": "(any)", "replicas": 2}, cluster_version)


def _labels() -> dict[str, str]:
    return labels_of(NAME)


def _metadata() -> dict[str, Any]:
    return {"name": NAME, "namespace": NAMESPACE, "labels": _labels()}


def _account() -> dict[str, Any]:
    return account(_metadata())


def _rights() -> list[dict[str, Any]]:
    """It reads the kubelets' metrics, and asks the API who asks it. Who may view the cluster may view its metrics."""
    us = (NAMESPACE, NAME)
    read = ["get", "list", "watch"]
    aggregated = {f"{RBAC}/aggregate-to-{name}": "true" for name in ("view", "edit", "admin")}
    return [
        role(
            "ClusterRole",
            {"name": NAME, "labels": _labels()},
            [
                {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
                {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": read},
            ],
        ),
        role(
            "ClusterRole",
            {"name": f"{NAME}-reader", "labels": {**_labels(), **aggregated}},
            [{"apiGroups": ["metrics.k8s.io"], "resources": ["pods", "nodes"], "verbs": read}],
        ),
        binding("ClusterRoleBinding", {"name": NAME, "labels": _labels()}, ("ClusterRole", NAME), us),
        binding(
            "ClusterRoleBinding",
            {"name": f"{NAME}-delegator", "labels": _labels()},
            ("ClusterRole", "system:auth-delegator"),
            us,
        ),
        binding("RoleBinding", _metadata(), ("Role", "extension-apiserver-authentication-reader"), us),
    ]


def _authority(what: Mapping[str, Any]) -> dict[str, Any]:
    return config_map(_metadata(), {"ca.crt": str(what["kubelet_authority"])})


def _disruptions(cluster_version: Any) -> dict[str, Any]:
    """One answers while nodes are drained. Told so that it holds up no drain where there is but one again."""
    cluster = minor_of(cluster_version)
    return {
        "apiVersion": "policy/v1beta1" if cluster is not None and cluster < (1, 21) else "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}}},
    }


def arguments(what: Mapping[str, Any]) -> list[str]:
    """metrics-server's flags."""
    found = [
        "--cert-dir=/tmp",
        f"--secure-port={what['port']}",
        f"--kubelet-preferred-address-types={','.join(what['address_types'])}",
        "--kubelet-use-node-status-port",
        f"--metric-resolution={what['resolution_seconds']}s",
    ]
    if what["kubelet_certificates"] == "authority":
        found.append("--kubelet-certificate-authority=/etc/kubelet-authority/ca.crt")
    if what["kubelet_certificates"] == "unverified":
        found.append("--kubelet-insecure-tls")
    if what["tls_secret"]:
        found += ["--tls-cert-file=/etc/metrics-server/tls.crt", "--tls-private-key-file=/etc/metrics-server/tls.key"]
    return found


def _deployment(what: Mapping[str, Any], cluster_version: Any) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [{"name": "tmp", "mountPath": "/tmp"}]
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    annotations = {}
    if what["kubelet_authority"]:
        mounts.append({"name": "kubelet-authority", "mountPath": "/etc/kubelet-authority", "readOnly": True})
        volumes.append({"name": "kubelet-authority", "configMap": {"name": NAME}})
        # it is read at start only: a change has to make new pods
        digest = hashlib.sha256(str(what["kubelet_authority"]).encode()).hexdigest()
        annotations["gpunode.ready/configuration"] = digest[:16]
    if what["tls_secret"]:
        mounts.append({"name": "tls", "mountPath": "/etc/metrics-server", "readOnly": True})
        volumes.append({"name": "tls", "secret": {"secretName": what["tls_secret"]}})
    pod: dict[str, Any] = {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": True,
        "priorityClassName": "system-cluster-critical",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "runAsGroup": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "nodeSelector": dict(what["node_selector"]),
        "tolerations": list(what["tolerations"]),
        "containers": [_container(what, cluster_version, mounts)],
        "volumes": volumes,
    }
    if what["host_network"]:
        pod["hostNetwork"] = True
    if what["image_pull_secrets"]:
        pod["imagePullSecrets"] = [{"name": name} for name in what["image_pull_secrets"]]
    if what["replicas"] > 1:
        term = {
            "labelSelector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
            "topologyKey": "kubernetes.io/hostname",
        }
        pod["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    metadata: dict[str, Any] = {"labels": _labels(), **({"annotations": annotations} if annotations else {})}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(),
        "spec": {
            "replicas": what["replicas"],
            "selector": {"matchLabels": {"app.kubernetes.io/name": NAME}},
            # in the host's network, or one to a node, the new pod needs the place of the old one
            "strategy": {"type": "RollingUpdate", "rollingUpdate": _rolling(what)},
            "template": {"metadata": metadata, "spec": pod},
        },
    }


def _rolling(what: Mapping[str, Any]) -> dict[str, Any]:
    alone = what["replicas"] == 1 and not what["host_network"]
    return {"maxSurge": 1, "maxUnavailable": 0} if alone else {"maxSurge": 0, "maxUnavailable": 1}


def _container(what: Mapping[str, Any], cluster_version: Any, mounts: list[dict[str, Any]]) -> dict[str, Any]:
    def probe(path: str, **more: int) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": "https", "scheme": "HTTPS"}, "periodSeconds": 10, **more}

    return {
        "name": "metrics-server",
        "image": f"{what['image']}:v{version_for(what, cluster_version)}",
        "imagePullPolicy": "IfNotPresent",
        "args": arguments(what),
        "ports": [{"name": "https", "containerPort": what["port"], "protocol": "TCP"}],
        "resources": dict(what["resources"]),
        "livenessProbe": probe("/livez", failureThreshold=3),
        "readinessProbe": probe("/readyz", failureThreshold=3, initialDelaySeconds=20),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": mounts,
    }


def _service() -> dict[str, Any]:
    port = {"name": "https", "port": 443, "protocol": "TCP", "targetPort": "https"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(),
        "spec": {"selector": {"app.kubernetes.io/name": NAME}, "ports": [port]},
    }


def _api(what: Mapping[str, Any]) -> dict[str, Any]:
    """The API, with the authority of who answers it; without one, the API server takes any certificate."""
    spec: dict[str, Any] = {
        "group": "metrics.k8s.io",
        "version": "v1beta1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "service": {"name": NAME, "namespace": NAMESPACE, "port": 443},
    }
    if what["tls_authority"]:
        spec["caBundle"] = base64.b64encode(str(what["tls_authority"]).encode()).decode()
    else:
        spec["insecureSkipTLSVerify"] = True
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": API, "labels": _labels()},
        "spec": spec,
    }
