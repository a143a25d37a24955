# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings: what is wrong, where, why, and how to mend it. The one currency between looking, judging and saying.

Rules of this file: data only, no I/O. An id, once released, is never reused: users mute findings by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

# From cause to consequence: the order in which findings are told.
LAYERS = (
    "packaging",
    "host",
    "driver",
    "nvml",
    "toolkit",
    "runtime",
    "cdi",
    "kubelet",
    "kubeadm",
    "plugin",
    "scheduler",
    "workload",
    "storage",
    "monitoring",
)
SEVERITIES = ("fatal", "degraded", "notice")


@dataclass(frozen=True)
class Evidence:
    """Where something was seen: a file, unit, command or pod; the line there, if it has lines; the text itself."""

    source: str
    text: str = ""
    line: int | None = None


@dataclass(frozen=True)
class Remedy:
    """What mends it: as a sentence, as commands to type, and as the role (and its tag) that does it, if one does."""

    text: str
    commands: tuple[str, ...] = ()
    role: str | None = None
    tag: str | None = None


@dataclass(frozen=True)
class Finding:
    """One thing wrong on one subject. ``cause`` carries the values observed and expected."""

    id: str
    layer: str
    severity: str
    subject: str
    cause: str
    remedy: Remedy
    evidence: tuple[Evidence, ...] = field(default=())
    consequence_of: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain lists and dicts, as a module returns them."""
        plain = asdict(self)
        plain["evidence"] = list(plain["evidence"])
        plain["remedy"]["commands"] = list(plain["remedy"]["commands"])
        return plain

    def without_secrets(self, without: Callable[[str], str]) -> Finding:
        """The finding with ``without`` applied to what was seen: its cause and its evidence."""
        evidence = tuple(replace(item, text=without(item.text)) for item in self.evidence)
        return replace(self, cause=without(self.cause), evidence=evidence)


def from_dict(plain: dict[str, Any]) -> Finding:
    """The inverse of ``Finding.as_dict``. Raises ``KeyError`` or ``TypeError`` on what is no finding."""
    remedy = dict(plain["remedy"])
    remedy["commands"] = tuple(remedy.get("commands") or ())
    evidence = tuple(Evidence(**item) for item in plain.get("evidence") or ())
    return Finding(**{**plain, "remedy": Remedy(**remedy), "evidence": evidence})


def by_cause(findings: Iterable[Finding], order: Sequence[str] = ()) -> list[Finding]:
    """Sorted from root cause to consequence: roots first, then by layer, by place in the catalogue, by severity.

    ``order`` lists ids as the catalogue does. A finding whose ``consequence_of`` is among the findings comes after
    all roots; one whose named cause was not found stands as a root itself.
    """
    found = list(findings)
    present = {finding.id for finding in found}
    place = {name: index for index, name in enumerate(order)}

    def key(finding: Finding) -> tuple[bool, int, int, int, str]:
        return (
            finding.consequence_of in present,
            LAYERS.index(finding.layer),
            place.get(finding.id, len(place)),
            SEVERITIES.index(finding.severity),
            finding.subject,
        )

    return sorted(found, key=key)


def worst(findings: Iterable[Finding]) -> str | None:
    """The gravest severity among the findings; None where there are none."""
    severities = {finding.severity for finding in findings}
    return next((severity for severity in SEVERITIES if severity in severities), None)
