# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import fstab
from hypothesis import given
from hypothesis import strategies as st

DATA = Path(__file__).parent.parent / "data" / "fstab"
FSTABS = {path.stem: path.read_bytes().decode() for path in sorted(DATA.glob("*.txt"))}
SWAP_LINES = {"arch": 2, "debian-12-installer": 1, "lab-debian-12": 2, "rhel-9": 1, "ubuntu-24.04-cloud": 1}

blanks = st.text(" \t", min_size=1, max_size=3)
word = st.text(st.characters(blacklist_characters=" \t\n\r#", blacklist_categories=("Cs", "Zs", "Cc")), min_size=1)
comment = st.builds("#{}".format, st.text(st.characters(blacklist_characters="\n", blacklist_categories=("Cs",))))
entry = st.builds(
    lambda device, gap, mount, kind, options: f"{device}{gap}{mount}{gap}{kind}{gap}{options}",
    word,
    blanks,
    word,
    st.sampled_from(["ext4", "xfs", "debugfs", "swap", "swapfs", "noswap"]),
    word,
)
lines = st.lists(st.one_of(entry, comment, st.just(""), blanks, word), max_size=12)
texts = st.builds(lambda some, end: "\n".join(some) + end, lines, st.sampled_from(["", "\n"]))


def plain_lines(text: str) -> list[str]:
    """Every line that is no active swap line, and of equal ones the first."""
    swap = {entry.line for entry in fstab.swap_entries(text)} | {entry.line for entry in fstab.duplicates(text)}
    return [line for number, line in enumerate(text.split("\n"), start=1) if number not in swap]


@pytest.mark.parametrize("name", FSTABS)
def test_the_swap_lines_of_each_distribution_are_found(name):
    found = fstab.swap_entries(FSTABS[name])

    assert len(found) == SWAP_LINES[name]


@pytest.mark.parametrize("name", FSTABS)
def test_no_swap_line_stays_in_force(name):
    edit = fstab.without_swap(FSTABS[name])

    assert edit.changed
    assert fstab.swap_entries(edit.after) == []


def test_a_repeated_line_is_dropped_and_the_comment_above_it_stays():
    edit = fstab.without_swap(FSTABS["lab-debian-12"])

    assert edit.after == (
        "# /etc/fstab: static file system information.\n"
        "# <file system> <mount point> <type> <options> <dump> <pass>\n"
        "/dev/vda / ext4 errors=remount-ro 0 1\n"
        "# gpunode.ready, swap off: /swap.img none swap sw 0 0\n"
        "# added by the installer, again\n"
    )
    assert fstab.summary(edit) == "1 line commented out, 1 line dropped as a repetition"


def test_a_line_repeated_with_other_blanks_is_a_repetition():
    text = "debugfs /sys/kernel/debug debugfs defaults 0 0\ndebugfs\t/sys/kernel/debug  debugfs defaults\t0 0\n"

    edit = fstab.without_swap(text)

    assert edit.after == "debugfs /sys/kernel/debug debugfs defaults 0 0\n"


def test_a_swap_line_added_again_is_not_commented_out_twice():
    once = fstab.without_swap("/swap.img none swap sw 0 0\n").after

    again = fstab.without_swap(f"{once}/swap.img none swap sw 0 0\n")

    assert again.after == once


def test_a_folder_called_swap_is_no_swap():
    text = "/dev/sdb1 /swap ext4 defaults 0 2\n"

    assert not fstab.without_swap(text).changed


@pytest.mark.parametrize("text", ["", "/dev/vda / ext4 defaults 0 1", "/dev/vda / ext4 defaults 0 1\n"])
def test_debugfs_gets_a_line_of_its_own(text):
    edit = fstab.with_debugfs(text)

    assert edit.after == (f"{text.rstrip()}\n{fstab.DEBUGFS_LINE}\n").lstrip("\n")


def test_debugfs_lines_of_the_user_stay_and_repetitions_go():
    mine = "none /sys/kernel/debug debugfs mode=0755 0 0\n"

    edit = fstab.with_debugfs(f"{mine}# again\ndebugfs /sys/kernel/debug debugfs defaults 0 0\n")

    assert edit.after == f"{mine}# again\n"


@given(texts)
def test_a_text_without_swap_or_repetition_is_unchanged(text):
    if not fstab.swap_entries(text) and not fstab.duplicates(text):
        assert fstab.without_swap(text).after == text


@given(texts)
def test_doing_it_twice_is_doing_it_once(text):
    once = fstab.without_swap(text).after

    assert fstab.without_swap(once).after == once


@given(texts)
def test_every_other_line_survives_byte_for_byte(text):
    after = fstab.without_swap(text).after.split("\n")

    kept = [line for line in after if not line.startswith(fstab.SWAP_OFF_MARKER)]
    expected = [line for line in plain_lines(text) if not line.startswith(fstab.SWAP_OFF_MARKER)]
    assert [line for line in kept if line] == [line for line in expected if line]


@given(texts)
def test_debugfs_is_there_once_and_the_rest_as_before(text):
    once = fstab.with_debugfs(text)

    assert any(entry.type == "debugfs" for entry in fstab.entries(once.after))
    assert not fstab.with_debugfs(once.after).changed


@given(st.text())
def test_no_text_makes_it_raise(text):
    fstab.without_swap(text)
    fstab.with_debugfs(text)
    fstab.summary(fstab.without_swap(text))


@pytest.mark.parametrize("name", FSTABS)
def test_swap_lines_come_back_as_they_were(name):
    text = FSTABS[name]
    repeated = {entry.line for entry in fstab.duplicates(text)}

    back = fstab.with_swap(fstab.without_swap(text).after).after

    assert back.split("\n") == [line for number, line in enumerate(text.split("\n"), 1) if number not in repeated]


def test_a_swap_line_that_somebody_wrote_anew_comes_back_once():
    text = f"{fstab.SWAP_OFF_MARKER}/swap.img none swap sw 0 0\n/swap.img  none swap sw 0 0\n"

    assert fstab.with_swap(text).after == "/swap.img  none swap sw 0 0\n"


def test_the_line_of_debugfs_goes_again():
    assert fstab.without_debugfs(fstab.with_debugfs("/dev/vda / ext4 defaults 0 1\n").after).after == (
        "/dev/vda / ext4 defaults 0 1\n"
    )
