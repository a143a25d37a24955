# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The device plugin's objects and its role against a real API server: twice, refused, adopted, gone; and its rights."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import device_plugin as core
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import ApiError, Client
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.objects import Objects
from ansible_run import playbook, run

GOLDEN = Path(__file__).with_name("data") / "rbac.json"
SLICING = {"sharing": {"timeSlicing": {"resources": [{"name": "nvidia.com/gpu", "replicas": 10}]}}}
SEVERAL = {"configs": {"shared": SLICING, "whole": {"flags": {"migStrategy": "none"}}}, "default_config": "whole"}
SETTINGS = {
    "plain": {},
    "oldest": {"version": "0.14.5"},
    "namespace": {"namespace": "gpu-system", "priority_class": ""},
    "one": {"configs": {"a": SLICING}},
    "several": SEVERAL,
    "cdi": {"device_list_strategies": ["cdi-cri"], "driver_root": "/run/nvidia/driver"},
    "mig": {"mig_strategy": "mixed"},
    "devices": {"pass_device_specs": True},
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_api_takes_every_object_and_finds_nothing_to_change_the_second_time(cluster, name):
    objects = Objects(cluster.client)
    items = core.objects(SETTINGS[name])

    first = [item.result for item in objects.apply(items)]
    second = [item.result for item in objects.apply(items)]

    assert set(first) <= {"created", "changed", "unchanged"}
    assert set(second) == {"unchanged"}


def test_from_one_version_to_the_next_only_the_daemonset_changes(cluster):
    objects = Objects(cluster.client)
    objects.apply(core.objects({"version": "0.19.3"}))

    outcomes = objects.apply(core.objects({"version": "0.20.0"}))

    assert {item.kind for item in outcomes if item.changed} == {"DaemonSet"}


def test_an_option_that_is_given_up_leaves_nothing_behind(cluster):
    objects = Objects(cluster.client)
    objects.apply(core.objects({"configs": {"a": SLICING}, "mig_strategy": "mixed"}))

    objects.apply(core.objects({}))

    made = cluster.client.get(f"/apis/apps/v1/namespaces/kube-system/daemonsets/{core.NAME}")
    pod = made["spec"]["template"]["spec"]
    assert [volume["name"] for volume in pod["volumes"]] == ["device-plugins"]
    assert "add" not in pod["containers"][0]["securityContext"]["capabilities"]
    assert "annotations" not in made["spec"]["template"]["metadata"]


# ---------------------------------------------------------------- rights (case 48)


def rules(items):
    return {
        f"{item['kind']} {item['metadata']['name']}": item.get("rules") or item.get("roleRef")
        for item in items
        if item["apiVersion"].startswith("rbac.")
    }


def test_the_rights_that_are_given_are_those_of_the_golden_file():
    assert rules(core.objects(SEVERAL)) == json.loads(GOLDEN.read_text())["device_plugin"]


def test_no_right_is_a_wildcard_and_nobody_becomes_an_administrator():
    text = json.dumps(rules(core.objects(SEVERAL)))

    assert "*" not in text
    assert "cluster-admin" not in text
    assert "secrets" not in text


def as_account(cluster, name=core.NAME):
    account = f"system:serviceaccount:kube-system:{name}"
    return Client(dataclasses.replace(cluster.client.where, impersonate=account), patience_seconds=1)


ATTEMPTS = [
    ("GET", "/api/v1/nodes/gpu-1", None, True),
    ("GET", "/api/v1/nodes", None, True),
    ("PATCH", "/api/v1/nodes/gpu-1", {"metadata": {"labels": {"a": "b"}}}, False),
    ("DELETE", "/api/v1/nodes/gpu-1", None, False),
    ("GET", "/api/v1/pods", None, False),
    ("GET", "/api/v1/namespaces/kube-system/secrets", None, False),
    ("GET", "/api/v1/namespaces/kube-system/configmaps", None, False),
    ("POST", "/api/v1/namespaces/kube-system/pods", {"metadata": {"name": "x"}}, False),
    ("GET", "/apis/apps/v1/daemonsets", None, False),
    ("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles", None, False),
]


@pytest.mark.parametrize(("method", "path", "body", "allowed"), ATTEMPTS, ids=[f"{m} {p}" for m, p, _b, _a in ATTEMPTS])
def test_the_plugins_account_reads_nodes_and_can_do_nothing_else(cluster, method, path, body, allowed):
    cluster.node("gpu-1")
    Objects(cluster.client).apply(core.objects(SEVERAL))
    account = as_account(cluster)

    try:
        account.call(method, path, body, content="application/merge-patch+json" if method == "PATCH" else "")
        status = 200
    except ApiError as error:
        status = error.status

    assert status == (200 if allowed else 403)


def test_without_several_configurations_the_account_has_no_right_at_all(cluster):
    for kind in ("clusterroles", "clusterrolebindings"):
        cluster.sweep_one(f"/apis/rbac.authorization.k8s.io/v1/{kind}/{core.NAME}")
    Objects(cluster.client).apply(core.objects({}))

    with pytest.raises(ApiError) as refused:
        as_account(cluster).get("/api/v1/nodes")

    assert refused.value.status == 403


# ---------------------------------------------------------------- the role


def host(gpus=2):
    device = {"name": "NVIDIA H200", "architecture": "hopper", "memory": {"total_bytes": 150754820096}}
    return {
        "os": {"hostname": "gpu-1"},
        "gpus": {"devices": [{}] * gpus},
        "nvml": {"device_count": gpus, "driver_version": "580.159.04", "devices": [device] * gpus},
        "runtimes": {"crio": {"installed": True, "default_handler": "crun", "handlers": {"crun": {}, "nvidia": {}}}},
    }


def play(plane, tmp_path, *more, **variables):
    given = {
        "device_plugin_kubeconfig": str(plane.kubeconfig()),
        "device_plugin_wait_seconds": 5,
        "device_plugin_node_facts": {"gpu-1": host()},
        **variables,
    }
    role = {"role": "gpunode.ready.device_plugin", "vars": given}
    return playbook(tmp_path, [{"hosts": "all", "gather_facts": False, "roles": [role]}], *more)


def changed(done):
    found = re.search(r"ok=(\d+)\s+changed=(\d+)", done.stdout)
    return int(found[2]) if found else done.stdout + done.stderr


def offers(cluster, amount):
    status = {"capacity": {"nvidia.com/gpu": str(amount)}, "allocatable": {"nvidia.com/gpu": str(amount)}}
    cluster.patch("/api/v1/nodes/gpu-1/status", {"status": status})


def test_the_role_labels_deploys_verifies_and_changes_nothing_the_second_time(cluster, plane, tmp_path):
    cluster.node("gpu-1")
    offers(cluster, 20)  # as kubelet would, when the plugin has registered
    sharing = {"device_plugin_configs": {"shared": SLICING}}

    first = play(plane, tmp_path, **sharing)
    second = play(plane, tmp_path, **sharing)

    labels = cluster.client.get("/api/v1/nodes/gpu-1")["metadata"]["labels"]
    assert first.returncode == 0, first.stdout
    assert changed(first) == 2
    assert changed(second) == 0
    assert labels["nvidia.com/gpu.present"] == "true"
    assert labels["nvidia.com/gpu.product"] == "NVIDIA-H200-SHARED"


def test_check_mode_on_a_bare_cluster_succeeds_and_makes_nothing(cluster, plane, tmp_path):
    cluster.node("gpu-1")

    done = play(plane, tmp_path, "--check", "--diff")

    assert done.returncode == 0, done.stdout
    assert list(cluster.client.list("/apis/apps/v1/daemonsets")) == []


def test_on_time_out_it_says_why(cluster, plane, tmp_path):
    cluster.node("gpu-1", taints=[{"key": "dedicated", "value": "ml", "effect": "NoSchedule"}])

    done = play(plane, tmp_path)

    assert done.returncode == 2
    assert "gpu-1 has 0 nvidia.com/gpu allocatable; expected 2" in done.stdout
    assert "timed out" not in done.stdout


def test_settings_that_cannot_work_are_refused_together_before_any_change(cluster, plane, tmp_path):
    broken = {"sharing": {"timeSlicing": {"resources": [{"name": "nvidia.com/gpu", "replicas": 0}]}}}

    done = play(plane, tmp_path, device_plugin_configs={"a": broken}, device_plugin_version="0.12.0")

    assert done.returncode == 2
    assert "version is 0.12.0; expected 0.14 to 0.20" in done.stdout
    assert "resources[0].replicas is `0`; expected a number of at least 2" in done.stdout
    assert list(cluster.client.list("/apis/node.k8s.io/v1/runtimeclasses")) == []


def test_a_plugin_of_somebody_else_is_not_fought_and_can_be_adopted(cluster, plane, tmp_path):
    cluster.node("gpu-1")
    offers(cluster, 2)
    cluster.plugin("nvidia-device-plugin-daemonset", spec={"runtimeClassName": "nvidia"})

    refused = play(plane, tmp_path)
    adopted = play(plane, tmp_path, device_plugin_state="adopted")

    assert refused.returncode == 2
    assert "kube-system/nvidia-device-plugin-daemonset" in refused.stdout
    assert "device_plugin_state: adopted" in refused.stdout
    assert adopted.returncode == 0, adopted.stdout
    names = [item["metadata"]["name"] for item in cluster.client.list("/apis/apps/v1/daemonsets")]
    assert names == ["nvidia-device-plugin-daemonset"]
    assert [item["handler"] for item in cluster.client.list("/apis/node.k8s.io/v1/runtimeclasses")] == ["nvidia"]


def test_absent_takes_ours_away_and_nothing_else(cluster, plane, tmp_path):
    cluster.node("gpu-1")
    Objects(cluster.client).apply(core.objects(SEVERAL))

    done = play(plane, tmp_path, device_plugin_state="absent", device_plugin_configs=SEVERAL["configs"],
                device_plugin_default_config="whole")  # fmt: skip

    assert done.returncode == 0, done.stdout
    assert list(cluster.client.list("/apis/apps/v1/daemonsets")) == []
    assert len(list(cluster.client.list("/apis/node.k8s.io/v1/runtimeclasses"))) == 1


def test_an_api_that_does_not_answer_is_named(cluster, plane, tmp_path):
    done = play(plane, tmp_path, device_plugin_kubeconfig=str(tmp_path / "none"))

    assert done.returncode == 2
    assert "no such kubeconfig" in done.stdout


def test_the_playbook_hands_over_what_it_saw_on_the_nodes(cluster, plane, tmp_path):
    cluster.node(os.uname().nodename)  # of which only its own facts tell that it has no GPU to label
    groups = {"gpu_nodes": {"hosts": {"here": {}}}}
    variables = {
        "device_plugin_kubeconfig": str(plane.kubeconfig()),
        "device_plugin_wait_seconds": 5,
        "ansible_become": False,
    }

    done = run(tmp_path, "ansible-playbook", "gpunode.ready.device_plugin", "-e", json.dumps(variables), groups=groups)

    assert done.returncode == 0, done.stdout + done.stderr
    assert [item["metadata"]["name"] for item in cluster.client.list("/apis/apps/v1/daemonsets")] == [core.NAME]
