# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The pod network: every problem at once, objects that the API's schemas take, and whoever else is there by name."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import cni as core
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.facts import service_of
from hypothesis import given
from hypothesis import strategies as st

DUAL = "10.244.0.0/16,fd00:10:244::/56"
SETTINGS = [
    {},
    {"pod_cidr": DUAL, "mtu": 1400},
    {"flannel_backend": "host-gw", "flannel_interface": "eth1", "image_pull_secrets": ["mirror"]},
    {"bin_dirs": ["/opt/cni/bin", "/usr/lib/cni"]},
]


def by_kind(given=None):
    return {item["kind"]: item for item in core.objects(given or {})}


def pod_of(given=None):
    return by_kind(given)["DaemonSet"]["spec"]["template"]["spec"]


def data_of(given=None):
    return {name: json.loads(text) for name, text in by_kind(given)["ConfigMap"]["data"].items()}


# ---------------------------------------------------------------- wrong values

REFUSED = [
    ({"plugin": "calico"}, "plugin is `calico`; expected one of flannel, bridge, none"),
    ({"pod_cidr": "10.244.0.0/33"}, "pod_cidr has `10.244.0.0/33`"),
    ({"pod_cidr": "10.244.1.0/16"}, "has host bits set"),
    ({"pod_cidr": "10.0.0.0/16,10.1.0.0/16"}, "expected one network, or one of each family"),
    ({"pod_cidr": "fd00::/56"}, "expected an IPv4 network"),
    ({"pod_cidr": "10.0.0.0/30"}, "too small for flannel"),
    ({"pod_cidr": "10.0.0.0/30", "plugin": "bridge"}, "which has 4 addresses; expected at least 16"),
    ({"mtu": 100}, "mtu is `100`; expected 576 to 65535, or 0"),
    ({"mtu": True}, "mtu is `True`"),
    ({"mtu": 1400, "flannel_backend": "host-gw"}, "which host-gw does not take"),
    ({"flannel_version": "0.28.8"}, "cannot say when it is ready; expected 0.28.9 or newer"),
    ({"flannel_version": "latest"}, "flannel_version is `latest`"),
    ({"flannel_plugin_version": "new"}, "flannel_plugin_version is `new`"),
    ({"flannel_backend": "udp"}, "flannel_backend is `udp`; expected one of vxlan, host-gw"),
    ({"flannel_interface": "eth0; reboot"}, "expected a network interface"),
    ({"flannel_image": "flannel:1"}, "flannel_image is `flannel:1`"),
    ({"flannel_health_port": 0}, "flannel_health_port is `0`; expected 1 to 65535"),
    ({"namespace": "Kube_Flannel"}, "namespace is `Kube_Flannel`"),
    ({"bin_dirs": ["bin"]}, "bin_dirs is ['bin']; expected absolute paths"),
    ({"bin_dirs": []}, "bin_dirs is []; expected absolute paths"),
]


@pytest.mark.parametrize(("given", "told"), REFUSED, ids=[told[:40] for _given, told in REFUSED])
def test_a_wrong_setting_is_told_with_what_was_expected(given, told):
    assert any(told in problem for problem in core.problems(given)), core.problems(given)


def test_a_number_that_a_template_made_text_of_is_one():
    assert core.settings({"mtu": "1400"})["mtu"] == 1400
    assert "mtu is `many`; expected 576 to 65535" in core.problems({"mtu": "many"})[0]


def test_all_problems_are_told_at_once():
    assert len(core.problems({"mtu": 1, "flannel_backend": "udp", "pod_cidr": "x"})) == 3


def test_where_the_network_is_left_to_others_nothing_is_judged():
    assert core.problems({"plugin": "none", "pod_cidr": "whatever", "mtu": -1}) == []


@pytest.mark.parametrize("given", SETTINGS, ids=["plain", "dual", "host-gw", "two folders"])
def test_what_is_documented_has_no_problem(given):
    assert core.problems(given) == []


VALUES = st.none() | st.integers() | st.sampled_from(["", "x", "10.0.0.0/8", "fd00::/8", "0.28.9", "vxlan"])


@given(st.dictionaries(st.sampled_from(list(core.DEFAULTS)), VALUES))
def test_no_setting_makes_the_judgement_fall_over(given):
    assert isinstance(core.problems(given), list)


