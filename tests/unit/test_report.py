# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report: what a fleet's answers become: data, a terminal table, and a page that nothing can break out of."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.checks.all import CHECKS
from ansible_collections.gpunode.ready.plugins.module_utils.checks.catalogue import judge_node
from ansible_collections.gpunode.ready.plugins.module_utils.checks.states import layer_states
from ansible_collections.gpunode.ready.plugins.module_utils.expect import expectations
from ansible_collections.gpunode.ready.plugins.module_utils.findings import Evidence, Finding, Remedy
from ansible_collections.gpunode.ready.plugins.plugin_utils.report import report
from ansible_collections.gpunode.ready.plugins.plugin_utils.report_html import page
from ansible_collections.gpunode.ready.plugins.plugin_utils.report_table import table
from hypothesis import given, settings
from hypothesis import strategies as st

HEALTHY = json.loads((Path(__file__).resolve().parent / "data/facts/healthy.json").read_text())
WHEN = "2026-11-21T09:40:00Z"
HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'`&\u202e\x00\x1b[2J{{ 7*7 }}"


def answer(host, facts):
    expect = expectations({})
    findings = judge_node(CHECKS, facts, expect)
    states = layer_states(facts, findings, expect)
    return {
        "host": host,
        "result": {"findings": [item.as_dict() for item in findings], "states": states, "facts": facts},
    }


def with_swap():
    live = [{"path": "/swap.img", "type": "file", "size_bytes": 1 << 31, "used_bytes": 0}]
    return {**HEALTHY, "swap": {**HEALTHY["swap"], "live": live}}


FLEET = [
    answer("gpu-1", HEALTHY),
    answer("gpu-2", with_swap()),
    {"host": "gpu-3", "result": {"unreachable": True, "msg": "No route to host"}},
    {"host": "gpu-4", "result": {"failed": True, "msg": "Traceback: no python"}},
]


class Page(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    VOID = ("meta", "input", "br", "link", "img")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.words, self.misnested = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.misnested.append(tag)

    def handle_data(self, data):
        self.words.append(data)


def test_a_cluster_is_told_beside_the_nodes_and_counted_as_none():
    findings = FLEET[1]["result"]["findings"]
    cluster = {"host": "the cluster", "result": {"cluster": True, "findings": findings}}

    told = report([*FLEET[:2], cluster], WHEN)

    assert told["summary"]["nodes"] == 2
    assert [item["name"] for item in told["clusters"]] == ["the cluster"]
    assert told["summary"]["findings"] == report([*FLEET[:2], {**FLEET[1], "host": "x"}], WHEN)["summary"]["findings"]
    assert any(line.startswith("the cluster  ") for line in table(told))
    assert "the cluster" in " ".join(Page(page(told)).words)


def test_a_notice_that_follows_from_something_graver_looks_like_a_notice():
    findings = [
        Finding("a-cause", "host", "fatal", "node", "It broke.", Remedy("Mend it.")),
        Finding("a-notice", "host", "notice", "node", "So be it.", Remedy("Rest."), consequence_of="a-cause"),
    ]
    result = {"findings": [item.as_dict() for item in findings], "states": {}, "facts": {}}

    text = page(report([{"host": "gpu-1", "result": result}], WHEN))

    assert '<span class="pill minor">host</span>' in text


def test_the_page_sends_nothing_anywhere():
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page(report(FLEET, WHEN))).group(1)

    assert [rule.split()[0] for rule in policy.split("; ")] == [
        "default-src",
        "style-src",
        "script-src",
        "base-uri",
        "form-action",
    ]


def test_nodes_stand_from_worst_to_best_with_their_states():
    nodes = report(FLEET, WHEN)["nodes"]

    assert [(node["name"], node["state"]) for node in nodes] == [
        ("gpu-2", "failed"),
        ("gpu-3", "unreachable"),
        ("gpu-4", "unknown"),
        ("gpu-1", "ready"),
    ]


def test_consequences_are_folded_under_their_cause():
    node = report([answer("gpu-2", with_swap())], WHEN)["nodes"][0]

    assert [item["id"] for item in node["findings"]] == ["swap-on"]
    assert [item["id"] for item in node["findings"][0]["consequences"]] == ["kubelet-swap-on"]


def test_gpus_carry_their_figures():
    gpu = report([answer("gpu-1", HEALTHY)], WHEN)["nodes"][0]["gpus"][0]

    assert (gpu["name"], gpu["temperature_celsius"], gpu["ecc"], gpu["mig"]) == ("NVIDIA H200", 31, True, False)


