# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with a cluster, put into a real one and found there; and nothing found where nothing is wrong."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.checks.cluster_all import CLUSTER_CHECKS, judge_cluster
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import Client, find_endpoint
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.expect import cluster_expectations
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.facts import collect, without_api
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.kubeconfig import KubeconfigError
from ansible_run import module, run
from control_plane import kubeconfig_text

TAINT = {"key": "nvidia.com/gpu", "effect": "NoSchedule"}
TOLERATES = {"tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]}
NVIDIA = {"runtimeClassName": "nvidia"}
PRESENT = {"nvidia.com/gpu.present": "true"}


def host(gpus=2, name="NVIDIA H200", handler="nvidia", default="crun", driver="580.159.04"):
    """What node_info sees on a node with GPUs."""
    return {
        "os": {"hostname": "gpu-1"},
        "gpus": {"devices": [{"address": f"0000:0{number}:00.0"} for number in range(gpus)]},
        "nvml": {"device_count": gpus, "driver_version": driver, "devices": [{"name": name}] * gpus},
        "runtimes": {
            "crio": {"installed": True, "default_handler": default, "handlers": {"crun": {}, handler: {}}},
            "docker": {"installed": False},
        },
    }


def healthy(cluster):
    cluster.runtimeclass()
    cluster.node("plane", taints=[{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}])
    cluster.node("gpu-1", gpus=2, labels=PRESENT, taints=[TAINT])
    cluster.plugin(spec={**NVIDIA, **TOLERATES, "nodeSelector": PRESENT})
    cluster.plugin_pod("gpu-1", spec=NVIDIA)
    cluster.pod("work", node="gpu-1", gpus=1, spec={**NVIDIA, **TOLERATES}, status={"phase": "Running"})
    cluster.pod("done", node="gpu-1", gpus=2, spec=NVIDIA, status={"phase": "Succeeded"})


def look(cluster):
    return collect(cluster.client)


def judge(facts, hosts=None, **expect):
    return {finding.id: finding for finding in judge_cluster(facts, cluster_expectations(expect), hosts)}


# ---------------------------------------------------------------- nothing wrong


def test_a_healthy_cluster_has_no_findings(cluster):
    healthy(cluster)

    found = judge(look(cluster), {"gpu-1": host()}, devices={"gpu-1": 2})

    assert {name: finding.cause for name, finding in found.items()} == {}


def test_an_empty_cluster_has_no_findings(cluster):
    assert judge(look(cluster)) == {}


def test_the_look_takes_a_few_lists_whatever_the_size(cluster):
    healthy(cluster)
    few = Client(cluster.client.where)
    collect(few)
    for number in range(30):
        cluster.pod(f"more-{number}", node="gpu-1", status={"phase": "Running"})
    many = Client(cluster.client.where)

    collect(many)

    assert few.requests == many.requests == 14


# ---------------------------------------------------------------- what is put there, and what must be found


def no_label(cluster):
    cluster.runtimeclass()
    cluster.node("gpu-1")
    cluster.plugin(desired=0, spec={**NVIDIA, "nodeSelector": PRESENT})


def no_affinity(cluster):
    terms = [
        {
            "matchExpressions": [
                {"key": "feature.node.kubernetes.io/pci-10de.present", "operator": "In", "values": ["true"]}
            ]
        },
        {"matchExpressions": [{"key": "nvidia.com/gpu.present", "operator": "In", "values": ["true"]}]},
    ]
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}
    cluster.runtimeclass()
    cluster.node("gpu-1", labels={"feature.node.kubernetes.io/pci-0302_10de.present": "true"})
    cluster.plugin(desired=0, spec={**NVIDIA, "affinity": {"nodeAffinity": required}})


def class_selects(cluster):
    cluster.runtimeclass(scheduling={"nodeSelector": {"gpu": "yes"}})
    cluster.node("gpu-1", labels=PRESENT)
    cluster.plugin(desired=0, spec=NVIDIA)


