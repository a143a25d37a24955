# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a run is over is said only where it is known: a lock is taken over by it."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = Path(__file__).resolve().parents[2] / "plugins/lookup/controller_run.py"


@pytest.fixture(scope="module")
def plugin():
    spec = importlib.util.spec_from_file_location("controller_run", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name(plugin, pid, ticks="100", host=None, space=None):
    return f"ada@{host or socket.gethostname()}:{pid}:{ticks}:{space or plugin.namespace()}"


def hidden(pid):
    """/proc mounted with hidepid, or no such process."""


def refuse(error):
    def send(pid, number):
        assert number == 0
        raise error

    return send


def test_this_run_goes_on(plugin):
    assert plugin.state_of(plugin.this_run()) == "running"


PLAY = """
- name: "{{ lookup('gpunode.ready.controller_run') }}"
  hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "{{ lookup('gpunode.ready.controller_run') }}"
    - ansible.builtin.command: "echo {{ lookup('gpunode.ready.controller_run') }}"
"""


@pytest.mark.parametrize("words", [["ansible", "playbook"], ["ansible.cli.playbook"]], ids=" ".join)
def test_a_run_is_one_in_all_its_workers_however_it_was_started(tmp_path, words):
    (tmp_path / "play.yml").write_text(PLAY)
    process = subprocess.Popen(
        [sys.executable, "-m", *words, "-v", "play.yml"],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(PLUGIN.parents[2] / "collections"), "ANSIBLE_NOCOLOR": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _nothing = process.communicate(timeout=120)

    assert process.returncode == 0, out
    assert set(re.findall(rf"@{re.escape(socket.gethostname())}:([0-9]+):", out)) == {str(process.pid)}, out


def test_a_process_that_ended_is_told(plugin):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    run = name(plugin, process.pid, plugin.started_ticks(process.pid))
    before = plugin.state_of(run)
    process.communicate(b"\n")

    assert (before, plugin.state_of(run)) == ("running", "ended")


def test_a_process_id_that_was_given_anew_is_another_run(plugin):
    assert plugin.state_of(name(plugin, os.getpid(), "1")) == "ended"


@pytest.mark.parametrize(
    ("send", "state"),
    [
        (refuse(PermissionError()), "unknown"),
        (lambda pid, number: None, "unknown"),
        (refuse(OverflowError()), "unknown"),
        (refuse(ProcessLookupError()), "ended"),
    ],
    ids=["of another user", "there without a start", "no number for a process", "no such process"],
)
def test_a_process_that_proc_hides_is_not_taken_for_ended(plugin, send, state):
    assert plugin.state_of(name(plugin, 4242), hidden, send) == state


@pytest.mark.parametrize(
    "changed",
    [{"host": "another"}, {"space": "1"}, {"ticks": "0"}],
    ids=["another controller", "another PID namespace", "no start known"],
)
def test_what_cannot_be_judged_from_here_is_unknown(plugin, changed):
    assert plugin.state_of(name(plugin, os.getpid(), **changed), hidden, refuse(ProcessLookupError())) == "unknown"


@pytest.mark.parametrize("run", ["", "ada", "ada@control:1", f"ada@{socket.gethostname()}:1:100", ":::"])
def test_what_names_no_run_is_unknown(plugin, run):
    assert plugin.state_of(run) == "unknown"
