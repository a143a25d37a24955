#!/usr/bin/env python3
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real control plane for tests: etcd and kube-apiserver on loopback, started and ended by process id.

``KUBEBUILDER_ASSETS`` is honoured first, as envtest does: a folder with ``etcd`` and ``kube-apiserver`` of any version.
Without it, etcd comes from Debian's package and kube-apiserver is built from Debian's source package of Kubernetes
(1.20, the newest that Debian carries whole), once, into the lab's cache. What 1.20 does not know is checked by schemas.

``python3 tests/api/control_plane.py`` makes the programs and says where they lie.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lab"))

from cache import LabError, artifact, digest, run, say
from debian import apt_options, unpack
from image import SUITE

PROGRAMS = ("etcd", "kube-apiserver")
SOURCE = "kubernetes"  # Debian's source package; only bookworm has the whole tree
ADMIN = "system:masters"
# 1.20 vendors a reflect2 that takes Go's maps to be what they were before Go 1.18: the first server-side apply of a
# custom resource ends the server. Debian's package of it knows better.
REFLECT = "golang-github-modern-go-reflect2-dev"


# ---------------------------------------------------------------- programs


def programs() -> Path:
    """The folder with ``etcd`` and ``kube-apiserver``: KUBEBUILDER_ASSETS, or what was built from Debian's source."""
    chosen = os.environ.get("KUBEBUILDER_ASSETS")
    if chosen:
        missing = [name for name in PROGRAMS if not os.access(Path(chosen) / name, os.X_OK)]
        if missing:
            raise LabError(
                f"KUBEBUILDER_ASSETS is {chosen}, which has no {' and no '.join(missing)}; unset it or mend it"
            )
        return Path(chosen)
    return artifact("control-plane", digest(SUITE, SOURCE, "etcd-server", REFLECT, "recipe 2"), build)


def build(folder: Path) -> None:
    """Fetch, build, keep the two programs and throw the rest away: about six minutes of one processor, once."""
    say("building kube-apiserver from Debian's source (about six minutes, once) ...")
    subprocess.run(
        [
            "bash",
            Path(__file__).resolve().parents[1] / "lab/install_packages.sh",
            Path(__file__).with_name("packages.txt"),
        ],
        check=True,
    )
    work = folder / "work"
    options = apt_options(work)
    debs = unpack(work, options, folder / "log", "etcd-server", REFLECT)
    shutil.copy(debs / "usr/bin/etcd", folder / "etcd")

    run("apt-get", *options, "source", SOURCE, log=folder / "log", cwd=work)
    unpacked = next(path for path in work.glob(f"{SOURCE}-*") if path.is_dir())
    tree = work / "go/src/k8s.io/kubernetes"  # where Go without modules looks for it
    tree.parent.mkdir(parents=True)
    unpacked.rename(tree)
    library = Path("github.com/modern-go/reflect2")
    shutil.rmtree(tree / "vendor" / library)
    shutil.copytree(debs / "usr/share/gocode/src" / library, tree / "vendor" / library)
    environment = {
        **os.environ,
        "GO111MODULE": "off",
        "CGO_ENABLED": "0",
        "GOPATH": str(work / "go"),
        "GOCACHE": str(work / "go-cache"),
        "GOFLAGS": "",
    }
    run("nice", "-n", "19", "make", "WHAT=cmd/kube-apiserver", log=folder / "log", cwd=tree, env=environment)
    shutil.copy(tree / "_output/local/go/bin/kube-apiserver", folder / "kube-apiserver")
    subprocess.run(["chmod", "-R", "u+w", work], check=True)
    shutil.rmtree(work)


# ---------------------------------------------------------------- one control plane


