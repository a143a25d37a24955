# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All files of a change or none, whenever it is interrupted. Real files; the interruptions are real kills."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import config_transaction
from ansible_collections.gpunode.ready.plugins.module_utils.config_transaction import Change, Transaction
from ansible_collections.gpunode.ready.plugins.module_utils.files import WriteError

COLLECTIONS = Path(__file__).resolve().parents[3] / "collections"


@pytest.fixture
def node(tmp_path):
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/old").write_text("old\n")
    (tmp_path / "etc/gone").write_text("goes\n")
    (tmp_path / "etc/example").write_text("in the way\n")
    return tmp_path


def changes_of(node):
    return [
        Change(str(node / "etc/old"), "new\n"),
        Change(str(node / "etc/fresh"), "fresh\n"),
        Change(str(node / "etc/gone"), None),
    ]


def moves_of(node):
    return [(str(node / "etc/example"), str(node / "etc/example.off"))]


def tree(node):
    return {path.name: path.read_text() for path in sorted((node / "etc").iterdir())}


def started(node, now=None):
    transaction = Transaction("test", str(node / "state"), now)
    transaction.begin(changes_of(node), moves_of(node))
    return transaction


def test_a_change_that_proves_itself_stays_and_leaves_its_backup(node):
    transaction = started(node)
    transaction.place(changes_of(node), moves_of(node))

    transaction.end()

    assert tree(node) == {"old": "new\n", "fresh": "fresh\n", "example.off": "in the way\n"}
    assert Path(transaction.backup, *(node / "etc/old").parts[1:]).read_text() == "old\n"
    assert transaction.pending() is None


def test_taking_back_restores_every_file_its_mode_and_every_name(node):
    os.chmod(node / "etc/old", 0o640)
    before = tree(node)
    transaction = started(node)
    transaction.place(changes_of(node), moves_of(node))

    kept = transaction.take_back()

    assert kept == []
    assert tree(node) == before
    assert (node / "etc/old").stat().st_mode & 0o777 == 0o640


def test_taking_back_twice_is_taking_back_once(node):
    before = tree(node)
    transaction = started(node)
    transaction.place(changes_of(node), moves_of(node))

    transaction.take_back()
    transaction.take_back()

    assert tree(node) == before


def test_what_somebody_changed_since_is_kept_and_named(node):
    transaction = started(node)
    transaction.place(changes_of(node), moves_of(node))
    (node / "etc/old").write_text("by hand\n")

    kept = transaction.take_back()

    assert kept == [str(node / "etc/old")]
    assert (node / "etc/old").read_text() == "by hand\n"
    assert not (node / "etc/fresh").exists()


def test_a_link_to_a_shared_file_stays_a_link(node):
    (node / "real").write_text("{}\n")
    (node / "etc/daemon.json").symlink_to(node / "real")
    change = [Change(str(node / "etc/daemon.json"), '{"a": 1}\n', shared=True)]
    transaction = Transaction("test", str(node / "state"))
    transaction.begin(change, [])
    transaction.place(change, [])

    assert (node / "etc/daemon.json").is_symlink()
    assert (node / "real").read_text() == '{"a": 1}\n'
    transaction.take_back()
    assert (node / "real").read_text() == "{}\n"


def test_a_link_planted_where_a_file_of_ours_goes_is_not_followed(node):
    (node / "victim").write_text("precious\n")
    (node / "etc/fresh").symlink_to(node / "victim")
    transaction = started(node)

    transaction.place(changes_of(node), moves_of(node))

    assert (node / "victim").read_text() == "precious\n"
    assert not (node / "etc/fresh").is_symlink()


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
def test_a_journal_that_was_being_written_means_that_nothing_was_touched(node, text):
    transaction = Transaction("test", str(node / "state"))
    Path(transaction.journal_path).parent.mkdir(parents=True)
    Path(transaction.journal_path).write_text(text)

    assert transaction.pending() == {}
    assert transaction.take_back() == []


