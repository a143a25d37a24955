# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.plugin_utils import inventory
from hypothesis import given
from hypothesis import strategies as st

ROLES = Path(__file__).resolve().parents[3] / "roles"
SPECS = {
    "gpunode": {
        "gpunode_runtime": {"type": "str", "choices": ["crio", "containerd"], "default": "containerd"},
        "gpunode_gpu": {"type": "bool", "default": True},
    },
    "docker": {
        "docker_version": {"type": "str", "default": ""},
        "docker_packages": {"type": "list", "elements": "str"},
    },
    "host_prep": {
        "host_prep_sysctls": {"type": "dict", "default": {}},
        "host_prep_wait_seconds": {"type": "int", "default": 5},
        "host_prep_metrics_port": {"type": "int", "default": 9100},
        "host_prep_motd_text": {"type": "str", "default": ""},
        "host_prep_admin_token": {"type": "str", "no_log": True, "choices": ["a"]},
        "host_prep_layers": {"type": "list", "elements": "str", "choices": ["live", "fstab"], "default": ["live"]},
        "host_prep_disks": {
            "type": "list",
            "elements": "dict",
            "options": {"path": {"type": "path", "required": True}, "size_mib": {"type": "int"}},
        },
        "host_prep_mirror": {"type": "str", "default": ""},
    },
}


def faults(name, value):
    return [item["id"] for item in inventory.inventory_problems([name], {name: value}, SPECS)]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("gpunode_runtme", "gpunode_runtime"),
        ("gpunode_something_else", None),
        ("host_prep_syctls", "host_prep_sysctls"),
        ("docker_verson", "docker_version"),
        ("hostprep_sysctls", "host_prep_sysctls"),
        ("gpu_node_runtime", "gpunode_runtime"),
    ],
)
def test_a_name_that_nobody_reads_is_found_with_the_nearest(name, near):
    assert list(inventory.unknown_names([name], SPECS)) == [(name, near)]


@pytest.mark.parametrize(
    "name", ["gpunode_runtime", "docker_users", "my_runtime", "__host_prep_x", "ansible_user", "docker_compose_version"]
)
def test_other_peoples_names_are_left_alone(name):
    assert list(inventory.unknown_names([name], SPECS)) == []


def test_names_can_be_ignored_by_pattern():
    assert list(inventory.unknown_names(["gpunode_team_a"], SPECS, ["gpunode_team_*"])) == []


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("gpunode_runtime", "podman", ["unknown-choice"]),
        ("gpunode_runtime", None, ["empty-value"]),
        ("gpunode_runtime", {"a": 1}, ["wrong-type"]),
        ("gpunode_gpu", "perhaps", ["wrong-type"]),
        ("gpunode_gpu", 2, ["wrong-type"]),
        ("host_prep_wait_seconds", "soon", ["wrong-type"]),
        ("host_prep_wait_seconds", True, ["wrong-type"]),
        ("host_prep_wait_seconds", -1, ["out-of-range"]),
        ("host_prep_metrics_port", 70000, ["out-of-range"]),
        ("host_prep_layers", ["live", "zram"], ["unknown-choice"]),
        ("host_prep_layers", "live,zram", ["unknown-choice"]),
        ("host_prep_layers", {"live": True}, ["wrong-type"]),
        ("host_prep_sysctls", ["a"], ["wrong-type"]),
        ("host_prep_sysctls", {"a": "1\n2"}, ["dangerous-value"]),
        ("host_prep_disks", [{"pth": "/a"}], ["unknown-key", "missing-key"]),
        ("host_prep_disks", [{"path": "/a", "size_mib": -1}], ["out-of-range"]),
        ("host_prep_mirror", "https://a/$(id)", ["dangerous-value"]),
        ("host_prep_mirror", "https://a\nb", ["dangerous-value"]),
        ("host_prep_mirror", ' "a"', ["dangerous-value"]),
        ("host_prep_mirror", " https://a", ["dangerous-value"]),
        ("docker_packages", ["a", "b`id`"], ["dangerous-value"]),
        ("host_prep_motd_text", "a\x1b[2J", ["dangerous-value"]),
    ],
)
def test_a_value_that_cannot_be_meant_is_found(name, value, expected):
    assert faults(name, value) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("gpunode_runtime", "crio"),
        ("gpunode_gpu", "yes"),
        ("gpunode_gpu", False),
        ("host_prep_wait_seconds", "30"),
        ("host_prep_layers", ["live"]),
        ("host_prep_layers", "live, fstab"),
        ("host_prep_sysctls", {"kernel.core_pattern": "|/usr/lib/systemd/systemd-coredump %P"}),
        ("host_prep_motd_text", 'It\'s "on"\nsecond line\n'),
        ("host_prep_mirror", "https://a/?x=1&y=2"),
        ("host_prep_mirror", ""),
        ("docker_packages", None),
        ("docker_version", "5:29.7.2-1~debian.12~bookworm"),
    ],
)
def test_a_value_that_can_is_not(name, value):
    assert faults(name, value) == []


def test_a_secret_is_judged_and_not_shown():
    (problem,) = inventory.inventory_problems(["host_prep_admin_token"], {"host_prep_admin_token": "hunter2"}, SPECS)

    assert problem["id"] == "unknown-choice"
    assert "hunter2" not in str(problem)


def test_the_file_and_line_that_set_a_variable_are_named(tmp_path):
    (tmp_path / "group_vars/gpu_nodes").mkdir(parents=True)
    (tmp_path / "group_vars/gpu_nodes/site.yml").write_text(
        "# gpunode_runtme: no\ngpunode_gpu: true\ngpunode_runtme: crio\n"
    )
    (tmp_path / "hosts.ini").write_text("[gpu_nodes]\ngpu-1 gpunode_gpuu=false\n")

    found = inventory.inventory_problems(
        ["gpunode_runtme", "gpunode_gpuu"], {}, SPECS, (), [str(tmp_path / "hosts.ini")], [str(tmp_path)]
    )

    assert {item["where"].rsplit("/", 1)[1] for item in found} == {"site.yml:3", "hosts.ini:2"}


def test_every_role_of_the_collection_has_a_spec_that_can_be_read():
    specs = inventory.load_specs(str(ROLES))

    assert "gpunode_runtime" in specs["gpunode"]
    assert sorted(specs) == sorted(
        path.name for path in ROLES.iterdir() if (path / "meta/argument_specs.yml").is_file()
    )


def test_the_defaults_of_every_role_are_sound():
    specs = inventory.load_specs(str(ROLES))
    defaults = {
        name: option["default"] for name, option in inventory.known_options(specs).items() if "default" in option
    }

    assert inventory.inventory_problems(defaults, defaults, specs) == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(inventory.known_options(SPECS))), VALUES)
def test_no_value_makes_judging_it_raise(name, value):
    for problem in inventory.inventory_problems([name], {name: value}, SPECS):
        assert set(problem) == {"id", "what", "where", "mend"}


@given(st.lists(st.text(), max_size=5))
def test_no_names_make_judging_them_raise(names):
    list(inventory.unknown_names(names, SPECS))
