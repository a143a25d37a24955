# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inventories that leave nothing to do: told, with an exit status, and no node is needed to know it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.stage("process")

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.case(4, "an empty group, no group, a --limit that leaves nothing: site.yml")
@pytest.mark.parametrize(
    ("hosts", "limit"),
    [({"gpu_nodes": {"hosts": {}}}, []), ({"others": {"hosts": {"a": {}}}}, []), ({}, ["--limit", "nobody"])],
    ids=["empty group", "no group", "limit"],
)
def test_nothing_to_do_is_told_with_an_exit_status(tmp_path, hosts, limit):
    known = hosts or {"gpu_nodes": {"hosts": {"a": {"ansible_connection": "local"}}}}
    (tmp_path / "hosts.json").write_text(json.dumps(known))

    done = subprocess.run(
        [
            Path(sys.executable).parent / "ansible-playbook",
            "-i",
            tmp_path / "hosts.json",
            *limit,
            ROOT / "playbooks/site.yml",
        ],
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode != 0
    assert any(words in done.stdout + done.stderr for words in ("gpu_nodes", "no hosts to target"))
    assert "Traceback" not in done.stdout + done.stderr
