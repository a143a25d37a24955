# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the pages that are generated: ``make docs``. docs/diagnosis.md comes from the catalogue of checks."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.gpunode.ready.plugins.module_utils import findings  # noqa: E402 - needs the path
from ansible_collections.gpunode.ready.plugins.module_utils.checks import all as catalogue  # noqa: E402

CHECKS = catalogue.CHECKS

HEAD = """\
<!-- Generated from the catalogue of checks by docs/generate.py; edit the checks, not this page. -->

# Diagnosis: every finding, from cause to consequence

`gpunode.ready.node_check`, `verify.yml`, `repair.yml` and the report all speak of the findings below. A finding carries
the values observed and expected, the file and line where they were seen, and its remedy. Its id stays the same for
ever: mute one that you accept with `gpunode_mute: [id]` (or the module's option `mute`).

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
    "kubeadm": "kubeadm",
}


def section(check: Any) -> str:
    lines = [f"### {check.id}", "", f"*{check.severity}*. {check.meaning}", "", f"**Mend.** {check.remedy.text}"]
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
    layers = [layer for layer in findings.LAYERS if any(check.layer == layer for check in checks)]
    rows = ["| layer | findings |", "|---|---|"]
    for layer in layers:
        links = ", ".join(f"[{check.id}](#{check.id})" for check in checks if check.layer == layer)
        rows.append(f"| {TITLES.get(layer, layer)} | {links} |")
    parts.append("\n".join(rows) + "\n")
    for layer in layers:
        parts.append(f"## {TITLES.get(layer, layer)}\n")
        parts.extend(f"{section(check)}\n" for check in checks if check.layer == layer)
    return "\n".join(parts)


# page -> its text
PAGES = {"docs/diagnosis.md": lambda: diagnosis(CHECKS)}


if __name__ == "__main__":
    for page, text in PAGES.items():
        (ROOT / page).write_text(text())
        print(f"wrote {page}")
