# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of a cluster's checks as a whole; each check's own scene is in tests/api, on a real API server."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.checks.all import CHECKS
from ansible_collections.gpunode.ready.plugins.module_utils.checks.cluster_all import CLUSTER_CHECKS, judge_cluster
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.expect import CLUSTER_EXPECT, cluster_expectations
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.facts import COLLECTORS
from ansible_collections.gpunode.ready.plugins.module_utils.findings import LAYERS, SEVERITIES
from hypothesis import given, settings
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[3]
IDS = [check.id for check in CLUSTER_CHECKS]


def test_ids_are_unique_and_kebab_case():
    assert len(set(IDS)) == len(IDS)
    assert [name for name in IDS if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)+", name)] == []


@pytest.mark.parametrize("check", CLUSTER_CHECKS, ids=IDS)
def test_a_check_says_what_it_must(check):
    assert check.layer in LAYERS
    assert check.severity in SEVERITIES
    assert check.meaning.endswith(".")
    assert check.remedy.text.endswith(".")
    assert set(check.consequence_of) <= set(IDS) - {check.id}


@pytest.mark.parametrize("check", CLUSTER_CHECKS, ids=IDS)
def test_a_role_that_is_named_exists(check):
    assert check.remedy.role is None or (ROOT / "roles" / check.remedy.role).is_dir()


def test_an_id_that_nodes_have_too_is_of_the_same_layer():
    layers = {check.id: check.layer for check in CHECKS}

    assert [check.id for check in CLUSTER_CHECKS if layers.get(check.id, check.layer) != check.layer] == []


def test_every_expectation_is_read_by_a_check():
    folder = ROOT / "plugins/module_utils/checks"
    read = set(
        re.findall(
            r'expect(?:\.get\(|\[)"([a-z_]+)"', "".join(path.read_text() for path in folder.glob("cluster_*.py"))
        )
    )

    assert set(CLUSTER_EXPECT) == read


def test_an_expectation_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ValueError, match=r"gpu_cuont.*known: plugin, gpu_nodes"):
        cluster_expectations({"gpu_cuont": 1})


def test_a_muted_finding_is_left_out():
    facts = {"api": {"server": "https://x", "ready": False, "problem": {"kind": "refused", "text": "refused"}}}

    assert [finding.id for finding in judge_cluster(facts, CLUSTER_EXPECT)] == ["apiserver-not-ready"]
    assert judge_cluster(facts, CLUSTER_EXPECT, mute=["apiserver-not-ready"]) == []


def pod(component, phase, node="gpu-1", owner="DaemonSet", namespace="kube-system"):
    name = f"{component}-{phase.lower()}"
    kind = {"kind": owner, "name": component}
    return {"namespace": namespace, "name": name, "component": component, "phase": phase, "node": node, "owner": kind}


LEFT_BEHIND = {
    "another of its node runs": ("cni", "DaemonSet", "gpu-1", []),
    "another runs elsewhere": ("cni", "DaemonSet", "gpu-2", ["cni-pod-not-running"]),
    "another of the Deployment runs elsewhere": ("metrics", "ReplicaSet", "gpu-2", []),
}


@pytest.mark.parametrize(("component", "owner", "node", "expected"), LEFT_BEHIND.values(), ids=LEFT_BEHIND)
def test_a_pod_that_was_left_behind_is_no_failure_where_another_runs(component, owner, node, expected):
    failed, running = pod(component, "Failed", owner=owner), pod(component, "Running", node, owner)

    def found(*pods):
        return [finding.id for finding in judge_cluster({"pods": {"listed": list(pods)}}, CLUSTER_EXPECT)]

    assert found(failed, running) == expected
    assert found(failed, {**running, "phase": "Pending"}) != []
    assert found(failed, {**running, "namespace": "elsewhere"}) != []


# fmt: off
NAMES = [
    "name", "namespace", "labels", "taints", "capacity", "allocatable", "conditions", "component", "desired",
    "current", "pod", "runtime_class", "node_selector", "node_affinity", "tolerations", "requests", "phase",
    "reason", "message", "node", "owner", "waiting", "listed", "counts", "evicted", "classes", "pending_claims",
    "default", "class", "key", "effect", "kind", "text", "problem", "version", "kubelet_version", "ready", "failed",
    "unavailable", "handler", "nvidia.com/gpu", "gpus", "devices", "provisioners", "provisioner", "updated",
]
# fmt: on
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 9)
    | st.sampled_from(["", "nvidia", "Pending", "Failed", "plugin", "v1.20"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=25,
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from([*COLLECTORS, "hosts"]), anything), st.dictionaries(st.text(max_size=3), anything)
)
def test_no_facts_make_a_check_raise(facts, hosts):
    judge_cluster(facts, CLUSTER_EXPECT, hosts)
