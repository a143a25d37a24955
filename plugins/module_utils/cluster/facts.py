# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look once at a cluster: every part of its facts from a list call of each kind, never one call an object.

Of thousands of pods only those are kept that a check could speak of: pending, failed, with devices, or part of the GPU
stack, the pod network, metrics-server or storage. What each part holds: ``docs/facts.md``. A part that the API refuses
is ``{"unavailable": reason}`` and hides no other; when nobody answers, nobody is asked again.
"""

from __future__ import annotations

import functools
import gc
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..node import unavailable
from .client import ApiError, Client, ClusterError, Unreachable
from .kubeconfig import KubeconfigError

VENDOR = "nvidia.com/"  # the resources that this project speaks of
KEPT = 1000  # pending and failed pods kept of each; more are counted

# What a container is, by the last part of its image's name, and by its program where one image holds several.
IMAGES: tuple[tuple[str, str], ...] = (
    (r"k8s-device-plugin|nvidia-(gpu-)?device-plugin", "plugin"),
    (r"gpu-feature-discovery", "gfd"),
    (r"dcgm-exporter", "dcgm"),
    (r"node-feature-discovery", "nfd"),
    (r"(k8s-dra-driver-gpu|dra-driver-nvidia-gpu)", "dra"),
    (r"local-path-provisioner", "provisioner"),
)
# What carries the cluster besides, by the last parts of an image's path, of which the first one is upstream's.
SERVICES: tuple[tuple[str, str], ...] = (
    (r"(?:.*/)?(?:mirrored-flannel(?:cni|-io)?-|hardened-)?flannel(?:-cni-plugin)?", "flannel"),
    (r"(?:.*/)?(?:calico/node|mirrored-calico-node|hardened-calico)", "calico"),
    (r"(?:.*/)?(?:cilium/cilium(?:-ci)?|mirrored-cilium-cilium)", "cilium"),
    (r"(?:.*/)?weave-?kube", "weave"),
    (r"(?:.*/)?kube-router", "kube-router"),
    (r"(?:.*/)?antrea-(?:agent-)?(?:ubuntu|ubi)", "antrea"),
    (r"(?:.*/)?kindnetd", "kindnet"),
    (r"(?:.*/)?(?:kube-ovn|ovn-kube[\w-]*)", "ovn"),
    (r"(?:.*/)?amazon-k8s-cni", "amazon-vpc"),
    (r"(?:.*/)?metrics-server(?:/metrics-server)?|(?:.*/)?mirrored-metrics-server", "metrics-server"),
)
_SERVICES = re.compile("|".join(f"(?P<s{number}>{pattern})" for number, (pattern, _name) in enumerate(SERVICES)))
SERVING = "kubernetes.io/kubelet-serving"  # the signer of the certificates with which kubelets serve
NODE_USER = "system:node:"
PROGRAMS = {
    "gpu-feature-discovery": "gfd",
    "mps-control-daemon": "mps",
    "config-manager": "config-manager",
    "nvidia-device-plugin": "plugin",
}

# The warnings that checks read; the rest of a busy cluster's events is left where it is.
EVENTS = (
    "FailedCreate",
    "FailedCreatePodSandBox",
    "FailedScheduling",
    "Failed",
    "BackOff",
    "Evicted",
    "FailedMount",
    "ProvisioningFailed",
    "UnexpectedAdmissionError",
)


def collect(client: Client, parts: Iterable[str] = ()) -> dict[str, Any]:
    """The facts of a cluster: all parts, or those named. Raises ``KeyError`` for a part that does not exist."""
    collecting = gc.isenabled()
    gc.disable()  # millions of small objects, all of them kept for the moment: looking for garbage costs a third more
    try:
        return _collect(client, parts)
    finally:
        if collecting:
            gc.enable()


def _collect(client: Client, parts: Iterable[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {"schema": 1}
    gone = ""
    for part in dict.fromkeys(["api", *(list(parts) or COLLECTORS)]):
        collector = COLLECTORS[part]
        if gone:
            facts[part] = unavailable(gone)
            continue
        try:
            facts[part] = collector(client)
        except (Unreachable, KubeconfigError) as error:
            gone = str(error)
            if part == "api":
                facts[part] = {"server": client.where.server, "ready": False, "problem": problem(error)}
            else:
                facts[part] = unavailable(gone)
        except ClusterError as error:
            facts[part] = unavailable(str(error))
    return facts


def without_api(error: Exception, parts: Iterable[str] = ()) -> dict[str, Any]:
    """The facts where there is not even an address to ask."""
    rest = [part for part in (list(parts) or COLLECTORS) if part != "api"]
    told = {"server": "", "ready": False, "problem": problem(error)}
    return {"schema": 1, "api": told, **{part: unavailable(str(error)) for part in rest}}


def problem(error: Exception) -> dict[str, Any]:
    """An error as facts: ``kind``, ``text`` and where."""
    if isinstance(error, KubeconfigError):
        where = {"path": error.path, "line": error.line}
        return {"kind": f"kubeconfig-{error.kind}", "text": error.problem, **where}
    if isinstance(error, Unreachable):
        return {"kind": error.kind, "text": error.text, "path": error.server, "line": None}
    status = error.status if isinstance(error, ApiError) else None
    return {"kind": "api", "text": str(error), "path": "", "line": None, "status": status}


# ---------------------------------------------------------------- parts


def api(client: Client) -> dict[str, Any]:
    """Who answers, at which version, and what it says of its own readiness."""
    where = client.where
    status, said = client.raw("/readyz", verbose="1")
    failed = re.findall(r"^\[-\](\S+)", said, re.MULTILINE)
    found: dict[str, Any] = {
        "server": where.server,
        "kubeconfig": where.path,
        "ready": status == 200 if status in (200, 500, 503) else None,
        "failed": failed,
        "problem": None,
    }
    if status == 401:
        found["problem"] = {"kind": "unauthorized", "text": _message(said), "path": where.path, "line": None}
        return found
    try:
        version = client.get("/version")
        found["version"] = version.get("gitVersion")
    except ApiError as error:
        found["problem"] = problem(error)
    return found


def nodes(client: Client) -> list[dict[str, Any]]:
    return [node(item) for item in client.list("/api/v1/nodes")]


def runtimeclasses(client: Client) -> list[dict[str, Any]]:
    found = []
    for item in client.list("/apis/node.k8s.io/v1/runtimeclasses"):
        scheduling = item.get("scheduling") or {}
        found.append(
            {
                "name": item["metadata"]["name"],
                "handler": item.get("handler"),
                "node_selector": scheduling.get("nodeSelector") or {},
                "tolerations": scheduling.get("tolerations") or [],
            }
        )
    return found


def daemonsets(client: Client) -> list[dict[str, Any]]:
    """The DaemonSets of the GPU stack and of the pod network."""
    found = []
    for item in client.list("/apis/apps/v1/daemonsets"):
        pod = pod_spec(((item.get("spec") or {}).get("template") or {}).get("spec") or {})
        if pod["component"] in ("", "provisioner"):
            continue
        status = item.get("status") or {}
        found.append(
            {
                **_name(item),
                "component": pod["component"],
                "desired": status.get("desiredNumberScheduled") or 0,
                "current": status.get("currentNumberScheduled") or 0,
                "ready": status.get("numberReady") or 0,
                "managed_by": _managed_by(item),
                "pod": pod,
            }
        )
    return found


def pods(client: Client) -> dict[str, Any]:
    """How many pods of each phase, and those that a check could speak of."""
    counts: dict[str, int] = {}
    evicted: dict[str, int] = {}
    kept: dict[str, int] = {}
    listed = []
    for item in client.list("/api/v1/pods"):
        status = item.get("status") or {}
        phase = status.get("phase") or "Unknown"
        counts[phase] = counts.get(phase, 0) + 1
        if phase == "Failed" and status.get("reason") == "Evicted":
            namespace = item["metadata"].get("namespace") or ""
            evicted[namespace] = evicted.get(namespace, 0) + 1
        spec = item.get("spec") or {}
        containers = spec.get("containers") or []
        component = component_of(containers) or service_kind(containers)
        requests = device_requests(spec)
        troubled = phase in ("Pending", "Failed", "Unknown")
        if troubled and not requests and not component:
            kind = "Evicted" if status.get("reason") == "Evicted" else phase
            kept[kind] = kept.get(kind, 0) + 1
            if kept[kind] > KEPT:
                continue
        if troubled or component or requests:
            listed.append(pod(item))
    return {"counts": counts, "evicted": evicted, "listed": listed}


def events(client: Client) -> list[dict[str, Any]]:
    """The newest warning of each object and reason."""
    newest: dict[tuple[str, ...], dict[str, Any]] = {}
    for item in client.list("/api/v1/events", fieldSelector="type=Warning"):
        if item.get("reason") not in EVENTS:
            continue
        about = item.get("involvedObject") or {}
        event = {
            "kind": about.get("kind") or "",
            "namespace": about.get("namespace") or "",
            "name": about.get("name") or "",
            "reason": item["reason"],
            "message": item.get("message") or "",
            "count": item.get("count") or 1,
            "last": item.get("lastTimestamp") or item.get("eventTime") or item["metadata"].get("creationTimestamp"),
        }
        key = (event["kind"], event["namespace"], event["name"], event["reason"])
        if key not in newest or str(event["last"]) >= str(newest[key]["last"]):
            newest[key] = event
    return list(newest.values())


# What makes a StorageClass the default; the API still reads the older one.
DEFAULTS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")


def storage(client: Client) -> dict[str, Any]:
    """StorageClasses, who provisions for them, how many volumes they have, and the claims that wait for one."""
    classes, claims = [], []
    for item in client.list("/apis/storage.k8s.io/v1/storageclasses"):
        annotations = item["metadata"].get("annotations") or {}
        default_by = [name for name in DEFAULTS if annotations.get(name) == "true"]
        classes.append(
            {
                "name": item["metadata"]["name"],
                "provisioner": item.get("provisioner"),
                "binding": item.get("volumeBindingMode") or "Immediate",
                "reclaim": item.get("reclaimPolicy") or "Delete",
                "default": bool(default_by),
                "default_by": default_by,
                "labels": item["metadata"].get("labels") or {},
                "managed_by": _managed_by(item),
            }
        )
    for item in client.list("/api/v1/persistentvolumeclaims"):
        if (item.get("status") or {}).get("phase") == "Pending":
            spec = item.get("spec") or {}
            claims.append({**_name(item), "class": spec.get("storageClassName"), "volume": spec.get("volumeName")})
    volumes: dict[str, int] = {}
    for item in client.list("/api/v1/persistentvolumes"):
        name = (item.get("spec") or {}).get("storageClassName") or ""
        volumes[name] = volumes.get(name, 0) + 1
    found = [provisioner(item) for item in client.list("/apis/apps/v1/deployments")]
    return {
        "classes": classes,
        "provisioners": [item for item in found if item],
        "volumes": volumes,
        "pending_claims": claims,
    }


def provisioner(item: Mapping[str, Any]) -> dict[str, Any] | None:
    """A Deployment that runs local-path-provisioner; None for any other."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or []
    if component_of(containers) != "provisioner":
        return None
    seen = (status.get("observedGeneration") or 0) >= (item["metadata"].get("generation") or 0)
    failures = [one for one in status.get("conditions") or [] if one.get("type") == "ReplicaFailure"]
    return {
        **_name(item),
        "provisioner": _serves(containers),
        "images": [container.get("image") or "" for container in containers],
        "desired": spec.get("replicas", 1),
        "updated": (status.get("updatedReplicas") or 0) if seen else 0,
        "ready": status.get("readyReplicas") or 0,
        "message": next((one.get("message") or "" for one in failures if one.get("status") == "True"), ""),
        "managed_by": _managed_by(item),
    }