def free_ports(count: int) -> list[int]:
    """Ports on loopback that nobody holds now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@dataclass
class ControlPlane:
    """A running etcd and kube-apiserver. ``user`` makes a kubeconfig; the processes are ended by ``stop``."""

    folder: Path
    port: int
    tokens: Mapping[str, str]
    processes: list[subprocess.Popen] = field(default_factory=list)

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def authority(self) -> Path:
        return self.folder / "certificates/apiserver.crt"

    def kubeconfig(self, user: str = "admin") -> Path:
        """A kubeconfig of one of the users the control plane was started with."""
        path = self.folder / f"{user}.kubeconfig"
        path.touch(mode=0o600)
        path.write_text(kubeconfig_text(self.server, self.authority, self.tokens[user]))
        return path

    def ready(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.authority)) if self.authority.is_file() else None
        if context is None:
            return False
        request = urllib.request.Request(
            f"{self.server}/readyz", headers={"Authorization": f"Bearer {self.tokens['admin']}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=2, context=context) as answer:
                return answer.status == 200
        except OSError:
            return False

    def pause(self) -> None:
        """Stop answering without closing a connection: what a hanging API server looks like."""
        process = self.processes[-1]
        process.send_signal(signal.SIGSTOP)
        tasks = Path(f"/proc/{process.pid}/task")  # on a busy machine its threads run on for a moment
        while any("State:\tT" not in (task / "status").read_text() for task in tasks.iterdir()):
            time.sleep(0.01)

    def resume(self) -> None:
        self.processes[-1].send_signal(signal.SIGCONT)

    def stop(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in reversed(self.processes):
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def kubeconfig_text(server: str, authority: Path, token: str) -> str:
    return f"""\
apiVersion: v1
kind: Config
clusters:
- name: tests
  cluster:
    server: {server}
    certificate-authority: {authority}
contexts:
- name: tests
  context: {{cluster: tests, user: tests}}
current-context: tests
users:
- name: tests
  user:
    token: {token}
"""


@contextlib.contextmanager
def control_plane(users: Mapping[str, str] | None = None) -> Iterator[ControlPlane]:
    """A control plane that answers, and is gone afterwards. ``users`` are further users, each with its groups.

    ServiceAccount admission is off: it waits for tokens that only a controller manager makes.
    """
    where = programs()
    groups = {"admin": ADMIN, **(users or {})}
    with tempfile.TemporaryDirectory(prefix="gpunode-api-") as name:
        folder = Path(name)
        client, peer, port = free_ports(3)
        plane = ControlPlane(folder, port, {user: secrets.token_hex(16) for user in groups})
        tokens = "".join(f'{plane.tokens[user]},{user},{user},"{group}"\n' for user, group in groups.items())
        (folder / "tokens.csv").touch(mode=0o600)
        (folder / "tokens.csv").write_text(tokens)
        run("openssl", "genrsa", "-out", folder / "sa.key", "2048")
        run("openssl", "rsa", "-in", folder / "sa.key", "-pubout", "-out", folder / "sa.pub")
        etcd = [
            where / "etcd",
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls=http://127.0.0.1:{client}",
            f"--advertise-client-urls=http://127.0.0.1:{client}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
            f"--initial-cluster=default=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
            "--log-level=error",
        ]
        apiserver = [
            where / "kube-apiserver",
            f"--etcd-servers=http://127.0.0.1:{client}",
            f"--cert-dir={folder / 'certificates'}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={port}",
            f"--service-account-key-file={folder / 'sa.pub'}",
            f"--service-account-signing-key-file={folder / 'sa.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--api-audiences=api",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--disable-admission-plugins=ServiceAccount",
            "--allow-privileged=true",
            "--enable-aggregator-routing=true",  # to endpoints, for nobody routes the addresses of Services here
        ]
        try:
            for argv in (etcd, apiserver):
                log = (folder / f"{argv[0].name}.log").open("w")
                with log:
                    plane.processes.append(
                        subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
                    )
            wait(plane, seconds=120)
            yield plane
        finally:
            plane.stop()


def wait(plane: ControlPlane, seconds: float) -> None:
    """Until the API answers that it is ready; a program that ended says its last words instead."""
    until = time.monotonic() + seconds
    while not plane.ready():
        ended = [process for process in plane.processes if process.poll() is not None]
        if ended or time.monotonic() > until:
            why = (
                f"{ended[0].args[0].name} ended with {ended[0].returncode}"
                if ended
                else f"not ready after {seconds:g} s"
            )
            logs = "\n".join(path.read_text()[-2000:] for path in sorted(plane.folder.glob("*.log")))
            raise LabError(f"the control plane of the tests: {why}\n{logs}")
        time.sleep(0.1)


if __name__ == "__main__":
    print(programs())
