# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""cgroup_driver_info and runtime_handler_info, run by Ansible as they are on a node; the fixture of CRI-O answers."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIXTURE = ROOT / "tests/lab/fixtures/crio"
CONF = """\
[crio]
version_file = "{root}/version"
[crio.api]
listen = "{root}/crio.sock"
[crio.runtime]
conmon = "/bin/true"
pinns_path = "/bin/true"
[crio.runtime.runtimes.crun]
runtime_path = "/bin/true"
[crio.runtime.runtimes.nvidia]
runtime_path = "{root}/nvidia-container-runtime"
[crio.network]
network_dir = "{root}/cni"
"""


def ansible(folder: Path, module: str, *options: str, check: bool = False) -> dict:
    (folder / "ansible.cfg").write_text("")  # nothing of whoever runs the tests
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
    }
    command = [str(Path(sys.executable).parent / "ansible"), "localhost", "-i", "localhost,", "-c", "local"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", "-m", f"gpunode.ready.{module}"]
    command += ["-a", " ".join(options), *(["--check"] if check else [])]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"=> (\{.*\})", done.stdout, re.DOTALL)
    assert found, done.stdout + done.stderr
    return json.loads(found.group(1))


@pytest.fixture
def crio():
    """A short path: the names of sockets are limited to 108 bytes."""
    root = Path(tempfile.mkdtemp(prefix="c"))
    (root / "conf.d").mkdir()
    (root / "conf.d" / "10.conf").write_text(CONF.format(root=root))
    program = root / "nvidia-container-runtime"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    environment = {"PATH": "/none", "NOTIFY_SOCKET": str(root / "notify"), "PYTHONDONTWRITEBYTECODE": "1"}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(root / "notify"))
        notified.settimeout(30)
        argv = [sys.executable, str(FIXTURE), "-c", "", "-d", str(root / "conf.d")]
        with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as daemon:
            notified.recv(100)
            yield root
            daemon.terminate()
    shutil.rmtree(root)


def test_a_runtime_at_any_socket_tells_its_handlers(crio):
    answer = ansible(crio, "runtime_handler_info", f"socket={crio}/crio.sock")

    assert answer["changed"] is False
    assert (answer["runtime"], answer["answers"], answer["default_handler"]) == ("cri-o", True, "crun")
    assert answer["usable"] == ["crun", "nvidia"]
    assert answer["gpu_handler"] == "nvidia"


def test_a_socket_nobody_listens_on_is_an_answer_not_a_failure(tmp_path):
    answer = ansible(tmp_path, "runtime_handler_info", f"socket={tmp_path}/none.sock", check=True)

    assert "failed" not in answer
    assert (answer["answers"], answer["usable"], answer["gpu_handler"]) == (False, [], None)
    assert answer["answer_problem"].endswith("no such socket")


def test_runtime_and_socket_exclude_each_other(tmp_path):
    answer = ansible(tmp_path, "runtime_handler_info", "runtime=crio", "socket=/x")

    assert "mutually exclusive: runtime|socket" in answer["msg"]


def test_the_drivers_of_this_machine_are_told_and_nothing_is_changed(tmp_path):
    answer = ansible(tmp_path, "cgroup_driver_info", check=True)

    assert answer["changed"] is False
    assert answer["value"] in ("systemd", "cgroupfs")
    assert set(answer["programs"]) == {"kubelet", "crio", "containerd", "docker", "k3s"}
