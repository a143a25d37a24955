# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Docker on a node: asked itself, not our files."""

from __future__ import annotations

import json

import pytest


@pytest.fixture(scope="module")
def info(host):
    return json.loads(host.check_output("docker info --format '{{json .}}'"))


def test_docker_runs_now_and_at_every_boot(host):
    service = host.service("docker")

    assert service.is_running
    assert service.is_enabled


def test_its_packages_are_held(host):
    assert "docker.io" in host.check_output("apt-mark showhold").split()


def test_it_uses_the_systemd_cgroup_driver(info):
    assert info["CgroupDriver"] == "systemd"


def test_it_knows_the_nvidia_handler_and_runc_still_is_the_default(info):
    assert info["Runtimes"]["nvidia"]["path"] == "/usr/bin/nvidia-container-runtime"
    assert info["DefaultRuntime"] == "runc"


def test_logs_are_rotated(host, info):
    daemon = json.loads(host.file("/etc/docker/daemon.json").content_string)

    assert info["LoggingDriver"] == "json-file"
    assert daemon["log-opts"] == {"max-size": "10m", "max-file": "3"}


def test_no_change_is_left_half_done(host):
    assert host.check_output("ls -A /var/lib/gpunode.ready/transactions") == ""
