# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Dashboards as data, and the JSON that Grafana reads made of them.

Rules of this file: it knows Grafana and no metric. Ids and places follow from the order of panels, so that the same
data give the same JSON, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WIDTH = 24  # of Grafana's grid
SCHEMA_VERSION = 39  # Grafana 11; newer ones read it and migrate
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# Grafana's names of units
RATIO, BYTES, BYTES_PER_SECOND, CELSIUS, WATT, HERTZ, SECONDS = (
    "percentunit",
    "bytes",
    "binBps",
    "celsius",
    "watt",
    "hertz",
    "s",
)
PER_SECOND, COUNT, NONE = "reqps", "short", "none"
GREEN, YELLOW, ORANGE, RED, GREY = "green", "yellow", "orange", "red", "text"

SERIES, STAT, GAUGE, BARS, TABLE, STATES = "timeseries", "stat", "gauge", "bargauge", "table", "state-timeline"


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str = ""
    unit: str = ""  # where it differs from its panel's


@dataclass(frozen=True)
class Panel:
    """``empty_when``: when this panel may rightly be without data; a panel without it must have some."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = SERIES
    says: str = ""
    width: int = 12
    height: int = 8
    steps: Mapping[str, float] = field(default_factory=dict)  # colour → from which value
    words: Mapping[int, tuple[str, str]] = field(default_factory=dict)  # value → word, colour
    columns: Mapping[str, str] = field(default_factory=dict)  # of a table: label → heading
    top: float | None = None
    stacked: bool = False
    empty_when: str = ""


@dataclass(frozen=True)
class Row:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    name: str
    query: str
    label: str


@dataclass(frozen=True)
class Dashboard:
    uid: str
    title: str
    says: str
    variables: tuple[Variable, ...]
    rows: tuple[Row, ...]

    def panels(self) -> list[Panel]:
        return [panel for row in self.rows for panel in row.panels]


def rendered(board: Dashboard) -> dict[str, Any]:
    """A dashboard as Grafana provisions it from a file."""
    return {
        "id": None,
        "uid": board.uid,
        "title": board.title,
        "description": board.says,
        "tags": ["gpunode.ready"],
        "schemaVersion": SCHEMA_VERSION,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_datasource(), *(_variable(one) for one in board.variables)]},
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "title": "gpunode.ready",
                "tags": ["gpunode.ready"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
            }
        ],
        "panels": _placed(board.rows),
    }


def _datasource() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "label": "Data source", "query": "prometheus", "current": {}}


def _variable(one: Variable) -> dict[str, Any]:
    return {
        "name": one.name,
        "type": "query",
        "label": one.label,
        "datasource": DATASOURCE,
        "definition": one.query,
        "query": {"query": one.query, "refId": f"variable-{one.name}"},
        "refresh": 2,
        "sort": 7,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _placed(rows: Sequence[Row]) -> list[dict[str, Any]]:
    placed: list[dict[str, Any]] = []
    top = 0
    for row in rows:
        place = {"x": 0, "y": top, "w": WIDTH, "h": 1}
        placed.append({"type": "row", "id": len(placed) + 1, "title": row.title, "gridPos": place, "panels": []})
        top, left, tallest = top + 1, 0, 0
        for panel in row.panels:
            if left + panel.width > WIDTH:
                top, left, tallest = top + tallest, 0, 0
            place = {"x": left, "y": top, "w": panel.width, "h": panel.height}
            placed.append({"id": len(placed) + 1, "gridPos": place, **_panel(panel)})
            left, tallest = left + panel.width, max(tallest, panel.height)
        top += tallest
    return placed


def _panel(panel: Panel) -> dict[str, Any]:
    now = panel.kind in (STAT, GAUGE, BARS, TABLE)
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.says,
        "datasource": DATASOURCE,
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "instant": now,
                "range": not now,
                "format": "table" if panel.kind == TABLE else "time_series",
            }
            for number, query in enumerate(panel.queries)
        ],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": _overrides(panel)},
        "options": _options(panel),
        **({"transformations": _transformations(panel)} if panel.kind == TABLE else {}),
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    steps: list[dict[str, Any]] = [{"color": GREEN if panel.steps else GREY, "value": None}]
    steps += [{"color": colour, "value": start} for colour, start in panel.steps.items()]
    found: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": steps},
        "color": {"mode": "palette-classic" if panel.kind == SERIES else "thresholds"},
        "mappings": [
            {
                "type": "value",
                "options": {
                    str(value): {"text": word, "color": colour, "index": value}
                    for value, (word, colour) in panel.words.items()
                },
            }
        ]
        if panel.words
        else [],
    }
    if panel.unit in (RATIO, BYTES, BYTES_PER_SECOND, WATT, HERTZ, SECONDS, PER_SECOND, COUNT):
        found["min"] = 0
    if panel.top is not None:
        found["max"] = panel.top
    if panel.kind == SERIES:
        found["custom"] = {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if panel.stacked else 8,
            "showPoints": "auto",  # a series of one sample is seen, too
            "spanNulls": False,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if panel.steps else "off"},
        }
    if panel.kind == STATES:
        found["custom"] = {"fillOpacity": 80, "lineWidth": 0}
    return found


def _overrides(panel: Panel) -> list[dict[str, Any]]:
    """Units of single queries. A table has made one frame of all: there they go by the heading."""
    return [
        {
            "matcher": {"id": "byName", "options": query.legend}
            if panel.kind == TABLE
            else {"id": "byFrameRefID", "options": chr(ord("A") + number)},
            "properties": [
                {"id": "unit", "value": query.unit},
                *([{"id": "custom.axisPlacement", "value": "right"}] if panel.kind == SERIES else []),
            ],
        }
        for number, query in enumerate(panel.queries)
        if query.unit and query.unit != panel.unit
    ]


def _options(panel: Panel) -> dict[str, Any]:
    reduced = {"values": False, "calcs": ["lastNotNull"], "fields": ""}
    if panel.kind == SERIES:
        legend = {"displayMode": "table", "placement": "bottom", "showLegend": True, "calcs": ["lastNotNull", "max"]}
        return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}
    if panel.kind == STATES:
        legend = {"displayMode": "list", "placement": "bottom", "showLegend": True}
        return {"legend": legend, "showValue": "never", "mergeValues": True, "tooltip": {"mode": "single"}}
    if panel.kind == GAUGE:
        return {"reduceOptions": reduced, "showThresholdLabels": True, "showThresholdMarkers": True}
    if panel.kind == BARS:
        return {"reduceOptions": reduced, "orientation": "horizontal", "displayMode": "basic"}
    if panel.kind == TABLE:
        return {"showHeader": True, "cellHeight": "sm"}
    return {"reduceOptions": reduced, "colorMode": "value", "graphMode": "none", "textMode": "auto"}


def _transformations(panel: Panel) -> list[dict[str, Any]]:
    """One row for each set of labels, the queries side by side, under their headings and nothing else."""
    values = {
        f"Value #{chr(ord('A') + number)}" if len(panel.queries) > 1 else "Value": query.legend
        for number, query in enumerate(panel.queries)
    }
    named = {**panel.columns, **{name: heading for name, heading in values.items() if heading}}
    return [
        *([{"id": "merge", "options": {}}] if len(panel.queries) > 1 else []),
        {
            "id": "organize",
            "options": {
                "includeByName": dict.fromkeys(named, True),
                "indexByName": {name: number for number, name in enumerate(named)},
                "renameByName": named,
            },
        },
    ]