def test_a_gpu_that_nvml_does_not_know_is_shown_all_the_same():
    facts = {**HEALTHY, "nvml": {"unavailable": "no"}}

    gpus = report([answer("gpu-1", facts)], WHEN)["nodes"][0]["gpus"]

    assert [gpu["condition"] for gpu in gpus] == ["unknown to NVML"] * 2


def test_the_report_is_json():
    json.dumps(report(FLEET, WHEN))


def test_the_table_has_a_row_for_each_node_and_a_column_for_each_layer():
    lines = table(report(FLEET, WHEN))

    assert lines[0].split() == [
        "node",
        "state",
        "packaging",
        "host",
        "driver",
        "nvml",
        "toolkit",
        "runtime",
        "cdi",
        "kubelet",
        "kubeadm",
        "gpus",
    ]
    assert lines[2].split()[:4] == ["gpu-2", "failed", "ok", "FAIL"]
    assert lines[-1] == "1 of 4 nodes is ready; 4 GPUs."


def test_the_table_says_cause_evidence_remedy_and_command():
    text = "\n".join(table(report(FLEET, WHEN)))

    for part in ("swap-on", "seen  /proc/swaps", "mend  Turn swap off", "$ swapoff -a", "tag host_prep_swap", "hence"):
        assert part in text


def test_the_table_has_no_line_that_is_too_wide_and_no_control_character():
    lines = table(report([{"host": HOSTILE, "result": {"unreachable": True, "msg": HOSTILE}}], WHEN))

    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", "".join(lines))
    assert max(len(line) for line in table(report(FLEET, WHEN))) <= 130


def test_a_page_is_well_nested_and_needs_nothing_else():
    html = page(report(FLEET, WHEN))

    parsed = Page(html)

    assert parsed.misnested == []
    assert parsed.open == []
    assert not [tag for tag, attributes in parsed.elements if {"src", "style", "onclick", "onerror"} & set(attributes)]
    assert not [tag for tag, _attributes in parsed.elements if tag in ("link", "img", "iframe", "object", "base")]
    assert not re.search(r"(https?:)?//[a-z]", re.sub(r"<script>.*?</script>", "", html, flags=re.DOTALL))
    assert len(html) < 100_000


def test_a_page_says_what_is_wrong_and_how_to_mend_it():
    text = " ".join(Page(page(report(FLEET, WHEN))).words)

    for part in ("1 of 4 nodes is ready", "Swap is on", "/proc/swaps", "swapoff -a", "No route to host", "NVIDIA H200"):
        assert part in text


def test_simulated_gpus_are_called_so():
    facts = {**HEALTHY, "nvml": {**HEALTHY["nvml"], "simulated": True}}

    html = page(report([answer("lab-1", facts)], WHEN))

    assert html.count(">simulated</span>") >= 3
    assert ">simulated</span>" not in page(report([answer("gpu-1", HEALTHY)], WHEN))


def hostile_finding():
    remedy = Remedy(HOSTILE, (HOSTILE,), HOSTILE, HOSTILE)
    return Finding(HOSTILE, "host", "fatal", HOSTILE, HOSTILE, remedy, (Evidence(HOSTILE, HOSTILE, 3),), None).as_dict()


def poisoned(value):
    if isinstance(value, dict):
        return {key: poisoned(item) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def test_no_data_can_break_out_of_the_page():
    facts = poisoned({key: HEALTHY[key] for key in ("nvml", "gpus", "os", "driver", "runtimes", "toolkit", "kubelet")})
    result = {"findings": [hostile_finding()], "states": {"host": HOSTILE, HOSTILE: HOSTILE}, "facts": facts}

    html = page(
        report([{"host": HOSTILE, "result": result}, {"host": HOSTILE, "result": {"msg": HOSTILE}}], HOSTILE, HOSTILE)
    )

    parsed = Page(html)
    assert [tag for tag, _attributes in parsed.elements].count("script") == 1
    assert "img" not in [tag for tag, _attributes in parsed.elements]
    assert not [name for _tag, attributes in parsed.elements for name in attributes if name.startswith("on")]
    assert parsed.misnested == []
    assert "\u202e" not in html
    assert "\x00" not in html


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=6), inner, max_size=3)),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(part=st.sampled_from(sorted(HEALTHY)), junk=JSON, findings=JSON, states=JSON)
def test_no_answer_makes_the_report_raise(part, junk, findings, states):
    result = {"facts": {**HEALTHY, part: junk}, "findings": findings, "states": states}

    built = report([{"host": "a", "result": result}, {"host": "b", "result": junk}, junk], WHEN)

    assert page(built)
    assert table(built)


@pytest.mark.parametrize("nodes", [[], FLEET[:1], FLEET[2:3]])
def test_a_small_fleet_reads_well(nodes):
    built = report(nodes, WHEN)

    assert table(built)
    assert Page(page(built)).misnested == []
