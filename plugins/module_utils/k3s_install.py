# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""k3s' program, configuration and unit, put in place as one: with all of it k3s comes up, or the old is there again.

Rules of this file: ``plan`` only looks; ``Install`` writes. A program is tried (``--version``) under a name of its own
before it takes the place of the old one, which stays beside it. What is begun is written into the ledger first, so that
a run which dies is completed by the next: k3s is then started anew, whatever systemd says of it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from . import files, machine_yaml, ownership
from .host import Completed
from .k3s_config import BINARY, CONFIG, REGISTRIES, TOKEN, UNITS, unit_text
from .k3s_options import SECRETS
from .k3s_state import SYSTEM, lacks_nvidia, sha256_of, version_of
from .unit_states import STARTS_AT_BOOT

STAGE = "/var/lib/gpunode.ready/k3s"
PREVIOUS = "/usr/local/bin/.k3s.gpunode-previous"
Runner = Callable[[list, float], Completed]


class InstallError(Exception):
    """Why it could not be done, in a sentence."""


@dataclass(frozen=True)
class Wanted:
    """What is to be there. ``token`` and ``registries``: None leaves what is there."""

    member: str
    version: str
    config: str
    checksum: str = ""
    binary: str = ""
    token: str | None = None
    registries: str | None = None
    mend_templates: bool = True
    nvidia: bool = True

    @property
    def unit(self) -> str:
        return UNITS[self.member]

    @property
    def unit_path(self) -> str:
        return f"{SYSTEM}/{self.unit}"

    def texts(self) -> dict[str, tuple[str, int]]:
        """Path -> text and mode."""
        found = {CONFIG: (self.config, 0o600), self.unit_path: (unit_text(self.member), 0o644)}
        if self.token is not None:
            found[TOKEN] = (f"{self.token}\n", 0o600)
        if self.registries is not None:
            found[REGISTRIES] = (self.registries, 0o600)
        return found


@dataclass(frozen=True)
class Plan:
    binary: bool
    texts: tuple[str, ...]
    templates: tuple[str, ...]
    why_restart: tuple[str, ...]
    enable: bool
    other_unit: str = ""

    @property
    def changed(self) -> bool:
        return self.binary or self.enable or bool(self.texts or self.templates or self.why_restart or self.other_unit)

    def steps(self, wanted: Wanted, seen: Mapping[str, Any]) -> list[str]:
        """In words, one a line."""
        found = [f"stop and remove {self.other_unit}"] if self.other_unit else []
        found += [f"program: {seen['version'] or 'none'} -> {wanted.version}"] if self.binary else []
        found += [f"write {path}" for path in self.texts]
        found += [f"move aside {path}" for path in self.templates]
        found += [f"enable {wanted.unit}"] if self.enable else []
        return found + [f"start {wanted.unit} anew: {reason}" for reason in self.why_restart]


def plan(wanted: Wanted, seen: Mapping[str, Any], pending: bool, place: Callable[[str], str] = str) -> Plan:
    """What lacks, by the look at the node."""
    known, asked = ("checksum", wanted.checksum) if wanted.checksum else ("version", wanted.version)
    binary = seen[known] != asked
    texts = tuple(path for path, (text, mode) in wanted.texts().items() if _differs(place(path), text, mode))
    broken = tuple(item["path"] for item in seen["templates"] if item["broken"]) if wanted.mend_templates else ()
    unit = seen["unit"]
    reasons = []
    if unit["active"] != "active":
        reasons.append(f"it is {unit['active']}")
    elif pending:
        reasons.append("a run before this one ended before it was known to be well")
    elif binary or texts or broken:
        reasons.append("what it reads has changed")
    elif (seen["node"] or {}).get("registered") is False:
        reasons.append("the cluster does not know the node")
    elif wanted.nvidia and lacks_nvidia(seen):
        reasons.append("nvidia-container-runtime has come since it started, and it looks for that only then")
    other = seen["other_unit"]["name"] if seen["other_unit"]["ours"] else ""
    return Plan(binary, texts, broken, tuple(reasons), unit["enabled"] not in STARTS_AT_BOOT, other)


