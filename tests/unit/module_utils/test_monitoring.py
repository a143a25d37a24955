# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules and dashboards as data: consistent in themselves, with the role, with the page that alerts lead to."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpunode.ready.plugins.module_utils.monitoring import dashboards, panels, rules, settings
from ansible_collections.gpunode.ready.plugins.module_utils.monitoring.objects import objects

ROOT = Path(__file__).resolve().parents[3]
CHOSEN = settings.Settings()
BOARDS = dashboards.dashboards(CHOSEN)
PANELS = [(board, panel) for board in BOARDS for panel in board.panels()]
ALERTS = [alert for group in rules.alerts(CHOSEN).values() for alert in group]
RECORDS = [record for group in rules.records(CHOSEN).values() for record in group]
EXPRESSIONS = [item.expr for item in (*RECORDS, *ALERTS)] + [
    query.expr for _, panel in PANELS for query in panel.queries
]
by_title = [f"{board.uid}: {panel.title}" for board, panel in PANELS]


# ---------------------------------------------------------------- settings


def test_the_defaults_are_those_of_the_role():
    role = yaml.safe_load((ROOT / "roles/monitoring/defaults/main.yml").read_text())

    assert asdict(CHOSEN) == {name: role[f"monitoring_{name}"] for name in asdict(CHOSEN)}


def test_the_role_hands_over_every_setting():
    handed = yaml.safe_load((ROOT / "roles/monitoring/vars/main.yml").read_text())["__monitoring_settings"]

    assert set(handed) == set(asdict(CHOSEN))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"gpu_hot_celsius": 91}, "gpu_hot_celsius must be below gpu_too_hot_celsius"),
        ({"load_high_percent": 5}, "must rise in this order"),
        ({"disk_free_percent": 0}, "disk_free_percent is 0; expected 1 to 100"),
        ({"evicted_pods": "many"}, "evicted_pods is `many`; expected a whole number"),
        ({"cluster": 'a"} or vector(1)'}, "expected letters, digits, dots, dashes and slashes"),
        ({"gate_taint": "a\nb"}, "expected letters"),
        ({"namespace": "Monitoring"}, "no name of a namespace"),
        ({"runbook_url": "javascript:alert(1)"}, "expected an address"),
        ({"rule_objects": "file"}, "expected configmap or prometheusrule"),
        ({"gpu_warm_celsius": 60}, "`gpu_warm_celsius` is no setting"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, words):
    (problem,) = settings.problems(given)

    assert words in problem
    with pytest.raises(ValueError, match=re.escape(problem)):
        settings.settings(given)


def test_a_threshold_reaches_alert_and_panel_alike():
    hot = settings.settings({"gpu_hot_celsius": 77})

    alert = next(one for one in rules.gpu_alerts(hot) if one.name == "GpuHot")
    panel = next(one for one in dashboards.gpu(hot).panels() if one.title == "Temperature")

    assert alert.expr.endswith("> 77")
    assert 77 in panel.steps.values()


# ---------------------------------------------------------------- metrics


def metrics(expr: str, prefix: str) -> set[str]:
    return set(re.findall(rf"\b{prefix}\w+", expr))


def test_every_dcgm_field_asked_for_is_exported_by_our_counters():
    lines = (ROOT / "roles/monitoring/files/counters.csv").read_text().splitlines()
    rows = list(csv.reader(line for line in lines if line and not line.startswith("#")))
    asked = {name for expr in EXPRESSIONS for name in metrics(expr, "DCGM_")}

    assert [row for row in rows if len(row) != 3 or row[1].strip() not in ("gauge", "counter", "label")] == []
    assert len({row[0] for row in rows}) == len(rows)
    assert asked - {row[0] for row in rows} == set()


def test_every_recorded_series_asked_for_is_recorded_before_it_is_needed():
    seen = set()
    for record in RECORDS:
        needed = set(re.findall(r"\b(?:gpu|gpu_pod|node):[\w:]+", record.expr))
        assert needed <= seen, record.name
        seen.add(record.name)

    asked = {name for expr in EXPRESSIONS for name in re.findall(r"\b(?:gpu|gpu_pod|node):[\w:]+", expr)}
    assert asked <= seen


def test_no_expression_adds_up_a_gpu_for_each_pod_that_shares_it():
    raw = [expr for expr in EXPRESSIONS if re.search(r"\b(sum|avg)\b[^(]*\((?:rate\(|increase\()?DCGM_", expr)]

    assert raw == []


def test_megabytes_percent_and_megahertz_are_turned_into_base_units():
    wrong = [
        expr
        for expr in EXPRESSIONS
        if re.search(r"DCGM_FI_DEV_FB_|_CLOCK\b|GPU_UTIL", expr)
        and not (f"* {rules.MEBIBYTE}" in expr or f"* {rules.MEGAHERTZ}" in expr or "/ 100" in expr)
    ]

    assert wrong == []


# ---------------------------------------------------------------- alerts


def test_names_of_alerts_and_records_are_given_once():
    names = [item.name for item in (*ALERTS, *RECORDS)]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_the_alert_leads_to_a_section_of_the_diagnosis_page(alert):
    page = (ROOT / "docs/diagnosis.md").read_text()
    sections = {line[4:].lower() for line in page.splitlines() if line.startswith("### ")}

    assert alert.anchor == "{{ $labels.id }}" or alert.anchor in sections
    assert set(alert.findings) <= sections
    assert alert.severity in ("critical", "warning", "info")


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.name)
def test_the_name_of_a_record_ends_with_its_unit(record):
    unit = record.name.split(":")[-1].split("_rate")[0]

    assert unit == {"celsius": "celsius", "watt": "watts", "level": "level"}.get(record.unit, record.unit)