def _serves(containers: Iterable[Mapping[str, Any]]) -> str:
    """The name that a local-path-provisioner serves: by flag, by variable, or its own."""
    for container in containers:
        words = [str(word) for word in [*(container.get("command") or []), *(container.get("args") or [])]]
        for number, word in enumerate(words):
            flag, equals, value = word.partition("=")
            if flag in ("--provisioner-name", "-provisioner-name"):
                return value if equals else next(iter(words[number + 1 :]), "")
        for pair in container.get("env") or []:
            if pair.get("name") == "PROVISIONER_NAME" and pair.get("value"):
                return str(pair["value"])
    return "rancher.io/local-path"


def apiservices(client: Client) -> list[dict[str, Any]]:
    """The APIs that a Service in the cluster answers, such as the one of metrics-server, and whether it does."""
    found = []
    for item in client.list("/apis/apiregistration.k8s.io/v1/apiservices"):
        service = (item.get("spec") or {}).get("service")
        if not service:
            continue
        told = (item.get("status") or {}).get("conditions") or []
        available: Mapping[str, Any] = next((one for one in told if one.get("type") == "Available"), {})
        found.append(
            {
                "name": item["metadata"]["name"],
                "service": f"{service.get('namespace')}/{service.get('name')}",
                "available": {"True": True, "False": False}.get(available.get("status") or ""),
                "reason": available.get("reason") or "",
                "message": available.get("message") or "",
                "managed_by": _managed_by(item),
            }
        )
    return found


