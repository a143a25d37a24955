# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import unit_files
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host
from hypothesis import given
from hypothesis import strategies as st

PLUGINS = Path(unit_files.__file__).resolve().parent


@pytest.fixture
def node(tmp_path):
    def put(path, text):
        file = tmp_path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    put("/usr/lib/systemd/system/a.service", "[Service]\nEnvironment=LEVEL=1\nExecStart=/usr/bin/a --level=${LEVEL}\n")
    return put, Host(str(tmp_path))


def test_a_variable_comes_from_the_last_place_that_sets_it(node):
    put, host = node
    put("/etc/systemd/system/a.service.d/x.conf", "[Service]\nEnvironmentFile=-/etc/default/a\n")
    put("/etc/default/a", "# levels\nLEVEL='3'\n")

    assert unit_files.environment(host, "a.service") == {"LEVEL": ("3", "/etc/default/a:2")}
    assert unit_files.command_line(host, "a.service")[1] == ("--level=3", "/etc/default/a:2")


def test_an_empty_environment_takes_back_what_stood_before(node):
    put, host = node
    put("/etc/systemd/system/a.service.d/x.conf", "[Service]\nEnvironment=\nEnvironment=OTHER=2 broken\n")

    assert unit_files.environment(host, "a.service") == {"OTHER": ("2", "/etc/systemd/system/a.service.d/x.conf:3")}


def test_an_empty_command_takes_back_what_stood_before(node):
    put, host = node
    put("/etc/systemd/system/a.service.d/x.conf", "[Service]\nExecStart=\n")

    assert unit_files.command_line(host, "a.service") == []


def test_a_unit_without_a_file_has_nothing(node):
    _put, host = node

    assert unit_files.unit_files(host, "b.service") == []
    assert unit_files.command_line(host, "b.service") == []


@given(st.text())
def test_no_text_makes_reading_it_raise(text):
    list(unit_files.service_settings(text))
    unit_files.environment_file(text)
    unit_files.words(text)


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("runtime_*.py")), ids=lambda path: path.name)
def test_what_reads_a_runtime_knows_nothing_of_the_facts(path):
    imported = [node.module or "" for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]

    assert not [name for name in imported if name.startswith("facts")]
