# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""metrics-server's objects and its role against a real API server, which asks a stand-in; kubelets' certificates."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import http.server
import json
import re
import socket
import ssl
import subprocess
import threading
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import metrics_server as core
from ansible_collections.gpunode.ready.plugins.module_utils.checks.cluster_all import judge_cluster
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import ApiError, Client, find_endpoint
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.expect import cluster_expectations
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.facts import collect
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.objects import Objects
from ansible_collections.gpunode.ready.plugins.module_utils.kubelet_certificates import PATH as REQUESTS
from ansible_collections.gpunode.ready.plugins.module_utils.kubelet_certificates import SIGNER
from ansible_run import module, playbook

GOLDEN = Path(__file__).with_name("data") / "rbac.json"
OLD = "v1.20.2"
CA = (Path(__file__).parents[1] / "unit/data/x509/ca.crt").read_text()
SETTINGS = {
    "plain": {},
    "several": {"replicas": 2, "host_network": True, "port": 4443},
    "authority": {"kubelet_certificates": "authority", "kubelet_authority": CA},
    "tls": {"tls_secret": "metrics-tls", "tls_authority": CA},
}
SERVICE = f"/api/v1/namespaces/{core.NAMESPACE}/services/{core.NAME}"
ENDPOINTS = f"/api/v1/namespaces/{core.NAMESPACE}/endpoints"
APISERVICES = "/apis/apiregistration.k8s.io/v1/apiservices"
DEPLOYMENTS = f"/apis/apps/v1/namespaces/{core.NAMESPACE}/deployments"


def sweep(cluster):
    Objects(cluster.client).delete(core.all_objects(OLD))
    cluster.sweep_one(f"{ENDPOINTS}/{core.NAME}")
    cluster.sweep(REQUESTS, {})


@pytest.fixture
def clean(cluster):
    sweep(cluster)
    yield cluster
    sweep(cluster)


# ---------------------------------------------------------------- objects and rights


@pytest.mark.parametrize("name", SETTINGS)
def test_the_api_takes_every_object_and_finds_nothing_to_change_the_second_time(clean, name):
    objects = Objects(clean.client)
    items = core.objects(SETTINGS[name], OLD)

    first = [item.result for item in objects.apply(items)]
    second = [item.result for item in objects.apply(items)]

    assert set(first) == {"created"}
    assert set(second) == {"unchanged"}


def test_the_rights_that_are_given_are_those_of_the_golden_file():
    found = {
        f"{item['kind']} {item['metadata']['name']}": item.get("rules") or item.get("roleRef")
        for item in core.objects({})
        if item["apiVersion"].startswith("rbac.")
    }

    assert found == json.loads(GOLDEN.read_text())["metrics_server"]


ATTEMPTS = [
    ("GET", "/api/v1/nodes", True),
    ("GET", "/api/v1/pods", True),
    ("DELETE", "/api/v1/nodes/gpu-1", False),
    ("GET", "/api/v1/nodes/gpu-1/proxy/metrics", False),
    ("GET", "/api/v1/namespaces/kube-system/secrets", False),
    ("GET", "/api/v1/namespaces/kube-system/configmaps", False),
]


@pytest.mark.parametrize(("method", "path", "allowed"), ATTEMPTS, ids=[f"{m} {p}" for m, p, _a in ATTEMPTS])
def test_its_account_may_do_what_it_needs_and_no_more(clean, method, path, allowed):
    clean.node("gpu-1")
    Objects(clean.client).apply(core.objects({}, OLD))
    account = f"system:serviceaccount:{core.NAMESPACE}:{core.NAME}"
    client = Client(dataclasses.replace(clean.client.where, impersonate=account), patience_seconds=1)

    try:
        client.call(method, path)
        status = 200
    except ApiError as error:
        status = error.status

    assert status == (200 if allowed else 403)


# ---------------------------------------------------------------- the role


class Answers(http.server.BaseHTTPRequestHandler):
    """What the API server asks of whoever should answer an API: whether there is one at all."""

    def do_GET(self):
        body = b'{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"metrics.k8s.io/v1beta1","resources":[]}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_words):
        """No word on the console of the tests."""