def test_only_the_newest_backups_of_this_name_are_kept(node):
    for second in range(config_transaction.BACKUPS_KEPT + 3):
        (node / "etc/old").write_text(f"{second}\n")
        transaction = started(node, now=second * 60.0)
        transaction.place(changes_of(node), [])
        transaction.end()
    other = node / "state/backup/19700101T000000Z-other"
    other.mkdir()

    transaction.end()

    left = sorted(path.name for path in (node / "state/backup").iterdir())
    assert len(left) == config_transaction.BACKUPS_KEPT + 1
    assert other.name in left


def test_backups_and_journal_are_for_root_only(node):
    old = os.umask(0)
    try:
        transaction = started(node)
    finally:
        os.umask(old)

    modes = {path.stat().st_mode & 0o077 for path in (node / "state").rglob("*") if path.name != "state"}
    assert modes == {0}
    assert json.loads(Path(transaction.journal_path).read_text())["files"]


def test_nothing_half_written_ever_lies_where_every_file_is_read(node, monkeypatch):
    folder = node / "etc/crio.conf.d"
    folder.mkdir()
    monkeypatch.setattr(config_transaction, "READ_WHOLE", (str(folder),))
    seen = []
    real = config_transaction.replace_text
    monkeypatch.setattr(
        config_transaction, "replace_text", lambda path, *args, **kw: (seen.append(path), real(path, *args, **kw))[1]
    )

    change = [Change(str(folder / "20.conf"), "x = 1\n")]
    transaction = Transaction("test", str(node / "state"))
    transaction.begin(change, [])
    transaction.place(change, [])

    assert (folder / "20.conf").read_text() == "x = 1\n"
    assert [path for path in seen if path.startswith(str(folder))] == []
    assert [path.name for path in (node / "etc").iterdir() if "gpunode-new" in path.name] == []


def test_a_folder_where_a_file_should_be_is_named_and_all_can_be_taken_back(node):
    before = tree(node)
    (node / "etc/fresh").mkdir()
    change = [Change(str(node / "etc/old"), "new\n"), Change(str(node / "etc/fresh"), "x")]
    transaction = Transaction("test", str(node / "state"))

    transaction.begin(change[:1], [])

    with pytest.raises(WriteError, match="fresh"):
        transaction.place(change, [])

    transaction.take_back()
    (node / "etc/fresh").rmdir()
    assert tree(node) == before


# Each line of a run, and the run is killed after it. What the next run finds is the whole old or the whole new state.
CHILD = """
import os, sys, time
from pathlib import Path
from ansible_collections.gpunode.ready.plugins.module_utils import config_transaction as t
node, after = Path(sys.argv[1]), int(sys.argv[2])
count = 0
def stop(frame, event, arg):
    global count
    if event == "line" and frame.f_code.co_filename.endswith(("config_transaction.py", "files.py")):
        count += 1
        if count == after:
            os.kill(os.getpid(), 9)
    return stop
texts = {"old": "new\\n", "fresh": "fresh\\n", "gone": None}
changes = [t.Change(str(node / "etc" / name), text) for name, text in texts.items()]
moves = [(str(node / "etc/example"), str(node / "etc/example.off"))]
sys.settrace(stop)
transaction = t.Transaction("test", str(node / "state"))
transaction.begin(changes, moves)
transaction.place(changes, moves)
transaction.end()
"""


def test_killed_after_any_line_the_next_run_finds_all_of_the_old_or_all_of_the_new(tmp_path):
    outcomes = set()
    for after in range(1, 2000, 23):
        node = tmp_path / str(after)
        (node / "etc").mkdir(parents=True)
        for name, text in (("old", "old\n"), ("gone", "goes\n"), ("example", "in the way\n")):
            (node / "etc" / name).write_text(text)
        before = tree(node)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(node), str(after)],
            env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
            check=False,
        )
        transaction = Transaction("test", str(node / "state"))
        finished = transaction.pending() is None

        transaction.take_back()

        left = {name: text for name, text in tree(node).items() if ".gpunode-" not in name}
        new = {"old": "new\n", "fresh": "fresh\n", "example.off": "in the way\n"}
        assert left in ((before, new) if finished else (before,)), f"killed after line {after}"
        outcomes.add("old" if left == before else "new")
        if done.returncode != -signal.SIGKILL:
            break
    assert outcomes == {"old", "new"}
