# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing secret leaves in a support bundle: secrets are planted, and must be gone."""

from __future__ import annotations

import base64
import json
import time

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.redaction import redact, redact_text
from hypothesis import given
from hypothesis import strategies as st

PLANTED = "Zq7Plant3dS3cretXy"
PEM = f"-----BEGIN RSA PRIVATE KEY-----\n{PLANTED}AAAA\n{PLANTED}BBBB\n-----END RSA PRIVATE KEY-----"
PEM64 = base64.b64encode(PEM.encode()).decode()
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IiJ9.eyJpc3MiOiJrdWJlcm5ldGVzIn0." + PLANTED
KUBECONFIG = f"""apiVersion: v1
kind: Config
clusters:
- cluster:
    certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==
    server: https://10.0.0.5:6443
  name: kubernetes
users:
- name: kubernetes-admin
  user:
    client-certificate-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==
    client-key-data: {PEM64}
    token: {PLANTED}
    password: {PLANTED}
"""
SECRET = f"""apiVersion: v1
kind: Secret
metadata:
  name: grafana
data:
  admin-user: {base64.b64encode(PLANTED.encode()).decode()}
  blob: |
    {PLANTED}
    {PLANTED}
type: Opaque
"""


@pytest.mark.parametrize(
    "text",
    [
        PEM,
        "key: |\n  " + PEM.replace("\n", "\n  ") + "\nother: 1",
        json.dumps({"key": PEM}),
        f"client-key-data: {PEM64}",
        f'{{"client-key-data": "{PEM64}"}}',
        f"blob={PEM64}",
        KUBECONFIG,
        f"Authorization: Bearer {JWT}",
        f"kubelet: using token {JWT} for the API",
        f"authorization: Basic {PLANTED}",
        f"https://user:{PLANTED}@registry.example/v2/",
        f"--token {PLANTED}",
        f"kubeadm join 10.0.0.5:6443 --token={PLANTED} --discovery-token-ca-cert-hash sha256:aa",
        f"K3S_TOKEN={PLANTED}",
        f"GF_SECURITY_ADMIN_PASSWORD: {PLANTED}",
        f'"adminPassword": "{PLANTED}",',
        f"password = '{PLANTED} with blanks {PLANTED}'",
        f"aws_secret_access_key = {PLANTED}",
        f"api-key: {PLANTED}",
        f"nvapi-{PLANTED}{PLANTED}",
        f'{{"auths": {{"nvcr.io": {{"auth": "{PLANTED}"}}}}}}',
        SECRET,
        f"---\nkind: ConfigMap\n---\n{SECRET}",
    ],
)
def test_what_is_planted_is_gone(text):
    kept = redact_text(text)

    assert PLANTED not in kept
    assert PEM64 not in kept
    assert base64.b64encode(PLANTED.encode()).decode() not in kept
    assert "removed>" in kept


@pytest.mark.parametrize(
    "secret",
    [
        "abcdef.0123456789abcdef",
        "K10" + "ab" * 32 + "::server:" + PLANTED,
        "AKIA" + "A1B2C3D4E5F6G7H8",
        "ghp_" + PLANTED * 2,
        "0a" * 32,
    ],
)
def test_a_secret_known_by_its_form_alone_is_gone(secret):
    assert secret not in redact_text(f"see:\n\t{secret}\nabove")


@pytest.mark.parametrize(
    "text",
    [
        "NVRM: Xid (PCI:0000:05:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.",
        "sha256:63894f44918e8bd54cd6fe11032ea6a755512ada369f3b4d3f4be2781a17532a",
        "--discovery-token-ca-cert-hash sha256:63894f44918e8bd54cd6fe11032ea6a755512ada369f3b4d3f4be2781a17532a",
        "libnvidia-ml.so.1 is 580.95, the loaded module 575.57",
        "GPU 0: NVIDIA A10 (UUID: GPU-79ed1193-cf4f-eed2-9912-1ff0db011e34)",
        "certificate-authority-data: LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg==",
        "automountServiceAccountToken: false",
        "I1118 16:23:44.346352    9136 log.go:32] tokens are rotated",
        "https://10.0.0.5:6443/api/v1/nodes",
    ],
)
def test_what_diagnosis_needs_stays(text):
    assert redact_text(text) == text


def test_what_surrounds_a_key_stays():
    kept = redact_text(f"before\n{PEM}\nafter\n")

    assert kept == "before\n<private key removed>\nafter\n"


def test_a_key_without_end_does_not_swallow_the_rest():
    lines = ["-----BEGIN PRIVATE KEY-----\n", PLANTED + "\n", "x" * 300 + "\n", "after\n"]

    kept = list(redact(lines))

    assert kept[-1] == "after\n"
    assert all(PLANTED not in line for line in kept)


@given(st.text(max_size=600))
def test_any_text_is_taken(text):
    assert isinstance(redact_text(text), str)


@pytest.mark.parametrize("word", ["a", "password", "token=", "eyJ", "://", '"', "x.", "secret: ", "-----BEGIN "])
def test_a_line_takes_time_linear_in_its_length(word):
    line = word * (16384 // len(word))

    started = time.perf_counter()
    redact_text(line)

    assert time.perf_counter() - started < 3
