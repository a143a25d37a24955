# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixture of CRI-O that lab nodes run must refuse what CRI-O refuses, in its words."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.cri import Cri

CRIO = Path(__file__).parents[3] / "tests" / "lab" / "fixtures" / "crio"


class Node:
    """A folder with what a node would have: programs in PATH, drop-ins, a place for the socket."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.socket = root / "crio.sock"
        for folder in ("bin", "conf.d", "cni"):
            (root / folder).mkdir()
        for name in ("crun", "pinns"):
            self.program(name)
        self.drop_in(
            "00-place",
            f'[crio]\nversion_file = "{root}/version"\n[crio.api]\nlisten = "{self.socket}"\n'
            f'[crio.network]\nnetwork_dir = "{root}/cni"\n',
        )

    def program(self, name: str) -> str:
        path = self.root / "bin" / name
        path.write_text("#!/bin/sh\nexit 0\n")
        path.chmod(0o755)
        return str(path)

    def drop_in(self, name: str, text: str) -> None:
        path = self.root / "conf.d" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)

    def argv(self, *arguments: str) -> list[str]:
        return [sys.executable, str(CRIO), "-c", "", "-d", str(self.root / "conf.d"), *arguments]

    def environment(self, **more: str) -> dict[str, str]:
        return {"PATH": str(self.root / "bin"), "PYTHONDONTWRITEBYTECODE": "1", **more}

    def crio(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments), env=self.environment(), capture_output=True, text=True, timeout=30, check=False
        )


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


class Daemon:
    def __init__(self, node: Node) -> None:
        notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notified.bind(str(node.root / "notify"))
        notified.settimeout(20)
        self.log = node.root / "log"
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                node.argv(), env=node.environment(NOTIFY_SOCKET=str(node.root / "notify")), stderr=log
            )
        self.first_words = notified.recv(100).decode()
        notified.close()


@pytest.fixture
def daemon(node):
    started = []

    def start() -> Daemon:
        started.append(Daemon(node))
        return started[-1]

    yield start
    for one in started:
        one.process.terminate()
        one.process.wait(10)


def handler(name: str, **keys: str) -> str:
    return f"[crio.runtime.runtimes.{name}]\n" + "".join(f'{key} = "{value}"\n' for key, value in keys.items())


def test_it_says_that_it_is_a_fixture(node):
    assert "+fixture" in node.crio("version").stdout
    assert "+fixture" in node.crio("--version").stdout.splitlines()[0]


def test_a_handler_without_conmon_anywhere_is_fatal(node):
    node.drop_in("10-nvidia.conf", handler("nvidia", runtime_path=node.program("nvidia-container-runtime")))
    node.drop_in("11-crun.conf", handler("crun", monitor_path=node.program("my-conmon")))

    said = node.crio()

    assert said.returncode == 1
    assert (
        "validating runtime config: monitor fields translation: failed to translate monitor fields for runtime nvidia:"
        ' exec: \\"conmon\\": executable file not found in $PATH' in said.stderr
    )


def test_a_monitor_path_that_is_not_there_is_fatal(node):
    node.drop_in("10-crun.conf", handler("crun", monitor_path="/none/conmon"))

    said = node.crio()

    assert "invalid conmon path: stat /none/conmon: no such file or directory" in said.stderr
    assert said.returncode == 1


@pytest.mark.parametrize("arguments", [[], ["config"]])
def test_a_default_runtime_without_a_table_is_fatal(node, arguments):
    node.drop_in("10.conf", '[crio.runtime]\ndefault_runtime = "nvidia"\n')

    said = node.crio(*arguments)

    assert (
        'default_runtime set to \\"nvidia\\", but no runtime entry table [crio.runtime.runtimes.nvidia] was found'
        in said.stderr
    )
    assert said.returncode == 1


def test_a_default_handler_whose_binary_is_gone_is_fatal(node):
    node.program("conmon")
    node.drop_in("10.conf", handler("crun", runtime_path="/none/crun"))

    said = node.crio()

    assert "runtime validation: invalid runtime_path for runtime 'crun': stat /none/crun" in said.stderr


@pytest.mark.parametrize("command", ["config", "version", "status"])
def test_a_broken_drop_in_stops_every_command_with_its_line(node, command):
    node.drop_in("99-nvidia.toml.bak", "[crio.runtime]\n\nlog_level = info\n")

    said = node.crio(command)

    assert said.returncode == 1
    assert f"unable to decode configuration {node.root}/conf.d/99-nvidia.toml.bak: toml: line 3:" in said.stderr


def test_a_value_of_the_wrong_type_is_refused(node):
    node.drop_in("20.conf", "[crio.runtime]\ndefault_runtime = 5\n")

    said = node.crio("config")

    assert 'toml: line 2 (last key \\"crio.runtime.default_runtime\\"): incompatible types' in said.stderr


def test_later_files_win_folders_within_too(node):
    node.drop_in("20-a/x.conf", '[crio.runtime]\ncgroup_manager = "cgroupfs"\n')
    node.drop_in("10.conf", '[crio.runtime]\ncgroup_manager = "systemd"\nlog_level = "debug"\n')

    said = node.crio("config")

    assert '\ncgroup_manager = "cgroupfs"\n' in said.stdout
    assert '\nlog_level = "debug"\n' in said.stdout


def test_a_flag_wins_over_every_file(node):
    node.drop_in("10.conf", '[crio.runtime]\ncgroup_manager = "systemd"\n')

    said = node.crio("--cgroup-manager=cgroupfs", "config")

    assert '\ncgroup_manager = "cgroupfs"\n' in said.stdout


def test_a_later_table_replaces_the_whole_handler(node):
    node.drop_in("10.conf", handler("nvidia", runtime_path="/a", monitor_path="/b"))
    node.drop_in("20.conf", handler("nvidia", runtime_path="/c"))

    said = node.crio("config")

    assert 'runtime_path = "/c"' in said.stdout
    assert "monitor_path" not in said.stdout.split("[crio.runtime.runtimes.nvidia]")[1].split("[")[0]


def test_the_daemon_answers_as_cri_does(node, daemon):
    node.program("conmon")
    node.drop_in("10-nvidia.conf", handler("nvidia", runtime_path=node.program("nvidia-container-runtime")))
    node.drop_in("11-gone.conf", handler("gone", runtime_path="/none/gone"))
    node.drop_in("20.conf", '[crio.runtime]\ncgroup_manager = "cgroupfs"\nconmon_cgroup = "pod"\n')
    (node.root / "cni" / "10-net.conflist").write_text('{"name": "net", "plugins": []}')

    started = daemon()
    cri = Cri(str(node.socket))
    status = cri.status()

    assert started.first_words == "READY=1"
    assert cri.version()["runtime_name"] == "cri-o"
    assert sorted(one["name"] for one in status["handlers"]) == ["", "crun", "nvidia"]
    assert [condition["status"] for condition in status["conditions"]] == [True, True]
    assert status["info"]["config"]["crio"]["Runtimes"]["nvidia"]["MonitorPath"] == str(node.root / "bin/conmon")
    assert cri.runtime_config() == {"cgroup_driver": "cgroupfs"}
    assert 'Runtime handler \\"gone\\" is being ignored' in started.log.read_text()
    assert oct(os.stat(node.socket).st_mode)[-3:] == "660"


def test_sighup_reloads_handlers_and_a_broken_file_changes_nothing(node, daemon):
    node.program("conmon")
    cri = Cri(str(node.socket))
    started = daemon()

    def handlers_after_reload() -> list[str]:
        before = started.log.read_text().count("eload")
        os.kill(started.process.pid, signal.SIGHUP)
        for _attempt in range(2000):
            names = sorted(one["name"] for one in cri.status()["handlers"])
            if started.log.read_text().count("eload") > before and (
                names != ["", "crun"] or "Unable" in started.log.read_text()
            ):
                break
        return names

    node.drop_in("10.conf", "[crio\n")
    broken = handlers_after_reload()
    node.drop_in("10.conf", handler("nvidia", runtime_path=node.program("nvidia-container-runtime")))
    os.truncate(started.log, 0)
    mended = handlers_after_reload()

    assert broken == ["", "crun"]
    assert mended == ["", "crun", "nvidia"]


def test_status_asks_the_daemon(node, daemon):
    node.program("conmon")
    daemon()

    info = node.crio("status", "--socket", str(node.socket), "info").stdout
    config = node.crio("status", "--socket", str(node.socket), "config").stdout

    assert info.startswith("cgroup driver: systemd\nstorage driver: overlay\n")
    assert "[crio.runtime.runtimes.crun]" in config
