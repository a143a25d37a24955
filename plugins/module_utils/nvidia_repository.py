# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NVIDIA's repositories of the driver: which folder is for which system, and which key signs it.

Rules of this file: tables and one function, no I/O. A folder whose key is not in the table is none that we know, and a
key without a fingerprint is none that we trust: people name theirs. Neither is ever guessed from its neighbour's,
because NVIDIA has used a new key for each release of a distribution since 2025.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Folder -> the file of its key, without ``.pub``. Letters' case counts: the server knows no other.
FOLDERS: dict[str, str] = {
    "debian12": "3bf863cc",
    "debian13": "8793F200",
    "ubuntu2204": "3bf863cc",
    "ubuntu2404": "3bf863cc",
    "ubuntu2604": "60DF8A40",
    "rhel8": "D42D0685",
    "rhel9": "D42D0685",
    "rhel10": "CDF6BA43",
    "fedora42": "D42D0685",
    "fedora43": "1940C73E",
    "fedora44": "73CD9B30",
}

# Key -> its fingerprint, as far as one is published. ``None``: nobody but the server itself says it.
FINGERPRINTS: dict[str, str | None] = {
    "3bf863cc": "EB693B3035CD5710E231E123A4B469963BF863CC",
    "8793F200": "02182E60104FCDC26EAE1B8597A5D4CB8793F200",
    "60DF8A40": "14BAFBC7562AD710CA04E69905FBB6DA60DF8A40",
    "D42D0685": "610C7B14E068A878070DA4E99CD0A493D42D0685",
    "73CD9B30": "129994480EC63D2789BC98E490DFED2F73CD9B30",
    "CDF6BA43": None,
    "1940C73E": None,
}


def folder_of(system: Mapping[str, Any]) -> str:
    """The folder for a system, by its facts; empty where NVIDIA has none for it, or none that we know."""
    identity, version = str(system.get("id") or ""), str(system.get("version") or "")
    major = version.partition(".")[0]
    name = {
        "debian": f"debian{major}",
        "ubuntu": f"ubuntu{version.replace('.', '')}",
        "fedora": f"fedora{major}",
    }.get(identity, f"rhel{major}" if system.get("family") == "redhat" else "")
    return name if name in FOLDERS else ""


def nvidia_repository(system: Any) -> dict[str, Any]:
    """Where the driver for a system lies below the repositories' address, and the key that signs it."""
    folder = folder_of(system) if isinstance(system, Mapping) else ""
    key = FOLDERS.get(folder, "")
    fingerprint = FINGERPRINTS.get(key)
    architecture = "sbsa" if folder and system.get("architecture") == "aarch64" else "x86_64"
    return {
        "folder": f"{folder}/{architecture}" if folder else "",
        "key": key,
        "fingerprints": [fingerprint] if fingerprint else [],
    }
