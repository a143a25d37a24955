# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The wiring between site-wide choices, roles and expectations names only what exists, and misses nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ansible_collections.gpunode.ready.plugins.module_utils.expect import EXPECT

ROOT = Path(__file__).resolve().parents[2]
ROLES = yaml.safe_load((ROOT / "playbooks/vars/roles.yml").read_text())
EXPECTED = yaml.safe_load((ROOT / "playbooks/vars/expect.yml").read_text())


def options(role):
    spec = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text())
    return spec["argument_specs"]["main"]["options"]


def role_of(variable):
    roles = sorted((path.name for path in (ROOT / "roles").iterdir()), key=len, reverse=True)
    return next((name for name in roles if variable.startswith(f"{name}_")), None)


WIRED = [name for name in ROLES if not name.startswith("__")]


@pytest.mark.parametrize("variable", WIRED)
def test_what_is_wired_is_an_option_of_its_role(variable):
    assert variable in options(role_of(variable))


@pytest.mark.parametrize("variable", WIRED)
def test_the_inventory_wins_over_the_site_wide_choice(variable):
    assert f"hostvars[inventory_hostname]['{variable}'] | default(" in re.sub(r"\s+", " ", ROLES[variable])


@pytest.mark.parametrize("text", [ROLES, EXPECTED], ids=["roles", "expect"])
def test_only_site_wide_choices_that_exist_are_read(text):
    read = set(re.findall(r"\bgpunode_[a-z_]+", str(text))) - {"gpunode_expect", "gpunode_gpu_count"}

    assert read <= set(options("gpunode"))


def test_every_expectation_is_wired():
    assert set(EXPECTED["gpunode_expect"]) == set(EXPECT)


def test_a_repository_follows_the_mirror_at_the_same_address_as_its_role():
    for variable in WIRED:
        if variable.endswith("_repository_base_url"):
            default = options(role_of(variable))[variable]["default"]
            assert default.removeprefix("https://") in ROLES[variable]


def test_the_diagnose_playbook_hands_the_module_only_what_it_takes():
    path = ROOT / "plugins/modules/diagnose.py"
    documented = yaml.safe_load(re.search(r'DOCUMENTATION = r"""(.+?)"""', path.read_text(), re.DOTALL).group(1))
    tasks = yaml.safe_load((ROOT / "playbooks/tasks/diagnose.yml").read_text())[0]["block"]
    handed = next(task["gpunode.ready.diagnose"] for task in tasks if "gpunode.ready.diagnose" in task)

    assert set(handed) <= set(documented["options"])
    assert handed["fail_on"] in documented["options"]["fail_on"]["choices"]
    assert handed["findings"] == "{{ __gpunode_verdict.findings }}"


def set_by(tasks: list) -> Iterator[str]:
    """The names that tasks register or set as facts."""
    for task in tasks or []:
        if "register" in task:
            yield task["register"]
        yield from (name for name in task.get("ansible.builtin.set_fact") or {} if name != "cacheable")
        for part in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
            yield from set_by(task.get(part))


TASK_FILES = sorted([*(ROOT / "playbooks").rglob("*.yml"), *(ROOT / "roles").glob("*/tasks/*.yml")])


@pytest.mark.parametrize("path", TASK_FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_tasks_remember_does_not_look_like_an_option(path):
    """Preflight refuses unknown variables that begin with our prefixes: a name of our own must not be one."""
    tasks = yaml.safe_load(path.read_text())

    names = list(set_by(tasks)) if isinstance(tasks, list) else []

    assert [name for name in names if not name.startswith("__")] == []


# what preflight decides about, by the role that does it
DECIDED = {
    "preflight_driver_source": "nvidia_driver_source",
    "preflight_driver_repository_url": "nvidia_driver_repository_url",
    "preflight_driver_repository_key_url": "nvidia_driver_repository_key_url",
    "preflight_driver_repository_key_fingerprints": "nvidia_driver_repository_key_fingerprints",
    "preflight_secure_boot": "nvidia_driver_secure_boot",
    "preflight_runtime_source": "containerd_source",
}


@pytest.mark.parametrize(("judged", "used"), DECIDED.items())
def test_preflight_judges_by_what_the_role_will_use(judged, used):
    assert re.search(rf"\b{used} \| default\(", ROLES[judged])


def test_preflight_is_told_all_that_it_can_be_told():
    left = {"preflight_disk_spare_mib", "preflight_unsupported_systems", "preflight_ignored_variables"}

    assert {name for name in options("preflight") if name not in ROLES} == left


def test_the_page_about_the_architecture_tells_a_run_as_it_is():
    imported = [
        play["ansible.builtin.import_playbook"] for play in yaml.safe_load((ROOT / "playbooks/site.yml").read_text())
    ]
    page = (ROOT / "docs/architecture.md").read_text().partition("`site.yml` imports, in order: ")[2]

    assert re.findall(r"`(\w+\.yml)`", page)[: len(imported)] == imported