def own_address():
    """An address of this machine that is not loopback, for which the API takes no endpoints."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.connect(("198.51.100.1", 9))  # sends nothing
        except OSError as error:
            pytest.skip(f"this machine has no address but loopback: {error}")
        return one.getsockname()[0]


@contextlib.contextmanager
def stand_in(folder):
    """Whoever answers behind the Service: a server with a certificate of its own making, as metrics-server's is."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    subject = ["-subj", "/CN=metrics", "-days", "2", "-nodes", "-newkey", "rsa:2048"]
    subprocess.run(["openssl", "req", "-x509", *subject, "-keyout", key, "-out", certificate], check=True,
                   capture_output=True)  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = http.server.ThreadingHTTPServer((own_address(), 0), Answers)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def behind_the_service(cluster, port):
    """As the endpoints controller, which is not here, would write once the pod is ready."""
    address = {"addresses": [{"ip": own_address()}], "ports": [{"name": "https", "port": port}]}
    cluster.put(ENDPOINTS, {"metadata": {"name": core.NAME}, "subsets": [address]})


def play(plane, tmp_path, *more, **variables):
    given = {"metrics_server_kubeconfig": str(plane.kubeconfig()), "metrics_server_wait_seconds": 5, **variables}
    role = {"role": "gpunode.ready.metrics_server", "vars": given}
    return playbook(tmp_path, [{"hosts": "all", "gather_facts": False, "roles": [role]}], *more)


def changed(done):
    found = re.search(r"ok=(\d+)\s+changed=(\d+)", done.stdout)
    return int(found[2]) if found else done.stdout + done.stderr


def said(done):
    return re.sub(r"\s+", " ", done.stdout.replace("\\n", " "))


def deployments(cluster):
    return [item["metadata"]["name"] for item in cluster.client.list(DEPLOYMENTS)]


def test_the_role_deploys_waits_until_it_answers_and_changes_nothing_the_second_time(clean, plane, tmp_path):
    clean.node("gpu-1")
    with stand_in(tmp_path) as port:
        behind_the_service(clean, port)

        foretold = play(plane, tmp_path, "--check", "--diff")
        nothing = deployments(clean)
        first = play(plane, tmp_path, metrics_server_wait_seconds=120)
        second = play(plane, tmp_path, metrics_server_wait_seconds=120)

    assert foretold.returncode == 0, foretold.stdout
    assert nothing == []
    assert first.returncode == 0, first.stdout
    assert (changed(foretold), changed(first), changed(second)) == (1, 1, 0)
    assert "Kubernetes is v1.20" in said(first)  # older than what any version is meant for: told
    assert "unverified" not in said(first)


def test_on_time_out_it_says_why(clean, plane, tmp_path):
    clean.node("gpu-1")
    config = {"kubelet": "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"}
    clean.put("/api/v1/namespaces/kube-system/configmaps", {"metadata": {"name": "kubelet-config"}, "data": config})
    waiting = {"reason": "ErrImagePull", "message": "dial tcp: lookup registry.k8s.io"}
    image = "registry.k8s.io/metrics-server/metrics-server:v0.7.2"
    state = {"name": "metrics-server", "image": image, "imageID": "", "ready": False, "restartCount": 0,
             "state": {"waiting": waiting}}  # fmt: skip
    clean.pod(f"{core.NAME}-x", "kube-system", "gpu-1", status={"phase": "Pending", "containerStatuses": [state]},
              spec={"containers": [{"name": "metrics-server", "image": image}]})  # fmt: skip

    done = play(plane, tmp_path)

    assert done.returncode == 2
    assert "v1beta1.metrics.k8s.io, which kube-system/gpunode-metrics-server should answer, is not available" in said(
        done
    )
    assert "container metrics-server waits: ErrImagePull (dial tcp: lookup registry.k8s.io)" in said(done)
    assert "kubeadm's kubelet-config has no `serverTLSBootstrap: true`" in said(done)


def test_unverified_is_told_at_each_run(clean, plane, tmp_path):
    done = play(plane, tmp_path, "--check", metrics_server_kubelet_certificates="unverified")

    assert done.returncode == 0, done.stdout
    assert "metrics_server_kubelet_certificates is unverified" in said(done)


def test_an_api_of_somebody_else_is_named_and_stays(clean, plane, tmp_path):
    spec = {**core.objects({}, OLD)[-1]["spec"], "service": {"name": "metrics-server", "namespace": "kube-system"}}
    clean.put(APISERVICES, {"metadata": {"name": core.API}, "spec": spec})

    refused = play(plane, tmp_path)
    absent = play(plane, tmp_path, metrics_server_state="absent")
    there = clean.client.get(f"{APISERVICES}/{core.API}")
    clean.sweep_one(f"{APISERVICES}/{core.API}")

    assert refused.returncode == 2
    assert "the APIService v1beta1.metrics.k8s.io, answered by kube-system/metrics-server" in said(refused)
    assert absent.returncode == 0, absent.stdout
    assert changed(absent) == 0
    assert there["spec"]["service"]["name"] == "metrics-server"


