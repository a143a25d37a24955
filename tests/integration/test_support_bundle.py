# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nothing secret passes into a support bundle: secrets are planted wherever a node and a cluster keep or print them,
the playbook builds the bundle, and none of them is in any byte of it.

The node's files are real ones, in a mount namespace of their own: overlays over this machine's folders, gone
afterwards. journalctl and the API are stood in for: one prints what was planted, the other answers what a small
cluster would.
"""

from __future__ import annotations

import base64
import gzip
import html
import http.server
import json
import os
import random
import shutil
import string
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
MISSING = [program for program in ("unshare", "mount", "journalctl") if shutil.which(program) is None]
OVERLAID = ("etc", "root", "var/lib", "var/log")

pytestmark = [
    pytest.mark.stage("process"),
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} missing: bash tests/lab/install_packages.sh"),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount over this machine's folders"),
]

dice = random.Random(4711)


def made(length, alphabet=string.ascii_letters + string.digits):
    return "".join(dice.choice(alphabet) for _ in range(length))


def pem(kind="RSA PRIVATE KEY"):
    body = "\n".join(made(64, string.ascii_letters + string.digits + "+/") for _ in range(12))
    return f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n"


KEY, SSH_KEY, LOGGED_KEY = pem(), pem("OPENSSH PRIVATE KEY"), pem("PRIVATE KEY")
JOIN, CERTIFICATE_KEY = (
    f"{made(6, string.hexdigits[:16])}.{made(16, string.hexdigits[:16])}",
    made(64, string.hexdigits[:16]),
)
SECRET = {
    "kubeconfig token": made(40),
    "bearer token": f"eyJhbGciOiJSUzI1NiJ9.{made(80)}.{made(60)}",
    "opaque bearer token": made(32),
    "containerd password": made(16) + "!&+ %",
    "containerd identity token": made(40),
    "hosts.toml password": made(20),
    "docker password": made(18),
    "nvcr key": "nvapi-" + made(40),
    "proxy password": made(12) + "$x",
    "daemon proxy password": made(14),
    "k3s token": made(32, string.hexdigits[:16]),
    "k3s agent token": made(24),
    "database password": made(16),
    "registries.yaml password": made(16) + "#1",
    "join token": JOIN,
    "certificate key": CERTIFICATE_KEY,
    "grafana password": "Gr4fana-" + made(12),
    "aws id": "AKIA" + made(16, string.ascii_uppercase + string.digits),
    "aws secret": made(40, string.ascii_letters + string.digits + "+/"),
    "aws session": made(120, string.ascii_letters + string.digits + "+/"),
    "pod environment": made(24),
    "pod log password": made(20),
    "event token": made(28),
    "crio comment": made(20),
    "cdi environment": made(22),
    "kubelet flag": made(26),
    "htpasswd": made(22),
    "journal cookie": made(30),
}
KEYS = [line for key in (KEY, SSH_KEY, LOGGED_KEY) for line in key.splitlines()[1:-1]]
KEY_DATA = base64.b64encode(KEY.encode()).decode()


def b64(text):
    return base64.b64encode(text.encode()).decode()


def files(port):
    """Path to text: where nodes keep secrets, beside what a support case needs."""
    s = SECRET
    return {
        "etc/kubernetes/admin.conf": f"""\
apiVersion: v1
kind: Config
clusters:
- cluster: {{server: "http://127.0.0.1:{port}"}}
  name: lab
contexts:
- context: {{cluster: lab, user: admin}}
  name: lab
current-context: lab
users:
- name: admin
  user:
    client-key-data: {KEY_DATA}
    token: {s["kubeconfig token"]}
""",
        "etc/containerd/config.toml": f"""\
version = 2
[plugins."io.containerd.grpc.v1.cri".registry.configs."registry.example".auth]
  username = "ada"
  password = "{s["containerd password"]}"
  identitytoken = \"\"\"{s["containerd identity token"]}\"\"\"
""",
        "etc/containerd/certs.d/registry.example/hosts.toml": f"""\
server = "https://registry.example"
[host."https://mirror.example".header]
  authorization = [
    "Basic {b64("ada:" + s["hosts.toml password"])}",
  ]
