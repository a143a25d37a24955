# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What host_prep promises, asked of the node itself."""

from __future__ import annotations

import pytest


def test_no_swap_is_in_use(host):
    areas = host.check_output("tail -n +2 /proc/swaps")

    assert areas == ""


def test_fstab_turns_no_swap_on_and_says_nothing_twice(host):
    lines = [line.split() for line in host.file("/etc/fstab").content_string.splitlines()]
    active = [tuple(line) for line in lines if line and not line[0].startswith("#")]

    assert [line for line in active if line[2] == "swap"] == []
    assert len(active) == len(set(active))


def test_the_original_fstab_is_kept(host):
    backups = host.check_output("ls /etc/fstab.gpunode-*").split()

    assert "swap" in host.file(backups[0]).content_string


def test_every_swap_unit_is_masked(host):
    states = host.check_output("systemctl list-unit-files --type=swap --no-legend --plain").split("\n")

    assert {line.split()[1] for line in states if line} == {"masked"}


def test_the_failsafe_runs_after_each_boot(host):
    failsafe = host.file("/etc/cron.d/gpunode-swapoff")

    assert failsafe.contains("^@reboot root /.*/swapoff -a$")
    assert (failsafe.user, failsafe.mode) == ("root", 0o644)
    assert host.service("cron").is_running


@pytest.mark.parametrize("module", ["overlay", "br_netfilter"])
def test_modules_are_loaded_and_will_be(host, module):
    assert host.file(f"/sys/module/{module}").is_directory
    assert host.file("/etc/modules-load.d/gpunode.conf").contains(f"^{module}$")


@pytest.mark.parametrize(
    "name", ["net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-call-ip6tables", "net.ipv4.ip_forward"]
)
def test_sysctls_are_set_and_systemd_would_set_them_again(host, name):
    read_at_boot = host.check_output("/lib/systemd/systemd-sysctl --cat-config")
    last = [line.split("=")[1].strip() for line in read_at_boot.splitlines() if line.split("=")[0].strip() == name][-1]

    assert host.sysctl(name) == 1
    assert last == "1"


def test_no_temporary_file_is_left(host):
    assert host.check_output("find /etc /run/gpunode.ready -name '.*.gpunode-*'") == ""