# ---------------------------------------------------------------- flannel's objects


def test_both_families_are_told_to_flannel():
    assert data_of({"pod_cidr": DUAL})["net-conf.json"] == {
        "Network": "10.244.0.0/16",
        "EnableIPv6": True,
        "IPv6Network": "fd00:10:244::/56",
        "Backend": {"Type": "vxlan"},
    }


def test_a_change_of_the_configuration_makes_new_pods():
    def digest(given):
        return by_kind(given)["DaemonSet"]["spec"]["template"]["metadata"]["annotations"]

    assert digest({}) == digest({"flannel_health_port": 9000})
    assert digest({}) != digest({"pod_cidr": "10.0.0.0/16"})


def test_no_container_has_more_than_it_needs():
    pod = pod_of()
    contexts = [item["securityContext"] for item in (*pod["initContainers"], *pod["containers"])]

    assert {item["allowPrivilegeEscalation"] for item in contexts} == {False}
    assert {tuple(item["capabilities"]["drop"]) for item in contexts} == {("ALL",)}
    assert contexts[-1]["capabilities"]["add"] == ["NET_ADMIN", "NET_RAW"]
    assert not any("privileged" in item for item in contexts)
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_flannel_is_told_its_node_so_that_it_need_not_read_pods():
    assert [item["name"] for item in pod_of()["containers"][0]["env"]] == ["NODE_NAME"]
    assert "pods" not in json.dumps(by_kind()["ClusterRole"]["rules"])


def test_the_program_is_copied_to_every_folder():
    pod = pod_of({"bin_dirs": ["/opt/cni/bin", "/usr/lib/cni"]})
    folders = {item["name"]: item["hostPath"]["path"] for item in pod["volumes"] if item["name"].startswith("cni-bin")}
    copies = [item for item in pod["initContainers"] if "/flannel" in item["command"]]

    assert folders == {"cni-bin": "/opt/cni/bin", "cni-bin-2": "/usr/lib/cni"}
    assert [item["volumeMounts"][0]["name"] for item in copies] == list(folders)
    assert len({item["name"] for item in pod["initContainers"]}) == 3


def test_the_namespace_allows_what_flannel_needs():
    labels = by_kind()["Namespace"]["metadata"]["labels"]

    assert labels["pod-security.kubernetes.io/enforce"] == "privileged"


def test_the_images_are_known_as_a_pod_network():
    pod = pod_of()

    assert {service_of(item["image"]) for item in (*pod["initContainers"], *pod["containers"])} == {"flannel"}


@pytest.mark.parametrize("kubernetes", ["1.31", "1.37"])
def test_every_object_fits_the_schemas_of_kubernetes(kubernetes):
    validate = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed: make setup")

    for item in (item for chosen in SETTINGS for item in core.objects(chosen)):
        validate.validate(item, kubernetes, strict=True)


# ---------------------------------------------------------------- the bridge


def test_the_bridge_gives_addresses_of_both_families():
    made = json.loads(core.conflist({"plugin": "bridge", "pod_cidr": DUAL, "mtu": 1400}))

    assert [plugin["type"] for plugin in made["plugins"]] == ["bridge", "portmap"]
    assert made["plugins"][0]["mtu"] == 1400
    assert made["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.0.0/16"}], [{"subnet": "fd00:10:244::/56"}]]
    assert made["plugins"][0]["ipam"]["routes"] == [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]


def test_the_bridge_is_none_that_another_network_may_have_left():
    assert json.loads(core.conflist({"plugin": "bridge"}))["plugins"][0]["bridge"] not in ("cni0", "docker0", "podman0")


def test_what_the_bridge_lacks_is_named():
    assert core.lacking(["/opt/cni/bin/bridge", "/usr/lib/cni/loopback"]) == ["host-local", "portmap"]


# ---------------------------------------------------------------- who else is there


def daemonset(name, namespace="kube-system", image="quay.io/calico/node:v3.32.1", by="helm", component="cni"):
    pod = {"images": [image]}
    return {"name": name, "namespace": namespace, "component": component, "managed_by": by, "pod": pod}


def test_another_network_is_named_with_its_image_and_its_maker():
    found = core.foreign([daemonset("calico-node"), daemonset("plugin", component="plugin")], {})

    assert found == ["the DaemonSet kube-system/calico-node (quay.io/calico/node:v3.32.1; by helm)"]


