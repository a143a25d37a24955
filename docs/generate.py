# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the pages that are generated: ``make docs``.

docs/diagnosis.md comes from the catalogues of checks and of signatures, the alerts of the role monitoring, and the
cases in tests/unit/data/diagnosis;
docs/reliability.md and docs/performance.md from the figures that ``make faults`` and ``make bench`` left in build/ and
``make figures`` keeps in docs/figures/; docs/compatibility.md from the roles' own data, and from README.md for how each
cell was verified.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.gpunode.ready.plugins.module_utils import findings  # noqa: E402 - needs the path
from ansible_collections.gpunode.ready.plugins.module_utils.checks import all as catalogue  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.checks import cluster_all  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.diagnose import diagnose_text  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.monitoring.rules import alerts  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.monitoring.settings import Settings  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.nvidia_repository import (  # noqa: E402
    FOLDERS,
    nvidia_repository,
)
from ansible_collections.gpunode.ready.plugins.module_utils.preflight import ARCHITECTURES, RELEASES  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.all import FAILURES  # noqa: E402
from ansible_collections.gpunode.ready.plugins.module_utils.signatures.benign import BENIGN  # noqa: E402

CHECKS = (*catalogue.CHECKS, *cluster_all.CLUSTER_CHECKS)

HEAD = """\
<!-- Generated from the catalogues of checks and signatures by docs/generate.py; edit those, not this page. -->

# Diagnosis: every finding, from cause to consequence

`gpunode.ready.node_check`, `gpunode.ready.cluster_info`, `gpunode.ready.diagnose`, `verify.yml`, `repair.yml` and the
report all speak of the findings below. A finding carries the values observed and expected, the file and line (or the
object of the API) where they were seen, and its remedy. Its id stays the same for ever: mute one that you accept with
`gpunode_mute: [id]` (or the option `mute` of the modules).

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

Where the first control plane (or, without any, the first GPU node) has a kubeconfig, or `gpunode_diagnose_kubeconfig`
names one there, the cluster is asked as well: what it is, its warnings, and the logs of the GPU stack's pods and of
pods in trouble, also those of containers that were restarted. A pod's log is judged with the node that it runs on.

For a support case, all that was read goes into one archive on the controller, for its user alone (mode 0600):

```sh
ansible-playbook -i inventory gpunode.ready.diagnose -e gpunode_diagnose_bundle=true    # bundle.tar.gz, by the report
ansible-playbook -i inventory gpunode.ready.diagnose -e gpunode_diagnose_bundle=./case.tar.gz
```

It holds each node's facts, findings, configuration files of every layer and the newest MiB of each log, the cluster's
facts, findings, events and pods' logs, the report, and `manifest.json`, which says what was cut or could not be read
and why. Private keys, tokens, passwords, credentials of kubeconfigs, registries and addresses are taken out on the
node: by the name before them, by their form, and because the node keeps the same value in a kubeconfig, a registry
login or a token file. A password that stands nowhere else and under no name that says so cannot be known: look before
you share.

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
    "kubeadm": "kubeadm and the API",
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


def told(item: Any, known: Sequence[str], more: Sequence[str] = ()) -> str:
    lines = [f"*{item.severity}*. {item.meaning}", "", f"**Mend.** {item.remedy.text}"]
    if item.remedy.role:
        tag = f", tag `{item.remedy.tag}`" if item.remedy.tag else ""
        lines[-1] += f" Role [`{item.remedy.role}`](../roles/{item.remedy.role}/README.md){tag}."
    if item.remedy.commands:
        lines += ["", "```sh", *item.remedy.commands, "```"]
    causes = dict.fromkeys([*item.consequence_of, *more])
    links = [f"[{name}](#{name})" for name in causes if name in known]
    if links:
        lines += ["", "Explained by: " + ", ".join(links) + "."]
    return "\n".join(lines)


def section(items: Sequence[Any], known: Sequence[str], failure: Any | None = None) -> str:
    """One id: where a node and the cluster can both show it, both; then what programs print of it."""
    more = failure.consequence_of if failure else ()
    first, *others = items
    parts = [f"### {first.id}", told(first, known, more), *(told(item, known) for item in others)]
    return "\n".join(["\n\n".join(parts), *(printed(failure) if failure else [])])


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


def repaired() -> tuple[str, ...]:
    """The roles that repair.yml runs, as its variables list them; its one variable among them is the runtime's."""
    shared = yaml.safe_load((ROOT / "playbooks/vars/repair.yml").read_text())
    named = re.findall(r"'(\w+)'|(gpunode_runtime)", shared["__gpunode_node_roles"])
    node = (role for name, runtime in named for role in (RUNTIMES if runtime else (name,)))
    return (*node, *shared["__gpunode_cluster_roles"])


