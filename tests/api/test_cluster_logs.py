# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logs and events of a cluster, asked of a real API server. It asks a stand-in kubelet for the logs."""

from __future__ import annotations

import json
import os
import time
from datetime import datetime, timezone

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import Client
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.logs import read
from ansible_collections.gpunode.ready.plugins.module_utils.redaction import Redactor
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.all import FAILURES
from ansible_run import module, run
from control_plane import free_ports
from inhabitants import PLUGIN_IMAGE
from stand_in_kubelet import kubelet

NOW = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
PREVIOUS = "2026-11-20T08:00:00Z E1120 08:00:00.000000 1 factory.go:112] Incompatible strategy detected auto\n"
STRATEGY = next(item for item in FAILURES if item.id == "invalid-device-list-strategy").signatures[0]
NAME = os.uname().nodename.lower()  # by which the API knows this machine, where it is a node
CRASHED = {"exitCode": 1, "reason": "Error", "finishedAt": NOW, "startedAt": NOW}


def status(name, container, *, waits=None, crashed=False, restarts=0):
    """A pod's status with one container."""
    state = {"waiting": {"reason": waits}} if waits else {"running": {"startedAt": NOW}}
    return {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": container,
                "image": PLUGIN_IMAGE,
                "imageID": "",
                "ready": not waits,
                "restartCount": restarts,
                "state": state,
                **({"lastState": {"terminated": CRASHED}} if crashed else {}),
            }
        ],
    }


@pytest.fixture
def node(cluster, tmp_path):
    """A node whose kubelet is the stand-in."""
    with kubelet(tmp_path) as running:
        join(cluster, "gpu-1", running.port)
        yield running


def join(cluster, name, port):
    cluster.node(name, gpus=1)
    cluster.client.call(
        "PATCH",
        f"/api/v1/nodes/{name}/status",
        {
            "status": {
                "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
                "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
            }
        },
        content="application/merge-patch+json",
    )


def listen(cluster, **more):
    client = Client(cluster.client.where)
    return read(client, Redactor(), time.time(), **more), client


def test_logs_and_warnings_of_what_is_in_trouble_are_read(cluster, node):
    cluster.plugin_pod("gpu-1", status=status("p", "plugin", waits="CrashLoopBackOff", crashed=True, restarts=5))
    cluster.pod("work", node="gpu-1", gpus=1, status=status("work", "main"))
    cluster.warning(
        "Pod", "kube-system", "nvidia-device-plugin-gpu-1", "BackOff", "Back-off restarting failed container"
    )
    cluster.warning("Pod", "default", "work", "Unhealthy", "it was slow to start")
    node.logs["kube-system", "nvidia-device-plugin-gpu-1", "plugin", True] = PREVIOUS

    said, client = listen(cluster)

    assert said.unread == []
    assert {piece["source"]: piece["text"] for piece in said.pieces["gpu-1"]} == {
        "events": "2026-11-20T08:00:00Z Warning BackOff Pod/kube-system/nvidia-device-plugin-gpu-1: "
        "Back-off restarting failed container (x3)\n",
        "pod kube-system/nvidia-device-plugin-gpu-1 (plugin, previous)": PREVIOUS,
    }
    assert client.requests == 3


def test_a_long_log_is_bounded_where_it_is_written(cluster, node):
    cluster.plugin_pod("gpu-1", status=status("p", "plugin"))
    node.logs["kube-system", "nvidia-device-plugin-gpu-1", "plugin", False] = "".join(
        f"{number} {'x' * 600}\n" for number in range(100_000)
    )

    said, _client = listen(cluster)

    [piece] = said.pieces["gpu-1"]
    assert piece["text"].startswith("99600 ")
    assert len(piece["text"]) <= 1 << 17


def test_what_the_kubelet_refuses_is_said(cluster, node):
    cluster.plugin_pod("gpu-1", status=status("p", "plugin", crashed=True, restarts=1))
    node.logs["kube-system", "nvidia-device-plugin-gpu-1", "plugin", False] = "serving\n"

    said, _client = listen(cluster)

    assert [piece["text"] for piece in said.pieces["gpu-1"]] == ["serving\n"]
    assert [item["source"] for item in said.unread] == ["pod kube-system/nvidia-device-plugin-gpu-1 (plugin, previous)"]
    assert "not found" in said.unread[0]["reason"]