def test_settings_that_cannot_work_are_refused_together_before_any_change(clean, plane, tmp_path):
    done = play(plane, tmp_path, metrics_server_version="0.9.0", metrics_server_replicas=0)

    assert done.returncode == 2
    assert "version is 0.9.0, for Kubernetes 1.34 and newer; this one is v1.20" in said(done)
    assert "replicas is `0`" in said(done)
    assert deployments(clean) == []


def test_absent_takes_ours_away(clean, plane, tmp_path):
    Objects(clean.client).apply(core.objects({"replicas": 2}, OLD))

    first = play(plane, tmp_path, metrics_server_state="absent")
    second = play(plane, tmp_path, metrics_server_state="absent")

    assert first.returncode == 0, first.stdout
    assert (changed(first), changed(second)) == (1, 0)
    assert deployments(clean) == []
    assert [item for item in clean.client.list(APISERVICES) if item["metadata"]["name"] == core.API] == []


# ---------------------------------------------------------------- kubelets' certificates


def ask(plane, folder, name, addresses, user="system:node:gpu-1"):
    """A request as a kubelet makes it: by openssl, sent as the node itself."""
    names = ",".join(f"{'IP' if one[0].isdigit() else 'DNS'}:{one}" for one in addresses)
    argv = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "key", "-addext"]
    argv += [f"subjectAltName={names}", "-subj", "/O=system:nodes/CN=system:node:gpu-1"]
    made = subprocess.run(argv, check=True, capture_output=True).stdout
    spec = {
        "signerName": SIGNER,
        "request": base64.b64encode(made).decode(),
        "usages": ["digital signature", "key encipherment", "server auth"],
    }
    client = Client(find_endpoint(str(plane.kubeconfig(user))))
    client.call("POST", REQUESTS, {"metadata": {"name": name}, "spec": spec})


@pytest.fixture
def nodes_may_ask(clean):
    """As kubeadm and the bootstrap roles let them."""
    binding = {
        "metadata": {"name": "tests-nodes"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:node"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}],
    }
    path = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    clean.sweep_one(f"{path}/tests-nodes")
    clean.put(path, binding)
    clean.node("gpu-1")
    clean.patch(
        "/api/v1/nodes/gpu-1/status", {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.11"}]}}
    )
    yield clean
    clean.sweep_one(f"{path}/tests-nodes")


def test_a_certificate_that_waits_is_a_finding(nodes_may_ask, plane, tmp_path):
    ask(plane, tmp_path, "own", ["gpu-1", "192.0.2.11"])

    found = {item.id: item for item in judge_cluster(collect(nodes_may_ask.client), cluster_expectations({}))}

    assert found["kubelet-serving-certificate-pending"].cause.startswith(
        "kubelet of gpu-1 waits for its serving certificate: own is neither approved nor denied."
    )


def test_a_node_gets_what_is_its_own_and_nothing_else(nodes_may_ask, plane, tmp_path):
    ask(plane, tmp_path, "own", ["gpu-1", "192.0.2.11"])
    ask(plane, tmp_path, "strange", ["gpu-1", "192.0.2.99"])
    ask(plane, tmp_path, "posed", ["gpu-1"], user="admin")
    kubeconfig = {"kubeconfig": str(plane.kubeconfig())}

    foretold = module(tmp_path, "kubelet_certificates", kubeconfig, "--check")
    first = module(tmp_path, "kubelet_certificates", kubeconfig)
    second = module(tmp_path, "kubelet_certificates", kubeconfig)

    assert foretold["approved"] == first["approved"] == [{"name": "own", "node": "gpu-1"}]
    assert [foretold["changed"], first["changed"], second["changed"]] == [True, True, False]
    why = {item["name"]: " ".join(item["why"]) for item in second["undecided"]}
    assert set(why) == {"strange", "posed"}
    assert "it asks for 192.0.2.99; expected addresses of gpu-1" in why["strange"]
    assert "admin asks for it; expected a node" in why["posed"]
    [condition] = nodes_may_ask.client.get(f"{REQUESTS}/own")["status"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Approved", "True")
    assert "conditions" not in nodes_may_ask.client.get(f"{REQUESTS}/strange").get("status", {})
