# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults injected for real on a lab node, and what must then happen.

One node is converged once a session; each test injects its fault, looks at what the run says and does, and leaves the
node healthy, which the next test's first look proves. tests/conftest.py keeps the outcomes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/lab"))

from demo import fixtures_inventory
from node import Node

BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Played:
    """What one ansible-playbook did: exit status, console, and the recap's counts of the one node."""

    rc: int
    text: str
    seconds: float
    counts: dict[str, int]

    @property
    def words(self) -> str:
        """The console without its line breaks, which may part any two words."""
        return " ".join(self.text.split())

    @property
    def changed(self) -> int:
        return self.counts.get("changed", -1)

    @property
    def failed(self) -> int:
        return self.counts.get("failed", -1)


class Bench:
    """A lab node, and Ansible pointed at it."""

    def __init__(self, node: Node, folder: Path) -> None:
        self.node = node
        self.folder = folder
        self.variables: dict[str, Any] = {**node.inventory(), **fixtures_inventory(node)}
        self.variables["gpunode_report_dir"] = str(folder / "report")
        self.converged = False
        self.foretold: Played | None = None

    def ssh(self, command: str, timeout: float = 180) -> str:
        return self.node.ssh(command, timeout)

    def inventory(self, more: dict[str, Any] | None = None, hosts: dict[str, dict] | None = None) -> Path:
        path = self.folder / "inventory.json"
        known = hosts or {self.node.name: {}}
        every = {name: {**self.variables, **own, **(more or {})} for name, own in known.items()}
        path.write_text(json.dumps({"gpu_nodes": {"hosts": every}}))
        return path

    def start(
        self, *arguments: str, playbook: str = "site.yml", environment: dict[str, str] | None = None, **variables: Any
    ) -> subprocess.Popen[str]:
        """Begin a run and hand over its process."""
        return subprocess.Popen(
            [BIN / "ansible-playbook", "-i", self.inventory(variables), ROOT / "playbooks" / playbook, *arguments],
            env={**self.environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @staticmethod
    def environment() -> dict[str, str]:
        return {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collections"),
            "ANSIBLE_NOCOLOR": "1",
        }

    def play(self, *arguments: str, playbook: str = "site.yml", timeout: float = 3600, **variables: Any) -> Played:
        """Run a playbook to its end; one that has none is ended, so that it does not disturb the next."""
        started = time.monotonic()
        process = self.start(*arguments, playbook=playbook, **variables)
        try:
            text, _nothing = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        recap = re.search(rf"^{re.escape(self.node.name)}\s+: (.*)$", text, re.MULTILINE)
        counts = dict(re.findall(r"(\w+)=(\d+)", recap.group(1))) if recap else {}
        return Played(
            process.returncode, text, time.monotonic() - started, {name: int(count) for name, count in counts.items()}
        )

    def module(self, name: str, **options: Any) -> Played:
        """Run one module of ours on the node."""
        started = time.monotonic()
        argv = [BIN / "ansible", "-i", self.inventory(), "all", "-b", "-m", f"gpunode.ready.{name}"]
        argv += ["-a", json.dumps(options)]
        done = subprocess.run(argv, env=self.environment(), capture_output=True, text=True, timeout=300, check=False)
        return Played(done.returncode, done.stdout + done.stderr, time.monotonic() - started, {})

    def tree(self) -> str:
        """A hash of every file a run could change: content, mode, owner, links; logs and run-time state left out."""
        return self.ssh(
            "{ find /etc /usr/local /opt /root /var/lib/dpkg/status -xdev -path /root/.ansible -prune -o "
            r"-name '*.cache' -prune -o -printf '%p %m %u %g %l\n'; "
            "find /etc /usr/local /opt /root /var/lib/dpkg/status -xdev -path /root/.ansible -prune -o "
            "-name '*.cache' -prune -o -type f -print0 | xargs -0 sha256sum; "
            # these are many and large: their sizes and times
            r"find /usr/lib/systemd /lib/modules/ -xdev -type f -printf '%p %m %s %T@\n'; } | sort | sha256sum; "
            "lsmod | awk '{print $1}' | sort | sha256sum; "
            "sysctl -a 2>/dev/null | grep -E '^(net.bridge|net.ipv4.ip_forward)' | sha256sum; "
            "cut -d' ' -f1 /proc/swaps"
        )


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The one node of a session. GPUNODE_FAULT_NODE=name takes a node that is there, converged, and keeps it."""
    kept = os.environ.get("GPUNODE_FAULT_NODE")
    node = Node(kept or "faults")
    if not kept:
        node.down()
    if not node.running:
        node.up()
    found = Bench(node, tmp_path_factory.mktemp("faults"))
    found.converged = bool(kept) and "nvidia-smi" in node.ssh("ls /usr/bin")
    yield found
    if not kept:
        node.down()


@pytest.fixture
def bare(lab: Bench) -> Bench:
    """The node before its first run."""
    if lab.converged:
        pytest.skip("the node is converged already; `make faults` begins with a bare one")
    return lab


@pytest.fixture
def bench(lab: Bench) -> Bench:
    """The node converged by site.yml."""
    if not lab.converged:
        first = lab.play()
        assert first.rc == 0, first.text
        lab.converged = True
    return lab
