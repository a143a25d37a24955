# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.facts import kubernetes
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(__file__).parent.parent / "data" / "kubelet"
VERSIONS = {("kubelet", "--version"): "Kubernetes v1.36.4\n", ("kubeadm", "version", "-o", "short"): "v1.36.4\n"}
PASSWD = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
ada:x:1000:1000:Ada,,,:/home/ada:/bin/bash
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
GROUP = "root:x:0:\nada:x:1000:\n"
KUBECONFIG = """apiVersion: v1
kind: Config
current-context: admin@here
clusters:
- name: elsewhere
  cluster: {server: "https://10.9.9.9:6443"}
- name: here
  cluster:
    certificate-authority-data: c2VjcmV0
    server: https://10.0.0.5:6443
contexts:
- name: admin@here
  context: {cluster: here, user: admin}
users:
- name: admin
  user: {client-key-data: cGxhbnRlZC1zZWNyZXQ=}
"""


def answer(argv, timeout_seconds):
    found = VERSIONS.get((os.path.basename(argv[0]), *argv[1:]))
    return Completed(0, found, "") if found else Completed(127, "", "")


@pytest.fixture
def node(tmp_path):
    """A node as kubeadm left it: unit, drop-in, flags, configuration."""
    put(tmp_path, "/usr/bin/kubelet", "", 0o755)
    put(tmp_path, "/usr/bin/kubeadm", "", 0o755)
    put(tmp_path, "/usr/lib/systemd/system/kubelet.service", "[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\n")
    put(tmp_path, "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf", (DATA / "10-kubeadm.conf").read_text())
    put(tmp_path, "/var/lib/kubelet/kubeadm-flags.env", 'KUBELET_KUBEADM_ARGS="--node-ip=10.0.0.5 --v=2"\n')
    put(tmp_path, "/etc/default/kubelet", "KUBELET_EXTRA_ARGS=\n")
    put(
        tmp_path,
        "/var/lib/kubelet/config.yaml",
        "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: systemd\n"
        "containerRuntimeEndpoint: unix:///var/run/containerd/containerd.sock\n",
    )
    return tmp_path


def put(root, path, text, mode=0o644):
    file = root / path[1:]
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    file.chmod(mode)
    return file


def kubelet(root):
    return kubernetes.kubelet(Host(str(root), answer))


# ---------------------------------------------------------------- kubelet


def test_a_node_as_kubeadm_left_it(node):
    found = kubelet(node)

    assert (found["installed"], found["version"], found["binary"]) == (True, "1.36.4", "/usr/bin/kubelet")
    assert found["flags"] == {
        "bootstrap-kubeconfig": "/etc/kubernetes/bootstrap-kubelet.conf",
        "kubeconfig": "/etc/kubernetes/kubelet.conf",
        "config": "/var/lib/kubelet/config.yaml",
        "node-ip": "10.0.0.5",
        "v": "2",
    }
    assert found["flag_sources"]["node-ip"] == "/var/lib/kubelet/kubeadm-flags.env:1"
    assert found["cri_socket"] == "unix:///var/run/containerd/containerd.sock"
    assert found["fail_swap_on"] is True
    assert found["cgroup_driver"] == "systemd"
    assert found["unknown_flags"] == []


def test_a_node_without_kubelet(tmp_path):
    found = kubelet(tmp_path)

    assert (found["installed"], found["version"], found["flags"]) == (False, None, {})


def test_a_flag_wins_over_the_configuration_file(node):
    put(node, "/etc/default/kubelet", 'KUBELET_EXTRA_ARGS="--cgroup-driver=cgroupfs --fail-swap-on=false"\n')

    found = kubelet(node)

    assert found["cgroup_driver"] == "cgroupfs"
    assert found["fail_swap_on"] is False
    assert found["flag_sources"]["cgroup-driver"] == "/etc/default/kubelet:1"


def test_a_flag_in_camel_case_is_told_with_the_right_spelling(node):
    put(node, "/etc/default/kubelet", "# mine\nKUBELET_EXTRA_ARGS=--cgroupDriver=systemd\n")

    (flag,) = kubelet(node)["unknown_flags"]

    assert (flag["flag"], flag["source"]) == ("--cgroupDriver", "/etc/default/kubelet:2")
    assert flag["suggestion"] == "--cgroup-driver"


def test_a_flag_that_this_version_no_longer_knows_is_told(node):
    put(
        node,
        "/var/lib/kubelet/kubeadm-flags.env",
        'KUBELET_KUBEADM_ARGS="--pod-infra-container-image=registry.k8s.io/pause:3.9"\n',
    )

    (flag,) = kubelet(node)["unknown_flags"]

    assert flag["flag"] == "--pod-infra-container-image"
    assert "1.35" in flag["why"]


@pytest.mark.parametrize("flag", ["container-runtime", "container_runtime"])
def test_dashes_and_underscores_are_one(flag):
    assert kubernetes.unknown_flags({flag: "remote"}, {}, 30)[0]["flag"] == f"--{flag}"


def test_a_drop_in_of_etc_hides_that_of_usr_with_the_same_name(node):
    put(
        node,
        "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf",
        "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet --v=9\n",
    )

    assert kubelet(node)["flags"] == {"v": "9"}


def test_the_node_s_own_socket_wins_over_the_clusters(node):
    put(node, "/var/lib/kubelet/instance-config.yaml", "containerRuntimeEndpoint: unix:///var/run/crio/crio.sock\n")

    assert kubelet(node)["cri_socket"] == "unix:///var/run/crio/crio.sock"


