# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lives in a cluster, put there through its API: nodes that no kubelet reports, pods in any phase."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "collections"))

from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import MERGE, ApiError, Client, find_endpoint

PLUGIN_IMAGE = "nvcr.io/nvidia/k8s-device-plugin:v0.20.0"
READY = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}


class Cluster:
    """Objects of the API by path, and their status."""

    def __init__(self, kubeconfig: Path) -> None:
        self.client = Client(find_endpoint(str(kubeconfig)))

    def put(self, path: str, item: dict[str, Any]) -> dict[str, Any]:
        """Create an object, and its status if it has one, which a create alone ignores."""
        made = self.client.call("POST", path, item)
        if "status" in item:
            target = f"{path}/{item['metadata']['name']}/status"
            made = self.client.call("PATCH", target, {"status": item["status"]}, content=MERGE)
        return made

    def patch(self, path: str, change: dict[str, Any]) -> dict[str, Any]:
        return self.client.call("PATCH", path, change, content=MERGE)

    def namespace(self, name: str, **labels: str) -> str:
        self.put("/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
        return name

    def node(self, name: str, gpus: int = 0, labels=None, taints=(), conditions=(), version="v1.20.2", **more):
        amounts = {"cpu": "8", "memory": "32Gi", "pods": "250", **({"nvidia.com/gpu": str(gpus)} if gpus else {})}
        status = {
            "capacity": {**amounts, **more.pop("capacity", {})},
            "allocatable": {**amounts, **more.pop("allocatable", {})},
            "conditions": [*(conditions or [READY])],
            "nodeInfo": {**INFO, "kubeletVersion": version},
        }
        spec = {"taints": [dict(taint) for taint in taints], **more}
        metadata = {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}}
        made = self.put("/api/v1/nodes", {"metadata": metadata, "spec": spec, "status": status})
        # admission taints a new node as not ready; the node controller, which is not here, takes the taint away
        return self.patch(f"/api/v1/nodes/{name}", {"spec": {"taints": spec["taints"]}}) if made else made

    def pod(self, name: str, namespace="default", node="", gpus=0, status=None, spec=None, **metadata):
        limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
        container = {"name": "main", "image": "registry.invalid/work:1", "resources": {"limits": limits}}
        body = {"containers": [container], **({"nodeName": node} if node else {}), **(spec or {})}
        item = {"metadata": {"name": name, **metadata}, "spec": body}
        if status:
            item["status"] = status
        return self.put(f"/api/v1/namespaces/{namespace}/pods", item)

    def plugin(self, name="nvidia-device-plugin", namespace="kube-system", desired=1, spec=None, image=PLUGIN_IMAGE):
        labels = {"name": name}
        pod = {"containers": [{"name": "plugin", "image": image}], **(spec or {})}
        item = {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
            "status": {
                "currentNumberScheduled": desired,
                "desiredNumberScheduled": desired,
                "numberReady": desired,
                "numberMisscheduled": 0,
            },
        }
        return self.put(f"/apis/apps/v1/namespaces/{namespace}/daemonsets", item)

    def plugin_pod(self, node: str, owner="nvidia-device-plugin", namespace="kube-system", status=None, spec=None):
        reference = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": owner, "uid": "0", "controller": True}
        body = {"containers": [{"name": "plugin", "image": PLUGIN_IMAGE}], **(spec or {})}
        return self.pod(
            f"{owner}-{node}",
            namespace,
            node,
            status=status or {"phase": "Running"},
            spec=body,
            ownerReferences=[reference],
        )

    def runtimeclass(self, name="nvidia", handler="nvidia", **more):
        return self.put("/apis/node.k8s.io/v1/runtimeclasses", {"metadata": {"name": name}, "handler": handler, **more})

    def storageclass(self, name="local-path", provisioner="rancher.io/local-path", default=False, **labels: str):
        annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
        metadata = {"name": name, "annotations": annotations, "labels": labels}
        item = {"metadata": metadata, "provisioner": provisioner, "volumeBindingMode": "WaitForFirstConsumer"}
        return self.put("/apis/storage.k8s.io/v1/storageclasses", item)

    def provisioner(self, name="local-path-provisioner", namespace="kube-system", ready=1, conditions=(), **more):
        """A Deployment of local-path-provisioner, as k3s brings it, with its status as a controller reports it."""
        labels = {"app": name}
        pod = {"containers": [{"name": "provisioner", "image": "rancher/local-path-provisioner:v0.0.36", **more}]}
        spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
        path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
        made = self.put(path, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})
        self.rolled_out(made, ready, conditions)
        return made

    def rolled_out(self, deployment: dict[str, Any], ready=1, conditions=()) -> None:
        metadata = deployment["metadata"]
        numbers = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": ready, "availableReplicas": ready}
        status = {"observedGeneration": metadata["generation"], **numbers, "conditions": [*conditions]}
        path = f"/apis/apps/v1/namespaces/{metadata['namespace']}/deployments/{metadata['name']}/status"
        self.patch(path, {"status": status})

    def warning(self, kind: str, namespace: str, name: str, reason: str, message: str):
        space = namespace or "default"
        about = {"kind": kind, "namespace": space, "name": name, "apiVersion": "v1"}
        return self.put(
            f"/api/v1/namespaces/{space}/events",
            {
                "metadata": {"generateName": "event-"},
                "involvedObject": about,
                "reason": reason,
                "message": message,
                "type": "Warning",
                "count": 3,
                "lastTimestamp": "2026-11-20T08:00:00Z",
            },
        )

    def clear(self) -> None:
        """An empty cluster again: everything that tests put there goes at once."""
        spaces = [item["metadata"]["name"] for item in self.client.list("/api/v1/namespaces")]
        for space in spaces:
            for kind in (
                f"/api/v1/namespaces/{space}/pods",
                f"/apis/apps/v1/namespaces/{space}/daemonsets",
                f"/apis/apps/v1/namespaces/{space}/deployments",
                f"/api/v1/namespaces/{space}/events",
                f"/api/v1/namespaces/{space}/configmaps",
                f"/api/v1/namespaces/{space}/persistentvolumeclaims",
                f"/api/v1/namespaces/{space}/serviceaccounts",
                f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}/roles",
                f"/apis/rbac.authorization.k8s.io/v1/namespaces/{space}/rolebindings",
            ):
                self.sweep(kind, {"gracePeriodSeconds": 0})
        path = "/apis/apiregistration.k8s.io/v1/apiservices"
        for item in list(self.client.list(path)):
            if item["spec"].get("service"):
                self.sweep_one(f"{path}/{item['metadata']['name']}")
        for kind in (
            "/api/v1/nodes",
            "/api/v1/persistentvolumes",
            "/apis/node.k8s.io/v1/runtimeclasses",
            "/apis/storage.k8s.io/v1/storageclasses",
        ):
            self.sweep(kind, {})
        for space in spaces:
            if space.startswith("kube-") or space == "default":
                continue
            self.client.call("DELETE", f"/api/v1/namespaces/{space}")
            # the namespace controller, which is not here, would take the finalizer away
            path = f"/api/v1/namespaces/{space}"
            try:
                self.client.call("PUT", f"{path}/finalize", {"metadata": {"name": space}, "spec": {"finalizers": []}})
            except ApiError as error:
                if error.status != 404:
                    raise

    def sweep_one(self, path: str) -> None:
        """Take one object away, if it is there."""
        try:
            self.client.call("DELETE", path)
        except ApiError as error:
            if error.status != 404:
                raise

    def sweep(self, path: str, options: dict[str, Any]) -> None:
        for item in self.client.list(path):
            if (item["metadata"].get("finalizers")) or (item["metadata"].get("deletionTimestamp")):
                target = f"{path}/{item['metadata']['name']}"
                self.client.call("PATCH", target, {"metadata": {"finalizers": None}}, content=MERGE)
        self.client.call("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", **options})