""",
        "etc/docker/daemon.json": json.dumps(
            {"proxies": {"https-proxy": f"http://ada:{s['daemon proxy password']}@proxy.example:3128"}}, indent=2
        ),
        "root/.docker/config.json": json.dumps(
            {
                "auths": {
                    "registry.example": {"auth": b64(f"ada:{s['docker password']}")},
                    "nvcr.io": {"username": "$oauthtoken", "password": s["nvcr key"]},
                }
            }
        ),
        "etc/systemd/system/containerd.service.d/http-proxy.conf": (
            f'[Service]\nEnvironment="HTTPS_PROXY=http://ada:{s["proxy password"]}@proxy.example:3128"\n'
        ),
        "var/lib/rancher/k3s/server/token": f"K10{'0f' * 32}::server:{s['k3s token']}\n",
        "etc/rancher/k3s/config.yaml": (
            f"agent-token: {s['k3s agent token']}\nwrite-kubeconfig-mode: '0640'\n"
            f"datastore-endpoint: postgres://k3s:{s['database password']}@db.example:5432/k3s\n"
        ),
        "etc/rancher/k3s/registries.yaml": (
            "configs:\n  registry.example:\n    auth:\n      username: ada\n"
            f'      password: "{s["registries.yaml password"]}"\n'
        ),
        "etc/kubernetes/manifests/grafana.yaml": (
            "kind: Pod\nspec:\n  containers:\n  - name: grafana\n    env:\n"
            f"    - name: GF_SECURITY_ADMIN_PASSWORD\n      value: {s['grafana password']}\n"
            f"    - name: AWS_SECRET_ACCESS_KEY\n      value: {s['aws secret']}\n"
        ),
        "root/.aws/credentials": (
            f"[default]\naws_access_key_id = {s['aws id']}\naws_secret_access_key = {s['aws secret']}\n"
            f"aws_session_token = {s['aws session']}\n"
        ),
        "etc/crio/crio.conf.d/99-site.conf": (
            f"# password of the mirror: {s['crio comment']}\n[crio.runtime]\nlog_level = 'info'\n"
        ),
        "etc/cdi/site.yaml": (
            'cdiVersion: "0.6.0"\nkind: example.com/gpu\ncontainerEdits:\n  env:\n'
            f"  - LICENSE_TOKEN={s['cdi environment']}\n"
        ),
        "var/lib/kubelet/kubeadm-flags.env": f'KUBELET_KUBEADM_ARGS="--bootstrap-token {s["kubelet flag"]} --v=2"\n',
        "var/log/site.log": "\n".join(
            [
                "[upload-certs] Using certificate key:",
                CERTIFICATE_KEY,
                f"kubeadm join 192.0.2.1:6443 --token {JOIN} \\",
                f"\t--discovery-token-ca-cert-hash sha256:{'ab' * 32} \\",
                f"\t--control-plane --certificate-key {CERTIFICATE_KEY}",
                f"GET /api/v1/nodes Authorization: Bearer {s['bearer token']}",
                f"grafana: the administrator's credential is {s['grafana password']} now",
                f"ada:$apr1$abcdefgh${s['htpasswd']}",
                LOGGED_KEY,
                f"somebody printed {s['aws id']}, {s['aws secret']} and {s['aws session']}, {s['nvcr key']} as well",
                *(f"openssl said {line}" for line in KEY.splitlines()),
                f"unpacked {b64('ada:' + s['docker password'])} of config.json, {s['docker password']} in it",
                f"the proxy said {quote(s['containerd password'], safe='')} is wrong",
                f"k3s: {s['k3s token']} {s['kubeconfig token']} {KEY_DATA}",
                "kept: the last line",
            ]
        )
        + "\n",
        "var/log/site.log.1": "".join(f"old {line}\n" for line in SSH_KEY.splitlines()),
    }


JOURNAL = {
    "kernel": "2026-11-20T08:00:00Z gpu-1 kernel: NVRM: GPU 0000:05:00.0: RmInitAdapter failed! (0x26:0xffff:1290)\n",
    "kubelet": (
        '2026-11-20T08:00:00Z gpu-1 kubelet[812]: E1120 08:00:00.000000 812 run.go:74] "command failed" err="'
        "failed to run Kubelet: running with swap on is not supported, please disable swap! "
        f'token={SECRET["opaque bearer token"]}"\n'
        f"2026-11-20T08:00:01Z gpu-1 kubelet[812]: Cookie: session={SECRET['journal cookie']}\n"
        f"2026-11-20T08:00:02Z gpu-1 kubelet[812]: pulling from {SECRET['hosts.toml password']}\n"
    ),
}

# What the API of a small cluster answers.
PLUGIN = {"name": "plugin", "image": "nvcr.io/nvidia/k8s-device-plugin:v0.20.0"}
PODS = {
    "metadata": {"namespace": "kube-system", "name": "nvidia-device-plugin-x"},
    "spec": {
        "nodeName": "elsewhere",
        "containers": [{**PLUGIN, "env": [{"name": "NGC_API_KEY", "value": SECRET["pod environment"]}]}],
    },
    "status": {
        "phase": "Running",
        "containerStatuses": [
            {
                "name": "plugin",
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-11-20T08:00:00Z"}},
            }
        ],
    },
}
EVENT = {
    "metadata": {"name": "e", "namespace": "kube-system"},
    "involvedObject": {"kind": "Pod", "namespace": "kube-system", "name": "nvidia-device-plugin-x"},
    "reason": "BackOff",
    "type": "Warning",
    "lastTimestamp": "2026-11-20T08:00:00Z",
    "message": f"Back-off restarting failed container, api-token={SECRET['event token']}",
}
LISTS = {"/api/v1/pods": [PODS], "/api/v1/events": [EVENT]}


class Api(http.server.BaseHTTPRequestHandler):
    """Lists, the plugin's log, and that it is ready: to whoever has the token."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_words):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        status, text = 200, json.dumps({"items": LISTS.get(path, []), "metadata": {}})
        if self.headers.get("Authorization") != f"Bearer {SECRET['kubeconfig token']}":
            status, text = 401, json.dumps({"message": "Unauthorized"})
        elif path == "/readyz":
            text = "ok"
        elif path.endswith("/log"):
            text = f"Incompatible strategy detected auto\nserving with password={SECRET['pod log password']}\n"
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The playbook's run over a machine full of secrets: its folder and what it said."""
    folder = tmp_path_factory.mktemp("bundle")
    api = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=api.serve_forever, daemon=True).start()
    for path, text in files(api.server_address[1]).items():
        file = folder / "upper" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (folder / "upper/var/log/site.log.2.gz").write_bytes(
        gzip.compress(f"password={SECRET['docker password']}\n".encode())
    )
    (folder / "journal.json").write_text(json.dumps(JOURNAL))
    (folder / "journalctl").write_text(JOURNALCTL.format(python=sys.executable, journal=str(folder / "journal.json")))
    (folder / "journalctl").chmod(0o755)
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, "ansible_become": False}
    gone = {"ansible_host": "127.0.0.1", "ansible_port": 1, "ansible_ssh_common_args": "-o ConnectTimeout=2"}
    groups = {"gpu_nodes": {"hosts": {"gpu-2": gone, "gpu-1": here}}, "control_plane": {"hosts": {"gpu-1": {}}}}
    (folder / "hosts.json").write_text(json.dumps(groups))
    options = {
        "gpunode_diagnose_bundle": "case.tar.gz",
        "gpunode_diagnose_kubeconfig": "/etc/kubernetes/admin.conf",
        "gpunode_diagnose_paths": ["/var/log/site.log"],
    }
    try:
        yield folder, in_namespace(folder, "gpunode.ready.diagnose", "-e", json.dumps(options))
    finally:
        api.shutdown()
        api.server_close()


