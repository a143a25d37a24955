# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role kubeadm on nodes of namespaces, with fixtures of kubeadm, kubelet and the API: no real Kubernetes takes part."""

from __future__ import annotations

import json
import re
import stat
import subprocess
from pathlib import Path

import pytest
from kubeadm_nodes import Site, missing

pytestmark = [
    pytest.mark.stage("process"),
    pytest.mark.skipif(bool(missing()), reason=missing() or "-"),
]
TOKEN = re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b")
QUICKLY = {"kubeadm_images": "untouched"}
SIMULATED = "fixtures of kubeadm, kubelet and the API"


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    made.end()


def changes(done) -> dict[str, int]:
    """Changed tasks by host."""
    return {
        name: int(number)
        for name, number in re.findall(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)", done.stdout, re.MULTILINE)
    }


def objects(node) -> dict:
    return json.loads(node.path("/var/lib/etcd/member/fixture.json").read_text())


def ok(done):
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done


@pytest.mark.case(44, "tokens and keys in -vvv", simulated=SIMULATED)
@pytest.mark.case(45, "kubeconfigs under any umask", simulated=SIMULATED)
def test_a_cluster_is_made_and_made_again_without_a_change(site):
    first, plane, worker = (site.node(name) for name in ("n1", "cp2", "w3"))
    endpoint = {"kubeadm_control_plane_endpoint": f"{first.address}:6443", "kubeadm_control_planes": 3}

    predicted = ok(site.play("--check", **endpoint))
    untouched = [node.path("/etc/kubernetes").exists() for node in (first, plane, worker)]
    done = ok(site.play("-vvv", **endpoint))
    again = ok(site.play(**endpoint))

    nodes = [name.rpartition("/")[2] for name in objects(first) if name.startswith("/api/v1/nodes/")]
    assert nodes == ["n1", "cp2", "w3"]
    assert untouched == [False, False, False]
    assert min(changes(predicted).values()) > 0, "check mode tells what each node would become"
    assert changes(again) == {"n1": 0, "cp2": 0, "w3": 0}
    # no secret on the console, in kubeadm's log or left in a file, and no token that outlives the run
    log = "".join(node.path("/var/log/gpunode.ready/kubeadm.log").read_text() for node in (first, plane, worker))
    assert TOKEN.findall(done.stdout) == TOKEN.findall(log) == []
    for node in (first, plane, worker):
        assert list(node.path("/run/gpunode.ready").glob("kubeadm-*")) == []
        assert not node.path("/etc/kubernetes/bootstrap-kubelet.conf").exists()
    left = [item["data"] for name, item in objects(first).items() if "bootstrap-token" in name]
    assert len(left) == 1, "that of kubeadm init itself, which ends after ten minutes"
    assert stat.S_IMODE(first.path("/root/.kube/config").stat().st_mode) == 0o600
    assert "kube-apiserver:v1.36.4" in first.path("/var/lib/kubernetes-fixture-images").read_text()
    assert not worker.path("/var/lib/kubernetes-fixture-images").exists()


@pytest.mark.case(38, "kubeadm init dies in each of its phases", simulated=SIMULATED)
def test_an_init_that_dies_is_completed_by_the_next_run(site):
    node = site.node("n1")
    for phase in ("control-plane", "kubelet-start", "upload-config", "addon/kube-proxy"):
        node.fails(**{f"kubeadm_init_phase_{phase}": {"rc": 3, "stderr": "killed"}})

        died = site.play(**QUICKLY)

        assert died.returncode != 0
        assert "`kubeadm init` ended with 3" in died.stdout, died.stdout[-3000:]
    before = node.run("sha256sum", "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/admin.conf")
    node.fails()

    done = ok(site.play(**QUICKLY))

    assert changes(done)["n1"] >= 1
    assert changes(ok(site.play(**QUICKLY))) == {"n1": 0}
    assert node.run("sha256sum", "/etc/kubernetes/pki/ca.crt", "/etc/kubernetes/admin.conf") == before
    assert "reset" not in node.path("/var/log/gpunode.ready/kubeadm.log").read_text()


