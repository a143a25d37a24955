# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""runtime_config, run by Ansible on folders of its own, with a runtime that refuses every configuration."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.ownership import Ledger
from ansible_collections.gpunode.ready.plugins.module_utils.runtime_config import HEADER

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("etc", "var/lib", "usr/local")  # of this machine, as they are, with the test's own files on top
PROGRAMS = {"crio": "crio", "docker": "dockerd"}
PATHS = {"crio": "/etc/crio/crio.conf.d/99-nvidia.conf", "docker": "/etc/docker/daemon.json"}


@pytest.fixture
def node(tmp_path):
    """A folder that lies over this machine's."""
    for folder in FOLDERS:
        (tmp_path / "node" / folder).mkdir(parents=True)
        (tmp_path / "work" / folder).mkdir(parents=True)
    binaries = tmp_path / "node/usr/local/bin"
    binaries.mkdir()
    for program in PROGRAMS.values():
        (binaries / program).write_text("#!/bin/sh\necho unknown field 'gpus' >&2\nexit 1\n")
        (binaries / program).chmod(0o755)
    return tmp_path / "node"


def call(node: Path, arguments: dict) -> dict:
    sides = {name: f"lowerdir=/{name},upperdir={node / name},workdir={node.parent / 'work' / name}" for name in FOLDERS}
    layers = [f"mount -t overlay overlay -o {options} /{name}" for name, options in sides.items()]
    (node.parent / "ansible.cfg").write_text("")  # nothing of whoever runs the tests
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(node.parent / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
    }
    command = ["unshare", "--mount", "sh", "-ec", "\n".join([*layers, 'exec "$@"']), "sh"]
    command += [str(Path(sys.executable).parent / "ansible"), "localhost", "-i", "localhost,", "-c", "local", "--check"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", "-m", "gpunode.ready.runtime_config"]
    command += ["-a", json.dumps(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = re.search(r"=> (\{.*\})", done.stdout, re.DOTALL)
    assert found, done.stdout + done.stderr
    return json.loads(found.group(1))


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts")
@pytest.mark.parametrize("runtime", sorted(PROGRAMS))
def test_a_withdrawal_that_the_runtime_refuses_changes_nothing(node, runtime):
    path = PATHS[runtime]
    ours = f"{HEADER}\n[crio]\n" if runtime == "crio" else '{"gpus": 1}\n'
    (node / path[1:]).parent.mkdir(parents=True)
    ledger = Ledger(f"runtime_config-{runtime}-gpunode", lambda path: f"{node}{path}")
    ledger.note(path, text=ours)
    ledger.save()
    (node / path[1:]).write_text(ours)

    answer = call(node, {"runtime": runtime, "state": "absent", "files": [{"path": path}]})

    assert "would not start with this configuration" in answer.get("msg", "")
    assert answer["words"] == "unknown field gpus"
