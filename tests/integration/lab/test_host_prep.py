# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""host_prep on a real guest: a kernel that swaps, systemd that generates units, reboots that really happen.

The tests tell one story, in order, on one guest: bare, checked, converged, rebooted, then damaged in every way that a
node was seen to be damaged. `GPUNODE_LAB_NODE=name` takes a guest that is there and keeps it; it must be bare.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(CHECKOUT / "tests" / "lab"))

ANSIBLE_PLAYBOOK = Path(sys.executable).parent / "ansible-playbook"
SYSCTLS = (
    "net.bridge.bridge-nf-call-iptables",
    "net.bridge.bridge-nf-call-ip6tables",
    "net.ipv4.ip_forward",
)
# What a person would find changed: names, modes, links and bytes of everything that configures the node.
TREE = (
    r"find /etc /boot /usr/lib/systemd /usr/lib/sysctl.d /usr/lib/modules-load.d -xdev -printf '%p %m %U %G %l\n' "
    r"| sort; find /etc -xdev -type f -print0 | sort -z | xargs -0 sha256sum; cat /proc/swaps; ls /sys/module; "
    "sysctl -n net.ipv4.ip_forward"
)

pytestmark = [
    pytest.mark.stage("guest"),
    pytest.mark.lab,
    pytest.mark.skipif(not shutil.which("qemu-system-x86_64"), reason="needs QEMU: bash tests/lab/install_packages.sh"),
    pytest.mark.skipif(not ANSIBLE_PLAYBOOK.exists(), reason="needs Ansible beside this Python: make venv"),
]


class Guest:
    """A lab node, and Ansible pointed at it."""

    def __init__(self, node, folder: Path) -> None:
        self.node = node
        self.folder = folder

    def ssh(self, command: str, timeout: float = 300) -> str:
        return self.node.ssh(command, timeout)

    def play(self, *arguments: str, tasks=(), roles=(), fails=False, **variables) -> dict:
        """Run one play; what Ansible's JSON callback says of it."""
        inventory = self.folder / "hosts.json"
        hosts = {"guest": self.node.inventory()}
        inventory.write_text(json.dumps({"gpu_nodes": {"hosts": hosts}}))
        configuration = self.folder / "ansible.cfg"
        configuration.write_text("[defaults]\nstdout_callback = ansible.posix.json\npipelining = True\n")
        playbook = self.folder / "play.json"
        play = {"hosts": "gpu_nodes", "gather_facts": False, "become": True, "vars": variables}
        playbook.write_text(json.dumps([{**play, "roles": list(roles), "tasks": list(tasks)}]))
        done = subprocess.run(
            [str(ANSIBLE_PLAYBOOK), "-i", str(inventory), str(playbook), *arguments],
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(configuration),
                "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
            },
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout[-8000:] + done.stderr[-4000:]
        return json.loads(done.stdout[done.stdout.index("{") :])

    def role(self, *arguments: str, **variables) -> dict:
        return self.play(*arguments, roles=["gpunode.ready.host_prep"], **variables)

    def module(self, name: str, /, *arguments: str, fails: bool = False, **options) -> dict:
        task = {"name": "Try it", f"gpunode.ready.{name}": options}
        return results(self.play(*arguments, tasks=[task], fails=fails))["Try it"]


def results(answer: dict) -> dict[str, dict]:
    return {task["task"]["name"]: task["hosts"]["guest"] for play in answer["plays"] for task in play["tasks"]}


def changed(answer: dict) -> int:
    return answer["stats"]["guest"]["changed"]


@pytest.fixture(scope="module")
def guest(tmp_path_factory):
    from node import Node

    kept = os.environ.get("GPUNODE_LAB_NODE")
    node = Node(kept or "test-host-prep")
    if not kept:
        node.down()
    if not node.running:
        node.up()
    yield Guest(node, tmp_path_factory.mktemp("guest"))
    if not kept:
        node.down()


@pytest.fixture(scope="module")
def story():
    """What later chapters compare with."""
    return {}


def test_the_bare_guest_swaps(guest):
    assert "/swap.img" in guest.ssh("cat /proc/swaps")
    assert guest.ssh("grep -c '^/swap.img' /etc/fstab").strip() == "2"


@pytest.mark.case(32, "host_prep --check --diff on a bare node")
def test_check_mode_leaves_the_node_as_it_is(guest, story):
    before = guest.ssh(TREE)

    story["predicted"] = guest.role("--check", "--diff")

    assert guest.ssh(TREE) == before
    assert changed(story["predicted"]) == 2


