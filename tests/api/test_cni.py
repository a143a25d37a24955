# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod network's objects and its role against a real API server: twice, refused, waited for, gone; its rights."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import cni as core
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import MERGE, ApiError, Client
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.objects import Objects
from ansible_run import playbook, run

GOLDEN = Path(__file__).with_name("data") / "rbac.json"
SETTINGS = {
    "plain": {},
    "dual": {"pod_cidr": "10.244.0.0/16,fd00:10:244::/56", "mtu": 1400},
    "host-gw": {"flannel_backend": "host-gw", "flannel_interface": "eth1"},
}
NO_NETWORK = {
    "type": "Ready",
    "status": "False",
    "reason": "KubeletNotReady",
    "message": "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady "
    "message:Network plugin returns error: cni plugin not initialized",
}
DAEMONSETS = "/apis/apps/v1/daemonsets"


@pytest.fixture
def clean(cluster):
    for kind in ("clusterroles", "clusterrolebindings"):
        cluster.sweep_one(f"/apis/rbac.authorization.k8s.io/v1/{kind}/{core.NAME}")
    return cluster


@pytest.mark.parametrize("name", SETTINGS)
def test_the_api_takes_every_object_and_finds_nothing_to_change_the_second_time(clean, name):
    objects = Objects(clean.client)
    items = core.objects(SETTINGS[name])

    first = [item.result for item in objects.apply(items)]
    second = [item.result for item in objects.apply(items)]

    assert set(first) == {"created"}
    assert set(second) == {"unchanged"}


# ---------------------------------------------------------------- rights (case 48)


def test_the_rights_that_are_given_are_those_of_the_golden_file():
    found = {
        f"{item['kind']} {item['metadata']['name']}": item.get("rules") or item.get("roleRef")
        for item in core.objects({})
        if item["apiVersion"].startswith("rbac.")
    }

    assert found == json.loads(GOLDEN.read_text())["cni"]


ATTEMPTS = [
    ("GET", "/api/v1/nodes", None, True),
    ("PATCH", "/api/v1/nodes/gpu-1/status", {"metadata": {"annotations": {"flannel.example/x": "y"}}}, True),
    ("PATCH", "/api/v1/nodes/gpu-1", {"metadata": {"labels": {"a": "b"}}}, False),
    ("DELETE", "/api/v1/nodes/gpu-1", None, False),
    ("GET", "/api/v1/pods", None, False),
    ("GET", "/api/v1/namespaces/kube-system/secrets", None, False),
    ("GET", f"/api/v1/namespaces/{core.NAME}/configmaps", None, False),
]


@pytest.mark.parametrize(("method", "path", "body", "allowed"), ATTEMPTS, ids=[f"{m} {p}" for m, p, _b, _a in ATTEMPTS])
def test_flannels_account_may_do_what_it_needs_and_no_more(clean, method, path, body, allowed):
    clean.node("gpu-1")
    Objects(clean.client).apply(core.objects({}))
    account = f"system:serviceaccount:{core.NAME}:{core.NAME}"
    client = Client(dataclasses.replace(clean.client.where, impersonate=account), patience_seconds=1)

    try:
        client.call(method, path, body, content=MERGE if method == "PATCH" else "")
        status = 200
    except ApiError as error:
        status = error.status

    assert status == (200 if allowed else 403)


# ---------------------------------------------------------------- the role


def play(plane, tmp_path, *more, **variables):
    given = {"cni_kubeconfig": str(plane.kubeconfig()), "cni_wait_seconds": 5, **variables}
    role = {"role": "gpunode.ready.cni", "vars": given}
    return playbook(tmp_path, [{"hosts": "all", "gather_facts": False, "roles": [role]}], *more)


def changed(done):
    found = re.search(r"ok=(\d+)\s+changed=(\d+)", done.stdout)
    return int(found[2]) if found else done.stdout + done.stderr


def said(done):
    return re.sub(r"\s+", " ", done.stdout.replace("\\n", " "))


def daemonsets(cluster):
    return [item["metadata"]["name"] for item in cluster.client.list(DAEMONSETS)]


def test_the_role_deploys_waits_and_changes_nothing_the_second_time(clean, plane, tmp_path):
    clean.node("gpu-1", podCIDR="10.244.0.0/24", podCIDRs=["10.244.0.0/24"])

    foretold = play(plane, tmp_path, "--check", "--diff")
    nothing = daemonsets(clean)
    first = play(plane, tmp_path)
    second = play(plane, tmp_path)

    assert foretold.returncode == 0, foretold.stdout
    assert nothing == []
    assert first.returncode == 0, first.stdout
    assert (changed(foretold), changed(first), changed(second)) == (1, 1, 0)
    assert daemonsets(clean) == [core.NAME]


