# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report for a terminal: one row of states a node, then the findings by cause, then what to type."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

from ..module_utils.checks.states import NODE_LAYERS
from ..module_utils.findings import Finding, from_dict
from ..module_utils.wording import count, evidence_line, role_of
from .report import headline

SIGNS = {"ready": "ok", "degraded": "WARN", "failed": "FAIL", "unknown": "?", "unused": "-", "unreachable": "GONE"}
WIDTH = 110
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def plain(value: Any) -> str:
    """Text that cannot move the terminal's cursor."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value))


def _columns(report: Mapping[str, Any]) -> list[str]:
    shown = {layer for node in report["nodes"] for layer, state in node["layers"].items() if state != "unused"}
    return [layer for layer in NODE_LAYERS if layer in shown]


def states_table(report: Mapping[str, Any]) -> list[str]:
    """The aligned table: node, its state, then each layer."""
    layers = _columns(report)
    rows = [["node", "state", *layers, "gpus"]]
    for node in report["nodes"]:
        gpus = str(len(node["gpus"])) + (" simulated" if node["simulated"] else "")
        states = [SIGNS.get(node["layers"].get(layer, "unknown"), "?") for layer in layers]
        if node["state"] == "unreachable":
            states = ["" for _layer in layers]
        rows.append([plain(node["name"]), node["state"], *states, gpus if node["state"] != "unreachable" else ""])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _wrapped(label: str, value: str, indent: str = "     ") -> list[str]:
    head = f"{indent}{label}"
    return textwrap.wrap(
        plain(value),
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    ) or [head.rstrip()]


def finding_lines(finding: Finding, consequences: list[Finding], number: int) -> list[str]:
    head = f"{finding.severity.upper()}  {finding.layer}  {finding.id}  ({finding.subject})"
    lines = [*_wrapped(f"{number}. ", head, "  "), *_wrapped("", finding.cause)]
    for item in finding.evidence[:4]:
        lines += _wrapped("seen  ", evidence_line(item))
    lines += _wrapped("mend  ", finding.remedy.text)
    lines += [f"           $ {plain(command)}" for command in finding.remedy.commands]
    if role_of(finding):
        lines += _wrapped("with  ", f"{role_of(finding)}, or ansible-playbook gpunode.ready.repair")
    for item in consequences:
        lines += _wrapped("hence ", f"{item.layer} {item.id}, {item.cause}")
    return lines


def table(report: Mapping[str, Any]) -> list[str]:
    """The whole report as lines, without colour."""
    if not report["nodes"]:
        return [headline(report["summary"])]
    lines = [*states_table(report), ""]
    for node in [*report["nodes"], *report["clusters"]]:
        if node["reason"]:
            lines += [plain(node["name"]), *_wrapped(f"{node['state']}  ", node["reason"], "  "), ""]
        elif node["findings"]:
            told = [count(amount, f"{name} finding") for name, amount in node["counts"].items() if amount]
            lines.append(f"{plain(node['name'])}  {', '.join(told)}")
            for index, item in enumerate(node["findings"], start=1):
                item = dict(item)
                consequences = [from_dict(other) for other in item.pop("consequences", [])]
                lines += finding_lines(from_dict(item), consequences, index)
            lines.append("")
    summary = report["summary"]
    told = [count(summary["gpus"], "GPU")]
    if summary["simulated"]:
        told.append(f"simulated on {count(summary['simulated'], 'node')}")
    return [*lines, f"{headline(summary)}; {', '.join(told)}."]
