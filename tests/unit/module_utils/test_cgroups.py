# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.cgroups import (
    Asked,
    Files,
    describe,
    hierarchy,
    pods_under,
    read_k3s,
)
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host
from ansible_collections.gpunode.ready.plugins.module_utils.runtime_files import (
    read_containerd,
    read_crio,
    read_docker,
)

SOCKETS = {
    "crio": "/var/run/crio/crio.sock",
    "containerd": "/run/containerd/containerd.sock",
    "docker": "/run/docker.sock",
    "k3s": "/run/k3s/containerd/containerd.sock",
}
UNIT = "/usr/lib/systemd/system/kubelet.service"
KUBEADM = "/usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf"
# As kubeadm's package ships them.
KUBEADM_FILES = {
    UNIT: "[Unit]\nDescription=kubelet\n\n[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\n",
    KUBEADM: """\
# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS
""",
}
CONFIG = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\ncgroupDriver: {}\n"
RUNTIMES = 'plugins."io.containerd.grpc.v1.cri".containerd.runtimes'


def handler(name: str, systemd: str) -> str:
    return (
        f'[{RUNTIMES}.{name}]\nruntime_type = "io.containerd.runc.v2"\n'
        f"[{RUNTIMES}.{name}.options]\nSystemdCgroup = {systemd}\n"
    )


SYSTEMD_CONTAINERD = "version = 2\n" + handler("runc", "true")


