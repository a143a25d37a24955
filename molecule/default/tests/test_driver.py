# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role nvidia_driver promises, asked of the node: installed, held, loaded as installed, kept initialised."""

from __future__ import annotations

import pytest


def loaded(host):
    return host.file("/sys/module/nvidia/version").content_string.strip()


def test_the_driver_loaded_is_the_driver_installed(host):
    installed = host.check_output("modinfo -F version nvidia")

    assert loaded(host) == installed


def test_the_library_is_of_the_version_of_the_module(host):
    library = host.check_output("readlink -f /usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1")

    assert library.endswith(f".so.{loaded(host)}")


def test_an_h200_is_driven_by_the_open_modules(host):
    assert host.check_output("modinfo -F license nvidia") == "Dual MIT/GPL"


@pytest.mark.parametrize("path", ["/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia-uvm"])
def test_the_device_node_is_there(host, path):
    assert host.run("test -c %s", path).succeeded


def test_the_bus_says_who_drives_the_gpu(host):
    drivers = host.check_output("for d in /sys/bus/pci/devices/0001*; do basename $(readlink -f $d/driver); done")

    assert set(drivers.split()) == {"nvidia"}


@pytest.mark.parametrize("package", ["nvidia-kernel-open-dkms", "nvidia-driver-cuda"])
def test_the_package_is_held(host, package):
    assert host.package(package).is_installed
    assert package in host.check_output("apt-mark showhold").split()


def test_the_persistence_daemon_runs_now_and_at_every_boot(host):
    daemon = host.service("nvidia-persistenced")

    assert daemon.is_running
    assert daemon.is_enabled


def test_nouveau_is_forbidden(host):
    assert "blacklist nouveau" in host.check_output("cat /etc/modprobe.d/*.conf /usr/lib/modprobe.d/*.conf")


def test_nvidia_smi_lists_the_gpu(host):
    assert host.check_output("nvidia-smi -L").startswith("GPU 0: NVIDIA H200")
