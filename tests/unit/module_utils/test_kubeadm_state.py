# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""After each phase of kubeadm at which a run may die, what lacks is told, and a complete member lacks nothing."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import kubeadm_state as core
from ansible_collections.gpunode.ready.plugins.module_utils.kubeadm_run import arguments
from kubeadm_trees import CA_HASH, LEAF, NODE, OTHER_HASH, PEM, Api, Tree

FIRST = "first_control_plane"
NOW = datetime(2026, 12, 1, tzinfo=timezone.utc)
REST = [
    "upload-config",
    "mark-control-plane",
    "bootstrap-token",
    "kubelet-finalize",
    "addon/coredns",
    "addon/kube-proxy",
]


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def told(api, node_name="gpu-1"):
    return core.ask(api, node_name, core.IN_API)


# ---------------------------------------------------------------- nothing, and everything


def test_a_bare_node_is_none(tree):
    assert core.judge(tree.seen())["state"] == "none"


@pytest.mark.parametrize("member", ["", FIRST])
def test_a_complete_first_control_plane_is_left_alone(tree, member):
    found = core.judge(tree.first_control_plane().seen(now=NOW), told(Api()), member)

    assert (found["state"], found["member"], found["missing"]) == ("member", FIRST, [])
    assert found["healthy"] is True
    assert found["reasons"] == []


def test_a_complete_control_plane_is_left_alone(tree):
    found = core.judge(tree.control_plane().seen(now=NOW), told(Api()), "control_plane")

    assert (found["state"], found["missing"], found["healthy"]) == ("member", [], True)


@pytest.mark.parametrize("member", ["", "worker"])
def test_a_complete_worker_is_left_alone(tree, member):
    found = core.judge(tree.worker().seen(now=NOW), told(Api()), member)

    assert (found["state"], found["member"], found["healthy"]) == ("member", "worker", True)


# ---------------------------------------------------------------- a half-done init


def after(phase, tree):
    """The node on which init died right after ``phase``; certs: in the midst of it."""
    tree.active = "inactive"
    if phase == "ca":
        return tree.shared_keys()
    tree.certs()
    if phase != "certs":
        tree.kubeconfigs()
    if phase not in ("certs", "kubeconfig"):
        tree.manifests("etcd")
    if phase not in ("certs", "kubeconfig", "etcd"):
        tree.manifests()
    if phase not in ("certs", "kubeconfig", "etcd", "control-plane"):
        tree.active = "active"
        tree.kubelet_start()
    return tree


FILES = ["certs", "kubeconfig", "etcd", "control-plane", "kubelet-start"]


@pytest.mark.parametrize("died", ["ca", *FILES])
def test_an_init_that_died_lacks_what_comes_after(tree, died):
    done = FILES[: FILES.index(died) + 1] if died in FILES else []

    found = core.judge(after(died, tree).seen(), told(Api(down="the connection is refused")), FIRST)

    assert found["state"] == "init-incomplete"
    assert found["done"] == done
    lacking = [phase for phase in FILES if phase not in done]
    assert found["missing"] == [*lacking, "wait-control-plane", *REST]


@pytest.mark.parametrize(
    ("without", "node", "missing"),
    [
        (["configmaps/kubeadm-config"], NODE, ["upload-config"]),
        (["rolebindings", "coredns", "kube-dns", "kube-proxy"], None,
         ["mark-control-plane", "bootstrap-token", "addon/coredns", "addon/kube-proxy"]),
        (["kube-proxy"], NODE, ["addon/kube-proxy"]),
    ],
)  # fmt: skip
def test_what_lacks_in_the_api_is_told_by_name(tree, without, node, missing):
    found = core.judge(tree.first_control_plane().seen(), told(Api(node, without)), FIRST)

    assert found["state"] == "init-incomplete"
    assert found["missing"] == [phase for phase in core.INIT if phase in ("wait-control-plane", *missing)]
    assert any("is not there" in reason for reason in found["reasons"]) or node is None