def tainted_daemon(cluster):
    cluster.runtimeclass()
    cluster.node("gpu-1", labels=PRESENT, taints=[TAINT])
    cluster.plugin(desired=0, spec=NVIDIA)


def tainted_pod(cluster):
    healthy(cluster)
    cluster.pod("waits", gpus=1, status={"phase": "Pending"})


def selects_nothing(cluster):
    healthy(cluster)
    selector = {"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-B200"}, **TOLERATES}
    cluster.pod("waits", gpus=1, spec=selector, status={"phase": "Pending"})


def too_few(cluster):
    healthy(cluster)
    cluster.pod("waits", gpus=2, spec=TOLERATES, status={"phase": "Pending"})


def never_enough(cluster):
    healthy(cluster)
    cluster.pod("waits", gpus=3, spec=TOLERATES, status={"phase": "Pending"})


def class_missing(cluster):
    cluster.node("gpu-1", labels=PRESENT)
    cluster.plugin(spec=NVIDIA)
    cluster.warning("DaemonSet", "kube-system", "nvidia-device-plugin", "FailedCreate", 'pods "x" is forbidden: '
                    'pod rejected: RuntimeClass "nvidia" not found')  # fmt: skip


def refused(cluster):
    healthy(cluster)
    cluster.patch(
        "/apis/apps/v1/namespaces/kube-system/daemonsets/nvidia-device-plugin/status",
        {"status": {"currentNumberScheduled": 0, "desiredNumberScheduled": 1, "numberReady": 0}},
    )
    cluster.warning("DaemonSet", "kube-system", "nvidia-device-plugin", "FailedCreate",
                    'pods "x" is forbidden: violates PodSecurity "restricted:latest": hostPath volumes')  # fmt: skip


def default_runtime(cluster):
    cluster.runtimeclass()
    cluster.node("gpu-1", labels=PRESENT)
    cluster.plugin()
    cluster.plugin_pod("gpu-1")


def crash_loop(cluster):
    cluster.runtimeclass()
    cluster.node("gpu-1", labels=PRESENT)
    cluster.plugin(spec=NVIDIA)
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container"}
    state = {
        "name": "plugin",
        "image": "x",
        "imageID": "",
        "ready": False,
        "restartCount": 7,
        "state": {"waiting": waiting},
    }
    cluster.plugin_pod("gpu-1", spec=NVIDIA, status={"phase": "Running", "containerStatuses": [state]})


def blocked_image(cluster):
    healthy(cluster)
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry.invalid/work:1"'}
    state = {"name": "main", "image": "registry.invalid/work:1", "imageID": "", "ready": False, "restartCount": 0,
             "state": {"waiting": waiting}}  # fmt: skip
    cluster.pod("pulls", node="gpu-1", gpus=1, status={"phase": "Pending", "containerStatuses": [state]})
    cluster.warning("Pod", "default", "pulls", "Failed", "Failed to pull image: dial tcp: lookup registry.invalid")


def twice(cluster):
    healthy(cluster)
    cluster.plugin("addon", spec=NVIDIA)
    cluster.plugin_pod("gpu-1", owner="addon")


def sick_gpu(cluster):
    healthy(cluster)
    cluster.patch("/api/v1/nodes/gpu-1/status", {"status": {"allocatable": {"nvidia.com/gpu": "1"}}})


def after_reboot(cluster):
    healthy(cluster)
    message = "Pod Allocate failed due to no healthy devices present; cannot allocate unhealthy devices nvidia.com/gpu"
    failed = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": message}
    cluster.pod("left", node="gpu-1", gpus=1, status=failed)


