# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a repair will do: the roles that findings name, what they wait for, and what only a person can mend.

A log tells what was, a look tells what is. A finding of a log alone counts as past where a check of the same id looked
and found nothing; where no check has that id, nobody can contradict it, so it counts, and tells when it was seen.

Rules of this file: data in, data out, no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

from .checks.all import CHECKS
from .checks.cluster_all import CLUSTER_CHECKS
from .diagnose import merged
from .findings import Finding
from .wording import evidence_line

_EPOCH = re.compile(r"@(\d{10})\.\d{1,9}")
_LIMIT = 300


@dataclass(frozen=True)
class Look:
    """What was looked at besides logs. ``found``: ids; ``layers``: those that were judged, all where it is None."""

    found: frozenset[str]
    knows: Mapping[str, str]  # the ids that this look can judge, each with its layer
    layers: frozenset[str] | None = None

    def denies(self, finding: Finding) -> bool:
        """Whether it looked for this, and found nothing."""
        layer = self.knows.get(finding.id)
        if layer is None or finding.id in self.found:
            return False
        return self.layers is None or layer in self.layers


def look_at_node(found: Iterable[str], states: Mapping[str, str]) -> Look:
    """``found``: the ids that ``node_check`` returned; ``states``: the layers' states, as it returned them."""
    judged = frozenset(layer for layer, state in states.items() if state != "unknown")
    return Look(frozenset(found), {check.id: check.layer for check in CHECKS}, judged)


def look_at_cluster(found: Iterable[str], nodes: Sequence[Look] = ()) -> Look:
    """``found``: the ids that ``cluster_info`` returned for an API that answered.

    ``nodes``: the looks at all of its GPU nodes. What each of them denies, no log of their pods can claim.
    """
    ids = frozenset(found)
    layers = {check.id: check.layer for check in CLUSTER_CHECKS}
    # an API that does not answer, or refuses, shows nothing, and so denies nothing
    blind = any(layers.get(name) == "kubeadm" and name != "kubeadm-version-mismatch" for name in ids)
    knows = {} if blind else layers
    for name, layer in nodes[0].knows.items() if nodes else ():
        if all(node.layers is None or layer in node.layers for node in nodes):
            knows.setdefault(name, layer)
    return Look(ids.union(*(node.found for node in nodes)), knows)


@dataclass(frozen=True)
class Plan:
    """``roles``: what will run, lowest layer first. Each other field lists findings, root cause first."""

    roles: tuple[str, ...] = ()
    mended: tuple[Finding, ...] = field(default=())  # by those roles
    waiting: tuple[Finding, ...] = field(default=())  # for a person to mend their cause
    by_hand: tuple[Finding, ...] = field(default=())  # no role can
    elsewhere: tuple[Finding, ...] = field(default=())  # by a role that does not belong here
    past: tuple[Finding, ...] = field(default=())  # only a log says so, and the look denies it

    def as_dict(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in ("mended", "waiting", "by_hand", "elsewhere", "past")}
        return {
            "roles": list(self.roles),
            **{name: [finding.as_dict() for finding in findings] for name, findings in named.items()},
        }


def planned(findings: Sequence[Finding], roles: Sequence[str], look: Look) -> Plan:
    """``roles``: those that belong here, in the order in which they run."""
    past = [finding for finding in findings if look.denies(finding)]
    rest = [finding for finding in findings if finding not in past and finding.severity != "notice"]
    by_hand = [finding for finding in rest if not finding.remedy.role]
    needed = {finding.id for finding in by_hand}
    waiting = [finding for finding in rest if finding.remedy.role and finding.consequence_of in needed]
    named = [finding for finding in rest if finding.remedy.role and finding not in waiting]
    mended = [finding for finding in named if finding.remedy.role in roles]
    wanted = {finding.remedy.role for finding in mended}
    return Plan(
        roles=tuple(role for role in roles if role in wanted),
        mended=tuple(mended),
        waiting=tuple(waiting),
        by_hand=tuple(by_hand),
        elsewhere=tuple(finding for finding in named if finding not in mended),
        past=tuple(past),
    )


def left(judged: Sequence[Finding], before: Sequence[Finding], look: Look, done: Iterable[str]) -> list[Finding]:
    """What is left: ``judged``, what the look found, and of ``before`` what only logs said and still stands.

    ``done``: the roles that ran to their end. What a log said before cannot be asked of the log again: what the look
    denies, or such a role was run for, stays as a notice.
    """
    ran = set(done)
    texts = []
    for finding in before:
        if finding.id in look.found:
            continue
        if look.denies(finding):
            texts.append(_over(finding, "The look shows no more of it."))
        elif finding.remedy.role in ran:
            texts.append(_over(finding, f"Role {finding.remedy.role} ran for it; the log was written before."))
        else:
            texts.append(finding)
    return merged(texts, judged)


def _over(finding: Finding, why: str) -> Finding:
    return replace(finding, severity="notice", cause=f"{finding.cause} {why}", consequence_of=None)


# words ---------------------------------------------------------------------------------------------------------------


def lines(plan: Plan, look: Look) -> list[str]:
    """The plan for a terminal: one line says what runs, one what needs a person; then why, with the evidence."""
    runs = ", ".join(plan.roles) or "none, nothing to mend"
    person = ", ".join(dict.fromkeys(finding.id for finding in plan.by_hand)) or "nothing"
    told = [f"Roles: {runs}", f"Needs a person: {person}"]
    for finding in plan.mended:
        tag = f" (tag {finding.remedy.tag})" if finding.remedy.tag else ""
        told.append(f"{finding.remedy.role}{tag} for {_said(finding, look)}")
    for finding in plan.waiting:
        told.append(f"{finding.remedy.role} waits until {finding.consequence_of} is mended: {_said(finding, look)}")
    for finding in plan.elsewhere:
        told.append(f"{finding.remedy.role} does not run here, though it mends {_said(finding, look)}")
    told += [f"past, for the look shows no more of it: {_said(finding, look)}" for finding in plan.past]
    return told


def by_hand(findings: Iterable[Finding]) -> list[str]:
    """What is left for a person, each with its remedy."""
    told = []
    for finding in findings:
        if finding.severity == "notice":
            continue
        commands = "".join(f" $ {command}" for command in finding.remedy.commands)
        told.append(
            f"[{finding.severity}] {finding.id} ({finding.subject}): {finding.cause} {finding.remedy.text}{commands}"
        )
    return told


def _said(finding: Finding, look: Look) -> str:
    kind = "seen" if finding.id in look.found else "only a log says so"
    evidence = "; ".join(_dated(evidence_line(item)) for item in finding.evidence[:4])[:_LIMIT]
    return f"{finding.id}, {finding.subject}: {finding.cause} [{kind}{f' - {evidence}' if evidence else ''}]"


def _dated(text: str) -> str:
    """journald's seconds since 1970 as a time that people read."""

    def spelt(match: re.Match[str]) -> str:
        return datetime.fromtimestamp(int(match.group(1)), timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    return _EPOCH.sub(spelt, text)
