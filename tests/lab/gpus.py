# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the simulated NVML of a node answers: one entry for each GPU that the node's PCI bus shows."""

from __future__ import annotations

import copy
import json
from typing import Any

from cache import LAB

DOMAIN = "0001"  # where gpunode_lab_pci puts its functions
NVSWITCHES = {"22a3", "1af1", "29bc"}
SAMPLES = {"25b6": "a16"}  # all others: the H200's figures
NAMES = {"2335": "NVIDIA H200", "25b6": "NVIDIA A16", "2330": "NVIDIA H100 80GB HBM3", "1db4": "Tesla V100-PCIE-16GB"}


def gpus(devices: str) -> dict[str, Any]:
    """The file for ``/etc/gpunode-lab/gpus.json``, from the PCI device ids of a node."""
    found: list[dict[str, Any]] = []
    table: dict[str, Any] = {"devices": found}
    for slot, device in enumerate([] if devices == "none" else devices.lower().split(",")):
        if device in NVSWITCHES:
            continue
        sample = json.loads((LAB / f"sim/nvml/samples/{SAMPLES.get(device, 'h200')}.json").read_text())
        table.update({key: value for key, value in sample.items() if key not in ("devices", "driver_version")})
        gpu = copy.deepcopy(sample["devices"][0])
        minor = len(found)
        gpu.update(
            name=f"{NAMES.get(device, f'NVIDIA device {device}')} (simulated)",
            uuid=f"GPU-51e0{device}-0000-4000-8000-{minor:012d}",
            serial=f"165000000{minor:04d}",
            minor_number=minor,
            pci_bus_id=f"{DOMAIN}:00:{slot:02x}.0",
            pci_device_id=f"0x{device.upper()}10DE",
        )
        found.append(gpu)
    return table