JOURNALCTL = """#!{python}
import json, sys
journal = json.load(open({journal!r}))
units = [word.partition("=")[2] for word in sys.argv if word.startswith("--unit=")]
text = journal["kernel"] if not units else "".join(journal.get(unit, "") for unit in units)
if "--output=json" in sys.argv:
    text = "".join(json.dumps({{"MESSAGE": line.partition(": ")[2]}}) + "\\n" for line in text.splitlines())
sys.stdout.write(text)
"""


def in_namespace(folder, *command):
    """Run a playbook where the planted files lie over this machine's own."""
    mounts = []
    for path in OVERLAID:
        upper, work = folder / "upper" / path, folder / "work" / path.replace("/", "-")
        upper.mkdir(parents=True, exist_ok=True)
        work.mkdir(parents=True)
        mounts.append(f"mount -t overlay overlay -o lowerdir=/{path},upperdir={upper},workdir={work} /{path}")
    mounts.append(f'mount --bind {folder / "journalctl"} "$(command -v journalctl)"')
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "KUBE"))},
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
        "ANSIBLE_NOCOLOR": "1",
        "TMPDIR": str(folder / "tmp"),
    }
    (folder / "tmp").mkdir()
    playbook = [Path(sys.executable).parent / "ansible-playbook", "-i", folder / "hosts.json", *command]
    return subprocess.run(
        [
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-ec",
            "\n".join([*mounts, 'exec "$@"']),
            "sh",
            *playbook,
        ],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )


