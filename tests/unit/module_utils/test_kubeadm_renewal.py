# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that end soon are renewed and taken up, also where a run died between the two."""

from __future__ import annotations

import json

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import kubeadm_renewal as core
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host

SOCKET = "unix:///run/containerd/containerd.sock"
RUNNING = {
    "containers": [
        {"id": f"id-{name}", "metadata": {"name": name}, "labels": {"io.kubernetes.pod.namespace": namespace}}
        for name, namespace in (
            ("kube-apiserver", "kube-system"),
            ("etcd", "kube-system"),
            ("etcd", "somebody-elses"),
            ("coredns", "kube-system"),
        )
    ]
}
RUNNING["containers"][2]["id"] = "id-not-ours"


def row(name, days, authority=False):
    return {"name": name, "path": f"/etc/kubernetes/pki/{name}.crt", "authority": authority, "days_left": days}


class Node:
    def __init__(self, root, fails=()):
        self.calls, self.fails, self.root = [], fails, root

    def run(self, argv, _timeout):
        self.calls.append(" ".join(argv))
        if argv[0] in self.fails:
            return Completed(1, "", "some reason")
        return Completed(0, json.dumps(RUNNING) if "ps" in argv else "", "")

    def renew(self, *rows, problem="", write=True):
        return core.renew(Host(str(self.root), self.run), rows, 30, SOCKET, lambda: problem, write=write)


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_nothing_that_holds_on_is_touched(node):
    told = node.renew(row("apiserver", 200), row("ca", 5, authority=True), row("kubelet-client", 5))

    assert told == {"changed": False, "renewed": [], "restarted": []}
    assert node.calls == []


def test_what_ends_soon_is_renewed_and_the_programs_are_restarted_the_api_last(node):
    told = node.renew(row("apiserver", 29), row("front-proxy-client", 300))

    assert told["renewed"] == ["/etc/kubernetes/pki/apiserver.crt"]
    assert told["restarted"] == ["etcd", "kube-apiserver"]
    crictl = f"crictl --runtime-endpoint={SOCKET}"
    assert node.calls == [
        "kubeadm certs renew all",
        f"{crictl} ps -o json",
        f"{crictl} stop --timeout=30 id-etcd",
        f"{crictl} stop --timeout=30 id-kube-apiserver",
    ]
    assert not (node.root / core.MARK[1:]).exists()


@pytest.mark.parametrize("fails", ["kubeadm", "crictl"])
def test_a_run_that_died_between_is_completed_by_the_next(tmp_path, fails):
    with pytest.raises(core.RenewalError, match="ended with 1: some reason"):
        Node(tmp_path, (fails,)).renew(row("apiserver", 1))
    node = Node(tmp_path)

    told = node.renew(row("apiserver", 364))

    assert told["changed"] is True
    assert "kubeadm certs renew all" not in node.calls
    assert node.calls[-1].endswith("id-kube-apiserver")
    assert Node(tmp_path).renew(row("apiserver", 364))["changed"] is False


def test_an_api_that_does_not_come_back_is_told_and_waited_for_again(node):
    with pytest.raises(core.RenewalError, match="the connection is refused"):
        node.renew(row("apiserver", 1), problem="the connection is refused")

    assert node.renew(row("apiserver", 364))["changed"] is True


def test_check_mode_tells_and_changes_nothing(node):
    assert node.renew(row("apiserver", 1), write=False)["changed"] is True
    assert node.calls == []
    assert list(node.root.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"containers": null}'])
def test_an_answer_of_crictl_that_is_none(text):
    if text in ("", "{"):
        with pytest.raises(ValueError, match="Expecting"):
            core.containers(text)
    else:
        assert core.containers(text) == {}
