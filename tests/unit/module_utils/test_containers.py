# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import http.server
import json
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import runtime_handlers
from ansible_collections.gpunode.ready.plugins.module_utils.facts import containers
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host

TESTS = Path(__file__).parents[2]
CRI_ANSWERS = TESTS / "unit" / "data" / "cri"
FIXTURE = TESTS / "lab" / "fixtures" / "crio"
VERSIONS = {
    "crio": "crio version 1.36.3\n   GitCommit:       fixture\n",
    "containerd": "containerd github.com/containerd/containerd 1.6.20~ds1 1.6.20~ds1-1+deb12u3\n",
    "dockerd": "Docker version 29.7.2, build f04c0b3\n",
    "k3s": "k3s version v1.34.1+k3s1 (24fc436e)\ngo version go1.24.6\n",
    "nvidia-ctk": "NVIDIA Container Toolkit CLI version 1.20.0\ncommit: 3e1c9ab\n",
}


class Node:
    """A captured tree under a short path, for the names of sockets are limited to 108 bytes."""

    def __init__(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="n"))
        self.host = Host(str(self.root), self.run)

    @staticmethod
    def run(argv, _seconds):
        told = VERSIONS.get(os.path.basename(argv[0])) if argv[1:] == ("--version",) else None
        return Completed(0, told, "") if told else Completed(127, "", "")

    def put(self, path: str, text: str = "") -> Path:
        where = self.root / path.lstrip("/")
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(text)
        return where

    def program(self, path: str) -> None:
        self.put(path, "#!/bin/sh\nexit 0\n").chmod(0o755)


@pytest.fixture
def node():
    made = Node()
    yield made
    shutil.rmtree(made.root)


@pytest.fixture
def serve():
    servers = []

    def start(server: socketserver.BaseServer) -> None:
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


CRIO_CONF = """\
[crio.runtime]
default_runtime = "crun"

[crio.runtime.runtimes.crun]
runtime_path = "/usr/libexec/crio/crun"
runtime_root = "/run/crun"
monitor_path = "/usr/libexec/crio/conmon"
"""
NVIDIA = '[crio.runtime.runtimes.nvidia]\nruntime_path = "/usr/bin/nvidia-container-runtime"\n'


@pytest.fixture
def crio(node):
    """A node as CRI-O's packages leave it, with a handler for GPUs that somebody wrote by hand."""
    for path in ("/usr/bin/crio", "/usr/libexec/crio/crun", "/usr/libexec/crio/conmon"):
        node.program(path)
    node.put("/etc/crio/crio.conf.d/10-crio.conf", CRIO_CONF)
    node.put("/etc/crio/crio.conf.d/99-nvidia.conf", NVIDIA)
    node.put("/usr/lib/systemd/system/crio.service", "[Service]\nExecStart=/usr/bin/crio $CRIO_CONFIG_OPTIONS\n")
    return node


def test_a_handler_without_monitor_path_is_seen(crio):
    crio.program("/usr/bin/nvidia-container-runtime")

    state = containers.runtimes(crio.host)["crio"]

    assert state["handlers"]["nvidia"] == {
        "type": "oci",
        "path": "/usr/bin/nvidia-container-runtime",
        "path_exists": True,
        "conmon": None,
        "conmon_exists": False,
        "cgroup_driver": "systemd",
        "in_force": None,
        "configured_in": "/etc/crio/crio.conf.d/99-nvidia.conf",
        "line": 1,
        "dropped": None,
        "root": None,
    }
    assert state["handlers"]["crun"]["conmon_exists"] is True
    assert (state["version"], state["unit"]) == ("1.36.3", "crio.service")
    assert (state["answers"], state["answer_problem"][-15:]) == (False, " no such socket")
    assert state["oci_runtimes"] == {"runc": None, "crun": "/usr/libexec/crio/crun"}
    assert state["conmon"] == "/usr/libexec/crio/conmon"


