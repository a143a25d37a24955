# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swap comes back as it was: files to the byte, masks of ours alone, and what was in use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import fstab, swap, swap_undo
from ansible_collections.gpunode.ready.plugins.module_utils.host import Completed, Host

HEADER = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
AREA = "/swap.img                               file\t\t131068\t\t0\t\t-2\n"


class Node:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.host = Host(str(root))
        self.asked: list[list[str]] = []
        self.write("/proc/swaps", HEADER + AREA)
        self.write("/proc/meminfo", "MemAvailable:    1800000 kB\n")
        self.write("/etc/fstab", "# mine\n/dev/vda / ext4 defaults 0 1\n/swap.img none swap sw 0 0\nlast without end")
        self.write("/run/systemd/generator/swap.img.swap", "[Swap]\nWhat=/swap.img\n")
        self.write("/etc/systemd/system/data.swap", "[Swap]\nWhat=/data\n")
        self.write("/usr/lib/systemd/system-generators/zram-generator", "ELF")
        for folder in ("/etc/cron.d", "/run/systemd/system", "/var/lib"):
            self.real(folder).mkdir(parents=True)
        (self.real("/etc/systemd/system") / "mine.service").symlink_to("/dev/null")

    def real(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, text: str) -> None:
        self.real(path).parent.mkdir(parents=True, exist_ok=True)
        self.real(path).write_text(text)

    def run(self, argv, timeout_seconds):
        self.asked.append(list(argv))
        if argv[0] in ("swapoff", "swapon"):
            self.write("/proc/swaps", HEADER + (AREA if argv[0] == "swapon" else ""))
        return Completed(0, "", "")

    def disable(self) -> None:
        swap.apply(self.host, swap.plan(swap.look(self.host)), self.run)
        self.asked.clear()

    def take_back(self) -> list[str]:
        return swap_undo.apply(self.host, swap_undo.plan(self.host), self.run)

    def tree(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.root)): os.readlink(path) if path.is_symlink() else path.read_text()
            for path in self.root.rglob("*")
            if path.is_symlink() or path.is_file()
        } | {str(path.relative_to(self.root)): "folder" for path in self.root.rglob("*") if path.is_dir()}


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_the_tree_is_as_it_was(node):
    before = node.tree()
    node.disable()

    problems = node.take_back()

    assert problems == []
    assert node.tree() == before


def test_what_was_in_use_is_in_use_again(node):
    node.disable()

    node.take_back()

    assert node.asked[-1] == ["swapon", "--", "/swap.img"]


def test_taking_back_twice_changes_nothing(node):
    node.disable()
    node.take_back()

    assert not swap_undo.plan(node.host).changed


def test_a_node_that_was_never_touched_stays_untouched(node):
    assert not swap_undo.plan(node.host).changed


def test_a_mount_that_was_added_since_stays(node):
    node.disable()
    node.write("/etc/fstab", node.real("/etc/fstab").read_text() + "\nserver:/x /x nfs defaults 0 0\n")

    node.take_back()

    text = node.real("/etc/fstab").read_text()
    assert "server:/x /x nfs" in text
    assert [entry.fields[0] for entry in fstab.swap_entries(text)] == ["/swap.img"]


def test_without_a_ledger_the_marker_and_the_header_tell(node):
    node.disable()
    node.real("/var/lib/gpunode.ready/owned/swap.json").unlink()

    node.take_back()

    assert [entry.fields[0] for entry in fstab.swap_entries(node.real("/etc/fstab").read_text())] == ["/swap.img"]
    assert not node.real(swap.CRON_FILE).exists()
    assert not list(node.real("/etc").glob("fstab.gpunode-*"))
    # whose mask it is, nothing tells
    assert os.readlink(node.real("/etc/systemd/system/swap.img.swap")) == "/dev/null"


def test_swap_that_cannot_be_turned_on_again_is_named(node):
    node.disable()
    node.run = lambda argv, timeout: Completed(int(argv[0] == "swapon"), "", "No such file or directory")

    problems = node.take_back()

    assert problems[0].startswith("/swap.img was in use as swap before, and cannot be turned on again: No such file")
    assert not swap_undo.plan(node.host).changed
