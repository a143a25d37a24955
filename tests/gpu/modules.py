#!/usr/bin/env python3
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On a machine with a real GPU: the looking modules, run by Ansible as on any node, beside nvidia-smi.

It changes nothing on the machine. Needs ansible-core. Prints what was judged and how long looking took, exits 1 where a
module fails or contradicts nvidia-smi, and leaves modules.json, disguised, in the folder given (or $OUT).
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from compare import ROOT, disguise, look_up, run


def ask(module: str, *options: str) -> dict[str, Any]:
    """A module's answer, through Ansible, on this machine."""
    with tempfile.TemporaryDirectory() as scratch:
        (Path(scratch) / "ansible.cfg").write_text("")
        environment = {
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_CONFIG": f"{scratch}/ansible.cfg",
            "ANSIBLE_LOCAL_TEMP": scratch,
            "ANSIBLE_REMOTE_TMP": scratch,
        }
        command = [sys.executable, "-m", "ansible", "adhoc", "localhost", "-i", "localhost,", "-c", "local"]
        command += ["-e", f"ansible_python_interpreter={sys.executable}", "-m", f"gpunode.ready.{module}"]
        done = subprocess.run(
            [*command, "-a", " ".join(options)], env=environment, capture_output=True, text=True, check=False
        )
    found = re.search(r"=> (\{.*\})", done.stdout, re.DOTALL)
    return json.loads(found.group(1)) if found else {"failed": True, "msg": done.stdout + done.stderr}


def seconds(times: int = 5) -> dict[str, float]:
    """How long looking takes, without Ansible around it: for each part of the facts and in all; the median."""
    from ansible_collections.gpunode.ready.plugins.module_utils import node
    from ansible_collections.gpunode.ready.plugins.module_utils.host import Host

    taken: dict[str, list[float]] = {}
    for _time in range(times):
        all_of_it = time.monotonic()
        for part in node.COLLECTORS:
            start = time.monotonic()
            node.collect(Host(), [part])
            taken.setdefault(part, []).append(time.monotonic() - start)
        taken.setdefault("node_info", []).append(time.monotonic() - all_of_it)
    return {part: round(statistics.median(values), 4) for part, values in taken.items()}


def main() -> int:
    out = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("OUT", "build/gpu"))
    out.mkdir(parents=True, exist_ok=True)
    wrong: list[str] = []

    nvml = ask("nvml_info")
    facts = look_up(ask("node_info"), "ansible_facts.gpunode")
    judged = ask("node_check", "layers=driver,nvml", "fail_on=never")
    listed = re.findall(r"^GPU (\d+): (.*) \(UUID: (\S+)\)$", run("nvidia-smi", "-L"), re.MULTILINE)

    if nvml.get("condition") != "ok":
        wrong.append(f"nvml_info: {nvml.get('msg') or nvml.get('meaning')}")
    told = [(str(item["index"]), item["name"], item["uuid"]) for item in nvml.get("devices", [])]
    if told != listed:
        wrong.append(f"nvml_info tells {told}, nvidia-smi -L {listed}")
    if not facts:
        wrong.append("node_info gave no facts")
    for part, value in (facts or {}).items():
        if isinstance(value, dict) and "unavailable" in value:
            print(f"node_info: {part} is unavailable here: {value['unavailable']}")
            if part in ("gpus", "driver", "nvml"):
                wrong.append(f"node_info: {part}: {value['unavailable']}")
    if "findings" not in judged:
        wrong.append(f"node_check: {judged.get('msg')}")
    for finding in judged.get("findings", []):
        print(f"{finding['severity']:9} {finding['id']:36} {finding['subject']}: {finding['cause']}")
    taken = seconds()
    print(json.dumps(taken, indent=1))

    mask = disguise({"nvml": nvml}, run("nvidia-smi", "-q", "-x")) if nvml.get("devices") else str
    everything = {"nvml_info": nvml, "node_info": facts, "node_check": judged, "seconds": taken, "wrong": wrong}
    (out / "modules.json").write_text(mask(json.dumps(everything, indent=2)) + "\n")
    print("\n".join(wrong) or f"{len(listed)} GPU(s): the modules say what nvidia-smi says")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
