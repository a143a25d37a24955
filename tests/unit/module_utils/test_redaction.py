# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing secret leaves in a support bundle: secrets are planted, and must be gone."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.diagnose import diagnose_text
from ansible_collections.gpunode.ready.plugins.module_utils.redaction import Redactor, redact_text
from ansible_collections.gpunode.ready.plugins.module_utils.secret_lines import redact
from hypothesis import assume, given
from hypothesis import strategies as st

DATA = Path(__file__).resolve().parents[1] / "data"
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
        json.dumps({"kind": "Secret", "data": {"blob": PLANTED}}),
        json.dumps({"log": json.dumps({"kind": "Secret", "stringData": {"blob": PLANTED}})}),
        f'[host."https://registry.example".header]\n  authorization = ["Basic {PLANTED}="]',
        f'  authorization = [\n    "Bearer {PLANTED}",\n  ]',
        f"authorization:\n  - Basic {PLANTED}",
        f'password = """{PLANTED}"""',
        f'password = """\n{PLANTED}\n{PLANTED}"""\nother = 1',
        f"adminPassword: >-\n  some words {PLANTED}\n  {PLANTED}\nother: 1",
        f"password: some words, {PLANTED}",
        f"- name: GF_SECURITY_ADMIN_PASSWORD\n  value: {PLANTED}",
        json.dumps([{"name": "NGC_API_KEY", "value": PLANTED}]),
        json.dumps([{"name": "NGC_API_KEY", "value": PLANTED}], indent=1),
        json.dumps({"log": json.dumps({"password": PLANTED})}),
        json.dumps({"log": json.dumps({"msg": json.dumps({"password": PLANTED})})}),
        f'password = "a\\"{PLANTED}"',
        f'password = "{PLANTED}',
        f"{{Username:ada Password:{PLANTED}}}",
        f"map[password:{PLANTED} user:ada]",
        f'"--token", "{PLANTED}"',
        f"--docker-password={PLANTED}",
        f"docker login -u ada -p {PLANTED} registry.example",
        f"curl -sk -u ada:{PLANTED} https://registry.example/v2/",
        f"grafana-cli admin reset-admin-password {PLANTED}",
        f"http://ada:pa/{PLANTED}@proxy.example:3128",
        f"http://ada:p@{PLANTED}@proxy.example:3128",
        f"https://{PLANTED}@github.com/x",
        f"trying Bearer {PLANTED}",
        f"Cookie: session={PLANTED}; other={PLANTED}",
        f"# password of the mirror: {PLANTED}",
        f"the token for node gpu-1 is '{PLANTED}'",
        f"root:$6$salt${PLANTED}:19000:0:99999:7:::",
        f"kubeconfig={base64.b64encode(KUBECONFIG.encode()).decode()}",
        f"2026-11-20T08:00:00Z stderr F {PEM}".replace("\n", "\n2026-11-20T08:00:00Z stderr F "),
        PEM.replace("RSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"),
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
@pytest.mark.parametrize("prefix", ["", "\t", "2026-11-20T08:00:00Z stdout F ", "Nov 20 08:00:00 gpu-1 kubeadm[812]: "])
def test_a_secret_known_by_its_form_alone_is_gone(secret, prefix):
    assert secret not in redact_text(f"see:\n{prefix}{secret}\nabove")


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
        "https://registry.example:5000/cuda@sha256:63894f44918e8bd54cd6fe11032ea6a755512ada369f3b4d3f4be2781a17532a",
        "containerID=63894f44918e8bd54cd6fe11032ea6a755512ada369f3b4d3f4be2781a17532a",
        'global_auth_file = "/etc/crio/auth.json"',
        "--authorization-mode=Node,RBAC --token-auth-file=/etc/tokens",
        "authorization:\n  mode: Webhook",
        '"auths": {"nvcr.io": {}}, "credsStore": "secretservice"',
        "registry-auth-6c9688db-b6gzb   0/1   ErrImageNeverPull",
        "Basic authentication is off",
        "the key of the repository is expired",
        "token for node gpu-1 is 403: forbidden",
    ],
)
def test_what_diagnosis_needs_stays(text):
    assert redact_text(text) == text


def test_what_surrounds_a_key_stays():
    kept = redact_text(f"before\n{PEM}\nafter\n")

    assert kept == "before\n<private key removed>\nafter\n"


def test_a_key_without_end_does_not_swallow_the_rest():
    lines = ["-----BEGIN PRIVATE KEY-----", PLANTED, "x" * 300, "after"]

    kept = list(redact(lines))

    assert kept[-1] == "after"
    assert all(PLANTED not in line for line in kept)


def test_a_key_whose_beginning_was_cut_off_is_gone():
    text = "\n".join([*PEM.splitlines()[1:], "after"])

    assert Redactor().text(text, cut=True) == "<private key removed>\nafter"


