# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the pages that are generated: ``make docs``.

docs/diagnosis.md comes from the catalogues of checks and of signatures, and the cases in tests/unit/data/diagnosis;
docs/reliability.md and docs/performance.md from the figures that ``make faults`` and ``make bench`` left in build/ and
``make figures`` keeps in docs/figures/; docs/compatibility.md from the roles' own data, and from README.md for how each
cell was verified.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.gpunode.ready.plugins.module_utils import findings  # noqa: E402 - needs the path
from ansible_collections.gpunode.ready.plugins.module_utils.checks import all as catalogue  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.diagnose import diagnose_text  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.nvidia_repository import (  # noqa: E402
    FOLDERS,
    nvidia_repository,
)
from ansible_collections.gpunode.ready.plugins.module_utils.preflight import ARCHITECTURES, RELEASES  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.all import FAILURES  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.benign import BENIGN  # noqa: E402

CHECKS = catalogue.CHECKS

HEAD = """\
<!-- Generated from the catalogues of checks and signatures by docs/generate.py; edit those, not this page. -->

# Diagnosis: every finding, from cause to consequence

`gpunode.ready.node_check`, `gpunode.ready.diagnose`, `verify.yml`, `repair.yml` and the report all speak of the
findings below. A finding carries the values observed and expected, the file and line where they were seen, and its
remedy. Its id stays the same for ever: mute one that you accept with `gpunode_mute: [id]` (or the modules' option
`mute`).

*fatal*: GPUs or the node do not work, or will not after the next boot. *degraded*: works, but not as promised.
*notice*: worth knowing, and no reason to fail. A finding that another one explains is folded under it.

A finding comes from *facts*, judged on a node by `node_check`, or from *text* that programs printed, read by
`diagnose`; many come from both, in the same words. What programs print is shown as they print it, with the program's
source.

## Ask it

With no node and no inventory, from a checkout or an installed collection:

```sh
ansible localhost -m gpunode.ready.diagnose -a path=plugin.log
export PYTHONPATH=collections
python3 -m ansible_collections.gpunode.ready.plugins.module_utils.diagnose plugin.log kern.log.1.gz
journalctl -b | python3 -m ansible_collections.gpunode.ready.plugins.module_utils.diagnose --json
```

For every node of an inventory at once - each is judged, its journal since boot and its kernel's messages are read, and
both are told together, on the terminal, as JSON and as an HTML page:

```sh
ansible-playbook -i inventory gpunode.ready.diagnose
ansible-playbook -i inventory gpunode.ready.diagnose -e gpunode_diagnose_since=-2h \\
    -e '{"gpunode_diagnose_paths": ["/var/log/syslog"]}'
```

The command ends with 0 where nothing known was found, with 1 where something was, with 2 where a file was not readable.
`--prometheus` prints the findings as metrics for node-exporter's textfile collector.

Clusters that run node-problem-detector take the same signatures as its configuration, one file for each source of log
(`kernel`, `kubelet`, `containerd`, `crio`); start it with `--config.system-log-monitor` naming them:

```sh
python3 -m ansible_collections.gpunode.ready.plugins.module_utils.node_problem_detector kernel \\
  > /etc/node-problem-detector/gpunode-kernel.json
```
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
    "plugin": "Device plugin",
    "scheduler": "Scheduling",
    "workload": "Workloads",
    "storage": "Storage",
    "monitoring": "Monitoring",
}


def printed(failure: Any) -> list[str]:
    """What programs print of a failure, with the programs and their sources."""
    lines = []
    for signature in failure.signatures:
        versions = "" if signature.versions == "all" else f", {signature.versions}"
        lines += ["", f"**Printed by** {signature.component}{versions} ({signature.source}):", "", "```text"]
        lines += [*signature.sample.splitlines(), "```"]
    if failure.mistaken_for:
        lines += ["", "Often mistaken for: " + ", ".join(f"[{name}](#{name})" for name in failure.mistaken_for) + "."]
    return lines


def section(item: Any, known: Sequence[str], failure: Any | None = None) -> str:
    lines = [f"### {item.id}", "", f"*{item.severity}*. {item.meaning}", "", f"**Mend.** {item.remedy.text}"]
    if item.remedy.role:
        tag = f", tag `{item.remedy.tag}`" if item.remedy.tag else ""
        lines[-1] += f" Role [`{item.remedy.role}`](../roles/{item.remedy.role}/README.md){tag}."
    if item.remedy.commands:
        lines += ["", "```sh", *item.remedy.commands, "```"]
    causes = [*item.consequence_of, *(failure.consequence_of if failure else ())]
    links = [f"[{name}](#{name})" for name in dict.fromkeys(causes) if name in known]
    if links:
        lines += ["", "Explained by: " + ", ".join(links) + "."]
    if failure:
        lines += printed(failure)
    return "\n".join(lines)


def rates() -> str:
    """How often the first diagnosis is right: now, on every case kept, and at first sight of those written unseen."""
    lines = [
        "## How often it is right",
        "",
        "`tests/unit/data/diagnosis` holds real logs with an established cause. A failing log counts as right when the",
        "first diagnosis is its root cause, a healthy one when there is none.",
        "",
        "| cases | failing logs: first diagnosis right | healthy logs: silent |",
        "|---|---|---|",
    ]
    for name in ("cases.jsonl", "holdout.jsonl"):
        cases = [json.loads(line) for line in (ROOT / "tests/unit/data/diagnosis" / name).read_text().splitlines()]
        answers = [
            ([finding.id for finding in diagnose_text(case["text"])][:1], case["expected"][:1]) for case in cases
        ]
        failing = [given == wanted for given, wanted in answers if wanted]
        healthy = [given == wanted for given, wanted in answers if not wanted]
        lines.append(f"| {name}, today | {sum(failing)} of {len(failing)} | {sum(healthy)} of {len(healthy)} |")
    for row in figures("diagnosis.json")["first_answers"]:
        first = f"| {row['batch']}, at first sight | {row['right']} of {row['positives']} "
        lines.append(f"{first}| {row['silent']} of {row['healthy']} |")
    lines += [
        "",
        "Each miss at first sight was mended from the program's source, so the last rows are the honest ones.",
    ]
    return "\n".join(lines) + "\n"


def benign() -> str:
    lines = ["## Lines that look alarming and are not", "", "| line | why |", "|---|---|"]
    lines += [f"| `{item.sample.replace('|', chr(92) + '|')[:160]}` | {item.why} |" for item in BENIGN]
    return "\n".join(lines) + "\n"


def diagnosis(checks: Sequence[Any], failures: Sequence[Any]) -> str:
    parts = [HEAD]
    texts = {failure.id: failure for failure in failures}
    judged = {check.id for check in checks}
    items = [*checks, *(failure for failure in failures if failure.id not in judged)]
    known = [item.id for item in items]
    layers = [layer for layer in findings.LAYERS if any(item.layer == layer for item in items)]
    rows = ["| layer | findings |", "|---|---|"]
    for layer in layers:
        links = ", ".join(f"[{item.id}](#{item.id})" for item in items if item.layer == layer)
        rows.append(f"| {TITLES.get(layer, layer)} | {links} |")
    parts += ["\n".join(rows) + "\n", rates(), benign()]
    for layer in layers:
        parts.append(f"## {TITLES.get(layer, layer)}\n")
        parts.extend(f"{section(item, known, texts.get(item.id))}\n" for item in items if item.layer == layer)
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


COMPATIBILITY = """\
<!-- Generated from the roles' own data and README.md by docs/generate.py; edit those, not this page. -->

