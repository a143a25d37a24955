# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""local_storage against a real API server: twice, refused, adopted, the default by name only, gone; and its rights."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import threading
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import local_storage as core
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import ApiError, Client
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.facts import collect
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.objects import Objects
from ansible_run import playbook, run
from inhabitants import Cluster

GOLDEN = Path(__file__).with_name("data") / "rbac.json"
CLASSES = "/apis/storage.k8s.io/v1/storageclasses"
DEPLOYMENTS = "/apis/apps/v1/deployments"
SETTINGS = {
    "plain": {},
    "oldest": {"version": "0.0.34"},
    "elsewhere": {"namespace": "disks", "class_name": "disk", "priority_class": "", "volume_type": "hostPath"},
    "pinned": {"node_folders": {"store-1": ["/data/a", "/data/b"]}, "other_nodes": "refused"},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_api_takes_every_object_and_finds_nothing_to_change_the_second_time(cluster, name):
    objects = Objects(cluster.client)
    items = core.objects(SETTINGS[name])

    first = [item.result for item in objects.apply(items)]
    second = [item.result for item in objects.apply(items)]

    assert set(first) <= {"created", "changed", "unchanged"}
    assert set(second) == {"unchanged"}


def test_from_one_version_to_the_next_only_the_deployment_changes(cluster):
    objects = Objects(cluster.client)
    objects.apply(core.objects({"version": "0.0.36"}))

    outcomes = objects.apply(core.objects({"version": "0.0.37"}))

    assert {item.kind for item in outcomes if item.changed} == {"Deployment"}


def test_nodes_that_are_refused_no_longer_can_be_allowed_again(cluster):
    objects = Objects(cluster.client)
    objects.apply(core.objects(SETTINGS["pinned"]))

    outcomes = objects.apply(core.objects({}))

    assert {item.kind for item in outcomes if item.changed} == {"ConfigMap", "Deployment", "StorageClass"}
    assert "allowedTopologies" not in cluster.client.get(f"{CLASSES}/local-path")


def test_the_api_takes_a_helper_pod_as_the_provisioner_makes_it(cluster):
    Objects(cluster.client).apply(core.objects({}))
    text = core._helper(core.settings({}))
    text["spec"] |= {"nodeName": "gpu-1", "serviceAccountName": core.NAME, "restartPolicy": "Never"}

    made = cluster.client.call("POST", "/api/v1/namespaces/local-path-storage/pods", text, {"dryRun": "All"})

    assert made["spec"]["priority"] == 2000001000
    assert "token" not in json.dumps(made["spec"].get("volumes") or [])


# ---------------------------------------------------------------- rights (case 48)


def rules(items):
    return {
        f"{item['kind']} {item['metadata']['name']}": item.get("rules") or item.get("roleRef")
        for item in items
        if item["apiVersion"].startswith("rbac.")
    }


def test_the_rights_that_are_given_are_those_of_the_golden_file():
    assert rules(core.objects({})) == json.loads(GOLDEN.read_text())["local_storage"]


def test_no_right_is_a_wildcard_and_nobody_becomes_an_administrator():
    text = json.dumps(rules(core.objects({})))

    assert "*" not in text
    assert "cluster-admin" not in text
    assert "secrets" not in text


def as_account(cluster):
    account = f"system:serviceaccount:local-path-storage:{core.NAME}"
    return Client(dataclasses.replace(cluster.client.where, impersonate=account), patience_seconds=1)


OWN = "/api/v1/namespaces/local-path-storage"
VOLUME = {
    "metadata": {"name": "pvc-1"},
    "spec": {
        "capacity": {"storage": "1Gi"},
        "accessModes": ["ReadWriteOnce"],
        "hostPath": {"path": "/opt/local-path-provisioner/pvc-1"},
        "storageClassName": "local-path",
    },
}
HELPER = {"metadata": {"name": "helper"}, "spec": {"containers": [{"name": "helper-pod", "image": "busybox"}]}}
EVENT = {"metadata": {"name": "e"}, "involvedObject": {"namespace": "default"}}
ATTEMPTS = [
    ("GET", "/api/v1/nodes/gpu-1", None, True),
    ("GET", "/api/v1/persistentvolumeclaims", None, True),
    ("GET", "/api/v1/persistentvolumes", None, True),
    ("POST", "/api/v1/persistentvolumes", VOLUME, True),
    ("GET", CLASSES, None, True),
    ("POST", "/api/v1/namespaces/default/events", EVENT, True),
    ("GET", f"{OWN}/pods", None, True),
    ("POST", f"{OWN}/pods", HELPER, True),
    ("GET", f"{OWN}/configmaps", None, True),
    ("GET", "/api/v1/nodes", None, False),
    ("PATCH", "/api/v1/nodes/gpu-1", {"metadata": {"labels": {"a": "b"}}}, False),
    ("GET", "/api/v1/pods", None, False),
    ("POST", "/api/v1/namespaces/kube-system/pods", HELPER, False),
    ("GET", "/api/v1/configmaps", None, False),
    ("GET", f"{OWN}/configmaps/{core.NAME}", None, False),
    ("PATCH", f"{OWN}/configmaps/{core.NAME}", {"data": {"setup": "x"}}, False),
    ("GET", f"{OWN}/secrets", None, False),
    ("DELETE", "/api/v1/namespaces/default/persistentvolumeclaims/data", None, False),
    ("PATCH", f"{CLASSES}/local-path", {"metadata": {"labels": {"a": "b"}}}, False),
    ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", None, False),
]


@pytest.mark.parametrize(("method", "path", "body", "allowed"), ATTEMPTS, ids=[f"{m} {p}" for m, p, _b, _a in ATTEMPTS])
def test_the_account_can_do_what_the_provisioner_does_and_nothing_else(cluster, method, path, body, allowed):
    cluster.node("gpu-1")
    Objects(cluster.client).apply(core.objects({}))
    account = as_account(cluster)
    content = {"content": "application/merge-patch+json"} if method == "PATCH" else {}

    try:
        account.call(method, path, body, {"dryRun": "All"} if body else None, **content)
        status = 200
    except ApiError as error:
        status = error.status

    assert status == (200 if allowed else 403)


# ---------------------------------------------------------------- the role


def play(plane, tmp_path, *more, **variables):
    given = {"local_storage_kubeconfig": str(plane.kubeconfig()), "local_storage_wait_seconds": 5, **variables}
    role = {"role": "gpunode.ready.local_storage", "vars": given}
    return playbook(tmp_path, [{"hosts": "all", "gather_facts": False, "roles": [role]}], *more)


def changed(done):
    found = re.search(r"ok=(\d+)\s+changed=(\d+)", done.stdout)
    return int(found[2]) if found else done.stdout + done.stderr


def said(done):
    """What was told, however the terminal's width broke it."""
    return re.sub(r"\s+", " ", done.stdout)


@contextlib.contextmanager
def controller(plane):
    """What the Deployment controller and kubelet would report of a provisioner whose image is there: it is ready."""
    over = threading.Event()
    cluster = Cluster(plane.kubeconfig())

    def report():
        while not over.wait(0.3):
            for item in cluster.client.list(DEPLOYMENTS):
                if item.get("status", {}).get("observedGeneration") != item["metadata"]["generation"]:
                    cluster.rolled_out(item)

    thread = threading.Thread(target=report, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=10)


def defaults(cluster):
    return sorted(core.defaults(collect(cluster.client, ["storage"])["storage"]))


def deployments(cluster):
    return [f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in cluster.client.list(DEPLOYMENTS)]


def test_the_role_deploys_waits_and_changes_nothing_the_second_time(cluster, plane, tmp_path):
    with controller(plane):
        first = play(plane, tmp_path, local_storage_wait_seconds=30)
        second = play(plane, tmp_path)

    assert first.returncode == 0, first.stdout
    assert changed(first) == 1
    assert second.returncode == 0, second.stdout
    assert changed(second) == 0
    assert defaults(cluster) == ["local-path"]


def test_check_mode_on_a_bare_cluster_succeeds_and_makes_nothing(cluster, plane, tmp_path):
    done = play(plane, tmp_path, "--check", "--diff")

    assert done.returncode == 0, done.stdout
    assert changed(done) == 1
    assert deployments(cluster) == []
    assert list(cluster.client.list(CLASSES)) == []


def test_another_default_keeps_its_place(cluster, plane, tmp_path):
    cluster.storageclass("standard", "ebs.csi.aws.com", default=True)

    with controller(plane):
        done = play(plane, tmp_path, local_storage_wait_seconds=30)

    assert done.returncode == 0, done.stdout
    assert defaults(cluster) == ["standard"]


def test_the_default_is_taken_over_by_name_only(cluster, plane, tmp_path):
    cluster.storageclass("standard", "ebs.csi.aws.com", default=True, team="storage")
    chosen = {"local_storage_default_class": "always", "local_storage_wait_seconds": 30}

    with controller(plane):
        refused = play(plane, tmp_path, **chosen)
        untouched = defaults(cluster), deployments(cluster)
        named = play(plane, tmp_path, local_storage_demoted_classes=["standard"], **chosen)
        second = play(plane, tmp_path, local_storage_demoted_classes=["standard"], **chosen)

    assert refused.returncode == 2
    assert "StorageClass standard is the default, and default_class is always" in said(refused)
    assert untouched == (["standard"], [])
    assert named.returncode == 0, named.stdout
    assert changed(named) == 2
    assert changed(second) == 0
    assert defaults(cluster) == ["local-path"]
    standard = cluster.client.get(f"{CLASSES}/standard")
    assert standard["provisioner"] == "ebs.csi.aws.com"
    assert standard["metadata"]["labels"] == {"team": "storage"}


def test_a_default_that_comes_later_takes_the_place(cluster, plane, tmp_path):
    with controller(plane):
        play(plane, tmp_path, local_storage_wait_seconds=30)
        cluster.storageclass("standard", "ebs.csi.aws.com", default=True)
        done = play(plane, tmp_path)

    assert done.returncode == 0, done.stdout
    assert defaults(cluster) == ["standard"]


def k3s(cluster, default=True):
    cluster.storageclass(
        default=default, **{"objectset.rio.cattle.io/hash": "183f35c65ffbc3064603f43f1580d8c68a2dabd4"}
    )
    cluster.provisioner()


def test_a_provisioner_of_somebody_else_is_not_fought_and_can_be_adopted(cluster, plane, tmp_path):
    k3s(cluster)

    refused = play(plane, tmp_path)
    adopted = play(plane, tmp_path, local_storage_state="adopted")

    assert refused.returncode == 2
    assert "Deployment kube-system/local-path-provisioner" in said(refused)
    assert "local_storage_state: adopted" in said(refused)
    assert adopted.returncode == 0, adopted.stdout
    assert changed(adopted) == 0
    assert deployments(cluster) == ["kube-system/local-path-provisioner"]
    assert defaults(cluster) == ["local-path"]


def test_an_adopted_class_becomes_the_default_where_none_is_and_keeps_all_else(cluster, plane, tmp_path):
    k3s(cluster, default=False)
    before = cluster.client.get(f"{CLASSES}/local-path")

    first = play(plane, tmp_path, local_storage_state="adopted")
    second = play(plane, tmp_path, local_storage_state="adopted")

    after = cluster.client.get(f"{CLASSES}/local-path")
    assert first.returncode == 0, first.stdout
    assert (changed(first), changed(second)) == (1, 0)
    assert defaults(cluster) == ["local-path"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert {key: after[key] for key in ("provisioner", "reclaimPolicy", "volumeBindingMode")} == {
        key: before[key] for key in ("provisioner", "reclaimPolicy", "volumeBindingMode")
    }


def test_a_class_to_adopt_that_is_not_there_is_named(cluster, plane, tmp_path):
    done = play(plane, tmp_path, local_storage_state="adopted")

    assert done.returncode == 2
    assert "There is no StorageClass local-path (there: no StorageClass)" in said(done)
    assert list(cluster.client.list(CLASSES)) == []


def test_on_time_out_it_says_why(cluster, plane, tmp_path):
    cluster.node("gpu-1", taints=[{"key": "dedicated", "value": "ml", "effect": "NoSchedule"}])
    why = "0/1 nodes are available: 1 node(s) had taint {dedicated: ml}, that the pod didn't tolerate."
    scheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
    Objects(cluster.client).apply(core.objects({}))
    image = {"containers": [{"name": "local-path-provisioner", "image": core.image_of(core.DEFAULTS)}]}
    status = {"phase": "Pending", "conditions": [scheduled]}
    cluster.pod(f"{core.NAME}-5d8-abc", "local-path-storage", spec=image, status=status)

    done = play(plane, tmp_path)

    assert done.returncode == 2
    assert "has 0 of 1 pods ready" in said(done)
    assert "had taint {dedicated: ml}" in said(done)
    assert "timed out" not in done.stdout


def test_an_image_that_cannot_be_pulled_is_named_with_its_variable(cluster, plane, tmp_path):
    cluster.node("gpu-1")
    Objects(cluster.client).apply(core.objects({}))
    image = core.image_of(core.DEFAULTS)
    waiting = {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{image}"'}
    state = {"name": "local-path-provisioner", "image": image, "imageID": "", "ready": False, "restartCount": 0,
             "state": {"waiting": waiting}}  # fmt: skip
    spec = {"containers": [{"name": "local-path-provisioner", "image": image}]}
    status = {"phase": "Pending", "containerStatuses": [state]}
    cluster.pod(f"{core.NAME}-5d8-abc", "local-path-storage", node="gpu-1", spec=spec, status=status)

    done = play(plane, tmp_path)

    assert done.returncode == 2
    assert f"is ImagePullBackOff {image}" in said(done)
    assert "an image has a variable of its role" in said(done)


def test_settings_that_cannot_work_are_refused_together_before_any_change(cluster, plane, tmp_path):
    cluster.node("gpu-1")
    cluster.storageclass("standard", "ebs.csi.aws.com", default=True)

    done = play(
        plane,
        tmp_path,
        local_storage_version="0.0.20",
        local_storage_folder="/data/$(reboot)",
        local_storage_default_class="always",
        local_storage_node_folders={"gpu-2": ["/data"]},
    )

    assert done.returncode == 2
    assert "version is 0.0.20; expected 0.0.34 to 0.0.37" in said(done)
    assert "folder is `/data/$(reboot)`; expected the absolute path" in said(done)
    assert "StorageClass standard is the default" in said(done)
    assert "node_folders has gpu-2, and the cluster has no such node (there: gpu-1)" in said(done)
    assert deployments(cluster) == []


def test_what_the_api_lets_nobody_change_is_refused_before_anything_is(cluster, plane, tmp_path):
    Objects(cluster.client).apply(core.objects({}))

    done = play(plane, tmp_path, local_storage_reclaim_policy="Retain", local_storage_folder="/data")

    assert done.returncode == 2
    assert "has reclaimPolicy Delete, reclaim_policy is Retain, and the API lets nobody change it" in said(done)
    files = cluster.client.get(f"{OWN}/configmaps/{core.NAME}")["data"]
    assert "/data" not in files["config.json"]


def volume(cluster):
    cluster.put("/api/v1/persistentvolumes", VOLUME)


def test_absent_takes_ours_away_once_no_volume_is_left(cluster, plane, tmp_path):
    Objects(cluster.client).apply(core.objects({}))
    volume(cluster)

    refused = play(plane, tmp_path, local_storage_state="absent")
    still = deployments(cluster)
    cluster.sweep("/api/v1/persistentvolumes", {})
    done = play(plane, tmp_path, local_storage_state="absent")
    second = play(plane, tmp_path, local_storage_state="absent")

    assert refused.returncode == 2
    assert "1 volume of StorageClass local-path would be left" in said(refused)
    assert still == [f"local-path-storage/{core.NAME}"]
    assert done.returncode == 0, done.stdout
    assert (changed(done), changed(second)) == (1, 0)
    assert deployments(cluster) == []
    assert list(cluster.client.list(CLASSES)) == []
    assert cluster.client.get("/api/v1/namespaces/local-path-storage")


def test_absent_leaves_what_somebody_else_made(cluster, plane, tmp_path):
    k3s(cluster)

    done = play(plane, tmp_path, local_storage_state="absent")

    assert done.returncode == 0, done.stdout
    assert changed(done) == 0
    assert deployments(cluster) == ["kube-system/local-path-provisioner"]
    assert defaults(cluster) == ["local-path"]


def test_an_api_that_does_not_answer_is_named(cluster, plane, tmp_path):
    done = play(plane, tmp_path, local_storage_kubeconfig=str(tmp_path / "none"))

    assert done.returncode == 2
    assert "no such kubeconfig" in done.stdout


def test_credentials_that_may_not_list_classes_are_told_before_any_change(cluster, plane, tmp_path):
    done = play(plane, tmp_path, local_storage_kubeconfig=str(plane.kubeconfig("nobody")))

    assert done.returncode == 2
    assert "the StorageClasses of the cluster could not be read" in said(done)


@pytest.mark.parametrize(("kubernetes", "state"), [("kubeadm", "managed"), ("k3s", "adopted")])
def test_the_playbook_takes_images_from_the_registry_and_leaves_k3s_its_own(
    cluster, plane, tmp_path, kubernetes, state
):
    if state == "adopted":
        k3s(cluster)
    variables = {
        "local_storage_kubeconfig": str(plane.kubeconfig()),
        "local_storage_wait_seconds": 30,
        "gpunode_registry": "registry.example.org/mirror/",
        "gpunode_kubernetes": kubernetes,
        "ansible_become": False,
    }
    groups = {"gpu_nodes": {"hosts": {"here": {}}}}

    with controller(plane):
        done = run(
            tmp_path, "ansible-playbook", "gpunode.ready.local_storage", "-e", json.dumps(variables), groups=groups
        )

    assert done.returncode == 0, done.stdout + done.stderr
    images = [
        container["image"]
        for item in cluster.client.list(DEPLOYMENTS)
        for container in item["spec"]["template"]["spec"]["containers"]
    ]
    if state == "adopted":
        assert images == ["rancher/local-path-provisioner:v0.0.36"]
    else:
        files = cluster.client.get(f"{OWN}/configmaps/{core.NAME}")["data"]
        mirror = "registry.example.org/mirror/docker.io"
        assert images == [f"{mirror}/rancher/local-path-provisioner:v0.0.37"]
        assert f"image: {mirror}/library/busybox:1.37.0" in files["helperPod.yaml"].replace('"', "")
