# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the pages that are generated: ``make docs``.

docs/diagnosis.md comes from the catalogue of checks; docs/reliability.md and docs/performance.md from the figures that
``make faults`` and ``make bench`` left in build/ and ``make figures`` keeps in docs/figures/.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.gpunode.ready.plugins.module_utils import findings  # noqa: E402 - needs the path
from ansible_collections.gpunode.ready.plugins.module_utils.checks import all as catalogue  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.checks import cluster_all  # noqa: E402

CHECKS = (*catalogue.CHECKS, *cluster_all.CLUSTER_CHECKS)

HEAD = """\
<!-- Generated from the catalogue of checks by docs/generate.py; edit the checks, not this page. -->

# Diagnosis: every finding, from cause to consequence

`gpunode.ready.node_check`, `gpunode.ready.cluster_info`, `verify.yml`, `repair.yml` and the report all speak of the
findings below. A finding carries the values observed and expected, the file and line (or the object of the API) where
they were seen, and its remedy. Its id stays the same for ever: mute one that you accept with `gpunode_mute: [id]` (or
the option `mute` of the modules).

*fatal*: GPUs or the node do not work, or will not after the next boot. *degraded*: works, but not as promised.
*notice*: worth knowing, and no reason to fail. A finding that another one explains is folded under it.
"""

TITLES = {
    "packaging": "Packages",
    "host": "Host",
    "driver": "Driver",
    "nvml": "NVML and the GPUs",
    "toolkit": "NVIDIA container toolkit",
    "runtime": "Container runtime",
    "cdi": "CDI",
    "kubelet": "kubelet",
    "kubeadm": "kubeadm and the API",
    "plugin": "Device plugin",
    "scheduler": "Scheduler",
    "workload": "Workloads",
    "storage": "Storage",
    "monitoring": "Monitoring",
}


def section(checks: Sequence[Any]) -> str:
    """One id; where a node and the cluster can both show it, both."""
    return "\n\n".join([f"### {checks[0].id}", *(told(check) for check in checks)])


def told(check: Any) -> str:
    lines = [f"*{check.severity}*. {check.meaning}", "", f"**Mend.** {check.remedy.text}"]
    if check.remedy.role:
        tag = f", tag `{check.remedy.tag}`" if check.remedy.tag else ""
        lines[-1] += f" Role [`{check.remedy.role}`](../roles/{check.remedy.role}/README.md){tag}."
    if check.remedy.commands:
        lines += ["", "```sh", *check.remedy.commands, "```"]
    if check.consequence_of:
        lines += ["", "Explained by: " + ", ".join(f"[{name}](#{name})" for name in check.consequence_of) + "."]
    return "\n".join(lines)


def diagnosis(checks: Sequence[Any]) -> str:
    parts = [HEAD]
    by_id: dict[str, list[Any]] = {}
    for check in checks:
        by_id.setdefault(check.id, []).append(check)
    layers = [layer for layer in findings.LAYERS if any(check.layer == layer for check in checks)]
    rows = ["| layer | findings |", "|---|---|"]
    for layer in layers:
        links = ", ".join(f"[{name}](#{name})" for name, group in by_id.items() if group[0].layer == layer)
        rows.append(f"| {TITLES.get(layer, layer)} | {links} |")
    parts.append("\n".join(rows) + "\n")
    for layer in layers:
        parts.append(f"## {TITLES.get(layer, layer)}\n")
        parts.extend(f"{section(group)}\n" for group in by_id.values() if group[0].layer == layer)
    return "\n".join(parts)


RELIABILITY = """\
<!-- Generated from docs/figures/reliability.json by docs/generate.py; tests write the figures, nobody types them. -->

# Reliability: faults injected for real

Each row is a test in tests/faults that injects its fault on a lab node, a virtual machine with a kernel of its own, a
simulated GPU and fixture packages in place of upstream's, and then demands the outcome: nothing lost, the cause named,
the next run completes. A case that is not in the table was not run.
"""

PERFORMANCE = """\
<!-- Generated from docs/figures/bench.json by docs/generate.py; `make bench` writes the figures, nobody types them. -->

# Performance: beside named peers, in the same run

`make bench` runs ours and the peer by turns and takes medians. Nodes are emulated in software here, so seconds are long
and only ratios carry over to other machines; a ratio below 1 says that we take less.
"""


def reliability(rows: Sequence[dict[str, Any]]) -> str:
    passed = sum(row["outcome"] == "passed" for row in rows)
    lines = [RELIABILITY, f"**{passed} of {len(rows)} tests passed.**\n"]
    lines += ["| case | fault | outcome | seconds | figures |", "|---|---|---|---|---|"]
    for row in sorted(rows, key=lambda row: (row["case"] or 99, row["fault"])):
        figures = "; ".join(f"{name}: {value}" for name, value in row["figures"].items())
        case = row["case"] or "also"
        lines.append(f"| {case} | {row['fault']} | {row['outcome']} | {row['seconds']:.0f} | {figures} |")
    return "\n".join(lines) + "\n"


def performance(rows: Sequence[dict[str, Any]]) -> str:
    lines = [PERFORMANCE, "| figure | value | bound | ratio | peer |", "|---|---|---|---|---|"]
    for row in rows:
        bound = "" if row["bound"] is None else f"≤ {row['bound']:g}"
        if row["bound"] is not None and row["value"] > row["bound"]:
            bound += " (missed)"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.3f}"
        lines.append(f"| `{row['name']}` | {row['value']:g} {row['unit']} | {bound} | {ratio} | {row['peer']} |")
    return "\n".join(lines) + "\n"


def figures(name: str) -> Any:
    return json.loads((ROOT / "docs/figures" / name).read_text())


# page -> its text
PAGES = {
    "docs/diagnosis.md": lambda: diagnosis(CHECKS),
    "docs/reliability.md": lambda: reliability(list(figures("reliability.json").values())),
    "docs/performance.md": lambda: performance(figures("bench.json")),
}


if __name__ == "__main__":
    for page, text in PAGES.items():
        (ROOT / page).write_text(text())
        print(f"wrote {page}")