# Compatibility: systems, where each part comes from, and which version

A system that is not listed is refused by preflight, with what to set to try it all the same. Each part can come from
elsewhere: `gpunode_mirror`, or the variable of its repository.
"""
KIN = {"almalinux": "AlmaLinux", "rocky": "Rocky Linux", "centos": "CentOS Stream", "ol": "Oracle Linux"}
TITLES_OF_SYSTEMS = {"debian": "Debian", "ubuntu": "Ubuntu", "rhel": "RHEL", "fedora": "Fedora", "arch": "Arch Linux"}
# what decides a version -> what that installs
PINS = {
    "nvidia_driver_branch": "the newest driver of the branch, then held",
    "nvidia_container_toolkit_version": "exactly this, held",
    "gpunode_kubernetes_version": "the minor that CRI-O follows",
    "crio_version": "the newest of the minor, then held",
    "containerd_version": "empty: what is installed, else the newest, then held",
    "docker_version": "empty: what is installed, else the newest, then held",
}
OF_UPSTREAM = {"crio": "the CRI-O project", "containerd": "Docker", "docker": "Docker"}


def role_data(role: str, *files: str) -> dict[str, Any]:
    """The first of a role's files that is there."""
    paths = [ROOT / "roles" / role / name for name in files]
    return next((yaml.safe_load(path.read_text()) for path in paths if path.is_file()), {})