def certificates(client: Client) -> dict[str, Any]:
    """Whether kubelets ask for certificates to serve with, as kubeadm keeps it, and those who wait for one."""
    waiting = []
    for item in client.list("/apis/certificates.k8s.io/v1/certificatesigningrequests"):
        spec, status = item.get("spec") or {}, item.get("status") or {}
        decided = {condition.get("type") for condition in status.get("conditions") or []}
        user = spec.get("username") or ""
        if spec.get("signerName") == SERVING and not decided & {"Approved", "Denied", "Failed"}:
            created = item["metadata"].get("creationTimestamp")
            waiting.append(
                {"name": item["metadata"]["name"], "node": user.partition(NODE_USER)[2], "user": user, "since": created}
            )
    return {"server_tls_bootstrap": _server_tls_bootstrap(client), "serving_pending": waiting}


def _server_tls_bootstrap(client: Client) -> bool | None:
    """What kubeadm gives to every kubelet that joins; None on clusters that it did not make."""
    try:
        config = client.get("/api/v1/namespaces/kube-system/configmaps/kubelet-config")
    except ApiError as error:
        if error.status in (403, 404):
            return None
        raise
    text = (config.get("data") or {}).get("kubelet") or ""
    return bool(re.search(r"^serverTLSBootstrap:\s*true\s*$", text, re.MULTILINE)) if text else None


