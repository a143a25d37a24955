# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages, holds and files of a package manager are ours.

Ours is what was not installed when a transaction of ours began and was when it had ended: what was asked for, and what
that needed. The list of what was there before is written first, so a run that is killed still knows.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence

from .host import Host
from .ownership import Ledger, slug
from .package_managers import Manager, PackageError
from .packages import RPM_FORMAT, Package, Plan, parse_rpm

# What a folder of data is called while packages are purged: their scripts may delete it (Debian's docker.io does).
SHIELD = ".gpunode-kept"


def ledger_of(name: str, host: Host) -> Ledger:
    return Ledger(f"package_set-{slug(name)}", host.path)


def remember_start(ledger: Ledger, manager: Manager, plan: Plan) -> None:
    """A transaction is about to begin: what is there now, and what will have been asked for."""
    there = everything(manager)
    ledger.keep(before=sorted(name for name, package in there.items() if package.present))
    asked = [step.name for step in (*plan.install, *plan.reinstall)]
    ledger.replace(asked=sorted({*ledger.fact("asked", []), *asked}))
    changed = {step.name: step.before for step in plan.install if step.before}
    removed = {name: there[name].version for name in plan.remove if name in there}
    ledger.replace(
        changed={**changed, **ledger.fact("changed", {})} or None,
        removed={**removed, **ledger.fact("removed", {})} or None,
    )
    ledger.save()


def remember_end(ledger: Ledger, manager: Manager) -> None:
    """It has ended: what is there now and was not before is ours."""
    if ledger.fact("before") is None:
        return
    ledger.replace(brought=sorted(brought(ledger, everything(manager))), before=None)
    ledger.save()


def brought(ledger: Ledger, there: Mapping[str, Package]) -> set[str]:
    """What is ours: as it is written, and what a transaction brought that was killed before it could be."""
    ours = set(ledger.fact("brought", []))
    before = ledger.fact("before")
    if before is not None:
        ours |= {name for name, package in there.items() if package.present} - set(before)
    return ours


def remember_files(ledger: Ledger, files: Iterable[tuple[str, str | None, int | None]], aside: Sequence[str]) -> None:
    """Files are about to be written, and those of others to make way."""
    for path, text, mode in files:
        ledger.note(path, text=text, mode=mode)
    if aside:
        ledger.replace(aside={**ledger.fact("aside", {}), **{f"{path}.disabled": path for path in aside}})
    ledger.save()


def remember_holds(ledger: Ledger, held: Sequence[str], released: Sequence[str], streams: Sequence[str]) -> None:
    ledger.replace(
        held=sorted({*ledger.fact("held", []), *held} - set(released)) or None,
        released=sorted({*ledger.fact("released", []), *released} - set(held)) or None,
        streams=sorted({*ledger.fact("streams", []), *streams}) or None,
    )
    ledger.save()


def everything(manager: Manager) -> dict[str, Package]:
    """All that is installed, with the keys that rpm trusts."""
    if manager.name != "dnf":
        return manager.installed()
    answer = manager.host.run("rpm", "-qa", "--qf", RPM_FORMAT, timeout_seconds=120)
    if not answer.ok:
        raise PackageError(f"{manager.request.name}: rpm -qa: {(answer.err or answer.out).strip()}")
    # kernels and their kin may be there in several versions, and are taken away by version
    found = parse_rpm(answer.out).items()
    return {key: package for key, package in found if not (key.startswith("kernel") and key == package.name)}


def unshield(host: Host, folders: Iterable[str]) -> None:
    """Put it back; a folder that a script made anew meanwhile gives way where it is empty."""
    for folder in folders:
        path = host.path(folder)
        if not os.path.lexists(f"{path}{SHIELD}"):
            continue
        with contextlib.suppress(OSError):
            os.rmdir(path)
        if not os.path.lexists(path):
            os.rename(f"{path}{SHIELD}", path)


def displaced(host: Host, folders: Iterable[str]) -> list[str]:
    """The data that could not be put back, because something has filled its place since; and how to mend that."""
    return [
        f"{folder} was filled anew while what had been in it was kept from the packages' scripts, so that still lies "
        f"in {folder}{SHIELD}. Stop what uses {folder}, then: mv {folder} {folder}.new && mv {folder}{SHIELD} {folder}"
        for folder in folders
        if os.path.lexists(host.path(f"{folder}{SHIELD}")) and (host.list(folder) or host.is_link(folder))
    ]
