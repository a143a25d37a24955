# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every role says what it takes once, and says it truly: defaults, argument specs and README agree."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir() if path.is_dir())


# Roles of the cluster, which run where a kubeconfig is: they look at the cluster, not at the node.
CLUSTER_ROLES = {"cni", "device_plugin", "local_storage", "metrics_server", "monitoring"}


def load(role: str, path: str):
    file = ROOT / "roles" / role / path
    return yaml.safe_load(file.read_text()) if file.is_file() else None


def options(role: str) -> dict:
    """Those of every entry point: main, and absent where the role can be undone."""
    entries = load(role, "meta/argument_specs.yml")["argument_specs"].values()
    return {name: option for entry in entries for name, option in (entry.get("options") or {}).items()}


@pytest.mark.parametrize("role", ROLES)
def test_defaults_are_the_argument_specs(role):
    defaults = load(role, "defaults/main.yml") or {}

    specified = {name: spec["default"] for name, spec in options(role).items() if "default" in spec}

    assert defaults == specified


@pytest.mark.parametrize("role", ROLES)
def test_every_variable_carries_the_prefix_of_its_role(role):
    names = options(role)

    assert [name for name in names if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_default_has_a_comment_that_says_why(role):
    text = (ROOT / "roles" / role / "defaults/main.yml").read_text()
    blocks = re.split(r"\n\s*\n", text)

    bare = [block.splitlines()[0] for block in blocks if re.match(r"[a-z_]+:", block.strip())]

    assert bare == []


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_names_every_variable(role):
    readme = (ROOT / "roles" / role / "README.md").read_text()

    assert [name for name in options(role) if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("role", ROLES)
def test_the_role_tells_galaxy_what_it_is(role):
    info = load(role, "meta/main.yml")

    assert info["dependencies"] == []
    assert info["galaxy_info"]["license"] == "GPL-3.0-or-later"
    assert info["galaxy_info"]["description"]


@pytest.mark.parametrize("role", sorted(CLUSTER_ROLES))
def test_a_role_of_the_cluster_looks_at_it_first(role):
    first = load(role, "tasks/main.yml")[0]

    assert "gpunode.ready.cluster_info" in first
    assert first["tags"] == ["always"]


@pytest.mark.parametrize("role", [role for role in ROLES if role not in CLUSTER_ROLES])
def test_the_role_looks_first_only_where_nobody_has(role):
    first = load(role, "tasks/main.yml")[0]

    assert "gpunode.ready.node_info" in first
    assert first["when"] == "ansible_facts['gpunode'] is not defined"
    assert first["tags"] == ["always"]


# what a role of the cluster brings lies in the API, and the node's reset does not reach it
@pytest.mark.parametrize("role", [role for role in ROLES if role not in ("gpunode", "preflight", *CLUSTER_ROLES)])
def test_what_a_role_does_can_be_undone(role):
    tasks = load(role, "tasks/absent.yml")

    assert [task["name"] for task in tasks if not task["name"].startswith("absent | ")] == []
    assert "absent" in load(role, "meta/argument_specs.yml")["argument_specs"]


def test_the_spec_goes_before_its_former_writers_come_back():
    ask, spec, units = load("cdi", "tasks/absent.yml")

    assert ask["check_mode"] is True
    assert "__cdi_ours" in spec["when"]
    assert "gpunode.ready.cdi_spec" in spec
    assert units["gpunode.ready.unit_set"] == ask["gpunode.ready.unit_set"]
    assert "check_mode" not in units


def test_the_reset_takes_every_role_back_from_the_highest_layer_down():
    text = (ROOT / "playbooks/reset.yml").read_text()
    named = re.findall(r"^ +name: \"?gpunode[.]ready[.](\w+|\{\{ __gpunode_reset_runtime \}\})", text, re.MULTILINE)

    assert [name for name in named if name != "gpunode"] == [
        "self_repair",
        "cdi",
        "nvidia_container_toolkit",
        "{{ __gpunode_reset_runtime }}",
        "nvidia_driver",
        "host_prep",
    ]
    assert sorted(re.search(r"loop: \[([a-z, ]+)\]", text).group(1).split(", ")) == ["containerd", "crio", "docker"]
