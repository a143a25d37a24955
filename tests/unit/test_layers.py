# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which way things point: never backwards, never sideways."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
UTILS = sorted((ROOT / "plugins/module_utils").rglob("*.py"))
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("path", UTILS, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_utils_need_the_standard_library_alone(path):
    allowed = set(sys.stdlib_module_names) | {"__future__"}

    assert imported(path) - allowed == set()


@pytest.mark.parametrize("path", UTILS, ids=lambda path: str(path.relative_to(ROOT)))
def test_module_utils_parse_as_python_3_9(path):
    tree = ast.parse(path.read_text(), feature_version=(3, 9))

    newer = [node for node in ast.walk(tree) if isinstance(node, getattr(ast, "Match", ()))]
    slots = [
        keyword.arg
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "slots"
    ]
    assert newer == []
    assert slots == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reads_no_variable_of_another(role):
    others = [name for name in ROLES if name != role]
    texts = [
        (path.relative_to(ROOT), path.read_text())
        for folder in ("tasks", "templates", "handlers", "vars", "defaults")
        for path in (ROOT / "roles" / role / folder).rglob("*")
        if path.is_file()
    ]

    foreign = [
        f"{path}: {match.group(0)}"
        for path, text in texts
        for other in others
        for match in re.finditer(
            rf"(?<![\w./-]){other}_[a-z_]+(?=\s*(\||\}}\}}|==|!=|\[|\)| in | is | and | or |$))", text, re.MULTILINE
        )
        if not match.group(0).startswith(f"{role}_")
    ]
    assert foreign == []


@pytest.mark.parametrize("role", ROLES)
def test_a_role_includes_no_other_role(role):
    texts = [path.read_text() for path in (ROOT / "roles" / role / "tasks").rglob("*.yml")]

    assert [text for text in texts if re.search(r"(include|import)_role", text)] == []


def test_plays_gather_no_facts_with_setup():
    plays = [
        (path.name, play)
        for path in sorted((ROOT / "playbooks").glob("*.yml"))
        for play in yaml.safe_load(path.read_text())
        if "hosts" in play
    ]

    assert [f"{name}: {play['name']}" for name, play in plays if play.get("gather_facts", True)] == []


def test_no_test_hook_reaches_the_product():
    texts = {
        path: path.read_text()
        for folder in ("plugins", "roles", "playbooks")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", ".yml", ".j2")
    }

    assert [str(path) for path, text in texts.items() if "gpunode-lab" in text] == []
