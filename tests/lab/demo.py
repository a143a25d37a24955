#!/usr/bin/env python3
# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: a bare machine becomes a GPU node, and still is one after its reboot; seen from the outside.

Boots a lab node, runs site.yml, reboots the node, runs site.yml again and insists that nothing changed. Each run ends
with a verification of every layer; the demo ends with one screen. What Ansible said in full lies in build/demo/.
"""

from __future__ import annotations

import os
import queue
import re
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from cache import CHECKOUT, LabError, digest, say
from image import image
from node import Node
from repository import variables

HOST = "gpu-1"
LOGS = CHECKOUT / "build" / "demo"
RECAP = re.compile(rf"^{HOST}\s+: (.*)$", re.MULTILINE)
TASK = re.compile(r"^(?:TASK|RUNNING HANDLER) \[(.*?)\] \*")
UNTOLD_SECONDS = 1.0  # a task that takes longer is named while it runs
PLAY = re.compile(r"^PLAY \[(.*?)\] \*")


def demo_node() -> Node:
    """The demo's node; each checkout has its own."""
    return Node(f"demo-{digest(str(CHECKOUT))[:4]}")


def fixtures_inventory(_node: Node | None = None) -> dict[str, Any]:
    """The variables that point every role at the lab's fixture repositories."""
    return variables()


@dataclass(frozen=True)
class Played:
    """One run of a playbook: exit status, the recap's counts, and how long it took."""

    rc: int
    counts: dict[str, int]
    seconds: float
    log: Path


class Stopped(Exception):
    """The demo cannot go on, and why."""


def play(title: str, log_name: str, *arguments: str) -> Played:
    """Run a playbook, with one line for each task as it begins, unless it is skipped; the whole goes to a log."""
    LOGS.mkdir(parents=True, exist_ok=True)
    log = LOGS / f"{log_name}.log"
    heading(title)
    began = time.monotonic()
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(CHECKOUT / "ansible.cfg"),
        "ANSIBLE_COLLECTIONS_PATH": str(CHECKOUT / "collections"),
        "ANSIBLE_NOCOLOR": "1",
        "PYTHONUNBUFFERED": "1",
    }
    program = Path(sys.executable).parent / "ansible-playbook"
    process = subprocess.Popen(
        [str(program), "-i", "inventories/lab", *arguments],
        cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=lambda: [*map(lines.put, process.stdout or ()), lines.put(None)], daemon=True).start()
    text = []
    waiting = ""
    with log.open("w") as stream:
        while True:
            try:
                line = lines.get(timeout=UNTOLD_SECONDS if waiting else None)
            except queue.Empty:
                line = ""
            if line is None:
                break
            if waiting and not line.startswith(("skipping:", "TASK", "PLAY", "\n")):  # what is skipped is not told
                print(waiting, flush=True)
                waiting = ""
            stream.write(line)
            text.append(line)
            if match := PLAY.match(line):
                print(f"  {match.group(1)}", flush=True)
                waiting = ""
            elif match := TASK.match(line):
                waiting = f"  {time.monotonic() - began:6.1f} s    {match.group(1)}"
            elif line.startswith(("fatal:", "[ERROR]", "failed:")):
                print(f"  {line.rstrip()}", flush=True)
    rc = process.wait()
    recap = RECAP.search("".join(text))
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", recap.group(1))} if recap else {}
    return Played(rc, counts, time.monotonic() - began, log)


def heading(text: str) -> None:
    print(f"\n== {text}", flush=True)


def must(played: Played, what: str) -> Played:
    if played.rc != 0:
        tail = "".join(played.log.read_text().splitlines(keepends=True)[-40:])
        raise Stopped(f"{what} failed (exit status {played.rc}); the whole is in {played.log}. It ends with:\n{tail}")
    return played


def demo() -> None:
    began = time.monotonic()
    node = demo_node()
    heading("A bare machine: Debian 12 in QEMU, its GPU simulated (image: about 1 minute when the cache is cold)")
    node.down()
    image()
    node.up(hostname=HOST)
    try:
        report = CHECKOUT / "build/report/report.html"
        site = ("site.yml", "-e", f"gpunode_report_dir={report.parent}")
        first = must(play("site.yml on the bare machine", "1-site", *site), "The first run")
        heading("A reboot that nobody prepared")
        booting = time.monotonic()
        node.reboot()
        booted = time.monotonic() - booting
        second = must(play("site.yml again: nothing may change", "2-site-again", *site), "The second run")
        if second.counts.get("changed") != 0:
            raise Stopped(f"The second run changed {second.counts.get('changed')} things; see {second.log}")
        screen(node, first, booted, second, report, time.monotonic() - began)
    finally:
        if os.environ.get("GPUNODE_DEMO_KEEP"):
            say(
                f"the node stays up: `tests/lab/lab.py ssh {node.name}`; `tests/lab/lab.py down {node.name}` removes it"
            )
        else:
            node.down()


def screen(node: Node, first: Played, booted: float, second: Played, report: Path, seconds: float) -> None:
    """The one screen at the end."""
    what = node.ssh(
        '. /etc/os-release; echo "$PRETTY_NAME, kernel $(uname -r)"; nvidia-smi -L; cat /sys/module/nvidia/version; '
        "nvidia-ctk cdi list 2>/dev/null | tr '\\n' ' '"
    ).splitlines()
    table = layers(second.log.read_text())
    print("\n" + "=" * 100)
    print(f" {HOST}: {what[0]}")
    for line in what[1:-2]:
        print(f"        {line}")
    print(f"        driver {what[-2]} (simulated), CDI devices: {what[-1].strip()}")
    print("-" * 100)
    print(table)
    print("-" * 100)
    print(f" first run    {first.seconds:5.0f} s   ok={first.counts.get('ok')} changed={first.counts.get('changed')}")
    print(f" reboot       {booted:5.0f} s")
    print(
        f" second run   {second.seconds:5.0f} s   ok={second.counts.get('ok')} changed={second.counts.get('changed')}"
    )
    print(f" everything   {seconds:5.0f} s")
    if report.is_file():
        print(f" report       {report}")
    print(f" logs         {LOGS}")
    print("=" * 100)


def layers(text: str) -> str:
    """The table that the run's verification printed: what stands between its task and the next."""
    told = re.search(r"^TASK \[report \| What the nodes are\][^\n]*\n(.*?)^TASK ", text, re.MULTILINE | re.DOTALL)
    lines = told.group(1).splitlines() if told else []
    shown = [line for line in lines if not line.startswith(("ok:", "    msg:"))]
    return textwrap.indent(textwrap.dedent("\n".join(shown)).strip("\n"), " ") or " the run printed no table"


if __name__ == "__main__":
    try:
        demo()
    except (Stopped, LabError) as error:
        sys.exit(f"demo: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
