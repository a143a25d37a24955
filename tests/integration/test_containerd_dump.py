# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plans mean to the real containerd of this machine: its own `config dump` is asked."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import runtime_config as core
from ansible_collections.gpunode.ready.plugins.module_utils.toml import loads

CONTAINERD = shutil.which("containerd")

pytestmark = pytest.mark.skipif(
    CONTAINERD is None, reason="no containerd here: `apt-get install --no-install-recommends containerd` brings it"
)

DEBIAN = """version = 2

[plugins]
  [plugins."io.containerd.grpc.v1.cri"]
    [plugins."io.containerd.grpc.v1.cri".cni]
      bin_dir = "/usr/lib/cni"
      conf_dir = "/etc/cni/net.d"
"""
DOCKER_COM = 'disabled_plugins = ["cri"]\n'
SETTINGS = {"cgroup_driver": "systemd", "sandbox_image": "registry.example.org/pause:1", "snapshotter": "native"}
NVIDIA = {"name": "nvidia", "path": "/usr/bin/nvidia-container-runtime", "default": False, "cdi": True}


def run(*argv):
    return subprocess.run([CONTAINERD, *argv], capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def version():
    return core.version_of(run("--version").stdout)


def dumped(folder, plan):
    """The files of a plan, put under ``folder``, as containerd merges them."""
    for path, text in plan.files.items():
        target = folder / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        if text is not None:
            target.write_text(text.replace(core.CONTAINERD_DROP_INS, str(folder / core.CONTAINERD_DROP_INS[1:])))
    done = run("--config", str(folder / core.CONTAINERD_ROOT[1:]), "config", "dump")
    assert done.returncode == 0, done.stderr
    return loads(done.stdout)


@pytest.mark.parametrize("root", [None, "", DEBIAN, DOCKER_COM, "default"])
def test_what_is_wanted_is_in_force(tmp_path, version, root):
    root = run("config", "default").stdout if root == "default" else root
    effective = loads(run("config", "default").stdout)
    handler = core.cri_handler(NVIDIA, effective, version)
    pieces = [
        core.Piece("/etc/containerd/conf.d/20-gpunode.toml", core.cri_table(SETTINGS, version)),
        core.Piece("/etc/containerd/conf.d/99-nvidia.toml", handler, {}, "nvidia"),
    ]
    plan = core.plan_containerd(root, pieces, version)

    dump = dumped(tmp_path, plan)

    assert core.not_in_force(plan.wanted, dump) == []
    assert set(core.cri_runtimes(dump)) == {"runc", "nvidia"}
    assert core.default_handler(dump) == "runc"
    assert dump["disabled_plugins"] == []


def test_a_drop_in_of_the_users_that_replaces_our_section_is_told(tmp_path, version):
    if core.merges_drop_ins(version):
        pytest.skip(f"containerd {version} merges drop-ins key by key")
    mine = tmp_path / "mine.toml"
    mine.write_text(f'version = 2\n[plugins."{core.CRI}"]\nsandbox_image = "mine:1"\n')
    piece = core.Piece("/etc/containerd/conf.d/20-gpunode.toml", core.cri_table(SETTINGS, version))
    plan = core.plan_containerd(f'version = 2\nimports = ["{mine}"]\n', [piece], version)

    dump = dumped(tmp_path, plan)

    told = [item.told() for item in core.not_in_force(plan.wanted, dump)]
    assert any("SystemdCgroup" in line or "sandbox_image" in line for line in told)