def too_large(cluster):
    healthy(cluster)
    message = (
        "Pod Allocate failed due to rpc error: code = Unknown desc = request for 'nvidia.com/gpu: 2' too large: "
        "maximum request size for shared resources is 1, which is unexpected"
    )
    failed = {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": message}
    cluster.pod("greedy", node="gpu-1", gpus=2, status=failed)


def evicted(cluster):
    healthy(cluster)
    failed = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: ephemeral-storage."}
    for number in range(3):
        cluster.pod(f"gone-{number}", node="gpu-1", status=failed)


def not_ready(cluster):
    healthy(cluster)
    gone = {"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown", "message": "Kubelet stopped posting"}
    cluster.node("gpu-2", conditions=[gone])


def no_network(cluster):
    healthy(cluster)
    message = "container runtime network not ready: reason:NetworkPluginNotReady message: cni plugin not initialized"
    cluster.node(
        "gpu-2", conditions=[{"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": message}]
    )


def flannel(cluster, **more):
    image = "mirror.invalid:5000/flannel-io/flannel:v0.28.9"
    cluster.plugin("flannel", image=image, spec={"hostNetwork": True})
    cluster.pod("flannel-x", "kube-system", "gpu-2", spec={"containers": [{"name": "flannel", "image": image}]}, **more)


def flannel_crashes(cluster):
    no_network(cluster)
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 5m0s restarting failed container=flannel"}
    state = {"name": "flannel", "image": "x", "imageID": "", "ready": False, "restartCount": 9,
             "state": {"waiting": waiting}}  # fmt: skip
    flannel(cluster, status={"phase": "Running", "containerStatuses": [state]})


def no_range(cluster):
    no_network(cluster)
    flannel(cluster, status={"phase": "Running"})


def unanswered_api(cluster, name="v1beta1.example.invalid"):
    version, _dot, group = name.partition(".")
    spec = {"group": group, "version": version, "groupPriorityMinimum": 100, "versionPriority": 100,
            "insecureSkipTLSVerify": True, "service": {"name": "nobody", "namespace": "kube-system"}}  # fmt: skip
    path = "/apis/apiregistration.k8s.io/v1/apiservices"
    cluster.sweep_one(f"{path}/{name}")
    cluster.put(path, {"metadata": {"name": name}, "spec": spec})
    until = time.monotonic() + 60
    while time.monotonic() < until:  # the API server looks by itself, and tells its condition when it has
        told = (cluster.client.get(f"{path}/{name}").get("status") or {}).get("conditions") or []
        if any(one["type"] == "Available" for one in told):
            break
        time.sleep(0.1)


def self_signed(cluster):
    unanswered_api(cluster, "v1beta1.metrics.k8s.io")
    config = {"kubelet": "kind: KubeletConfiguration\nserverTLSBootstrap: false\n"}
    cluster.put("/api/v1/namespaces/kube-system/configmaps", {"metadata": {"name": "kubelet-config"}, "data": config})


def no_metrics(cluster):
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}
    state = {"name": "metrics-server", "image": "x", "imageID": "", "ready": False, "restartCount": 3,
             "state": {"waiting": waiting}}  # fmt: skip
    image = "registry.k8s.io/metrics-server/metrics-server:v0.9.0"
    cluster.pod("metrics-x", "kube-system", "plane", spec={"containers": [{"name": "metrics-server", "image": image}]},
                status={"phase": "Running", "containerStatuses": [state]})  # fmt: skip


def full_disk(cluster):
    healthy(cluster)
    pressed = {
        "type": "DiskPressure",
        "status": "True",
        "reason": "KubeletHasDiskPressure",
        "message": "kubelet has disk pressure",
    }
    ready = {"type": "Ready", "status": "True"}
    cluster.node("gpu-2", conditions=[ready, pressed])


def cordoned(cluster):
    healthy(cluster)
    cluster.patch("/api/v1/nodes/gpu-1", {"spec": {"unschedulable": True}})


def newer_kubelet(cluster):
    healthy(cluster)
    cluster.node("new", version="v1.99.1")


def nothing_deployed(cluster):
    cluster.runtimeclass()
    cluster.node("gpu-1", labels=PRESENT)


def unknown_handler(cluster):
    healthy(cluster)
    cluster.pod("stuck", node="gpu-1", gpus=1, spec=NVIDIA, status={"phase": "Pending"})
    cluster.warning("Pod", "default", "stuck", "FailedCreatePodSandBox",
                    'Failed to create pod sandbox: rpc error: code = Unknown desc = failed to get sandbox runtime: '
                    'no runtime for "nvidia" is configured')  # fmt: skip


