# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kernel modules and sysctls as they would be without ``kernel_settings``, now as at the next boot.

A value in force is set back only where it still is the one that we set, and to what the next boot would make of it:
what another file says, else what it was before. A module is unloaded where we loaded it, nothing uses it, and no other
file has it loaded at boot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import replace as with_changes

from . import files, fstab, ownership
from . import kernel_settings as settings
from .host import Host, Run, run_command
from .ownership import Ledger, Undo


@dataclass(frozen=True)
class Plan:
    undos: tuple[Undo, ...] = ()
    set: tuple[tuple[str, str, str], ...] = ()
    unload: tuple[str, ...] = ()
    unmount: bool = False
    known: bool = False

    @property
    def changed(self) -> bool:
        return bool(self.known or self.set or any(undo.changed for undo in self.undos))

    @property
    def warnings(self) -> list[str]:
        return ownership.told(self.undos)


def plan(host: Host, name: str) -> Plan:
    """Look, and decide. Raises ``files.WriteError``."""
    ledger = Ledger(settings.ledger_name(name), host.path)
    undos = {path: ledger.undo(path) for path in ledger.paths}
    ours = [f"/etc/sysctl.d/{file}" for file in settings.sysctl_names(name)]
    for path in (f"/etc/modules-load.d/{name}.conf", *ours):  # those of a run that kept no ledger
        now = ownership.look(host.path(path), follow=False)
        if (path not in undos or undos[path].problem) and (now.text or "").startswith(settings.HEADER):
            undos[path] = Undo(path, now, ownership.NOTHING)
    table = undos.get(fstab.FSTAB)
    if table is not None and table.problem and table.before.text is not None:
        text = fstab.without_debugfs(table.before.text).after
        undos[fstab.FSTAB] = Undo(fstab.FSTAB, table.before, with_changes(table.before, text=text))
    persisted = settings.persisted_sysctls(host, without=ours)
    back = []
    for key, (before, value) in ledger.fact("sysctls", {}).items():
        other = persisted.of(key)
        wanted = other.value if other is not None else before
        if wanted is not None and wanted != value and settings.live_sysctl(host, key) == value:
            back.append((key, value, wanted))
    others = {
        module
        for module, sources in settings.persisted_modules(host).items()
        if set(sources) - {f"/etc/modules-load.d/{name}.conf"}
    }
    return Plan(
        undos=tuple(undos.values()),
        set=tuple(back),
        unload=tuple(module for module in ledger.fact("loaded", []) if module not in others and _loaded(host, module)),
        unmount=bool(ledger.fact("mounted")) and settings.debugfs_mounted(host),
        known=ledger.exists,
    )


def apply(host: Host, name: str, todo: Plan, run: Run = run_command) -> tuple[list[str], list[str]]:
    """Do it. Returns what could not be done, and what stays until the next boot."""
    problems = []
    for undo in todo.undos:
        if undo.changed:
            try:
                ownership.put(undo, host.path)
            except files.WriteError as error:
                problems.append(str(error))
    for key, _now, value in todo.set:
        problem = settings.set_live(host, key, value)
        if problem:
            problems.append(problem)
    if todo.unmount:
        run(["umount", settings.DEBUGFS], 30)  # one that is in use stays until the next boot
    stay = _unload(host, todo.unload, run)
    if any(undo.changed and undo.path == fstab.FSTAB for undo in todo.undos) and host.is_dir("/run/systemd/system"):
        run(["systemctl", "daemon-reload"], 90)
    if not problems:
        Ledger(settings.ledger_name(name), host.path).forget()
    return problems, stay


def _unload(host: Host, modules: tuple[str, ...], run: Run) -> list[str]:
    """In as many rounds as it takes, for one module uses another."""
    left = list(modules)
    while True:
        free = [module for module in left if host.line(f"/sys/module/{module}/refcnt") == "0"]
        gone = [module for module in free if run(["rmmod", module], 30).ok]
        left = [module for module in left if module not in gone]
        if not gone or not left:
            return [module for module in left if _loaded(host, module)]


def _loaded(host: Host, module: str) -> bool:
    return host.exists(f"/sys/module/{module}/initstate")


def shown(todo: Plan) -> tuple[Mapping[str, dict[str, str]], list[str]]:
    """What is set, and which files change."""
    values = {key: {"before": before, "after": after} for key, before, after in todo.set}
    return values, [undo.path for undo in todo.undos if undo.changed]