@pytest.fixture(scope="module")
def bundle(run):
    folder, done = run
    assert (folder / "case.tar.gz").is_file(), done.stdout + done.stderr
    with tarfile.open(folder / "case.tar.gz") as tar:
        return {entry.name.removeprefix("gpunode-bundle/"): tar.extractfile(entry).read() for entry in tar}


def forms(secret):
    """A secret as files may write it."""
    return {secret, b64(secret).rstrip("="), quote(secret, safe=""), html.escape(secret), json.dumps(secret)[1:-1]}


@pytest.mark.case(44, "secrets in every file and log of a node and its cluster: the support bundle")
@pytest.mark.parametrize("name", [*SECRET, "private keys", "client-key-data"])
def test_no_secret_is_in_any_byte_of_the_bundle(bundle, name):
    whole = b"\n".join([*bundle.values(), *(path.encode() for path in bundle)])
    planted = {"private keys": KEYS, "client-key-data": [KEY_DATA[start : start + 60] for start in range(60, 600, 60)]}
    needles = [form for secret in planted.get(name, [SECRET.get(name)]) for form in forms(secret)]

    assert [needle for needle in needles if needle.encode() in whole] == []


def test_no_secret_is_in_the_report_beside_it_or_on_the_terminal(run):
    folder, done = run
    told = done.stdout + done.stderr + "".join(path.read_text() for path in (folder / "gpunode-report").iterdir())

    assert [name for name, secret in SECRET.items() if any(form in told for form in forms(secret))] == []


def test_what_a_support_case_needs_is_there(bundle):
    manifest = json.loads(bundle["manifest.json"])
    findings = {item["id"] for item in json.loads(bundle["nodes/gpu-1/findings.json"])["findings"]}
    cluster = {item["id"] for item in json.loads(bundle["cluster/findings.json"])["findings"]}
    held = {item["source"] for item in manifest["nodes"]["gpu-1"]["held"]}

    assert {"kubelet-swap-on", "rm-init-adapter-failed"} <= findings
    assert "plugin-without-nvidia-runtime" in cluster
    assert (
        b'"https://registry.example"' in bundle["nodes/gpu-1/config/etc/containerd/certs.d/registry.example/hosts.toml"]
    )
    assert b"kept: the last line" in bundle["nodes/gpu-1/logs/var/log/site.log"]
    assert b"please disable swap" in bundle["nodes/gpu-1/logs/unit-kubelet"]
    assert b"Incompatible strategy" in bundle["cluster/logs/kube-system/nvidia-device-plugin-x/plugin.previous"]
    assert b"Back-off restarting" in bundle["cluster/logs/events"]
    assert json.loads(bundle["nodes/gpu-1/facts.json"])["os"]["kernel"] == os.uname().release
    assert bundle["report.html"].startswith(b"<!doctype html>")
    assert {"kernel", "unit kubelet", "/var/log/site.log.2.gz", "/etc/containerd/config.toml"} <= held


def test_a_node_that_does_not_answer_is_told_as_such(bundle):
    manifest = json.loads(bundle["manifest.json"])
    nodes = {item["name"]: item["state"] for item in json.loads(bundle["report.json"])["nodes"]}

    assert nodes == {"gpu-1": "failed", "gpu-2": "unreachable"}
    assert manifest["nodes"]["gpu-2"]["problem"] == "nothing was gathered"
    assert [name for name in bundle if name.startswith("nodes/gpu-2/")] == ["nodes/gpu-2/findings.json"]


def test_credentials_themselves_are_never_gathered(bundle):
    names = "\n".join(bundle)

    assert "admin.conf" not in names
    assert "config.json" not in names
    assert ".aws" not in names
    assert "server/token" not in names


def test_the_bundle_is_for_its_user_alone_and_nothing_else_is_left(run):
    folder, done = run

    assert oct((folder / "case.tar.gz").stat().st_mode & 0o777) == "0o600"
    assert "changed=0" in done.stdout
    assert list((folder / "tmp").glob("gpunode-bundle-*")) == []
