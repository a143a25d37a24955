# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the PCI bus tells of NVIDIA GPUs before any driver is there: generation, name, and which driver they need.

Rules of this file: tables and plain functions over ids, no I/O. An id that no table knows is judged by its
neighbourhood: NVIDIA hands ids out upwards, so one above all known ones is of a newer generation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

VENDOR = "10de"
DISPLAY = ("0300", "0302")  # VGA and 3D controllers
BRIDGE = "0680"  # what NVSwitches are


@dataclass(frozen=True)
class Generation:
    """A generation of GPUs, and the driver that it needs. ``open_modules``: never | possible | required."""

    name: str
    open_modules: str
    oldest_branch: int | None  # the first branch that knows the generation
    newest_branch: int | None  # the last one; None: still supported


LAST_PROPRIETARY_BRANCH = 615  # from 620 on only the open modules ship

GENERATIONS = {
    item.name: item
    for item in (
        Generation("fermi", "never", None, 390),
        Generation("kepler", "never", None, 470),
        Generation("maxwell", "never", None, 580),
        Generation("pascal", "never", 375, 580),
        Generation("volta", "never", 384, 580),
        Generation("turing", "possible", 410, None),
        Generation("ampere", "possible", 450, None),
        Generation("ada", "possible", 525, None),
        Generation("hopper", "possible", 525, None),
        Generation("blackwell", "required", 570, None),
        Generation("rubin", "required", 580, None),
    )
}

# First id, last id, generation. Hopper's ids lie among Ampere's.
RANGES = (
    (0x06C0, 0x06DF, "fermi"),
    (0x0DC0, 0x0F1F, "fermi"),
    (0x0FC0, 0x0FFF, "kepler"),
    (0x1001, 0x103F, "kepler"),
    (0x1040, 0x109F, "fermi"),
    (0x1140, 0x117F, "fermi"),
    (0x1180, 0x11FF, "kepler"),
    (0x1200, 0x125F, "fermi"),
    (0x1280, 0x12FF, "kepler"),
    (0x1340, 0x143F, "maxwell"),
    (0x15F0, 0x15FF, "pascal"),
    (0x1600, 0x17FF, "maxwell"),
    (0x1B00, 0x1D7F, "pascal"),
    (0x1D81, 0x1DFF, "volta"),
    (0x1E02, 0x1FFF, "turing"),
    (0x2080, 0x20FF, "ampere"),
    (0x2182, 0x21FF, "turing"),
    (0x2200, 0x22FF, "ampere"),
    (0x2300, 0x23FF, "hopper"),
    (0x2400, 0x25FF, "ampere"),
    (0x2680, 0x28FF, "ada"),
    (0x2900, 0x2FFF, "blackwell"),
    (0x3180, 0x31FF, "blackwell"),
)
NEWEST_KNOWN = 0x31FF

# Device id, or device id and subsystem where boards share the chip's id. What is not here is named by its chip.
NAMES = {
    "1023": "Tesla K40m",
    "1024": "Tesla K40c",
    "102d": "Tesla K80",
    "17fd": "Tesla M40",
    "13f2": "Tesla M60",
    "15f8": "Tesla P100-PCIE-16GB",
    "15f9": "Tesla P100-SXM2-16GB",
    "1b38": "Tesla P40",
    "1bb3": "Tesla P4",
    "1b80": "GeForce GTX 1080",
    "1d81": "TITAN V",
    "1db1": "Tesla V100-SXM2-16GB",
    "1db4": "Tesla V100-PCIE-16GB",
    "1db5": "Tesla V100-SXM2-32GB",
    "1db6": "Tesla V100-PCIE-32GB",
    "1eb8": "Tesla T4",
    "1e04": "GeForce RTX 2080 Ti",
    "2184": "GeForce GTX 1660",
    "20b0": "A100-SXM4-40GB",
    "20b2": "A100-SXM4-80GB",
    "20b5": "A100 80GB PCIe",
    "20b7": "A30",
    "20f1": "A100-PCIE-40GB",
    "2204": "GeForce RTX 3090",
    "2235": "A40",
    "2236": "A10",
    "25b6 10de:14a9": "A16",
    "25b6 10de:157e": "A2",
    "2321": "H100 NVL",
    "2330": "H100 80GB HBM3",
    "2331": "H100 PCIe",
    "2335": "H200",
    "233b": "H200 NVL",
    "2342": "GH200 480GB",
    "2348": "GH200 144G HBM3e",
    "2684": "GeForce RTX 4090",
    "2782": "GeForce RTX 4070 Ti",
    "26b5": "L40",
    "26b9": "L40S",
    "27b8": "L4",
    "2901": "B200",
    "2941": "GB200",
    "2b85": "GeForce RTX 5090",
    "2c02": "GeForce RTX 5080",
    "2f04": "GeForce RTX 5070",
    "2d04": "GeForce RTX 5060 Ti",
    "2d05": "GeForce RTX 5060",
    "2d83": "GeForce RTX 5050",
    "2bb1": "RTX PRO 6000 Blackwell Workstation Edition",
    "2bb4": "RTX PRO 6000 Blackwell Max-Q Workstation Edition",
    "2bb5": "RTX PRO 6000 Blackwell Server Edition",
    "2e12": "GB10",
    "3182": "B300",
    "31c2": "GB300",
}
# GPUs that are younger than their generation: the first branch that knows them.
OLDEST_BRANCH = {"2d04": 575, "2d05": 575, "2d83": 575, "2bb5": 575}
# GPUs of a generation that leaves the choice, which themselves do not: coherent with the processor.
OPEN_REQUIRED = {"2342": "GH200", "2348": "GH200"}


