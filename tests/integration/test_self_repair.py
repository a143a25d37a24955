# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role self_repair through ansible-playbook in check mode, so that nothing is written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
TASKS = CHECKOUT / "roles/self_repair/tasks"


def play(folder: Path, **variables) -> subprocess.CompletedProcess:
    tools = str(Path(sys.executable).parent)
    tasks = [
        {"ansible.builtin.set_fact": {"gpunode": {"os": {"init": "systemd"}}, "cacheable": True}},
        {"ansible.builtin.include_role": {"name": "gpunode.ready.self_repair"}},
    ]
    (folder / "play.yml").write_text(json.dumps([{"hosts": "all", "gather_facts": False, "tasks": tasks}]))
    (folder / "ansible.cfg").write_text("")  # nothing of whoever runs the tests
    (folder / "hosts").write_text(f"n1 ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    given = {"self_repair_state": "enabled", "self_repair_executables_dir": tools, **variables}
    return subprocess.run(
        [f"{tools}/ansible-playbook", "-i", "hosts", "--check", "--diff", "-e", json.dumps(given), "play.yml"],
        cwd=folder,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ANSIBLE_REMOTE_TEMP": str(folder / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_the_units_are_foretold_in_one_call(tmp_path):
    done = play(tmp_path, self_repair_repository_url="ssh://git@git.example.org/site.git")

    assert done.returncode == 0, done.stdout + done.stderr
    assert '@git.example.org/site.git" \\\n+  --checkout "main" \\\n' in done.stdout
    assert "+WantedBy=timers.target" in done.stdout
    assert "changed=1 " in done.stdout


def test_the_nodes_own_variables_are_not_told(tmp_path):
    done = play(tmp_path, self_repair_method="local", self_repair_variables={"site_word": "open sesame"})

    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=1 " in done.stdout
    assert "sesame" not in done.stdout + done.stderr


def test_a_url_with_a_token_is_refused_and_not_repeated(tmp_path):
    done = play(tmp_path, self_repair_repository_url="https://oauth2:glpat-Secret@git.example.org/site.git")

    assert done.returncode != 0
    assert "deploy key" in done.stdout
    assert "glpat" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("program", "words"),
    [(None, "there is no such program)"), ("#!/bin/sh\necho no metadata for jinja2 >&2; exit 1\n", "for jinja2)")],
)
def test_an_ansible_that_does_not_run_is_told_in_its_own_words(tmp_path, program, words):
    if program:
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin/ansible-playbook").write_text(program)
        (tmp_path / "bin/ansible-playbook").chmod(0o755)

    done = play(tmp_path, self_repair_method="local", self_repair_executables_dir=str(tmp_path / "bin"))

    assert done.returncode != 0
    assert "did not tell its version (" in " ".join(done.stdout.split())
    assert words in " ".join(done.stdout.split()), done.stdout


@pytest.mark.parametrize("name", ["disabled", "absent"])
def test_what_a_killed_run_left_is_taken_away_whatever_else_is_there(name):
    first = yaml.safe_load((TASKS / f"{name}.yml").read_text())[0]

    assert "when" not in first
    assert first["gpunode.ready.unit_set"]["state"] == "absent"
    assert first["gpunode.ready.unit_set"]["name"] == "self_repair"
    assert "__self_repair_gone" in first["gpunode.ready.unit_set"]["files"]