def unasked() -> tuple[str, ...]:
    """What the look at the cluster leaves out, whoever runs it."""
    asked = (ROOT / "playbooks/tasks/ask_cluster.yml").read_text()
    return tuple(re.findall(r"mute: .*\+ \['([\w-]+)'\]", asked))


RUNTIMES = ("crio", "containerd", "docker")


def mender(items: Sequence[Any], repair: Sequence[str]) -> str:
    """What mends a finding, in words: the playbook that runs its role, or a person."""
    by_facts = [item for item in items if hasattr(item, "judge")]
    # a match may name the role of the runtime that it is about
    runtime = any(re.search(r"role_of\(|role=runtime", inspect.getsource(item.judge)) for item in by_facts)
    roles = {item.remedy.role: item.remedy.tag for item in items if item.remedy.role}
    if runtime and not roles:
        return "`repair.yml`: role `crio`, `containerd` or `docker`, whichever it is about"
    if not roles:
        return "a person"
    role, tag = next(iter(roles.items()))
    named = f"role `{role}`" + (f", tag `{tag}`" if tag else "")
    if role not in repair or items[0].id in unasked():
        return f"`{role}.yml`: {named}"
    return f"`repair.yml`{'' if by_facts else ', where it reads logs'}: {named}"


def menders(by_id: dict[str, list[Any]], layers: Sequence[str]) -> str:
    """Who mends what, for every id."""
    repair = repaired()
    lines = [
        "## Who mends what",
        "",
        "`repair.yml` runs the roles " + ", ".join(f"`{role}`" for role in repair) + ", each as a whole;",
        "the tag says which part of it mends. What only logs tell, it knows where `gpunode_repair_logs` is set, and",
        "mends unless the look at the node denies it; pods' logs it reads wherever it asks the cluster, and there",
        "runs `device_plugin` for them; the roles of nodes only where `gpunode_repair_logs` is set.",
        "`device_plugin` runs once, where a kubeconfig is (`gpunode_diagnose_kubeconfig`, or that of",
        "`gpunode_kubernetes`); `kubeadm` runs on members alone.",
        "Where a person is named, no role can do it, or none does yet; the remedy says what to do.",
        "",
        "| layer | finding | is mended by |",
        "|---|---|---|",
    ]
    for layer in layers:
        for name, items in by_id.items():
            if items[0].layer == layer:
                who = mender(items, repair)
                lines.append(f"| {TITLES.get(layer, layer)} | [{name}](#{name}) | {who} |")
    return "\n".join(lines) + "\n"


def alerted(known: Sequence[str]) -> str:
    """The alerts of role monitoring: what each means, what mends it, which findings tell the cause."""
    lines = [
        "## Alerts",
        "",
        "What Prometheus warns of with the rules of the role [`monitoring`](../roles/monitoring/README.md); an",
        "alert's `runbook_url` leads here. Expressions are shown with the role's defaults. `FindingFatal` and",
        "`FindingDegraded` lead to the finding itself, above.",
        "",
        "*critical*: somebody gets up. *warning*: somebody looks today. *info*: worth knowing.",
        "",
    ]
    for group in alerts(Settings()).values():
        for one in group:
            when = "at once" if one.wait == "0m" else f"after {one.wait}"
            lines += [f"### {one.name}", "", f"*{one.severity}*. {one.meaning}", ""]
            lines += [f"**Mend.** {one.mend}", ""]
            lines += ["```promql", one.expr, "```", "", f"Where this holds, it fires {when}."]
            links = [f"[{name}](#{name})" for name in one.findings if name in known]
            lines += ["", "See " + ", ".join(links) + ".", ""] if links else [""]
    return "\n".join(lines)


