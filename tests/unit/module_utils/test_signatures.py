# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue: every known failure has its words, its provenance and its own real sample."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.checks.all import CHECKS
from ansible_collections.gpunode.ready.plugins.module_utils.diagnose import diagnose_text
from ansible_collections.gpunode.ready.plugins.module_utils.findings import LAYERS, SEVERITIES
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.all import FAILURES
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.benign import BENIGN
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.catalogue import compiled, widened
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.marks import MARKS

ROOT = Path(__file__).resolve().parents[3]
IDS = [failure.id for failure in FAILURES]
SIGNATURES = [
    pytest.param(failure, signature, id=f"{failure.id}-{index}")
    for failure in FAILURES
    for index, signature in enumerate(failure.signatures)
]
PATTERNS = sorted(
    {signature.pattern for failure in FAILURES for signature in failure.signatures}
    | {signature.not_with for failure in FAILURES for signature in failure.signatures if signature.not_with}
    | {mark.pattern for mark in MARKS}
    | {item.pattern for item in BENIGN}
)


def test_there_is_one_failure_for_each_id():
    assert sorted(IDS) == sorted(set(IDS))
    assert len(IDS) == 84


@pytest.mark.parametrize("failure", FAILURES, ids=IDS)
def test_a_failure_is_told_in_words_of_the_design(failure):
    assert failure.layer in LAYERS
    assert failure.severity in SEVERITIES
    assert failure.severity != "notice", "a notice is no diagnosis"
    assert failure.meaning.endswith(".")
    assert failure.remedy.text.endswith(".")
    assert set(failure.consequence_of) <= set(IDS) | {check.id for check in CHECKS}
    assert set(failure.mistaken_for) <= set(IDS) - {failure.id}


@pytest.mark.parametrize("failure", FAILURES, ids=IDS)
def test_a_failure_that_a_check_judges_too_is_told_in_the_check_s_words(failure):
    check = {check.id: check for check in CHECKS}.get(failure.id)
    if check is None:
        return

    assert (failure.layer, failure.meaning, failure.remedy) == (check.layer, check.meaning, check.remedy)


def test_every_role_and_tag_that_a_remedy_names_exists():
    named = {(failure.remedy.role, failure.remedy.tag) for failure in FAILURES if failure.remedy.role}

    missing = [
        f"{role}: {tag}"
        for role, tag in sorted(named, key=str)
        if f"{tag}" not in (ROOT / "roles" / role / "tasks/main.yml").read_text()
    ]
    assert missing == []


def test_no_failure_is_its_own_cause():
    causes = {failure.id: [name for name in failure.consequence_of if name in IDS] for failure in FAILURES}

    def reaches(name, seen):
        return any(cause in seen or reaches(cause, {*seen, cause}) for cause in causes[name])

    assert [name for name in IDS if reaches(name, {name})] == []


@pytest.mark.parametrize(("failure", "signature"), SIGNATURES)
def test_each_sample_is_claimed_by_its_own_failure(failure, signature):
    findings = diagnose_text(signature.sample)

    assert [finding.id for finding in findings][:1] == [failure.id]


@pytest.mark.parametrize(("failure", "signature"), SIGNATURES)
def test_each_signature_claims_its_own_sample_and_says_where_it_is_from(failure, signature):
    match = compiled(signature.pattern).search(signature.sample)

    assert match
    assert any(literal in signature.sample for literal in signature.literals)
    assert signature.component
    assert signature.source
    assert set(signature.near) | set(signature.unless) | set(signature.ended_by) <= {mark.name for mark in MARKS}
    named = set(re.findall(r"\{(\w+)\}", signature.cause))
    assert named <= set(compiled(signature.pattern).groupindex), "the cause tells what the pattern captures"


@pytest.mark.parametrize("item", BENIGN, ids=lambda item: item.why)
def test_a_benign_line_is_no_diagnosis(item):
    assert compiled(item.pattern).search(item.sample)
    assert diagnose_text(item.sample) == []


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_repetition_in_a_pattern_is_bounded(pattern):
    bare = re.sub(r"\\.|\[(?:\\.|[^\]\\])*\]", "x", pattern)

    assert not re.search(r"[*+]", bare), "use {0,80} and the like"
    assert not re.search(r"\{\d*,\}", bare)
    assert not re.search(r" [{*+]", pattern), "a blank stands for any white space already"


def _hostile(pattern: str) -> list[str]:
    """Texts that make a careless pattern slow: its own beginnings, over and over, and what its gaps take."""
    words = re.findall(r"[A-Za-z][\w /.:'\"-]{3,40}", pattern)[:6]
    return [*words, "a", " ", '"', "/", "a.b", "NVRM: ", "0 ", "\t\n", "[", "x:y "]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_takes_time_linear_in_the_length_of_a_line(pattern):
    search = compiled(pattern).search
    size = 8192  # the longest text that a pattern is tried on, but for what is joined to it

    slowest = 0.0
    for word in _hostile(pattern):
        text = (word * (size // len(word) + 1))[:size]
        started = time.perf_counter()
        search(text)
        slowest = max(slowest, time.perf_counter() - started)
    assert slowest < 0.25, "one line must not take this long"


def test_a_blank_is_any_white_space_but_in_a_class():
    assert re.fullmatch(widened("a b"), "a \n b")
    assert re.fullmatch(widened("a b ?c"), "a\nbc")
    assert not re.fullmatch(widened("a[ ]b"), "a\nb")
