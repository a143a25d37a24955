# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A kubeconfig is read as kubectl reads it, and what is wrong with one is told without its secrets."""

from __future__ import annotations

import base64
import contextlib

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import find_endpoint
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.kubeconfig import (
    KubeconfigError,
    endpoint,
    in_cluster,
)
from hypothesis import given
from hypothesis import strategies as st


def b64(text):
    return base64.b64encode(text.encode()).decode()


KUBEADM = f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {b64("THE CA")}
    server: https://192.0.2.10:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: kubernetes-admin
  name: kubernetes-admin@kubernetes
- context:
    cluster: kubernetes
    user: robot
  name: robot
current-context: kubernetes-admin@kubernetes
kind: Config
preferences: {{}}
users:
- name: kubernetes-admin
  user:
    client-certificate-data: {b64("THE CERTIFICATE")}
    client-key-data: {b64("THE KEY")}
- name: robot
  user:
    token: TOP-SECRET
"""


def test_the_current_context_counts():
    found = endpoint(KUBEADM, "/etc/kubernetes/admin.conf")

    assert found.server == "https://192.0.2.10:6443"
    assert (found.ca, found.cert, found.key, found.token) == ("THE CA", "THE CERTIFICATE", "THE KEY", "")


def test_another_context_may_be_asked_for():
    assert endpoint(KUBEADM, "x", "robot").token == "TOP-SECRET"


def test_files_lie_beside_the_kubeconfig():
    text = KUBEADM.replace("client-certificate-data: " + b64("THE CERTIFICATE"), "client-certificate: pki/me.crt")

    assert endpoint(text, "/home/me/.kube/config").cert_file == "/home/me/.kube/pki/me.crt"


def test_a_program_that_gives_credentials_is_read():
    text = KUBEADM.replace("    token: TOP-SECRET", "    exec:\n      command: aws\n      args: [eks, get-token]\n"
                           "      env:\n      - name: AWS_PROFILE\n        value: gpu")  # fmt: skip

    found = endpoint(text, "x", "robot").exec

    assert (found.command, found.args, found.env) == ("aws", ("eks", "get-token"), (("AWS_PROFILE", "gpu"),))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("current-context: kubernetes-admin@kubernetes", "current-context: other"), "no context `other`.*robot"),
        (("    cluster: kubernetes\n    user: kubernetes-admin", "    cluster: gone"), "names the cluster `gone`"),
        (("    user: kubernetes-admin", "    user: gone"), "names the user `gone`"),
        (("server: https://192.0.2.10:6443", "server: 192.0.2.10"), "its server is `192.0.2.10`; expected https://"),
        ((b64("THE CA"), "???"), "`certificate-authority-data` is no base64"),
        (("- cluster:", "- cluster: ["), r"^x:\d+: it is not YAML"),
    ],
)
def test_what_is_wrong_is_told(change, told):
    assert change[0] in KUBEADM

    with pytest.raises(KubeconfigError, match=told) as error:
        endpoint(KUBEADM.replace(*change, 1), "x")

    assert error.value.kind == "invalid"


def test_a_removed_way_to_log_in_is_named():
    text = KUBEADM.replace("    token: TOP-SECRET", "    auth-provider: {name: gcp}")

    with pytest.raises(KubeconfigError, match=r"auth-provider.*expected `exec`"):
        endpoint(text, "x", "robot")


def test_secrets_are_not_in_what_is_printed():
    printed = repr(endpoint(KUBEADM, "x", "robot")) + repr(endpoint(KUBEADM, "x"))

    assert "TOP-SECRET" not in printed
    assert "THE KEY" not in printed


def test_the_first_kubeconfig_that_exists_counts(tmp_path):
    there = tmp_path / "there"
    there.write_text(KUBEADM)

    found = find_endpoint(environment={"KUBECONFIG": f"{tmp_path}/none:{there}", "HOME": "/nowhere"})

    assert found.path == str(there)


def test_home_is_looked_at_where_nothing_is_named(tmp_path):
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube/config").write_text(KUBEADM)

    assert find_endpoint(environment={"HOME": str(tmp_path)}).path == f"{tmp_path}/.kube/config"


def test_a_pod_finds_its_own_cluster(tmp_path):
    environment = {"HOME": str(tmp_path), "KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}

    assert find_endpoint(environment=environment) == in_cluster("fd00::1", "443")
    assert in_cluster("fd00::1", "443").server == "https://[fd00::1]:443"


def test_a_kubeconfig_that_was_named_must_be_there(tmp_path):
    with pytest.raises(KubeconfigError) as error:
        find_endpoint(f"{tmp_path}/none", environment={"KUBERNETES_SERVICE_HOST": "192.0.2.1"})

    assert error.value.kind == "missing"


@given(st.text(alphabet="ab:-[]{}\n \"'#,", max_size=60))
def test_no_text_raises_anything_else(text):
    with contextlib.suppress(KubeconfigError):
        endpoint(text, "x")
