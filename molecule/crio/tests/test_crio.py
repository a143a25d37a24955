# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CRI-O on a node: asked itself, not our files."""

from __future__ import annotations

import pytest

HANDLER = "/etc/crio/crio.conf.d/99-nvidia.conf"


@pytest.fixture(scope="module")
def config(host):
    return host.check_output("crio config 2>/dev/null")


def test_crio_runs_now_and_at_every_boot(host):
    service = host.service("crio")

    assert service.is_running
    assert service.is_enabled


def test_its_package_is_held_at_its_minor(host):
    assert host.package("cri-o").version.startswith("1.36.")
    assert "cri-o" in host.check_output("apt-mark showhold").split()


def test_its_socket_is_there(host):
    assert host.file("/run/crio/crio.sock").is_socket


def test_it_uses_the_systemd_cgroup_driver(config):
    assert 'cgroup_manager = "systemd"' in config


def test_the_handler_names_conmon_where_it_lies(host):
    handler = host.file(HANDLER)

    assert handler.contains('monitor_path = "/usr/libexec/crio/conmon"')
    assert handler.contains('runtime_type = "oci"')
    assert handler.contains('runtime_path = "/usr/bin/nvidia-container-runtime"')
    assert host.file("/usr/libexec/crio/conmon").is_executable


def test_the_toolkit_hands_over_to_crios_own_runtimes(host):
    config = host.file("/etc/nvidia-container-runtime/config.toml").content_string

    assert "/usr/libexec/crio/crun" in config


def test_the_vendors_drop_in_is_untouched(host):
    assert host.run("dpkg --verify cri-o").stdout.count("/etc/crio/crio.conf.d/10-crio.conf") == 0


def test_the_example_network_is_not_in_force(host):
    found = host.check_output("ls /etc/cni/net.d").split()

    assert [name for name in found if "crio" in name and name.endswith((".conf", ".conflist"))] == []


def test_no_change_is_left_half_done(host):
    assert host.check_output("ls -A /var/lib/gpunode.ready/transactions") == ""