def systems() -> list[tuple[str, dict[str, str]]]:
    """Each release that preflight lets pass, as people call it and as the facts do. Kin count with RHEL."""
    family = {"rhel": "redhat", "ubuntu": "debian"}
    fedoras = sorted(folder[len("fedora") :] for folder in FOLDERS if folder.startswith("fedora"))
    found = []
    for name, title in TITLES_OF_SYSTEMS.items():
        for version in RELEASES[name] or (fedoras if name == "fedora" else ("",)):
            facts = {"id": name, "family": family.get(name, name), "version": version, "architecture": "x86_64"}
            found.append((f"{title} {version}".strip(), facts))
    return found


def origin(role: str, system: dict[str, str]) -> str:
    """The first package of a role on a system, and whose it is."""
    data = role_data(role, f"vars/{system['id']}.yml", f"vars/{system['family']}.yml")
    upstream = data[f"__{role}_has_upstream"]
    if role == "nvidia_container_toolkit":
        return f"{'NVIDIA' if upstream else 'its own'}: `{data[f'__{role}_packages'][0]['name']}`"
    packages = data[f"__{role}_sets"]["upstream" if upstream else "distribution"]
    return f"{OF_UPSTREAM[role] if upstream else 'its own'}: `{packages[0]['name']}`"


def driver_origin(system: dict[str, str]) -> str:
    known = nvidia_repository(system)
    if not known["folder"]:
        return "its own, the newest branch alone"
    trust = "" if known["fingerprints"] else ", whose fingerprint you name"
    return f"NVIDIA: `{known['folder'].split('/')[0]}`, key `{known['key']}`{trust}"


def compatibility() -> str:
    roles = ("containerd", "crio", "docker", "nvidia_container_toolkit")
    lines = [COMPATIBILITY, "## Where each part comes from, unless you choose otherwise", ""]
    lines.append(f"| system | `nvidia_driver` | {' | '.join(f'`{role}`' for role in roles)} |")
    lines.append("|---|---|" + "---|" * len(roles))
    for title, facts in systems():
        lines.append(f"| {title} | {driver_origin(facts)} | {' | '.join(origin(role, facts) for role in roles)} |")
    lines += ["", f"RHEL stands for its kin too: {', '.join(KIN[name] for name in RELEASES if name in KIN)}."]
    lines += [f"Processors: {', '.join(ARCHITECTURES)}.", "", "## Which version", ""]
    lines += ["| variable | default | what that installs |", "|---|---|---|"]
    for variable, meaning in PINS.items():
        role = next(path.name for path in (ROOT / "roles").iterdir() if variable.startswith(f"{path.name}_"))
        value = role_data(role, "defaults/main.yml")[variable]
        lines.append(f"| [`{variable}`](../roles/{role}/README.md) | `{json.dumps(value)}` | {meaning} |")
    requires = yaml.safe_load((ROOT / "meta/runtime.yml").read_text())["requires_ansible"]
    lines += ["", f"ansible-core {requires} on the controller, Python 3.9 or newer on the nodes.", ""]
    return "\n".join([*lines, "## How each cell was verified", "", *verified()])


def verified() -> tuple[str, str]:
    """What README.md says of it: the words' meanings, and the table."""
    pattern = r"^## What is supported[^\n]*\n\n(?P<words>.*?\n)\n(?P<table>\|.*?\n)\n"
    chapter = re.search(pattern, (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    if chapter is None:
        raise ValueError("README.md: no chapter `What is supported` that begins with words and a table")
    return chapter["words"], chapter["table"]


# page -> its text
PAGES = {
    "docs/diagnosis.md": lambda: diagnosis(CHECKS, FAILURES),
    "docs/reliability.md": lambda: reliability(list(figures("reliability.json").values())),
    "docs/compatibility.md": compatibility,
    "docs/performance.md": lambda: performance(figures("bench.json")),
}


if __name__ == "__main__":
    for page, text in PAGES.items():
        (ROOT / page).write_text(text())
        print(f"wrote {page}")
