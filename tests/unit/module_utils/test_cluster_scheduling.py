# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Selector, affinity, taints and devices are read as the scheduler reads them."""

from __future__ import annotations

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.facts import (
    component_of,
    device_requests,
    devices,
    quantity,
    service_of,
)
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.scheduling import (
    DAEMON_TOLERATED,
    Obstacle,
    free_devices,
    holds,
    matches,
    obstacles,
    spell,
    spell_taint,
    tolerates,
)
from hypothesis import given, settings
from hypothesis import strategies as st

LABELS = {"zone": "a", "gpus": "8", "empty": ""}


@pytest.mark.parametrize(
    ("key", "operator", "values", "expected"),
    [
        ("zone", "In", ["a", "b"], True),
        ("zone", "In", ["b"], False),
        ("none", "In", ["a"], False),
        ("zone", "NotIn", ["a"], False),
        ("zone", "NotIn", ["b"], True),
        ("none", "NotIn", ["a"], True),
        ("empty", "Exists", None, True),
        ("none", "Exists", None, False),
        ("none", "DoesNotExist", None, True),
        ("zone", "DoesNotExist", None, False),
        ("gpus", "Gt", ["7"], True),
        ("gpus", "Gt", ["8"], False),
        ("gpus", "Lt", ["9"], True),
        ("none", "Gt", ["1"], False),
        ("zone", "Gt", ["1"], False),
        ("zone", "Like", ["a"], False),
    ],
)
def test_an_expression_holds_as_the_api_documents_it(key, operator, values, expected):
    assert holds({"key": key, "operator": operator, "values": values}, LABELS) is expected


def test_all_expressions_of_a_term_must_hold_and_an_empty_term_never_does():
    both = [{"key": "zone", "operator": "In", "values": ["a"]}, {"key": "gpus", "operator": "Gt", "values": ["8"]}]

    assert not matches({"matchExpressions": both}, {"labels": LABELS})
    assert not matches({}, {"labels": LABELS})


def test_a_field_names_the_node():
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["gpu-1"]}]}

    assert matches(term, {"name": "gpu-1"})
    assert not matches(term, {"name": "gpu-2"})


TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


@pytest.mark.parametrize(
    ("toleration", "expected"),
    [
        ({"key": "nvidia.com/gpu", "operator": "Exists"}, True),
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}, True),
        ({"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoExecute"}, False),
        ({"key": "nvidia.com/gpu", "value": "present"}, True),
        ({"key": "nvidia.com/gpu", "value": "other"}, False),
        ({"key": "nvidia.com/gpu"}, False),
        ({"operator": "Exists"}, True),
        ({"operator": "Exists", "effect": "NoExecute"}, False),
        ({}, False),
        ({"key": "other", "operator": "Exists"}, False),
    ],
)
def test_a_toleration_covers_a_taint_as_the_api_documents_it(toleration, expected):
    assert tolerates(toleration, TAINT) is expected


def test_every_obstacle_is_told_with_what_is_there_instead():
    pod = {"node_selector": {"zone": "b"}, "requests": {"nvidia.com/gpu": 2}}
    node = {"name": "n", "labels": LABELS, "taints": [TAINT], "allocatable": {"nvidia.com/gpu": 2}}

    found = obstacles(pod, node, {"nvidia.com/gpu": 1})

    assert found == [
        Obstacle("selector", "zone=b", "zone=a"),
        Obstacle("taint", "no toleration", "nvidia.com/gpu=present:NoSchedule"),
        Obstacle("resource", "2 nvidia.com/gpu", "1 free of 2"),
    ]


def test_a_preference_keeps_no_pod_away():
    assert obstacles({}, {"taints": [{"key": "k", "effect": "PreferNoSchedule"}]}) == []


@pytest.mark.parametrize("key", DAEMON_TOLERATED)
def test_a_daemon_runs_where_other_pods_do_not(key):
    node = {"taints": [{"key": key, "effect": "NoSchedule"}], "unschedulable": True}

    assert obstacles({}, node, daemon=True) == []
    assert obstacles({}, node) != []


def test_only_a_daemon_on_the_host_network_runs_before_the_network_is_there():
    node = {"taints": [{"key": "node.kubernetes.io/network-unavailable", "effect": "NoSchedule"}]}

    assert obstacles({"host_network": True}, node, daemon=True) == []
    assert len(obstacles({}, node, daemon=True)) == 1


def test_a_cordon_is_one_obstacle_whether_or_not_its_taint_is_there_yet():
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}

    assert [item.kind for item in obstacles({}, {"unschedulable": True})] == ["cordoned"]
    assert [item.kind for item in obstacles({}, {"unschedulable": True, "taints": [taint]})] == ["taint"]


