# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings in words for a terminal: the message of a failed check, and the findings of the table.

Rules of this file: text only, no I/O. One finding always reads: what, cause, evidence, remedy, commands, role.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .findings import Evidence, Finding


def count(number: int, noun: str) -> str:
    """``1 finding``, ``2 findings``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def where(evidence: Evidence) -> str:
    """``/etc/fstab:12``, or the source alone."""
    return evidence.source if evidence.line is None else f"{evidence.source}:{evidence.line}"


def evidence_line(evidence: Evidence) -> str:
    """``/etc/fstab:12: /swap.img none swap sw 0 0``, on one line."""
    text = " ⏎ ".join(line.strip() for line in evidence.text.splitlines() if line.strip())
    return f"{where(evidence)}: {text}" if text else where(evidence)


def role_of(finding: Finding) -> str:
    """How to have a role mend it, as one would type it; empty where a person is needed."""
    remedy = finding.remedy
    if not remedy.role:
        return ""
    return f"role gpunode.ready.{remedy.role}" + (f", tag {remedy.tag}" if remedy.tag else "")


def folded(findings: Sequence[Finding]) -> list[tuple[Finding, list[Finding]]]:
    """Each root cause with all that follows from it, directly or not, in the order given, but mere notices last.

    A finding whose named cause is not among the findings, or that would be its own cause, stands as a root.
    """
    first: dict[str, Finding] = {}
    for finding in findings:
        first.setdefault(finding.id, finding)

    def root_of(finding: Finding) -> str:
        seen = [finding.id]
        while finding.consequence_of in first and finding.consequence_of not in seen:
            finding = first[finding.consequence_of]
            seen.append(finding.id)
        return finding.id

    roots = [finding for finding in findings if root_of(finding) == finding.id]
    answer: list[tuple[Finding, list[Finding]]] = [(root, []) for root in roots]
    holder: dict[str, list[Finding]] = {}
    for root, consequences in answer:
        holder.setdefault(root.id, consequences)
    for finding in findings:
        name = root_of(finding)
        if name == finding.id:
            continue
        if name in holder:
            holder[name].append(finding)
        else:  # a circle of causes: nobody is the root, so each stands for itself
            answer.append((finding, []))
    return sorted(answer, key=lambda item: item[0].severity == "notice" and not item[1])


def finding_lines(finding: Finding, number: int | None = None) -> list[str]:
    """One finding, told in full."""
    head = "" if number is None else f"{number}. "
    lines = [f"{head}[{finding.severity}] {finding.layer}: {finding.id} ({finding.subject})", f"   {finding.cause}"]
    lines += [f"   seen: {evidence_line(item)}" for item in finding.evidence]
    lines.append(f"   mend: {finding.remedy.text}")
    lines += [f"         $ {command}" for command in finding.remedy.commands]
    role = role_of(finding)
    if role:
        lines.append(f"   with: {role}")
    return lines


def tell(findings: Sequence[Finding], heading: str = "") -> str:
    """All findings, each root cause with its consequences folded under it."""
    lines = [heading] if heading else []
    for number, (root, consequences) in enumerate(folded(findings), start=1):
        lines += finding_lines(root, number)
        lines += [f"   hence: [{item.severity}] {item.layer}: {item.id}: {item.cause}" for item in consequences]
    return "\n".join(lines)


def summary(findings: Iterable[Finding]) -> str:
    """``2 fatal, 1 degraded``, or ``nothing wrong``."""
    severities = [finding.severity for finding in findings]
    told = [f"{severities.count(name)} {name}" for name in ("fatal", "degraded", "notice") if name in severities]
    return ", ".join(told) or "nothing wrong"
