# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a check is written, and how checks judge a node's facts.

A check is a generator over ``(facts, expect)`` that yields a ``Match`` for each thing wrong, and nothing where all is
well or where the facts it needs are unavailable. What it says of every match alike stands in its decorator, as data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..findings import Evidence, Finding, Remedy, by_cause

Facts = Mapping[str, Any]
Expect = Mapping[str, Any]


@dataclass(frozen=True)
class Match:
    """One thing wrong: its subject, and its cause with the values observed and expected.

    ``remedy`` and ``severity`` replace those of the check where this one match needs its own.
    """

    subject: str
    cause: str
    evidence: tuple[Evidence, ...] = ()
    remedy: Remedy | None = None
    severity: str | None = None


Judge = Callable[[Facts, Expect], Iterator[Match]]


@dataclass(frozen=True)
class Check:
    """A judgement with a stable id. ``meaning`` is its line in docs/diagnosis.md."""

    id: str
    layer: str
    severity: str
    meaning: str
    remedy: Remedy
    judge: Judge
    consequence_of: tuple[str, ...] = field(default=())

    def findings(self, facts: Facts, expect: Expect) -> Iterator[Finding]:
        """``consequence_of`` is settled by ``judge_node``, which knows what else was found."""
        for match in self.judge(facts, expect):
            yield Finding(
                id=self.id,
                layer=self.layer,
                severity=match.severity or self.severity,
                subject=match.subject,
                cause=match.cause,
                remedy=match.remedy or self.remedy,
                evidence=match.evidence,
            )


def check(
    name: str, *, layer: str, severity: str, meaning: str, remedy: Remedy, consequence_of: tuple[str, ...] = ()
) -> Callable[[Judge], Check]:
    """Make a generator a ``Check``."""

    def decorate(judge: Judge) -> Check:
        return Check(name, layer, severity, meaning, remedy, judge, consequence_of)

    return decorate


def judge_node(checks: Iterable[Check], facts: Facts, expect: Expect, layers: Iterable[str] = ()) -> list[Finding]:
    """All that is wrong, root cause first; only ``layers``, where any are named.

    A finding is folded under the first id of its check's ``consequence_of`` that was found too.
    """
    wanted = set(layers)
    chosen = [item for item in checks if not wanted or item.layer in wanted]
    found = [(item, finding) for item in chosen for finding in item.findings(facts, expect)]
    present = {finding.id for _item, finding in found}
    settled = []
    for item, finding in found:
        cause = next((name for name in item.consequence_of if name in present), None)
        settled.append(Finding(**{**finding.__dict__, "consequence_of": cause}))
    return by_cause(settled, [item.id for item in chosen])
