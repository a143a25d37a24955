# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a running runtime has not read, and that the ordinary look runs no program for it.

The words of containerd are those of 1.6.20 (Debian 12) on the configuration given here; those of CRI-O and Docker stand
in their sources: ``Config.Validate`` of CRI-O 1.36, ``loadDaemonCliConfig`` of Docker 28 and dockerd 20.10's flags.
"""

from __future__ import annotations

import os
import time

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import runtime_unread
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host
from ansible_collections.gpunode.ready.plugins.module_utils.runtime_files import (
    read_containerd,
    read_crio,
    read_docker,
)
from hypothesis import given
from hypothesis import strategies as st

TICKS = os.sysconf("SC_CLK_TCK")
REFUSED = Completed(1, "", "containerd: (3, 3): Can't convert 7(int64) to string\n")
ACCEPTED = Completed(0, "version = 2\n", "")


class Node:
    """A captured tree with one runtime that began ``age`` seconds ago, and what its program would say."""

    def __init__(self, root, program, unit):
        self.root, self.program, self.unit = root, program, unit
        self.said = ACCEPTED
        self.reloaded_after = 0.0
        self.asked = []
        self.host = Host(str(root), self.run)
        self.put(f"/usr/bin/{program}", "#!/bin/sh\n").chmod(0o755)
        self.put(f"/usr/lib/systemd/system/{unit}", f"[Service]\nExecStart=/usr/bin/{program}\n")
        self.runs_since(60)

    def put(self, path, text):
        where = self.root / path.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)
        return where

    def runs_since(self, seconds_ago):
        boot = int(time.time()) - 100_000
        ticks = int((time.time() - seconds_ago - boot) * TICKS)
        self.put("/proc/stat", f"cpu  1 2 3\nintr 5 0\nctxt 7\nbtime {boot}\nprocesses 9\n")
        self.process(812, self.program, ticks)

    def process(self, pid, name, ticks):
        self.put(f"/proc/{pid}/comm", f"{name}\n")
        self.put(f"/proc/{pid}/stat", f"{pid} ({name}) S 1 {' '.join(['0'] * 17)} {ticks} 0 0\n")
        procs = self.root / f"sys/fs/cgroup/system.slice/{self.unit}/cgroup.procs"
        self.put(f"/sys/fs/cgroup/system.slice/{self.unit}/cgroup.procs", f"{pid}\n{_old(procs)}")

    def run(self, argv, _seconds):
        self.asked.append(list(argv))
        if argv[0] == "systemctl":
            changed = int((50 + self.reloaded_after) * 1e6)
            lines = f"ExecMainStartTimestampMonotonic=50000000\nStateChangeTimestampMonotonic={changed}\n"
            return Completed(0, lines, "")
        return self.said


def _old(path):
    return path.read_text() if path.exists() else ""


@pytest.fixture
def containerd(tmp_path):
    node = Node(tmp_path, "containerd", "containerd.service")
    node.put("/etc/containerd/config.toml", "version = 2\n")
    return node


@pytest.fixture
def docker(tmp_path):
    node = Node(tmp_path, "dockerd", "docker.service")
    node.put("/etc/docker/daemon.json", '{"log-driver": "json-file"}\n')
    return node


@pytest.fixture
def crio(tmp_path):
    node = Node(tmp_path, "crio", "crio.service")
    node.put("/etc/crio/crio.conf.d/99-nvidia.conf", '[crio.runtime]\ncgroup_manager = "systemd"\n')
    return node


def unread(node):
    read = {"containerd": read_containerd, "crio": read_crio, "dockerd": read_docker}[node.program]
    return runtime_unread.unread(node.host, node.program, read(node.host))


def test_where_all_was_read_no_program_runs(containerd):
    containerd.runs_since(-60)

    assert unread(containerd) is None
    assert containerd.asked == []


def test_a_file_written_within_the_second_of_the_start_was_read(containerd):
    containerd.runs_since(1)

    assert unread(containerd) is None


def test_what_the_program_would_refuse_is_told_in_its_words(containerd):
    containerd.put("/etc/containerd/config.toml", "version = 2\nimports = ['/etc/containerd/conf.d/*.toml']\n")
    containerd.put("/etc/containerd/conf.d/cri.toml", '[plugins."io.containerd.grpc.v1.cri"]\n  sandbox_image = 7\n')
    os.utime(containerd.root / "etc/containerd/conf.d/cri.toml", (1, 1))  # as a backup that was put back
    containerd.said = REFUSED

    told = unread(containerd)

    assert told == {
        "files": [
            "/etc/containerd/config.toml",
            "/etc/containerd/conf.d/cri.toml",
            "/usr/lib/systemd/system/containerd.service",
        ],
        "since": told["since"],
        "command": "containerd --config /etc/containerd/config.toml config dump",
        "accepted": False,
        "refusal": "containerd: (3, 3): Can't convert 7(int64) to string",
    }
    assert abs(time.time() - 60 - _epoch(told["since"])) < 5


def _epoch(text):
    return time.mktime(time.strptime(text, "%Y-%m-%dT%H:%M:%SZ")) - time.timezone


def test_what_the_program_would_accept_is_still_unread(containerd):
    told = unread(containerd)

    assert (told["accepted"], told["refusal"]) == (True, None)


def test_an_environment_file_counts(docker):
    docker.put("/usr/lib/systemd/system/docker.service", "[Service]\nEnvironmentFile=/etc/default/docker\n")
    docker.put("/etc/default/docker", "HTTPS_PROXY=http://proxy.example.org\n")

    assert "/etc/default/docker" in unread(docker)["files"]


def test_what_a_reload_has_read_since_is_read(docker):
    docker.reloaded_after = 120.0

    assert unread(docker) is None
    assert [argv[0] for argv in docker.asked] == ["systemctl"]


def test_the_program_is_told_from_its_shims(containerd):
    containerd.process(813, "containerd-shim", 1)

    assert runtime_unread.main_process(containerd.host, "containerd.service", "containerd") == 812


@pytest.mark.parametrize("folder", ["systemd/system.slice", "runtime.slice"])
def test_the_process_is_found_in_cgroup_v1_and_in_a_slice_of_its_own(containerd, folder):
    os.rename(containerd.root / "sys/fs/cgroup/system.slice", containerd.root / "sys/fs/cgroup/moved")
    (containerd.root / "sys/fs/cgroup" / folder).parent.mkdir(exist_ok=True)
    os.rename(containerd.root / "sys/fs/cgroup/moved", containerd.root / "sys/fs/cgroup" / folder)

    assert runtime_unread.main_process(containerd.host, "containerd.service", "containerd") == 812


def test_a_runtime_that_does_not_run_has_nothing_unread(containerd):
    containerd.put("/proc/812/comm", "something\n")

    assert unread(containerd) is None


@pytest.mark.parametrize("answer", [Completed(124, "", "no answer within 5 s"), Completed(-9, "", "")])
def test_a_program_that_does_not_answer_refuses_nothing(containerd, answer):
    containerd.said = answer

    told = unread(containerd)

    assert (told["command"], told["accepted"], told["refusal"]) == (None, None, None)


def test_a_file_that_cannot_be_read_at_all_is_judged_without_the_program(containerd):
    containerd.put("/etc/containerd/config.toml", "version = \n")

    assert unread(containerd)["accepted"] is None
    assert [argv[0] for argv in containerd.asked] == ["systemctl"]


def test_docker_says_why_it_would_not_start(docker):
    words = "unable to configure the Docker daemon with file /etc/docker/daemon.json: the following directives don't"
    docker.said = Completed(1, "", f"{words} match any configuration option: log-drivers\n")

    told = unread(docker)

    assert docker.asked[-1][1:] == ["--validate", "--config-file", "/etc/docker/daemon.json"]
    assert (told["accepted"], told["refusal"][: len(words)]) == (False, words)


def test_a_docker_that_cannot_validate_refuses_nothing(docker):
    docker.said = Completed(125, "", "Status: unknown flag: --validate\nSee 'dockerd --help'., Code: 125\n")

    assert unread(docker)["accepted"] is None


def test_crio_is_asked_with_the_options_that_its_unit_gives_it(crio):
    command = "/usr/bin/crio -c /etc/crio/own.conf --conmon-cgroup=pod"
    crio.put("/usr/lib/systemd/system/crio.service", f"[Service]\nExecStart={command}\n")
    crio.put("/etc/crio/own.conf", "[crio]\n")
    crio.said = Completed(1, "", 'time="2026-11-21T10:00:00Z" level=fatal msg="validating runtime config: no"\n')

    told = unread(crio)

    assert crio.asked[-1][1:] == ["--config=/etc/crio/own.conf", "--conmon-cgroup=pod", "config"]
    assert told["refusal"] == 'level=fatal msg="validating runtime config: no"'


def test_a_secret_in_the_words_is_hidden(containerd):
    containerd.said = Completed(1, "", 'containerd: bad table: password = "hunter2"\n')

    assert "hunter2" not in unread(containerd)["refusal"]


@given(stat=st.text(max_size=60), process=st.text(max_size=60))
def test_no_text_of_the_kernel_raises(tmp_path_factory, stat, process):
    root = tmp_path_factory.mktemp("node")
    (root / "proc/7").mkdir(parents=True)
    (root / "proc/stat").write_text(stat)
    (root / "proc/7/stat").write_text(f"7 (x) {process}")

    started = runtime_unread.process_start(Host(str(root)), 7)

    assert started is None or started > 0
