# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role crio promises, and the nvidia handler in it, asked of CRI-O (a fixture of its executable) itself."""

from __future__ import annotations

import pytest
import tomllib


@pytest.fixture(scope="module")
def configuration(host):
    """The configuration in force, as the running daemon tells it."""
    return tomllib.loads(host.check_output("crio status config"))


def test_crio_runs_now_and_at_every_boot(host):
    service = host.service("crio")

    assert service.is_running
    assert service.is_enabled


def test_the_package_is_held(host):
    assert "cri-o" in host.check_output("apt-mark showhold").split()


def test_cgroups_are_systemds(host):
    assert "cgroup driver: systemd" in host.check_output("crio status info")


@pytest.mark.parametrize("key", ["runtime_path", "monitor_path"])
def test_the_nvidia_handler_names_its_program_by_full_path(host, configuration, key):
    path = configuration["crio"]["runtime"]["runtimes"]["nvidia"][key]

    assert path.startswith("/")
    assert host.run("test -x %s", path).succeeded


def test_the_default_handler_is_still_crun(configuration):
    assert configuration["crio"]["runtime"]["default_runtime"] == "crun"


def test_no_example_network_is_in_the_way(host):
    assert [
        name for name in host.file("/etc/cni/net.d").listdir() if "crio-bridge" in name and "disabled" not in name
    ] == []