def test_on_time_out_it_says_why(clean, plane, tmp_path):
    clean.node("gpu-1", conditions=[NO_NETWORK])
    clean.namespace(core.NAME)
    waiting = {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "ghcr.io/flannel-io/flannel:v0.28.9"'}
    image = "ghcr.io/flannel-io/flannel:v0.28.9"
    state = {"name": "flannel", "image": image, "imageID": "", "ready": False, "restartCount": 0,
             "state": {"waiting": waiting}}  # fmt: skip
    clean.pod(f"{core.NAME}-x", core.NAME, "gpu-1", status={"phase": "Pending", "containerStatuses": [state]},
              spec={"containers": [{"name": "flannel", "image": image}]})  # fmt: skip

    done = play(plane, tmp_path)

    assert done.returncode == 2
    assert "container flannel waits: ImagePullBackOff" in said(done)
    assert "gpu-1 has no pod network" in said(done)
    assert "cni plugin not initialized" in said(done)
    assert "gpu-1 has no podCIDR" in said(done)


def test_a_network_of_somebody_else_is_named_and_not_fought(clean, plane, tmp_path):
    clean.node("gpu-1")
    clean.plugin("calico-node", image="quay.io/calico/node:v3.32.1")

    refused = play(plane, tmp_path)
    left = play(plane, tmp_path, cni_plugin="none")

    assert refused.returncode == 2
    assert "the DaemonSet kube-system/calico-node (quay.io/calico/node:v3.32.1" in said(refused)
    assert "cni_plugin: none" in said(refused)
    assert left.returncode == 0, left.stdout
    assert changed(left) == 0
    assert daemonsets(clean) == ["calico-node"]


def test_settings_that_cannot_work_are_refused_together_before_any_change(clean, plane, tmp_path):
    clean.node("gpu-1", podCIDR="10.99.0.0/24", podCIDRs=["10.99.0.0/24"])

    wrong = play(plane, tmp_path, cni_flannel_version="0.20.0", cni_mtu=7)
    astray = play(plane, tmp_path)

    assert wrong.returncode == astray.returncode == 2
    assert "flannel_version is 0.20.0" in said(wrong)
    assert "mtu is `7`" in said(wrong)
    assert "gpu-1 has 10.99.0.0/24 from the controller manager" in said(astray)
    assert daemonsets(clean) == []


def test_absent_takes_ours_away_and_nothing_else(clean, plane, tmp_path):
    clean.node("gpu-1")
    Objects(clean.client).apply(core.objects({}))
    clean.plugin("calico-node", image="quay.io/calico/node:v3.32.1")

    first = play(plane, tmp_path, cni_state="absent")
    second = play(plane, tmp_path, cni_state="absent")

    assert first.returncode == 0, first.stdout
    assert (changed(first), changed(second)) == (1, 0)
    assert daemonsets(clean) == ["calico-node"]


# ---------------------------------------------------------------- the role on a node: a bridge


@pytest.fixture
def node(tmp_path):
    """A node's folders below ``tmp_path``, and a playbook's program to which its ``/var/lib`` is the machine's."""
    for name in ("net.d", "bin", "lib"):
        (tmp_path / name).mkdir()
    for name in core.BRIDGE_PROGRAMS:
        (tmp_path / "bin" / name).touch()
    program = tmp_path / "ansible-playbook"
    program.write_text(
        f"""#!/bin/sh
exec unshare --mount sh -c 'mount --bind {tmp_path}/lib /var/lib && exec "$@"' sh \\
  {Path(sys.executable).parent}/ansible-playbook "$@"
"""
    )
    program.chmod(0o755)
    return tmp_path


def bridge(plane, node, *more, **variables):
    given = {"cni_kubeconfig": str(plane.kubeconfig()), "cni_wait_seconds": 5, "cni_plugin": "bridge", **variables}
    given["cni_bin_dirs"] = [str(node / "bin")]
    role = {"role": "gpunode.ready.cni", "vars": given}
    (node / "play.json").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "roles": [role]}]))
    folder = json.dumps({"__cni_folder": str(node / "net.d")})
    return run(node, str(node / "ansible-playbook"), str(node / "play.json"), "-e", folder, *more)


def test_a_bridge_is_one_file_that_is_written_once_and_taken_away(clean, plane, node):
    clean.node("gpu-1")
    ours, ledger = node / "net.d" / core.BRIDGE_FILE, node / "lib/gpunode.ready/owned/unit_set-cni.json"
    podman = node / "net.d/87-podman-bridge.conflist"
    podman.write_text("{}")

    foretold = bridge(plane, node, "--check", "--diff")
    nothing = ours.exists()
    first = bridge(plane, node)
    text, owned = ours.read_text(), ledger.is_file()
    second = bridge(plane, node)
    gone = bridge(plane, node, cni_state="absent")

    assert not nothing
    assert first.returncode == 0, first.stdout
    assert [changed(done) for done in (foretold, first, second, gone)] == [1, 1, 0, 1]
    assert '"name": "gpunode-bridge"' in foretold.stdout.replace("\\", "")
    assert text == core.conflist({"plugin": "bridge"})
    assert owned
    assert sorted(path.name for path in (node / "net.d").iterdir()) == [podman.name]
    assert not ledger.exists()


def test_a_configuration_of_somebody_else_is_named_and_stays(clean, plane, node):
    clean.node("gpu-1")
    theirs = node / "net.d/10-calico.conflist"
    theirs.write_text("{}")

    done = bridge(plane, node)

    assert done.returncode == 2
    assert "10-calico.conflist here" in said(done)
    assert [path.name for path in (node / "net.d").iterdir()] == [theirs.name]


def test_programs_that_lack_are_named(clean, plane, node):
    clean.node("gpu-1")
    (node / "bin/portmap").unlink()

    done = bridge(plane, node)

    assert done.returncode == 2
    assert "lack portmap, which the bridge runs for each pod" in said(done)
    assert list((node / "net.d").iterdir()) == []


def test_a_bridge_is_refused_for_more_than_one_node(clean, plane, tmp_path):
    clean.node("gpu-1")
    clean.node("gpu-2")

    done = play(plane, tmp_path, "--check", cni_plugin="bridge")

    assert done.returncode == 2
    assert "plugin is bridge, which joins the pods of one node, and the cluster has 2" in said(done)


def test_an_api_that_does_not_answer_is_named(clean, plane, tmp_path):
    done = play(plane, tmp_path, cni_kubeconfig=str(tmp_path / "none"))

    assert done.returncode == 2
    assert "no such kubeconfig" in done.stdout