def _differs(path: str, text: str, mode: int) -> bool:
    now = ownership.look(path, follow=False)
    return now.text != text or now.mode != mode


def differences(wanted: Wanted, todo: Plan) -> list[dict[str, str]]:
    """For the answer. Tokens and registries are told of, not shown."""
    found = []
    for path in todo.texts:
        before, after = files.read_text(path), wanted.texts()[path][0]
        if path in (TOKEN, REGISTRIES):
            before, after = "(not shown, before)\n" if before is not None else "", "(not shown, after)\n"
        found.append(files.difference(path, _bare(before), _bare(after)))
    for path in todo.templates:
        found.append(files.difference(path, "in force\n", f"moved to {path}.gpunode-disabled\n"))
    return found


def secrets_of(config: str) -> list[str]:
    """The values in a configuration that no answer may show."""
    try:
        data = machine_yaml.loads(config)
    except machine_yaml.YamlError:
        return []
    given = data if isinstance(data, dict) else {}
    return [str(given[name]) for name in SECRETS if given.get(name)]


def _bare(text: str | None) -> str | None:
    """A configuration without the values of the options that are secrets."""
    lines = (text or "").splitlines(keepends=True)
    names = tuple(f"{name}:" for name in SECRETS)
    return "".join(f"{line.partition(':')[0]}: (not shown)\n" if line.startswith(names) else line for line in lines)