@pytest.mark.case(32, "host_prep: predictions match the real run")
def test_the_real_run_does_what_was_predicted(guest, story):
    story["real"] = guest.role("--diff")

    predicted, real = results(story["predicted"]), results(story["real"])
    for name, result in real.items():
        if "verify" not in name:
            for key in ("changed", "diff", "layers", "loaded", "set", "files"):
                assert result.get(key) == predicted[name].get(key), (name, key)
    assert guest.ssh("tail -n +2 /proc/swaps") == ""
    assert [guest.ssh(f"sysctl -n {name}").strip() for name in SYSCTLS] == ["1", "1", "1"]


@pytest.mark.case(31, "host_prep twice")
def test_running_twice_changes_nothing(guest):
    assert changed(guest.role()) == 0


@pytest.mark.case(19, "duplicate swap lines in fstab, and a reboot")
def test_all_of_it_outlives_a_reboot(guest):
    guest.node.reboot()

    assert guest.ssh("tail -n +2 /proc/swaps") == ""
    assert [guest.ssh(f"sysctl -n {name}").strip() for name in SYSCTLS] == ["1", "1", "1"]
    assert "failed" not in guest.ssh("systemctl list-units --failed --plain --no-legend")
    assert "masked" in guest.ssh("systemctl list-unit-files --type=swap --no-legend")
    assert changed(guest.role()) == 0


def test_the_original_fstab_is_kept(guest):
    backups = guest.ssh("ls /etc/fstab.gpunode-*").split()

    assert len(backups) == 1
    assert guest.ssh(f"grep -c '^/swap.img' {backups[0]}").strip() == "2"


def test_all_at_once_damaged_it_is_mended_and_stays_so(guest):
    guest.ssh(
        "swapon /swap.img; sed -i 's/^# gpunode.ready, swap off: //' /etc/fstab; "
        "sysctl -w net.ipv4.ip_forward=0; rm /etc/modules-load.d/gpunode.conf; rmmod br_netfilter; "
        "echo net.ipv4.ip_forward=0 >> /etc/sysctl.conf; rm -f /etc/cron.d/gpunode-swapoff"
    )

    answer = guest.role()
    guest.node.reboot()

    assert changed(answer) == 2
    assert guest.ssh("tail -n +2 /proc/swaps") == ""
    assert guest.ssh("sysctl -n net.ipv4.ip_forward").strip() == "1"
    assert guest.ssh("ls /sys/module/br_netfilter/initstate")
    assert guest.ssh("ls /etc/sysctl.d").split() == ["99-sysctl.conf", "99-zz-gpunode.conf", "README.sysctl"]
    assert changed(guest.role()) == 0


@pytest.mark.case(19, "swap by a unit of the administrator's, and a reboot")
def test_swap_of_an_administrators_own_unit_stays_off_and_the_unit_is_kept(guest):
    guest.ssh(
        "dd if=/dev/zero of=/data.img bs=1M count=16 status=none; chmod 600 /data.img; mkswap -q /data.img; "
        r"printf '[Swap]\nWhat=/data.img\n[Install]\nWantedBy=swap.target\n' > /etc/systemd/system/data.img.swap; "
        "systemctl daemon-reload; systemctl enable --now data.img.swap"
    )

    result = guest.module("swap")
    guest.node.reboot()

    assert result["layers"]["live"] == ["turned off /data.img"]
    assert guest.ssh("tail -n +2 /proc/swaps") == ""
    assert "What=/data.img" in guest.ssh("cat /etc/systemd/system/data.img.swap.gpunode-disabled")
    assert not guest.module("swap")["changed"]


@pytest.mark.parametrize("package", ["zram-tools", "systemd-zram-generator"])
@pytest.mark.case(19, "swap by zram, two packages of it, and a reboot")
def test_zram_swap_stays_off(guest, package):
    guest.ssh(
        f"DEBIAN_FRONTEND=noninteractive apt-get -qq update && apt-get -qqy install {package}; "
        r"printf '[zram0]\nzram-size = 64\n' > /etc/systemd/zram-generator.conf; "
        "systemctl daemon-reload; systemctl start zramswap systemd-zram-setup@zram0 dev-zram0.swap || true",
        timeout=600,
    )
    before = guest.ssh("cat /proc/swaps")

    result = guest.module("swap")
    guest.node.reboot()

    assert "/dev/zram0" in before
    assert result["layers"]["zram"] != []
    assert guest.ssh("tail -n +2 /proc/swaps") == ""
    assert not guest.module("swap")["changed"]