def test_a_node_without_kubelet_costs_one_question(cluster, node):
    [nobody] = free_ports(1)
    join(cluster, "gpu-2", nobody)
    for name in ("one", "two"):
        spec = {"containers": [{"name": "plugin", "image": PLUGIN_IMAGE}]}
        cluster.pod(name, "kube-system", "gpu-2", status=status(name, "plugin"), spec=spec)
    cluster.plugin_pod("gpu-1", status=status("p", "plugin"))
    node.logs["kube-system", "nvidia-device-plugin-gpu-1", "plugin", False] = "serving\n"

    started = time.monotonic()
    said, client = listen(cluster)

    assert time.monotonic() - started < 20
    assert client.requests == 4
    assert sorted(said.pieces) == ["gpu-1"]
    assert len(said.unread) == 2
    assert "connection refused" in said.unread[0]["reason"]


def test_who_may_not_read_logs_is_told_so(cluster, plane, tmp_path):
    answer = module(tmp_path, "cluster_logs", {"kubeconfig": str(plane.kubeconfig("nobody"))})

    assert answer["asked"] is True
    assert answer["logs"] == []
    assert "403" in answer["unread"][0]["reason"]


def test_without_a_kubeconfig_nobody_is_asked(tmp_path):
    answer = module(tmp_path, "cluster_logs", {"kubeconfig": str(tmp_path / "none"), "nodes": ["gpu-1"]})

    assert answer["asked"] is False
    assert answer["of_nodes"] == {"gpu-1": []}
    assert answer["requests"] == 0


def test_the_module_parts_logs_by_node_and_keeps_their_secrets(cluster, node, plane, tmp_path):
    cluster.plugin_pod("gpu-1", status=status("p", "plugin"))
    token = plane.tokens["admin"]
    node.logs["kube-system", "nvidia-device-plugin-gpu-1", "plugin", False] = (
        f"sent {token} and password=planted-4711\n"
    )

    answer = module(tmp_path, "cluster_logs", {"kubeconfig": str(plane.kubeconfig()), "nodes": ["GPU-1", "gpu-9"]})

    assert answer["of_nodes"]["gpu-9"] == []
    assert answer["of_nodes"]["GPU-1"][0]["text"] == "sent <secret removed> and password=<secret removed>\n"


def test_diagnose_yml_judges_a_pods_log_with_its_node_or_with_the_cluster(cluster, node, plane, tmp_path):
    cluster.plugin_pod("gpu-1", status=status("p", "plugin", waits="CrashLoopBackOff", crashed=True, restarts=5))
    node.logs["kube-system", "nvidia-device-plugin-gpu-1", "plugin", True] = PREVIOUS
    join(cluster, NAME, node.port)
    cluster.plugin_pod(NAME, status=status("p", "plugin"))
    node.logs["kube-system", f"nvidia-device-plugin-{NAME}", "plugin", False] = STRATEGY.sample
    options = {
        "ansible_become": False,
        "gpunode_report_dir": str(tmp_path / "report"),
        "gpunode_diagnose_bundle": True,
        "gpunode_diagnose_kubeconfig": str(plane.kubeconfig()),
    }

    done = run(
        tmp_path,
        "ansible-playbook",
        "gpunode.ready.diagnose",
        "-e",
        json.dumps(options),
        groups={"gpu_nodes": {"hosts": {"here": {}}}},
    )

    told = json.loads((tmp_path / "report/report.json").read_text())
    [cluster_told] = told["clusters"]
    found = {item["id"]: item for item in cluster_told["findings"]}
    assert "plugin-without-nvidia-runtime" in found, done.stdout
    sources = [item["source"] for item in found["plugin-without-nvidia-runtime"]["evidence"]]
    assert "pod kube-system/nvidia-device-plugin-gpu-1 (plugin, previous)" in sources
    assert (tmp_path / "report/bundle.tar.gz").stat().st_mode & 0o777 == 0o600
    [here] = told["nodes"]
    listed = [*here["findings"], *(item for found in here["findings"] for item in found["consequences"])]
    assert "invalid-device-list-strategy" in [item["id"] for item in listed]
    assert "invalid-device-list-strategy" not in found
