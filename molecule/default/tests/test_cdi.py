# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role cdi promises, asked of the node: a true spec, one writer, before any runtime."""

from __future__ import annotations

import pytest

SPEC = "/var/run/cdi/nvidia.yaml"
UNITS = ("gpunode-cdi-refresh.service", "gpunode-cdi-refresh.path")
VENDOR_UNITS = ("nvidia-cdi-refresh.service", "nvidia-cdi-refresh.path")


def property_of(host, unit, name):
    return host.check_output("systemctl show --value --property=%s %s", name, unit).split()


def test_the_spec_names_a_device_for_each_gpu_and_all(host):
    spec = host.file(SPEC)
    gpus = host.check_output("nvidia-smi -L").splitlines()

    assert (spec.user, spec.group, spec.mode) == ("root", "root", 0o644)
    for index in range(len(gpus)):
        assert spec.contains(f'name: "{index}"')
    assert spec.contains("name: all")
    assert spec.contains("kind: nvidia.com/gpu")


def test_every_device_node_in_the_spec_exists(host):
    nodes = host.check_output("grep -o 'path: /dev/[^ ]*' %s | sort -u", SPEC).replace("path: ", "").split()

    assert "/dev/nvidiactl" in nodes
    assert [node for node in nodes if not host.run("test -c %s", node).succeeded] == []


def test_every_file_in_the_spec_exists(host):
    files = host.check_output("grep -o 'hostPath: /[^ ]*' %s | sort -u", SPEC).replace("hostPath: ", "").split()

    assert [path for path in files if not host.file(path).exists] == []


def test_the_spec_was_written_for_the_loaded_driver(host):
    version = host.file("/sys/module/nvidia/version").content_string.strip()

    assert host.file(SPEC).contains(f"libnvidia-ml.so.{version}")


def test_no_second_spec_defines_nvidias_devices(host):
    found = host.run(
        "grep -l 'kind: nvidia.com/gpu' /etc/cdi/*.yaml /etc/cdi/*.json /var/run/cdi/*.yaml"
    ).stdout.split()

    assert found == [SPEC]


@pytest.mark.parametrize("unit", UNITS)
def test_the_refresh_starts_at_boot(host, unit):
    assert host.service(unit).is_enabled


def test_the_refresh_watches_from_now_on(host):
    assert host.service("gpunode-cdi-refresh.path").is_running


@pytest.mark.parametrize("unit", VENDOR_UNITS)
def test_there_is_no_second_writer(host, unit):
    assert not host.service(unit).is_enabled


@pytest.mark.parametrize("runtime", ["containerd.service", "crio.service", "docker.service", "kubelet.service"])
def test_the_refresh_comes_before_any_runtime(host, runtime):
    assert runtime in property_of(host, "gpunode-cdi-refresh.service", "Before")


def test_the_units_are_what_systemd_takes(host):
    for unit in UNITS:
        answer = host.run("systemd-analyze verify /etc/systemd/system/%s", unit)
        assert unit not in answer.stderr


def test_a_spec_that_is_lost_comes_back_by_the_unit(host):
    host.check_output("rm -f %s", SPEC)

    host.check_output("systemctl start gpunode-cdi-refresh.service")

    assert host.file(SPEC).contains("kind: nvidia.com/gpu")