# what a secret may look like, as programs make them and as people choose them
SECRETS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\"'\\\\<>{}[]$"), min_size=12)
PLACES = {
    "yaml": "a: 1\npassword: {}\nb: 2",
    "json": '{{"a": 1, "clientSecret": "{}", "b": 2}}',
    "toml": '[plugins."cri".registry.configs."r".auth]\n  identitytoken = "{}"\n',
    "ini": "[default]\naws_secret_access_key = {}\n",
    "unit": 'Environment="REGISTRY_TOKEN={}"',
    "flag": "kubelet --bootstrap-token {} --v=4",
    "klog": 'I1118 16:23:44.346352    9136 log.go:32] "Trying" token="{}" node="gpu-1"',
    "escaped": '{{"log":"{{\\"password\\":\\"{}\\"}}\\n","stream":"stderr"}}',
    "env": "- name: GF_SECURITY_ADMIN_PASSWORD\n  value: {}\n",
}


@given(SECRETS, st.sampled_from(sorted(PLACES)))
def test_whatever_it_is_the_value_of_a_name_goes(secret, place):
    assume(not secret.startswith("--"))  # as the value of a flag it would be the next flag
    text = PLACES[place].format(secret)

    kept = redact_text(text)

    assert secret not in kept
    assert Redactor().text(kept) == kept


@given(SECRETS, st.text(max_size=40), st.text(max_size=40))
def test_what_was_learnt_goes_wherever_it_stands(secret, before, after):
    redactor = Redactor(["another"])
    redactor.learn(json.dumps({"auths": {"r": {"auth": base64.b64encode(f"ada:Aa1{secret}".encode()).decode()}}}))

    kept = redactor.text(f"{before}Aa1{secret}{after}")

    assert f"Aa1{secret}" not in kept


@pytest.mark.parametrize(
    "text",
    [
        KUBECONFIG,
        json.dumps({"auths": {"r": {"username": "ada", "password": PLANTED}}}),
        f'[host."https://r".header]\n  authorization = [\n    "Bearer {PLANTED}"\n  ]',
        f"# broken: {{\nK3S_TOKEN={PLANTED}",
        f"HTTPS_PROXY=http://ada:{PLANTED}@proxy:3128",
    ],
)
def test_what_files_keep_is_known_in_every_form(text):
    redactor = Redactor()
    redactor.learn(text)

    for form in (PLANTED, base64.b64encode(PLANTED.encode()).decode(), f"x{PLANTED}y"):
        assert PLANTED not in redactor.text(f"somebody printed {form} here")
        assert form not in redactor.text(f"somebody printed {form} here")


def test_words_that_other_things_are_called_by_are_not_learnt():
    redactor = Redactor()
    redactor.learn("password: password\ntoken: true\nsecret: /etc/kubernetes/pki\nauth: container-runtime\n")

    text = "password of container-runtime below /etc/kubernetes/pki is true"
    assert redactor.text(text) == text


def test_plain_data_loses_its_secrets_and_keeps_its_shape():
    data = {
        "kubeconfigs": [{"path": "/root/.kube/config", "problem": f"token: {PLANTED}"}],
        "env": {"NGC_API_KEY": PLANTED, "DEVICES": "all"},
        "list": [{"name": "X_PASSWORD", "value": PLANTED}, {"name": "X", "value": "1"}],
        "object": {"kind": "Secret", "data": {"a": PLANTED}},
        "count": 3,
    }

    kept = Redactor().data(data)

    assert PLANTED not in json.dumps(kept)
    assert kept["env"] == {"NGC_API_KEY": "<secret removed>", "DEVICES": "all"}
    assert kept["list"][1] == {"name": "X", "value": "1"}
    assert kept["count"] == 3


def test_facts_of_a_node_stay_as_they_are():
    facts = json.loads((DATA / "facts/healthy.json").read_text())

    assert Redactor().data(facts) == facts


@pytest.mark.parametrize("name", ["cases.jsonl", "holdout.jsonl"])
def test_a_log_without_its_secrets_has_the_same_diagnosis(name):
    for case in map(json.loads, (DATA / "diagnosis" / name).read_text().splitlines()):
        kept = redact_text(case["text"])

        assert kept == case["text"] or ids(kept) == ids(case["text"]), case["id"]


def ids(text):
    return [finding.id for finding in diagnose_text(text)]


@given(st.text(max_size=600))
def test_any_text_is_taken(text):
    redactor = Redactor()
    redactor.learn(text)

    assert isinstance(redactor.text(text, cut=True), str)


@pytest.mark.parametrize(
    "word",
    [
        *("a", "password", "token=", "eyJ", "://", '"', "x.", "secret: ", "-----BEGIN ", "Basic ", "--token ", "a_"),
        *("password: [", "curl ", "a://b:", "a://b@c:", 'password="', "password='\\", "eyJaaaaaaaa.", "docker login "),
        *(
            "-----BEGIN PRIVATE KEY-----",
            ": " + "0" * 64 + '\\n"',
            "$6$",
            "the key of a b c d ",
            "name:",
            "K10" + "0" * 64,
        ),
    ],
)
def test_a_line_takes_time_linear_in_its_length(word):
    line = word * (131072 // len(word))

    started = time.process_time()  # of this process alone: others may keep the machine busy
    redactor = Redactor()
    redactor.learn(line)
    redactor.text(line)

    assert time.process_time() - started < 10
