# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The kernel as it would be without us: files gone, our values and modules with them, those of others kept."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import kernel_settings as settings
from ansible_collections.gpunode.ready.plugins.module_utils import kernel_settings_undo as undo
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host

BRINGS = {"br_netfilter": ["br_netfilter", "bridge"], "overlay": ["overlay"]}
FSTAB = "/dev/vda / ext4 defaults 0 1"


class Node:
    """A captured tree with modules that use one another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = Host(str(root))
        self.write("/proc/sys/kernel/osrelease", "6.1.0\n")
        self.write("/proc/sys/net/ipv4/ip_forward", "0\n")
        self.write("/proc/self/mounts", "")
        self.write("/etc/fstab", FSTAB)
        for folder in ("/etc/modules-load.d", "/etc/sysctl.d", "/var/lib"):
            (root / folder.lstrip("/")).mkdir(parents=True)

    def real(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str) -> None:
        self.real(path).parent.mkdir(parents=True, exist_ok=True)
        self.real(path).write_text(text)

    def text(self, path: str) -> str:
        return self.real(path).read_text()

    def run(self, argv, timeout_seconds):
        if argv[0] == "modprobe":
            for name in BRINGS[argv[2]]:
                self.write(f"/sys/module/{name}/initstate", "live\n")
                self.write(f"/sys/module/{name}/refcnt", "1\n" if name == "bridge" else "0\n")
            if argv[2] == "br_netfilter":
                self.write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0\n")
        elif argv[0] == "rmmod":
            shutil.rmtree(self.real(f"/sys/module/{argv[1]}"))
            if argv[1] == "br_netfilter" and self.real("/sys/module/bridge").exists():
                self.write("/sys/module/bridge/refcnt", "0\n")
        return Completed(0, "", "")

    def present(self, **given) -> None:
        sysctls = {"net.bridge.bridge-nf-call-iptables": 1, "net.ipv4.ip_forward": 1}
        wants = {"name": "gpunode", "modules": ["overlay", "br_netfilter"], "sysctls": sysctls, **given}
        assert settings.apply(self.host, settings.plan(self.host, settings.wanted(**wants)), self.run) == []

    def absent(self):
        return undo.apply(self.host, "gpunode", undo.plan(self.host, "gpunode"), self.run)

    def tree(self) -> list[str]:
        return sorted(str(path.relative_to(self.root)) for path in self.root.rglob("*") if "proc/sys" not in str(path))


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_files_values_and_modules_are_as_they_were(node):
    (node.root / "sys/module").mkdir(parents=True)
    before = node.tree()
    node.present()

    assert node.absent() == ([], [])

    assert node.tree() == before
    assert node.text("/proc/sys/net/ipv4/ip_forward") == "0\n"


def test_taking_back_twice_changes_nothing(node):
    node.present()
    node.absent()

    assert not undo.plan(node.host, "gpunode").changed


def test_a_module_in_use_stays_until_the_next_boot_and_is_told(node):
    node.present()
    node.write("/sys/module/overlay/refcnt", "2\n")

    assert node.absent() == ([], ["overlay"])


def test_a_module_that_another_file_loads_stays(node):
    node.present()
    node.write("/etc/modules-load.d/theirs.conf", "overlay\n")

    assert "overlay" not in undo.plan(node.host, "gpunode").unload


def test_a_module_that_was_there_before_is_not_ours(node):
    node.run(["modprobe", "--", "overlay"], 1)
    node.present()

    assert "overlay" not in undo.plan(node.host, "gpunode").unload


def test_a_value_that_another_file_wants_is_set_to_that(node):
    node.write("/etc/sysctl.d/10-theirs.conf", "net.ipv4.ip_forward = 1\n")
    node.present()

    assert "net.ipv4.ip_forward" not in {key for key, *_values in undo.plan(node.host, "gpunode").set}


def test_a_value_that_somebody_has_changed_since_stays(node):
    node.present()
    node.write("/proc/sys/net/ipv4/ip_forward", "2\n")

    assert "net.ipv4.ip_forward" not in {key for key, *_values in undo.plan(node.host, "gpunode").set}


def test_fstab_is_as_it_was_to_the_byte(node):
    node.present(debugfs=True)

    node.absent()

    assert node.text("/etc/fstab") == FSTAB


def test_without_a_ledger_files_with_our_header_go(node):
    node.present()
    shutil.rmtree(node.real("/var/lib/gpunode.ready"))

    node.absent()

    assert not node.real("/etc/modules-load.d/gpunode.conf").exists()
    assert not node.real("/etc/sysctl.d/99-gpunode.conf").exists()


def test_a_file_of_that_name_without_our_header_stays(node):
    node.write("/etc/sysctl.d/99-gpunode.conf", "vm.swappiness = 1\n")

    assert not undo.plan(node.host, "gpunode").changed
