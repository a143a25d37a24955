# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Deleting the data of packages that are ours, and nobody else's.

Data is ours where a package that is ours filled it, and nobody's any more once its programs are gone. The ledger, which
says so, is forgotten only after the data is gone; so what was killed, or was in the way, is completed by the next run.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .facts.system import mount_table
from .host import Host
from .package_managers import PackageError
from .package_ownership import SHIELD


@dataclass(frozen=True)
class Data:
    """A folder, the packages (names, or patterns) that fill it, and the programs that use it, whoever brought them."""

    path: str
    packages: Sequence[str]
    programs: Sequence[str]

    @property
    def places(self) -> tuple[str, str]:
        return self.path, f"{self.path}{SHIELD}"

    def filled_by(self, names: Iterable[str]) -> list[str]:
        return sorted(name for name in names if any(fnmatchcase(name, pattern) for pattern in self.packages))


def to_discard(
    host: Host, name: str, wanted: Iterable[Data], ours: Iterable[str], staying: Iterable[str]
) -> tuple[list[Data], list[str]]:
    """What will be deleted, and why the rest will not. Raises ``PackageError`` for what is a link or a mount."""
    found, told = [], []
    for data in wanted:
        if not any(host.exists(place) or host.is_link(place) for place in data.places):
            continue
        if not data.filled_by(ours):
            if host.list(data.path) and not _installed(host, data) and not _running(host, data):
                told.append(
                    f"{data.path} stays: nothing says that {name} was brought by us. Delete it, if nobody needs it"
                )
        elif data.filled_by(staying):
            told.append(f"{data.path} stays: {', '.join(data.filled_by(staying))} stays, too")
        else:
            for place in data.places:
                _refuse(name, place, _obstacle(host, place, below=False), "No package was removed.")
            found.append(data)
    return found, told


def discard(host: Host, name: str, data: Data) -> str:
    """Delete it, once the packages are gone; or say who else's it is. Raises ``PackageError``."""
    user = _installed(host, data)
    if user:
        return f"{data.path} stays: {user} is there, and was not brought by us"
    for place in data.places:
        stopped = _running(host, data) or _obstacle(host, place, below=True)
        _refuse(name, place, stopped, "The packages are gone.")
        try:
            shutil.rmtree(host.path(place))
        except FileNotFoundError:
            pass
        except OSError as error:
            _refuse(name, place, f"{error.filename}: {error.strerror}", "The packages are gone.")
    return ""


def _refuse(name: str, place: str, why: str, done: str) -> None:
    if why:
        raise PackageError(
            f"{name}: {place} is to be deleted, but {why}. {done} Nothing is deleted under a program that runs, nor "
            f"through a mount or a link: end it, unmount it, or delete {place} yourself, or keep the data. Then run "
            "again."
        )


def _installed(host: Host, data: Data) -> str:
    return next((path for path in map(host.which, data.programs) if path), "")


def _running(host: Host, data: Data) -> str:
    """A process by the name of one of the programs, wherever that lies."""
    for pid in host.list("/proc"):
        name = host.line(f"/proc/{pid}/comm") if pid.isdigit() else None
        if name in data.programs:
            return f"{name} still runs as pid {pid}"
    return ""


def _obstacle(host: Host, place: str, *, below: bool) -> str:
    path = host.path(place)
    if os.path.islink(path):
        return f"it is a link to {os.readlink(path)}"
    real = os.path.realpath(path)
    points = [mount["mount"] for mount in mount_table(host.text("/proc/self/mountinfo") or "")]
    inside = [point for point in points if point == real or (below and point.startswith(f"{real}/"))]
    return f"{inside[0]} is mounted" if inside else ""