def claim(cluster, name, **more):
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}, **more}
    item = {"metadata": {"name": name}, "spec": spec, "status": {"phase": "Pending"}}
    cluster.put("/api/v1/namespaces/default/persistentvolumeclaims", item)


def homeless_claim(cluster):
    claim(cluster, "data")
    claim(cluster, "by-hand", storageClassName="")  # waits for a volume that a person makes


def unknown_class(cluster):
    cluster.put("/apis/storage.k8s.io/v1/storageclasses", {"metadata": {"name": "local-path"}, "provisioner": "x/y"})
    claim(cluster, "fast", storageClassName="nvme")


def no_default(cluster):
    cluster.storageclass("fast", "ebs.csi.aws.com")


def two_defaults(cluster):
    cluster.storageclass("fast", "ebs.csi.aws.com", default=True)
    cluster.storageclass("slow", "x/y", default=True)


def provisioner_refused(cluster):
    message = 'pods "local-path-provisioner-" is forbidden: violates PodSecurity "restricted:latest"'
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    cluster.storageclass(default=True)
    cluster.provisioner(ready=0, conditions=[failure])


def provisioner_gone(cluster):
    cluster.storageclass(default=True)


def exporter_unlabelled(cluster):
    healthy(cluster)
    selector = {**TOLERATES, "nodeSelector": {"nvidia.com/gpu.deploy.dcgm-exporter": "true"}}
    image = "mirror.invalid:5000/k8s/dcgm-exporter:4.5.3"
    cluster.plugin("dcgm-exporter", desired=0, image=image, spec=selector)


# id → (what is put there, words of its cause)
SCENES = {
    "plugin-node-label-missing": [
        (no_label, "DESIRED 0.*nvidia.com/gpu.present=true.*gpu-1 has no label"),
        (no_affinity, "pci-10de.present=true or nvidia.com/gpu.present=true"),
        (class_selects, "gpu=yes"),
    ],
    "taint-blocks-scheduling": [
        (tainted_daemon, "DESIRED 0: gpu-1 has the taint nvidia.com/gpu:NoSchedule"),
        (tainted_pod, "default/waits would fit gpu-1 but for the taint"),
    ],
    "node-selector-matches-no-node": [(selects_nothing, "NVIDIA-B200; none of 2 has it")],
    "insufficient-gpu": [
        (too_few, "asks for 2 nvidia.com/gpu; of 2 in the cluster 1 are free.*held by default/work"),
        (never_enough, "can never run: no node has more than 2"),
    ],
    "runtimeclass-not-found": [(class_missing, "nvidia, which does not exist")],
    "pod-creation-refused": [(refused, "0 of 1 pods.*PodSecurity")],
    "plugin-without-nvidia-runtime": [(default_runtime, "default runtime.*expected runtimeClassName: nvidia")],
    "plugin-pod-not-running": [(crash_loop, "CrashLoopBackOff after 7 restarts")],
    "image-pull-failed": [(blocked_image, "registry.invalid/work:1 cannot be pulled.*dial tcp")],
    "plugin-twice": [(twice, "both run on gpu-1")],
    "allocatable-below-capacity": [(sick_gpu, "has 2 nvidia.com/gpu, 1 of them allocatable")],
    "allocatable-unlike-devices": [(default_runtime, "0 nvidia.com/gpu allocatable; expected at least 1")],
    "pod-unexpected-admission-after-reboot": [(after_reboot, "1 pod is left Failed")],
    "time-slicing-request-greater-than-one": [(too_large, "greedy asked for 2 nvidia.com/gpu.*expected 1")],
    "evicted-pods-left": [(evicted, r"3 evicted pods are left \(3 in default\)")],
    "node-not-ready": [(not_ready, "gpu-2 has Ready=Unknown: Kubelet stopped posting")],
    "cni-not-initialized": [(no_network, "gpu-2 has no pod network")],
    "cni-pod-not-running": [(flannel_crashes, "brings the pod network to gpu-2, does not run: .*CrashLoopBackOff")],
    "pod-cidr-not-assigned": [(no_range, "gpu-2 has no podCIDR")],
    "kubelet-serving-certificate-self-signed": [(self_signed, "no `serverTLSBootstrap: true`")],
    "metrics-server-not-running": [(no_metrics, "kube-system/metrics-x does not run: .*CrashLoopBackOff")],
    "api-service-unavailable": [(unanswered_api, "v1beta1.example.invalid, which kube-system/nobody should answer")],
    "disk-pressure-eviction": [(full_disk, "gpu-2 reports DiskPressure")],
    "node-cordoned": [(cordoned, "gpu-1 is cordoned")],
    "kubeadm-version-mismatch": [(newer_kubelet, "kubelet on new is v1.99.1")],
    "plugin-not-deployed": [(nothing_deployed, "gpu-1 should offer GPUs")],
    "runtime-handler-missing": [(unknown_handler, "gpu-1 does not know the handler nvidia")],
    "pvc-unbound-no-storageclass": [
        (homeless_claim, "^default/data waits for the default StorageClass"),
        (unknown_class, r"default/fast waits for the StorageClass nvme.*\(there: local-path\)"),
    ],
    "storageclass-missing": [(no_default, r"No StorageClass is the default \(there: fast\)")],
    "default-storageclass-twice": [(two_defaults, "fast .* and slow .* are each the default StorageClass")],
    "storage-provisioner-not-ready": [
        (provisioner_refused, "kube-system/local-path-provisioner .* has 0 of 1 pods ready.*violates PodSecurity"),
        (provisioner_gone, "local-path names the provisioner rancher.io/local-path, and no Deployment runs it"),
    ],
    "dcgm-node-label-missing": [(exporter_unlabelled, "nvidia.com/gpu.deploy.dcgm-exporter=true")],
}
PAIRS = [(name, scene, words) for name, scenes in SCENES.items() for scene, words in scenes]