def generation(device_id: str) -> Generation | None:
    """The generation of a PCI device id ("2335"); None where neither table nor neighbourhood tells."""
    number = int(device_id, 16)
    for first, last, name in RANGES:
        if first <= number <= last:
            return GENERATIONS[name]
    return None


def is_newer_than_known(device_id: str) -> bool:
    return int(device_id, 16) > NEWEST_KNOWN


def name(device_id: str, subsystem_id: str | None = None) -> str | None:
    """The product's name, as NVML would give it, less the maker's."""
    return NAMES.get(f"{device_id} {subsystem_id}") or NAMES.get(device_id)


def is_gpu(class_id: str) -> bool:
    return class_id[:4] in DISPLAY


def is_nvswitch(class_id: str) -> bool:
    return class_id[:4] == BRIDGE


def oldest_branch(device_id: str) -> int | None:
    """The first driver branch that drives the GPU with any flavour; None where it is not known."""
    known = generation(device_id)
    return OLDEST_BRANCH.get(device_id) or (known.oldest_branch if known else None)


def newest_branch(device_id: str) -> int | None:
    """The last driver branch that drives the GPU; None where support has not ended."""
    known = generation(device_id)
    return known.newest_branch if known else None


def flavours(device_id: str) -> tuple[str, ...]:
    """The flavours of the kernel module that can drive the GPU, the better one first; empty where it is not known."""
    known = generation(device_id)
    if device_id in OPEN_REQUIRED or (known is None and is_newer_than_known(device_id)):
        return ("open",)
    if known is None:
        return ()
    return {"never": ("proprietary",), "possible": ("open", "proprietary"), "required": ("open",)}[known.open_modules]


def _told(device: Mapping[str, Any]) -> str:
    what = device.get("name") or f"10de:{device['device_id']}"
    age = device.get("architecture") or "of an unknown generation"
    return f"{device.get('address', '?')} ({what}, {age})"


def required_flavour(devices: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The flavour that drives all of these GPUs, and why.

    ``value`` is open, proprietary, or None where there is none; ``required`` whether the other one would not do;
    ``conflict`` whether no single driver can drive them all.
    """
    answer: dict[str, Any] = {"value": None, "required": False, "conflict": False}
    gpus = list(devices)
    if not gpus:
        return {**answer, "why": "There is no NVIDIA GPU on the PCI bus."}
    open_only = [gpu for gpu in gpus if flavours(gpu["device_id"]) == ("open",)]
    closed_only = [gpu for gpu in gpus if flavours(gpu["device_id"]) == ("proprietary",)]
    unknown = [gpu for gpu in gpus if not flavours(gpu["device_id"])]
    if open_only and closed_only:
        why = (
            f"{', '.join(map(_told, open_only))} can be driven by the open kernel modules only, "
            f"{', '.join(map(_told, closed_only))} by the proprietary ones only: no single driver drives this host. "
            "Move one kind to another host, or leave one unbound (vfio-pci)."
        )
        return {**answer, "conflict": True, "why": why}
    oldest, newest = branches(gpus)
    if oldest and newest and oldest > newest:
        why = (
            f"One GPU needs branch {oldest} or newer, another ends with branch {newest}: no single driver drives "
            f"{', '.join(map(_told, gpus))}."
        )
        return {**answer, "conflict": True, "why": why}
    if closed_only:
        why = (
            f"{', '.join(map(_told, closed_only))}: the open kernel modules do not support generations before Turing. "
            f"The last driver branch is R{newest}."
        )
        return {**answer, "value": "proprietary", "required": True, "why": why}
    if open_only:
        why = f"{', '.join(map(_told, open_only))}: supported by the open kernel modules only."
        return {**answer, "value": "open", "required": True, "why": why}
    if len(unknown) == len(gpus):
        why = f"{', '.join(map(_told, unknown))}: this collection does not know this GPU."
        return {**answer, "why": why}
    why = (
        f"{', '.join(map(_told, gpus))}: both flavours would do up to R{LAST_PROPRIETARY_BRANCH}; the open kernel "
        "modules are what NVIDIA recommends, and all that ships after it."
    )
    return {**answer, "value": "open", "why": why}


def branches(devices: Iterable[Mapping[str, Any]]) -> tuple[int | None, int | None]:
    """The oldest and the newest driver branch that drive all of these GPUs; None where there is no such bound."""
    ids = [device["device_id"] for device in devices]
    oldest = [bound for bound in map(oldest_branch, ids) if bound]
    newest = [bound for bound in map(newest_branch, ids) if bound]
    return max(oldest, default=None), min(newest, default=None)
