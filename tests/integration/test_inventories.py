# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inventories to copy: each is read whole, and the playbook it is for is one that Ansible takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = Path(sys.executable).parent


def ansible(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(PROGRAMS / argv[0]), *argv[1:]],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("inventory", "playbook"),
    [("single_node", "site.yml"), ("cluster", "site.yml"), ("k3s", "playbooks/k3s.yml"), ("k3s", "site.yml")],
)
def test_a_playbook_and_its_inventory_are_read(inventory, playbook):
    done = ansible("ansible-playbook", "-i", f"inventories/{inventory}", "--syntax-check", playbook)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "WARNING" not in done.stderr


def test_the_inventory_of_k3s_makes_one_server_and_gives_the_agents_their_gpus():
    done = ansible("ansible-inventory", "-i", "inventories/k3s", "--list")

    told = json.loads(done.stdout)
    assert told["control_plane"]["hosts"] == ["k3s-server-1"]
    assert told["gpu_nodes"]["hosts"] == ["k3s-gpu-1", "k3s-gpu-2"]
    assert told["_meta"]["hostvars"]["k3s-server-1"]["gpunode_gpu"] is False
    assert {host["gpunode_kubernetes"] for host in told["_meta"]["hostvars"].values()} == {"k3s"}
