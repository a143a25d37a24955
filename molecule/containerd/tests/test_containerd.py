# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role containerd promises, and the nvidia handler in it, asked of containerd itself."""

from __future__ import annotations

import pytest
import tomllib

CRI = "io.containerd.grpc.v1.cri"


@pytest.fixture(scope="module")
def configuration(host):
    """What containerd makes of all its files."""
    return tomllib.loads(host.check_output("containerd config dump"))


def test_containerd_runs_now_and_at_every_boot(host):
    service = host.service("containerd")

    assert service.is_running
    assert service.is_enabled


@pytest.mark.parametrize("handler", ["runc", "nvidia"])
def test_the_handler_uses_systemd_cgroups(configuration, handler):
    options = configuration["plugins"][CRI]["containerd"]["runtimes"][handler]["options"]

    assert options["SystemdCgroup"] is True


def test_the_nvidia_handler_names_its_runtime_by_full_path(host, configuration):
    nvidia = configuration["plugins"][CRI]["containerd"]["runtimes"]["nvidia"]

    assert nvidia["runtime_type"] == "io.containerd.runc.v2"
    assert host.run("test -x %s", nvidia["options"]["BinaryName"]).succeeded


def test_the_default_handler_is_still_runc(configuration):
    assert configuration["plugins"][CRI]["containerd"]["default_runtime_name"] == "runc"


def test_the_cri_plugin_is_loaded(host):
    plugins = host.check_output("ctr plugins ls")

    assert [line.split()[-1] for line in plugins.splitlines() if " cri " in line] == ["ok"]