@pytest.fixture
def node(tmp_path):
    def put(files: dict[str, str], folders: tuple[str, ...] = (), kubelet: str | None = "1.30.4") -> Host:
        for path in folders:
            (tmp_path / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
        for path, text in files.items():
            where = tmp_path / path.lstrip("/")
            where.parent.mkdir(parents=True, exist_ok=True)
            where.write_text(text)
        if kubelet:
            where = tmp_path / "usr/bin/kubelet"
            where.parent.mkdir(parents=True, exist_ok=True)
            where.touch(0o755)
        return Host(str(tmp_path), lambda argv, _seconds: Completed(0, f"Kubernetes v{kubelet}\n", ""))

    return put


V2 = ("/sys/fs/cgroup", "/run/systemd/system")
CONTROLLERS = {"/sys/fs/cgroup/cgroup.controllers": "cpu memory pids\n"}


def all_of(host: Host, asked: Asked | None = None, **files) -> dict:
    return describe(host, Files(**files), asked or Asked(), SOCKETS)


@pytest.mark.parametrize(
    ("there", "kind"),
    [
        (["cgroup.controllers"], "v2"),
        (["unified/cgroup.controllers", "memory/tasks"], "hybrid"),
        (["memory/tasks"], "v1"),
        ([], None),
    ],
)
def test_the_hierarchy_is_told_by_what_is_mounted(node, there, kind):
    assert hierarchy(node({f"/sys/fs/cgroup/{path}": "" for path in there})) == kind


@pytest.mark.parametrize(
    ("files", "configured", "source"),
    [
        (KUBEADM_FILES, None, None),
        (
            {**KUBEADM_FILES, "/var/lib/kubelet/config.yaml": CONFIG.format("systemd")},
            "systemd",
            "/var/lib/kubelet/config.yaml:3",
        ),
        (
            {**KUBEADM_FILES, "/var/lib/kubelet/config.yaml": "kind: KubeletConfiguration\n"},
            "cgroupfs",
            "default (KubeletConfiguration has no cgroupDriver)",
        ),
        (
            {
                **KUBEADM_FILES,
                "/var/lib/kubelet/config.yaml": CONFIG.format("systemd"),
                "/etc/default/kubelet": "KUBELET_EXTRA_ARGS=--config-dir=/etc/kubelet.d\n",
                "/etc/kubelet.d/10.conf": "cgroupDriver: systemd\n",
                "/etc/kubelet.d/20.conf": "cgroupDriver: cgroupfs\n",
                "/etc/kubelet.d/30.yaml": "cgroupDriver: systemd\n",
            },
            "cgroupfs",
            "/etc/kubelet.d/20.conf:1",
        ),
        (
            {
                **KUBEADM_FILES,
                "/var/lib/kubelet/config.yaml": CONFIG.format("systemd"),
                "/var/lib/kubelet/kubeadm-flags.env": 'KUBELET_KUBEADM_ARGS="--cgroup-driver=cgroupfs --v=2"\n',
            },
            "cgroupfs",
            "/var/lib/kubelet/kubeadm-flags.env:1",
        ),
        (  # KUBELET_EXTRA_ARGS comes last on the command line
            {
                **KUBEADM_FILES,
                "/var/lib/kubelet/kubeadm-flags.env": 'KUBELET_KUBEADM_ARGS="--cgroup-driver=cgroupfs"\n',
                "/etc/default/kubelet": '\nKUBELET_EXTRA_ARGS="--cgroup-driver systemd"\n',
            },
            "systemd",
            "/etc/default/kubelet:2",
        ),
        (
            {
                **KUBEADM_FILES,
                "/etc/systemd/system/kubelet.service.d/20-own.conf": "[Service]\nExecStart=\n"
                "ExecStart=/usr/bin/kubelet --cgroup-driver=systemd\n",
            },
            "systemd",
            "/etc/systemd/system/kubelet.service.d/20-own.conf:3",
        ),
    ],
)
def test_kubelet_follows_its_own_precedence(node, files, configured, source):
    row = all_of(node(files))["programs"]["kubelet"]

    assert (row["configured"], row["source"]) == (configured, source)
    assert row["places"] == [] or row["places"][-1]["path"] == row["path"]


@pytest.mark.parametrize(
    ("folders", "driver"),
    [
        (["/sys/fs/cgroup/kubepods.slice"], "systemd"),
        (["/sys/fs/cgroup/kubepods"], "cgroupfs"),
        (["/sys/fs/cgroup/memory/kubepods"], "cgroupfs"),
        (["/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/kubepods.slice"], None),
        ([], None),
    ],
)
def test_the_control_group_of_pods_tells_who_made_it(node, folders, driver):
    assert pods_under(node({}, tuple(folders)))[0] == driver


def test_drivers_that_differ_are_found_before_kubeadm_init(node):
    flags = "KUBELET_EXTRA_ARGS=--cgroup-driver=systemd --container-runtime-endpoint=unix:///run/containerd/containerd.sock\n"
    host = node({**KUBEADM_FILES, **CONTROLLERS, "/etc/default/kubelet": flags}, V2)

    found = all_of(host, containerd=read_containerd(host, "1.7.24"))

    assert found["agree"] is False
    assert found["agreement"] == (
        "kubelet uses systemd (/etc/default/kubelet:1), "
        "containerd cgroupfs (default (SystemdCgroup of handler runc is not set))."
    )
    assert found["value"] == "systemd"


@pytest.mark.parametrize(("version", "agree"), [("1.30.4", False), ("1.31.0", True), ("1.36.3", True)])
def test_a_newer_kubelet_takes_the_driver_from_a_runtime_that_tells_it(node, version, agree):
    files = {**KUBEADM_FILES, "/var/lib/kubelet/config.yaml": CONFIG.format("systemd")}
    host = node({**files, **CONTROLLERS}, V2, kubelet=version)
    asked = Asked({"crio": "cgroupfs"}, {"crio": "CRI RuntimeConfig"})

    found = all_of(host, asked, crio=read_crio(host))

    assert found["agree"] is agree
    assert found["programs"]["kubelet"]["from_runtime"] is agree


def test_what_is_in_force_counts_more_than_a_file_written_since(node):
    files = {**KUBEADM_FILES, "/var/lib/kubelet/config.yaml": CONFIG.format("cgroupfs")}
    host = node({**files, "/etc/containerd/config.toml": SYSTEMD_CONTAINERD}, V2)
    asked = Asked({"containerd": "cgroupfs"}, {"containerd": "CRI Status, handler runc"})

    found = all_of(host, asked, containerd=read_containerd(host, "1.7.24"))

    assert found["programs"]["containerd"]["configured"] == "systemd"
    assert found["agree"] is True


def test_a_working_node_keeps_the_driver_its_pods_run_with(node):
    files = {**KUBEADM_FILES, **CONTROLLERS, "/var/lib/kubelet/config.yaml": CONFIG.format("cgroupfs")}
    host = node(files, (*V2, "/sys/fs/cgroup/kubepods"))

    found = all_of(host, containerd=read_containerd(host, "1.7.24"))

    assert (found["agree"], found["value"]) == (True, "cgroupfs")
    assert "drained" in found["why"]


@pytest.mark.parametrize(
    ("folders", "files", "value", "word"),
    [
        (V2, CONTROLLERS, "systemd", "cgroup v2"),
        (("/sys/fs/cgroup/memory", "/run/systemd/system"), {}, "systemd", "v1"),
        (("/sys/fs/cgroup",), CONTROLLERS, "cgroupfs", "not the init system"),
    ],
)
def test_the_value_to_use_follows_the_init_system(node, folders, files, value, word):
    found = all_of(node(files, folders, kubelet=None))

    assert found["value"] == value
    assert word in found["why"]
    assert found["agree"] is None


@pytest.mark.parametrize(
    ("folders", "files", "driver", "source"),
    [
        (V2, CONTROLLERS, "systemd", "default (cgroup v2 and systemd runs)"),
        (("/sys/fs/cgroup/memory", "/run/systemd/system"), {}, "cgroupfs", None),
        (
            V2,
            {**CONTROLLERS, "/etc/docker/daemon.json": '{"exec-opts": ["native.cgroupdriver=cgroupfs"]}'},
            "cgroupfs",
            "/etc/docker/daemon.json:1",
        ),
    ],
)
def test_docker_chooses_by_hierarchy_where_it_is_told_nothing(node, folders, files, driver, source):
    host = node(files, folders)

    row = all_of(host, docker=read_docker(host))["programs"]["docker"]

    assert row["configured"] == driver
    assert source in (None, row["source"])


def test_containerd_reports_its_default_handler_and_tells_those_that_differ(node):
    text = SYSTEMD_CONTAINERD + handler("nvidia", "false")
    host = node({"/etc/containerd/config.toml": text})

    row = all_of(host, containerd=read_containerd(host, "1.7.24"))["programs"]["containerd"]

    assert (row["configured"], row["source"]) == ("systemd", "/etc/containerd/config.toml:5")
    assert row["handlers"] == {"nvidia": "cgroupfs", "runc": "systemd"}


def test_an_unknown_driver_is_named(node):
    host = node({"/etc/crio/crio.conf": '[crio.runtime]\ncgroup_manager = "cgroup"\n'})

    row = all_of(host, crio=read_crio(host))["programs"]["crio"]

    assert row["configured"] is None
    assert row["problem"] == "cgroup is no cgroup driver (systemd, cgroupfs)"


K3S_UNIT = {"/etc/systemd/system/k3s.service": "[Service]\nExecStart=/usr/local/bin/k3s \\\n    server\n"}
RENDERED = "/var/lib/rancher/k3s/agent/etc/containerd/config.toml"


@pytest.mark.parametrize(
    ("files", "configured", "source"),
    [
        ({}, "systemd", "default (k3s started by systemd)"),
        (
            {"/etc/rancher/k3s/config.yaml": 'kubelet-arg:\n  - "v=2"\n  - "cgroup-driver=cgroupfs"\n'},
            "cgroupfs",
            "/etc/rancher/k3s/config.yaml:3",
        ),
        (
            {
                "/etc/rancher/k3s/config.yaml": "kubelet-arg: [cgroup-driver=systemd]\n",
                "/etc/rancher/k3s/config.yaml.d/9.yaml": "kubelet-arg+: [cgroup-driver=cgroupfs]\n",
            },
            "cgroupfs",
            "/etc/rancher/k3s/config.yaml.d/9.yaml:1",
        ),
        (
            {"/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf": "cgroupDriver: systemd\n"},
            "systemd",
            "/var/lib/rancher/k3s/agent/etc/kubelet.conf.d/00-k3s-defaults.conf:1",
        ),
    ],
)
def test_k3s_is_told_by_its_options_its_drop_ins_or_its_rule(node, files, configured, source):
    host = node({**K3S_UNIT, **files, RENDERED: SYSTEMD_CONTAINERD}, V2, kubelet=None)

    found = all_of(host, k3s=read_k3s(host))

    row = found["programs"]["k3s"]
    assert (row["configured"], row["source"], row["containerd"]) == (configured, source, "systemd")
    assert found["agree"] is (configured == "systemd")
