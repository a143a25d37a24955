# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What prometheus_export documents is what it takes, and the playbook hands on every option of it."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from ansible_collections.gpunode.ready.plugins.module_utils.prometheus_export import ARGUMENTS, FORMATS
from ansible_collections.gpunode.ready.plugins.module_utils.prometheus_profiles import PROFILES

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "plugins/modules/prometheus_export.py").read_text()
OPTIONS = yaml.safe_load(re.search(r'DOCUMENTATION = r"""(.+?)"""', TEXT, re.DOTALL).group(1))["options"]


def told(spec):
    return {name: spec.get(name) for name in ("type", "required", "default", "choices", "elements")}


def test_the_options_are_documented_as_they_are():
    assert {name: told(option) for name, option in OPTIONS.items()} == {
        name: told(option) for name, option in ARGUMENTS.items()
    }


def test_the_playbook_hands_on_every_option():
    (play,) = yaml.safe_load((ROOT / "playbooks/export.yml").read_text())
    handed = next(task["gpunode.ready.prometheus_export"] for task in play["tasks"] if task["name"] == "Export")

    assert set(handed) == set(ARGUMENTS)


def test_the_page_names_every_metric_of_the_research_set_and_the_examples_are_right():
    page = (ROOT / "docs/export.md").read_text()
    examples = yaml.safe_load(re.search(r'EXAMPLES = r"""(.+?)"""', TEXT, re.DOTALL).group(1))

    assert [metric for metric in PROFILES["research"] if f"`{metric}`" not in page] == []
    for task in examples:
        given = task["gpunode.ready.prometheus_export"]
        assert set(given) <= set(OPTIONS)
        assert given["path"].endswith(FORMATS)
