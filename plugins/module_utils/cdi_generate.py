# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Have nvidia-ctk write a CDI spec, and decide what may be put in place and what must go.

Rules of this file: ``generate`` writes only into the folder it is given; ``plan`` writes nothing. A spec that works is
never given up for one that does not, and a spec that somebody wrote by hand is never touched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .cdi import (
    EXTENSIONS,
    OLDER_SPEC_FLAG,
    CdiError,
    SpecFile,
    device_names,
    driver_versions,
    parse,
    refused_by,
    same,
    validate,
)
from .host import Run, run_command

MODE = 0o644
_LOGGED = re.compile(r'level=(?P<level>\w+)\s+msg=(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>\S+))')


class GenerateError(Exception):
    """Why there is no new spec, in nvidia-ctk's own words where it spoke."""


@dataclass(frozen=True)
class Generated:
    """A spec as nvidia-ctk wrote it, for the path where it belongs."""

    path: str
    text: str
    data: dict[str, Any]


@dataclass(frozen=True)
class Plan:
    """What to write and what to disable, or why neither may be done."""

    write: tuple[Generated, ...] = ()
    mode: tuple[str, ...] = ()  # right in content, wrong in mode
    aside: tuple[tuple[str, str], ...] = ()  # (path, why): goes before the new spec comes, for nobody knows whose it is
    disable: tuple[tuple[str, str], ...] = ()  # (path, why)
    kept: tuple[tuple[str, str], ...] = ()  # (path, why it deserves a look)
    refusal: str | None = None

    @property
    def changed(self) -> bool:
        return bool(self.write or self.mode or self.disable)


def own_words(out: str, err: str) -> str:
    """What nvidia-ctk complained of: its errors and warnings, else its last lines. Takes any text."""
    found: dict[str, list[str]] = {}
    for match in _LOGGED.finditer(f"{err}\n{out}"):
        text = match.group("quoted") or match.group("plain") or ""
        found.setdefault(match.group("level"), []).append(text.replace('\\"', '"').replace("\\n", "\n"))
    for level in ("fatal", "error"):
        if found.get(level):
            return "; ".join(found[level])
    lines = [line.strip() for line in f"{err}\n{out}".splitlines() if line.strip()]
    told = "; ".join([*found.get("warning", [])[-2:], *lines[-3:]] if not found else found.get("warning", lines)[-3:])
    return told or "nothing"


def generate(
    nvidia_ctk: str,
    folder: str,
    output: str,
    arguments: Sequence[str],
    run: Run = run_command,
    timeout_seconds: float = 60.0,
) -> list[Generated]:
    """Run ``nvidia-ctk cdi generate`` into ``folder``, an empty one. Raises ``GenerateError``.

    nvidia-ctk may write more than one file (nvidia.coherent.yaml beside nvidia.yaml): each comes back with its place.
    """
    name = os.path.basename(output)
    if not name.endswith(EXTENSIONS):
        raise GenerateError(f"{output} ends neither in .yaml nor in .json, so no runtime would read it.")
    command = [nvidia_ctk, "cdi", "generate", f"--output={os.path.join(folder, name)}", *arguments]
    shown = " ".join([nvidia_ctk, "cdi", "generate", *arguments])
    done = run(command, timeout_seconds)
    if not done.ok:
        raise GenerateError(f"`{shown}` failed (exit status {done.rc}) and said: {own_words(done.out, done.err)}")
    found = []
    for written in sorted(os.listdir(folder)):
        with open(os.path.join(folder, written), encoding="utf-8", errors="replace") as file:
            text = file.read()
        if not written.endswith(EXTENSIONS):
            continue
        try:
            data = parse(text, written)
        except CdiError as error:
            at = f" (line {error.line})" if error.line else ""
            raise GenerateError(f"`{shown}` wrote what is no CDI spec{at}: {error.message}") from error
        faults = validate(data)
        if faults:
            raise GenerateError(f"`{shown}` wrote a spec that container runtimes refuse: {'; '.join(faults[:3])}")
        found.append(Generated(os.path.join(os.path.dirname(output), written), text, data))
    if not any(os.path.basename(item.path) == name for item in found):
        raise GenerateError(f"`{shown}` succeeded without writing a spec. It said: {own_words(done.out, done.err)}")
    return found


def place(path: str) -> str:
    """A path whose folder has one name only; the file itself may be a link, which counts as a file of its own."""
    return os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))


def plan(specs: Sequence[SpecFile], generated: Sequence[Generated], output: str, driver: str | None) -> Plan:
    """What to do about the specs that are there, once ``generated`` is put in place."""
    places = {place(item.path): item for item in generated}
    folders = {os.path.dirname(at) for at in places}
    new_names = {name for item in generated for name in device_names(item.data)}
    stem = os.path.splitext(os.path.basename(output))[0]
    there = {place(spec.path): spec for spec in specs}

    write, mode, aside = [], [], []
    for at, item in places.items():
        old = there.get(at)
        if old is not None and old.data is not None and not old.by_nvidia:
            return Plan(
                refusal=f"{old.path} is a CDI spec that nvidia-ctk did not write (kind {old.kind or 'none'}), so it is"
                f" not replaced. Move it to a name of its own, or have the generated spec written elsewhere (`output`)."
            )
        if old is not None and old.data is None:
            aside.append((old.path, f"it could not be read as a spec: {old.error}"))
        if old is None or not same(old.data, item.data):
            write.append(item)
        elif old.mode != f"{MODE:04o}":
            mode.append(item.path)

    disable, kept = [], []
    for at, spec in there.items():
        if at in places:
            continue
        if not spec.usable:
            kept.append((spec.path, f"runtimes cannot use it: {spec.error or spec.invalid[0]}"))
            continue
        shared = [name for name in device_names(spec.data or {}) if name in new_names]
        if not spec.by_nvidia:
            if shared and os.path.dirname(at) in folders:
                return Plan(
                    refusal=f"{spec.path}, which nvidia-ctk did not write, defines {', '.join(shared)} too. Beside"
                    f" it in one folder, {output} would make runtimes know neither. Give its devices another kind, or"
                    " move it away."
                )
            if shared:
                kept.append((spec.path, f"not nvidia-ctk's, yet it defines {', '.join(shared)} too"))
            continue
        versions = driver_versions(spec.data or {})
        beside = os.path.dirname(at) in folders
        if shared:
            disable.append((spec.path, f"it repeats {', '.join(shared)}"))
        elif driver and versions and driver not in versions:
            disable.append((spec.path, f"it was written for driver {', '.join(versions)}, and {driver} is loaded"))
        elif beside and os.path.basename(at).startswith(f"{stem}."):
            disable.append((spec.path, "nvidia-ctk no longer writes it"))
    return Plan(tuple(write), tuple(mode), tuple(aside), tuple(disable), tuple(kept))


def unread_by(generated: Sequence[Generated], readers: Mapping[str, str | None]) -> list[str]:
    """A sentence for each runtime that is too old for the specs. ``readers``: runtime -> its version."""
    told = []
    for item in generated:
        version = str(item.data.get("cdiVersion"))
        for runtime, has in readers.items():
            first = refused_by(version, runtime, has)
            if first:
                flag = OLDER_SPEC_FLAG.get(version)
                mend = f" Upgrade it, or add {flag} to the feature flags." if flag else " Upgrade it."
                told.append(
                    f"{item.path} is of version {version}, which {runtime} reads from {first} on; here is {has}.{mend}"
                )
    return told
