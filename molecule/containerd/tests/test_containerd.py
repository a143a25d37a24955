# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""containerd on a node: asked itself, not our files."""

from __future__ import annotations

import pytest

CONFIG = "/etc/containerd/config.toml"


@pytest.fixture(scope="module")
def dump(host):
    return host.check_output("containerd config dump")


def test_containerd_runs_now_and_at_every_boot(host):
    service = host.service("containerd")

    assert service.is_running
    assert service.is_enabled


def test_its_packages_are_held(host):
    held = host.check_output("apt-mark showhold").split()

    assert {"containerd", "runc"} <= set(held)


def test_the_cri_answers(host):
    plugins = host.check_output("ctr plugins ls")

    line = next(line for line in plugins.splitlines() if "io.containerd.grpc.v1" in line and " cri " in line)
    assert line.split()[-1] == "ok"


def test_every_handler_uses_the_systemd_cgroup_driver(dump):
    assert dump.count("SystemdCgroup = true") >= 1
    assert "SystemdCgroup = false" not in dump


def test_the_nvidia_handler_is_in_force_and_runc_still_is_the_default(dump):
    assert 'BinaryName = "/usr/bin/nvidia-container-runtime"' in dump
    assert 'default_runtime_name = "runc"' in dump


def test_what_the_package_wrote_into_its_configuration_is_still_there(host):
    config = host.file(CONFIG)

    assert config.contains('bin_dir = "/usr/lib/cni"')
    assert config.contains('conf_dir = "/etc/cni/net.d"')


def test_the_configuration_as_it_was_is_kept_for_root_only(host):
    kept = host.check_output("find /var/lib/gpunode.ready/backup -name config.toml").split()

    assert kept
    assert host.file("/var/lib/gpunode.ready/backup").mode == 0o700


def test_no_change_is_left_half_done(host):
    assert host.check_output("ls -A /var/lib/gpunode.ready/transactions") == ""
