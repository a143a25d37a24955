# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Debian's packages, fetched and unpacked and never installed: a package would start a daemon on this machine."""

from __future__ import annotations

from pathlib import Path

from cache import run
from image import SUITE, debian_sources


def apt_options(work: Path) -> list[str]:
    """An apt of our own below ``work``: this machine's mirror and keyrings, sources enabled, /etc untouched."""
    (work / "lists/partial").mkdir(parents=True)
    lines, settings = debian_sources()
    sources = [line for line in lines if line.split()[2] == SUITE]
    kinds = [f"{kind} {line.partition(' ')[2]}" for line in sources for kind in ("deb", "deb-src")]
    (work / "sources.list").write_text("\n".join(kinds) + "\n")
    (work / "apt.conf").write_text("\n".join(settings) + "\n")
    pairs = {
        "Dir::Etc::SourceList": work / "sources.list",
        "Dir::Etc::SourceParts": "-",
        "Dir::State::Lists": work / "lists",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "root",
    }
    return [
        "-c",
        str(work / "apt.conf"),
        *[word for name, value in pairs.items() for word in ("-o", f"{name}={value}")],
    ]


def unpack(work: Path, options: list[str], log: Path, *packages: str) -> Path:
    """The folder in which these packages lie unpacked. ``options``: those of ``apt_options(work)``."""
    run("apt-get", *options, "update", log=log, cwd=work)
    run("apt-get", *options, "download", *packages, log=log, cwd=work)
    for package in packages:
        run("dpkg-deb", "--extract", *work.glob(f"{package}_*.deb"), work / "debs", log=log)
    return work / "debs"