def test_a_phase_that_the_site_leaves_out_does_not_lack(tree):
    found = core.judge(
        tree.first_control_plane().seen(now=NOW), told(Api(without=["kube-proxy"])), FIRST, skipped=["addon/kube-proxy"]
    )

    assert found["state"] == "member"


def test_an_admin_who_has_no_rights_yet_is_part_of_a_half_done_init(tree):
    found = core.judge(after("kubelet-start", tree).seen(), told(Api(refuses=True)), FIRST)

    assert found["state"] == "init-incomplete"
    assert "403" in " ".join(found["reasons"])


@pytest.mark.parametrize(
    ("path", "text", "phase"),
    [
        ("/etc/kubernetes/pki/apiserver.crt", "", "certs"),
        ("/etc/kubernetes/pki/etcd/peer.key", "", "certs"),
        ("/etc/kubernetes/scheduler.conf", "", "kubeconfig"),
    ],
    ids=["certificate", "key", "kubeconfig"],
)
def test_a_file_that_a_power_cut_left_empty_lacks(tree, path, text, phase):
    found = core.judge(tree.first_control_plane().put(path, text).seen(), told(Api()), FIRST)

    assert phase in found["missing"]
    assert any(path in reason for reason in found["reasons"])


# ---------------------------------------------------------------- a half-done join


def test_a_worker_whose_kubelet_has_no_certificate_yet(tree):
    found = core.judge(tree.bootstrap().kubelet_start().seen(), None, "worker")

    assert (found["state"], found["missing"]) == ("join-incomplete", ["kubelet-start", "kubelet-wait-bootstrap"])


def test_a_worker_that_joined_while_kubeadm_died_lacks_only_the_end(tree):
    found = core.judge(tree.worker().bootstrap().seen(), told(Api()), "worker")

    assert (found["state"], found["missing"]) == ("join-incomplete", ["kubelet-wait-bootstrap"])


@pytest.mark.parametrize(
    ("prepare", "missing"),
    [
        (lambda tree: tree.shared_keys(),
         ["control-plane-prepare", "kubelet-start", "etcd-join", "kubelet-wait-bootstrap", "control-plane-join"]),
        (lambda tree: tree.certs().kubeconfigs("admin", "controller-manager", "scheduler").manifests(),
         ["kubelet-start", "etcd-join", "kubelet-wait-bootstrap", "control-plane-join"]),
        (lambda tree: tree.control_plane().gone(f"{core.MANIFESTS}/etcd.yaml"), ["etcd-join", "control-plane-join"]),
    ],
    ids=["certificates", "manifests", "kubelet"],
)  # fmt: skip
def test_a_control_plane_that_died_while_it_joined(tree, prepare, missing):
    unlabelled = {**NODE, "metadata": {"name": "gpu-1"}}

    found = core.judge(prepare(tree).seen(), told(Api(unlabelled)), "control_plane")

    assert (found["state"], found["missing"]) == ("join-incomplete", missing)


# ---------------------------------------------------------------- another cluster


@pytest.mark.parametrize("member", ["worker", ""])
def test_a_member_of_another_cluster_is_told_with_its_address(tree, member):
    found = core.judge(tree.worker().seen(), told(Api()), member, OTHER_HASH)

    assert found["state"] == "foreign"
    assert "of another cluster at https://192.0.2.10:6443" in found["reasons"][0]
    assert OTHER_HASH in found["reasons"][0]


def test_a_member_of_the_cluster_it_is_meant_for_is_not_foreign(tree):
    assert core.judge(tree.worker().seen(), told(Api()), "worker", CA_HASH)["state"] == "member"


@pytest.mark.parametrize(
    ("make", "member", "words"),
    [
        (Tree.worker, FIRST, "makes this node a worker of https://192.0.2.10:6443"),
        (Tree.worker, "control_plane", "expected a control plane"),
        (Tree.first_control_plane, "worker", "holds a control plane; expected a worker"),
        (Tree.bootstrap, FIRST, "a worker that was joining a cluster"),
    ],
)
def test_a_node_that_is_something_else_is_not_made_over(tree, make, member, words):
    found = core.judge(make(tree).seen(), None, member)

    assert found["state"] == "foreign"
    assert words in found["reasons"][0]


