# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes as kubeadm leaves them after each of its phases, and an API that knows what init has put there."""

from __future__ import annotations

import base64
from pathlib import Path

from ansible_collections.gpunode.ready.plugins.module_utils import kubeadm_state as core
from ansible_collections.gpunode.ready.plugins.module_utils.cluster.client import ApiError, Unreachable
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host

DATA = Path(__file__).parent / "data" / "x509"
CA, LEAF = (DATA / "ca.crt").read_text(), (DATA / "node.crt").read_text()
CA_HASH = "sha256:5bb571cd44be73dd5c38e38cb96f1e65659da086fc1075d8a24aef914eb00e1a"
OTHER_HASH = "sha256:" + "0" * 64
SERVER = "https://192.0.2.10:6443"
UNIT = "LoadState=loaded\nActiveState={}\nSubState=running\nUnitFileState=enabled\n"
PEM = "/var/lib/kubelet/pki/kubelet-client-current.pem"


def kubeconfig(user: str, *, rotated: bool = False, ca: str = CA, server: str = SERVER) -> str:
    def packed(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    credentials = (
        f"client-certificate: {PEM}\n    client-key: {PEM}"
        if rotated
        else f"client-certificate-data: {packed(LEAF)}\n    client-key-data: {packed('a key')}"
    )
    return f"""apiVersion: v1
kind: Config
current-context: {user}@kubernetes
clusters:
- name: kubernetes
  cluster:
    certificate-authority-data: {packed(ca)}
    server: {server}
contexts:
- name: {user}@kubernetes
  context: {{cluster: kubernetes, user: {user}}}
users:
- name: {user}
  user:
    {credentials}
"""


class Tree:
    """A node's root folder; each method is a phase of kubeadm, or what came of it."""

    def __init__(self, root: Path, kubelet: str = "active") -> None:
        self.root = root
        self.active = kubelet

    def put(self, path: str, text: str) -> Tree:
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return self

    def gone(self, path: str) -> Tree:
        (self.root / path.lstrip("/")).unlink()
        return self

    def shared_keys(self) -> Tree:
        for name in core.SHARED:
            self.put(f"{core.PKI}/{name}.crt", CA).put(f"{core.PKI}/{name}.key", "a key")
        return self.put(f"{core.PKI}/sa.key", "a key").put(f"{core.PKI}/sa.pub", "a key")

    def certs(self) -> Tree:
        self.shared_keys()
        for name in core.LEAVES:
            self.put(f"{core.PKI}/{name}.crt", LEAF).put(f"{core.PKI}/{name}.key", "a key")
        return self

    def kubeconfigs(self, *names: str) -> Tree:
        for name in names or ("admin", "super-admin", "kubelet", "controller-manager", "scheduler"):
            self.put(f"/etc/kubernetes/{name}.conf", kubeconfig(name))
        return self

    def manifests(self, *names: str) -> Tree:
        for name in names or core.COMPONENTS:
            self.put(f"{core.MANIFESTS}/{name}.yaml", "kind: Pod\n")
        return self

    def kubelet_start(self, extra: str = "") -> Tree:
        self.put("/var/lib/kubelet/config.yaml", f"kind: KubeletConfiguration\ncgroupDriver: systemd\n{extra}")
        return self.put("/var/lib/kubelet/kubeadm-flags.env", 'KUBELET_KUBEADM_ARGS=""\n')

    def bootstrap(self) -> Tree:
        return self.put(core.BOOTSTRAP_CONF, kubeconfig("tls-bootstrap-token-user"))

    def joined(self, server: str = SERVER) -> Tree:
        self.put(PEM, LEAF)
        return self.put(core.KUBELET_CONF, kubeconfig("default-auth", rotated=True, server=server))

    def worker(self) -> Tree:
        return self.put(f"{core.PKI}/ca.crt", CA).kubelet_start().joined()

    def first_control_plane(self) -> Tree:
        return self.certs().kubeconfigs().manifests("etcd").manifests().kubelet_start().joined()

    def control_plane(self) -> Tree:
        self.certs().kubeconfigs("admin", "controller-manager", "scheduler").manifests().manifests("etcd")
        return self.kubelet_start().joined()

    @property
    def host(self) -> Host:
        def run(argv, _timeout):
            return Completed(0, UNIT.format(self.active), "") if argv[0] == "systemctl" else Completed(127, "", "")

        return Host(str(self.root), run)

    def seen(self, **more):
        return core.look(self.host, health=lambda port: (True, "ok"), **more)


NODE = {
    "metadata": {"name": "gpu-1", "labels": {core.ROLE_LABEL: ""}},
    "spec": {"taints": [{"key": core.ROLE_LABEL, "effect": "NoSchedule"}]},
    "status": {
        "conditions": [{"type": "Ready", "status": "True", "message": "kubelet is posting ready status"}],
        "nodeInfo": {"kubeletVersion": "v1.36.4"},
    },
}


class Api:
    """A client of a cluster in which everything of init is, except ``without``."""

    def __init__(self, node=NODE, without=(), down: str = "", refuses: bool = False) -> None:
        self.node, self.without, self.down, self.refuses = node, without, down, refuses
        self.asked: list[str] = []

    def get(self, path, **_query):
        self.asked.append(path)
        if self.down:
            raise Unreachable("refused", SERVER, self.down)
        if self.refuses:
            raise ApiError(403, {"reason": "Forbidden", "message": "not allowed"}, f"GET {path}")
        found = self.node if "/nodes/" in path else {"metadata": {}}
        if found is None or any(word in path for word in self.without):
            raise ApiError(404, {}, f"GET {path}")
        return found
