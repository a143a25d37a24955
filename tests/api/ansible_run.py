# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules and playbooks of this collection through Ansible itself, on the machine that runs the tests."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, program: str, *arguments: str, groups: dict[str, Any] | None = None) -> subprocess.Popen:
    """Start a program of Ansible from ``folder`` on the host ``here``, with nothing of the caller's settings."""
    here = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    (folder / "hosts.json").write_text(json.dumps({"all": {"hosts": {"here": here}, "children": groups or {}}}))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "KUBE"))},
        "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
        "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
        "ANSIBLE_REMOTE_TMP": str(folder / "remote"),
        "ANSIBLE_NOCOLOR": "1",
    }
    command = [Path(sys.executable).parent / program, "-i", folder / "hosts.json", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def run(
    folder: Path, program: str, *arguments: str, groups: dict[str, Any] | None = None
) -> subprocess.CompletedProcess:
    """The same, to its end."""
    with start(folder, program, *arguments, groups=groups) as process:
        try:
            said, wrong = process.communicate(timeout=300)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(process.args, process.returncode, said, wrong)


def module(folder: Path, name: str, arguments: dict[str, Any], *more: str) -> dict[str, Any]:
    """What a module answers."""
    done = run(folder, "ansible", "here", "-m", f"gpunode.ready.{name}", "-a", json.dumps(arguments), *more)
    assert "=> {" in done.stdout, done.stdout + done.stderr
    answer, _end = json.JSONDecoder().raw_decode(done.stdout.partition("=> ")[2])
    return answer


def playbook(folder: Path, plays: list[dict[str, Any]], *more: str) -> subprocess.CompletedProcess:
    (folder / "play.json").write_text(json.dumps(plays))
    return run(folder, "ansible-playbook", str(folder / "play.json"), *more)
