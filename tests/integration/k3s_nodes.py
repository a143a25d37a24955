# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes of namespaces, as in kubeadm_nodes, on which a fixture of k3s is run by a fixture of systemd."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

from kubeadm_nodes import CHECKOUT, FIXTURES, Node, Site

VERSION = "v1.36.4+k3s1"


def release(folder: Path, version: str = VERSION, broken: str = "") -> tuple[str, str]:
    """A program of that release, and its sha256."""
    text = (FIXTURES / "k3s" / "k3s").read_text()
    text = text.replace(f'VERSION = "{VERSION}"', f'VERSION = "{version}"', 1)
    path = folder / f"k3s-{version}{'-broken' if broken else ''}"
    path.write_text(text.replace('BROKEN = ""', f"BROKEN = {broken!r}", 1))
    path.chmod(0o755)
    return str(path), hashlib.sha256(path.read_bytes()).hexdigest()


class K3sNode(Node):
    def install(self) -> None:
        library = self.upper / "usr/lib/kubernetes-fixture"
        library.mkdir(parents=True)
        shutil.copytree(
            CHECKOUT / "plugins/module_utils", library / "module_utils", ignore=shutil.ignore_patterns("__pycache__")
        )
        shutil.copy(FIXTURES / "kubernetes" / "kubernetes_fixture.py", library)
        programs = {"usr/lib/gpunode-lab/fail": FIXTURES / "fail"}
        programs.update({f"usr/local/sbin/{name}": FIXTURES / "k3s/systemctl" for name in ("systemctl", "journalctl")})
        for path, origin in programs.items():
            (self.upper / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(origin, self.upper / path)
            (self.upper / path).chmod(0o755)

    def entered(self) -> int:
        pid = super().entered()
        Path(f"/proc/{pid}/root/run/systemd/system").mkdir(parents=True)
        return pid

    def nvidia(self) -> None:
        """What role nvidia_container_toolkit would have brought."""
        path = self.path("/usr/bin/nvidia-container-runtime")
        path.write_text("#!/bin/sh\nexit 1\n")
        path.chmod(0o755)

    def started(self, unit: str = "k3s.service") -> str:
        """By what a service is known to have been started anew."""
        shown = self.run("/usr/local/sbin/systemctl", "show", unit)
        return next(line for line in shown.splitlines() if line.startswith("InvocationID="))


class K3sSite(Site):
    make = K3sNode

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.members: dict[str, str] = {}

    def play(self, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """The role on all nodes, as what ``members`` says. Else those called n… are servers, the first of them the
        first one, and others agents.
        """
        first = next(iter(self.nodes))
        hosts = {}
        for name, node in self.nodes.items():
            hosts[name] = {"ansible_connection": "local", "ansible_python_interpreter": str(node.python),
                           "k3s_member": self.members.get(name, "server" if name.startswith("n") else "agent"),
                           "k3s_first_server": first}  # fmt: skip
        (self.folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
        if "k3s_file" not in variables and "k3s_base_url" not in variables:
            program, checksum = release(self.folder)
            variables = {"k3s_file": program, "k3s_checksums": {"amd64": checksum}, **variables}
        given = {"k3s_version": VERSION, "k3s_timeout_seconds": 120, **variables}
        role = {"hosts": "all", "gather_facts": False, "roles": ["gpunode.ready.k3s"]}
        return self.run_play([role], "-e", json.dumps(given), *options)

    def run_play(self, plays: list[dict], *options: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "play.yml").write_text(json.dumps(plays))
        return subprocess.run(
            [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "play.yml", *options],
            cwd=self.folder, env=self.environment(), capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