@pytest.mark.parametrize(
    ("name", "scene", "words"), PAIRS, ids=[f"{name}-{scene.__name__}" for name, scene, _w in PAIRS]
)
def test_what_is_wrong_is_found(cluster, name, scene, words):
    scene(cluster)

    found = judge(look(cluster))

    assert name in found, sorted(found)
    assert re.search(words, found[name].cause), found[name].cause


# ---------------------------------------------------------------- joined with what the nodes say of themselves

JOINED = {
    "runtime-handler-missing": ({"handler": "kata"}, "has crun and kata; expected nvidia"),
    "allocatable-unlike-devices": ({"gpus": 4}, r"has 2 nvidia.com/gpu allocatable; expected 4 \(NVML sees 4\)"),
}


@pytest.mark.parametrize("name", JOINED)
def test_what_contradicts_the_node_itself_is_found(cluster, name):
    changes, words = JOINED[name]
    healthy(cluster)

    found = judge(look(cluster), {"gpu-1": host(**changes)})

    assert re.search(words, found[name].cause), found[name].cause


def test_labels_that_are_no_longer_true_are_found(cluster):
    healthy(cluster)
    labels = {"nvidia.com/gpu.product": "Tesla-T4", "nvidia.com/gpu.count": "8"}
    cluster.patch("/api/v1/nodes/gpu-1", {"metadata": {"labels": labels}})

    cause = judge(look(cluster), {"some-inventory-name": host()})["node-labels-stale"].cause

    assert "nvidia.com/gpu.count=8, but has 2 by NVML" in cause
    assert "nvidia.com/gpu.product=Tesla-T4, but has NVIDIA-H200 by NVML" in cause


def test_sharing_multiplies_what_is_expected(cluster):
    healthy(cluster)

    cause = judge(look(cluster), {"gpu-1": host()}, replicas=10)["allocatable-unlike-devices"].cause

    assert "expected 20 (NVML sees 2, each shared 10 times)" in cause