def test_our_own_is_foreign_only_to_another_choice():
    ours = daemonset(core.NAME, core.NAME, "ghcr.io/flannel-io/flannel:v0.28.9", core.MANAGED_BY)

    assert core.foreign([ours], {}) == []
    assert "our own flannel" in core.foreign([ours], {"plugin": "bridge"})[0]
    assert len(core.foreign([ours], {"namespace": "elsewhere"})) == 1


FILES = ["10-gpunode-bridge.conflist", "87-podman-bridge.conflist", "99-loopback.conf", "10-calico.conflist", "README"]


@pytest.mark.parametrize(
    ("plugin", "expected"),
    [
        ("bridge", ["/etc/cni/net.d/10-calico.conflist"]),
        ("flannel", ["/etc/cni/net.d/10-calico.conflist", "/etc/cni/net.d/10-gpunode-bridge.conflist"]),
    ],
)
def test_configurations_that_pods_would_go_through_are_foreign(plugin, expected):
    assert core.foreign_files(FILES, plugin) == expected


def test_files_are_named_where_they_lie():
    assert core.foreign_here([f"/opt/net.d/{name}" for name in FILES], "bridge") == ["/opt/net.d/10-calico.conflist"]


def test_configurations_on_nodes_are_named_with_their_node():
    cni = {"conf_dir": "/etc/cni/net.d", "configs": ["/etc/cni/net.d/10-calico.conflist"]}
    facts = {"gpu-1": {"runtimes": {"crio": {"cni": cni}, "containerd": {"cni": cni}}}, "gpu-2": {"runtimes": {}}}

    assert core.foreign_on_nodes(facts, "flannel") == ["/etc/cni/net.d/10-calico.conflist on gpu-1"]


def looking(*bin_dirs, installed=True):
    return {"installed": installed, "cni": {"bin_dirs": list(bin_dirs)}}


KNOWN = ["/opt/cni/bin", "/usr/lib/cni"]
FOLDERS = {
    "nothing seen": ({}, ["/opt/cni/bin"]),
    "the first will do": ({"containerd": looking("/usr/libexec/cni", "/opt/cni/bin")}, ["/opt/cni/bin"]),
    "debian": ({"containerd": looking("/usr/lib/cni")}, ["/usr/lib/cni"]),
    "both": ({"containerd": looking("/usr/lib/cni"), "crio": looking("/opt/cni/bin")}, KNOWN),
    "cri-dockerd": ({"docker": looking()}, ["/opt/cni/bin"]),
    "not there": ({"crio": looking("/elsewhere", installed=False)}, ["/opt/cni/bin"]),
    "k3s has its own": ({"k3s": looking("/var/lib/rancher/k3s/data/cni")}, ["/opt/cni/bin"]),
}


@pytest.mark.parametrize(("runtimes", "expected"), FOLDERS.values(), ids=FOLDERS)
def test_flannels_program_lies_where_the_runtimes_look(runtimes, expected):
    assert core.bin_dirs({"gpu-1": {"runtimes": runtimes}}, KNOWN) == expected


def test_ranges_that_nodes_have_already_must_lie_inside():
    nodes = [{"name": "gpu-1", "pod_cidrs": ["10.244.1.0/24"]}, {"name": "gpu-2", "pod_cidrs": ["10.99.0.0/24"]}]

    [found] = core.astray(nodes, {})

    assert "gpu-2 has 10.99.0.0/24" in found


def test_both_families_need_ranges_of_both():
    nodes = [{"name": "gpu-1", "pod_cidrs": ["10.244.1.0/24"]}, {"name": "gpu-2"}]

    [found] = core.astray(nodes, {"pod_cidr": DUAL})

    assert "pod_cidr has fd00:10:244::/56, and gpu-1 has 10.244.1.0/24 alone" in found


def test_a_bridge_is_for_one_node():
    nodes = [{"name": "gpu-1"}, {"name": "gpu-2"}]

    assert core.astray(nodes[:1], {"plugin": "bridge"}) == []
    assert "the cluster has 2 (gpu-1, gpu-2)" in core.astray(nodes, {"plugin": "bridge"})[0]