@pytest.mark.case(38, "kubeadm join dies before and after kubelet has its certificate", simulated=SIMULATED)
@pytest.mark.parametrize("phase", ["kubelet-start", "kubelet-wait-bootstrap"])
def test_a_join_that_dies_is_completed_by_the_next_run(site, phase):
    site.node("n1")
    worker = site.node("w2")
    worker.fails(**{f"kubeadm_join_phase_{phase}": {"rc": 3, "stderr": "killed"}})

    died = site.play(**QUICKLY)
    worker.fails()
    done = ok(site.play(**QUICKLY))

    assert died.returncode != 0
    assert "`kubeadm join` ended with 3" in died.stdout
    assert changes(done)["w2"] >= 1
    assert not worker.path("/etc/kubernetes/bootstrap-kubelet.conf").exists()
    assert changes(ok(site.play(**QUICKLY))) == {"n1": 0, "w2": 0}
    assert len([name for name in objects(site.nodes["n1"]) if "bootstrap-token" in name]) == 1


def test_a_port_in_use_is_told_in_kubeadms_words_and_nothing_is_left(site):
    node = site.node("n1")
    node.run("sh", "-c", "setsid python3 -c 'import socket,time; s=socket.socket(); s.bind((\"\", 6443)); s.listen(); "
             "time.sleep(600)' >/dev/null 2>&1 & sleep 1")  # fmt: skip

    done = site.play()

    assert done.returncode != 0
    assert "[ERROR Port-6443]: Port 6443 is in use" in done.stdout
    assert not node.path("/etc/kubernetes/pki").exists()


def test_a_member_of_another_cluster_is_refused_before_any_change(site, tmp_path_factory):
    other = Site(tmp_path_factory.mktemp("other"))
    try:
        other.node("n0")
        ok(other.play(**QUICKLY))
        stranger = other.nodes["n0"]
        node = site.node("n1")
        for path in ("/etc/kubernetes/kubelet.conf", "/etc/kubernetes/pki/ca.crt"):
            node.path(path).parent.mkdir(parents=True, exist_ok=True)
            node.path(path).write_text(stranger.path(path).read_text())
    finally:
        other.end()

    done = site.play()

    assert done.returncode != 0
    assert "Nothing was changed" in done.stdout
    assert "makes this node a worker of https://192.0.2.1:6443" in done.stdout
    assert changes(done) == {"n1": 0}


def test_the_taint_of_a_single_node_goes_when_it_is_asked_for(site):
    node = site.node("n1")
    removed = {**QUICKLY, "kubeadm_control_plane_taint": "removed"}
    ok(site.play(**QUICKLY))

    assert changes(ok(site.play(**removed)))["n1"] == 1
    assert objects(node)["/api/v1/nodes/n1"]["spec"]["taints"] == []
    assert changes(ok(site.play(**removed)))["n1"] == 0


def test_certificates_are_renewed_when_it_is_asked_for_and_users_follow(site):
    node = site.node("n1")
    ok(site.play(**QUICKLY))
    before = node.path("/etc/kubernetes/admin.conf").read_text()
    renewed = {**QUICKLY, "kubeadm_certificates": "renewed"}

    unchanged = ok(site.play(**renewed))
    refused = site.play(**renewed, kubeadm_certificates_days=365)
    shorten(node.path("/etc/kubernetes/pki"), "apiserver", days=5)
    done = ok(site.play(**renewed))

    after = node.path("/etc/kubernetes/admin.conf").read_text()
    assert changes(unchanged) == {"n1": 0}
    assert refused.returncode != 0
    assert "expected fewer than 365" in " ".join(refused.stdout.split())
    assert changes(done)["n1"] == 2
    assert after != before
    assert node.path("/root/.kube/config").read_text() == after


def shorten(pki: Path, name: str, days: int) -> None:
    """Sign a certificate again, for fewer days."""
    request = ["-in", f"{name}.crt", "-signkey", f"{name}.key", "-x509toreq", "-out", f"{name}.csr"]
    signed = ["-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-set_serial", "7"]
    for arguments in (request, [*signed, "-days", str(days), "-out", f"{name}.crt"]):
        subprocess.run(
            ["openssl", "x509", "-copy_extensions", "copyall", *arguments], cwd=pki, check=True, capture_output=True
        )
    (pki / f"{name}.csr").unlink()
