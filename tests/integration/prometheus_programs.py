#!/usr/bin/env python3
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prometheus, promtool and node-exporter for tests, from Debian's packages.

They are unpacked, not installed: the packages would start services that listen on every address. ``PROMETHEUS_ASSETS``
names a folder with the three programs of another version, and is honoured first.

``python3 tests/integration/prometheus_programs.py`` fetches them and says where they lie.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / name) for name in ("lab", "api", "unit")]

from cache import LabError, artifact, digest, run  # noqa: E402 - needs the path
from control_plane import apt_options  # noqa: E402
from image import SUITE  # noqa: E402

PACKAGES = {"prometheus": ("prometheus", "promtool"), "prometheus-node-exporter": ("prometheus-node-exporter",)}
PROGRAMS = tuple(program for programs in PACKAGES.values() for program in programs)


def programs() -> Path:
    """The folder with the three programs."""
    chosen = os.environ.get("PROMETHEUS_ASSETS")
    if chosen:
        missing = [name for name in PROGRAMS if not os.access(Path(chosen) / name, os.X_OK)]
        if missing:
            raise LabError(
                f"PROMETHEUS_ASSETS is {chosen}, which has no {' and no '.join(missing)}; unset it or mend it"
            )
        return Path(chosen)
    return artifact("prometheus", digest(SUITE, *PROGRAMS, "recipe 1"), build)


def build(folder: Path) -> None:
    """Fetch the packages, keep the programs, throw the rest away."""
    work = folder / "work"
    options = apt_options(work)
    run("apt-get", *options, "update", log=folder / "log", cwd=work)
    run("apt-get", *options, "download", *PACKAGES, log=folder / "log", cwd=work)
    for package, names in PACKAGES.items():
        run("dpkg-deb", "--extract", *work.glob(f"{package}_*.deb"), work / package, log=folder / "log")
        for name in names:
            shutil.copy(work / package / "usr/bin" / name, folder / name)
    shutil.rmtree(work)


if __name__ == "__main__":
    print(programs())