INFO = {
    "machineID": "0",
    "systemUUID": "0",
    "bootID": "2c0f3c9e-0f3f-4a0b-9d63-0c7b6a4f5a55",
    "kernelVersion": "6.1.0",
    "osImage": "Debian GNU/Linux 12 (bookworm)",
    "containerRuntimeVersion": "cri-o://1.36.3",
    "kubeProxyVersion": "v1.20.2",
    "operatingSystem": "linux",
    "architecture": "amd64",
}


def populate(kubeconfig: Path, nodes: int, pods: int, threads: int = 16) -> None:
    """``nodes`` GPU nodes and ``pods`` pods on them, in many namespaces, as a busy cluster has them."""
    one = Cluster(kubeconfig)
    spaces = [one.namespace(f"team-{number}") for number in range(10)]
    one.runtimeclass()
    one.plugin(desired=nodes, spec={"runtimeClassName": "nvidia"})

    def make_nodes(numbers: Sequence[int]) -> None:
        mine = Cluster(kubeconfig)
        for number in numbers:
            mine.node(f"gpu-{number:03}", gpus=8, labels={"nvidia.com/gpu.present": "true", **EXTRA_LABELS})
            mine.plugin_pod(f"gpu-{number:03}", spec={"runtimeClassName": "nvidia"})

    def make_pods(numbers: Sequence[int]) -> None:
        mine = Cluster(kubeconfig)
        for number in numbers:
            waits = number % 50 == 0
            mine.pod(
                f"work-{number:05}",
                spaces[number % len(spaces)],
                node="" if waits else f"gpu-{number % nodes:03}",
                gpus=16 if waits else int(number % 10 == 1),
                status={"phase": "Pending"} if waits else {"phase": "Running", **RUNNING},
                spec=REALISTIC,
                labels={"app": f"work-{number % 40}", "pod-template-hash": f"{number:08x}"},
            )

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(make_nodes, shares(range(nodes), threads)))
        list(pool.map(make_pods, shares(range(pods - nodes), threads)))


def shares(numbers: Iterable[int], parts: int) -> list[list[int]]:
    every = list(numbers)
    return [every[start::parts] for start in range(parts)]


# A pod as a Deployment's is: what makes a list of thousands long.
EXTRA_LABELS = {f"feature.node.kubernetes.io/cpu-cpuid.FEATURE{number}": "true" for number in range(40)}
REALISTIC = {
    "serviceAccountName": "default",
    "volumes": [{"name": "data", "emptyDir": {}}, {"name": "settings", "configMap": {"name": "settings"}}],
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}
RUNNING = {
    "podIP": "10.244.1.7",
    "hostIP": "192.0.2.7",
    "startTime": "2026-11-20T08:00:00Z",
    "conditions": [
        {"type": kind, "status": "True", "lastTransitionTime": "2026-11-20T08:00:00Z"}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ],
    "containerStatuses": [
        {
            "name": "main",
            "image": "registry.invalid/work:1",
            "imageID": "registry.invalid/work@sha256:" + "0" * 64,
            "containerID": "cri-o://" + "0" * 64,
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": "2026-11-20T08:00:00Z"}},
        }
    ],
}
