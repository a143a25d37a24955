# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.facts import kernel
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host

DATA = Path(__file__).parent.parent / "data"


def node(tmp_path: Path, files: dict[str, str]) -> Host:
    for path, text in files.items():
        real = tmp_path / path.lstrip("/")
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_text(text)
    return Host(str(tmp_path))


def test_swap_of_a_fresh_guest(tmp_path):
    host = node(
        tmp_path,
        {
            "/proc/swaps": "Filename Type Size Used Priority\n/swap.img file 131068 12 -2\n",
            "/etc/fstab": (DATA / "fstab" / "lab-debian-12.txt").read_text(),
            "/run/systemd/generator/swap.img.swap": "[Swap]\nWhat=/swap.img\n",
        },
    )

    assert kernel.swap(host) == {
        "live": [{"path": "/swap.img", "type": "file", "size_bytes": 134213632, "used_bytes": 12288}],
        "fstab": [
            {"line": 4, "text": "/swap.img none swap sw 0 0"},
            {"line": 6, "text": "/swap.img none swap sw 0 0"},
        ],
        "fstab_duplicates": [{"line": 6, "text": "/swap.img none swap sw 0 0"}],
        "units": [{"name": "swap.img.swap", "active": "active", "enabled": "generated"}],
        "zram": {"installed": False, "configured_in": [], "masked": False},
        "cron_failsafe": None,
    }


def test_zram_is_installed_configured_and_not_masked(tmp_path):
    host = node(
        tmp_path,
        {
            "/usr/lib/systemd/system-generators/zram-generator": "ELF",
            "/usr/lib/systemd/zram-generator.conf": "[zram0]\n",
            "/etc/systemd/zram-generator.conf.d/size.conf": "[zram0]\n",
        },
    )

    assert kernel.swap(host)["zram"] == {
        "installed": True,
        "configured_in": [
            "/etc/systemd/zram-generator.conf.d/size.conf",
            "/usr/lib/systemd/zram-generator.conf",
        ],
        "masked": False,
    }


def test_a_module_is_told_with_where_it_comes_from(tmp_path):
    host = node(
        tmp_path,
        {
            "/sys/module/br_netfilter/initstate": "live\n",
            "/sys/module/tcp_cubic/parameters/x": "1\n",
            "/sys/module/virtio_net/initstate": "live\n",
            "/proc/filesystems": "nodev\toverlay\n",
            "/etc/modules-load.d/k8s.conf": "br-netfilter\nmissing_one\n",
        },
    )

    modules = kernel.modules(host)

    persisted = ["/etc/modules-load.d/k8s.conf"]
    assert modules["br_netfilter"] == {"loaded": True, "builtin": False, "persisted_in": persisted}
    assert modules["overlay"] == {"loaded": True, "builtin": True, "persisted_in": []}
    assert modules["missing_one"] == {"loaded": False, "builtin": False, "persisted_in": persisted}
    assert modules["virtio_net"]["loaded"]
    assert not modules["nvidia"]["loaded"]


def test_a_sysctl_is_told_live_and_persisted(tmp_path):
    host = node(
        tmp_path,
        {
            "/proc/sys/net/ipv4/ip_forward": "0\n",
            "/proc/sys/kernel/panic": "0\n",
            "/etc/sysctl.d/99-k8s.conf": "net/ipv4/ip_forward=1\nkernel.custom = 4\t5\n",
        },
    )

    sysctls = kernel.sysctls(host)

    path = "/etc/sysctl.d/99-k8s.conf"
    assert sysctls["net.ipv4.ip_forward"] == {"live": "0", "persisted": "1", "persisted_in": path}
    assert sysctls["kernel.custom"] == {"live": None, "persisted": "4 5", "persisted_in": path}
    assert sysctls["kernel.panic"] == {"live": "0", "persisted": None, "persisted_in": None}


def test_headers_releases_and_debugfs(tmp_path):
    host = node(
        tmp_path,
        {
            "/proc/sys/kernel/osrelease": "6.1.0-2\n",
            "/lib/modules/6.1.0-1/modules.dep": "",
            "/lib/modules/6.1.0-2/build/Makefile": "",
            "/proc/mounts": "debugfs /sys/kernel/debug debugfs rw 0 0\n",
        },
    )

    facts = kernel.kernel(host)

    assert facts["headers"] == {"path": "/lib/modules/6.1.0-2/build", "present": True}
    assert facts["releases"] == ["6.1.0-1", "6.1.0-2"]
    assert facts["debugfs"] == {"mounted": True, "in_fstab": False}


def test_this_machine_can_be_looked_at():
    host = Host()

    assert isinstance(kernel.swap(host)["live"], list)
    assert "overlay" in kernel.kernel(host)["modules"]


def test_an_initramfs_does_not_know_what_was_written_after_it(tmp_path):
    host = node(
        tmp_path,
        {
            "/proc/sys/kernel/osrelease": "6.1.0-1\n",
            "/boot/initrd.img-6.1.0-1": "cpio",
            "/etc/modprobe.d/older.conf": "blacklist pcspkr\n",
            "/etc/modprobe.d/newer.conf": "blacklist nouveau\n",
        },
    )
    os.utime(tmp_path / "etc/modprobe.d/older.conf", (1000, 1000))
    os.utime(tmp_path / "boot/initrd.img-6.1.0-1", (2000, 2000))
    os.utime(tmp_path / "etc/modprobe.d/newer.conf", (3000, 3000))

    facts = kernel.kernel(host)

    assert facts["initramfs"] == {"path": "/boot/initrd.img-6.1.0-1", "older_than": ["/etc/modprobe.d/newer.conf"]}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"/boot/initramfs-6.1.0-1.img": ""}, "/boot/initramfs-6.1.0-1.img"),
        ({"/boot/initramfs-linux-lts.img": "", "/lib/modules/6.1.0-1/pkgbase": "linux-lts\n"}, "linux-lts"),
        ({"/boot/initrd.img-5.10.0-9": ""}, None),
    ],
    ids=["dracut", "arch", "only of another kernel"],
)
def test_the_initramfs_is_that_of_the_running_kernel(tmp_path, files, expected):
    host = node(tmp_path, {"/proc/sys/kernel/osrelease": "6.1.0-1\n", **files})

    found = kernel.kernel(host)["initramfs"]

    assert found is None if expected is None else expected in found["path"]
