# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What role docker promises, and the nvidia runtime in it, asked of the daemon itself."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="module")
def daemon(host):
    """What `docker info` knows."""
    return json.loads(host.check_output("docker info --format '{{json .}}'"))


def test_docker_runs_now_and_at_every_boot(host):
    service = host.service("docker")

    assert service.is_running
    assert service.is_enabled


def test_cgroups_are_systemds(daemon):
    assert (daemon["CgroupDriver"], daemon["CgroupVersion"]) == ("systemd", "2")


def test_the_nvidia_runtime_is_known_and_not_the_default(daemon):
    assert "nvidia" in daemon["Runtimes"]
    assert daemon["DefaultRuntime"] == "runc"


def test_logs_are_rotated(host):
    settings = json.loads(host.file("/etc/docker/daemon.json").content_string)

    assert settings["log-opts"]["max-size"] == "10m"
