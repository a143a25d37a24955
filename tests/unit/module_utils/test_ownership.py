# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is ours is taken back exactly, and what somebody else changed since stays."""

from __future__ import annotations

import json
import os

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils.files import WriteError
from ansible_collections.gpunode.ready.plugins.module_utils.ownership import (
    STATE,
    Ledger,
    merge_json,
    merge_lines,
    put,
)
from hypothesis import given
from hypothesis import strategies as st

FSTAB = "/etc/fstab"
LINES = st.lists(st.sampled_from(["a", "b", "c", "d", ""]), max_size=6).map(
    lambda lines: "".join(f"{x}\n" for x in lines)
)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "etc").mkdir()
    return lambda path: f"{tmp_path}{path}"


def change(place, ledger, path, text):
    ledger.note(path, text=text)
    ledger.save()
    os.makedirs(os.path.dirname(place(path)), exist_ok=True)
    write(place, path, text)


def write(place, path, text):
    with open(place(path), "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def read(place, path):
    with open(place(path), encoding="utf-8", errors="surrogateescape") as file:
        return file.read()


def take_back(place):
    ledger = Ledger("test", place)
    undos = [ledger.undo(path) for path in ledger.paths]
    for undo in undos:
        if undo.changed:
            put(undo, place)
    ledger.forget()
    return undos


def test_a_file_is_as_it_was_to_the_byte(place):
    write(place, FSTAB, "one\nb\udcffd\nno end")
    change(place, Ledger("test", place), FSTAB, "# ours\none\n")

    take_back(place)

    assert read(place, FSTAB) == "one\nb\udcffd\nno end"


def test_a_file_that_was_not_there_goes_and_its_folders_with_it(place):
    change(place, Ledger("test", place), "/etc/a/b/c.conf", "ours\n")

    take_back(place)

    assert not os.path.exists(place("/etc/a"))
    assert os.path.isdir(place("/etc"))
    assert not os.path.exists(place(STATE))


def test_a_folder_that_somebody_else_uses_now_stays(place):
    change(place, Ledger("test", place), "/etc/a/c.conf", "ours\n")
    write(place, "/etc/a/theirs", "x")

    take_back(place)

    assert os.listdir(place("/etc/a")) == ["theirs"]


@pytest.mark.parametrize(
    ("before", "ours", "since", "left"),
    [
        ("root\nswap\nhome\n", "root\n# swap\nhome\n", "root\n# swap\nhome\nnfs\n", "root\nswap\nhome\nnfs\n"),
        ("root\nswap\nroot\n", "root\n# swap\n", "root\n# swap\nnfs\n", "root\nswap\nroot\nnfs\n"),
    ],
    ids=["after a changed line", "where a line of ours was dropped"],
)
def test_what_somebody_added_since_stays(place, before, ours, since, left):
    write(place, FSTAB, before)
    change(place, Ledger("test", place), FSTAB, ours)
    write(place, FSTAB, since)

    take_back(place)

    assert read(place, FSTAB) == left


def test_what_somebody_added_between_two_runs_of_ours_stays(place):
    write(place, FSTAB, "root\nswap\nhome\n")
    change(place, Ledger("test", place), FSTAB, "root\n# swap\nhome\n")
    write(place, FSTAB, "root\n# swap\nhome\nnfs\nswap2\n")
    change(place, Ledger("test", place), FSTAB, "root\n# swap\nhome\nnfs\n# swap2\n")

    take_back(place)

    assert read(place, FSTAB) == "root\nswap\nhome\nnfs\nswap2\n"


def test_a_change_at_our_very_place_is_left_and_told(place):
    write(place, FSTAB, "swap\n")
    change(place, Ledger("test", place), FSTAB, "# swap\n")
    write(place, FSTAB, "# swap, and why\n")

    (undo,) = take_back(place)

    assert "was changed since" in undo.problem
    assert read(place, FSTAB) == "# swap, and why\n"


def test_a_run_killed_before_it_wrote_owns_nothing_of_the_file(place):
    write(place, FSTAB, "swap\n")
    ledger = Ledger("test", place)
    ledger.note(FSTAB, text="# swap\n")
    ledger.save()

    (undo,) = take_back(place)

    assert not undo.changed


def test_a_mask_goes_and_a_file_it_replaced_comes_back(place):
    write(place, "/etc/x", "theirs\n")
    ledger = Ledger("test", place)
    for path in ("/etc/x", "/etc/y"):
        ledger.note(path, link="/dev/null")
    ledger.save()
    os.unlink(place("/etc/x"))
    for path in ("/etc/x", "/etc/y"):
        os.symlink("/dev/null", place(path))

    take_back(place)

    assert read(place, "/etc/x") == "theirs\n"
    assert not os.path.lexists(place("/etc/y"))


def test_facts_are_those_of_the_first_time(place):
    for active in (True, False):
        ledger = Ledger("test", place)
        ledger.keep(active=active)
        ledger.save()

    assert Ledger("test", place).fact("active") is True


def test_the_ledger_is_root_s_alone(place):
    change(place, Ledger("test", place), FSTAB, "x")

    assert oct(os.stat(Ledger("test", place).path).st_mode & 0o777) == "0o600"
    assert oct(os.stat(place(STATE)).st_mode & 0o777) == "0o700"


def test_a_ledger_that_cannot_be_read_is_named(place):
    change(place, Ledger("test", place), FSTAB, "x")
    write(place, f"{STATE}/owned/test.json", "{")

    with pytest.raises(WriteError, match=r"owned/test[.]json: what gpunode[.]ready owns cannot be read"):
        _ = Ledger("test", place).exists


@pytest.mark.parametrize(
    ("base", "mine", "other", "merged"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 2, "c": 3}, {"a": 1}, {"a": 1, "c": 3}),
        ({"x": ["ours", "a"]}, {"x": ["ours", "a", "b"]}, {"x": ["a"]}, {"x": ["a", "b"]}),
        ({"r": {"nvidia": {"path": "p"}}}, {"r": {"nvidia": {"path": "p"}, "kata": {}}}, {}, {"r": {"kata": {}}}),
        ({"log": "json-file"}, {"log": "journald"}, {}, {"log": "journald"}),
        ({"log": "json-file"}, {"log": "json-file", "x": 1}, {"log": "syslog"}, {"log": "syslog", "x": 1}),
    ],
)
def test_json_loses_our_keys_and_keeps_theirs(base, mine, other, merged):
    assert json.loads(merge_json(json.dumps(base), json.dumps(mine), json.dumps(other))) == merged


def test_json_of_ours_alone_is_no_file_any_more():
    assert merge_json('{"a": {"b": 1}}', '{"a": {"b": 1}}', None) == ""


@given(base=LINES, other=LINES)
def test_without_a_change_of_theirs_the_merge_is_what_was(base, other):
    assert merge_lines(base, base, other) == other


@given(base=LINES, mine=LINES)
def test_without_a_change_of_ours_the_merge_is_what_they_made(base, mine):
    assert merge_lines(base, mine, base) == mine


@given(base=LINES, mine=LINES, other=LINES)
def test_any_texts_merge_or_are_refused(base, mine, other):
    assert merge_lines(base, mine, other) is None or isinstance(merge_lines(base, mine, other), str)