class Install:
    """The writing. ``run`` runs a command without a shell."""

    def __init__(self, wanted: Wanted, todo: Plan, run: Runner, place: Callable[[str], str] = str) -> None:
        self.wanted = wanted
        self.todo = todo
        self.run = run
        self.place = place
        self.ledger = ownership.Ledger("k3s", place)
        self.before: list[tuple[str, ownership.Content]] = []
        self.aside: list[tuple[str, str]] = []
        self.replaced = False
        self.had_binary = False
        self.facts = {name: self.ledger.fact(name) for name in ("pending", "binary", "had_binary")}

    def write(self) -> None:
        """Everything. Raises ``InstallError`` or ``files.WriteError``, and then nothing of it is left half-way."""
        staged = self._try_binary() if self.todo.binary else ""
        try:
            self._remember(staged)
            for path in self.todo.texts:
                text, mode = self.wanted.texts()[path]
                self.before.append((path, ownership.look(self.place(path), follow=False)))
                files.make_folder(os.path.dirname(self.place(path)))
                files.replace_text(self.place(path), text, mode=mode)
            for path in self.todo.templates:
                self.aside.append((self.place(path), files.move_aside(self.place(path))))
            if staged:
                self._put_binary(staged)
                staged = ""
        except BaseException:
            self.back()
            with contextlib.suppress(files.WriteError):
                self.ledger.replace(pending=self.facts["pending"])
                self.ledger.save()
            raise
        finally:
            if staged:
                with contextlib.suppress(OSError):
                    os.unlink(staged)

    def _remember(self, staged: str) -> None:
        texts = self.wanted.texts()
        for path in self.todo.texts:
            if path not in (TOKEN, REGISTRIES):  # what is secret stays where it is, and in no second place
                self.ledger.note(path, text=texts[path][0], mode=texts[path][1])
        self.ledger.replace(unit=self.wanted.unit)
        if staged:
            there = sha256_of(self.place(BINARY))
            theirs = bool(there) and there != self.facts["binary"]
            self.ledger.replace(binary=sha256_of(staged), had_binary=theirs or None)
        self.ledger.replace(pending=True)
        self.ledger.save()

    def _try_binary(self) -> str:
        """The program under a name of its own beside the old one, verified and tried."""
        source, wanted = self.wanted.binary, self.wanted
        if not source:
            raise InstallError(
                f"{BINARY} is not k3s {wanted.version} with the checksum asked for, and no file was given to replace "
                "it with (option `binary`)."
            )
        target = self.place(BINARY)
        files.make_folder(os.path.dirname(target))
        files.sweep(target)
        temporary = os.path.join(os.path.dirname(target), f".k3s.gpunode-{os.getpid()}-{secrets.token_hex(8)}")
        try:
            with (
                open(source, "rb") as old,
                open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o700), "wb") as new,
            ):
                shutil.copyfileobj(old, new, 1 << 20)
                new.flush()
                os.fchmod(new.fileno(), 0o755)
                os.fsync(new.fileno())
            found = sha256_of(temporary)
            if wanted.checksum and found != wanted.checksum:
                self._drop_stage()
                raise InstallError(
                    f"{source} is not what was asked for: its sha256 is {found}; expected {wanted.checksum}. The k3s "
                    "that was there is untouched."
                )
            done = self.run([temporary, "--version"], 60.0)
            if version_of(done) != wanted.version:
                said = (done.out or done.err).strip().splitlines()[:1]
                raise InstallError(
                    f"{source} says that it is `{said[0] if said else f'nothing (exit status {done.rc})'}`; expected "
                    f"k3s {wanted.version} that runs on this node. The k3s that was there is untouched."
                )
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            if isinstance(error, OSError):
                raise InstallError(f"{source} cannot be put in place: {error.strerror}") from error
            raise
        return temporary

    def _put_binary(self, staged: str) -> None:
        target, previous = self.place(BINARY), self.place(PREVIOUS)
        self.had_binary = os.path.exists(target)
        try:
            if self.had_binary:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(previous)
                os.link(os.path.realpath(target), previous)
            os.replace(staged, target)
        except OSError as error:
            raise InstallError(f"{BINARY} cannot be replaced: {error.strerror}. It is as it was.") from error
        self.replaced = True

    def back(self) -> None:
        """Files, templates and program are as they were before ``write``."""
        if self.replaced and self.had_binary:
            os.replace(self.place(PREVIOUS), self.place(BINARY))
        self.ledger.replace(binary=self.facts["binary"], had_binary=self.facts["had_binary"])
        for path, kept in reversed(self.aside):
            os.rename(kept, path)
        for path, content in reversed(self.before):
            now = ownership.look(self.place(path), follow=False)
            ownership.put(ownership.Undo(path, now, content), self.place)
        self.aside, self.before, self.replaced = [], [], False

    def done(self) -> None:
        """It is up: what was begun is complete."""
        self.ledger.replace(pending=None)
        self.ledger.save()
        if self.todo.binary:
            self._drop_stage()

    def _drop_stage(self) -> None:
        """The copy that was brought for this run alone; a user's own file stays."""
        if self.wanted.binary.startswith(f"{STAGE}/"):
            with contextlib.suppress(OSError):
                os.unlink(self.wanted.binary)
            with contextlib.suppress(OSError):
                os.rmdir(STAGE)


def take_back(ledger: ownership.Ledger, write: bool, place: Callable[[str], str] = str) -> list[str]:
    """What we brought, on a node without a cluster's data, goes: in words. Units are the caller's to stop before."""
    steps = []
    for path in ledger.paths:
        undo = ledger.undo(path)
        if undo.problem:
            steps.append(undo.problem)
        elif undo.changed:
            steps.append(f"{'restore' if undo.after.there else 'remove'} {path}")
            if write:
                ownership.put(undo, place)
    if ledger.exists and os.path.exists(place(TOKEN)):
        steps.append(f"remove {TOKEN}")
        if write:
            files.remove(place(TOKEN))
    ours = ledger.fact("binary") or ""
    if ours and sha256_of(place(BINARY)) == ours:
        restored = ledger.fact("had_binary") and _regular(place(PREVIOUS))
        steps.append(f"{'restore' if restored else 'remove'} {BINARY}")
        if write and restored:
            os.replace(place(PREVIOUS), place(BINARY))
        elif write:
            files.remove(place(BINARY))
    if write and ledger.exists:
        with contextlib.suppress(OSError):
            os.unlink(place(PREVIOUS))
        ledger.forget()
    return steps


def _regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