def test_a_handler_whose_program_is_gone_is_dropped_and_asks_for_no_conmon(crio):
    nvidia = containers.runtimes(crio.host)["crio"]["handlers"]["nvidia"]

    assert nvidia["path_exists"] is False
    assert nvidia["conmon_exists"] is None
    assert nvidia["dropped"] == (
        "invalid runtime_path for runtime 'nvidia': stat /usr/bin/nvidia-container-runtime: no such file or directory"
    )


@pytest.mark.parametrize("setting", ['[crio.runtime]\nconmon = "/usr/libexec/crio/conmon"\n', None])
def test_conmon_for_all_or_in_path_serves_every_handler(crio, setting):
    crio.program("/usr/bin/nvidia-container-runtime")
    if setting:
        crio.put("/etc/crio/crio.conf.d/50.conf", setting)
    else:
        crio.program("/usr/bin/conmon")

    nvidia = containers.runtimes(crio.host)["crio"]["handlers"]["nvidia"]

    assert nvidia["conmon_exists"] is True
    assert nvidia["conmon"].endswith("/conmon")


def test_a_handler_may_inherit_the_default_but_not_its_monitor(crio):
    crio.put("/etc/crio/crio.conf.d/99-nvidia.conf", "[crio.runtime.runtimes.x]\ninherit_default_runtime = true\n")

    inherited = containers.runtimes(crio.host)["crio"]["handlers"]["x"]

    assert (inherited["path"], inherited["root"]) == ("/usr/libexec/crio/crun", "/run/crun")
    assert inherited["conmon_exists"] is False


def test_a_broken_drop_in_is_named_with_its_line_and_the_rest_is_told(crio):
    crio.put("/etc/crio/crio.conf.d/99-nvidia.conf", "[crio.runtime.runtimes.nvidia]\nruntime_path = /usr/bin/x\n")

    state = containers.runtimes(crio.host)["crio"]

    assert state["config_problem"] == {
        "path": "/etc/crio/crio.conf.d/99-nvidia.conf",
        "line": 2,
        "text": "expected a value, found '/'",
    }
    assert list(state["handlers"]) == ["crun"]


def test_a_running_crio_is_asked(crio):
    """The fixture of CRI-O, started in the captured tree: its handlers are the ones in force."""
    conf = crio.root / "etc/crio/crio.conf.d"
    real = CRIO_CONF.replace('"/usr', f'"{crio.root}/usr')
    places = {
        "crio]\nversion_file": "version",
        "crio.api]\nlisten": "var/run/crio/crio.sock",
        "crio.runtime]\npinns_path": "usr/bin/crio",
        "crio.network]\nnetwork_dir": "etc/cni/net.d",
    }
    own = crio.root / "daemon.d"
    own.mkdir()
    (own / "10.conf").write_text("".join(f'[{key} = "{crio.root}/{path}"\n' for key, path in places.items()))
    (own / "20.conf").write_text(real.partition("\n\n")[2])
    crio.program("/usr/bin/nvidia-container-runtime")
    notified = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    notified.bind(str(crio.root / "notify"))
    notified.settimeout(20)
    argv = [sys.executable, str(FIXTURE), "-c", "", "-d", str(own)]
    environment = {"PATH": "/none", "NOTIFY_SOCKET": str(crio.root / "notify"), "PYTHONDONTWRITEBYTECODE": "1"}

    with subprocess.Popen(argv, env=environment, stderr=subprocess.DEVNULL) as daemon, notified:
        try:
            notified.recv(100)
            state = containers.runtimes(crio.host)["crio"]
            cgroups = containers.cgroups(crio.host)["programs"]["crio"]
        finally:
            daemon.terminate()

    assert conf.is_dir()
    assert (state["answers"], state["running_version"]) == (True, "1.36.3+fixture")
    assert {name: own["in_force"] for name, own in state["handlers"].items()} == {"crun": True, "nvidia": False}
    assert state["conditions"]["NetworkReady"]["reason"] == "NetworkPluginNotReady"
    assert (cgroups["in_force"], cgroups["in_force_source"]) == ("systemd", "CRI RuntimeConfig")