COLLECTORS: dict[str, Callable[[Client], Any]] = {
    "api": api,
    "nodes": nodes,
    "runtimeclasses": runtimeclasses,
    "daemonsets": daemonsets,
    "pods": pods,
    "events": events,
    "storage": storage,
    "apiservices": apiservices,
    "certificates": certificates,
}


# ---------------------------------------------------------------- one object


def node(item: Mapping[str, Any]) -> dict[str, Any]:
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    info = status.get("nodeInfo") or {}
    return {
        "name": metadata["name"],
        "labels": metadata.get("labels") or {},
        "taints": spec.get("taints") or [],
        "unschedulable": bool(spec.get("unschedulable")),
        "capacity": devices(status.get("capacity")),
        "allocatable": devices(status.get("allocatable")),
        "conditions": {
            condition["type"]: {key: condition.get(key) for key in ("status", "reason", "message")}
            for condition in status.get("conditions") or []
        },
        "kubelet_version": info.get("kubeletVersion"),
        "runtime": info.get("containerRuntimeVersion"),
        "boot_id": info.get("bootID"),
        "pod_cidrs": spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else []),
    }


def pod(item: Mapping[str, Any]) -> dict[str, Any]:
    spec, status = item.get("spec") or {}, item.get("status") or {}
    conditions = {condition.get("type"): condition for condition in status.get("conditions") or []}
    scheduled = conditions.get("PodScheduled") or {}
    owner: Mapping[str, Any] = next(iter(item["metadata"].get("ownerReferences") or []), {})
    states = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return {
        **_name(item),
        "phase": status.get("phase") or "Unknown",
        "reason": status.get("reason") or "",
        "message": status.get("message") or "",
        "node": spec.get("nodeName") or "",
        "owner": {"kind": owner.get("kind") or "", "name": owner.get("name") or ""},
        "created": item["metadata"].get("creationTimestamp"),
        "unscheduled": (scheduled.get("message") or "") if scheduled.get("status") == "False" else "",
        "waiting": [
            {
                "container": state.get("name"),
                "reason": waiting.get("reason") or "",
                "message": waiting.get("message") or "",
                "image": state.get("image") or "",
                "restarts": state.get("restartCount") or 0,
            }
            for state in states
            for waiting in [(state.get("state") or {}).get("waiting")]
            if waiting
        ],
        **pod_spec(spec),
    }


