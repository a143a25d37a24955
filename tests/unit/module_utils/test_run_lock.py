# Copyright (c) 2026 The gpunode.ready maintainers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.gpunode.ready.plugins.module_utils import run_lock
from ansible_collections.gpunode.ready.plugins.module_utils.run_lock import Clock
from hypothesis import given
from hypothesis import strategies as st

pytestmark = pytest.mark.stage("process")

COLLECTIONS = str(Path(run_lock.__file__).absolute().parents[5])
NOON = Clock(date=1_795_262_400, uptime=100)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "run" / "lock.json")


def hold(path, run_id, now=NOON, **given):
    return run_lock.hold(given.pop("holder", f"{run_id}@control"), run_id, 3600, path=path, now=now, **given)


def later(seconds):
    return Clock(NOON.date + seconds, NOON.uptime + seconds)


def test_a_free_node_is_given_to_who_asks(path):
    outcome = hold(path, "ada")

    assert (outcome.granted, outcome.why) == (True, "free")
    assert run_lock.look(path) == outcome.lock
    assert json.loads(Path(path).read_text())["holder"] == "ada@control"


@pytest.mark.case(45, "umask 0: the lock is 0600")
def test_the_lock_and_its_folder_are_for_root_alone_even_at_umask_0(path):
    before = os.umask(0)
    try:
        hold(path, "ada")
    finally:
        os.umask(before)

    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


def test_a_second_run_is_refused_by_name_with_how_long_and_how_to_release(path):
    hold(path, "ada")

    outcome = hold(path, "bob", now=later(600))
    told = run_lock.refusal(outcome.other, later(600), path)

    assert not outcome.granted
    assert run_lock.look(path).run_id == "ada"
    assert "being changed by ada@control (run ada) since 2026-11-21T12:00:00Z, 10 min ago" in told
    assert "expires in 50 min, at 2026-11-21T13:00:00Z" in told
    assert told.endswith(f"rm {path}")


def test_the_same_run_takes_it_again_and_prolongs_it(path):
    hold(path, "ada")

    outcome = hold(path, "ada", now=later(600))

    assert outcome.granted
    assert outcome.lock.since == "2026-11-21T12:00:00Z"
    assert outcome.lock.expires == "2026-11-21T13:10:00Z"


@pytest.mark.case(29, "a stale lock", simulated="the clock that the lock is judged by")
def test_a_stale_lock_expires_and_who_held_it_is_told(path):
    hold(path, "ada")

    outcome = hold(path, "bob", now=later(3600))

    assert outcome.granted
    assert outcome.other.run_id == "ada"
    assert run_lock.look(path).run_id == "bob"


def test_a_clock_set_meanwhile_neither_ends_nor_prolongs_a_lock(path):
    hold(path, "ada")

    a_day_ahead = hold(path, "bob", now=Clock(NOON.date + 86400, NOON.uptime + 60))
    a_day_behind = hold(path, "bob", now=Clock(NOON.date - 86400, NOON.uptime + 3601))

    assert (a_day_ahead.granted, a_day_behind.granted) == (False, True)


def test_a_run_known_to_be_dead_is_superseded(path):
    hold(path, "ada")

    outcome = hold(path, "bob", now=later(1), supersedes=["ada"])

    assert outcome.granted
    assert outcome.why == "held by a run known to have ended"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"holder": "x"}', "\x00" * 100])
def test_a_damaged_lock_holds_nobody_up(path, text):
    Path(path).parent.mkdir(mode=0o700)
    Path(path).write_text(text)

    assert hold(path, "ada").granted
    assert run_lock.look(path).run_id == "ada"


def test_releasing_gives_the_node_back_and_twice_is_once(path):
    hold(path, "ada")

    outcomes = [run_lock.release("ada", path), run_lock.release("ada", path)]

    assert [outcome.why for outcome in outcomes] == ["released", "free"]
    assert not os.path.exists(path)


def test_nobody_releases_the_lock_of_another(path):
    hold(path, "ada")

    outcome = run_lock.release("bob", path, now=later(1))

    assert not outcome.granted
    assert run_lock.look(path).run_id == "ada"


@pytest.mark.case(47, "a link at the lock")
def test_a_link_planted_at_the_lock_is_neither_read_nor_written_through(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    Path(path).parent.mkdir(mode=0o700)
    Path(path).symlink_to(victim)

    outcome = hold(path, "ada")

    assert outcome.granted
    assert victim.read_text() == "precious"
    assert not os.path.islink(path)


@pytest.mark.case(47, "a link at the lock's folder")
def test_a_link_planted_at_the_folder_is_refused(path, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Path(path).parent.symlink_to(elsewhere)

    with pytest.raises(run_lock.LockError, match="cannot be used"):
        hold(path, "ada")

    assert list(elsewhere.iterdir()) == []


def test_a_folder_that_others_may_write_is_refused(path):
    Path(path).parent.mkdir()
    Path(path).parent.chmod(0o777)

    with pytest.raises(run_lock.LockError, match="others could plant a lock there"):
        hold(path, "ada")


@pytest.mark.case(29, "many runs ask for the lock at once")
def test_of_many_runs_at_once_one_gets_the_node(path):
    code = (
        "import sys\n"
        "from ansible_collections.gpunode.ready.plugins.module_utils import run_lock\n"
        "sys.stdin.read()\n"
        "print(run_lock.hold('me', sys.argv[1], 60, path=sys.argv[2]).granted)\n"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", code, f"run-{number}", path],
            env={**os.environ, "PYTHONPATH": COLLECTIONS},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(8)
    ]
    for run in runs:
        run.stdin.close()
    answers = [run.stdout.read().strip() for run in runs]
    for run in runs:
        run.wait()

    assert sorted(answers) == ["False"] * 7 + ["True"]


@given(st.text())
def test_no_text_makes_the_reader_raise(text):
    run_lock.parse(text)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=3))
def test_no_json_makes_the_reader_raise(value):
    keys = ("holder", "run_id", "since", "expires", "since_uptime_seconds", "expires_uptime_seconds")

    run_lock.parse(json.dumps(dict.fromkeys(keys, value)))
