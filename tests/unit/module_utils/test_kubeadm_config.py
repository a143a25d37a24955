# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm is given only what its version knows, and what is wrong is told before it is started."""

from __future__ import annotations

import pytest
import yaml
from ansible_collections.gpunode.ready.plugins.module_utils import kubeadm_config as core
from hypothesis import given, settings
from hypothesis import strategies as st

VERSIONS = [f"1.{minor}.1" for minor in range(core.OLDEST, core.NEWEST + 1)]
TOKEN = "abcdef.0123456789abcdef"
JOINING = {
    "version": "1.36.4",
    "token": TOKEN,
    "ca_cert_hashes": ["sha256:" + "0" * 64],
    "api_server_endpoint": "192.0.2.10:6443",
    "certificate_key": "1" * 64,
}
FULL = {
    "node_name": "gpu-1.example.org",
    "cri_socket": "unix:///var/run/crio/crio.sock",
    "cgroup_driver": "systemd",
    "advertise_address": "192.0.2.10",
    "bind_port": 7443,
    "control_plane_endpoint": "api.example.org:6443",
    "control_planes": 3,
    "node_addresses": ["192.0.2.10", "fd00::10"],
    "cluster_name": "lab",
    "image_repository": "mirror.example.org/k8s",
    "cert_sans": ["api.example.org"],
    "taints": [],
    "node_labels": {"nvidia.com/gpu.present": "true"},
    "kubelet_extra_args": {"v": 4},
    "api_server_extra_args": {"audit-log-maxage": "30", "profiling": False},
    "feature_gates": {"ControlPlaneKubeletLocalMode": True},
    "kubelet_config": {"maxPods": 250},
    "kube_proxy_config": {"mode": "nftables", "conntrack": {"tcpCloseWaitTimeout": "1h0m0s"}},
    "skip_phases": ["addon/kube-proxy"],
    "ignore_preflight_errors": ["NumCPU"],
    "certificate_key": "1" * 64,
}


def kinds(given, join=""):
    return {item["kind"]: item for item in core.documents(given, join)}


# ---------------------------------------------------------------- versions


@pytest.mark.parametrize("version", VERSIONS)
def test_all_that_is_written_is_known_to_the_version(version):
    given = {**FULL, "version": version}

    assert core.problems(given) == []
    for document in core.documents(given):
        assert core.unknown_fields(document, core.minor_of(version)) == []


