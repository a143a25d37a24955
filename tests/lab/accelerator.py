# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which accelerator QEMU can really use here.

That /dev/kvm exists and answers says little: nested, it may never get past the boot loader. So a kernel is booted
with it once, under a short limit, and the answer is remembered for as long as this machine runs.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from cache import cache_folder, locked, say

KVM_SECONDS = 20


@dataclass(frozen=True)
class Accelerator:
    name: str
    arguments: tuple[str, ...]


# Without what costs an emulated processor more than it gives: string moves byte by byte, a fifth level of page tables.
TCG_CPU = "max,erms=off,fsrm=off,la57=off"
TCG = Accelerator("tcg", ("-machine", "q35", "-accel", "tcg,thread=multi,tb-size=512", "-cpu", TCG_CPU))
KVM = Accelerator("kvm", ("-machine", "q35", "-accel", "kvm", "-cpu", "host"))


def accelerator(image: Path) -> Accelerator:
    """KVM if a kernel boots with it here, else emulation. GPUNODE_LAB_ACCELERATOR=kvm|tcg decides by hand."""
    by_hand = os.environ.get("GPUNODE_LAB_ACCELERATOR")
    if by_hand:
        return KVM if by_hand == "kvm" else TCG
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with locked("accelerator"):
        memory = cache_folder() / "accelerator.json"
        known = json.loads(memory.read_text()) if memory.is_file() else {}
        if known.get("boot_id") != boot_id:
            say(f"/dev/kvm is there: trying it for at most {KVM_SECONDS} s ...")
            known = {"boot_id": boot_id, "kvm": kvm_boots(image)}
            memory.write_text(json.dumps(known) + "\n")
            say("KVM works" if known["kvm"] else "KVM boots no kernel here; nodes are emulated (TCG)")
    return KVM if known["kvm"] else TCG


def kvm_boots(image: Path) -> bool:
    """Whether the node's kernel gets as far as looking for its (missing) root file system."""
    argv = [
        "qemu-system-x86_64", *KVM.arguments, "-m", "512", "-nodefaults", "-display", "none", "-serial", "stdio",
        "-no-reboot", "-kernel", str(image / "vmlinuz"), "-append", "console=ttyS0 panic=-1",
    ]  # fmt: skip
    log = cache_folder() / "kvm.log"
    with log.open("w") as stream:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)
        try:
            end = time.monotonic() + KVM_SECONDS
            while time.monotonic() < end and process.poll() is None:
                if "Unable to mount root" in log.read_text(errors="replace"):
                    return True
                time.sleep(0.2)
            return "Unable to mount root" in log.read_text(errors="replace")
        finally:
            process.kill()
            process.wait()
