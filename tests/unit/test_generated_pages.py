# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The generated pages say what their sources say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GENERATE = runpy.run_path(str(ROOT / "docs/generate.py"))
PAGES = GENERATE["PAGES"]
ROLES = {path.name for path in (ROOT / "roles").iterdir()}
PLAYBOOKS = {path.name for path in (ROOT / "playbooks").glob("*.yml")}


@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_page_is_up_to_date(page):
    assert (ROOT / page).read_text() == PAGES[page](), "run: make docs"


def test_every_finding_has_somebody_who_mends_it():
    section = PAGES["docs/diagnosis.md"]().split("## Who mends what")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ") and "](#" in line]
    listed = [re.search(r"\[(.+?)\]", row[1]).group(1) for row in rows]
    known = {item.id for item in (*GENERATE["CHECKS"], *GENERATE["FAILURES"])}

    assert len(listed) == len(set(listed))
    assert set(listed) == known
    assert {name for row in rows for name in re.findall(r"role `(\w+)`", row[2])} <= ROLES
    assert {f"{name}.yml" for row in rows for name in re.findall(r"`(\w+)\.yml", row[2])} <= PLAYBOOKS


def test_the_roles_that_repair_runs_are_those_it_lists():
    assert GENERATE["repaired"]() == (
        "host_prep",
        "nvidia_driver",
        "crio",
        "containerd",
        "docker",
        "nvidia_container_toolkit",
        "cdi",
        "kubeadm",
        "device_plugin",
    )


def test_repair_is_not_said_to_mend_what_its_look_leaves_out():
    page = PAGES["docs/diagnosis.md"]()

    assert GENERATE["unasked"]() == ("allocatable-unlike-devices",)
    assert "(#allocatable-unlike-devices) | `device_plugin.yml`: role `device_plugin` |" in page


def test_figures_of_no_commit_or_of_changed_files_make_no_page_and_several_commits_are_told():
    run_from = GENERATE["run_from"]
    ran, other = {"commit": "a1", "outcome": "passed"}, {"commit": "b2", "outcome": "failed"}
    left = {"commit": "c3", "outcome": "not run"}

    assert run_from([ran, ran, left]) == "commit `a1`"
    assert run_from([other, ran, ran, left]) == "commits `a1` (2 tests) and `b2` (1 tests)"
    for rows, words in (([left], "no outcome"), ([{**ran, "commit": "a1+"}], "a1+")):
        with pytest.raises(ValueError, match=re.escape(words)):
            run_from(rows)
