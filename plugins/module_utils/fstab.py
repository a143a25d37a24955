# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""/etc/fstab: text in, text out. What is not understood is kept as it is, byte for byte.

A line counts as active when it is neither empty nor a comment. Fields are parted by blanks and tabs, as mount(8)
parts them; the third one alone decides whether a line is swap.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FSTAB = "/etc/fstab"
# What stands before a line that was switched off: found again by a person, and by whoever wants to undo it.
SWAP_OFF_MARKER = "# gpunode.ready, swap off: "
DEBUGFS_LINE = "debugfs /sys/kernel/debug debugfs nosuid,nodev,noexec,nofail 0 0"


@dataclass(frozen=True)
class Edit:
    """A text before and after."""

    before: str
    after: str

    @property
    def changed(self) -> bool:
        return self.before != self.after


@dataclass(frozen=True)
class Entry:
    """One active line: its number (from 1), its text, its fields."""

    line: int
    text: str
    fields: tuple[str, ...]

    @property
    def type(self) -> str:
        return self.fields[2] if len(self.fields) > 2 else ""

    @property
    def mount(self) -> str:
        return self.fields[1] if len(self.fields) > 1 else ""

    @property
    def is_swap(self) -> bool:
        return self.type == "swap"


def entries(text: str) -> list[Entry]:
    """The active lines."""
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        entry = _entry(number, line)
        if entry:
            found.append(entry)
    return found


def swap_entries(text: str) -> list[Entry]:
    return [entry for entry in entries(text) if entry.is_swap]


def duplicates(text: str) -> list[Entry]:
    """Each active line that says again what an earlier one said: the same fields, whatever blanks part them."""
    seen = set()
    again = []
    for entry in entries(text):
        if entry.fields in seen:
            again.append(entry)
        seen.add(entry.fields)
    return again


def without_swap(text: str) -> Edit:
    """Every swap line commented out behind a marker, and every line that only repeats an earlier one dropped.

    A line commented out once is not commented out twice, should somebody have added the same line anew.
    """
    dropped = {entry.line for entry in duplicates(text)}
    lines = text.split("\n")
    already = {_fields(line[len(SWAP_OFF_MARKER) :]) for line in lines if line.startswith(SWAP_OFF_MARKER)}
    for entry in swap_entries(text):
        if entry.fields in already:
            dropped.add(entry.line)
        else:
            lines[entry.line - 1] = SWAP_OFF_MARKER + entry.text
    kept = [line for number, line in enumerate(lines, start=1) if number not in dropped]
    return Edit(text, _ended_as(text, "\n".join(kept)))


def with_swap(text: str) -> Edit:
    """The inverse: every line behind the marker is active again, unless somebody has written it anew meanwhile."""
    active = {entry.fields for entry in entries(text)}
    kept = []
    for line in text.split("\n"):
        if line.startswith(SWAP_OFF_MARKER):
            line = line[len(SWAP_OFF_MARKER) :]
            if _fields(line) in active:
                continue
        kept.append(line)
    return Edit(text, _ended_as(text, "\n".join(kept)))


def without_debugfs(text: str) -> Edit:
    """Without the line that ``with_debugfs`` adds; one that somebody wrote otherwise stays."""
    kept = [line for line in text.split("\n") if line != DEBUGFS_LINE]
    return Edit(text, _ended_as(text, "\n".join(kept)))


def summary(edit: Edit) -> str:
    """What ``without_swap`` did, in a few words."""
    before, after = edit.before.count("\n" + SWAP_OFF_MARKER), edit.after.count("\n" + SWAP_OFF_MARKER)
    commented = after - before + edit.after.startswith(SWAP_OFF_MARKER) - edit.before.startswith(SWAP_OFF_MARKER)
    repeated = len(entries(edit.before)) - len(entries(edit.after)) - commented
    told = [(commented, "commented out"), (repeated, "dropped as a repetition")]
    return ", ".join(f"{count} line{'s' if count > 1 else ''} {what}" for count, what in told if count)


def with_debugfs(text: str) -> Edit:
    """debugfs mounted at boot: the first such line stays as it is, further ones go; without any, one is added."""
    found = [entry for entry in entries(text) if entry.type == "debugfs"]
    if not found:
        gap = "\n" if text and not text.endswith("\n") else ""
        return Edit(text, f"{text}{gap}{DEBUGFS_LINE}\n")
    dropped = {entry.line for entry in found[1:] if entry.mount == found[0].mount}
    kept = [line for number, line in enumerate(text.split("\n"), start=1) if number not in dropped]
    return Edit(text, _ended_as(text, "\n".join(kept)))


def _fields(line: str) -> tuple[str, ...]:
    return tuple(field for field in re.split(r"[ \t]+", line.rstrip("\r").strip(" \t")) if field)


def _entry(number: int, line: str) -> Entry | None:
    fields = _fields(line)
    if not fields or fields[0].startswith("#"):
        return None
    return Entry(number, line, fields)


def _ended_as(before: str, after: str) -> str:
    """Dropping the last line must not lose the end of the file's last line."""
    if before.endswith("\n") or not before:
        return after if after.endswith("\n") or not after else f"{after}\n"
    return after