def diagnosis(checks: Sequence[Any], failures: Sequence[Any]) -> str:
    parts = [HEAD]
    texts = {failure.id: failure for failure in failures}
    by_id: dict[str, list[Any]] = {}
    for check in checks:
        by_id.setdefault(check.id, []).append(check)
    for failure in failures:
        by_id.setdefault(failure.id, [failure])
    known = list(by_id)
    layers = [layer for layer in findings.LAYERS if any(group[0].layer == layer for group in by_id.values())]
    rows = ["| layer | findings |", "|---|---|"]
    for layer in layers:
        links = ", ".join(f"[{name}](#{name})" for name, group in by_id.items() if group[0].layer == layer)
        rows.append(f"| {TITLES.get(layer, layer)} | {links} |")
    every = {
        name: [*group, *([texts[name]] if name in texts and texts[name] not in group else [])]
        for name, group in by_id.items()
    }
    parts += ["\n".join(rows) + "\n", menders(every, layers), rates(), benign()]
    for layer in layers:
        parts.append(f"## {TITLES.get(layer, layer)}\n")
        parts.extend(
            f"{section(group, known, texts.get(name))}\n" for name, group in by_id.items() if group[0].layer == layer
        )
    parts.append(alerted(known))
    return "\n".join(parts)


RELIABILITY = """\
<!-- Generated from docs/figures/reliability.json by docs/generate.py; tests write the figures, nobody types them. -->

# Reliability: faults injected for real

Each row is a fault that tests inject, and then demand: nothing lost, the cause named, the next run completes.
`make faults` runs them all and keeps what became of them. A case without a row was not run.
"""

STAGES = {
    "guest": "a virtual machine with a kernel, systemd, apt and disk of its own, emulated. Its GPU is a PCI "
    "function with nothing behind it; NVIDIA's driver and toolkit are fixture packages of the same names and paths; "
    "containerd and the rest of Debian are real",
    "root": "a Debian root of its own without a kernel: real apt, dpkg and gpg, real HTTP and TLS on loopback",
    "process": "real processes, files and file systems on the machine that runs the tests",
}

# What a node, a run, a cluster or a user can do to us. Those of the cluster come with its layers.
CASES = {
    1: "a misspelt variable",
    2: "an unknown choice, a wrong type",
    3: "two names, one machine",
    4: "an empty group, a limit that matches nothing",
    5: "two control planes",
    6: "Kubernetes and CRI-O minors apart",
    7: "pod, service and node networks overlap",
    8: "a GPU host without a GPU",
    9: "an old Python, an unsupported system",
    10: "an invalid sharing configuration",
    11: "quotes, spaces, commands, line ends in values",
    12: "dpkg's lock is held",
    13: "dpkg half-configured",
    14: "package installed, program gone",
    15: "disk full, before and during a write",
    16: "mirror down, slow, 404, truncated",
    17: "wrong checksum, expired or SHA-1 key",
    18: "corrupt TOML, YAML, JSON",
    19: "swap by fstab, unit, zram",
    20: "a read-only or immutable file",
    21: "a clock a day off",
    22: "headers missing, Secure Boot, nouveau",
    23: "module and library versions differ",
    24: "a user's own file in our folder",
    25: "controller killed at a task",
    26: "ssh cut during apt",
    27: "node rebooted in the middle of a run",
    28: "three reboots after success",
    29: "two runs at once, a stale lock",
    30: "a host that does not answer",
    31: "a second run",
    32: "check mode on a bare host",
    33: "each tag alone",
    34: "a wrong become password",
    35: "uninstall",
    36: "API down, slow, 429",
    37: "cgroup drivers differ",
    38: "`kubeadm init` died half-way",
    39: "handler or RuntimeClass missing",
    40: "desired pods 0",
    41: "image pull blocked",
    42: "10,000 evicted pods",
    43: "no default StorageClass",
    44: "planted secrets",
    45: "umask 0",
    46: "Grafana's password is admin",
    47: "a link planted at a temporary path",
    48: "RBAC against a golden file",
}
OF_THE_CLUSTER = {5, 7, 10, *range(36, 44), 46, 48}