def test_a_default_runtime_that_injects_gpus_needs_no_class(cluster):
    default_runtime(cluster)

    found = judge(look(cluster), {"gpu-1": host(default="nvidia")})

    assert "plugin-without-nvidia-runtime" not in found


def test_a_workload_without_a_class_is_noticed_where_the_default_injects_nothing(cluster):
    healthy(cluster)
    cluster.pod("blind", node="gpu-1", gpus=1, status={"phase": "Running"})

    assert "default/blind" in judge(look(cluster), {"gpu-1": host()})["workload-without-runtimeclass"].cause
    assert "workload-without-runtimeclass" not in judge(look(cluster), {"gpu-1": host(default="nvidia")})


def test_an_exporter_without_a_class_is_found(cluster):
    healthy(cluster)
    image = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-distroless"
    cluster.plugin("dcgm-exporter", image=image)
    containers = [{"name": "exporter", "image": image}]
    cluster.plugin_pod("gpu-1", owner="dcgm-exporter", spec={"containers": containers})

    assert "monitoring-without-nvidia-runtime" in judge(look(cluster), {"gpu-1": host()})


def test_a_consequence_is_folded_under_its_cause(cluster):
    no_label(cluster)

    found = judge(look(cluster), {"gpu-1": host()})

    assert next(iter(found)) == "plugin-node-label-missing"
    assert found["allocatable-unlike-devices"].consequence_of == "plugin-node-label-missing"


# ---------------------------------------------------------------- the way to the API


def reach(path, patience=0.5, timeout=2):
    try:
        where = find_endpoint(str(path))
    except KubeconfigError as error:
        return judge(without_api(error))
    return judge(collect(Client(where, timeout, patience)))


def test_a_kubeconfig_that_is_not_there_is_found(tmp_path):
    assert "no such kubeconfig" in reach(tmp_path / "none")["kubeconfig-missing"].cause


def test_a_kubeconfig_that_is_no_kubeconfig_is_found(tmp_path):
    (tmp_path / "config").write_text("clusters:\n- name: a\n  cluster: [\n")

    assert f"{tmp_path}/config:" in reach(tmp_path / "config")["kubeconfig-invalid"].cause


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user; run as root")
def test_a_kubeconfig_of_somebody_else_is_found():
    with tempfile.NamedTemporaryFile("w") as stream:  # 0600, in a folder that others may enter
        stream.write("{}")
        stream.flush()
        child = os.fork()
        if child == 0:
            os.setuid(65534)
            found = reach(stream.name)
            told = found.get("kubeconfig-permission")
            os._exit(0 if told and "user 65534 may not read it (owner 0, mode 0600)" in told.cause else 1)
        _pid, status = os.waitpid(child, 0)

    assert os.waitstatus_to_exitcode(status) == 0


def test_the_authority_of_another_cluster_is_found(plane, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=other", "-days", "1",
                    "-keyout", tmp_path / "key", "-out", tmp_path / "ca"], check=True, capture_output=True)  # fmt: skip
    (tmp_path / "config").write_text(kubeconfig_text(plane.server, tmp_path / "ca", plane.tokens["admin"]))

    found = reach(tmp_path / "config")

    assert "certificate is not trusted" in found["kubeconfig-wrong-ca"].cause
    assert list(found) == ["kubeconfig-wrong-ca"]


def test_a_token_that_is_not_known_is_found_and_never_told(plane, tmp_path):
    (tmp_path / "config").write_text(kubeconfig_text(plane.server, plane.authority, "a-token-that-expired"))

    found = reach(tmp_path / "config")

    assert "does not accept the credentials" in found["kubeconfig-credentials-refused"].cause
    assert "a-token-that-expired" not in repr(found)


def test_rights_that_are_missing_are_named_by_part(plane):
    found = reach(plane.kubeconfig("nobody"))

    assert re.search(
        "apiservices, certificates, daemonsets, events, nodes, pods, runtimeclasses and storage",
        found["cluster-permission-missing"].cause,
    )


