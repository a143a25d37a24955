# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NVIDIA container toolkit's own configuration, and the links in PATH to what it hands over to.

`nvidia-ctk config` makes the new text; it knows every key, and every default of a file that is not there. It does not
write the file: what it printed is written whole, after the ledger has what was there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import files
from .host import Host
from .ownership import NOTHING, Ledger, Undo, look, put

LEDGER = "nvidia_container_toolkit"
GENERATE_SECONDS = 30.0


class ToolkitError(Exception):
    """What is wrong, and how to mend it."""


@dataclass(frozen=True)
class Plan:
    """The file's text, None where nobody can tell it yet or nothing is to be set, and the links to be made."""

    path: str
    before: str | None
    after: str | None
    links: Mapping[str, str]

    @property
    def rewrites(self) -> bool:
        return self.after is not None and self.after != self.before


def plan(host: Host, path: str, settings: Sequence[str], links: Mapping[str, str], foretell: bool = False) -> Plan:
    """What is to be done. With ``foretell`` a toolkit that is not there yet is taken to come.

    ``settings`` are `key=value` as `nvidia-ctk config --set` takes them; ``links``: path -> target. A path where
    something is that works stays as it is; a link into nothing counts as nothing. Raises ``ToolkitError`` and
    ``files.WriteError``.
    """
    missing = {
        name: target for name, target in links.items() if not host.exists(name) and host.readlink(name) != target
    }
    before = files.read_text(host.path(path))
    after = changed(host, path, settings, foretell) if settings else None
    return Plan(path, before, after, missing)


def changed(host: Host, path: str, settings: Sequence[str], foretell: bool) -> str | None:
    """The file's text with these settings, as nvidia-ctk would write it; None where it will come only later."""
    program = host.which("nvidia-ctk")
    if program is None:
        if foretell:
            return None
        raise ToolkitError(
            "nvidia-ctk is not on this node, so nothing can set the toolkit's configuration: nothing was changed. It "
            "comes with nvidia-container-toolkit-base: role gpunode.ready.nvidia_container_toolkit installs it."
        )
    # What it does without a file is write its default.
    argv = [program, "--quiet", "config", "--config-file", path]
    for setting in settings:
        argv += ["--set", setting]
    done = host.run(*argv, timeout_seconds=GENERATE_SECONDS)
    if not done.ok or not done.out.strip():
        said = (done.err or done.out).strip() or "nothing"
        raise ToolkitError(f"`{' '.join(argv)}` failed (exit status {done.rc}) and said: {said}. Nothing was changed.")
    return done.out


def apply(host: Host, todo: Plan) -> None:
    """Do it, so that a run that is killed owns what it did. Raises ``files.WriteError``."""
    ledger = Ledger(LEDGER, host.path)
    if todo.rewrites:
        ledger.note(todo.path, text=todo.after, follow=True)
    for path, target in todo.links.items():
        ledger.note(path, link=target)
    if todo.rewrites or todo.links:
        ledger.save()
    if todo.after is not None and todo.rewrites:
        files.replace_text(host.path(todo.path), todo.after, follow=True)
    for path, target in todo.links.items():
        files.link(host.path(path), target)


def plan_absent(host: Host, path: str, discard: bool) -> list[Undo]:
    """What takes back all of it. Where the toolkit is gone, its file goes whole: no package counts it among its own.

    ``discard`` says that this run took the toolkit away; that an earlier one did is told by a ledger without a toolkit.
    """
    ledger = Ledger(LEDGER, host.path)
    undos = [ledger.undo(known) for known in ledger.paths]
    gone = host.which("nvidia-ctk") is None
    if gone and (discard or path in ledger.paths):
        now = look(host.path(path), follow=False)
        undos = [undo for undo in undos if undo.path != path] + [Undo(path, now, NOTHING)]
    return undos


def apply_absent(host: Host, path: str, undos: Sequence[Undo]) -> None:
    """Do it. Raises ``files.WriteError``."""
    for undo in undos:
        if undo.changed:
            put(undo, host.path)
        if undo.path == path and undo.changed and not undo.after.there:
            with contextlib.suppress(OSError):  # somebody else's file is in it
                os.rmdir(host.path(os.path.dirname(path)))
    Ledger(LEDGER, host.path).forget()