PERFORMANCE = """\
<!-- Generated from docs/figures/bench.json by docs/generate.py; `make bench` writes the figures, nobody types them. -->

# Performance: beside named peers, in the same run

`make bench` runs ours and the peer by turns and takes medians. Nodes are emulated in software here, so seconds are long
and only ratios carry over to other machines; a ratio below 1 says that we take less.
"""


def run_from(rows: Sequence[dict[str, Any]]) -> str:
    """The commits that the tests were run from. Raises ``ValueError`` where there is none: no page is made of that."""
    ran = Counter(row["commit"] for row in rows if row["outcome"] != "not run")
    if not ran:
        raise ValueError("docs/figures/reliability.json holds no outcome: make faults figures")
    for commit in ran:
        if commit.endswith("+"):
            raise ValueError(
                f"docs/figures/reliability.json is of {commit}, a tree that nobody committed: commit it first"
            )
    if len(ran) == 1:
        return f"commit `{next(iter(ran))}`"
    return "commits " + " and ".join(f"`{commit}` ({number} tests)" for commit, number in ran.most_common())


def together(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each fault of a case: what became of all the tests that inject it."""
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        key = (row["case"] or 99, row["fault"], row["stage"], row["simulated"])
        one = found.setdefault(key, {**row, "tests": 0, "passed": 0, "failed": 0, "seconds": 0, "figures": {}})
        one["tests"] += 1
        one["passed"] += row["outcome"] == "passed"
        one["failed"] += row["outcome"] == "failed"
        one["seconds"] += row["seconds"]
        one["figures"].update(row["figures"])
    return [found[key] for key in sorted(found)]


def listed(numbers: Sequence[int]) -> str:
    return "; ".join(f"{number} ({CASES[number]})" for number in numbers) or "none"


def reliability(rows: Sequence[dict[str, Any]]) -> str:
    days = sorted({row["date"] for row in rows})
    faults = together(rows)
    of = {number: [row for row in faults if row["case"] == number] for number in CASES}
    passed = [number for number, own in of.items() if own and all(row["passed"] == row["tests"] for row in own)]
    failed = [number for number, own in of.items() if any(row["failed"] for row in own)]
    begun = [number for number, own in of.items() if any(row["passed"] for row in own)]
    partly = [number for number in begun if number not in (*passed, *failed)]
    left = [number for number in CASES if number not in (*begun, *failed, *OF_THE_CLUSTER)]
    mine = len(CASES) - len(OF_THE_CLUSTER)
    tests = sum(row["outcome"] == "passed" for row in rows)
    ran = sum(row["outcome"] in ("passed", "failed") for row in rows)
    lines = [RELIABILITY, "| where | what it is |", "|---|---|"]
    lines += [f"| {stage} | {what} |" for stage, what in STAGES.items()]
    lines += ["", f"Run from {run_from(rows)} on {' and '.join(days)}.", ""]
    lines += ["| figure | value |", "|---|---|"]
    lines.append(f"| cases passed, by every test that there is | {len(passed)} of the {mine} that concern a node |")
    lines.append(f"| cases passed by some of their tests, the others not run | {listed(partly)} |")
    lines.append(f"| cases failed | {listed(failed)} |")
    lines.append(f"| cases of a node that were not run | {listed(left)} |")
    lines.append(f"| cases of the cluster, with layers to come | {listed(sorted(OF_THE_CLUSTER))} |")
    lines.append(f"| tests | {tests} passed, {ran - tests} failed, {len(rows) - ran} not run |")
    figures = {name: value for row in faults for name, value in row["figures"].items()}
    lines += [f"| {name} | {value} |" for name, value in figures.items()]
    lines += ["", "| case | fault | where | simulated besides | passed | seconds |", "|---|---|---|---|---|---|"]
    for row in faults:
        left = row["tests"] - row["passed"] - row["failed"]
        outcome = f"{row['passed']}/{row['tests']}" + (f", {left} not run" if left else "")
        cells = (row["case"] or "also", row["fault"], row["stage"], row["simulated"], outcome, f"{row['seconds']:.0f}")
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
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
    "local_storage_version": "exactly this image",
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
    return f"NVIDIA: `{known['folder'].partition('/')[0]}`, key `{known['key']}`{trust}"


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
