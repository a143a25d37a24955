# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue as configuration of node-problem-detector, and findings as metrics."""

from __future__ import annotations

import json
import re

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.diagnose import diagnose_text
from ansible_collections.gpunode.ready.plugins.module_utils.node_problem_detector import (
    SOURCES,
    configuration,
    fits,
    main,
    reason,
)
from ansible_collections.gpunode.ready.plugins.module_utils.prometheus_text import label, textfile
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.all import FAILURES


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_a_configuration_is_what_the_system_log_monitor_reads(source, capsys):
    assert main([source]) == 0

    written = json.loads(capsys.readouterr().out)

    assert written == configuration(source)
    known = "plugin pluginConfig logPath lookback bufferSize source metricsReporting conditions rules"
    assert set(written) <= set(known.split())
    assert written["rules"]
    named = {condition["type"] for condition in written["conditions"]}
    for rule in written["rules"]:
        assert rule["type"] in ("temporary", "permanent")
        assert ("condition" in rule) == (rule["type"] == "permanent")
        assert rule.get("condition", "GPUNodeProblem") in named | {"GPUNodeProblem"}


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_a_pattern_says_nothing_that_go_s_expressions_cannot(source):
    for rule in configuration(source)["rules"]:
        assert not re.search(r"\(\?[=!<](?!P)", rule["pattern"].replace("(?P<", "("))
        assert all(int(bound) <= 1000 for bound in re.findall(r",(\d+)\}", rule["pattern"]))


def test_each_rule_matches_the_sample_of_its_signature():
    rules = {(rule["reason"], rule["pattern"]) for source in SOURCES for rule in configuration(source)["rules"]}

    checked = 0
    for failure in FAILURES:
        for signature in failure.signatures:
            key = (reason(failure.id), f".*(?:{signature.pattern}).*")
            if key in rules:
                checked += 1
                assert re.search(key[1], signature.sample)
    assert checked == len(rules)


def test_a_fallen_gpu_becomes_a_condition_and_a_program_s_fault_only_an_event():
    kinds = {rule["reason"]: rule["type"] for rule in configuration("kernel")["rules"]}

    assert kinds["GpuLostOffBus"] == "permanent"
    assert kinds["XidApplicationFault"] == "temporary"


def test_what_needs_context_is_no_rule():
    alone = [signature for failure in FAILURES for signature in failure.signatures if fits(signature)]

    assert alone
    assert all(not signature.near and not signature.weak for signature in alone)


def test_findings_become_one_series_each():
    text = "NVRM: Xid (PCI:0000:05:00): 79, GPU has fallen off the bus.\n" * 3

    assert textfile(diagnose_text(text)) == (
        "# HELP gpunode_finding What is wrong on this node, as docs/diagnosis.md names it.\n"
        "# TYPE gpunode_finding gauge\n"
        'gpunode_finding{id="gpu-lost-off-bus",layer="nvml",severity="fatal"} 1\n'
        "# HELP gpunode_findings How many findings of each severity.\n"
        "# TYPE gpunode_findings gauge\n"
        'gpunode_findings{severity="fatal"} 1\n'
        'gpunode_findings{severity="degraded"} 0\n'
        'gpunode_findings{severity="notice"} 0\n'
    )


def test_nothing_wrong_is_still_a_metric():
    assert 'gpunode_findings{severity="fatal"} 0' in textfile([])


def test_a_label_s_value_is_escaped():
    assert label('a\\b"c\nd') == '"a\\\\b\\"c\\nd"'