@pytest.mark.case(0, "swap that does not fit into memory")
def test_swap_that_does_not_fit_into_memory_is_refused_and_left_on(guest):
    guest.ssh(
        "swapon /swap.img; sysctl -qw vm.swappiness=200; mount -o remount,size=100% /dev/shm\n"
        "cat > /tmp/fill.sh <<'END'\n"
        "for number in $(seq 1 160); do\n"
        "  dd if=/dev/zero of=/dev/shm/fill.$number bs=1M count=16 status=none || exit 0\n"
        "  used=$(awk 'NR > 1 {sum += $4} END {print sum + 0}' /proc/swaps)\n"
        "  free=$(awk '/MemAvailable/ {print $2}' /proc/meminfo)\n"
        '  [ "$used" -gt "$((free + 4096))" ] && exit 0\n'
        "done\nexit 0\nEND\nsh /tmp/fill.sh",
        timeout=600,
    )

    result = guest.module("swap", fails=True)
    still = guest.ssh("cat /proc/swaps")
    guest.ssh("rm /dev/shm/fill.*; swapoff -a; sysctl -qw vm.swappiness=60")

    assert result["msg"].startswith("Swap holds ")
    assert "MiB of memory are available" in result["msg"]
    assert not result["changed"]
    assert "/swap.img" in still


@pytest.mark.case(20, "an immutable /etc/fstab")
def test_an_immutable_fstab_is_named_and_the_other_layers_are_done(guest):
    guest.ssh("sed -i 's/^# gpunode.ready, swap off: //' /etc/fstab; chattr +i /etc/fstab; swapon /swap.img")

    result = guest.module("swap", fails=True)
    guest.ssh("chattr -i /etc/fstab")
    mended = guest.module("swap")

    assert "chattr -i /etc/fstab" in result["msg"]
    assert guest.ssh("tail -n +2 /proc/swaps") == ""
    assert mended["layers"]["fstab"] == ["/etc/fstab: 1 line dropped as a repetition"] or mended["layers"]["fstab"]
    assert mended["layers"]["live"] == []


@pytest.mark.case(0, "a kernel module that hardening forbids")
def test_a_module_forbidden_by_hardening_names_the_line(guest):
    guest.ssh("echo 'install dummy /bin/false' > /etc/modprobe.d/hardening.conf")

    result = guest.module("kernel_settings", fails=True, name="other", modules=["dummy"])

    assert "/etc/modprobe.d/hardening.conf:1 forbids it" in result["msg"]


def test_a_module_that_the_kernel_lacks_names_kernel_and_package(guest):
    release = guest.ssh("uname -r").strip()

    result = guest.module("kernel_settings", fails=True, name="other", modules=["no_such_module"])

    assert f"cannot be loaded into the running kernel {release}" in result["msg"]
    assert f"dpkg -V linux-image-{release}" in result["msg"]


@pytest.mark.case(0, "a sysctl value that the kernel refuses")
def test_a_value_that_the_kernel_refuses_is_not_persisted_and_the_rest_is(guest):
    settings = {"kernel.panic": "many", "kernel.panic_on_oops": 1}

    result = guest.module("kernel_settings", fails=True, name="other", sysctls=settings)

    assert "sysctl kernel.panic: the kernel refuses 'many'" in result["msg"]
    assert "kernel.panic_on_oops = 1" in guest.ssh("cat /etc/sysctl.d/99-other.conf")
    assert "many" not in guest.ssh("cat /etc/sysctl.d/99-other.conf")


def test_debugfs_stands_in_fstab_once(guest):
    guest.ssh("umount /sys/kernel/debug || true; echo 'debugfs /sys/kernel/debug debugfs defaults 0 0' >> /etc/fstab")
    guest.ssh("echo 'none /sys/kernel/debug debugfs defaults 0 0' >> /etc/fstab")

    result = guest.module("kernel_settings", name="other", debugfs=True)

    assert result["debugfs_mounted"]
    assert guest.ssh("grep -c debugfs /etc/fstab").strip() == "1"
    assert "debugfs" in guest.ssh("findmnt -n -o FSTYPE /sys/kernel/debug")


def test_services_are_enabled_and_started_once(guest):
    guest.ssh("systemctl disable --now cron")

    first = guest.role(host_prep_services_enabled=["cron", "ssh"])
    second = guest.role(host_prep_services_enabled=["cron", "ssh"])

    assert guest.ssh("systemctl is-enabled cron; systemctl is-active cron").split() == ["enabled", "active"]
    assert (changed(first), changed(second)) == (1, 0)


@pytest.mark.case(29, "a second holder of the lock, and a reboot")
def test_a_second_run_is_refused_by_name_until_the_first_ends_or_the_node_reboots(guest):
    held = guest.module("run_lock", holder="ada@control", run_id="1")
    refused = guest.module("run_lock", fails=True, holder="bob@control", run_id="2")
    again = guest.module("run_lock", holder="ada@control", run_id="1")
    mode = guest.ssh("stat -c '%a %U' /run/gpunode.ready/lock.json").split()
    guest.node.reboot()
    free = guest.module("run_lock", holder="bob@control", run_id="2")

    assert held["held"]
    assert again["held"]
    assert "being changed by ada@control (run 1)" in refused["msg"]
    assert mode == ["600", "root"]
    assert free["why"] == "free"