def test_files_of_two_clusters_are_told(tree):
    tree.worker().put(f"{core.PKI}/ca.crt", LEAF)

    found = core.judge(tree.seen(), None, "worker")

    assert "of more than one cluster" in found["reasons"][0]


# ---------------------------------------------------------------- a member that is unwell


def test_an_api_that_does_not_answer_makes_a_member_unwell_and_nothing_missing(tree):
    seen = tree.first_control_plane().seen(now=NOW)

    found = core.judge(seen, told(Api(down="the connection is refused")), FIRST)

    assert (found["state"], found["missing"], found["healthy"]) == ("member", [], False)
    assert "the connection is refused" in found["reasons"][0]


@pytest.mark.parametrize(
    ("change", "api", "words"),
    [
        ({"kubelet": {"active": "failed", "sub": "failed"}}, Api(), "kubelet.service is failed (failed)"),
        ({"kubelet": {"active": "active", "healthy": False, "said": "refused"}}, Api(), "not well: refused"),
        ({}, Api(node=None), "knows no node of this name"),
        ({}, Api({**NODE, "status": {"conditions": [{"type": "Ready", "status": "False", "message": "cni plugin not "
                 "initialized"}]}}), "not Ready: cni plugin not initialized"),
    ],
    ids=["stopped", "ill", "unregistered", "not ready"],
)  # fmt: skip
def test_what_is_wrong_with_a_member_is_told(tree, change, api, words):
    found = core.judge({**tree.worker().seen(now=NOW), **change}, told(api), "worker")

    assert (found["state"], found["healthy"]) == ("member", False)
    assert words in found["reasons"][0]


def test_certificates_are_told_with_their_ends_and_one_that_ended_is_an_illness(tree):
    seen = tree.first_control_plane().seen(now=datetime(2027, 12, 1, tzinfo=timezone.utc))

    found = core.judge(seen, told(Api()), FIRST)

    first, last = seen["certificates"][0], seen["certificates"][-1]
    assert (first["not_after"], first["days_left"], first["authority"]) == ("2027-11-21T16:23:20Z", -10, False)
    assert last["authority"] is True
    assert found["healthy"] is False
    assert any(PEM in reason for reason in found["reasons"])


# ---------------------------------------------------------------- how it is seen


def test_the_name_of_the_node_is_that_of_its_certificate(tree):
    assert tree.worker().seen()["node_name"] == "gpu-1"


def test_what_is_seen_holds_no_key(tree):
    told_by = json.dumps(tree.first_control_plane().bootstrap().seen(now=NOW))

    assert "a key" not in told_by
    assert "client-key" not in told_by


def test_kubelet_is_asked_at_the_port_it_is_configured_for(tree):
    asked = []
    tree.worker().kubelet_start("healthzPort: 12345\n")

    core.look(tree.host, health=lambda port: asked.append(port) or (True, "ok"))

    assert asked == [12345]


@pytest.mark.parametrize("text", ["- a\n", "a: [\n", "\0", "cgroupDriver: 5\nhealthzPort: x\n"])
def test_a_damaged_configuration_of_kubelet_is_survived(tree, text):
    tree.worker().put("/var/lib/kubelet/config.yaml", text)

    assert core.judge(tree.seen(), told(Api()), "worker")["state"] == "member"


def test_a_member_is_asked_about_few_things():
    api = Api()

    told(api)

    assert len(api.asked) == 1 + sum(len(things) for things in core.IN_API.values()) == 8


# ---------------------------------------------------------------- the phases by name


@pytest.mark.parametrize("died", ["ca", *FILES])
def test_only_phases_that_lack_are_run(tree, died):
    judged = core.judge(after(died, tree).seen(), told(Api(down="the connection is refused")), FIRST)

    argv = arguments(FIRST, judged, [], "/run/x")

    [skipped] = [word.partition("=")[2].split(",") for word in argv if word.startswith("--skip-phases=")]
    assert skipped == ["preflight", *judged["done"], "show-join-command"]
    assert not set(skipped) & set(judged["missing"])
