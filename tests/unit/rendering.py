# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of roles as Ansible itself would template them, for systems given as facts; no task is run.

It happens in a process of its own, all cases at once: Ansible has its own importer for ``ansible_collections``, which
does not go together with tests that have imported from there already.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
MISSING = "" if importlib.util.find_spec("ansible") else "ansible-core is not installed: make setup"


@dataclass(frozen=True)
class Case:
    """One role on one system. ``show``: the expressions to template."""

    role: str
    facts: dict[str, Any]
    show: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


def render(cases: Mapping[Hashable, Case]) -> dict[Hashable, dict[str, Any]]:
    """By case, its expressions and their values."""
    asked = [
        {"role": case.role, "facts": case.facts, "options": case.options, "show": case.show} for case in cases.values()
    ]
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(asked), capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(cases, json.loads(done.stdout)))


def main() -> None:
    from ansible.parsing.dataloader import DataLoader
    from ansible.plugins.loader import init_plugin_loader
    from ansible.template import Templar, trust_as_template
    from jinja2 import Environment

    init_plugin_loader([str(ROOT / "collections")])
    loader = DataLoader()
    templar = Templar(loader)
    Environment.compile = lru_cache(maxsize=None)(Environment.compile)  # most of the time goes there

    @lru_cache
    def read(path: Path) -> dict[str, Any]:
        return loader.load_from_file(str(path), trusted_as_template=True) or {}

    answers = []
    for case in json.load(sys.stdin):
        folder, system = ROOT / "roles" / case["role"], case["facts"]["os"]
        by_system = [folder / "vars" / f"{system[part]}.yml" for part in ("id", "family")]
        variables: dict[str, Any] = {}
        files = [
            folder / "defaults/main.yml",
            folder / "vars/main.yml",
            *[path for path in by_system if path.is_file()][:1],
        ]
        for path in filter(Path.is_file, files):
            variables.update(read(path))
        variables.update(case["options"], ansible_facts={"gpunode": case["facts"]}, role_path=str(folder))
        templar.available_variables = variables
        answers.append({name: templar.template(trust_as_template(f"{{{{ {name} }}}}")) for name in case["show"]})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
