# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Swap as it was before ``swap`` turned it off: the lines, the units, the masks, and what was in use."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from dataclasses import replace as with_changes

from . import files, fstab, ownership
from .host import Host, Run, run_command
from .ownership import Ledger, Undo
from .swap import CRON_FILE, LEDGER, MASK, live_areas

CRON_FIRST_LINE = "# Written by gpunode.ready, module swap:"


@dataclass(frozen=True)
class Plan:
    """What is to be taken back. ``moves``: (kept under this name, to this place); ``remove``: copies of ours."""

    undos: tuple[Undo, ...] = ()
    moves: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    swapon: tuple[str, ...] = ()
    reload: bool = False
    known: bool = False

    @property
    def changed(self) -> bool:
        return bool(self.known or self.moves or self.remove or any(undo.changed for undo in self.undos))

    @property
    def warnings(self) -> list[str]:
        return ownership.told(self.undos)

    def layers(self) -> dict[str, list[str]]:
        """What is to do, layer by layer, as sentences."""
        changed = [undo for undo in self.undos if undo.changed]
        masks = [undo.path for undo in changed if undo.before.link == MASK]
        return {
            "live": [f"turned on {path}" for path in self.swapon],
            "fstab": [f"{fstab.FSTAB}: as before" for undo in changed if undo.path == fstab.FSTAB],
            "units": [f"unmasked {path}" for path in masks if "system-generators" not in path]
            + [f"started {name}" for name in self.start],
            "zram": [f"unmasked {path}" for path in masks if "system-generators" in path],
            "cron": [f"removed {CRON_FILE}" for undo in changed if undo.path == CRON_FILE],
        }


def plan(host: Host) -> Plan:
    """Look, and decide. Raises ``files.WriteError``."""
    ledger = Ledger(LEDGER, host.path)
    undos = {path: ledger.undo(path) for path in ledger.paths}
    moves = []
    for path, undo in undos.items():
        if undo.before.link != MASK:
            continue
        for aside in _moved_aside(host, path):
            if files.read_text(host.path(aside)) == undo.after.text:
                moves.append((aside, path))
                break
    undos[fstab.FSTAB] = _fstab(host, undos.get(fstab.FSTAB))
    text = files.read_text(host.path(CRON_FILE))
    if CRON_FILE not in undos and text is not None and text.startswith(CRON_FIRST_LINE):
        undos[CRON_FILE] = Undo(CRON_FILE, ownership.Content(text), ownership.NOTHING)
    clean = not undos[fstab.FSTAB].problem and not any(
        line.startswith(fstab.SWAP_OFF_MARKER) for line in (undos[fstab.FSTAB].after.text or "").split("\n")
    )
    on = {area.path for area in live_areas(host.text("/proc/swaps") or "")}
    systemd = host.is_dir("/run/systemd/system")
    return Plan(
        undos=tuple(undos.values()),
        moves=tuple(moves),
        remove=tuple(host.glob(f"{fstab.FSTAB}.gpunode-*")) if clean else (),
        start=tuple(ledger.fact("stopped", [])) if systemd else (),
        swapon=tuple(path for path in ledger.fact("live", []) if path not in on),
        reload=systemd and any(undo.changed for undo in undos.values()),
        known=ledger.exists,
    )


def _fstab(host: Host, undo: Undo | None) -> Undo:
    """By the ledger; where that cannot tell, by the marker before each line that we commented out."""
    if undo is None or undo.problem:
        now = ownership.look(host.path(fstab.FSTAB), follow=True)
        undo = Undo(fstab.FSTAB, now, now)
    if undo.after.text is None:
        return undo
    return with_changes(undo, after=with_changes(undo.after, text=fstab.with_swap(undo.after.text).after))


def _moved_aside(host: Host, path: str) -> list[str]:
    return host.glob(f"{path}.gpunode-disabled") + host.glob(f"{path}.gpunode-disabled.*")


def apply(host: Host, todo: Plan, run: Run = run_command) -> list[str]:
    """Do it; returns what could not be done. What came back in a file is turned on again now, as at the next boot."""
    problems: list[str] = []
    for aside, path in todo.moves:
        with contextlib.suppress(FileNotFoundError):
            os.replace(host.path(aside), host.path(path))
    moved = {path for _aside, path in todo.moves}
    for undo in todo.undos:
        if not undo.changed or undo.path in moved:
            continue
        try:
            ownership.put(undo, host.path)
        except files.WriteError as error:
            problems.append(str(error))
    if todo.reload:
        done = run(["systemctl", "daemon-reload"], 90)
        if not done.ok:
            problems.append(f"systemctl daemon-reload: {(done.err or done.out).strip()}")
    if problems:
        return problems
    if todo.start:
        run(["systemctl", "start", "--", *todo.start], 120)  # what does not start shows below, as swap that is not on
    on = {area.path for area in live_areas(host.text("/proc/swaps") or "")}
    for path in todo.swapon:
        if path in on:
            continue
        done = run(["swapon", "--", path], 120)
        if not done.ok:
            problems.append(
                f"{path} was in use as swap before, and cannot be turned on again: {(done.err or done.out).strip()}. "
                "All else is as it was."
            )
    for path in todo.remove:
        files.remove(host.path(path))
    Ledger(LEDGER, host.path).forget()
    return problems
