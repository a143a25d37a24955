# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a known failure is written down: what programs print of it, as data.

Rules of this file: data only, no I/O. A failure shares its id and its words with the check of the same id, where there
is one. Every repetition in a pattern is bounded, so that matching takes time linear in the length of a line; a blank
stands for any white space, so that a message that was wrapped is still known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache

from ..checks.all import CHECKS
from ..findings import Remedy

_CHECKS = {check.id: check for check in CHECKS}
_BLANK = r"[ \t\n]{1,4}"
_MAYBE_BLANK = r"[ \t\n]{0,4}"


@dataclass(frozen=True)
class Signature:
    """One message. ``literals``: fixed text of which a line must hold one, before the pattern is tried at all."""

    pattern: str
    literals: tuple[str, ...]
    component: str  # the program that prints it
    source: str  # where upstream prints it, or the thread it was taken from
    sample: str  # as really printed
    versions: str = "all"
    cause: str = ""  # with {captured} values; the failure's meaning where empty
    near: tuple[str, ...] = ()  # names of marks: one of them must stand close by
    unless: tuple[str, ...] = ()  # names of marks: none of them may stand close by
    ended_by: tuple[str, ...] = ()  # names of marks that, seen later, say that it is over
    not_with: str = ""  # a pattern that the same line must not hold
    weak: bool = False  # a symptom that several failures share: told after all that are none


@dataclass(frozen=True)
class Failure:
    """A root cause with a stable id, and all that programs are known to print of it."""

    id: str
    layer: str
    severity: str
    meaning: str
    remedy: Remedy
    signatures: tuple[Signature, ...]
    consequence_of: tuple[str, ...] = field(default=())
    mistaken_for: tuple[str, ...] = field(default=())  # ids that print alike, and how this one differs is its pattern


@dataclass(frozen=True)
class Mark:
    """Context: text that is no failure itself, but tells one failure from another."""

    name: str
    pattern: str
    literals: tuple[str, ...]
    common: bool = False  # on so many lines of a journal that lines are not chosen for it


@dataclass(frozen=True)
class Benign:
    """A line that looks alarming and is not: nothing on it counts, or nothing of ``ids`` where any are named."""

    pattern: str
    literals: tuple[str, ...]
    why: str
    source: str
    sample: str
    ids: tuple[str, ...] = field(default=())


def shared(
    name: str,
    signatures: Iterable[Signature],
    *,
    severity: str | None = None,
    consequence_of: tuple[str, ...] | None = None,
    mistaken_for: tuple[str, ...] = (),
) -> Failure:
    """The failure that the check ``name`` judges from facts, known from text: its layer, meaning and remedy are the
    check's."""
    check = _CHECKS[name]
    return Failure(
        id=check.id,
        layer=check.layer,
        severity=severity or check.severity,
        meaning=check.meaning,
        remedy=check.remedy,
        signatures=tuple(signatures),
        consequence_of=check.consequence_of if consequence_of is None else consequence_of,
        mistaken_for=mistaken_for,
    )


def widened(pattern: str) -> str:
    """The pattern with each blank outside a character class made to match wrapped text as well."""
    parts: list[str] = []
    inside = escaped = False
    for character in pattern:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == "[":
            inside = True
        elif character == "]":
            inside = False
        elif character == " " and not inside:
            parts.append(_BLANK)
            continue
        elif character == "?" and parts and parts[-1] == _BLANK:
            parts[-1] = _MAYBE_BLANK
            continue
        parts.append(character)
    return "".join(parts)


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """Compiled when first needed: most patterns never are."""
    return re.compile(widened(pattern), re.MULTILINE)