def test_a_pod_that_has_ended_holds_no_device():
    nodes = [{"name": "n", "allocatable": {"nvidia.com/gpu": 4}}]
    pods = [
        {"node": "n", "phase": phase, "requests": {"nvidia.com/gpu": 1}}
        for phase in ("Running", "Pending", "Succeeded", "Failed")
    ]

    assert free_devices(nodes, pods) == {"n": {"nvidia.com/gpu": 2}}


def test_terms_and_taints_are_spelt_as_people_write_them():
    term = {
        "matchExpressions": [
            {"key": "a", "operator": "In", "values": ["1"]},
            {"key": "b", "operator": "In", "values": ["1", "2"]},
            {"key": "c", "operator": "Exists"},
            {"key": "d", "operator": "DoesNotExist"},
            {"key": "e", "operator": "NotIn", "values": ["x"]},
        ]
    }

    assert spell(term) == "a=1 and b in (1, 2) and c and no d and e not in (x)"
    assert spell_taint({"key": "k", "effect": "NoExecute"}) == "k:NoExecute"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["matchExpressions", "matchFields", "x"]), anything))
def test_no_term_raises(term):
    spell(term)
    spell(term if isinstance(term, dict) else {})


# ---------------------------------------------------------------- what a pod is, and what it needs


@pytest.mark.parametrize(
    ("image", "command", "expected"),
    [
        ("nvcr.io/nvidia/k8s-device-plugin:v0.20.0", [], "plugin"),
        ("mirror:5000/a/b/k8s-device-plugin@sha256:00", [], "plugin"),
        ("nvcr.io/nvidia/k8s-device-plugin:v0.20.0", ["/usr/bin/gpu-feature-discovery"], "gfd"),
        ("nvcr.io/nvidia/k8s-device-plugin:v0.20.0", ["mps-control-daemon"], "mps"),
        ("nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-distroless", [], "dcgm"),
        ("registry.k8s.io/nfd/node-feature-discovery:v0.19.0", ["nfd-worker"], "nfd"),
        ("someone/my-device-plugin:1", [], ""),
        ("docker.io/library/busybox", ["nvidia-device-plugin"], ""),
        ("", [], ""),
    ],
)
def test_the_gpu_stack_is_known_by_its_images(image, command, expected):
    assert component_of([{"image": image, "command": command}]) == expected


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("ghcr.io/flannel-io/flannel:v0.28.9", "flannel"),
        ("mirror:5000/flannel-io/flannel-cni-plugin@sha256:00", "flannel"),
        ("rancher/mirrored-flannelcni-flannel:v0.22.0", "flannel"),
        ("quay.io/calico/node:v3.32.1", "calico"),
        ("quay.io/cilium/cilium:v1.20.1", "cilium"),
        ("docker.io/weaveworks/weave-kube:2.8.1", "weave"),
        ("docker.io/weaveworks/kured:1.6.1", ""),
        ("docker.io/weaveworks/scope:1.13.2", ""),
        ("ghcr.io/ovn-kubernetes/ovn-kubernetes/ovn-kube-ubuntu:master", "ovn"),
        ("docker.io/kubeovn/kube-ovn:v1.14.0", "ovn"),
        ("registry.k8s.io/metrics-server/metrics-server:v0.9.0", "metrics-server"),
        ("someone/node:1", ""),
        ("", ""),
    ],
)
def test_what_carries_the_cluster_is_known_by_its_images(image, expected):
    assert service_of(image) == expected


def test_a_plugin_with_its_config_manager_is_a_plugin():
    image = "nvcr.io/nvidia/k8s-device-plugin:v0.20.0"

    assert component_of([{"image": image, "command": ["config-manager"]}, {"image": image}]) == "plugin"


def test_a_pod_needs_what_its_containers_need_together_or_one_init_container_alone():
    def container(amount):
        return {"resources": {"limits": {"nvidia.com/gpu": amount, "cpu": "2"}}}

    assert device_requests({"containers": [container("1"), container("2")]}) == {"nvidia.com/gpu": 3}
    assert device_requests({"containers": [container("1")], "initContainers": [container("4")]}) == {
        "nvidia.com/gpu": 4
    }


def test_devices_are_nvidias_alone():
    assert devices({"cpu": "8", "nvidia.com/mig-1g.5gb": "7", "amd.com/gpu": "1"}) == {"nvidia.com/mig-1g.5gb": 7}


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("16", 16), ("1k", 1000), ("2Ki", 2048), ("500m", 0), (None, 0)]
)
def test_a_quantity_is_read_as_a_whole_number(text, expected):
    assert quantity(text) == expected
