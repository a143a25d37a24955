# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import files, fstab, swap
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host
from hypothesis import given
from hypothesis import strategies as st

MIB = 1048576
HEADER = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
SWAP_IMG = "/swap.img                               file\t\t131068\t\t0\t\t-2\n"
CRON = swap.CRON_TEXT.format(swapoff="/sbin/swapoff")


class Node:
    """A captured tree, and a kernel that does what swapoff asks of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.asked: list[list[str]] = []
        self.host = Host(str(root))
        self.write("/proc/swaps", HEADER)
        self.write("/proc/meminfo", "MemTotal:        2026028 kB\nMemAvailable:    1800000 kB\n")
        self.write("/etc/fstab", "/dev/vda / ext4 errors=remount-ro 0 1\n")
        for folder in ("/etc/cron.d", "/run/systemd/system", "/etc/systemd/system"):
            self.real(folder).mkdir(parents=True)

    def real(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str) -> None:
        self.real(path).parent.mkdir(parents=True, exist_ok=True)
        self.real(path).write_text(text)

    def run(self, argv, timeout_seconds):
        self.asked.append(list(argv))
        off = argv[2] if argv[0] == "swapoff" else "/dev/zram0" if argv[-1].startswith("systemd-zram-setup") else None
        if off:
            text = self.real("/proc/swaps").read_text()
            self.write("/proc/swaps", "".join(line for line in text.splitlines(True) if not line.startswith(off)))
        return Completed(0, "", "")

    def plan(self, layers=swap.LAYERS) -> swap.Plan:
        return swap.plan(swap.look(self.host), layers)

    def apply(self, layers=swap.LAYERS) -> swap.Done:
        return swap.apply(self.host, self.plan(layers), self.run)


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


@pytest.fixture
def busy(node):
    """Swap from fstab and its generated unit, from a unit of an administrator, and from zram-generator."""
    node.write("/proc/swaps", HEADER + SWAP_IMG + "/dev/zram0 partition\t4194300\t\t1024\t\t100\n")
    node.write("/etc/fstab", "# mine\n/dev/vda / ext4 defaults 0 1\n/swap.img none swap sw 0 0\n")
    node.write("/run/systemd/generator/swap.img.swap", "[Swap]\nWhat=/swap.img\n")
    node.write("/etc/systemd/system/data.swap", "[Swap]\nWhat=/data\n")
    node.write("/usr/lib/systemd/system-generators/zram-generator", "ELF")
    node.write("/usr/lib/systemd/zram-generator.conf", "[zram0]\n")
    return node


def test_a_node_without_swap_gets_the_failsafe_and_nothing_else(node):
    todo = node.plan()

    assert todo.layers() == {
        "live": [],
        "fstab": [],
        "units": [],
        "zram": [],
        "cron": ["wrote /etc/cron.d/gpunode-swapoff"],
    }


def test_swap_goes_off_in_every_layer(busy):
    done = busy.apply()

    assert done.problems == ()
    assert swap.look(busy.host).live == ()
    assert fstab.swap_entries(busy.real("/etc/fstab").read_text()) == []
    for path in (
        "/etc/systemd/system/swap.img.swap",
        "/etc/systemd/system/data.swap",
        "/etc/systemd/system-generators/zram-generator",
    ):
        assert os.readlink(busy.real(path)) == "/dev/null"
    assert busy.real("/etc/cron.d/gpunode-swapoff").read_text() == CRON


def test_what_was_there_is_kept(busy):
    before = busy.real("/etc/fstab").read_text()

    done = busy.apply()

    assert Path(done.fstab_backup).read_text() == before
    assert done.moved == (str(busy.real("/etc/systemd/system/data.swap.gpunode-disabled")),)
    assert Path(done.moved[0]).read_text() == "[Swap]\nWhat=/data\n"


def test_the_order_is_swapoff_then_stop_then_reload(busy):
    busy.apply()

    assert busy.asked == [
        ["swapoff", "--", "/swap.img"],
        ["swapoff", "--", "/dev/zram0"],
        ["systemctl", "stop", "--", "swap.img.swap", "systemd-zram-setup@zram0.service"],
        ["systemctl", "daemon-reload"],
    ]


def test_running_twice_changes_nothing(busy):
    busy.apply()

    assert not busy.plan().changed


@pytest.mark.parametrize("layer", swap.LAYERS)
def test_one_layer_leaves_the_others_alone(busy, layer):
    busy.apply([layer])

    assert not busy.plan([layer]).changed
    untouched = {name for name, told in busy.plan().layers().items() if told}
    assert untouched >= set(swap.LAYERS) - {layer, "live"}


def test_looking_and_planning_write_nothing(busy):
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in busy.root.rglob("*"))

    busy.plan()

    assert sorted((str(path), path.lstat().st_mtime_ns) for path in busy.root.rglob("*")) == before
    assert busy.asked == []


def test_swap_that_does_not_fit_into_memory_is_refused_with_the_figures(busy):
    busy.write("/proc/swaps", f"{HEADER}/swap.img file\t8388608\t\t4194304\t\t-2\n")

    todo = busy.plan()

    assert todo.refusal.startswith(
        "Swap holds 4096 MiB (/swap.img 4096 MiB), and only 1758 MiB of memory are available (MemAvailable in"
    )
    assert "Nothing was changed" in todo.refusal


@pytest.mark.parametrize("layers", [["fstab"], ["cron"], ["fstab", "cron"]])
def test_layers_that_turn_nothing_off_are_not_refused(busy, layers):
    busy.write("/proc/swaps", f"{HEADER}/swap.img file\t8388608\t\t4194304\t\t-2\n")

    assert busy.plan(layers).refusal is None


def test_a_deleted_swap_file_needs_a_reboot_and_is_named(node):
    node.write("/proc/swaps", f"{HEADER}/swap\\040file\\040(deleted) file\t1024\t\t0\t\t-2\n")

    done = node.apply()

    assert done.problems == (
        "/swap file (deleted): this swap file was deleted while in use, so only a reboot turns it off.",
    )


def test_a_swapoff_that_fails_is_named_and_the_rest_is_done(busy):
    todo = busy.plan()

    done = swap.apply(busy.host, todo, lambda argv, limit: Completed(255, "", f"{argv[0]}: Cannot allocate memory\n"))

    assert "swapoff /swap.img: swapoff: Cannot allocate memory" in done.problems
    assert busy.plan().layers()["fstab"] == []


def test_swap_that_came_back_meanwhile_is_turned_off_again(busy):
    def run(argv, limit):
        if argv[:2] == ["systemctl", "stop"]:
            busy.write("/proc/swaps", f"{HEADER}/var/lib/swapspace/1 file\t1024\t\t0\t\t-2\n")
        return busy.run(argv, limit)

    done = swap.apply(busy.host, busy.plan(), run)

    assert done.problems == ()
    assert ["swapoff", "--", "/var/lib/swapspace/1"] in busy.asked


def test_swap_that_will_not_stay_off_is_said(busy):
    done = swap.apply(busy.host, busy.plan(), lambda argv, limit: Completed(0, "", ""))

    assert done.problems == (
        "Swap is still on (/proc/swaps lists /swap.img, /dev/zram0): something turned it on again meanwhile.",
    )


def test_without_cron_the_failsafe_is_left_out_with_a_warning(node):
    node.real("/etc/cron.d").rmdir()

    todo = node.plan()

    assert not todo.changed
    assert todo.warnings[0].startswith("/etc/cron.d is not there")


def test_azures_agent_that_makes_swap_at_each_boot_is_named(node):
    node.write("/etc/waagent.conf", "# agent\nResourceDisk.EnableSwap=y\n")

    assert "/etc/waagent.conf:2 says `ResourceDisk.EnableSwap=y`" in node.plan().warnings[0]


@pytest.mark.parametrize("service", swap.ZRAM_SERVICES)
def test_services_that_make_zram_swap_are_stopped_and_masked(node, service):
    node.write(f"/usr/lib/systemd/system/{service}", "[Service]\n")

    todo = node.plan(["zram"])
    done = node.apply(["zram"])

    assert todo.stop == (service,)
    assert done.problems == ()
    assert os.readlink(node.real(f"/etc/systemd/system/{service}")) == "/dev/null"
    assert not node.plan(["zram"]).changed


def test_without_systemd_nothing_is_asked_of_it(busy):
    busy.real("/run/systemd/system").rmdir()

    busy.apply(["units", "zram"])

    assert busy.asked == []


def test_an_fstab_that_is_a_link_stays_one(busy):
    busy.real("/etc/fstab").rename(busy.real("/etc/fstab.real"))
    busy.real("/etc/fstab").symlink_to("fstab.real")

    busy.apply(["fstab"])

    assert busy.real("/etc/fstab").is_symlink()
    assert fstab.swap_entries(busy.real("/etc/fstab.real").read_text()) == []


def test_an_fstab_that_cannot_be_read_is_not_taken_for_an_empty_one(node):
    node.real("/etc/fstab").unlink()
    node.real("/etc/fstab").mkdir()

    with pytest.raises(files.WriteError, match="cannot be read"):
        swap.look(node.host)


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("swap.img.swap", "/swap.img"),
        ("dev-zram0.swap", "/dev/zram0"),
        ("dev-disk-by\\x2duuid-0b9d\\x2d55.swap", "/dev/disk/by-uuid/0b9d-55"),
        ("m\\xc3\\xbcll-swap.swap", "/müll/swap"),
    ],
)
def test_a_unit_is_named_after_its_area(name, area):
    assert swap._area_of(name) == area


def test_how_each_unit_comes_to_run_is_told(node):
    node.write("/proc/swaps", HEADER + SWAP_IMG)
    node.write("/run/systemd/generator/swap.img.swap", "[Swap]\n")
    node.write("/etc/systemd/system/a.swap", "[Swap]\n")
    node.real("/etc/systemd/system/swap.target.wants").mkdir()
    node.real("/etc/systemd/system/swap.target.wants/a.swap").symlink_to("/etc/systemd/system/a.swap")
    node.write("/usr/lib/systemd/system/b.swap", "[Swap]\n")
    node.write("/usr/lib/systemd/system/c.swap", "[Swap]\n")
    node.real("/etc/systemd/system/c.swap").symlink_to("/dev/null")

    units = {unit.name: (unit.active, unit.enabled) for unit in swap.look(node.host).units}

    assert units == {
        "swap.img.swap": ("active", "generated"),
        "a.swap": ("inactive", "enabled"),
        "b.swap": ("inactive", "disabled"),
        "c.swap": ("inactive", "masked"),
    }


def test_areas_are_read_with_their_sizes():
    areas = swap.live_areas(HEADER + SWAP_IMG + "/my\\040swap partition\t1024\t\t12\t\t-3\n")

    assert areas == [
        swap.Area("/swap.img", "file", 131068 * 1024, 0),
        swap.Area("/my swap", "partition", MIB, 12 * 1024),
    ]


@given(st.text())
def test_no_text_makes_the_readers_raise(text):
    swap.live_areas(text)
    swap.available_memory(text)
    swap.agent_swap(text)
