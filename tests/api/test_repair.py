# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""repair.yml on a real API server: named, planned, mended once, and left alone the second time.

There is no kubelet and no DaemonSet controller: what a node offers, and the plugin's pod, are written by the tests. The
node that the play holds and judges is this machine. All that a look could find there is muted: it is not ours to mend.
"""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import device_plugin as core
from ansible_collections.gpunode.ready.plugins.module_utils.checks.all import CHECKS
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import MERGE
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.objects import Objects
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.all import FAILURES
from ansible_run import run, start

DAEMONSETS = "/apis/apps/v1/namespaces/kube-system/daemonsets"
DEVICE = {"name": "NVIDIA H200", "architecture": "hopper", "memory": {"total_bytes": 150754820096}}
HOST = {
    "os": {"hostname": "gpu-1"},
    "gpus": {"devices": [{}, {}]},
    "nvml": {"device_count": 2, "driver_version": "580.159.04", "devices": [DEVICE, DEVICE]},
    "runtimes": {"crio": {"installed": True, "default_handler": "crun", "handlers": {"crun": {}, "nvidia": {}}}},
}


def asked(plane, folder, variables):
    """The words of a run, and its variables."""
    given = {
        "ansible_become": False,
        "gpunode_report_dir": str(folder / "report"),
        "gpunode_mute": [check.id for check in CHECKS],
        "gpunode_diagnose_kubeconfig": str(plane.kubeconfig()),
        "device_plugin_node_facts": {"gpu-1": HOST},
        "device_plugin_wait_seconds": 5,
        **variables,
    }
    return "ansible-playbook", "gpunode.ready.repair", "-e", json.dumps(given)


def repair(plane, folder, *more, **variables):
    groups = {"gpu_nodes": {"hosts": {"here": {}}}}
    return run(folder, *asked(plane, folder, variables), *more, groups=groups)


def under_the_wrong_class(cluster):
    """Our plugin, as it was made when another RuntimeClass was asked for."""
    cluster.runtimeclass("crun", handler="crun")
    cluster.node("gpu-1", gpus=2, labels={"nvidia.com/gpu.present": "true"})
    Objects(cluster.client).apply(core.objects({"runtime_class": "crun", "runtime_handler": "crun"}))
    status = {"desiredNumberScheduled": 1, "currentNumberScheduled": 1, "numberReady": 1, "numberMisscheduled": 0}
    cluster.client.call("PATCH", f"{DAEMONSETS}/{core.NAME}/status", {"status": status}, content=MERGE)
    cluster.plugin_pod("gpu-1", owner=core.NAME, spec={"runtimeClassName": "crun"})


def plugin(cluster):
    found = cluster.client.get(f"{DAEMONSETS}/{core.NAME}")
    return found["metadata"]["generation"], found["spec"]["template"]["spec"].get("runtimeClassName")


def changed(done):
    found = re.search(r"ok=(\d+)\s+changed=(\d+)", done.stdout)
    return int(found[2]) if found else done.stdout + done.stderr


PLANNED = (
    r"device_plugin for plugin-without-nvidia-runtime, DaemonSet kube-system/gpunode-device-plugin: .*RuntimeClass crun"
)


def test_a_plugin_under_the_wrong_class_is_named_mended_and_left_alone_the_second_time(cluster, plane, tmp_path):
    under_the_wrong_class(cluster)
    before = plugin(cluster)

    planned = repair(plane, tmp_path, "--check")
    still = plugin(cluster)
    first = repair(plane, tmp_path)
    mended = plugin(cluster)
    second = repair(plane, tmp_path)

    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "Roles: device_plugin" in planned.stdout
    assert re.search(PLANNED, planned.stdout), planned.stdout
    assert still == before
    assert first.returncode == 0, first.stdout + first.stderr
    assert mended == (before[0] + 1, "nvidia")
    assert second.returncode == 0, second.stdout + second.stderr
    assert "Roles: device_plugin" not in second.stdout
    assert plugin(cluster) == mended
    assert changed(second) == 0


def test_what_somebody_else_set_is_told_and_not_fought(cluster, plane, tmp_path):
    under_the_wrong_class(cluster)
    change = {"spec": {"template": {"spec": {"runtimeClassName": "crun"}}}}
    Objects(cluster.client).apply(core.objects({}))
    cluster.patch(f"{DAEMONSETS}/{core.NAME}", change)

    done = repair(plane, tmp_path)

    assert done.returncode != 0
    assert "force_conflicts" in done.stdout + done.stderr
    assert "plugin-without-nvidia-runtime" in done.stdout.split("the cluster is not ready: ")[1].splitlines()[0]
    assert plugin(cluster)[1] == "crun"


UNRESOLVABLE = next(item for item in FAILURES if item.id == "cdi-unresolvable-device").signatures[0].sample


@pytest.mark.parametrize(
    ("logs", "said", "others"),
    [
        (True, "cdi (tag cdi_spec) for cdi-unresolvable-device", "cdi does not run here"),
        (False, "cdi does not run here, though it mends cdi-unresolvable-device", "cdi (tag cdi_spec) for"),
    ],
    ids=["logs are read", "logs are not read"],
)
def test_what_an_event_tells_of_a_node_is_planned_there_where_logs_are_read(
    cluster, plane, tmp_path, logs, said, others
):
    cluster.node("here")
    state = {"waiting": {"reason": "ContainerCreating"}}
    container = {"name": "main", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    cluster.pod("train", node="here", status={"phase": "Pending", "containerStatuses": [container]})
    cluster.warning("Pod", "default", "train", "FailedCreatePodSandBox", UNRESOLVABLE)

    done = repair(plane, tmp_path, "--check", gpunode_repair_logs=logs)

    assert done.returncode == 0, done.stdout + done.stderr
    assert said in done.stdout
    assert others not in done.stdout
    assert logs or "[fatal] cdi-unresolvable-device" in done.stdout.split("What needs a person")[-1]


def test_a_cluster_is_asked_again_once_it_has_seen_what_roles_mended_on_nodes(cluster, plane, tmp_path):
    """As if a role had run on the node: its variable says so."""
    down = {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "swap is on"}
    cluster.node("gpu-1", conditions=[down])
    groups = {"gpu_nodes": {"hosts": {"here": {"__gpunode_repair_done": ["host_prep"]}}}}
    words = asked(plane, tmp_path, {"device_plugin_wait_seconds": 120, "device_plugin_state": "absent"})
    said = ""

    with start(tmp_path, *words, groups=groups) as running:
        for line in running.stdout:
            said += line
            if "Wait until the cluster has seen" in line:
                ready = {"conditions": [{**down, "status": "True", "reason": "KubeletReady", "message": ""}]}
                cluster.client.call("PATCH", "/api/v1/nodes/gpu-1/status", {"status": ready}, content=MERGE)
        wrong = running.stderr.read()

    assert "Wait until the cluster has seen" in said
    assert running.returncode == 0, said + wrong
    assert "node-not-ready" not in (tmp_path / "report/report.json").read_text()


@pytest.mark.parametrize("there", [True, False])
def test_a_cluster_that_was_named_and_does_not_answer_fails_the_run(plane, tmp_path, there):
    path = tmp_path / "kubeconfig"
    if there:
        path.write_text(plane.kubeconfig().read_text().replace(f":{plane.port}", ":1"))

    done = repair(plane, tmp_path, gpunode_diagnose_kubeconfig=str(path))

    said = done.stdout + done.stderr
    assert done.returncode != 0
    assert ("the cluster is not ready: apiserver-not-ready" if there else "the cluster was not asked: ") in said