class Containerd(socketserver.ThreadingUnixStreamServer):
    """Answers each call with what a real containerd 1.6.20 answered."""

    daemon_threads = True

    class RequestHandlerClass(socketserver.BaseRequestHandler):
        def handle(self):
            asked = self.request.recv(65536)
            for method in ("Version", "Status", "RuntimeConfig"):
                if f"RuntimeService/{method}".encode() in asked:
                    self.request.sendall((CRI_ANSWERS / f"containerd-1.6.20-{method}.bin").read_bytes())
            self.request.recv(65536)

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(str(path), self.RequestHandlerClass)


def test_a_running_containerd_is_asked(node, serve):
    node.program("/usr/bin/containerd")
    node.program("/usr/sbin/runc")
    node.put("/etc/containerd/config.toml", "version = 2\n")
    serve(Containerd(node.root / "run/containerd/containerd.sock"))

    state = containers.runtimes(node.host)["containerd"]
    cgroups = containers.cgroups(node.host)["programs"]["containerd"]

    assert (state["answers"], state["version"], state["running_version"]) == (True, "1.6.20~ds1", "1.6.20~ds1")
    assert state["handlers"]["runc"]["in_force"] is True
    assert state["handlers"]["runc"]["path"] == "/usr/sbin/runc"
    assert state["cdi"] == {"enabled": False, "spec_dirs": ["/etc/cdi", "/var/run/cdi"]}
    assert (cgroups["in_force"], cgroups["in_force_source"]) == ("cgroupfs", "CRI Status, handler runc")


CRI = 'plugins."io.containerd.grpc.v1.cri".cni'
LOOKS = {
    "built in": ("1.6.20", "version = 2\n", ["/opt/cni/bin"]),
    "one": ("1.6.20", f'version = 2\n[{CRI}]\nbin_dir = "/usr/lib/cni/"\n', ["/usr/lib/cni"]),
    "since 2.1": (
        "2.1.4",
        "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.cni]\nbin_dirs = ['/a', '/b']\n",
        ["/a", "/b"],
    ),
}


@pytest.mark.parametrize(("version", "text", "expected"), LOOKS.values(), ids=LOOKS)
def test_where_containerd_looks_for_cni_programs_is_told(node, monkeypatch, version, text, expected):
    monkeypatch.setitem(VERSIONS, "containerd", f"containerd github.com/containerd/containerd v{version} 0\n")
    node.program("/usr/bin/containerd")
    node.put("/etc/containerd/config.toml", text)

    assert containers.runtimes(node.host)["containerd"]["cni"]["bin_dirs"] == expected


def test_where_crio_looks_for_cni_programs_is_told(crio):
    built_in = containers.runtimes(crio.host)["crio"]["cni"]["bin_dirs"]
    crio.put("/etc/crio/crio.conf.d/50.conf", '[crio.network]\nplugin_dirs = ["/opt/cni/bin/", "/usr/libexec/cni"]\n')

    assert built_in == ["/opt/cni/bin"]
    assert containers.runtimes(crio.host)["crio"]["cni"]["bin_dirs"] == ["/opt/cni/bin", "/usr/libexec/cni"]


def test_a_containerd_with_its_cri_disabled_is_told_apart(node):
    node.program("/usr/bin/containerd")
    node.put("/etc/containerd/config.toml", 'disabled_plugins = ["cri"]\n')

    state = containers.runtimes(node.host)["containerd"]

    assert (state["cri_enabled"], state["disabled_plugins"]) == (False, ["cri"])


