# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many nodes on one machine: an sshd of our own on loopback, reached under many names."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class LoopbackFleet:
    """Runs sshd with keys of its own in ``folder`` while the ``with`` block lasts; gives the hosts' variables."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> dict:
        folder, port = self._folder, free_port()
        for name in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        (folder / "authorized").write_text((folder / "user.pub").read_text())
        (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
        (folder / "sshd_config").write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder / 'host'}\n"
            f"AuthorizedKeysFile {folder / 'authorized'}\n"
            "StrictModes no\nPasswordAuthentication no\nUsePAM no\nPermitRootLogin yes\nMaxSessions 200\n"
            f"MaxStartups 500\nPidFile {folder / 'sshd.pid'}\nUseDNS no\n"
        )
        Path("/run/sshd").mkdir(exist_ok=True)
        self._log = (folder / "sshd.log").open("w")
        self._server = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd_config"], stdin=subprocess.DEVNULL, stderr=self._log
        )
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": port,
            "ansible_user": os.environ.get("USER", "root"),
            "ansible_become": False,
            "ansible_ssh_private_key_file": str(folder / "user"),
            # One connection a name, as a real fleet has; none outlives the benchmark for long.
            "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=15s",
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={folder / 'known'}"
            f" -o ControlPath={folder}/%C-{{{{ inventory_hostname }}}}",
            "ansible_python_interpreter": sys.executable,
        }

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(OSError):
            self._server.terminate()
            self._server.wait(10)
        self._log.close()