def test_a_server_that_nobody_runs_is_found_at_once(plane, tmp_path):
    (tmp_path / "config").write_text(kubeconfig_text("https://127.0.0.1:1", plane.authority, "x"))
    began = time.monotonic()

    found = reach(tmp_path / "config")

    assert "https://127.0.0.1:1 does not answer: the connection is refused" in found["apiserver-not-ready"].cause
    assert time.monotonic() - began < 5


def test_a_server_that_hangs_is_waited_for_no_longer_than_told(plane):
    path = plane.kubeconfig()
    began = time.monotonic()
    plane.pause()
    try:
        found = reach(path, patience=1, timeout=1)
    finally:
        plane.resume()

    assert "no answer within 1 s" in found["apiserver-not-ready"].cause
    assert time.monotonic() - began < 6


def test_a_server_that_comes_back_within_the_patience_is_waited_for(plane):
    path = plane.kubeconfig()
    resumer = subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {plane.processes[-1].pid}"])
    plane.pause()
    try:
        found = reach(path, patience=20, timeout=1)
    finally:
        plane.resume()
        resumer.wait()

    assert "apiserver-not-ready" not in found


def test_a_list_of_many_pages_is_read_to_its_end(cluster, monkeypatch):
    client = sys.modules["ansible_collections.gpunode.ready.plugins.module_utils.cluster.client"]
    monkeypatch.setattr(client, "PAGE", 7)
    for number in range(20):
        cluster.pod(f"p-{number:02}", status={"phase": "Pending"})

    assert collect(cluster.client, ["pods"])["pods"]["counts"] == {"Pending": 20}


# ---------------------------------------------------------------- the module itself


def test_the_module_judges_and_changes_nothing(cluster, plane, tmp_path):
    healthy(cluster)
    arguments = {"kubeconfig": str(plane.kubeconfig()), "node_facts": {"gpu-1": host(gpus=4)}}

    answer = module(tmp_path, "cluster_info", arguments)

    assert not answer["changed"]
    assert [finding["id"] for finding in answer["findings"]] == ["allocatable-unlike-devices"]
    assert answer["free"]["gpu-1"] == {"nvidia.com/gpu": 1}
    assert "expected 4 (NVML sees 4)" in answer["summary"]


def test_the_module_answers_where_there_is_no_kubeconfig(plane, tmp_path):
    answer = module(tmp_path, "cluster_info", {"kubeconfig": str(tmp_path / "none")})

    assert answer["worst"] == "fatal"
    assert [finding["id"] for finding in answer["findings"]] == ["kubeconfig-missing"]


def test_the_module_refuses_an_expectation_that_does_not_exist(plane, tmp_path):
    answer = module(tmp_path, "cluster_info", {"expect": {"gpu_cuont": 2}})

    assert "unknown expectations: gpu_cuont" in answer["msg"]


def test_the_playbook_shows_what_is_allocated_and_free(cluster, plane, tmp_path):
    healthy(cluster)
    variables = {"device_plugin_kubeconfig": str(plane.kubeconfig()), "ansible_become": False}
    groups = {"gpu_nodes": {"hosts": {"here": {}}}}

    done = run(tmp_path, "ansible-playbook", "gpunode.ready.gpu_info", "-e", json.dumps(variables), groups=groups)

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"gpu-1 +- +nvidia.com/gpu +2 +1 +1", done.stdout)
    assert "nothing wrong" in done.stdout
    assert "changed=0" in done.stdout


def test_every_check_has_a_scene():
    elsewhere = {
        "kubeconfig-missing", "kubeconfig-permission", "kubeconfig-invalid", "kubeconfig-wrong-ca",
        "kubeconfig-credentials-refused", "apiserver-not-ready", "cluster-permission-missing", "node-labels-stale",
        "workload-without-runtimeclass", "monitoring-without-nvidia-runtime", "kubelet-serving-certificate-pending",
    }  # fmt: skip

    assert {check.id for check in CLUSTER_CHECKS} == set(SCENES) | elsewhere
