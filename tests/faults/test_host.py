# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host can do to us: swap that comes back, settings that drift, files that cannot be written."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.stage("guest")

DRIFT = """
set -e
fallocate -l 64M /swap.drift && chmod 600 /swap.drift && mkswap -q /swap.drift && swapon /swap.drift
rm -f /etc/sysctl.d/99-gpunode.conf && sysctl -qw net.ipv4.ip_forward=0
modprobe -r br_netfilter
rm -f /var/run/cdi/nvidia.yaml /etc/cdi/nvidia.yaml
rm -f /usr/bin/runc
"""

SWAP_BY_UNIT_AND_FSTAB = r"""
set -e
fallocate -l 64M /swap && chmod 600 /swap && mkswap -q /swap
printf '[Swap]\nWhat=/swap\n[Install]\nWantedBy=swap.target\n' > /etc/systemd/system/swap.swap
systemctl daemon-reload && systemctl enable -q --now swap.swap
echo '/swap none swap sw 0 0' >> /etc/fstab
echo '/swap none swap sw 0 0' >> /etc/fstab
"""


@pytest.mark.case(31, "a second run")
def test_a_second_run_changes_nothing(bench, figure):
    again = bench.play()

    figure("changed tasks on the second run", again.changed)
    assert again.rc == 0, again.text
    assert again.changed == 0, again.text
    assert "RUNNING HANDLER" not in again.text


@pytest.mark.case(
    0, "swap turned on, a sysctl removed, br_netfilter unloaded, the CDI spec and the link to runc deleted, all at once"
)
def test_repair_mends_all_that_drifted_and_nothing_else(bench):
    before = bench.tree()
    bench.ssh(DRIFT)
    drifted = bench.tree()

    repaired = bench.play(playbook="repair.yml", nvidia_container_toolkit_runtime_links=True)

    assert drifted != before
    assert repaired.rc == 0, repaired.text
    assert "nvidia_driver :" not in repaired.text
    assert "containerd :" not in repaired.text
    bench.ssh("rm -f /swap.drift; /usr/bin/runc --version")
    assert bench.tree() == before


@pytest.mark.case(19, "swap by a unit and by duplicate fstab lines, and a reboot")
def test_swap_stays_off_through_a_reboot(bench):
    original = bench.ssh("cat /etc/fstab")
    bench.ssh(SWAP_BY_UNIT_AND_FSTAB)

    run = bench.play("--tags", "host")
    bench.node.reboot()

    assert run.rc == 0, run.text
    assert bench.ssh("tail -n +2 /proc/swaps").strip() == ""
    kept = bench.ssh("cat /etc/fstab")
    assert [line for line in original.splitlines() if line not in kept] == []


@pytest.mark.case(20, "/etc/fstab cannot be written (immutable)")
def test_a_file_that_cannot_be_written_is_named_and_the_rest_is_consistent(bench):
    bench.ssh("echo '/swap2 none swap sw 0 0' >> /etc/fstab && chattr +i /etc/fstab")

    try:
        refused = bench.play("--tags", "host")
    finally:
        bench.ssh("chattr -i /etc/fstab")
    mended = bench.play("--tags", "host")

    assert refused.rc != 0
    assert "/etc/fstab" in refused.text
    assert "chattr -i" in refused.words
    assert mended.rc == 0, mended.text


@pytest.mark.case(28, "three reboots after success")
def test_three_reboots_leave_the_node_ready(bench, figure):
    ready = []
    for _boot in range(3):
        bench.node.reboot()
        ready.append(bench.play(playbook="verify.yml").rc == 0)

    figure("reboots survived", f"{sum(ready)}/3")
    assert ready == [True, True, True]


@pytest.mark.case(0, "the power is cut in the middle of a run")
def test_a_power_cut_loses_nothing(bench):
    bench.ssh("rm -f /etc/sysctl.d/99-gpunode.conf /etc/modules-load.d/gpunode.conf /var/run/cdi/nvidia.yaml; sync")
    run = bench.start("--tags", "host,cdi")
    for line in run.stdout:
        if line.startswith("TASK [gpunode.ready.host_prep : kernel"):
            break
    bench.node.cut_power()
    run.communicate(timeout=300)
    bench.node.up()

    again = bench.play("--tags", "host,cdi")

    assert again.rc == 0, again.text
    assert bench.play(playbook="verify.yml").rc == 0
