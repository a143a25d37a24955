# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`-e x=false` and an INI inventory give text, and any text is true to Jinja: a boolean option is read as `x | bool`.

Argument specs convert nothing: they check, and the variable stays what it was.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SPECS = {
    path.parts[-3]: yaml.safe_load(path.read_text())["argument_specs"]["main"].get("options") or {}
    for path in (ROOT / "roles").glob("*/meta/argument_specs.yml")
}
OPTIONS = sorted(name for options in SPECS.values() for name, spec in options.items() if spec.get("type") == "bool")
READERS = sorted(
    path
    for pattern in (
        *(f"roles/*/{folder}/**/*" for folder in ("tasks", "vars", "handlers", "templates")),
        "playbooks/**/*.yml",
        "site.yml",
    )
    for path in ROOT.glob(pattern)
    if path.is_file()
)
# preflight takes it as it comes: what is no boolean at all is one of the reasons that it tells
TAKEN_AS_TEXT = {("playbooks/vars/roles.yml", "gpunode_gpu")}


def raw_uses(text: str, name: str) -> list[str]:
    """The lines that read an option without ``| bool``; its name in quotes, as a tag or as a key is no use of it."""
    use = re.compile(rf"(?<![\w'\"]){name}(?![\w'\":])(?!\)*(?:\s*\|\s*default\([^()]*\))?\)*\s*\|\s*bool\b)")
    lines = (line for line in text.splitlines() if not re.match(r"\s*(?:#|tags:)", line))
    return [line.strip() for line in lines if use.search(line)]


@pytest.mark.parametrize("path", READERS, ids=lambda path: str(path.relative_to(ROOT)))
def test_text_is_never_taken_for_a_boolean(path):
    text, place = path.read_text(), str(path.relative_to(ROOT))

    raw = [line for name in OPTIONS if (place, name) not in TAKEN_AS_TEXT for line in raw_uses(text, name)]

    assert raw == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("when: docker_cdi", True),
        ("- not docker_cdi", True),
        ("x: \"{{ 'a' if docker_cdi else 'b' }}\"", True),
        ("when: docker_cdi and docker_x | bool", True),
        ("when: docker_cdi | bool", False),
        ("when: (docker_cdi | default(false)) | bool", False),
        ("when: docker_cdi | default(true) | bool", False),
        ("tags: [docker, docker_cdi]", False),
        ("docker_cdi: true", False),
        ("x: \"{{ hostvars[inventory_hostname]['docker_cdi'] }}\"", False),
    ],
)
def test_what_counts_as_a_use(text, found):
    assert bool(raw_uses(text, "docker_cdi")) is found
