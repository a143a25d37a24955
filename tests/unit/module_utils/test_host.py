# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import time

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.host import Host, run_command
from hypothesis import given, settings
from hypothesis import strategies as st


def test_a_command_says_what_it_has_to_say():
    done = run_command(["sh", "-c", "echo out; echo err >&2; exit 3"], 5)

    assert (done.rc, done.out, done.err, done.ok) == (3, "out\n", "err\n", False)


def test_a_program_that_is_not_there_is_named():
    done = run_command(["no-such-program", "x"], 5)

    assert (done.rc, done.err) == (127, "no-such-program: no such program")


def test_a_command_that_hangs_is_ended_though_its_children_keep_the_pipe():
    start = time.monotonic()

    done = run_command(["sh", "-c", "sleep 6 & sleep 6"], 0.3)

    assert time.monotonic() - start < 5
    assert done.rc == 124
    assert "no answer within 0.3 s" in done.err


@pytest.mark.parametrize("argument", ["a\0b", "\ud800"])
def test_an_argument_that_no_program_can_have_is_an_answer_too(argument):
    assert run_command(["true", argument], 5).rc == 126


@given(st.lists(st.text(min_size=1, max_size=6), max_size=3))
@settings(max_examples=20, deadline=None)
def test_no_argument_makes_running_raise(arguments):
    assert run_command(["true", *arguments], 5).rc in (0, 126)


def test_a_captured_tree_runs_nothing(tmp_path):
    assert Host(str(tmp_path)).run("true").rc == 127