class Docker(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    class RequestHandlerClass(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = json.dumps(
                {
                    "ServerVersion": "29.7.2",
                    "CgroupDriver": "systemd",
                    "Runtimes": {"runc": {"path": "runc"}, "nvidia": {"path": "nvidia-container-runtime"}},
                }
            ).encode()
            self.send_response(200 if self.path == "/info" else 404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return "unix"

        def log_message(self, *_words):
            pass

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        super().__init__(str(path), self.RequestHandlerClass)


def test_a_running_docker_is_asked(node, serve):
    node.program("/usr/bin/dockerd")
    node.program("/usr/bin/nvidia-container-runtime")
    node.put("/etc/docker/daemon.json", '{"default-runtime": "nvidia", "runtimes": {"nvidia": {"path": '
             '"nvidia-container-runtime"}, "old": {"path": "/none"}}}')  # fmt: skip
    serve(Docker(node.root / "run/docker.sock"))

    state = containers.runtimes(node.host)["docker"]
    cgroups = containers.cgroups(node.host)["programs"]["docker"]

    assert (state["answers"], state["version"], state["default_handler"]) == (True, "29.7.2", "nvidia")
    assert state["handlers"]["nvidia"]["path"] == "/usr/bin/nvidia-container-runtime"
    assert (state["handlers"]["old"]["path_exists"], state["handlers"]["old"]["in_force"]) == (False, False)
    assert state["cdi"]["enabled"] is True
    assert (cgroups["in_force"], cgroups["in_force_source"]) == ("systemd", "docker info")


@pytest.mark.parametrize(
    ("version", "features", "enabled"),
    [("24.0.9", '{"cdi": true}', False), ("27.5.1", "{}", False), ("27.5.1", '{"cdi": true}', True),
     ("28.2.0", "{}", True), ("29.7.2", '{"cdi": false}', False)],
)  # fmt: skip
def test_docker_knows_cdi_by_version_and_feature(node, monkeypatch, version, features, enabled):
    monkeypatch.setitem(VERSIONS, "dockerd", f"Docker version {version}, build f04c0b3\n")
    node.program("/usr/bin/dockerd")
    node.put("/etc/docker/daemon.json", f'{{"features": {features}}}')

    assert containers.runtimes(node.host)["docker"]["cdi"]["enabled"] is enabled


def test_k3s_is_read_from_what_it_renders(node):
    node.program("/usr/local/bin/k3s")
    node.program("/var/lib/rancher/k3s/data/current/bin/runc")
    node.put("/etc/systemd/system/k3s-agent.service", "[Service]\nExecStart=/usr/local/bin/k3s agent\n")
    node.put("/etc/rancher/k3s/config.yaml", "default-runtime: nvidia\n")
    runtimes = "plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes"
    node.put(
        "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
        f"version = 3\n[{runtimes}.runc]\nruntime_type = 'io.containerd.runc.v2'\n"
        f"[{runtimes}.nvidia]\nruntime_type = 'io.containerd.runc.v2'\n"
        f"[{runtimes}.nvidia.options]\nBinaryName = '/usr/bin/nvidia-container-runtime'\nSystemdCgroup = true\n",
    )

    state = containers.runtimes(node.host)["k3s"]

    assert (state["version"], state["unit"], state["default_handler"]) == ("1.34.1+k3s1", "k3s-agent.service", "nvidia")
    assert state["handlers"]["runc"]["path"] == "/var/lib/rancher/k3s/data/current/bin/runc"
    assert state["handlers"]["nvidia"]["path_exists"] is False
    assert state["cdi"]["enabled"] is True


def test_nothing_installed_is_told_plainly(node):
    facts = containers.runtimes(node.host)

    assert {name: state["installed"] for name, state in facts.items()} == dict.fromkeys(facts, False)
    assert containers.toolkit(node.host)["installed"] is False


# The toolkit


def test_the_toolkit_resolves_its_runtimes_as_it_will(node):
    for path in ("/usr/bin/nvidia-ctk", "/usr/bin/nvidia-container-runtime", "/usr/libexec/crio/crun"):
        node.program(path)
    node.put("/usr/sbin/runc").chmod(0o644)  # there, but no program
    node.put("/usr/lib/systemd/system/nvidia-cdi-refresh.path")
    node.put(
        "/etc/nvidia-container-runtime/config.toml",
        '[nvidia-container-runtime]\nmode = "cdi"\nruntimes = ["/usr/libexec/crio/crun", "/usr/sbin/runc", "runc"]\n',
    )

    state = containers.toolkit(node.host)

    assert (state["installed"], state["version"]) == (True, "1.20.0")
    assert state["binaries"]["nvidia-container-runtime"] == "/usr/bin/nvidia-container-runtime"
    assert state["binaries"]["nvidia-container-cli"] is None
    assert state["config"] == {
        "path": "/etc/nvidia-container-runtime/config.toml",
        "problem": None,
        "mode": "cdi",
        "mode_line": 2,
        "runtimes": ["/usr/libexec/crio/crun", "/usr/sbin/runc", "runc"],
        "runtimes_line": 3,
        "resolved": ["/usr/libexec/crio/crun", None, None],
    }
    assert state["refresh_units"] == ["nvidia-cdi-refresh.path"]


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[nvidia-container-runtime]\nmode = auto\n", 2, "auto is no value"),
        ('[nvidia-container-runtime]\nruntimes = "runc"\n', 2, "runtimes must be a list of strings"),
    ],
)
def test_a_broken_toolkit_configuration_is_named_with_its_line(node, text, line, words):
    node.put("/etc/nvidia-container-runtime/config.toml", text)

    config = containers.toolkit(node.host)["config"]

    assert config["problem"]["line"] == line
    assert words in config["problem"]["text"]


# Which names a RuntimeClass can carry


HANDLER = {"path": "/usr/bin/x", "path_exists": True, "conmon_exists": True, "in_force": True}


@pytest.mark.parametrize(
    ("changes", "works", "words"),
    [
        ({}, True, None),
        ({"path_exists": False}, False, "/usr/bin/x does not exist."),
        ({"dropped": "no such file"}, False, "drops the handler at its start: no such file."),
        ({"conmon_exists": False}, False, "no monitor_path, no conmon in PATH"),
        ({"conmon_exists": False, "conmon": "/c"}, False, "conmon is not at /c"),
        ({"in_force": False, "configured_in": "/a"}, False, "does not know it (/a is read at its next start)"),
        ({"in_force": None}, None, "does not answer"),
    ],
)
def test_a_handler_works_or_the_reason_is_told(changes, works, words):
    found = runtime_handlers.judged("crio", {"handlers": {"x": {**HANDLER, **changes}}})["x"]

    assert found["works"] is works
    assert words is None or words in found["why"][0]


def test_the_handler_for_gpus_is_the_one_that_calls_nvidias_runtime():
    gpu = {**HANDLER, "path": "/usr/bin/nvidia-container-runtime"}
    handlers = {"runc": HANDLER, "gpu": gpu, "nvidia": gpu, "broken": {**gpu, "path_exists": False}}

    judged = runtime_handlers.judged("crio", {"handlers": handlers})

    assert runtime_handlers.gpu_handler(judged) == "nvidia"
    assert runtime_handlers.gpu_handler({name: judged[name] for name in ("runc", "gpu", "broken")}) == "gpu"
    assert runtime_handlers.gpu_handler({name: judged[name] for name in ("runc", "broken")}) is None


@pytest.mark.parametrize(
    ("installed", "answering", "runtime"),
    [
        ([], [], None),
        (["containerd", "crio"], [], "crio"),
        (["containerd", "crio"], ["containerd"], "containerd"),
        (["docker", "containerd"], ["docker", "containerd"], "docker"),
    ],
)
def test_the_runtime_looked_at_is_the_one_that_answers(installed, answering, runtime):
    facts = {name: {"installed": True, "answers": name in answering, "cri_enabled": False} for name in installed}

    assert runtime_handlers.chosen(facts, None) == runtime
    assert runtime_handlers.chosen(facts, "k3s") == "k3s"
