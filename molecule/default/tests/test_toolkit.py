# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role nvidia_container_toolkit promises whichever runtime is there: it finds the real one by its full path."""

from __future__ import annotations

import pytest
import tomllib

PACKAGES = (
    "nvidia-container-toolkit",
    "nvidia-container-toolkit-base",
    "libnvidia-container-tools",
    "libnvidia-container1",
)


def runtimes(host):
    text = host.file("/etc/nvidia-container-runtime/config.toml").content_string
    return tomllib.loads(text)["nvidia-container-runtime"]["runtimes"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_package_is_held_at_the_version_of_the_others(host, package):
    versions = {host.package(name).version for name in PACKAGES}

    assert len(versions) == 1
    assert package in host.check_output("apt-mark showhold").split()


def test_every_runtime_it_may_hand_over_to_is_a_full_path_to_a_program(host):
    paths = runtimes(host)

    assert paths
    assert [path for path in paths if not (path.startswith("/") and host.run("test -x %s", path).succeeded)] == []


def test_it_finds_the_real_runtime_with_an_empty_path(host):
    answer = host.run("env PATH=/nowhere /usr/bin/python3 /usr/bin/nvidia-container-runtime --version")

    assert answer.succeeded, answer.stderr
