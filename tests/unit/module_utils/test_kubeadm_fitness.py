# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would make kubeadm fail is told before anything changes, all of it, and a node that is fit is let through."""

from __future__ import annotations

import copy

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import kubeadm_fitness as core
from hypothesis import given, settings
from hypothesis import strategies as st

FACTS = {
    "runtimes": {
        "crio": {"installed": True, "answers": True, "socket": "/var/run/crio/crio.sock"},
        "docker": {"installed": True, "answers": True, "socket": "/var/run/docker.sock"},
    },
    "cgroups": {"hierarchy": "v2", "value": "systemd", "programs": {"crio": {"in_force": "systemd"}}},
    "swap": {"live": []},
    "kubeadm": {"leftovers": []},
}
NONE = {"state": "none", "reasons": [], "node": None, "ca_cert_hash": None, "server": None}
MEMBER = {**NONE, "state": "member", "node": {"kubelet_version": "1.36.4"}, "ca_cert_hash": "sha256:1"}
CHOICES = {
    "settings": {"version": "1.36.4", "cri_socket": "unix:///var/run/crio/crio.sock"},
    "member": "first_control_plane",
    "runtime": "crio",
    "cgroup_driver": "auto",
    "allow_change": False,
    "first_control_plane": "gpu-1",
    "hosts": ["gpu-1", "gpu-2"],
}


def changed(base, **more):
    made = copy.deepcopy(base)
    for path, value in more.items():
        here = made
        *steps, last = path.split("__")
        for step in steps:
            here = here.setdefault(step, {})
        here[last] = value
    return made


@pytest.mark.parametrize("state", [NONE, MEMBER, {**NONE, "state": "init-incomplete"}])
def test_a_node_that_is_fit_is_let_through(state):
    assert core.problems(FACTS, state, CHOICES) == []


CASES = [
    ({}, {"settings__pod_subnet": "10.96.0.0/16"}, NONE, "kubeadm_pod_subnet 10.96.0.0/16 and service_subnet"),
    ({}, {"settings__control_planes": 2, "settings__control_plane_endpoint": "api"}, NONE, "there would be 2 control"),
    ({}, {"first_control_plane": "gpu-9"}, NONE, "`gpu-9`, which the inventory does not have"),
    ({}, {"member": "worker", "first_control_plane": ""}, NONE, "expected the host that makes its credentials"),
    ({}, {"runtime": "containerd"}, NONE, "containerd is not installed; expected it"),
    ({"runtimes__crio__answers": False, "runtimes__crio__answer_problem": "connection refused"}, {}, NONE,
     "crio does not answer at /var/run/crio/crio.sock: connection refused"),
    ({}, {"runtime": "docker"}, NONE, "expected cri-dockerd"),
    ({"units": {"cri-docker.socket": {"active": "inactive"}}},
     {"runtime": "docker", "settings__cri_socket": "unix:///run/cri-dockerd.sock"}, NONE, "cri-dockerd, running"),
    ({"cgroups__programs__crio__in_force": "cgroupfs"}, {"cgroup_driver": "systemd"}, NONE,
     "kubeadm_cgroup_driver is systemd and crio has cgroupfs in force"),
    ({"swap__live": [{"path": "/swap.img"}]}, {}, NONE, "swap is on (/swap.img)"),
    ({"cgroups__hierarchy": "v1"}, {}, NONE, "cgroup v1, which kubelet 1.36 refuses"),
    ({"kubeadm__leftovers": [{"path": "/var/lib/etcd", "why": "/var/lib/etcd is an etcd's data, of a cluster."}]}, {},
     NONE, "an etcd's data, of a cluster; expected nothing of it. `kubeadm reset` on this node deletes it"),
    ({}, {}, {**NONE, "state": "foreign", "reasons": ["kubelet.conf is of another cluster"]},
     "kubelet.conf is of another cluster. Drain the node"),
    ({}, {"ca_cert_hash": "sha256:2"}, MEMBER, "whose CA is sha256:1; expected that of gpu-1, sha256:2"),
    ({}, {}, changed(MEMBER, node__kubelet_version="1.35.9"), "with kubelet 1.35.9, and kubeadm_version is 1.36.4"),
]  # fmt: skip