def pod_spec(spec: Mapping[str, Any]) -> dict[str, Any]:
    """What of a pod's spec decides where it runs, how it gets GPUs, and what it is."""
    containers = spec.get("containers") or []
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    return {
        "component": component_of(containers) or service_kind(containers),
        "runtime_class": spec.get("runtimeClassName") or "",
        "node_selector": spec.get("nodeSelector") or {},
        "node_affinity": required.get("nodeSelectorTerms") or [] if required else None,
        "tolerations": spec.get("tolerations") or [],
        "host_network": bool(spec.get("hostNetwork")),
        "requests": device_requests(spec),
        "images": [container.get("image") or "" for container in containers],
        "env": {
            pair["name"]: pair.get("value") or ""
            for container in containers
            for pair in container.get("env") or []
            if "value" in pair and "name" in pair and (component_of([container]) in ("plugin", "gfd", "dcgm"))
        },
        "host_paths": [
            volume["hostPath"].get("path") for volume in spec.get("volumes") or [] if volume.get("hostPath")
        ],
    }


def service_kind(containers: Iterable[Mapping[str, Any]]) -> str:
    """``cni`` for the pods of a pod network, ``metrics`` for those of metrics-server, else empty."""
    found = next((name for container in containers if (name := service_of(container.get("image") or ""))), "")
    return "metrics" if found == "metrics-server" else "cni" if found else ""


@functools.lru_cache(maxsize=4096)
def service_of(image: str) -> str:
    """What an image is of what carries the cluster, such as flannel; empty for others."""
    path = image.partition("@")[0]
    head, slash, tail = path.rpartition("/")
    found = _SERVICES.fullmatch(f"{head}{slash}{tail.partition(':')[0]}")
    return SERVICES[int(str(found.lastgroup)[1:])][1] if found else ""


def component_of(containers: Iterable[Mapping[str, Any]]) -> str:
    """What part of the GPU stack a pod is; empty where it is none."""
    found = ""
    for container in containers:
        name = (container.get("image") or "").partition("@")[0].rpartition("/")[2].partition(":")[0]
        kind = next((kind for pattern, kind in IMAGES if re.fullmatch(pattern, name)), "")
        words = [*(container.get("command") or []), *(container.get("args") or [])][:1]
        program = str(words[0]).rpartition("/")[2] if words else ""
        kind = PROGRAMS.get(program, kind) if kind else ""
        if kind and (not found or found == "config-manager"):
            found = kind
    return found


def device_requests(spec: Mapping[str, Any]) -> dict[str, int]:
    """resource → devices a pod needs at once: its containers' together, or what one init container needs alone."""
    total: dict[str, int] = {}
    for container in spec.get("containers") or []:
        for name, amount in _wanted(container).items():
            total[name] = total.get(name, 0) + amount
    for container in spec.get("initContainers") or []:
        for name, amount in _wanted(container).items():
            total[name] = max(total.get(name, 0), amount)
    return total


def _wanted(container: Mapping[str, Any]) -> dict[str, int]:
    resources = container.get("resources")
    if not resources:
        return {}
    return {**devices(resources.get("limits")), **devices(resources.get("requests"))}


def devices(quantities: Mapping[str, Any] | None) -> dict[str, int]:
    """NVIDIA's resources among quantities; they are whole numbers, written as such or as ``1k``."""
    return {name: quantity(value) for name, value in (quantities or {}).items() if name.startswith(VENDOR)}


SUFFIXES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}


def quantity(value: Any) -> int:
    """The whole number of a quantity; 0 for what is none."""
    found = re.fullmatch(r"(\d+)(k|M|G|Ki|Mi|Gi|)", str(value))
    return int(found[1]) * SUFFIXES[found[2]] if found else 0


def _name(item: Mapping[str, Any]) -> dict[str, str]:
    return {"namespace": item["metadata"].get("namespace") or "", "name": item["metadata"]["name"]}


def _managed_by(item: Mapping[str, Any]) -> str:
    """Who made an object, as far as it says: an owner, a label, a chart, or the manager of most of its fields."""
    metadata = item["metadata"]
    owner = next(iter(metadata.get("ownerReferences") or []), None)
    if owner:
        return f"{owner.get('kind')} {owner.get('name')}"
    labels = metadata.get("labels") or {}
    if labels.get("kubernetes.io/minikube-addons") or labels.get("addonmanager.kubernetes.io/mode"):
        return "minikube addon"
    if labels.get("app.kubernetes.io/managed-by"):
        return str(labels["app.kubernetes.io/managed-by"])
    managers = [entry.get("manager") for entry in metadata.get("managedFields") or [] if entry.get("manager")]
    ours = [name for name in managers if name == "gpunode.ready"]
    return str((ours or managers or [""])[0])


def _message(said: str) -> str:
    found = re.search(r'"message":\s*"([^"]*)"', said)
    return found[1] if found else said.strip()[:200]
