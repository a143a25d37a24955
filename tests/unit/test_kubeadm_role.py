# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role kubeadm asks each system for what upstream has for it, and hands the core what was chosen."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpunode.ready.plugins.module_utils import kubeadm_config
from rendering import MISSING, Case, render

GOLDEN = yaml.safe_load((Path(__file__).parent / "data/packages/golden.yml").read_text())
SYSTEMS = GOLDEN["systems"]
ROWS = [(row, system) for row in GOLDEN["kubeadm"] for system in row["systems"]]
PACKAGES = ("__kubeadm_set", "__kubeadm_has_upstream", "__kubeadm_repository")
SETTINGS = ("__kubeadm_settings",)
MEMBER = {"state": "member", "node": {"kubelet_version": "1.36.2"}}


def facts(system="debian-12"):
    return {
        "os": SYSTEMS[system],
        "cgroups": {"value": "systemd", "programs": {"crio": {"in_force": "cgroupfs"}}},
        "runtimes": {"containerd": {"socket": "/run/containerd/containerd.sock"}},
    }


def settings(**options) -> Case:
    own = ("__kubeadm_look", "hostvars")
    given = {name if name in own else f"kubeadm_{name}": value for name, value in options.items()}
    return Case("kubeadm", facts(), SETTINGS, {"inventory_hostname": "gpu-1", **given})


CASES = {
    "first": settings(),
    "single": settings(control_plane_taint="removed"),
    "tainted": settings(taints=[{"key": "a", "effect": "NoSchedule"}]),
    "worker": settings(member="worker", skip_phases=["addon/kube-proxy"]),
    "crio": settings(runtime="crio"),
    "running": settings(__kubeadm_look=MEMBER),
    "of the first": settings(
        first_control_plane="gpu-0", __kubeadm_look={"node": None}, hostvars={"gpu-0": {"__kubeadm_look": MEMBER}}
    ),
    "exact": settings(version="1.36.3", __kubeadm_look=MEMBER),
    "another minor": settings(version="1.37", __kubeadm_look=MEMBER),
    "unknown": settings(version="1.99"),
    "own": Case(
        "kubeadm",
        facts(),
        ("__kubeadm_repository",),
        {"inventory_hostname": "gpu-1", "kubeadm_repository_url": "https://mirror.example.org/k8s/",
         "kubeadm_repository_key_fingerprints": ["AB" * 20]},
    ),
}  # fmt: skip


@lru_cache
def rendered() -> dict:
    if MISSING:
        pytest.skip(MISSING)
    alone = {"inventory_hostname": "gpu-1"}
    systems = {system: Case("kubeadm", facts(system), PACKAGES, alone) for system in SYSTEMS}
    return render({**systems, **CASES})


def told(case):
    return rendered()[case]["__kubeadm_settings"]


@pytest.mark.parametrize(("row", "system"), ROWS, ids=[system for _row, system in ROWS])
def test_kubernetes_is_asked_for_by_the_names_it_has_there(row, system):
    role = rendered()[system]

    names = [
        f"{item['name']}={item['version']}" if "version" in item else item["name"] for item in role["__kubeadm_set"]
    ]
    assert names == row["packages"]
    assert role["__kubeadm_has_upstream"] is (row["url"] is not None)
    if row["url"]:
        assert role["__kubeadm_repository"]["url"] == row["url"]
        assert role["__kubeadm_repository"]["key_url"] == row["key"]
        assert role["__kubeadm_repository"]["key_fingerprints"] == ["DE15B14486CD377B9E876E1A234654DA9A296436"]


def test_every_system_stands_in_the_table_once():
    assert sorted(system for _row, system in ROWS) == sorted(SYSTEMS)


def test_a_repository_of_ones_own_has_its_own_key():
    repository = rendered()["own"]["__kubeadm_repository"]

    assert repository["key_url"] == "https://mirror.example.org/k8s/Release.key"
    assert repository["key_fingerprints"] == ["AB" * 20]


@pytest.mark.parametrize(
    ("case", "version"),
    [
        ("first", "1.36.4"),
        ("running", "1.36.2"),
        ("of the first", "1.36.2"),
        ("exact", "1.36.3"),
        ("another minor", "1.37.1"),
        ("unknown", "1.99"),
    ],
)
def test_a_minor_is_the_patch_that_runs_else_the_newest_that_is_known(case, version):
    assert told(case)["version"] == version


def test_what_is_chosen_by_default_is_what_kubeadm_takes():
    given = told("first")

    assert kubeadm_config.problems(given) == []
    assert set(given) <= set(kubeadm_config.DEFAULTS)


def test_kubelet_gets_the_socket_and_the_driver_of_its_runtime():
    assert told("crio")["cri_socket"] == "unix:///var/run/crio/crio.sock"
    assert told("crio")["cgroup_driver"] == "cgroupfs"
    assert told("first")["cri_socket"] == "unix:///run/containerd/containerd.sock"
    assert told("first")["cgroup_driver"] == "systemd"


def test_taints_are_kubeadms_own_unless_something_else_was_chosen():
    control_plane = {"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}

    assert told("first")["taints"] is None
    assert told("single")["taints"] == []
    assert told("tainted")["taints"] == [control_plane, {"key": "a", "effect": "NoSchedule"}]
    assert told("worker")["taints"] is None


def test_phases_of_init_are_left_out_of_init_alone():
    assert told("worker")["skip_phases"] == []