@pytest.mark.parametrize(("facts", "choices", "state", "told"), CASES, ids=[case[3][:40] for case in CASES])
def test_what_speaks_against_it_is_told(facts, choices, state, told):
    found = core.problems(changed(FACTS, **facts), state, changed(CHOICES, **choices))

    assert any(told in problem for problem in found), found


def test_everything_is_told_at_once():
    facts = changed(FACTS, swap__live=[{"path": "/swap.img"}], cgroups__hierarchy="v1")

    assert len(core.problems(facts, NONE, changed(CHOICES, first_control_plane="x", runtime="containerd"))) == 4


@pytest.mark.parametrize(
    ("facts", "choices"),
    [
        ({"swap__live": [{"path": "/swap.img"}]}, {"settings__kubelet_config": {"failSwapOn": False}}),
        ({"cgroups__hierarchy": "v1"}, {"settings__kubelet_config": {"failCgroupV1": False}}),
        ({"cgroups__hierarchy": "v1"}, {"settings__version": "1.34.1"}),
        ({"kubeadm__leftovers": [{"path": "/etc/cni/net.d/10-calico.conflist", "why": "a"}]}, {}),
        ({"runtimes__crio__installed": False}, {"runtime_expected": False}),
        ({}, {"settings__control_planes": 3, "settings__control_plane_endpoint": "api.example.org"}),
        ({}, {"runtime": "docker", "settings__cri_socket": "unix:///run/cri-dockerd.sock"}),
    ],
    ids=["swap allowed", "v1 allowed", "v1 known", "a pod network", "check mode", "three", "cri-dockerd"],
)
def test_what_was_chosen_so_is_let_through(facts, choices):
    assert core.problems(changed(FACTS, **facts), NONE, changed(CHOICES, **choices)) == []


def test_an_upgrade_that_was_allowed_is_let_through():
    older = changed(MEMBER, node__kubelet_version="1.35.9")

    assert core.problems(FACTS, older, {**CHOICES, "allow_change": True}) == []


@pytest.mark.parametrize(
    ("runtime", "socket"),
    [
        ("crio", "unix:///var/run/crio/crio.sock"),
        ("containerd", "unix:///run/containerd/containerd.sock"),
        ("docker", "unix:///run/cri-dockerd.sock"),
    ],
)
def test_the_socket_is_the_runtimes_or_where_it_would_be(runtime, socket):
    assert core.socket_of(FACTS, runtime) == socket


@pytest.mark.parametrize(
    ("programs", "chosen", "driver"),
    [
        ({"crio": {"in_force": "cgroupfs", "configured": "systemd"}}, "auto", "cgroupfs"),
        ({"crio": {"in_force": None, "configured": "cgroupfs"}}, "auto", "cgroupfs"),
        ({}, "auto", "systemd"),
        ({"crio": {"in_force": "cgroupfs"}}, "systemd", "systemd"),
    ],
)
def test_kubelet_gets_the_driver_that_is_in_force(programs, chosen, driver):
    assert core.driver_of(changed(FACTS, cgroups__programs=programs), "crio", chosen) == driver


anything = st.recursive(
    st.none() | st.booleans() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from([*FACTS, "crio", "live"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(("days", "refused"), [(0, False), (30, False), (364, False), (365, True), (400, True)])
def test_days_that_would_renew_at_every_run_are_refused(days, refused):
    told = core.problems(FACTS, NONE, {**CHOICES, "certificates_days": days})

    assert ["kubeadm_certificates_days" in problem for problem in told] == [True] * refused


@settings(max_examples=50)
@given(anything)
def test_no_facts_make_the_judgement_raise(facts):
    core.problems(facts if isinstance(facts, dict) else {"runtimes": facts}, NONE, CHOICES)