# ---------------------------------------------------------------- panels

# by the end of a metric's name, the unit of its panel; a rate of it a second
UNITS = [
    (r":ratio\b|:ratio_rate5m|_bytes\{.* / .*_bytes\{", {panels.RATIO}),
    (r":celsius\b", {panels.CELSIUS}),
    (r":watts\b|POWER_LIMIT", {panels.WATT}),
    (r":hertz\b", {panels.HERTZ}),
    (r"^(rate|sum by [^(]*\(rate).*_bytes_total", {panels.BYTES_PER_SECOND}),
    (r"_bytes\{(?!.*/ )|:bytes\b", {panels.BYTES}),
    (r"^histogram_quantile.*_seconds_bucket", {panels.SECONDS}),
    (r"^(max by|topk).*rate\(.*(waiting|stalled)_seconds_total", {panels.RATIO}),
    (r"PCIE_(TX|RX)_BYTES", {panels.BYTES_PER_SECOND}),
]


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=by_title)
def test_the_unit_of_a_panel_is_that_of_what_it_asks(board, panel):
    for query in panel.queries:
        if re.match(r"count|sum by \(phase\)|sum\(up", query.expr):
            assert panel.unit == panels.COUNT or query.unit == panels.COUNT
            continue
        wanted = next((units for pattern, units in UNITS if re.search(pattern, query.expr)), None)
        assert wanted is None or (query.unit or panel.unit) in wanted, query.expr


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=by_title)
def test_a_panel_asks_only_for_variables_that_its_dashboard_has(board, panel):
    known = {"datasource", "__rate_interval", *(one.name for one in board.variables)}
    used = {name for query in panel.queries for name in re.findall(r"\$\{?(\w+)", query.expr)}

    assert used <= known
    assert used & {"cluster"}, "a panel of another cluster would show here"


@pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
def test_panels_fill_the_grid_without_overlap(board):
    found = panels.rendered(board)
    taken = set()
    for panel in found["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= panels.WIDTH
        taken |= cells

    ids = [panel["id"] for panel in found["panels"]]
    assert len(ids) == len(set(ids))


def test_five_dashboards_each_with_its_own_address_and_titles():
    assert [board.title for board in BOARDS] == [
        "System resources",
        "GPU performance",
        "Container metrics",
        "System pressure",
        "Inference performance",
    ]
    assert len({board.uid for board in BOARDS}) == 5
    assert [board.uid for board in BOARDS if len(board.uid) > 40] == []
    for board in BOARDS:
        titles = [panel.title for panel in board.panels()]
        assert len(titles) == len(set(titles))


def test_the_readme_says_when_a_panel_may_be_empty():
    readme = (ROOT / "roles/monitoring/README.md").read_text()
    rows = dict(re.findall(r"^\| (.+?: .+?) \| (.+?) \|$", readme, re.MULTILINE))
    told = {
        (head.split(": ")[0], title): why for head, why in rows.items() for title in head.split(": ", 1)[1].split("; ")
    }

    assert told == {(board.title, panel.title): panel.empty_when for board, panel in PANELS if panel.empty_when}


def test_a_unit_of_its_own_reaches_the_column_of_a_table_and_the_axis_of_a_graph():
    found = {panel["title"]: panel for panel in panels.rendered(BOARDS[-1])["panels"]}

    of_table = {one["matcher"]["options"]: one for one in found["Summary"]["fieldConfig"]["overrides"]}
    (of_graph,) = found["p95 beside CPU in use"]["fieldConfig"]["overrides"]
    assert of_table["Requests a second"]["properties"] == [{"id": "unit", "value": panels.PER_SECOND}]
    assert of_graph["matcher"] == {"id": "byFrameRefID", "options": "B"}
    assert {"id": "custom.axisPlacement", "value": "right"} in of_graph["properties"]


def test_the_same_data_give_the_same_text():
    once, again = (json.dumps(objects(CHOSEN)) for _ in range(2))

    assert once == again


# ---------------------------------------------------------------- objects


def test_rules_and_dashboards_become_objects_that_an_operator_or_a_sidecar_finds():
    chosen = settings.settings({"rule_objects": "prometheusrule", "namespace": "observability"})

    found = objects(chosen, labels={"release": "stack"})

    kinds = [one["kind"] for one in found]
    assert kinds == ["Namespace", "PrometheusRule", *["ConfigMap"] * 5]
    assert found[1]["spec"]["groups"] == rules.rule_groups(chosen)
    assert {one["metadata"]["labels"]["release"] for one in found[1:]} == {"stack"}
    assert {one["metadata"]["labels"]["grafana_dashboard"] for one in found[2:]} == {"1"}
    assert {one["metadata"]["namespace"] for one in found[1:]} == {"observability"}


def test_a_namespace_of_the_cluster_itself_is_not_taken_over():
    found = objects(settings.settings({"namespace": "kube-system"}))

    assert [one for one in found if one["kind"] == "Namespace"] == []


def test_no_object_is_too_large_for_the_api():
    assert [one["metadata"]["name"] for one in objects(CHOSEN) if len(json.dumps(one)) > 500_000] == []
