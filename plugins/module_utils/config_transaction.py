# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change several files as one: all of them, or none, even when the run is killed in between.

What is about to be done is written to a journal, with a copy of every old file, before the first file is touched. The
journal goes when the change has proved itself. A run that finds one finishes the story by putting the old files back,
except where somebody has changed a file since: that is kept, and said.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .files import WriteError, read_text, remove, replace_text
from .ownership import STATE
from .runtime_names import CRIO_DROP_INS

BACKUPS_KEPT = 10
# Folders of which every file is read, whatever it is called: nothing half-written may ever lie there.
READ_WHOLE = (CRIO_DROP_INS,)


@dataclass(frozen=True)
class Change:
    """A file as it should be: its text, or None for none. ``shared``: others own it, so a link to it is followed."""

    path: str
    text: str | None
    mode: int | None = None
    shared: bool = False


class Transaction:
    """The files of one change. ``state`` is where journal and backups lie."""

    def __init__(self, name: str, state: str = STATE, now: float | None = None) -> None:
        self.name = name
        self.state = state
        self.now = now
        self.journal_path = os.path.join(state, "transactions", f"{name}.json")
        self.backup: str | None = None

    def pending(self) -> dict[str, Any] | None:
        """The journal that an interrupted run left; None where none did. One that cannot be read counts as empty:
        it was being written, so no file had been touched."""
        text = read_text(self.journal_path)
        if text is None:
            return None
        try:
            journal = json.loads(text)
        except ValueError:
            journal = {}
        return journal if isinstance(journal, dict) else {}

    def begin(self, changes: Sequence[Change], moves: Sequence[tuple[str, str]]) -> None:
        """Write the journal and copies of the old files. Nothing else is touched yet. Raises ``WriteError``."""
        self._folder(os.path.dirname(self.journal_path))
        self.backup = self._new_backup()
        files = []
        for change in changes:
            path = os.path.realpath(change.path) if change.shared else change.path
            old = read_text(path)
            entry: dict[str, Any] = {"path": path, "existed": old is not None, "new": _digest(change.text)}
            if old is not None:
                copy = os.path.join(self.backup, path.lstrip("/"))
                self._folder(os.path.dirname(copy))
                entry["mode"] = stat.S_IMODE(os.stat(path).st_mode)
                entry["old"] = _digest(old)
                entry["copy"] = copy
                replace_text(copy, old, mode=0o600)
            files.append(entry)
        journal = {
            "what": "An unfinished change of gpunode.ready: its next run takes it back and starts again.",
            "files": files,
            "moves": [list(move) for move in moves],
            "backup": self.backup,
        }
        replace_text(self.journal_path, json.dumps(journal, indent=2) + "\n", mode=0o600)

    def place(self, changes: Sequence[Change], moves: Sequence[tuple[str, str]]) -> None:
        """Put the new files in place. Raises ``WriteError``; what was placed before stays until ``take_back``."""
        for change in changes:
            if change.text is None:
                remove(change.path)
            elif os.path.dirname(change.path) in READ_WHOLE:
                _place_from_above(change)
            else:
                replace_text(change.path, change.text, mode=change.mode, follow=change.shared)
        for path, aside in moves:
            if os.path.lexists(path):
                try:
                    os.rename(path, aside)
                except OSError as error:
                    raise WriteError(path, f"cannot be renamed to {aside}: {error.strerror}") from error

    def take_back(self) -> list[str]:
        """Put the old files back as the journal says. Returns what was kept because somebody changed it since."""
        journal = self.pending() or {}
        kept = []
        for entry in journal.get("files", []):
            path = entry["path"]
            now = _digest(read_text(path))
            if now == entry.get("old"):
                continue
            if now != entry["new"]:
                kept.append(path)
            elif not entry["existed"]:
                remove(path)
            else:
                old = read_text(entry["copy"])
                if old is None:
                    raise WriteError(path, f"cannot be put back: its copy {entry['copy']} is gone")
                back = Change(path, old, entry["mode"])
                if os.path.dirname(path) in READ_WHOLE:
                    _place_from_above(back)
                else:
                    replace_text(path, old, mode=entry["mode"])
        for path, aside in journal.get("moves", []):
            if os.path.lexists(aside) and not os.path.lexists(path):
                with contextlib.suppress(OSError):
                    os.rename(aside, path)
        return kept

    def end(self) -> None:
        """The change has proved itself, or is taken back: forget the journal, keep the newest backups."""
        remove(self.journal_path)
        self._prune()

    def discard_backups(self) -> None:
        """All is as it was before the first change of this name: its copies have served."""
        base = os.path.join(self.state, "backup")
        with contextlib.suppress(OSError):
            for name in os.listdir(base):
                if (read_text(os.path.join(base, name, ".by")) or "").strip() == self.name:
                    shutil.rmtree(os.path.join(base, name), ignore_errors=True)

    def _new_backup(self) -> str:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() if self.now is None else self.now))
        base = os.path.join(self.state, "backup")
        self._folder(base)
        number = 1
        while True:
            path = os.path.join(base, stamp if number == 1 else f"{stamp}.{number}")
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                number += 1
            except OSError as error:
                raise WriteError(path, f"cannot be made: {error.strerror}") from error
            else:
                replace_text(os.path.join(path, ".by"), f"{self.name}\n", mode=0o600)
                return path

    def _prune(self) -> None:
        """Old backups of this change's name go; others' are not ours to judge. An empty one goes at once."""
        base = os.path.join(self.state, "backup")
        with contextlib.suppress(OSError):
            ours = [
                folder
                for folder in (os.path.join(base, name) for name in sorted(os.listdir(base)))
                if (read_text(os.path.join(folder, ".by")) or "").strip() == self.name
            ]
            empty = [folder for folder in ours if os.listdir(folder) == [".by"]]
            full = [folder for folder in ours if folder not in empty]
            for folder in [*empty, *full[:-BACKUPS_KEPT]]:
                shutil.rmtree(folder, ignore_errors=True)
            if self.backup in empty:
                self.backup = None

    @staticmethod
    def _folder(path: str) -> None:
        """Make a folder and those above it, each for root only: ``makedirs`` gives the mode to the last one alone."""
        missing = []
        while not os.path.isdir(path):
            missing.append(path)
            path = os.path.dirname(path)
        for folder in reversed(missing):
            try:
                os.mkdir(folder, 0o700)
            except FileExistsError:
                continue
            except OSError as error:
                raise WriteError(folder, f"cannot be made: {error.strerror}") from error


def _place_from_above(change: Change) -> None:
    """Write the file in the folder above, then rename it into its place."""
    folder, name = os.path.split(change.path)
    waiting = os.path.join(os.path.dirname(folder), f".{name}.gpunode-new")
    replace_text(waiting, change.text or "", mode=change.mode if change.mode is not None else 0o644)
    try:
        os.makedirs(folder, mode=0o755, exist_ok=True)
        os.replace(waiting, change.path)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(waiting)
        raise WriteError(change.path, f"not written: {error.strerror}. The old file is intact.") from error


def _digest(text: str | None) -> str | None:
    return None if text is None else hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