def test_a_broken_configuration_is_told_with_its_line(node):
    put(node, "/var/lib/kubelet/config.yaml", "kind: KubeletConfiguration\ncgroupDriver: [\n")

    problem = kubelet(node)["config_problem"]

    assert problem["path"] == "/var/lib/kubelet/config.yaml"
    assert problem["line"] is not None


def test_a_flag_and_its_value_may_stand_apart():
    values, _sources = kubernetes.flags(
        [(word, "x") for word in ("kubelet", "--v", "4", "--fail-swap-on", "--node-ip=1")]
    )

    assert values == {"v": "4", "fail-swap-on": "true", "node-ip": "1"}


def test_a_continued_line_is_one(node):
    put(
        node,
        "/etc/systemd/system/kubelet.service.d/90.conf",
        "[Service]\nExecStart=\nExecStart=/usr/bin/kubelet \\\n  --v=5 \\\n  --node-ip=1\n",
    )

    assert kubelet(node)["flags"] == {"v": "5", "node-ip": "1"}


# ---------------------------------------------------------------- kubeadm


def kubeadm(root):
    return kubernetes.kubeadm(Host(str(root), answer))


def test_a_bare_node_has_nothing_left_over(node):
    (node / "var/lib/kubelet/kubeadm-flags.env").unlink()

    found = kubeadm(node)

    assert (found["installed"], found["version"], found["initialised"]) == (True, "1.36.4", False)
    assert found["leftovers"] == []


def test_a_worker_has_joined(node):
    put(node, "/etc/kubernetes/kubelet.conf", KUBECONFIG, 0o600)

    found = kubeadm(node)

    assert (found["joined"], found["control_plane"], found["leftovers"]) == (True, False, [])


def test_a_control_plane_is_recognised(node):
    for name in ("admin.conf", "kubelet.conf"):
        put(node, f"/etc/kubernetes/{name}", KUBECONFIG, 0o600)
    put(node, "/etc/kubernetes/manifests/kube-apiserver.yaml", "")

    found = kubeadm(node)

    assert (found["initialised"], found["control_plane"], found["leftovers"]) == (True, True, [])


def test_what_an_earlier_cluster_left_is_told(node):
    put(node, "/etc/kubernetes/manifests/etcd.yaml", "")
    put(node, "/var/lib/etcd/member/snap/db", "")
    put(node, "/etc/kubernetes/pki/ca.crt", "")
    put(node, "/etc/cni/net.d/10-calico.conflist", "{}")

    found = [item["path"] for item in kubeadm(node)["leftovers"]]

    assert found == [
        "/etc/kubernetes/manifests/etcd.yaml",
        "/var/lib/etcd",
        "/etc/kubernetes/pki/ca.crt",
        "/var/lib/kubelet/kubeadm-flags.env",
        "/etc/cni/net.d/10-calico.conflist",
    ]


@pytest.mark.parametrize("name", ["admin.conf", "bootstrap-kubelet.conf"])
def test_a_run_that_stopped_half_way_is_told(node, name):
    put(node, f"/etc/kubernetes/{name}", KUBECONFIG, 0o600)
    (node / "var/lib/kubelet/kubeadm-flags.env").unlink()

    (item,) = kubeadm(node)["leftovers"]

    assert "half-way" in item["why"]


# ---------------------------------------------------------------- kubeconfigs


@pytest.fixture
def people(tmp_path):
    put(tmp_path, "/etc/passwd", PASSWD)
    put(tmp_path, "/etc/group", GROUP)
    return tmp_path


def kubeconfigs(root):
    return kubernetes.kubeconfigs(Host(str(root)))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to others")
def test_a_kubeconfig_copied_as_root_cannot_be_read_by_its_user(people):
    file = put(people, "/home/ada/.kube/config", KUBECONFIG, 0o600)
    os.chown(file, 0, 0)

    (found,) = kubeconfigs(people)

    assert (found["user"], found["owner"], found["mode"]) == ("ada", "root", "0600")
    assert found["readable_by_owner"] is False


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give files to others")
def test_a_kubeconfig_of_its_user_is_as_it_should_be(people):
    file = put(people, "/home/ada/.kube/config", KUBECONFIG, 0o600)
    os.chown(file, 1000, 1000)

    (found,) = kubeconfigs(people)

    assert (found["owner"], found["group"], found["readable_by_owner"], found["readable_by_others"]) == (
        "ada",
        "ada",
        True,
        False,
    )


def test_the_server_in_use_is_told_and_no_secret(people):
    put(people, "/etc/kubernetes/admin.conf", KUBECONFIG, 0o600)

    (found,) = kubeconfigs(people)

    assert found["server"] == "https://10.0.0.5:6443"
    assert "cGxhbnRlZC1zZWNyZXQ" not in str(found)


def test_a_broken_kubeconfig_is_told_without_its_text(people):
    put(people, "/root/.kube/config", "users: [\n  token: planted-secret\n")

    (found,) = kubeconfigs(people)

    assert found["problem"].startswith("not YAML")
    assert "planted-secret" not in str(found)


def test_system_accounts_have_no_kubeconfig_looked_for():
    assert [user for user, *_rest in kubernetes.homes(PASSWD)] == ["root", "ada"]


# ---------------------------------------------------------------- properties


@given(st.text())
def test_no_text_makes_reading_it_raise(text):
    kubernetes.homes(text)
    kubernetes.server_of(text)


@given(st.lists(st.text(max_size=12), max_size=8))
def test_no_command_line_makes_reading_its_flags_raise(argv):
    values, sources = kubernetes.flags([(word, "x") for word in argv])

    assert set(values) == set(sources)
    kubernetes.unknown_flags(values, sources, 36)