@pytest.mark.parametrize("join", core.JOINS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_node_joins_any_version(version, join):
    assert core.problems({**JOINING, "version": version}, join) == []


@pytest.mark.parametrize(("version", "api"), [("1.28.1", "v1beta3"), ("1.30.9", "v1beta3"), ("1.31.0", "v1beta4")])
def test_the_api_follows_the_version(version, api):
    made = kinds({"version": version})

    assert made["ClusterConfiguration"]["apiVersion"] == f"kubeadm.k8s.io/{api}"
    assert made["ClusterConfiguration"]["kubernetesVersion"] == f"v{version}"


def test_arguments_are_a_list_from_131_on_and_a_mapping_before():
    arguments = {"api_server_extra_args": {"profiling": False}}

    old = kinds({"version": "1.30.1", **arguments})["ClusterConfiguration"]["apiServer"]["extraArgs"]
    new = kinds({"version": "1.31.1", **arguments})["ClusterConfiguration"]["apiServer"]["extraArgs"]

    assert old == {"profiling": "false"}
    assert new == [{"name": "profiling", "value": "false"}]


def test_an_argument_may_be_given_several_times_from_131_on():
    given = {"api_server_extra_args": {"oidc-required-claim": ["a=1", "b=2"]}}

    assert core.problems({"version": "1.31.1", **given}) == []
    assert "several times, which needs 1.31; found 1.30.1" in core.problems({"version": "1.30.1", **given})[0]


@pytest.mark.parametrize("version", ["1.36", "latest", "", "2.0.0"])
def test_a_version_that_is_none_is_refused(version):
    assert core.problems({"version": version}) == [f"version is `{version}`; expected one such as 1.36.4"]


def test_a_version_that_nobody_knows_here_is_refused():
    assert core.problems({"version": "1.27.1"}) == ["version is 1.27.1; expected 1.28 to 1.37, which are known here"]


# ---------------------------------------------------------------- what is written


def test_a_single_node_without_taints_says_so():
    registration = kinds({"version": "1.36.4", "taints": []})["InitConfiguration"]["nodeRegistration"]

    assert registration["taints"] == []


def test_kubeadms_own_taint_is_left_where_nothing_is_said():
    assert "nodeRegistration" not in kinds({"version": "1.36.4"})["InitConfiguration"]


def test_the_cgroup_driver_is_always_said():
    assert (
        kinds({"version": "1.36.4", "cgroup_driver": "cgroupfs"})["KubeletConfiguration"]["cgroupDriver"] == "cgroupfs"
    )


def test_a_worker_joins_without_what_only_a_control_plane_needs():
    worker, plane = kinds(JOINING, "worker"), kinds(JOINING, "control_plane")

    assert "controlPlane" not in worker["JoinConfiguration"]
    assert plane["JoinConfiguration"]["controlPlane"] == {"certificateKey": "1" * 64}


def test_the_file_is_read_back_as_it_was_meant():
    given = {**FULL, "version": "1.36.4"}

    assert list(yaml.safe_load_all(core.text(given))) == core.documents(given)


# ---------------------------------------------------------------- what is wrong

WRONG = [
    ({"pod_subnet": "10.96.0.0/16"}, "pod_subnet 10.96.0.0/16 and service_subnet 10.96.0.0/12 overlap"),
    ({"pod_subnet": "10.244.0.1/16"}, "pod_subnet is `10.244.0.1/16`: 10.244.0.1/16 has host bits set"),
    ({"service_subnet": ""}, "service_subnet is empty"),
    ({"node_addresses": ["10.244.3.4"]}, "pod_subnet 10.244.0.0/16 holds the node's address 10.244.3.4"),
    ({"node_name": "GPU_1"}, "node_name is `GPU_1`; expected a lower-case DNS name"),
    ({"dns_domain": "cluster local"}, "dns_domain is `cluster local`"),
    (
        {"cri_socket": "/var/run/crio/crio.sock"},
        "cri_socket is `/var/run/crio/crio.sock`; expected one such as unix://",
    ),
    ({"cgroup_driver": "auto"}, "cgroup_driver is `auto`; expected systemd or cgroupfs"),
    ({"kubelet_config": {"cgroupDriver": "cgroupfs"}}, "kubelet_config.cgroupDriver is cgroupfs; expected systemd"),
    ({"kubelet_extra_args": {"cgroupDriver": "systemd"}}, "kubelet has no flag --cgroupDriver"),
    ({"kubelet_extra_args": {"pod-infra-container-image": "x"}}, "it was removed in 1.35"),
    ({"kubelet_extra_args": {"--v": 4}}, "kubelet_extra_args has `--v`; expected it without its dashes"),
    ({"kubelet_config": {"featureGates": {"DevicePluginCDIDevices": True}}}, "DevicePluginCDIDevices, gone since 1.34"),
    ({"kubelet_config": {"conntrackMax": 1}}, "kubelet_config has conntrackMax, which is kube-proxy's"),
    ({"control_planes": 3}, "control_plane_endpoint is empty with 3 control planes"),
    (
        {"control_plane_endpoint": "https://api"},
        "control_plane_endpoint is `https://api`; expected a name or an address",
    ),
    (
        {"node_labels": {"node-role.kubernetes.io/gpu": ""}},
        "node-role.kubernetes.io/gpu, which kubelet may not give itself",
    ),
    ({"taints": [{"key": "a", "effect": "Never"}]}, "effect `Never`; expected NoSchedule"),
    ({"bind_port": 0}, "bind_port is `0`"),
    ({"timeouts": {"kubernetesAPICall": "60"}}, "timeouts.kubernetesAPICall is `60`; expected a duration"),
    ({"timeouts": {"kubernetesApiCall": "60s"}}, "timeouts.kubernetesApiCall is no field of v1beta4"),
]


@pytest.mark.parametrize(("change", "told"), WRONG, ids=[told[:40] for _change, told in WRONG])
def test_what_is_wrong_is_told_with_what_was_expected(change, told):
    found = core.problems({"version": "1.36.4", **change})

    assert any(told in problem for problem in found), found


def test_labels_that_kubelet_may_give_itself_are_taken():
    labels = {"nvidia.com/gpu.present": "true", "node.kubernetes.io/pool": "gpu", "topology.kubernetes.io/zone": "a"}

    assert core.problems({"version": "1.36.4", "node_labels": labels}) == []


def test_two_stacks_are_two_networks_each():
    stacks = {"pod_subnet": "10.244.0.0/16,fd00:1::/56", "service_subnet": "10.96.0.0/12,fd00:2::/112"}

    assert core.problems({"version": "1.36.4", **stacks}) == []


def test_a_timeout_before_131_is_refused():
    assert "needs 1.31 or newer" in core.problems({"version": "1.30.1", "timeouts": {"discovery": "5m"}})[0]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"token": "SECRET"}, "token is no bootstrap token"),
        ({"ca_cert_hashes": []}, "could not tell the cluster from an impostor"),
        ({"ca_cert_hashes": ["sha1:00"]}, "ca_cert_hashes has `sha1:00`"),
        ({"api_server_endpoint": ""}, "api_server_endpoint is empty"),
        ({"certificate_key": "SECRET"}, "certificate_key is not what"),
    ],
)
def test_a_join_that_cannot_work_is_refused_without_its_secrets(change, told):
    found = core.problems({**JOINING, **change}, "control_plane")

    assert any(told in problem for problem in found), found
    assert "SECRET" not in str(found)


