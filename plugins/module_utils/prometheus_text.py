# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Findings as metrics, for node-exporter's textfile collector: ``gpunode_finding{id,layer,severity} 1``.

Rules of this file: text only, no I/O. Labels come from fixed sets, so the number of series is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable

from .findings import SEVERITIES, Finding

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def label(value: str) -> str:
    """A label's value as the exposition format wants it."""
    return f'"{value.translate(_ESCAPES)}"'


def textfile(findings: Iterable[Finding]) -> str:
    """One series for each finding, and the number of findings of each severity, zeros included."""
    found = list(findings)
    lines = [
        "# HELP gpunode_finding What is wrong on this node, as docs/diagnosis.md names it.",
        "# TYPE gpunode_finding gauge",
    ]
    series = {(finding.id, finding.layer, finding.severity) for finding in found}
    lines += [
        f"gpunode_finding{{id={label(name)},layer={label(layer)},severity={label(severity)}}} 1"
        for name, layer, severity in sorted(series)
    ]
    lines += ["# HELP gpunode_findings How many findings of each severity.", "# TYPE gpunode_findings gauge"]
    lines += [
        f"gpunode_findings{{severity={label(severity)}}} {sum(finding.severity == severity for finding in found)}"
        for severity in SEVERITIES
    ]
    return "\n".join(lines) + "\n"