def document(kind, version="v1beta4", **body):
    return {"apiVersion": f"kubeadm.k8s.io/{version}", "kind": kind, **body}


STRICT = [
    (
        document("ClusterConfiguration", apiServer={"timeoutForControlPlane": "4m"}),
        36,
        "timeoutForControlPlane is no field",
    ),
    (document("ClusterConfiguration", "v1beta3", apiServer={"timeoutForControlPlane": "4m"}), 30, None),
    (document("InitConfiguration", "v1beta3", timeouts={"discovery": "5m"}), 30, "timeouts is no field of v1beta3"),
    (document("ClusterConfiguration", apiServer={"extraArgs": {"a": "b"}}), 36, "extraArgs is dict; expected a list"),
    (document("ClusterConfiguration", "v1beta3", apiServer={"extraArgs": [{"name": "a"}]}), 30, "expected a mapping"),
    (document("ClusterConfiguration", etcd={"external": {"httpEndpoints": ["x"]}}), 34, "expected 1.35 or newer"),
    (document("ClusterConfiguration", etcd={"external": {"httpEndpoints": ["x"]}}), 35, None),
    (document("ClusterConfiguration", kubernetesVersion=1.36), 36, "kubernetesVersion is `1.36`; expected text"),
    (document("ClusterConfiguration", conntrack={}), 36, "ClusterConfiguration.conntrack is no field"),
    (document("InitConfiguration"), 30, "needs Kubernetes 1.31; expected kubeadm.k8s.io/v1beta3"),
    (document("InitConfiguration", "v1beta2"), 36, "expected kubeadm.k8s.io/v1beta4"),
    (document("Configuration"), 36, "kind is `Configuration`"),
    (document("InitConfiguration", localAPIEndpoint={"bindPort": True}), 36, "bindPort is `True`; expected a number"),
    ({"apiVersion": "v1", "kind": "Pod"}, 36, None),
]


@pytest.mark.parametrize(("item", "minor", "told"), STRICT, ids=[str(told)[:40] for _item, _minor, told in STRICT])
def test_a_document_is_read_as_strictly_as_kubeadm_reads_it(item, minor, told):
    found = core.unknown_fields(item, minor)

    assert (told is None and found == []) or (told is not None and told in found[0]), found


def test_settings_that_do_not_exist_are_refused_with_those_that_do():
    with pytest.raises(ValueError, match=r"unknown settings: pod_subent \(known: version"):
        core.problems({"pod_subent": "x"})


anything = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["etcd", "local", "apiServer", "extraArgs", "name", "x"]), inner, max_size=3)
    ),
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([*core.FIELDS["v1beta4"]["ClusterConfiguration"], "x"]), anything))
def test_no_document_makes_the_judgement_raise(body):
    core.unknown_fields({**body, **document("ClusterConfiguration")}, 36)
